//! A declared store opens with all of its parts, and draws itself.

use std::convert::Infallible;

use eventfold_es::RunMode;
use eventfold_es::contract::ReactError;
use eventfold_es::prelude::*;
use eventfold_es::topology::Edge;
use eventfold_es_tests_domain::{
    Inventory, InventoryCommand, InventoryEvent, Order, OrderCommand, OrderEvent,
};
use serde_json::json;

#[process_manager(subscribes = [Order], dispatches = [Inventory])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct ReservationSaga;

impl React<Order> for ReservationSaga {
    fn react(&mut self, event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
        let OrderEvent::Placed { qty } = event;
        cx.send("inv-1", InventoryCommand::Reserve { qty: *qty });
    }
}

#[projection(subscribes = [Order, Inventory])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Units {
    ordered: u32,
    reserved: u32,
}

impl Project<Order> for Units {
    fn project(&mut self, event: &OrderEvent, _cx: &EventContext<'_>) {
        let OrderEvent::Placed { qty } = event;
        self.ordered += qty;
    }
}

impl Project<Inventory> for Units {
    fn project(&mut self, event: &InventoryEvent, _cx: &EventContext<'_>) {
        let InventoryEvent::Reserved { qty } = event;
        self.reserved += qty;
    }
}

/// An aggregate whose commands cannot be dispatched: they are not serde types.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Meter;

struct Read;

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
enum MeterEvent {
    WasRead,
}

impl Aggregate for Meter {
    const AGGREGATE_TYPE: &'static str = "meter";
    type Command = Read;
    type DomainEvent = MeterEvent;
    type Error = Infallible;

    fn handle(&self, Read: Read) -> Result<Vec<MeterEvent>, Infallible> {
        Ok(vec![MeterEvent::WasRead])
    }

    fn apply(self, MeterEvent::WasRead: &MeterEvent) -> Self {
        self
    }
}

impl Command for Read {
    type Aggregate = Meter;
}

/// A process manager that was written by hand, which finds its target by name.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Restock;

impl ProcessManager for Restock {
    const NAME: &'static str = "restock";
    type Envelope = CommandEnvelope;

    fn subscriptions(&self) -> &'static [&'static str] {
        &["meter"]
    }

    fn react(
        &mut self,
        _aggregate_type: &str,
        stream_id: &str,
        _event: &RecordedEvent,
    ) -> Result<Vec<CommandEnvelope>, ReactError> {
        Ok(vec![CommandEnvelope {
            aggregate_type: "order".to_owned(),
            instance_id: stream_id.to_owned(),
            command: json!({ "Place": { "qty": 7 } }),
            context: CommandContext::default(),
        }])
    }
}

#[event_store(
    aggregates = [Order, Inventory, Meter],
    process_managers = [ReservationSaga, Restock],
    projections = [Units],
)]
struct Shop;

#[tokio::test]
async fn everything_is_registered() {
    let directory = tempfile::tempdir().unwrap();
    let store = Shop::open(directory.path()).await.unwrap();
    let place = OrderCommand::Place { qty: 2 };
    store
        .send("ord-1", place, CommandContext::default())
        .await
        .unwrap();
    // By hand, by name: the target is registered although no macro-declared process manager sends to it.
    store
        .send("meter-1", Read, CommandContext::default())
        .await
        .unwrap();
    let units = store.projection::<Units>().await.unwrap();
    assert_eq!((units.ordered, units.reserved), (9, 9));
    assert!(store.dead_letters::<Restock>().await.unwrap().is_empty());
    store.close().await.unwrap();
}

#[tokio::test]
async fn the_builder_takes_further_settings() {
    let directory = tempfile::tempdir().unwrap();
    let builder = Shop::builder(directory.path()).run_mode(RunMode::OnDemand);
    let store = builder.open().await.unwrap();
    let place = OrderCommand::Place { qty: 2 };
    store
        .send("ord-1", place, CommandContext::default())
        .await
        .unwrap();
    let units = store.projection::<Units>().await.unwrap();
    assert_eq!((units.ordered, units.reserved), (2, 0));
    assert_eq!(store.run_process_managers().await.unwrap().dispatched, 1);
}

const EVENTS_OF_ORDER: &[&str] = Shop::topology().aggregates[0].events;

