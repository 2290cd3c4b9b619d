//! Projections with rows and with sinks: their declarations, wherever they stand.

use std::convert::Infallible;
use std::time::Duration;

use eventfold_es::contract::{RowProjection, SinkProjection};
use eventfold_es::prelude::*;
use eventfold_es::{ProjectionFailure, UnknownEvents};
use eventfold_es_tests_domain::{Inventory, InventoryEvent, Lines, Order, OrderEvent};

/// Without the prelude, and with types of the user's own under its names.
mod bare {
    #![no_implicit_prelude]
    #![deny(warnings, missing_docs)]

    use ::eventfold_es::projection;
    use ::eventfold_es_tests_domain::{Inventory, InventoryEvent, Lines, Order, OrderEvent};
    use ::serde::{Deserialize, Serialize};
    use ::std::prelude::v1::derive;

    /// The names that generated code could mean.
    pub mod shadows {
        #![allow(dead_code, missing_docs)]

        pub struct Result;
        pub struct Ok;
        pub struct Err;
        pub struct Option;
        pub struct Some;
        pub struct RowTx;
        pub struct Index;
        pub struct Keys;
        pub trait Sink {}
        pub trait Locate {}
        pub trait Project {}
        pub trait ProjectInto {}
        pub trait Prepare {}
        pub mod eventfold_es {}
        pub mod std {}
    }
    #[allow(unused_imports, reason = "they only shadow")]
    use shadows::*;

    #[derive(::std::fmt::Debug, ::std::default::Default, Serialize, Deserialize)]
    struct Hidden(u32);

    impl ::std::cmp::PartialEq for Hidden {
        fn eq(&self, other: &Self) -> bool {
            self.0 == other.0
        }
    }
    impl ::std::cmp::Eq for Hidden {}
    impl ::std::cmp::PartialOrd for Hidden {
        fn partial_cmp(&self, other: &Self) -> ::std::option::Option<::std::cmp::Ordering> {
            ::std::option::Option::Some(::std::cmp::Ord::cmp(self, other))
        }
    }
    impl ::std::cmp::Ord for Hidden {
        fn cmp(&self, other: &Self) -> ::std::cmp::Ordering {
            ::std::cmp::Ord::cmp(&self.0, &other.0)
        }
    }

    /// A row with indexes over every kind of field.
    #[projection(subscribes = [Order, Inventory], key = u64, version = self::VERSION, unknown_events = "skip")]
    #[derive(::std::fmt::Debug, ::std::default::Default, Serialize, Deserialize)]
    pub struct Counted {
        /// How many.
        #[index]
        pub qty: u32,
        #[index]
        r#type: ::std::option::Option<::std::string::String>,
        /// A type that is less visible than the row.
        #[index]
        hidden: Hidden,
        /// It does not exist.
        #[cfg(any())]
        #[index]
        absent: f64,
    }

    const VERSION: u32 = 3;

    impl ::eventfold_es::Locate<Order> for Counted {
        fn locate(
            _: &OrderEvent,
            cx: &::eventfold_es::EventContext<'_>,
        ) -> ::eventfold_es::Keys<u64> {
            ::eventfold_es::Keys::one(cx.position())
        }
    }

    impl ::eventfold_es::Project<Order> for Counted {
        fn project(&mut self, event: &OrderEvent, _: &::eventfold_es::EventContext<'_>) {
            let OrderEvent::Placed { qty } = event;
            self.qty += qty;
        }
    }

    impl ::eventfold_es::Locate<Inventory> for Counted {
        fn locate(
            _: &InventoryEvent,
            _: &::eventfold_es::EventContext<'_>,
        ) -> ::eventfold_es::Keys<u64> {
            ::eventfold_es::Keys::none()
        }
    }

    impl ::eventfold_es::Project<Inventory> for Counted {
        fn project(&mut self, _: &InventoryEvent, _: &::eventfold_es::EventContext<'_>) {}
    }

    /// It names its tables, and has nothing that could be stored.
    #[projection(subscribes = [Order], sink = Lines, on_failure = "stop", name = "written")]
    pub enum Written {}

    impl ::eventfold_es::Prepare for Written {
        fn prepare(
            _: &mut ::std::vec::Vec<::std::string::String>,
        ) -> ::std::result::Result<(), ::std::convert::Infallible> {
            ::std::result::Result::Ok(())
        }
    }

