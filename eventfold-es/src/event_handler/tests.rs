//! A hand-written event handler, with everything that the macro generates.

use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::*;
use crate::aggregate::Aggregate;
use crate::command::Command;
use crate::envelope::{Router, TargetVisitor};
use crate::event::DomainEvent;
use crate::process_manager::{FailureCause, FailurePolicy, SourceEvent};
use crate::projection::EventContext;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum OrderCommand {
    NoteMail { receipt: String },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
enum OrderEvent {
    Shipped { email: String },
}

impl DomainEvent for OrderEvent {
    const EVENT_TYPES: &'static [&'static str] = &["Shipped"];

    fn event_type(&self) -> &'static str {
        "Shipped"
    }
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Order;

impl Aggregate for Order {
    const AGGREGATE_TYPE: &'static str = "order";
    type Command = OrderCommand;
    type DomainEvent = OrderEvent;
    type Error = std::convert::Infallible;

    fn handle(&self, _command: OrderCommand) -> Result<Vec<OrderEvent>, Self::Error> {
        Ok(Vec::new())
    }

    fn apply(self, _event: &OrderEvent) -> Self {
        self
    }
}

impl Command for OrderCommand {
    type Aggregate = Order;
}

/// What a user writes, apart from the attribute `#[event_handler(subscribes = [Order], dispatches = [Order], key = String,
/// concurrency = 4, timeout = "5s", start = "now", on_failure)]`.
#[derive(Default)]
struct Mailer {
    smtp: Mutex<Vec<String>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the address is empty")]
struct NoAddress;

impl Handle<Order> for Mailer {
    type Error = NoAddress;

    async fn handle(
        &self,
        event: &OrderEvent,
        cx: &mut Handling<'_, Self>,
    ) -> Result<(), NoAddress> {
        let OrderEvent::Shipped { email } = event;
        if email.is_empty() {
            return Err(NoAddress);
        }
        tokio::task::yield_now().await;
        let receipt = format!("{} to {email}", cx.idempotency_key());
        let mut smtp = self.smtp.lock().unwrap_or_else(PoisonError::into_inner);
        smtp.push(receipt.clone());
        drop(smtp);
        cx.send(cx.stream_id(), OrderCommand::NoteMail { receipt });
        Ok(())
    }
}

impl HandleKey<Order> for Mailer {
    fn key(event: &OrderEvent, _cx: &EventContext<'_>) -> String {
        let OrderEvent::Shipped { email } = event;
        email.clone()
    }
}

impl HandlerPolicy for Mailer {
    fn on_failure(&self, failure: &Failure<'_>) -> HandlerAction<Self> {
        match failure.error::<NoAddress>() {
            Some(NoAddress) => FailureAction::DeadLetter,
            None => FailureAction::default_for(failure),
        }
    }
}

// What the macro generates.

enum MailerEnvelope {
    Order(Envelope<Order>),
}

impl EventHandler for Mailer {
    const NAME: &'static str = "mailer";
    const SUBSCRIPTIONS: &'static [&'static str] = &[<Order as Aggregate>::AGGREGATE_TYPE];
    const TARGETS: Option<&'static [&'static str]> = Some(&[<Order as Aggregate>::AGGREGATE_TYPE]);
    const START: StartFrom = StartFrom::Now;
    const CONCURRENCY: usize = 4;
    const TIMEOUT: Duration = Duration::from_millis(5_000);
    const IS_KEYED: bool = true;
    const KEY_TYPE: &'static str = "String";
    type Envelope = MailerEnvelope;

    async fn handle_event(&self, cx: &mut Handling<'_, Self>) -> Result<(), HandleError> {
        if cx.aggregate_type() == <Order as Aggregate>::AGGREGATE_TYPE {
            let event = crate::__private::decode::<Subscribed<Order>>(cx.event())?;
            let handled = <Self as Handle<Subscribed<Order>>>::handle(self, &event, cx).await;
            return handled.map_err(HandleError::failed);
        }
        Err(HandleError::Event(ReactError::UnexpectedAggregate {
            aggregate_type: cx.aggregate_type().to_owned(),
        }))
    }

    // Only with `key = ..`.
    fn key_of(
        aggregate_type: &str,
        stream_id: &str,
        event: &RecordedEvent,
    ) -> Result<String, ReactError> {
        let context = EventContext::new(aggregate_type, stream_id, event);
        if aggregate_type == <Order as Aggregate>::AGGREGATE_TYPE {
            let event = crate::__private::decode::<Subscribed<Order>>(event)?;
            return key_text::<Self>(&<Self as HandleKey<Subscribed<Order>>>::key(
                &event, &context,
            ));
        }
        Err(ReactError::UnexpectedAggregate {
            aggregate_type: aggregate_type.to_owned(),
        })
    }

    // Only with `on_failure`.
    fn on_failure(&self, failure: &Failure<'_>) -> HandlerAction<Self> {
        <Self as HandlerPolicy>::on_failure(self, failure)
    }
}

