//! The `Order` aggregate: one invoice, placed or returned once.

use eventfold_es::prelude::*;
use rust_decimal::Decimal;

/// The data of an invoice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Invoice {
    /// The customer's number, where one is known.
    pub customer: Option<String>,
    pub country: String,
    /// Free text: nothing is computed from it.
    pub date: String,
    pub lines: Vec<InvoiceLine>,
}

/// One line of an invoice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InvoiceLine {
    pub stock_code: String,
    pub description: String,
    pub units: u32,
    pub unit_price: Decimal,
}

impl Invoice {
    /// The exact amount of the invoice.
    pub fn amount(&self) -> Decimal {
        self.lines.iter().map(InvoiceLine::amount).sum()
    }
}

impl InvoiceLine {
    /// The exact amount of the line.
    pub fn amount(&self) -> Decimal {
        Decimal::from(self.units) * self.unit_price
    }
}

#[derive(Debug, Clone)]
pub enum OrderCommand {
    Place(Invoice),
    Return(Invoice),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    Placed(Invoice),
    Returned(Invoice),
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub enum OrderError {
    #[error("the order was already placed")]
    AlreadyPlaced,
    #[error("the goods were already returned")]
    AlreadyReturned,
    #[error("an order has at least one line")]
    NoLines,
}

/// The state that decisions need: only the fate of the invoice.
#[aggregate]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub enum Order {
    #[default]
    New,
    Placed,
    Returned,
}

impl Decider for Order {
    fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, OrderError> {
        match self {
            Order::New => {}
            Order::Placed => return Err(OrderError::AlreadyPlaced),
            Order::Returned => return Err(OrderError::AlreadyReturned),
        }
        let event = match command {
            OrderCommand::Place(invoice) => OrderEvent::Placed(invoice),
            OrderCommand::Return(invoice) => OrderEvent::Returned(invoice),
        };
        match &event {
            OrderEvent::Placed(invoice) | OrderEvent::Returned(invoice)
                if invoice.lines.is_empty() =>
            {
                Err(OrderError::NoLines)
            }
            _ => Ok(vec![event]),
        }
    }

    fn evolve(&mut self, event: &OrderEvent) {
        *self = match event {
            OrderEvent::Placed(_) => Order::Placed,
            OrderEvent::Returned(_) => Order::Returned,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invoice(lines: &[(u32, &str)]) -> Invoice {
        Invoice {
            customer: None,
            country: "EIRE".to_owned(),
            date: String::new(),
            lines: lines
                .iter()
                .map(|(units, price)| InvoiceLine {
                    stock_code: "85123A".to_owned(),
                    description: "HEART".to_owned(),
                    units: *units,
                    unit_price: price.parse().unwrap(),
                })
                .collect(),
        }
    }

    #[test]
    fn amounts_are_exact() {
        let amount = invoice(&[(3, "0.1"), (1, "0.0000000001"), (2, "-1.005")]).amount();
        assert_eq!(amount.to_string(), "-1.7099999999");
    }

    #[test]
    fn an_invoice_is_placed_once() {
        let command = || OrderCommand::Place(invoice(&[(1, "2.55")]));
        let mut order = Order::default();
        let events = order.decide(command()).unwrap();
        assert_eq!(events, [OrderEvent::Placed(invoice(&[(1, "2.55")]))]);
        events.iter().for_each(|event| order.evolve(event));
        assert_eq!(order.decide(command()), Err(OrderError::AlreadyPlaced));
    }

    #[test]
    fn goods_are_returned_once() {
        let command = || OrderCommand::Return(invoice(&[(1, "2.55")]));
        let mut order = Order::default();
        let events = order.decide(command()).unwrap();
        events.iter().for_each(|event| order.evolve(event));
        assert_eq!(order.decide(command()), Err(OrderError::AlreadyReturned));
    }

    #[test]
    fn an_order_has_lines() {
        let command = OrderCommand::Place(invoice(&[]));
        assert_eq!(Order::default().decide(command), Err(OrderError::NoLines));
    }
}
