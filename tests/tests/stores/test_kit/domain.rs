//! Orders that wait for their payment.

use std::time::Duration;

use eventfold_es::Backoff;
use eventfold_es::prelude::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum OrderCommand {
    Place { items: Vec<String> },
    Cancel { reason: String },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    Placed { items: Vec<String> },
    Weighed { kilos: f64 },
    Cancelled { reason: String },
}

#[derive(Debug, PartialEq, thiserror::Error)]
pub enum OrderError {
    #[error("nothing is ordered")]
    Empty,
    #[error("there is no order")]
    Unknown,
}

#[aggregate]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Order {
    pub items: Vec<String>,
    pub is_cancelled: bool,
}

impl Decider for Order {
    fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, OrderError> {
        match command {
            OrderCommand::Place { items } if items.is_empty() => Err(OrderError::Empty),
            OrderCommand::Place { items } => Ok(vec![OrderEvent::Placed { items }]),
            OrderCommand::Cancel { .. } if self.items.is_empty() => Err(OrderError::Unknown),
            OrderCommand::Cancel { .. } if self.is_cancelled => Ok(Vec::new()),
            OrderCommand::Cancel { reason } => Ok(vec![OrderEvent::Cancelled { reason }]),
        }
    }

    fn evolve(&mut self, event: &OrderEvent) {
        match event {
            OrderEvent::Placed { items } => self.items.clone_from(items),
            OrderEvent::Weighed { .. } => {}
            OrderEvent::Cancelled { .. } => self.is_cancelled = true,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum PaymentCommand {
    Request { order: String },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum PaymentEvent {
    Requested { order: String },
    Settled { orders: Vec<String> },
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("the customer is unknown")]
pub struct Unknown;

#[aggregate(error = Unknown)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Payment {
    pub requested: Vec<String>,
}

impl Decider for Payment {
    fn decide(&self, command: PaymentCommand) -> Result<Vec<PaymentEvent>, Unknown> {
        let PaymentCommand::Request { order } = command;
        Ok(vec![PaymentEvent::Requested { order }])
    }

    fn evolve(&mut self, event: &PaymentEvent) {
        if let PaymentEvent::Requested { order } = event {
            self.requested.push(order.clone());
        }
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Remind {
    pub times: u32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct GiveUp;

pub const HOUR: Duration = Duration::from_secs(3600);

/// Asks for a payment, reminds once, then cancels the order.
#[process_manager(
    subscribes = [Order, Payment],
    dispatches = [Order, Payment],
    key = String,
    deadlines = [Remind, GiveUp],
    on_failure
)]
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PaymentSaga {
    pub reminders: u32,
}

impl Correlate<Order> for PaymentSaga {
    fn correlate(event: &OrderEvent, cx: &EventContext<'_>) -> Correlation<String> {
        let order = cx.stream_id().to_owned();
        match event {
            OrderEvent::Placed { .. } => Correlation::starts(order),
            OrderEvent::Weighed { .. } => Correlation::none(),
            OrderEvent::Cancelled { .. } => Correlation::continues(order),
        }
    }
}

impl Correlate<Payment> for PaymentSaga {
    fn correlate(event: &PaymentEvent, _cx: &EventContext<'_>) -> Correlation<String> {
        match event {
            PaymentEvent::Requested { .. } => Correlation::none(),
            PaymentEvent::Settled { orders } => {
                Correlation::each(orders.iter().cloned().map(Correlation::continues))
            }
        }
    }
}

impl React<Order> for PaymentSaga {
    fn react(&mut self, event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
        match event {
            OrderEvent::Placed { .. } => {
                let order = cx.key().clone();
                cx.send("cash", PaymentCommand::Request { order });
                cx.schedule("payment", Deadline::after(HOUR), Remind { times: 1 });
            }
            OrderEvent::Weighed { .. } => {}
            OrderEvent::Cancelled { .. } => cx.complete(),
        }
    }
}

impl React<Payment> for PaymentSaga {
    fn react(&mut self, _event: &PaymentEvent, cx: &mut Reaction<'_, Self>) {
        cx.cancel("payment");
        cx.complete();
    }
}

impl OnDeadline<Remind> for PaymentSaga {
    fn on_deadline(&mut self, message: Remind, cx: &mut Reaction<'_, Self>) {
        self.reminders += message.times;
        cx.schedule("payment", Deadline::after(HOUR), GiveUp);
    }
}

impl OnDeadline<GiveUp> for PaymentSaga {
    fn on_deadline(&mut self, _message: GiveUp, cx: &mut Reaction<'_, Self>) {
        let reason = format!("{} is not paid", cx.key());
        cx.send(cx.key(), OrderCommand::Cancel { reason });
    }
}

impl HandleFailure for PaymentSaga {
    fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
        match failure.rejection::<Unknown>() {
            Some(Unknown) => {
                let reason = "nobody pays".to_owned();
                FailureAction::compensate(failure.key, OrderCommand::Cancel { reason })
            }
            None => FailureAction::Retry(Backoff::exponential(Duration::from_secs(1))),
        }
    }
}