impl crate::__private::Subscribes<Order> for Mailer {}

impl HandlerKeyed for Mailer {
    type Key = String;
}

impl FailurePolicy for Mailer {}

impl HandlerDispatchesTo<Order> for Mailer {
    fn envelope(envelope: Envelope<Order>) -> MailerEnvelope {
        MailerEnvelope::Order(envelope)
    }
}

impl Dispatch for MailerEnvelope {
    fn targets(targets: &mut impl TargetVisitor) {
        targets.target::<Order>();
    }

    fn route<R: Router>(self, router: R) -> R::Routed {
        match self {
            Self::Order(envelope) => router.typed(envelope),
        }
    }
}

fn shipped(email: &str) -> RecordedEvent {
    let event = OrderEvent::Shipped {
        email: email.to_owned(),
    };
    RecordedEvent::new(3, 1, event.to_event().unwrap())
}

#[tokio::test]
async fn a_call_sends_typed_commands_and_names_the_event_to_the_world_outside() {
    let (mailer, event) = (Mailer::default(), shipped("ann@example.com"));
    let mut cx = Handling::new("order", "ord-1", &event).with_attempt(2);
    mailer.handle_event(&mut cx).await.unwrap();
    assert_eq!((cx.attempt(), cx.position()), (2, 3));
    assert_eq!(cx.idempotency_key(), "mailer:order/ord-1/1");
    let [MailerEnvelope::Order(sent)] = cx.envelopes() else {
        panic!("it sends one command");
    };
    assert_eq!(sent.instance_id, "ord-1");
    let receipt = "mailer:order/ord-1/1 to ann@example.com".to_owned();
    assert_eq!(sent.command, OrderCommand::NoteMail { receipt });
}

#[tokio::test]
async fn the_error_of_a_call_reaches_the_policy_with_its_type() {
    let (mailer, event) = (Mailer::default(), shipped(""));
    let mut cx = Handling::new("order", "ord-1", &event);
    let error = mailer.handle_event(&mut cx).await.unwrap_err();
    let cause = error.into_cause();
    assert_eq!(
        format!("{}: {cause}", cause.kind()),
        "failed: the address is empty"
    );
    let source = SourceEvent::of("order", "ord-1", &event);
    let failure = Failure::new(cause, "", &source);
    let action = EventHandler::on_failure(&mailer, &failure);
    assert_eq!(format!("{action:?}"), "DeadLetter");
    let failure = Failure::new(
        FailureCause::TimedOut {
            after: Duration::ZERO,
        },
        "",
        &source,
    );
    let action = EventHandler::on_failure(&mailer, &failure);
    assert!(format!("{action:?}").starts_with("Retry"), "{action:?}");
}

#[test]
fn the_key_is_the_text_of_the_user_s_key_and_otherwise_the_stream() {
    let event = shipped("ann@example.com");
    let key = |event| Mailer::key_of("order", "ord-1", event);
    assert_eq!(key(&event).unwrap(), "ann@example.com");
    let error = key(&shipped("")).unwrap_err();
    assert!(error.to_string().contains("it is empty"), "{error}");
    assert_eq!(stream_key("order", "ord-1"), "order/ord-1");
}

#[test]
fn the_idempotency_key_is_text_for_a_header_and_no_two_events_share_one() {
    let event = shipped("ann@example.com");
    let of = |stream_id: &str| {
        let cx = Handling::<Mailer>::new("order", stream_id, &event);
        cx.idempotency_key().to_owned()
    };
    assert_eq!(of("a/1"), "mailer:order/a%2F1/1");
    assert_eq!(of("a%2F1"), "mailer:order/a%252F1/1");
    assert_eq!(of("é x"), "mailer:order/%C3%A9%20x/1");
}
