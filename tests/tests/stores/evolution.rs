//! Events that were stored in older shapes are read in the current one, by every reader; events of a newer program are not.

use std::convert::Infallible;
use std::path::Path;

use eventfold_es::prelude::*;
use eventfold_es::store::{InjectOptions, ParkedAt};
use eventfold_es::{EventError, StoreError};
use serde_json::json;

/// The program as it was first.
mod v1 {
    use super::*;

    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub enum OrderCommand {
        Place { sku: String },
        Flag,
        Close,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
    #[serde(tag = "type", content = "data")]
    pub enum OrderEvent {
        OrderPlaced { sku: String },
        Flagged,
        Closed,
    }

    #[aggregate(error = Infallible)]
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct Order {
        pub skus: Vec<String>,
    }

    impl Decider for Order {
        fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, Infallible> {
            Ok(vec![match command {
                OrderCommand::Place { sku } => OrderEvent::OrderPlaced { sku },
                OrderCommand::Flag => OrderEvent::Flagged,
                OrderCommand::Close => OrderEvent::Closed,
            }])
        }

        fn evolve(&mut self, event: &OrderEvent) {
            if let OrderEvent::OrderPlaced { sku } = event {
                self.skus.push(sku.clone());
            }
        }
    }
}

/// The second version: with a quantity.
mod v2 {
    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
    #[serde(tag = "type", content = "data")]
    pub enum OrderEvent {
        #[event(version = 2, upcast_from(1 => PlacedV1))]
        OrderPlaced {
            sku: String,
            qty: u32,
        },
        Flagged,
        Closed,
    }

    #[derive(Deserialize)]
    pub struct PlacedV1 {
        sku: String,
    }

