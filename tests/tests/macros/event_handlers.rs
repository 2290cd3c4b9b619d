//! What `#[event_handler]` declares, alone, in a declared store and in the lock.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eventfold_es::contract::ReactError;
use eventfold_es::prelude::*;
use eventfold_es::schema::{Schema, Verdict};
use eventfold_es::topology::Edge;
use eventfold_es::{HandleError, StartFrom};
use eventfold_es_tests_domain::{
    Inventory, InventoryCommand, InventoryEvent, Order, OrderCommand, OrderEvent,
};

/// A client that a test can look into.
#[derive(Debug, Clone, Default)]
struct Smtp(Arc<Mutex<Vec<String>>>);

impl Smtp {
    async fn send(&self, mail: String) -> Result<(), String> {
        tokio::task::yield_now().await;
        if mail.is_empty() {
            return Err("the mail is empty".to_owned());
        }
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sent.push(mail);
        Ok(())
    }

    fn sent(&self) -> Vec<String> {
        let sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sent.clone()
    }
}

const CALLS: usize = 4;

/// The value is no `Default`, no `Clone` and not stored.
#[event_handler(
    subscribes = [Order, Inventory],
    dispatches = [Inventory],
    key = u32,
    concurrency = CALLS,
    timeout = "1500ms",
    on_failure,
    start = "now"
)]
struct Mailer {
    smtp: Smtp,
}

impl Handle<Order> for Mailer {
    type Error = String;

    async fn handle(&self, event: &OrderEvent, cx: &mut Handling<'_, Self>) -> Result<(), String> {
        let OrderEvent::Placed { qty } = event;
        let mail = match qty {
            0 => String::new(),
            qty => format!("{}: {qty}", cx.stream_id()),
        };
        self.smtp.send(mail).await?;
        cx.send("inv-1", InventoryCommand::Reserve { qty: *qty });
        Ok(())
    }
}

impl Handle<Inventory> for Mailer {
    type Error = Infallible;

    async fn handle(
        &self,
        _event: &InventoryEvent,
        _cx: &mut Handling<'_, Self>,
    ) -> Result<(), Infallible> {
        Ok(())
    }
}

impl HandleKey<Order> for Mailer {
    fn key(event: &OrderEvent, _cx: &EventContext<'_>) -> u32 {
        let OrderEvent::Placed { qty } = event;
        *qty
    }
}

impl HandleKey<Inventory> for Mailer {
    fn key(_event: &InventoryEvent, _cx: &EventContext<'_>) -> u32 {
        0
    }
}

impl HandlerPolicy for Mailer {
    fn on_failure(&self, _failure: &Failure<'_>) -> HandlerAction<Self> {
        FailureAction::DeadLetter
    }
}

/// Declared in a macro, and with the defaults.
macro_rules! auditor {
    ($visibility:vis $name:ident, $aggregate:ident, $event:ty) => {
        #[event_handler(subscribes = [$aggregate])]
        $visibility struct $name;

        impl Handle<$aggregate> for $name {
            type Error = Infallible;

            async fn handle(
                &self,
                _event: &$event,
                _cx: &mut Handling<'_, Self>,
            ) -> Result<(), Infallible> {
                Ok(())
            }
        }
    };
}

auditor!(pub(crate) Auditor, Order, OrderEvent);

fn placed(qty: u32) -> RecordedEvent {
    let event = OrderEvent::Placed { qty }.to_event().unwrap();
    RecordedEvent::new(1, 1, event)
}

#[test]
fn the_arguments_are_constants() {
    assert_eq!(Mailer::NAME, "mailer");
    assert_eq!(Mailer::SUBSCRIPTIONS, ["order", "inventory"]);
    assert_eq!(Mailer::TARGETS, Some(["inventory"].as_slice()));
    assert_eq!(Mailer::CONCURRENCY, 4);
    assert_eq!(Mailer::TIMEOUT, Duration::from_millis(1500));
    assert_eq!(Mailer::START, StartFrom::Now);
    assert_eq!((Mailer::IS_KEYED, Mailer::KEY_TYPE), (true, "u32"));

    assert_eq!(Auditor::TARGETS, Some([].as_slice()));
    assert_eq!(Auditor::START, StartFrom::Origin);
    assert_eq!((Auditor::IS_KEYED, Auditor::KEY_TYPE), (false, ""));
}

#[tokio::test]
async fn an_event_reaches_the_handler_of_its_aggregate() {
    let mailer = Mailer {
        smtp: Smtp::default(),
    };
    let event = placed(2);
    let mut cx = Handling::new("order", "ord-1", &event);
    mailer.handle_event(&mut cx).await.unwrap();
    assert_eq!(mailer.smtp.sent(), ["ord-1: 2"]);
    assert!(matches!(
        cx.envelopes(),
        [MailerEnvelope::Inventory(envelope)] if envelope.instance_id == "inv-1"
    ));
    assert_eq!(Mailer::key_of("order", "ord-1", &event).unwrap(), "2");
    assert_eq!(
        Auditor::key_of("order", "ord-1", &event).unwrap(),
        "order/ord-1"
    );

    let event = placed(0);
    let error = mailer
        .handle_event(&mut Handling::new("order", "ord-1", &event))
        .await
        .unwrap_err();
    assert!(matches!(&error, HandleError::Failed(_)), "{error}");
    assert_eq!(error.to_string(), "the mail is empty");

    // No handler takes it, and no key is found.
    let error = mailer
        .handle_event(&mut Handling::new("lamp", "kitchen", &event))
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        HandleError::Event(ReactError::UnexpectedAggregate { .. })
    ));
    assert!(Mailer::key_of("lamp", "kitchen", &event).is_err());
}

