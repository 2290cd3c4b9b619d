//! From a placed order to sent goods, or to a refund.

use std::time::Duration;

use eventfold_es::prelude::*;

use crate::domain::{
    Order, OrderCommand, OrderEvent, OutOfStock, Payment, PaymentCommand, PaymentEvent, Stock,
    StockCommand, StockEvent,
};

/// The time that a customer has to pay. In a shop it would be days.
pub const TIME_TO_PAY: Duration = Duration::from_millis(500);

/// The customer has not paid in time.
#[derive(Debug, Serialize, Deserialize)]
pub struct PaymentDue;

/// One instance for each order, by the order's id.
#[process_manager(
    subscribes = [Order, Payment, Stock],
    dispatches = [Order, Payment, Stock],
    key = String,
    deadlines = [PaymentDue],
    on_failure
)]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct OrderSaga {
    sku: String,
    qty: u32,
}

/// The payment of an order has the order's id with this before it.
pub fn payment_of(order: &str) -> String {
    format!("pay-{order}")
}

impl Correlate<Order> for OrderSaga {
    fn correlate(event: &OrderEvent, cx: &EventContext<'_>) -> Correlation<String> {
        let order = cx.stream_id().to_owned();
        match event {
            OrderEvent::Placed { .. } => Correlation::starts(order),
            OrderEvent::Shipped | OrderEvent::Cancelled { .. } => Correlation::continues(order),
        }
    }
}

impl React<Order> for OrderSaga {
    fn react(&mut self, event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
        match event {
            OrderEvent::Placed { sku, qty } => {
                self.sku.clone_from(sku);
                self.qty = *qty;
                cx.schedule("payment", Deadline::after(TIME_TO_PAY), PaymentDue);
            }
            OrderEvent::Shipped | OrderEvent::Cancelled { .. } => cx.complete(),
        }
    }
}

impl Correlate<Payment> for OrderSaga {
    fn correlate(event: &PaymentEvent, _cx: &EventContext<'_>) -> Correlation<String> {
        match event {
            PaymentEvent::Paid { order } => Correlation::continues(order.clone()),
            PaymentEvent::Refunded => Correlation::none(),
        }
    }
}

impl React<Payment> for OrderSaga {
    fn react(&mut self, _event: &PaymentEvent, cx: &mut Reaction<'_, Self>) {
        cx.cancel("payment");
        let (order, qty) = (cx.key().clone(), self.qty);
        cx.send(self.sku.clone(), StockCommand::Reserve { order, qty });
    }
}

impl Correlate<Stock> for OrderSaga {
    fn correlate(event: &StockEvent, _cx: &EventContext<'_>) -> Correlation<String> {
        match event {
            StockEvent::Reserved { order, .. } => Correlation::continues(order.clone()),
            StockEvent::Received { .. } => Correlation::none(),
        }
    }
}

impl React<Stock> for OrderSaga {
    fn react(&mut self, _event: &StockEvent, cx: &mut Reaction<'_, Self>) {
        cx.send(cx.key(), OrderCommand::Ship);
    }
}

impl OnDeadline<PaymentDue> for OrderSaga {
    fn on_deadline(&mut self, _message: PaymentDue, cx: &mut Reaction<'_, Self>) {
        let reason = "it was not paid in time".to_owned();
        cx.send(cx.key(), OrderCommand::Cancel { reason });
    }
}

impl HandleFailure for OrderSaga {
    /// A failed reservation is refunded; other failures have the defaults.
    fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
        match failure.rejection::<OutOfStock>() {
            Some(OutOfStock { left }) => {
                let reason = format!("{} were ordered, and only {left} are left", self.qty);
                FailureAction::compensate(payment_of(failure.key), PaymentCommand::Refund)
                    .and_send(failure.key, OrderCommand::Cancel { reason })
            }
            None => FailureAction::default_for(failure),
        }
    }
}
