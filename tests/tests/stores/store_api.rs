//! What a program asks of a store beside executing commands: listing, reading, injecting, contexts, routing by type.

use crate::common::counter::{Counter, CounterCommand, CounterError, CounterEvent};
use crate::common::sagas::{ReservationByHand, ReservationSaga};
use crate::common::shop::{Inventory, Order, OrderCommand, OrderError, OrderEvent, place};
use eventfold_es::prelude::*;
use eventfold_es::store::InjectOptions;
use eventfold_es::{CommandBus, DispatchError, ExecuteError, RunMode, StoreError};
use eventfold_es_tests::TestResult;
use serde_json::json;

fn context() -> CommandContext {
    CommandContext::default()
}

#[tokio::test]
async fn streams_are_listed_and_read_across_restarts() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    assert!(store.list::<Order>().await?.is_empty());
    assert!(store.list_streams(None).await?.is_empty());
    for id in ["b", "a", "c"] {
        store.send(id, place("W-1", 2), context()).await?;
    }
    store.send("b", OrderCommand::Confirm, context()).await?;
    store.send("a", CounterCommand::Add(1), context()).await?;
    // A rejection and a look make no stream.
    drop(store.send("z", CounterCommand::Reject, context()).await);
    store.get::<Order>("y").await?.state().await?;

    let check = async |store: &AggregateStore| -> TestResult {
        assert_eq!(store.list::<Order>().await?, ["a", "b", "c"]);
        assert_eq!(store.list::<Counter>().await?, ["a"]);
        assert!(store.list::<Inventory>().await?.is_empty());
        let all = store.list_streams(None).await?;
        let all: Vec<_> = all
            .iter()
            .map(|(kind, id)| (kind.as_str(), id.as_str()))
            .collect();
        let expected = [
            ("counter", "a"),
            ("order", "a"),
            ("order", "b"),
            ("order", "c"),
        ];
        assert_eq!(all, expected);
        assert_eq!(store.list_streams(Some("order")).await?.len(), 3);
        assert!(store.list_streams(Some("ord")).await?.is_empty());
        assert!(store.list_streams(Some("")).await?.is_empty());

        let events = store.read_events("order", "b").await?;
        let types: Vec<_> = events
            .iter()
            .map(|event| event.event_type.as_str())
            .collect();
        assert_eq!(types, ["Placed", "Confirmed"]);
        assert_eq!(events[0].data, json!({ "sku": "W-1", "qty": 2 }));
        for (aggregate_type, id) in [("order", "y"), ("order", "z"), ("nothing", "a"), ("", "")] {
            let error = store.read_events(aggregate_type, id).await.unwrap_err();
            assert!(matches!(error, StoreError::UnknownStream { .. }));
            let text = format!("there is no stream `{id}` of `{aggregate_type}`");
            assert_eq!(error.to_string(), text);
        }
        Ok(())
    };
    check(&store).await?;
    store.close().await?;
    check(&AggregateStore::open(base.path()).await?).await
}

#[tokio::test]
async fn send_and_get_reach_the_same_aggregate() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let handle = store.get::<Order>("ord-1").await?;
    let sent = store.send("ord-1", place("W-1", 2), context()).await?;
    assert_eq!((sent.version, sent.position), (1, Some(1)));
    assert_eq!(handle.state().await?.qty, 2);
    let again = store.send("ord-1", place("W-1", 2), context()).await;
    assert!(matches!(
        again,
        Err(ExecuteError::Domain(OrderError::AlreadyPlaced))
    ));
    let done = handle
        .clone()
        .execute(OrderCommand::Confirm, context())
        .await?;
    assert_eq!(done.events, [OrderEvent::Confirmed]);
    Ok(())
}