#[event_store(aggregates = [Order, Inventory], event_handlers = [Mailer, Auditor])]
struct Shop;

async fn reserved(store: &AggregateStore) -> u32 {
    let inventory = store.get::<Inventory>("inv-1").await.unwrap();
    inventory.state().await.unwrap().reserved
}

#[tokio::test]
async fn a_declared_store_takes_the_values_of_its_handlers() {
    let directory = tempfile::tempdir().unwrap();
    let smtp = Smtp::default();
    // Settings stand before the handlers, between them and behind them.
    let store = Shop::builder(directory.path())
        .run_mode(RunMode::Background)
        .event_handler(Mailer { smtp: smtp.clone() })
        .idle_timeout(Duration::from_secs(60))
        .event_handler(Auditor)
        .handler_patience(Duration::from_secs(5))
        .open()
        .await
        .unwrap();
    let place = OrderCommand::Place { qty: 3 };
    store.send("ord-1", place, ()).await.unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while reserved(&store).await < 3 {
        assert!(tokio::time::Instant::now() < deadline, "it was not handled");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(smtp.sent(), ["ord-1: 3"]);
    store.close().await.unwrap();

    let again = Mailer { smtp: smtp.clone() };
    let store = Shop::open(directory.path(), again, Auditor).await.unwrap();
    assert!(store.event_handler::<Mailer>().is_ok());
    store.close().await.unwrap();
    assert_eq!(smtp.sent(), ["ord-1: 3"]);
}

#[test]
fn the_topology_has_the_handlers() {
    let topology = Shop::topology();
    let [mailer, auditor] = topology.event_handlers else {
        panic!("{topology:?}");
    };
    assert_eq!((mailer.type_name, mailer.name), ("Mailer", "mailer"));
    assert_eq!(auditor.subscriptions, ["order"]);
    let edges: Vec<Edge> = topology.edges().collect();
    assert_eq!(
        edges,
        [
            Edge::Handles {
                aggregate: "order",
                event_handler: "mailer"
            },
            Edge::Handles {
                aggregate: "inventory",
                event_handler: "mailer"
            },
            Edge::Returns {
                event_handler: "mailer",
                aggregate: "inventory"
            },
            Edge::Handles {
                aggregate: "order",
                event_handler: "auditor"
            },
        ]
    );
}

/// Other versions of `Auditor`.
mod later {
    use super::*;

    auditor!(pub(crate) Auditor, Inventory, InventoryEvent);

    #[event_handler(subscribes = [Order], key = String)]
    pub(crate) struct Keyed;

    impl Handle<Order> for Keyed {
        type Error = Infallible;

        async fn handle(
            &self,
            _event: &OrderEvent,
            _cx: &mut Handling<'_, Self>,
        ) -> Result<(), Infallible> {
            Ok(())
        }
    }

    impl HandleKey<Order> for Keyed {
        fn key(_event: &OrderEvent, cx: &EventContext<'_>) -> String {
            cx.stream_id().to_owned()
        }
    }
}

#[test]
fn the_lock_has_subscriptions_and_keys() {
    let lock = Shop::schema().to_lock();
    let handlers = "\nevent_handler auditor\n  subscribes order\n\n\
                    event_handler mailer\n  key u32\n  subscribes inventory\n  subscribes order\n";
    assert!(lock.contains(handlers), "{lock}");
    assert_eq!(Shop::schema().compare(&lock).unwrap(), []);

    let told = |schema: Schema, lock: &str| -> Vec<(Verdict, String)> {
        let changes = schema.compare(lock).unwrap();
        let told = changes.into_iter();
        told.map(|change| (change.verdict, format!("{}: {}", change.place, change.what)))
            .collect()
    };
    let before = Schema::new("Shop").event_handler::<Auditor>().to_lock();
    let moved = told(
        Schema::new("Shop").event_handler::<later::Auditor>(),
        &before,
    );
    assert_eq!(
        moved,
        [
            (
                Verdict::Breaking,
                "event handler `auditor`: it does not subscribe to `order` any more, whose events may wait for it"
                    .to_owned()
            ),
            (
                Verdict::Compatible,
                "event handler `auditor`: it also subscribes to `inventory`".to_owned()
            ),
        ]
    );
    let gone = told(Schema::new("Shop").event_handler::<Mailer>(), &before);
    assert!(
        matches!(gone.as_slice(), [(Verdict::Breaking, gone), (Verdict::Compatible, new)]
            if gone.starts_with("event handler `auditor`: it is gone") && new == "event handler `mailer`: it is new"),
        "{gone:?}"
    );
    let keyed = before.replace("event_handler auditor", "event_handler keyed");
    let keyed = told(Schema::new("Shop").event_handler::<later::Keyed>(), &keyed);
    assert!(
        matches!(keyed.as_slice(), [(Verdict::Breaking, what)] if what.contains("it was the stream, and is a `String` now")),
        "{keyed:?}"
    );
}

#[test]
fn a_lock_with_a_mistake_is_refused_with_its_line() {
    let lock = Shop::schema().to_lock();
    for (line, changed, told) in [
        ("  key u32\n", "  key\n", "expected `key TYPE`"),
        (
            "  subscribes inventory\n",
            "  subscribes\n",
            "expected `subscribes NAME`",
        ),
        (
            "  subscribes inventory\n",
            "  handles inventory\n",
            "expected `subscribes NAME`",
        ),
        (
            "  subscribes inventory\n",
            "  subscribes order\n",
            "the subscribed aggregate `order` stands here twice",
        ),
        (
            "event_handler mailer\n",
            "event_handler auditor\n",
            "the event handler `auditor` stands here twice",
        ),
    ] {
        let malformed = lock.replace(line, changed);
        let error = Shop::schema().compare(&malformed).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
}
