//! A hand-written process manager, with everything that the macro generates.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;
use crate::envelope::CommandEnvelope;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Payments {
    reminded: u32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Remind {
    times: u32,
}

impl ProcessManager for Payments {
    const NAME: &'static str = "payments";
    const IS_KEYED: bool = true;
    const DEADLINES: &'static [&'static str] = &["remind"];
    type Envelope = CommandEnvelope;

    fn subscriptions(&self) -> &'static [&'static str] {
        &["order"]
    }

    fn react(
        &mut self,
        _: &str,
        _: &str,
        _: &RecordedEvent,
    ) -> Result<Vec<CommandEnvelope>, ReactError> {
        Err(ReactError::NoKey)
    }

    fn correlate(_: &str, stream_id: &str, _: &RecordedEvent) -> Result<Correlation, ReactError> {
        let key = stream_id.parse::<u64>();
        let key = key.map_err(|error| ReactError::Other(error.to_string()))?;
        Correlation::starts_or_continues(key).erase()
    }

    fn react_in(
        &mut self,
        key: &str,
        aggregate_type: &str,
        stream_id: &str,
        event: &RecordedEvent,
    ) -> Result<Effects<CommandEnvelope>, ReactError> {
        let reaction = Reaction::<Self>::new(aggregate_type, stream_id, event);
        let key = InstanceKey::from_text(key)?;
        let mut cx = reaction.with_key(&key);
        let name = format!("remind-{}", cx.key());
        match event.event_type.as_str() {
            "Paid" => {
                cx.cancel(name);
                cx.complete();
            }
            "Unnamed" => {
                cx.schedule("", Deadline::after(Duration::ZERO), Remind { times: 0 });
                cx.schedule("\n", Deadline::after(Duration::ZERO), Remind { times: 0 });
            }
            _ => cx.schedule(name, Deadline::after(Duration::ZERO), Remind { times: 3 }),
        }
        cx.into_effects()
    }

    fn on_deadline(
        &mut self,
        key: &str,
        deadline: &StoredDeadline,
    ) -> Result<Effects<CommandEnvelope>, ReactError> {
        let event = deadline.as_event();
        let key = InstanceKey::from_text(key)?;
        let mut cx = Reaction::to_deadline(deadline, &event).with_key(&key);
        let message = Remind::from_deadline(deadline)?;
        OnDeadline::<Remind>::on_deadline(self, message, &mut cx);
        cx.into_effects()
    }
}

impl Keyed for Payments {
    type Key = u64;
}

impl Schedules<Remind> for Payments {
    const MESSAGE_TYPE: &'static str = "remind";

    fn encode(message: &Remind) -> Result<Box<serde_json::value::RawValue>, String> {
        DeadlineMessage::encode(message)
    }
}

impl OnDeadline<Remind> for Payments {
    fn on_deadline(&mut self, message: Remind, cx: &mut Reaction<'_, Self>) {
        self.reminded += message.times;
        assert_eq!((cx.aggregate_type(), cx.stream_id()), ("order", "7"));
        assert_eq!(
            (cx.event().event_type.as_str(), cx.position()),
            ("remind", 4)
        );
        assert_eq!(cx.correlation_id(), Some("c-1"));
        let times = message.times - 1;
        cx.schedule(
            "again",
            Deadline::at(SystemTime::UNIX_EPOCH),
            Remind { times },
        );
    }
}

fn event(event_type: &str) -> RecordedEvent {
    let event = eventfold::Event {
        event_type: event_type.to_owned(),
        data: json!(null),
        ts: 0,
        id: None,
        actor: None,
        meta: Some(json!({ "correlation_id": "c-1" })),
    };
    RecordedEvent::new(4, 2, event)
}

