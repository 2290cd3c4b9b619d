//! What `#[process_manager]` declares with `key`, `deadlines`, `on_failure`, `state_version` and `start`, without a store.

use std::fmt::{Display, Formatter};
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use eventfold_es::StoredState;
use eventfold_es::contract::{JoinKind, ReactError, StoredDeadline, TimerChange};
use eventfold_es::prelude::*;
use eventfold_es::{Backoff, FailureCause, MigrationError, SourceEvent, StartFrom};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum OrderCommand {
    Cancel { reason: String },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    Placed,
    Paid,
    Merged { into: u32 },
    Printed,
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("the order is shipped")]
pub struct Shipped;

#[aggregate(error = Shipped)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Order;

impl Decider for Order {
    fn decide(&self, _: OrderCommand) -> Result<Vec<OrderEvent>, Shipped> {
        Err(Shipped)
    }

    fn evolve(&mut self, _: &OrderEvent) {}
}

/// Written as `ord-7`.
#[derive(Debug, PartialEq, Eq)]
pub struct OrderId(u32);

impl Display for OrderId {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "ord-{}", self.0)
    }
}

impl FromStr for OrderId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix("ord-").ok_or("it has no `ord-`")?;
        let number = number.parse();
        number
            .map(Self)
            .map_err(|error: std::num::ParseIntError| error.to_string())
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct PaymentDue {
    days: u32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct GiveUp;

#[process_manager(
    subscribes = [Order],
    dispatches = [Order],
    key = OrderId,
    deadlines = [PaymentDue, GiveUp],
    on_failure,
    state_version = 2,
    start = "now"
)]
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PaymentSaga {
    reminders: u32,
}

impl Correlate<Order> for PaymentSaga {
    fn correlate(event: &OrderEvent, cx: &EventContext<'_>) -> Correlation<OrderId> {
        let Ok(id) = cx.stream_id().parse() else {
            return Correlation::none();
        };
        match event {
            OrderEvent::Placed => Correlation::starts(id),
            OrderEvent::Paid => Correlation::continues(id),
            OrderEvent::Merged { into } => Correlation::each([
                Correlation::continues(id),
                Correlation::starts_or_continues(OrderId(*into)),
            ]),
            OrderEvent::Printed => Correlation::none(),
        }
    }
}

impl React<Order> for PaymentSaga {
    fn react(&mut self, event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
        match event {
            OrderEvent::Placed => {
                cx.schedule("payment", Duration::from_secs(60), PaymentDue { days: 14 });
            }
            OrderEvent::Paid => {
                cx.cancel("payment");
                cx.complete();
            }
            OrderEvent::Merged { .. } | OrderEvent::Printed => {}
        }
    }
}

impl OnDeadline<PaymentDue> for PaymentSaga {
    fn on_deadline(&mut self, message: PaymentDue, cx: &mut Reaction<'_, Self>) {
        self.reminders += message.days;
        cx.schedule("payment", SystemTime::UNIX_EPOCH, GiveUp);
    }
}

impl OnDeadline<GiveUp> for PaymentSaga {
    fn on_deadline(&mut self, _message: GiveUp, cx: &mut Reaction<'_, Self>) {
        let reason = format!("{} is not paid", cx.key());
        cx.send(cx.key(), OrderCommand::Cancel { reason });
        cx.complete();
    }
}

impl HandleFailure for PaymentSaga {
    fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
        match failure.rejection() {
            Some(Shipped) if self.reminders > 0 => {
                let reason = "it was reminded".to_owned();
                FailureAction::compensate(failure.key, OrderCommand::Cancel { reason })
            }
            Some(Shipped) => FailureAction::Retry(Backoff::exponential(Duration::from_secs(1))),
            None => FailureAction::default_for(failure),
        }
    }
}

impl MigrateState for PaymentSaga {
    fn migrate(state: StoredState<'_>) -> Result<Self, MigrationError> {
        match state.version() {
            1 => Ok(Self {
                reminders: state.decode()?,
            }),
            _ => Err(MigrationError::unknown(state)),
        }
    }
}

