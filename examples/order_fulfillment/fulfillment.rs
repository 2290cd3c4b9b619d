//! The saga between the two aggregates: orders in, reservations out.

use eventfold_es::prelude::*;

use super::inventory::{Inventory, InventoryCommand};
use super::order::{Order, OrderEvent};

/// Reserves the lines of a placed order and releases those of a return.
///
/// A command that `Inventory` rejects becomes a dead letter, one per line; the other lines continue.
#[process_manager(subscribes = [Order], dispatches = [Inventory])]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct FulfillmentSaga {
    pub orders: u64,
    pub returns: u64,
}

impl React<Order> for FulfillmentSaga {
    fn react(&mut self, event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
        match event {
            OrderEvent::Placed(invoice) => {
                self.orders += 1;
                for line in &invoice.lines {
                    let command = InventoryCommand::Reserve {
                        stock_code: line.stock_code.clone(),
                        units: line.units,
                    };
                    cx.send(inventory_id(&line.stock_code), command);
                }
            }
            OrderEvent::Returned(invoice) => {
                self.returns += 1;
                for line in &invoice.lines {
                    let command = InventoryCommand::Release {
                        stock_code: line.stock_code.clone(),
                        units: line.units,
                    };
                    cx.send(inventory_id(&line.stock_code), command);
                }
            }
        }
    }
}

/// The instance with the stock of `stock_code`.
pub fn inventory_id(stock_code: &str) -> String {
    format!("inv-{stock_code}")
}

#[cfg(test)]
mod tests {
    use super::super::order::{Invoice, InvoiceLine};
    use super::*;

    #[test]
    fn each_line_is_one_reservation_even_of_the_same_stock_code() {
        let line = |stock_code: &str, units| InvoiceLine {
            stock_code: stock_code.to_owned(),
            description: String::new(),
            units,
            unit_price: "2.55".parse().unwrap(),
        };
        let event = OrderEvent::Placed(Invoice {
            customer: None,
            country: "EIRE".to_owned(),
            date: String::new(),
            lines: vec![line("85123A", 6), line("POST", 1), line("85123A", 2)],
        });
        let recorded = RecordedEvent::new(1, 1, event.to_event().unwrap());
        let mut saga = FulfillmentSaga::default();
        let mut reaction = Reaction::new("order", "ord-1", &recorded);
        React::<Order>::react(&mut saga, &event, &mut reaction);

        let sent: Vec<_> = reaction
            .into_envelopes()
            .into_iter()
            .map(|FulfillmentSagaEnvelope::Inventory(envelope)| {
                (envelope.instance_id, envelope.command)
            })
            .collect();
        let reserve = |stock_code: &str, units| {
            let command = InventoryCommand::Reserve {
                stock_code: stock_code.to_owned(),
                units,
            };
            (format!("inv-{stock_code}"), command)
        };
        assert_eq!(
            sent,
            [
                reserve("85123A", 6),
                reserve("POST", 1),
                reserve("85123A", 2)
            ]
        );
        assert_eq!((saga.orders, saga.returns), (1, 0));
    }
}
