//! What the macros declare works, without a store: names, delegation, envelopes, subscriptions.

use std::fmt;

use eventfold_es::contract::{
    Dispatch, DispatchTarget, ProjectError, ReactError, Router, TargetVisitor,
};
use eventfold_es::prelude::*;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum OrderCommand {
    Place { sku: String, qty: u32 },
    Reject { reason: String },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    Placed { sku: String, qty: u32 },
    Rejected { reason: String },
}

#[derive(Debug, PartialEq)]
pub enum OrderError {
    AlreadyPlaced,
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the order was already placed")
    }
}

impl std::error::Error for OrderError {}

#[aggregate]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Order {
    pub qty: u32,
    pub rejected: bool,
}

impl Decider for Order {
    fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, OrderError> {
        match command {
            OrderCommand::Place { .. } if self.qty > 0 => Err(OrderError::AlreadyPlaced),
            OrderCommand::Place { sku, qty } => Ok(vec![OrderEvent::Placed { sku, qty }]),
            OrderCommand::Reject { reason } => Ok(vec![OrderEvent::Rejected { reason }]),
        }
    }

    fn evolve(&mut self, event: &OrderEvent) {
        match event {
            OrderEvent::Placed { qty, .. } => self.qty += qty,
            OrderEvent::Rejected { .. } => self.rejected = true,
        }
    }
}

pub mod stock {
    use eventfold_es::prelude::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    pub enum Change {
        Reserve { qty: u32 },
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
    #[serde(tag = "type", content = "data")]
    pub enum Changed {
        Reserved { qty: u32 },
    }

    #[aggregate(name = "stock_item", command = Change, event = Changed, error = std::convert::Infallible)]
    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    pub struct Inventory {
        pub reserved: u32,
    }

    impl Decider for Inventory {
        fn decide(&self, command: Change) -> Result<Vec<Changed>, std::convert::Infallible> {
            let Change::Reserve { qty } = command;
            Ok(vec![Changed::Reserved { qty }])
        }

        fn evolve(&mut self, event: &Changed) {
            let Changed::Reserved { qty } = event;
            self.reserved += qty;
        }
    }
}

#[process_manager(subscribes = [Order, stock::Inventory], dispatches = [stock::Inventory, Order])]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ReservationSaga {
    pub placed: u64,
}

impl React<Order> for ReservationSaga {
    fn react(&mut self, event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
        if let OrderEvent::Placed { sku, qty } = event {
            self.placed += 1;
            cx.send(format!("inv-{sku}"), stock::Change::Reserve { qty: *qty });
        }
    }
}

impl React<stock::Inventory> for ReservationSaga {
    fn react(&mut self, _event: &stock::Changed, cx: &mut Reaction<'_, Self>) {
        let reason = cx.stream_id().to_owned();
        cx.send("ord-1", OrderCommand::Reject { reason });
    }
}

#[process_manager(subscribes = [Order], name = "auditor.v2")]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Audit {
    seen: u64,
}

impl React<Order> for Audit {
    fn react(&mut self, _event: &OrderEvent, _cx: &mut Reaction<'_, Self>) {
        self.seen += 1;
    }
}

#[projection(subscribes = [Order, stock::Inventory])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Sales {
    ordered: u32,
    reserved: u32,
}

impl Project<Order> for Sales {
    fn project(&mut self, event: &OrderEvent, _cx: &EventContext<'_>) {
        if let OrderEvent::Placed { qty, .. } = event {
            self.ordered += qty;
        }
    }
}

impl Project<stock::Inventory> for Sales {
    fn project(&mut self, event: &stock::Changed, _cx: &EventContext<'_>) {
        let stock::Changed::Reserved { qty } = event;
        self.reserved += qty;
    }
}

fn placed() -> OrderEvent {
    OrderEvent::Placed {
        sku: "W-1".to_owned(),
        qty: 2,
    }
}

fn recorded(event: &impl DomainEvent) -> RecordedEvent {
    RecordedEvent::new(7, 3, event.to_event().unwrap())
}

#[test]
fn an_aggregate_delegates_to_its_decider() {
    assert_eq!(Order::AGGREGATE_TYPE, "order");
    assert_eq!(stock::Inventory::AGGREGATE_TYPE, "stock_item");
    let place = OrderCommand::Place {
        sku: "W-1".to_owned(),
        qty: 2,
    };
    let events = Aggregate::handle(&Order::default(), place.clone()).unwrap();
    assert_eq!(events, [placed()]);
    let order = Aggregate::apply(Order::default(), &placed());
    assert_eq!(order.qty, 2);
    assert_eq!(order.handle(place), Err(OrderError::AlreadyPlaced));
    assert!(
        order
            .apply(&OrderEvent::Rejected {
                reason: String::new()
            })
            .rejected
    );
}

