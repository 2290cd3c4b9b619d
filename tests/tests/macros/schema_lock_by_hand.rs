//! Locks that a person or a merge has touched are refused with what to do, and the key of a process manager is in the lock.

use std::convert::Infallible;

use eventfold_es::prelude::*;
use eventfold_es::schema::{LockError, Schema, Verdict};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum OrderCommand {}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    Placed { qty: u32 },
    Confirmed,
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Order {
    qty: u32,
}

impl Decider for Order {
    fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, Infallible> {
        match command {}
    }

    fn evolve(&mut self, _event: &OrderEvent) {}
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PaymentDue {
    amount: u64,
}

/// A process manager that is stored as `saga`, with this key.
macro_rules! saga {
    ($name:ident, $key:ty) => {
        #[process_manager(subscribes = [Order], name = "saga", key = $key, deadlines = [PaymentDue])]
        #[derive(Debug, Default, Serialize, Deserialize)]
        pub struct $name;

        impl Correlate<Order> for $name {
            fn correlate(_event: &OrderEvent, _cx: &EventContext<'_>) -> Correlation<$key> {
                Correlation::none()
            }
        }

        impl React<Order> for $name {
            fn react(&mut self, _event: &OrderEvent, _cx: &mut Reaction<'_, Self>) {}
        }

        impl OnDeadline<PaymentDue> for $name {
            fn on_deadline(&mut self, _message: PaymentDue, _cx: &mut Reaction<'_, Self>) {}
        }
    };
}

saga!(ByNumber, u64);
saga!(ByText, String);
saga!(ByCharacter, char);

#[process_manager(subscribes = [Order], name = "saga", deadlines = [PaymentDue])]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Alone;

impl React<Order> for Alone {
    fn react(&mut self, _event: &OrderEvent, _cx: &mut Reaction<'_, Self>) {}
}

impl OnDeadline<PaymentDue> for Alone {
    fn on_deadline(&mut self, _message: PaymentDue, _cx: &mut Reaction<'_, Self>) {}
}

fn schema() -> Schema {
    Schema::new("Shop")
        .aggregate::<Order>()
        .process_manager::<ByNumber>()
}

/// What is said about a lock that cannot be read.
fn refusal(lock: &str) -> String {
    match schema().compare(lock) {
        Err(error @ LockError::Malformed { .. }) => error.to_string(),
        other => panic!("{other:?} and no refusal of\n{lock}"),
    }
}

#[test]
fn the_key_is_in_the_lock() {
    let lock = schema().to_lock();
    let saga = "process_manager saga\n  key u64\n  deadline payment-due\n";
    assert!(lock.contains(saga), "{lock}");
    assert_eq!(schema().compare(&lock).unwrap(), []);
    // Where there is none, nothing is said.
    let alone = Schema::new("Shop").process_manager::<Alone>().to_lock();
    assert!(!alone.contains("key"), "{alone}");
}

#[test]
fn another_key_is_told_with_what_it_means_for_the_instances() {
    let with = |schema: Schema| schema.aggregate::<Order>();
    let (by_number, by_text, by_character, alone) = (
        with(Schema::new("Shop").process_manager::<ByNumber>()),
        with(Schema::new("Shop").process_manager::<ByText>()),
        with(Schema::new("Shop").process_manager::<ByCharacter>()),
        with(Schema::new("Shop").process_manager::<Alone>()),
    );
    let cases = [
        (
            &by_number,
            &by_text,
            Verdict::Compatible,
            "its type has changed from `u64` to `String`",
            "`correlate` has to write them as before",
        ),
        (
            &by_text,
            &by_number,
            Verdict::Breaking,
            "its type has changed from `String` to `u64`",
            "`#[process_manager(name = \"saga-2\", ..)]`",
        ),
        (
            &by_number,
            &by_character,
            Verdict::Breaking,
            "its type has changed from `u64` to `char`",
            "if every key that is stored reads as a `char`",
        ),
        (
            &alone,
            &by_number,
            Verdict::Breaking,
            "it has the key `u64` now",
            "give it another stored name",
        ),
        (
            &by_number,
            &alone,
            Verdict::Breaking,
            "the key `u64` is gone",
            "give it another stored name",
        ),
    ];
    for (before, after, verdict, what, remedy) in cases {
        let changes = after.compare(&before.to_lock()).unwrap();
        let [change] = changes.as_slice() else {
            panic!("{what}: {changes:?}");
        };
        assert_eq!(change.place, "key of the process manager `saga`");
        assert_eq!(change.verdict, verdict, "{change}");
        assert!(change.what.contains(what), "{change}");
        assert!(change.remedy.contains(remedy), "{change}");
    }
}

#[test]
fn a_merge_that_was_not_resolved_is_told_where_it_stands() {
    let lock = schema().to_lock();
    let line = "      qty: u32\n";
    let sides = "<<<<<<< HEAD\n      qty: u32\n=======\n      qty: u64\n>>>>>>> wider\n";
    assert_eq!(
        refusal(&lock.replacen(line, sides, 1)),
        ":7: this is a mark of a merge that was not resolved: take the lock of one side, and the test tells what the other side has \
         added. Restore the file, or write it anew with EVENTFOLD_BLESS=1"
    );
    for mark in ["||||||| base\n", "=======\n", ">>>>>>> wider\n"] {
        let refused = refusal(&lock.replacen(line, &format!("{mark}{line}"), 1));
        assert!(refused.starts_with(":7: this is a mark"), "{refused}");
    }
}

#[test]
fn a_merge_that_kept_both_sides_is_told_where_it_stands() {
    let lock = schema().to_lock();
    let part = |name: &str| -> String {
        let part = lock.split("\n\n").find(|part| part.starts_with(name));
        format!("\n\n{}\n", part.unwrap_or_default().trim_end())
    };
    for (lock, what, line) in [
        (
            format!("{lock}{}", part("aggregate order")),
            "the aggregate `order`",
            20,
        ),
        (
            format!("{lock}{}", part("process_manager saga")),
            "the process manager `saga`",
            20,
        ),
        (
            lock.replace(
                "  event Confirmed\n",
                "  event Confirmed\n  event Confirmed\n",
            ),
            "the event `Confirmed`",
            9,
        ),
        (
            lock.replace(
                "  deadline payment-due\n    unknown\n",
                "  deadline payment-due\n    unknown\n  deadline payment-due\n    unknown\n",
            ),
            "the deadline `payment-due`",
            17,
        ),
    ] {
        let refused = refusal(&lock);
        let expected = format!(":{line}: {what} stands here twice");
        assert!(
            refused.starts_with(&expected),
            "{refused}\nand not {expected} in\n{lock}"
        );
    }
}

#[test]
fn what_a_person_has_changed_is_told_with_the_line() {
    let lock = schema().to_lock();
    for (line, changed, told) in [
        ("format 1\n", "format 2\n", ":2: expected `format 1`"),
        ("format 1\n", "", ":3: expected `format 1`"),
        (
            "aggregate order\n",
            "agregate order\n",
            ":4: expected `aggregate`, `process_manager`, `event_handler` or `projection`",
        ),
        ("aggregate order\n", "aggregate\n", ":4: expected one name"),
        (
            "  event Placed\n",
            "   event Placed\n",
            ":5: lines are indented by two spaces",
        ),
        (
            "  event Placed\n",
            "\tevent Placed\n",
            ":5: lines are indented by two spaces",
        ),
        ("    struct\n", "    strukt\n", ":6: "),
        (
            "      qty: u32\n",
            "      qty u32\n",
            ":7: expected a field, as `name: type`",
        ),
        (
            "      qty: u32\n",
            "        qty: u32\n",
            ":7: the line is indented too far",
        ),
        ("  key u64\n", "  key\n", ":14: expected `key TYPE`"),
        (
            "  state version 0\n",
            "  state version x\n",
            ":9: expected `state version N`",
        ),
    ] {
        assert!(lock.contains(line), "{line}");
        let refused = refusal(&lock.replacen(line, changed, 1));
        assert!(
            refused.starts_with(told),
            "{changed:?} -> {refused}, and not {told}"
        );
        assert!(
            refused.ends_with("write it anew with EVENTFOLD_BLESS=1"),
            "{refused}"
        );
    }
    assert!(refusal("").contains("the file is empty"));
    assert!(refusal("{\"json\": true}").contains("expected `format 1`"));
    // A checkout on Windows, and what an editor adds at the end, change nothing.
    assert_eq!(schema().compare(&lock.replace('\n', "\r\n")).unwrap(), []);
    assert_eq!(schema().compare(&format!("{lock}\n\n  \n")).unwrap(), []);
}