    impl ::eventfold_es::ProjectInto<Order> for Written {
        fn project(
            _: &OrderEvent,
            _: &::eventfold_es::EventContext<'_>,
            _: &mut ::std::vec::Vec<::std::string::String>,
        ) -> ::std::result::Result<(), ::std::convert::Infallible> {
            ::std::result::Result::Ok(())
        }
    }
}

#[test]
fn the_prelude_is_not_needed_and_may_be_shadowed() {
    assert_eq!(bare::Counted::INDEXES, ["qty", "type", "hidden"]);
    assert_eq!(bare::Counted::QTY.name(), "qty");
    assert_eq!(<bare::Counted as SinkProjection>::NAME, "counted");
    assert_eq!(bare::Counted::SUBSCRIPTIONS, ["order", "inventory"]);
    assert_eq!(bare::Counted::VERSION, 3);
    assert_eq!(bare::Counted::UNKNOWN_EVENTS, UnknownEvents::Skip);
    assert_eq!(bare::Counted::ON_FAILURE, ProjectionFailure::Retry);
    assert_eq!(bare::Written::NAME, "written");
    assert_eq!(bare::Written::VERSION, 1);
    assert_eq!(bare::Written::UNKNOWN_EVENTS, UnknownEvents::Stop);
    assert_eq!(bare::Written::ON_FAILURE, ProjectionFailure::Stop);
}

macro_rules! declare {
    ($rows:ident, $table:ident, $aggregate:ident, $event:ty, $key:ty, $sink:path, $field:ident: $type:ty, $index:ident, $es:path) => {
        #[projection(subscribes = [$aggregate], key = $key, crate = $es)]
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        struct $rows {
            #[index]
            $field: $type,
            #[index]
            events: u32,
        }

        impl Locate<$aggregate> for $rows {
            fn locate(_event: &$event, cx: &EventContext<'_>) -> Keys<$key> {
                Keys::one(cx.stream_id().into())
            }
        }

        impl Project<$aggregate> for $rows {
            fn project(&mut self, event: &$event, cx: &EventContext<'_>) {
                let OrderEvent::Placed { qty } = event;
                if *qty == 0 {
                    return cx.delete();
                }
                self.$field += <$type>::from(*qty);
                self.events += 1;
            }
        }

        #[projection(subscribes = [$aggregate], sink = $sink, crate = $es)]
        #[allow(dead_code, reason = "it only has to compile")]
        struct $table;

        impl Prepare for $table {
            fn prepare(tx: &mut Vec<String>) -> Result<(), Infallible> {
                tx.clear();
                Ok(())
            }
        }

        impl ProjectInto<$aggregate> for $table {
            fn project(
                event: &$event,
                _cx: &EventContext<'_>,
                tx: &mut Vec<String>,
            ) -> Result<(), Infallible> {
                tx.push(format!("{event:?}"));
                Ok(())
            }
        }

        const $index: eventfold_es::Index<$rows, $type> = $rows::$index;
    };
}

mod facade {
    pub use eventfold_es as es;
}

declare!(Totals, Table, Order, OrderEvent, String, Lines, qty: u64, QTY, facade::es);

#[event_store(aggregates = [Order, Inventory], projections = [Totals, bare::Counted])]
struct Shop;

/// Names that come through a macro, and a declared store, in which rows change, move in their index and go.
#[tokio::test]
async fn rows_of_a_declared_store() {
    use eventfold_es_tests_domain::OrderCommand::Place;

    let directory = tempfile::tempdir().unwrap();
    let store = Shop::open(directory.path()).await.unwrap();
    for (order, qty) in [("a", 2), ("b", 1), ("a", 3), ("b", 0), ("c", 4)] {
        store.send(order, Place { qty }, ()).await.unwrap();
    }
    let deadline = Duration::from_secs(30);
    store.wait_for::<Totals>(5, deadline).await.unwrap();
    store.wait_for::<bare::Counted>(5, deadline).await.unwrap();

    let totals = store.rows::<Totals>().unwrap();
    let row = totals.get("a").await.unwrap();
    assert_eq!(row, Some(Totals { qty: 5, events: 2 }));
    assert_eq!(totals.get("b").await.unwrap(), None);
    let most = totals
        .by_range(QTY, ..)
        .backwards()
        .collect()
        .await
        .unwrap();
    let most: Vec<&str> = most.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(most, ["a", "c"]);
    let counted = store.rows::<bare::Counted>().unwrap();
    let of_four = counted
        .by(bare::Counted::QTY, &4_u32)
        .collect()
        .await
        .unwrap();
    assert_eq!(of_four.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [5]);
    store.close().await.unwrap();
}

/// A value in memory has no rows to delete: it becomes its default.
#[test]
fn a_deleted_value_is_its_default() {
    #[projection(subscribes = [Order, Inventory])]
    #[derive(Debug, Clone, Serialize, Deserialize)]
    struct Left(u32);

    impl Default for Left {
        fn default() -> Self {
            Self(100)
        }
    }

    impl Project<Order> for Left {
        fn project(&mut self, event: &OrderEvent, _cx: &EventContext<'_>) {
            let OrderEvent::Placed { qty } = event;
            self.0 -= qty;
        }
    }

    impl Project<Inventory> for Left {
        fn project(&mut self, _event: &InventoryEvent, cx: &EventContext<'_>) {
            cx.delete();
            self.0 = 0;
        }
    }

    let mut left = Left::default();
    let placed = OrderEvent::Placed { qty: 30 }.to_event().unwrap();
    left.apply("order", "a", &RecordedEvent::new(1, 1, placed))
        .unwrap();
    assert_eq!(left.0, 70);
    let reserved = InventoryEvent::Reserved { qty: 1 }.to_event().unwrap();
    left.apply("inventory", "a", &RecordedEvent::new(2, 1, reserved))
        .unwrap();
    assert_eq!(left.0, 100);
}
