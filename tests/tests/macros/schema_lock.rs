//! The lock of stored shapes: what has changed is told, with what it means and what to do.

use std::convert::Infallible;

use eventfold_es::prelude::*;
use eventfold_es::schema::{LockError, Schema, Verdict};

/// One aggregate, one process manager, as a program declares them: its events, the attributes of its state, its state, and the
/// state of the process manager.
macro_rules! program {
    ($name:ident, { $($events:tt)* }, ($($aggregate:tt)*) { $($state:tt)* }, ($($argument:tt)*) { $($process_manager:tt)* }, $($rest:tt)*) => {
        mod $name {
            use super::*;

            #[derive(Debug, Clone, Serialize, Deserialize)]
            pub enum OrderCommand {}

            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
            #[serde(tag = "type", content = "data")]
            pub enum OrderEvent { $($events)* }

            #[aggregate(error = Infallible $($aggregate)*)]
            #[derive(Debug, Clone, Default, Serialize, Deserialize)]
            pub struct Order { $($state)* }

            impl Decider for Order {
                fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, Infallible> {
                    match command {}
                }

                fn evolve(&mut self, _event: &OrderEvent) {}
            }

            #[process_manager(subscribes = [Order] $($argument)*)]
            #[derive(Debug, Default, Serialize, Deserialize)]
            pub struct Saga { $($process_manager)* }

            impl React<Order> for Saga {
                fn react(&mut self, _event: &OrderEvent, _cx: &mut Reaction<'_, Self>) {}
            }

            $($rest)*

            pub fn schema() -> Schema {
                #[event_store(aggregates = [Order], process_managers = [Saga])]
                struct Shop;

                Shop::schema()
            }
        }
    };
}

program!(before,
    {
        Placed { sku: String, qty: u32, note: Option<String> },
        Confirmed,
        Adjusted(i32),
        Moved(u8, u8),
    },
    () { units: u32 },
    () { placed: u64 },
);

#[test]
fn a_program_agrees_with_its_own_lock() {
    let lock = before::schema().to_lock();
    assert_eq!(
        lock,
        "\
# The stored shapes of Shop. A test compares them with the program; with EVENTFOLD_BLESS=1 it writes them anew.
format 1

aggregate order
  event Placed
    struct
      sku: String
      qty: u32
      note: Option<String> | optional
  event Confirmed
  event Adjusted
    tuple
      0: i32
  event Moved
    tuple
      0: u8
      1: u8
  state version 0
    struct
      units: u32

process_manager saga
  state version 1
    struct
      placed: u64
"
    );
    assert_eq!(before::schema().compare(&lock).unwrap(), []);
}

/// What is told of the change from `before` to `after`: the verdict, and words of what and of the remedy.
#[track_caller]
fn assert_told(after: &Schema, expected: &[(Verdict, &str, &str)]) {
    let changes = after.compare(&before::schema().to_lock()).unwrap();
    let all: String = changes.iter().map(|change| format!("{change}\n")).collect();
    assert_eq!(changes.len(), expected.len(), "{all}");
    for (verdict, what, remedy) in expected {
        let found = changes.iter().any(|change| {
            change.verdict == *verdict
                && format!("{}: {}", change.place, change.what).contains(what)
                && change.remedy.contains(remedy)
        });
        assert!(found, "{verdict:?} {what} -> {remedy}\nis not in\n{all}");
    }
}

use Verdict::{Breaking, Compatible};

program!(compatible,
    {
        // A new field with a default, one that may be missing, a wider number, another order.
        Placed {
            qty: u64,
            #[serde(default)]
            gift: bool,
            sku: String,
            note: Option<String>,
            by: Option<String>,
        },
        #[event(retired)]
        Confirmed,
        #[serde(alias = "Adjusted")]
        Corrected(Option<i64>),
        Moved(u16, u8),
        Cancelled,
    },
    (, snapshot_version = 1) { units: u64 },
    () { #[serde(default)] cancelled: u64, placed: u64 },
);

#[test]
fn what_still_reads_is_compatible() {
    assert_told(
        &compatible::schema(),
        &[
            (
                Compatible,
                "event `Placed` of the aggregate `order`: the field `gift: bool` is new",
                "default",
            ),
            (
                Compatible,
                "the field `by: Option<String>` is new",
                "default",
            ),
            (
                Compatible,
                "the type of `qty` has changed from `u32` to `u64`",
                "reads whatever",
            ),
            (
                Compatible,
                "event `Confirmed` of the aggregate `order`: it is retired",
                "",
            ),
            (
                Compatible,
                "event `Adjusted` of the aggregate `order`: it is called `Corrected` now",
                "",
            ),
            (
                Compatible,
                "the type of `0` has changed from `i32` to `Option<i64>`",
                "",
            ),
            (
                Compatible,
                "event `Moved` of the aggregate `order`: the type of `0`",
                "",
            ),
            (
                Compatible,
                "event `Cancelled` of the aggregate `order`: it is new",
                "",
            ),
            (
                Compatible,
                "state of the aggregate `order`: its version was raised from 0 to 1",
                "folded once",
            ),
            (
                Compatible,
                "state of the process manager `saga`: the field `cancelled: u64` is new",
                "default",
            ),
        ],
    );
}

program!(breaking,
    {
        Placed { sku: Vec<String>, quantity: u32, at: u64, note: String },
        Approved,
        Adjusted { by: i32 },
        Moved(u8, u8, u8),
    },
    () { units: u32, lines: u32 },
    () { placed: u32, paid: u64 },
);

#[test]
fn what_no_longer_reads_is_breaking_and_has_a_remedy() {
    assert_told(
        &breaking::schema(),
        &[
            (
                Breaking,
                "the type of `sku` has changed from `String` to `Vec<String>`",
                "`#[event(version = 2, upcast_from(.., 1 => PlacedV1))]`",
            ),
            (
                Breaking,
                "the field `qty: u32` is gone, and `quantity` of the same type is new",
                "#[serde(alias = \"qty\")]",
            ),
            (
                Breaking,
                "the field `quantity: u32` is new",
                "#[serde(default)]",
            ),
            (
                Breaking,
                "the field `at: u64` is new, and what is stored does not have it",
                "#[serde(default)]",
            ),
            (
                Breaking,
                "the type of `note` has changed from `Option<String>` to `String`",
                "upcast_from",
            ),
            (
                Breaking,
                "event `Confirmed` of the aggregate `order`: it is gone",
                "if it is called `Approved` now, write `#[serde(alias = \"Confirmed\")]`",
            ),
            (
                Compatible,
                "event `Approved` of the aggregate `order`: it is new",
                "",
            ),
            (
                Breaking,
                "a single `i32` has become a struct with named fields",
                "add a new variant",
            ),
            (
                Breaking,
                "a row of 2 values has become one of 3",
                "upcast_from",
            ),
            (
                Breaking,
                "the field `lines: u32` is new, and what is stored does not have it: a snapshot that was saved before",
                "snapshot_version = 1",
            ),
            (
                Breaking,
                "state of the process manager `saga`: the type of `placed` has changed from `u64` to `u32`",
                "state_version = 2",
            ),
            (
                Breaking,
                "state of the process manager `saga`: the field `paid: u64` is new",
                "#[serde(default)]",
            ),
        ],
    );
}

program!(upcast,
    {
        #[event(version = 2, upcast_from(1 => PlacedV1))]
        Placed { sku: Vec<String>, qty: u32 },
        Confirmed,
        Adjusted(i32),
        Moved(u8, u8),
    },
    () { units: u32 },
    () { placed: u64 },
    #[derive(Deserialize)]
    pub struct PlacedV1 { sku: String, qty: u32 }

    impl Upcast<OrderEvent> for PlacedV1 {
        fn upcast(self) -> OrderEvent {
            OrderEvent::Placed { sku: vec![self.sku], qty: self.qty }
        }
    }
);

#[test]
fn a_raised_version_mends_whatever_has_changed() {
    assert_told(
        &upcast::schema(),
        &[(
            Compatible,
            "event `Placed` of the aggregate `order`: its version was raised from 1 to 2",
            "step by step",
        )],
    );
    // Back again: what was stored meanwhile would be newer than the program.
    let changes = before::schema()
        .compare(&upcast::schema().to_lock())
        .unwrap();
    let [change] = changes.as_slice() else {
        panic!("{changes:?}");
    };
    assert_eq!(change.verdict, Breaking);
    assert!(change.what.contains("lowered from 2 to 1"), "{change}");
}

/// A part that is gone, or was renamed.
#[test]
fn parts_do_not_go_unnoticed() {
    let only = Schema::new("Shop").aggregate::<before::Order>();
    assert_told(
        &only,
        &[(
            Breaking,
            "process manager `saga`: it is gone",
            "#[process_manager(name = \"saga\", ..)]",
        )],
    );
    assert_told(
        &Schema::new("Shop").process_manager::<before::Saga>(),
        &[(
            Breaking,
            "aggregate `order`: it is gone",
            "#[aggregate(name = \"order\")]",
        )],
    );
    let changes = before::schema().compare(&only.to_lock()).unwrap();
    let [change] = changes.as_slice() else {
        panic!("{changes:?}");
    };
    assert_eq!(
        (change.verdict, change.what.as_str()),
        (Compatible, "it is new")
    );
}

/// Whatever was read under a name has to be.
#[test]
fn aliases_are_not_lost() {
    #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
    #[serde(tag = "type", content = "data")]
    enum OrderEvent {
        #[serde(alias = "Set")]
        Placed {
            #[serde(alias = "count")]
            qty: u32,
        },
    }

    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    struct Order;

    impl Aggregate for Order {
        const AGGREGATE_TYPE: &'static str = "order";
        type Command = ();
        type DomainEvent = OrderEvent;
        type Error = Infallible;

        fn handle(&self, (): ()) -> Result<Vec<OrderEvent>, Infallible> {
            Ok(Vec::new())
        }

        fn apply(self, _event: &OrderEvent) -> Self {
            self
        }
    }

    let schema = Schema::new("Shop").aggregate::<Order>();
    let lock = schema.to_lock();
    // By hand, so that nothing is known of its state.
    assert!(lock.contains("  state version 0\n    unknown\n"), "{lock}");
    let with = lock
        .replace("also Set", "also Set Put")
        .replace("also count", "also count number");
    let changes = schema.compare(&with).unwrap();
    let what: Vec<_> = changes
        .iter()
        .map(|change| (change.verdict, change.what.as_str()))
        .collect();
    assert_eq!(
        what,
        [
            (Breaking, "it is not read under the name `Put` any more"),
            (
                Breaking,
                "the field `qty` is not read under the name `number` any more"
            ),
        ]
    );
}

#[test]
fn the_text_of_a_difference_can_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.lock");
    std::fs::write(&path, before::schema().to_lock()).unwrap();
    let error = upcast::schema().check(&path).unwrap_err();
    let expected = format!(
        "the stored shapes are not those of {0}:\n\n\
         compatible  event `Placed` of the aggregate `order`: its version was raised from 1 to 2\n            \
         -> what is stored is taken to it step by step\n\n\
         Nothing breaks: run the test with EVENTFOLD_BLESS=1, and check {0} in.",
        path.display()
    );
    assert_eq!(error.to_string(), expected);
    assert_eq!(format!("{error:?}"), expected);
    let error = Schema::new("Shop")
        .check(directory.path().join("none"))
        .unwrap_err();
    assert!(matches!(error, LockError::Missing { .. }), "{error}");
}