#[test]
fn a_keyed_reaction_collects_timers_and_completion() {
    let mut payments = Payments::default();
    let placed = event("Placed");
    let correlation = Payments::correlate("order", "7", &placed).unwrap();
    let [join] = correlation.joins() else {
        panic!("{correlation:?}");
    };
    let effects = payments.react_in(&join.key, "order", "7", &placed).unwrap();
    let [TimerChange::Schedule(scheduled)] = effects.timers.as_slice() else {
        panic!("{effects:?}");
    };
    assert_eq!(
        (scheduled.name.as_str(), scheduled.message_type),
        ("remind-7", "remind")
    );
    assert!(!effects.is_complete && !effects.is_empty());

    let source = SourceEvent::of("order", "7", &placed);
    let stored = scheduled.clone().store(SystemTime::now(), source);
    let effects = ProcessManager::on_deadline(&mut payments, &join.key, &stored).unwrap();
    assert_eq!(payments.reminded, 3);
    assert!(matches!(
        effects.timers.as_slice(),
        [TimerChange::Schedule(again)] if again.name == "again" && again.message.get() == r#"{"times":2}"#
    ));

    let effects = payments
        .react_in(&join.key, "order", "7", &event("Paid"))
        .unwrap();
    assert!(effects.is_complete && !effects.is_empty() && effects.envelopes.is_empty());
    assert!(matches!(effects.timers.as_slice(), [TimerChange::Cancel(name)] if name == "remind-7"));
}

#[test]
fn a_reaction_that_asks_for_what_cannot_be_stored_fails_with_its_first_mistake() {
    let failed = Payments::default().react_in("7", "order", "7", &event("Unnamed"));
    let error = failed.unwrap_err().to_string();
    assert!(
        error.contains("it is empty") && error.contains("`remind`"),
        "{error}"
    );
}

#[test]
fn a_key_that_does_not_read_back_names_the_remedy() {
    let failed = Payments::default().react_in("seven", "order", "7", &event("Placed"));
    let error = failed.unwrap_err().to_string();
    assert!(
        error.contains("`seven`") && error.contains("keep the form in which keys are written"),
        "{error}"
    );
}

#[test]
#[should_panic(expected = "this reaction of `payments` has no key")]
fn a_reaction_without_key_says_how_to_build_one() {
    let event = event("Placed");
    let _ = Reaction::<Payments>::new("order", "7", &event).key();
}

#[test]
fn cancelling_a_name_that_no_deadline_can_have_does_nothing() {
    let event = event("Placed");
    let mut reaction = Reaction::<Payments>::new("order", "7", &event).with_key(&7);
    reaction.cancel("");
    reaction.cancel("x".repeat(600));
    let printed = format!("{reaction:?}");
    assert!(printed.contains("payments"), "{printed}");
    assert!(reaction.into_effects().unwrap().is_empty());
}

/// A process manager written for an earlier version of this crate.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Plain;

impl ProcessManager for Plain {
    const NAME: &'static str = "plain";
    type Envelope = CommandEnvelope;

    fn subscriptions(&self) -> &'static [&'static str] {
        &["order"]
    }

    fn react(
        &mut self,
        aggregate_type: &str,
        stream_id: &str,
        _: &RecordedEvent,
    ) -> Result<Vec<CommandEnvelope>, ReactError> {
        Ok(vec![CommandEnvelope {
            aggregate_type: aggregate_type.to_owned(),
            instance_id: stream_id.to_owned(),
            command: json!(1),
            context: crate::command::CommandContext::default(),
        }])
    }
}

#[test]
fn without_more_there_is_one_instance_that_sends() {
    let event = event("Placed");
    let correlation = Plain::correlate("order", "7", &event).unwrap();
    let [join] = correlation.joins() else {
        panic!("{correlation:?}");
    };
    assert_eq!(
        (join.key.as_str(), join.kind),
        ("", JoinKind::StartOrContinue)
    );
    let effects = Plain.react_in("", "order", "7", &event).unwrap();
    assert_eq!(effects.envelopes.len(), 1);
    assert!(effects.timers.is_empty() && !effects.is_complete);
    assert!(!Plain::IS_KEYED && Plain::DEADLINES.is_empty());
    assert_eq!((Plain::STATE_VERSION, Plain::START), (1, StartFrom::Origin));

    let remind = Deadline::after(Duration::ZERO);
    let scheduled = ScheduledDeadline::new(
        "pay".to_owned(),
        remind,
        "remind",
        DeadlineMessage::encode(&1),
    )
    .unwrap();
    let stored = scheduled.store(SystemTime::now(), SourceEvent::of("order", "7", &event));
    let error = Plain.on_deadline("", &stored).unwrap_err().to_string();
    assert!(
        error.contains("no handler for the deadline `pay`"),
        "{error}"
    );
    let error = Plain::migrate_state(StoredState::new(0, "{}")).unwrap_err();
    assert!(
        error.to_string().contains("there is no migration"),
        "{error}"
    );
}
