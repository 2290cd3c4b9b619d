//! Phase 3 of the reference design, step 1: `CommandEnvelope` and the `ProcessManager` trait.

use crate::common::sagas::{ReservationByHand, ReservationSaga, ReservationSagaEnvelope, reserve};
use crate::common::shop::{Inventory, InventoryCommand, Order, OrderEvent};
use eventfold_es::contract::ReactError;
use eventfold_es::prelude::*;
use eventfold_es_tests::TestResult;
use serde_json::json;

/// The test process manager of the document: each event is echoed as a command.
#[derive(Debug, Default, Serialize, Deserialize)]
struct EchoSaga {
    echoed: u64,
}

impl ProcessManager for EchoSaga {
    const NAME: &'static str = "echo-saga";
    type Envelope = CommandEnvelope;

    fn subscriptions(&self) -> &'static [&'static str] {
        &["source"]
    }

    fn react(
        &mut self,
        aggregate_type: &str,
        stream_id: &str,
        event: &RecordedEvent,
    ) -> Result<Vec<CommandEnvelope>, ReactError> {
        self.echoed += 1;
        Ok(vec![CommandEnvelope {
            aggregate_type: "target".to_owned(),
            instance_id: stream_id.to_owned(),
            command: json!({ "type": event.event_type, "from": aggregate_type, "data": event.data }),
            context: CommandContext::default().with_correlation_id("corr-1"),
        }])
    }
}

fn placed(sku: &str, qty: u32) -> OrderEvent {
    OrderEvent::Placed {
        sku: sku.to_owned(),
        qty,
    }
}

#[test]
fn echo_saga_react_returns_the_expected_envelopes() -> TestResult {
    let event = RecordedEvent::new(1, 1, eventfold::Event::new("Happened", json!({ "n": 7 })));
    let mut saga = EchoSaga::default();
    let envelopes = saga.react("source", "s-1", &event)?;
    assert_eq!(
        envelopes,
        [CommandEnvelope {
            aggregate_type: "target".to_owned(),
            instance_id: "s-1".to_owned(),
            command: json!({ "type": "Happened", "from": "source", "data": { "n": 7 } }),
            context: CommandContext::default().with_correlation_id("corr-1"),
        }]
    );
    assert_eq!(saga.echoed, 1);
    assert_eq!(saga.subscriptions(), ["source"]);
    assert_eq!(EchoSaga::NAME, "echo-saga");
    Ok(())
}

#[test]
fn react_of_a_process_manager_with_typed_events_returns_the_expected_envelopes() -> TestResult {
    let mut saga = ReservationByHand::default();
    let event = RecordedEvent::new(1, 1, placed("W-1", 2).to_event()?);
    let envelopes = ProcessManager::react(&mut saga, "order", "ord-1", &event)?;
    assert_eq!(envelopes, [reserve("W-1", 2)]);

    let event = RecordedEvent::new(2, 2, OrderEvent::Confirmed.to_event()?);
    assert_eq!(
        ProcessManager::react(&mut saga, "order", "ord-1", &event)?,
        []
    );
    assert_eq!(saga.placed, 1);
    Ok(())
}

#[test]
fn react_of_a_declared_process_manager_returns_the_expected_envelopes() -> TestResult {
    let mut saga = ReservationSaga::default();
    let event = placed("W-1", 2);
    let mut stored = event.to_event()?;
    stored.meta = Some(json!({ "correlation_id": "req-7" }));
    let recorded = RecordedEvent::new(5, 1, stored);

    // As the store calls it.
    let envelopes = ProcessManager::react(&mut saga, Order::AGGREGATE_TYPE, "ord-1", &recorded)?;
    let [ReservationSagaEnvelope::Inventory(envelope)] = &envelopes[..] else {
        panic!("{envelopes:?}");
    };
    assert_eq!(envelope.instance_id, "inv-W-1");
    assert_eq!(envelope.command, InventoryCommand::Reserve { qty: 2 });
    assert_eq!(
        envelope.context,
        CommandContext::default().with_correlation_id("req-7"),
        "a command continues the correlation of its event"
    );
    assert_eq!(
        envelope.erase()?,
        CommandEnvelope {
            context: envelope.context.clone(),
            ..reserve("W-1", 2)
        }
    );

    // As a test of the handler calls it.
    let mut reaction = Reaction::new(Order::AGGREGATE_TYPE, "ord-1", &recorded);
    React::<Order>::react(&mut saga, &event, &mut reaction);
    assert_eq!((reaction.stream_id(), reaction.position()), ("ord-1", 5));
    assert_eq!(reaction.into_envelopes().len(), 1);
    assert_eq!(saga.placed, 2);
    Ok(())
}

#[test]
fn react_refuses_events_that_do_not_decode() -> TestResult {
    let event = RecordedEvent::new(1, 1, eventfold::Event::new("Shipped", json!({})));
    let by_hand = ProcessManager::react(&mut ReservationByHand::default(), "order", "o", &event);
    let declared = ProcessManager::react(&mut ReservationSaga::default(), "order", "o", &event);
    let refused = [by_hand.err(), declared.err()];
    for error in refused.into_iter().map(Option::unwrap) {
        assert!(matches!(error, ReactError::Event(_)));
        let text = error.to_string();
        assert!(text.contains("`Shipped`"), "{text}");
        assert!(text.contains("Placed, Confirmed"), "{text}");
    }
    let event = RecordedEvent::new(1, 1, OrderEvent::Confirmed.to_event()?);
    let stray = ProcessManager::react(&mut ReservationSaga::default(), "invoice", "i", &event);
    assert!(stray.unwrap_err().to_string().contains("`invoice`"));
    Ok(())
}

#[test]
fn command_envelope_serialization_round_trip() -> TestResult {
    let full = CommandEnvelope {
        aggregate_type: Inventory::AGGREGATE_TYPE.to_owned(),
        instance_id: "Ä/b \"quoted\" \u{1F980}".to_owned(),
        command: json!({ "Reserve": { "qty": 2, "price": 0.1, "big": u64::MAX, "none": null } }),
        context: CommandContext::default()
            .with_actor("user-42")
            .with_correlation_id("req-7")
            .with_metadata(json!({ "ip": "::1" }))
            .with_source_device("till-3"),
    };
    for envelope in [full, reserve("W-1", 2)] {
        let line = serde_json::to_string(&envelope)?;
        assert_eq!(serde_json::from_str::<CommandEnvelope>(&line)?, envelope);
        let value = serde_json::to_value(&envelope)?;
        assert_eq!(serde_json::from_value::<CommandEnvelope>(value)?, envelope);
    }
    let fields = serde_json::to_value(reserve("W-1", 2))?;
    assert_eq!(
        fields,
        json!({
            "aggregate_type": "inventory",
            "instance_id": "inv-W-1",
            "command": { "Reserve": { "qty": 2 } },
            "context": { "actor": "reservation-by-hand", "correlation_id": null, "metadata": null }
        })
    );
    Ok(())
}

/// Acceptance: "types re-exported from `lib.rs`".
#[test]
fn types_are_reexported_from_the_crate_root() {
    fn is_process_manager<PM: eventfold_es::ProcessManager>() {}
    is_process_manager::<EchoSaga>();
    let _: Option<eventfold_es::CommandEnvelope> = None;
    let _: Option<eventfold_es::store::ProcessManagerReport> = None;
}