#[test]
fn the_topology_is_a_constant() {
    assert_eq!(EVENTS_OF_ORDER, ["Placed"]);
    let topology = Shop::topology();
    assert_eq!(topology.name, "Shop");
    let [order, inventory, meter] = topology.aggregates else {
        panic!("{topology:?}");
    };
    assert_eq!(
        (order.type_name, order.name, order.command_type),
        ("Order", "order", "OrderCommand")
    );
    assert_eq!(inventory.events, ["Reserved"]);
    assert_eq!((meter.name, meter.command_type), ("meter", ""));
    let edges: Vec<_> = topology.edges().collect();
    let [
        Edge::Reacts {
            aggregate: "order",
            process_manager: "reservation-saga",
            ..
        },
        Edge::Sends {
            process_manager: "reservation-saga",
            aggregate: "inventory",
            ..
        },
        Edge::Folds {
            aggregate: "order",
            projection: "units",
            ..
        },
        Edge::Folds {
            aggregate: "inventory",
            projection: "units",
            ..
        },
    ] = edges.as_slice()
    else {
        panic!("{edges:?}");
    };
}

#[test]
fn it_draws_itself() {
    assert_eq!(
        Shop::topology().to_mermaid(),
        r#"flowchart LR
    aggregate0["<b>Order</b><br/>Placed"]
    aggregate1["<b>Inventory</b><br/>Reserved"]
    aggregate2["<b>Meter</b><br/>WasRead"]
    process_manager0{{"<b>ReservationSaga</b>"}}
    process_manager1{{"<b>Restock</b>"}}
    projection0[("<b>Units</b>")]
    aggregate0 --> process_manager0
    process_manager0 ==>|"InventoryCommand"| aggregate1
    aggregate0 -.-> projection0
    aggregate1 -.-> projection0
"#
    );
    let json: serde_json::Value = serde_json::from_str(&Shop::topology().to_json()).unwrap();
    assert_eq!(json["process_managers"][1]["targets"], json!(null));
    assert!(Shop::topology().to_dot().starts_with("digraph \"Shop\" {"));
}

/// What a type written by hand needs is checked if it says so.
#[test]
fn types_written_by_hand_can_tell_what_they_need() {
    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    struct Meters;

    impl Projection for Meters {
        const NAME: &'static str = "meters";
        const SUBSCRIPTIONS: Option<&'static [&'static str]> = Some(&["meter"]);

        fn subscriptions(&self) -> &'static [&'static str] {
            &["meter"]
        }

        fn apply(
            &mut self,
            _: &str,
            _: &str,
            _: &RecordedEvent,
        ) -> Result<(), eventfold_es::contract::ProjectError> {
            Ok(())
        }
    }

    #[event_store(aggregates = [Meter], projections = [Meters])]
    struct Cellar;

    assert_eq!(Cellar::topology().edges().count(), 1);
    drop(Cellar::builder("cellar"));
}

/// What is nobody's `Command` is sent to nobody by its type, so that several may decide it.
#[tokio::test]
async fn commands_that_are_not_sent_by_their_type_may_be_decided_by_several() {
    macro_rules! tally {
        ($name:ident, $stored:literal) => {
            #[derive(Debug, Clone, Default, Serialize, Deserialize)]
            struct $name(u64);

            impl Aggregate for $name {
                const AGGREGATE_TYPE: &'static str = $stored;
                type Command = u64;
                type DomainEvent = MeterEvent;
                type Error = Infallible;

                fn handle(&self, count: u64) -> Result<Vec<MeterEvent>, Infallible> {
                    Ok((0..count).map(|_| MeterEvent::WasRead).collect())
                }

                fn apply(self, MeterEvent::WasRead: &MeterEvent) -> Self {
                    Self(self.0 + 1)
                }
            }
        };
    }
    tally!(Arrivals, "arrivals");
    tally!(Departures, "departures");

    #[event_store(aggregates = [Arrivals, Departures])]
    struct Airport;

    let directory = tempfile::tempdir().unwrap();
    let airport = Airport::open(directory.path()).await.unwrap();
    let arrivals = airport.get::<Arrivals>("a").await.unwrap();
    arrivals
        .execute(2, CommandContext::default())
        .await
        .unwrap();
    assert_eq!(arrivals.state().await.unwrap().0, 2);
    let departures = airport.get::<Departures>("a").await.unwrap();
    assert_eq!(departures.state().await.unwrap().0, 0);
}