    impl Upcast<OrderEvent> for PlacedV1 {
        fn upcast(self) -> OrderEvent {
            OrderEvent::OrderPlaced {
                sku: self.sku,
                qty: 1,
            }
        }
    }
}

/// The third one: `OrderPlaced` is called `Placed` and is a tuple, `Flagged` is retired, `Closed` has become a `Placed`-like
/// event with data.
mod v3 {
    use super::*;

    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub enum OrderCommand {
        Place { sku: String, qty: u32 },
        Flag,
        Close { by: String },
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
    #[serde(tag = "type", content = "data")]
    pub enum OrderEvent {
        #[serde(alias = "OrderPlaced")]
        #[event(version = 3, upcast_from(1 => PlacedV1, 2 => PlacedV2))]
        Placed(String, u32),
        #[event(retired)]
        Flagged,
        #[event(version = 2, upcast_from(1 => ()))]
        Closed { by: String },
    }

    #[derive(Deserialize)]
    pub struct PlacedV1 {
        sku: String,
    }

    #[derive(Deserialize)]
    pub struct PlacedV2 {
        sku: String,
        qty: u32,
    }

    impl Upcast<PlacedV2> for PlacedV1 {
        fn upcast(self) -> PlacedV2 {
            PlacedV2 {
                sku: self.sku,
                qty: 1,
            }
        }
    }

    impl Upcast<OrderEvent> for PlacedV2 {
        fn upcast(self) -> OrderEvent {
            OrderEvent::Placed(self.sku, self.qty)
        }
    }

    impl Upcast<OrderEvent> for () {
        fn upcast(self) -> OrderEvent {
            OrderEvent::Closed {
                by: "unknown".to_owned(),
            }
        }
    }

    #[aggregate(error = Infallible, snapshot_version = 3)]
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct Order {
        pub units: u32,
        pub flags: u32,
        pub closed_by: Option<String>,
    }

    impl Decider for Order {
        fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, Infallible> {
            Ok(vec![match command {
                OrderCommand::Place { sku, qty } => OrderEvent::Placed(sku, qty),
                OrderCommand::Flag => OrderEvent::Flagged,
                OrderCommand::Close { by } => OrderEvent::Closed { by },
            }])
        }

        fn evolve(&mut self, event: &OrderEvent) {
            match event {
                OrderEvent::Placed(_, qty) => self.units += qty,
                OrderEvent::Flagged => self.flags += 1,
                OrderEvent::Closed { by } => self.closed_by = Some(by.clone()),
            }
        }
    }

    #[process_manager(subscribes = [Order], dispatches = [Order])]
    #[derive(Debug, Default, Serialize, Deserialize)]
    pub struct Closer {
        pub units: u32,
    }

    impl React<Order> for Closer {
        fn react(&mut self, event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
            if let OrderEvent::Placed(_, qty) = event {
                self.units += qty;
                let by = format!("closer after {}", self.units);
                cx.send(cx.stream_id(), OrderCommand::Close { by });
            }
        }
    }

    #[projection(subscribes = [Order])]
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub struct Units {
        pub units: u32,
    }

    impl Project<Order> for Units {
        fn project(&mut self, event: &OrderEvent, _cx: &EventContext<'_>) {
            if let OrderEvent::Placed(_, qty) = event {
                self.units += qty;
            }
        }
    }

    #[event_store(aggregates = [Order], process_managers = [Closer], projections = [Units])]
    pub struct Shop;
}

fn context() -> CommandContext {
    CommandContext::default()
}

fn lines(directory: &Path) -> Vec<serde_json::Value> {
    let lines = eventfold_es_tests::journal_file::event_lines(directory, "order", "ord-1");
    let lines = lines.unwrap().into_iter();
    lines
        .map(|line| serde_json::from_str(&line).unwrap())
        .collect()
}

/// A store that the first program wrote, with a snapshot.
async fn written_by_v1(directory: &Path) {
    let store = AggregateStore::open(directory).await.unwrap();
    for sku in ["a", "b"] {
        let sku = sku.to_owned();
        store
            .send("ord-1", v1::OrderCommand::Place { sku }, context())
            .await
            .unwrap();
    }
    store
        .send("ord-1", v1::OrderCommand::Flag, context())
        .await
        .unwrap();
    store
        .send("ord-1", v1::OrderCommand::Close, context())
        .await
        .unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn every_reader_takes_old_events_step_by_step() {
    let directory = tempfile::tempdir().unwrap();
    written_by_v1(directory.path()).await;
    // The first version says nothing of its version.
    assert!(
        lines(directory.path())
            .iter()
            .all(|line| line.get("meta").is_none())
    );

    let store = v3::Shop::open(directory.path()).await.unwrap();
    store.run_process_managers().await.unwrap();
    let order = store.get::<v3::Order>("ord-1").await.unwrap();
    let state = order.state().await.unwrap();
    assert_eq!((state.units, state.flags), (2, 1));
    // The process manager has seen both, in order.
    assert_eq!(state.closed_by.as_deref(), Some("closer after 2"));
    assert_eq!(store.projection::<v3::Units>().await.unwrap().units, 2);

    let place = v3::OrderCommand::Place {
        sku: "c".to_owned(),
        qty: 5,
    };
    order
        .execute(place, context().with_correlation_id("req-1"))
        .await
        .unwrap();
    assert_eq!(order.state().await.unwrap().units, 7);
    assert_eq!(store.projection::<v3::Units>().await.unwrap().units, 7);
    let report = store.verify().await.unwrap();
    assert!(report.differences.is_empty(), "{report:?}");
    store.close().await.unwrap();

    let lines = lines(directory.path());
    let placed = lines.iter().find(|line| line["type"] == "Placed").unwrap();
    assert_eq!(placed["data"], json!(["c", 5]));
    assert_eq!(
        placed["meta"],
        json!({ "correlation_id": "req-1", "schema_version": 3 })
    );
    // Of a process manager, too: beside what tells its origin.
    let closed = lines.iter().rfind(|line| line["type"] == "Closed").unwrap();
    assert_eq!(closed["meta"]["schema_version"], json!(2));

    // From the snapshot, and without one.
    for snapshot_every in [1000, 0] {
        let builder = v3::Shop::builder(directory.path()).snapshot_every(snapshot_every);
        let store = builder.open().await.unwrap();
        let order = store.get::<v3::Order>("ord-1").await.unwrap();
        assert_eq!(order.state().await.unwrap().units, 7);
        let report = store.verify().await.unwrap();
        assert!(report.differences.is_empty(), "{report:?}");
        store.close().await.unwrap();
    }
}

#[test]
fn every_version_between_is_read() {
    let mut stored = v2::OrderEvent::OrderPlaced {
        sku: "a".to_owned(),
        qty: 4,
    }
    .to_event()
    .unwrap();
    assert_eq!(stored.meta, Some(json!({ "schema_version": 2 })));
    let now = v3::OrderEvent::Placed("a".to_owned(), 4);
    assert_eq!(v3::OrderEvent::from_event(&stored).unwrap(), now);
    // Under its new name as well.
    stored.event_type = "Placed".to_owned();
    assert_eq!(v3::OrderEvent::from_event(&stored).unwrap(), now);
    // What is no version that was ever written means nothing.
    for other in [json!("2.0"), json!(null), json!(-1), json!(0), json!({})] {
        stored.data = json!({ "sku": "a" });
        stored.meta = Some(json!({ "schema_version": other }));
        let read = v3::OrderEvent::from_event(&stored).unwrap();
        assert_eq!(read, v3::OrderEvent::Placed("a".to_owned(), 1));
    }
}

#[test]
fn old_data_that_is_not_what_its_version_stored_is_named() {
    let mut stored = v3::OrderEvent::Placed("a".to_owned(), 4)
        .to_event()
        .unwrap();
    stored.meta = Some(json!({ "schema_version": 2 }));
    stored.data = json!({ "sku": "a" });
    let error = v3::OrderEvent::from_event(&stored).unwrap_err();
    assert!(matches!(error, EventError::Malformed { .. }), "{error}");
    assert!(error.to_string().contains("stored as version 2"), "{error}");
}

#[test]
fn a_newer_version_is_an_error_that_says_so() {
    let stored = v3::OrderEvent::Closed { by: "x".to_owned() }
        .to_event()
        .unwrap();
    // To the first program, whose `Closed` never had another version.
    let error = v1::OrderEvent::from_event(&stored).unwrap_err();
    assert!(
        matches!(
            error,
            EventError::Newer {
                version: 2,
                current: 1,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("update this one"), "{error}");
}

#[tokio::test]
async fn an_older_program_folds_nothing_that_it_does_not_know() {
    let directory = tempfile::tempdir().unwrap();
    let store = AggregateStore::open(directory.path()).await.unwrap();
    let close = v3::OrderCommand::Close { by: "x".to_owned() };
    store.send("ord-1", close, context()).await.unwrap();
    store.close().await.unwrap();

    #[process_manager(subscribes = [v1::Order])]
    #[derive(Debug, Default, Serialize, Deserialize)]
    struct Audit;

    impl React<v1::Order> for Audit {
        fn react(&mut self, _event: &v1::OrderEvent, _cx: &mut Reaction<'_, Self>) {}
    }

    #[projection(subscribes = [v1::Order])]
    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    struct Orders;

    impl Project<v1::Order> for Orders {
        fn project(&mut self, _event: &v1::OrderEvent, _cx: &EventContext<'_>) {}
    }

    let builder = AggregateStore::builder(directory.path())
        .process_manager::<Audit>()
        .projection::<Orders>();
    let store = builder.open().await.unwrap();
    // The aggregate is not loaded, rather than loaded without the event.
    let order = store.get::<v1::Order>("ord-1").await;
    let error = match order {
        Ok(order) => order.state().await.unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    assert!(error.contains("a newer program wrote it"), "{error}");
    // The projection stays before it, the process manager is parked at it.
    let error = store.projection::<Orders>().await.unwrap_err();
    assert!(
        matches!(error, StoreError::Projection { position: 1, .. }),
        "{error}"
    );
    let _ = store.run_process_managers().await;
    let [status] = store.health().await.process_managers.try_into().unwrap();
    let Some(ParkedAt {
        position: 1,
        reason,
        ..
    }) = status.parked_at
    else {
        panic!("{status:?}");
    };
    assert!(reason.contains("a newer program wrote it"), "{reason}");
    store.close().await.unwrap();

    // The program that knows it finds everything as it was.
    let store = v3::Shop::open(directory.path()).await.unwrap();
    let order = store.get::<v3::Order>("ord-1").await.unwrap();
    assert_eq!(order.state().await.unwrap().closed_by.as_deref(), Some("x"));
}

#[tokio::test]
async fn a_retired_event_is_read_and_not_written() {
    let directory = tempfile::tempdir().unwrap();
    written_by_v1(directory.path()).await;
    let store = v3::Shop::open(directory.path()).await.unwrap();
    let error = store
        .send("ord-1", v3::OrderCommand::Flag, context())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("it is retired"), "{error}");
    // What another store has accepted comes in.
    let stored = v1::OrderEvent::Flagged.to_event().unwrap();
    store
        .inject_event::<v3::Order>("ord-1", stored, InjectOptions::default())
        .await
        .unwrap();
    let order = store.get::<v3::Order>("ord-1").await.unwrap();
    assert_eq!(order.state().await.unwrap().flags, 2);
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn injected_events_keep_their_version() {
    let directory = tempfile::tempdir().unwrap();
    let store = v3::Shop::open(directory.path()).await.unwrap();
    let old = v2::OrderEvent::OrderPlaced {
        sku: "a".to_owned(),
        qty: 4,
    };
    let mut newer = old.to_event().unwrap();
    store
        .inject_event::<v3::Order>("ord-1", old.to_event().unwrap(), InjectOptions::default())
        .await
        .unwrap();
    newer.meta = Some(json!({ "schema_version": 4 }));
    let error = store
        .inject_event::<v3::Order>("ord-1", newer, InjectOptions::default())
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("a newer program wrote it"),
        "{error}"
    );
    let order = store.get::<v3::Order>("ord-1").await.unwrap();
    assert_eq!(order.state().await.unwrap().units, 4);
    store.close().await.unwrap();
    let injected = lines(directory.path()).remove(0);
    assert_eq!(injected["meta"], json!({ "schema_version": 2 }));
}

/// The version cannot be given by a command: events would be read in a shape that they do not have.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn the_version_is_nobody_elses_to_give() {
    let directory = tempfile::tempdir().unwrap();
    let store = AggregateStore::open(directory.path()).await.unwrap();
    let place = v1::OrderCommand::Place {
        sku: "a".to_owned(),
    };
    let metadata = json!({ "schema_version": 2, "tenant": "x" });
    let error = store
        .send("ord-1", place.clone(), context().with_metadata(metadata))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("give it another name"),
        "{error}"
    );
    let metadata = json!({ "tenant": "x" });
    store
        .send("ord-1", place, context().with_metadata(metadata))
        .await
        .unwrap();
    store.close().await.unwrap();
    assert_eq!(lines(directory.path())[0]["meta"], json!({ "tenant": "x" }));
}

/// A projection may go on without events of a newer program; that one builds it anew, once.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_projection_may_skip_what_it_does_not_know_until_a_program_knows_it() {
    /// Counts what it has seen, and how often it began.
    macro_rules! totals {
        ($order:ty, $event:ty, $placed:pat => $units:expr) => {
            #[projection(subscribes = [$order], name = "totals", unknown_events = "skip")]
            #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
            pub struct Totals {
                pub events: u32,
                pub units: u32,
            }

            impl Project<$order> for Totals {
                fn project(&mut self, event: &$event, _cx: &EventContext<'_>) {
                    self.events += 1;
                    if let $placed = event {
                        self.units += $units;
                    }
                }
            }
        };
    }
    mod old {
        use super::*;
        totals!(v1::Order, v1::OrderEvent, v1::OrderEvent::OrderPlaced { .. } => 1);
    }
    mod new {
        use super::*;
        totals!(v3::Order, v3::OrderEvent, v3::OrderEvent::Placed(_, qty) => *qty);
    }
    mod stopping {
        use super::*;

        #[projection(subscribes = [v1::Order], name = "totals")]
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        pub struct Totals {
            pub events: u32,
            pub units: u32,
        }

        impl Project<v1::Order> for Totals {
            fn project(&mut self, _event: &v1::OrderEvent, _cx: &EventContext<'_>) {}
        }
    }
    let directory = tempfile::tempdir().unwrap();
    written_by_v1(directory.path()).await;
    let store = AggregateStore::open(directory.path()).await.unwrap();
    for qty in [5, 6] {
        let sku = "c".to_owned();
        let place = v3::OrderCommand::Place { sku, qty };
        store.send("ord-1", place, context()).await.unwrap();
    }
    store.close().await.unwrap();

    let checkpoint = directory.path().join("projections/totals/checkpoint.json");
    // The old program, three times: it goes on from its checkpoint, and at last past an event that it knows.
    for run in 0..3 {
        let builder = AggregateStore::builder(directory.path()).projection::<old::Totals>();
        let store = builder.open().await.unwrap();
        let later = u32::from(run == 2);
        if later == 1 {
            let sku = "d".to_owned();
            let place = v1::OrderCommand::Place { sku };
            store.send("ord-later", place, context()).await.unwrap();
        }
        let totals = store.projection::<old::Totals>().await.unwrap();
        assert_eq!((totals.events, totals.units), (4 + later, 2 + later));
        store.close().await.unwrap();
        let saved = std::fs::read_to_string(&checkpoint).unwrap();
        assert_eq!(
            saved.matches("\"event_type\":\"Placed\"").count(),
            1,
            "{saved}"
        );
    }
    // One that is to stop at such events does not believe what went past them.
    {
        let kept = std::fs::read(&checkpoint).unwrap();
        let builder = AggregateStore::builder(directory.path()).projection::<stopping::Totals>();
        let store = builder.open().await.unwrap();
        let error = store.projection::<stopping::Totals>().await.unwrap_err();
        assert!(
            matches!(error, StoreError::Projection { position: 5, .. }),
            "{error}"
        );
        store.close().await.unwrap();
        std::fs::write(&checkpoint, kept).unwrap();
    }
    // The new one has everything.
    let builder = AggregateStore::builder(directory.path()).projection::<new::Totals>();
    let store = builder.open().await.unwrap();
    let totals = store.projection::<new::Totals>().await.unwrap();
    assert_eq!((totals.events, totals.units), (7, 14));
    store.close().await.unwrap();
    let saved = std::fs::read_to_string(&checkpoint).unwrap();
    assert!(!saved.contains("skipped"), "{saved}");
}