#[tokio::test]
async fn the_context_of_a_command_is_stored_with_its_events() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let full = context()
        .with_actor("user-42")
        .with_correlation_id("req-7")
        .with_source_device("till-3")
        .with_metadata(json!({ "ip": "::1" }));
    store.send("c", CounterCommand::AddOnes(2), full).await?;
    store.send("c", CounterCommand::Add(1), context()).await?;
    let no_object = context().with_metadata(json!([1, 2]));
    store.send("c", CounterCommand::Add(1), no_object).await?;

    let events = store.read_events("counter", "c").await?;
    let [first, second, bare, no_object] = &events[..] else {
        panic!("{events:?}");
    };
    for event in [first, second] {
        assert_eq!(event.actor.as_deref(), Some("user-42"));
        let meta = json!({ "ip": "::1", "correlation_id": "req-7", "source_device": "till-3" });
        assert_eq!(event.meta, Some(meta));
    }
    for event in [bare, no_object] {
        assert_eq!((&event.actor, &event.meta), (&None, &None));
    }
    let ids: std::collections::BTreeSet<_> = events.iter().map(|event| &event.id).collect();
    assert_eq!(ids.len(), 4, "each has an id of its own");
    assert!(
        events
            .iter()
            .all(|event| event.id.is_some() && event.ts > 1_600_000_000)
    );
    Ok(())
}

fn injected(id: Option<&str>, by: i64) -> Result<eventfold::Event, eventfold_es::EventError> {
    let mut event = CounterEvent::Added(by).to_event()?;
    event.id = id.map(str::to_owned);
    event.ts = 1_234_567_890;
    event.actor = Some("elsewhere".to_owned());
    event.meta = Some(json!({ "origin": "other store" }));
    Ok(event)
}

#[tokio::test]
async fn an_injected_event_is_stored_as_it_is_and_once_per_id() -> TestResult {
    let base = tempfile::tempdir()?;
    let options = InjectOptions::default();
    let store = AggregateStore::open(base.path()).await?;
    let event = injected(Some("e-1"), 5)?;
    for _ in 0..3 {
        store
            .inject_event::<Counter>("c", event.clone(), options)
            .await?;
    }
    assert_eq!(
        store.read_events("counter", "c").await?,
        std::slice::from_ref(&event)
    );
    // The id counts, not the content; and it counts in its stream only.
    store
        .inject_event::<Counter>("c", injected(Some("e-1"), 99)?, options)
        .await?;
    store
        .inject_event::<Counter>("c", injected(Some("e-2"), 5)?, options)
        .await?;
    store
        .inject_event::<Counter>("d", event.clone(), options)
        .await?;
    // Without an id, nothing is taken for the same.
    for _ in 0..2 {
        store
            .inject_event::<Counter>("c", injected(None, 1)?, options)
            .await?;
    }
    // The id of a command's own event counts too.
    store.send("c", CounterCommand::Add(100), context()).await?;
    let own = store.read_events("counter", "c").await?.pop().unwrap();
    store
        .inject_event::<Counter>("c", own.clone(), options)
        .await?;
    assert_eq!(store.get::<Counter>("c").await?.state().await?.sum, 112);
    assert_eq!(store.get::<Counter>("d").await?.state().await?.sum, 5);
    store.close().await?;

    // All of that after a restart, and after eviction.
    let store = AggregateStore::builder(base.path())
        .idle_timeout(std::time::Duration::from_millis(1))
        .open()
        .await?;
    for _ in 0..2 {
        for event in [
            injected(Some("e-1"), 5)?,
            injected(Some("e-2"), 5)?,
            own.clone(),
        ] {
            store.inject_event::<Counter>("c", event, options).await?;
        }
    }
    assert_eq!(store.get::<Counter>("c").await?.state().await?.sum, 112);
    assert_eq!(store.read_events("counter", "c").await?.len(), 5);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_event_injected_by_many_at_once_is_there_once() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let tasks: Vec<_> = (0..64)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                // Beside commands on the same stream.
                store.send("c", CounterCommand::Add(0), context()).await?;
                let event = injected(Some(&format!("e-{}", task % 4)), 1)?;
                store
                    .inject_event::<Counter>("c", event, InjectOptions::default())
                    .await?;
                // Answered means durable, also for the one who came second.
                let sum = store.get::<Counter>("c").await?.state().await?.sum;
                assert!(sum >= 1);
                Ok::<_, eventfold_es::Error>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    assert_eq!(store.get::<Counter>("c").await?.state().await?.sum, 4);
    assert_eq!(store.read_events("counter", "c").await?.len(), 68);
    Ok(())
}