fn recorded(event: &OrderEvent) -> RecordedEvent {
    RecordedEvent::new(9, 4, event.to_event().unwrap())
}

fn joins(event: &OrderEvent, stream_id: &str) -> Vec<(String, JoinKind)> {
    let correlation =
        <PaymentSaga as ProcessManager>::correlate("order", stream_id, &recorded(event)).unwrap();
    let joins = correlation.into_joins().into_iter();
    joins.map(|join| (join.key, join.kind)).collect()
}

fn scheduled(effects: &eventfold_es::Effects<PaymentSagaEnvelope>) -> StoredDeadline {
    let [TimerChange::Schedule(scheduled)] = effects.timers.as_slice() else {
        panic!("{effects:?}");
    };
    let source = SourceEvent::of("order", "ord-7", &recorded(&OrderEvent::Placed));
    scheduled.clone().store(SystemTime::now(), source)
}

#[test]
fn what_is_declared_is_known() {
    const {
        assert!(PaymentSaga::IS_KEYED && PaymentSaga::STATE_VERSION == 2);
    }
    assert_eq!(PaymentSaga::START, StartFrom::Now);
    assert_eq!(PaymentSaga::DEADLINES, ["payment-due", "give-up"]);
}

#[test]
fn an_event_finds_its_instances() {
    let key = |number: u32| format!("ord-{number}");
    assert_eq!(
        joins(&OrderEvent::Placed, "ord-7"),
        [(key(7), JoinKind::Start)]
    );
    assert_eq!(
        joins(&OrderEvent::Paid, "ord-7"),
        [(key(7), JoinKind::Continue)]
    );
    assert_eq!(
        joins(&OrderEvent::Merged { into: 8 }, "ord-7"),
        [
            (key(7), JoinKind::Continue),
            (key(8), JoinKind::StartOrContinue)
        ]
    );
    assert_eq!(joins(&OrderEvent::Merged { into: 7 }, "ord-7").len(), 1);
    assert!(joins(&OrderEvent::Printed, "ord-7").is_empty());
    assert!(joins(&OrderEvent::Placed, "basket").is_empty());

    let correlate = <PaymentSaga as ProcessManager>::correlate;
    let error = correlate("invoice", "x", &recorded(&OrderEvent::Paid)).unwrap_err();
    assert!(matches!(error, ReactError::UnexpectedAggregate { .. }));
    let mut unknown = recorded(&OrderEvent::Paid);
    unknown.event.event_type = "Refunded".to_owned();
    let error = correlate("order", "ord-7", &unknown).unwrap_err();
    assert!(matches!(error, ReactError::Event(_)), "{error}");
}

#[test]
fn deadlines_go_to_the_handler_of_their_message() {
    let mut saga = PaymentSaga::default();
    let placed = recorded(&OrderEvent::Placed);
    let effects = saga.react_in("ord-7", "order", "ord-7", &placed).unwrap();
    let due = scheduled(&effects);
    let [TimerChange::Schedule(asked)] = effects.timers.as_slice() else {
        panic!("{effects:?}");
    };
    assert_eq!(asked.when, Deadline::after(Duration::from_secs(60)));
    assert_eq!(
        (due.name.as_str(), due.message_type.as_str()),
        ("payment", "payment-due")
    );

    let effects = ProcessManager::on_deadline(&mut saga, "ord-7", &due).unwrap();
    assert_eq!(saga.reminders, 14);
    let give_up = scheduled(&effects);
    assert_eq!(
        (give_up.message_type.as_str(), give_up.due_ms),
        ("give-up", 0)
    );

    let effects = ProcessManager::on_deadline(&mut saga, "ord-7", &give_up).unwrap();
    let [PaymentSagaEnvelope::Order(envelope)] = effects.envelopes.as_slice() else {
        panic!("{effects:?}");
    };
    let reason = "ord-7 is not paid".to_owned();
    assert_eq!(envelope.command, OrderCommand::Cancel { reason });
    assert_eq!(envelope.instance_id, "ord-7");
    assert!(effects.is_complete);

    let mut removed = due.clone();
    removed.message_type = "reminder".to_owned();
    let error = ProcessManager::on_deadline(&mut saga, "ord-7", &removed).unwrap_err();
    assert!(
        matches!(error, ReactError::UnexpectedDeadline { .. }),
        "{error}"
    );
    let mut changed = due;
    changed.message = serde_json::value::to_raw_value("soon").unwrap();
    changed.message_type = "payment-due".to_owned();
    let error = ProcessManager::on_deadline(&mut saga, "ord-7", &changed).unwrap_err();
    assert!(matches!(error, ReactError::Deadline { .. }), "{error}");
    let placed = recorded(&OrderEvent::Paid);
    let effects = saga.react_in("ord-7", "order", "ord-7", &placed).unwrap();
    assert!(effects.is_complete);
    assert!(matches!(effects.timers.as_slice(), [TimerChange::Cancel(name)] if name == "payment"));
}