#[test]
fn a_command_knows_its_aggregate() {
    fn target<C: Command>() -> &'static str {
        <C::Aggregate as Aggregate>::AGGREGATE_TYPE
    }
    assert_eq!(target::<OrderCommand>(), "order");
    assert_eq!(target::<stock::Change>(), "stock_item");
}

#[test]
fn a_process_manager_reacts_with_typed_envelopes() {
    assert_eq!(ReservationSaga::NAME, "reservation-saga");
    let mut saga = ReservationSaga::default();
    assert_eq!(saga.subscriptions(), ["order", "stock_item"]);
    let sent = ProcessManager::react(&mut saga, "order", "ord-1", &recorded(&placed())).unwrap();
    let [ReservationSagaEnvelope::Inventory(envelope)] = sent.as_slice() else {
        panic!("{sent:?}");
    };
    assert_eq!(
        (envelope.instance_id.as_str(), &envelope.command),
        ("inv-W-1", &stock::Change::Reserve { qty: 2 })
    );
    assert_eq!(saga.placed, 1);
    let reserved = recorded(&stock::Changed::Reserved { qty: 2 });
    let sent = ProcessManager::react(&mut saga, "stock_item", "inv-W-1", &reserved).unwrap();
    let [ReservationSagaEnvelope::Order(envelope)] = sent.as_slice() else {
        panic!("{sent:?}");
    };
    assert_eq!(
        envelope.command,
        OrderCommand::Reject {
            reason: "inv-W-1".to_owned()
        }
    );
}

#[test]
fn what_a_process_manager_cannot_read_is_an_error() {
    let mut saga = ReservationSaga::default();
    let event = recorded(&placed());
    let error = ProcessManager::react(&mut saga, "invoice", "x", &event).unwrap_err();
    assert!(
        matches!(&error, ReactError::UnexpectedAggregate { aggregate_type } if aggregate_type == "invoice"),
        "{error}"
    );
    let error = ProcessManager::react(&mut saga, "stock_item", "x", &event).unwrap_err();
    assert!(matches!(error, ReactError::Event(_)), "{error}");
    assert_eq!(saga.placed, 0);
}

#[test]
fn an_envelope_routes_itself() {
    struct Names(Vec<&'static str>);
    impl TargetVisitor for Names {
        fn target<A: DispatchTarget>(&mut self) {
            self.0.push(A::AGGREGATE_TYPE);
        }
    }
    let mut names = Names(Vec::new());
    ReservationSagaEnvelope::targets(&mut names);
    assert_eq!(names.0, ["stock_item", "order"]);

    struct Erase;
    impl Router for Erase {
        type Routed = CommandEnvelope;
        fn typed<A: DispatchTarget>(self, envelope: Envelope<A>) -> CommandEnvelope {
            envelope.erase().unwrap()
        }
        fn erased(self, envelope: CommandEnvelope) -> CommandEnvelope {
            envelope
        }
    }
    let envelope = Envelope::new(
        "inv-1",
        stock::Change::Reserve { qty: 1 },
        CommandContext::default(),
    );
    let erased = ReservationSagaEnvelope::Inventory(envelope)
        .clone()
        .route(Erase);
    assert_eq!(erased.aggregate_type, "stock_item");
    assert_eq!(
        erased.command,
        serde_json::json!({ "Reserve": { "qty": 1 } })
    );
}

#[test]
fn a_process_manager_may_send_nothing() {
    assert_eq!(Audit::NAME, "auditor.v2");
    let mut audit = Audit::default();
    let sent = ProcessManager::react(&mut audit, "order", "ord-1", &recorded(&placed())).unwrap();
    assert!(sent.is_empty());
    assert_eq!(audit.seen, 1);
}

#[test]
fn a_projection_folds_what_it_subscribes_to() {
    assert_eq!(Sales::NAME, "sales");
    let mut sales = Sales::default();
    assert_eq!(sales.subscriptions(), ["order", "stock_item"]);
    Projection::apply(&mut sales, "order", "ord-1", &recorded(&placed())).unwrap();
    Projection::apply(
        &mut sales,
        "stock_item",
        "inv-1",
        &recorded(&stock::Changed::Reserved { qty: 3 }),
    )
    .unwrap();
    assert_eq!((sales.ordered, sales.reserved), (2, 3));
    let error = Projection::apply(&mut sales, "invoice", "x", &recorded(&placed())).unwrap_err();
    assert!(
        matches!(error, ProjectError::UnexpectedAggregate { .. }),
        "{error}"
    );
}