#[tokio::test]
async fn an_event_that_the_aggregate_does_not_know_is_not_injected() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let cases = [
        (eventfold::Event::new("Vanished", json!(1)), "`Vanished`"),
        (eventfold::Event::new("Added", json!("many")), "`Added`"),
        (eventfold::Event::new("", json!(null)), "``"),
    ];
    for (event, name) in cases {
        let error = store
            .inject_event::<Counter>("c", event, InjectOptions::default())
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::Unstorable(_)), "{error:?}");
        assert!(error.to_string().contains(name), "{error}");
    }
    // One that does not fold fails as well, and leaves nothing.
    let unfoldable = CounterEvent::Unfoldable.to_event()?;
    let error = store
        .inject_event::<Counter>("c", unfoldable, InjectOptions::default())
        .await;
    assert!(matches!(error, Err(StoreError::Panicked { .. })));
    assert!(store.list_streams(None).await?.is_empty());
    let command = store.send("c", CounterCommand::Add(1), context()).await?;
    assert_eq!(command.version, 1);
    Ok(())
}

#[tokio::test]
async fn an_injected_event_runs_process_managers_when_asked_to() -> TestResult {
    let placed = OrderEvent::Placed {
        sku: "W-1".to_owned(),
        qty: 2,
    };
    for mode in [RunMode::Inline, RunMode::Background, RunMode::OnDemand] {
        let base = tempfile::tempdir()?;
        let store = AggregateStore::builder(base.path())
            .run_mode(mode)
            .process_manager::<ReservationSaga>()
            .open()
            .await?;
        let inventory = store.get::<Inventory>("inv-W-1").await?;
        let mut options = InjectOptions::default();
        store
            .inject_event::<Order>("ord-1", placed.to_event()?, options)
            .await?;
        if mode == RunMode::OnDemand {
            assert_eq!(inventory.state().await?.reserved, 0);
        }
        options.run_process_managers = true;
        store
            .inject_event::<Order>("ord-2", placed.to_event()?, options)
            .await?;
        assert_eq!(inventory.state().await?.reserved, 4, "{mode:?}");
    }
    Ok(())
}

struct NobodysCommand;

#[tokio::test]
async fn a_command_bus_routes_by_type() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let mut bus = CommandBus::new(store.clone());
    bus.register::<Order>();
    bus.register::<Counter>();
    bus.dispatch("x", place("W-1", 2), context()).await?;
    bus.dispatch("x", CounterCommand::Add(3), context().with_actor("bus"))
        .await?;
    assert_eq!(store.get::<Order>("x").await?.state().await?.qty, 2);
    assert_eq!(store.get::<Counter>("x").await?.state().await?.sum, 3);
    let events = store.read_events("counter", "x").await?;
    assert_eq!(events[0].actor.as_deref(), Some("bus"));

    let rejected = bus
        .dispatch("x", CounterCommand::Reject, context())
        .await
        .unwrap_err();
    assert_eq!(rejected.to_string(), "rejected at the sum 3");
    let DispatchError::Execution(source) = rejected else {
        panic!("{rejected:?}");
    };
    let source = source.downcast_ref::<ExecuteError<CounterError>>();
    assert!(matches!(
        source,
        Some(ExecuteError::Domain(CounterError::Rejected { sum: 3 }))
    ));

    let unknown = bus
        .dispatch("x", NobodysCommand, context())
        .await
        .unwrap_err();
    assert!(matches!(unknown, DispatchError::UnknownCommand(_)));
    let text = unknown.to_string();
    assert!(
        text.contains("NobodysCommand: call `register::<..>()`"),
        "{text}"
    );
    Ok(())
}

#[tokio::test]
async fn dead_letters_of_a_process_manager_that_is_not_registered_are_refused() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::builder(base.path())
        .process_manager::<ReservationSaga>()
        .open()
        .await?;
    assert!(store.dead_letters::<ReservationSaga>().await?.is_empty());
    let error = store.dead_letters::<ReservationByHand>().await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("ReservationByHand is not registered"),
        "{text}"
    );
    assert!(text.contains("add `.process_manager::<..>()`"), "{text}");
    Ok(())
}