#[test]
fn a_keyed_process_manager_does_not_react_without_a_key() {
    let mut saga = PaymentSaga::default();
    let placed = recorded(&OrderEvent::Placed);
    let error = ProcessManager::react(&mut saga, "order", "ord-7", &placed).unwrap_err();
    assert!(matches!(error, ReactError::NoKey), "{error}");
    let error = saga
        .react_in("seven", "order", "ord-7", &placed)
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("`seven`") && text.contains("it has no `ord-`"),
        "{text}"
    );
}

#[test]
fn failures_and_older_states_go_to_the_user() {
    let source = SourceEvent::of("order", "ord-7", &recorded(&OrderEvent::Placed));
    let shipped = || FailureCause::Rejected {
        error: std::sync::Arc::new(Shipped),
    };
    let failure = Failure::new(shipped(), "ord-7", &source);
    let decide =
        |saga: &PaymentSaga, failure: &Failure<'_>| ProcessManager::on_failure(saga, failure);
    let saga = PaymentSaga::default();
    assert!(matches!(decide(&saga, &failure), FailureAction::Retry(_)));
    let reminded = PaymentSaga { reminders: 1 };
    let FailureAction::Compensate(sent) = decide(&reminded, &failure) else {
        panic!("it compensates");
    };
    assert!(matches!(
        sent.as_slice(),
        [PaymentSagaEnvelope::Order(envelope)] if envelope.instance_id == "ord-7"
    ));
    let reason = "no event".to_owned();
    let failure = Failure::new(FailureCause::Undecodable { reason }, "ord-7", &source);
    assert!(matches!(decide(&reminded, &failure), FailureAction::Park));

    let migrated: PaymentSaga = StoredState::new(1, "5").into_current().unwrap();
    assert_eq!(migrated, PaymentSaga { reminders: 5 });
    let error = StoredState::new(0, "5")
        .into_current::<PaymentSaga>()
        .unwrap_err();
    assert!(
        matches!(error, MigrationError::Unknown { version: 0 }),
        "{error}"
    );
}

#[process_manager(subscribes = [Order], deadlines = [GiveUp])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Reminder {
    given_up: bool,
}

impl React<Order> for Reminder {
    fn react(&mut self, _event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
        cx.schedule("give-up", Deadline::after(Duration::ZERO), GiveUp);
    }
}

impl OnDeadline<GiveUp> for Reminder {
    fn on_deadline(&mut self, _message: GiveUp, _cx: &mut Reaction<'_, Self>) {
        self.given_up = true;
    }
}

#[test]
fn deadlines_need_no_key() {
    let mut reminder = Reminder::default();
    let placed = recorded(&OrderEvent::Placed);
    assert_eq!(Reminder::DEADLINES, ["give-up"]);
    assert!(
        ProcessManager::react(&mut reminder, "order", "o", &placed)
            .unwrap()
            .is_empty()
    );
    let effects = reminder.react_in("", "order", "o", &placed).unwrap();
    let [TimerChange::Schedule(scheduled)] = effects.timers.as_slice() else {
        panic!("{effects:?}");
    };
    let source = SourceEvent::of("order", "o", &placed);
    let stored = scheduled.clone().store(SystemTime::now(), source);
    let effects = ProcessManager::on_deadline(&mut reminder, "", &stored).unwrap();
    assert!(effects.is_empty());
    assert!(reminder.given_up);
}
