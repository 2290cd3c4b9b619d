//! The lock sees what changes inside of types: those in fields, the older shapes of events, and the messages of deadlines.

use std::convert::Infallible;

use eventfold_es::prelude::*;
use eventfold_es::schema::{Schema, Verdict};

use Verdict::{Breaking, Compatible};

/// A program, as its types, its events, the arguments and the state of its aggregate, and the messages and the state of its process
/// manager.
macro_rules! program {
    (
        $name:ident,
        types { $($types:tt)* }
        events { $($events:tt)* }
        aggregate($($aggregate:tt)*) { $($state:tt)* }
        process_manager[$($message:ident),*] { $($process_manager:tt)* }
    ) => {
        mod $name {
            use super::*;

            $($types)*

            #[derive(Debug, Clone, Serialize, Deserialize)]
            pub enum OrderCommand {}

            #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
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

            #[process_manager(subscribes = [Order], deadlines = [$($message),*])]
            #[derive(Debug, Default, Serialize, Deserialize)]
            pub struct Saga { $($process_manager)* }

            impl React<Order> for Saga {
                fn react(&mut self, _event: &OrderEvent, _cx: &mut Reaction<'_, Self>) {}
            }

            $(
                impl OnDeadline<$message> for Saga {
                    fn on_deadline(&mut self, _message: $message, _cx: &mut Reaction<'_, Self>) {}
                }
            )*

            pub fn schema() -> Schema {
                Schema::new("Shop").aggregate::<Order>().process_manager::<Saga>()
            }
        }
    };
}

/// The changes from the one to the other are these, each with a part of its text and of its remedy.
#[track_caller]
fn assert_told(from: &Schema, to: &Schema, expected: &[(Verdict, &str, &str)]) {
    let changes = to.compare(&from.to_lock()).unwrap();
    let texts: Vec<String> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(changes.len(), expected.len(), "{}", texts.join("\n"));
    for ((change, text), (verdict, what, remedy)) in changes.iter().zip(&texts).zip(expected) {
        assert!(
            change.verdict == *verdict && text.contains(what) && change.remedy.contains(remedy),
            "{text}\nand not {verdict:?} {what} ({remedy})"
        );
    }
}

program!(before,
    types {
        #[derive(Debug, Clone, Serialize, Deserialize, StoredShape)]
        #[serde(rename_all = "camelCase")]
        pub struct Line { sku: String, unit_price: Money, parts: Vec<Line> }

        #[derive(Debug, Clone, Serialize, Deserialize, StoredShape)]
        pub enum Money { Cents(u64), Free }

        #[derive(Debug, Clone, Serialize, Deserialize)]
        pub struct Address { city: String }

        #[derive(Deserialize, StoredShape)]
        pub struct ShippedV1 { carrier: String }

        impl Upcast<OrderEvent> for ShippedV1 {
            fn upcast(self) -> OrderEvent {
                OrderEvent::Shipped { carrier: self.carrier, weight: 0 }
            }
        }

        #[derive(Serialize, Deserialize, StoredShape)]
        pub struct PaymentDue { amount: u64 }

        #[derive(Serialize, Deserialize)]
        pub struct Reminder;
    }
    events {
        Placed { lines: Vec<Line>, to: Option<Address> },
        #[event(version = 2, upcast_from(1 => ShippedV1))]
        Shipped { carrier: String, weight: u32 },
    }
    aggregate() { lines: Vec<Line> }
    process_manager[PaymentDue, Reminder] { owed: Vec<Money> }
);

#[test]
fn what_is_in_a_type_stands_in_the_lock() {
    let lock = before::schema().to_lock();
    let expected = "
aggregate order
  event Placed
    struct
      lines: Vec<Line>
      to: Option<Address> | optional
    type Line
      struct
        sku: String
        unitPrice: Money
        parts: Vec<Line>
    type Money
      enum
        Cents
          tuple
            0: u64
        Free
  event Shipped version 2
    struct
      carrier: String
      weight: u32
    past ShippedV1
      struct
        carrier: String
  state version 0
    struct
      lines: Vec<Line>
    type Line
      struct
        sku: String
        unitPrice: Money
        parts: Vec<Line>
    type Money
      enum
        Cents
          tuple
            0: u64
        Free

process_manager saga
  deadline payment-due
    struct
      amount: u64
  deadline reminder
    unknown
  state version 1
    struct
      owed: Vec<Money>
    type Money
      enum
        Cents
          tuple
            0: u64
        Free
";
    assert!(lock.ends_with(expected), "{lock}");
    assert_told(&before::schema(), &before::schema(), &[]);
}

program!(inside,
    types {
        #[derive(Debug, Clone, Serialize, Deserialize, StoredShape)]
        #[serde(rename_all = "camelCase")]
        pub struct Line { sku: String, unit_price: Money, parts: Vec<Line>, qty: u32 }

        #[derive(Debug, Clone, Serialize, Deserialize, StoredShape)]
        pub enum Money { Cents(u64), Free, Points { count: u32 } }

        #[derive(Debug, Clone, Serialize, Deserialize)]
        pub struct Address { street: String }

        #[derive(Deserialize, StoredShape)]
        pub struct ShippedV1 { carrier: u8 }

        impl Upcast<OrderEvent> for ShippedV1 {
            fn upcast(self) -> OrderEvent {
                OrderEvent::Shipped { carrier: self.carrier.to_string(), weight: 0 }
            }
        }

        #[derive(Serialize, Deserialize, StoredShape)]
        pub struct PaymentDue { amount: u64, currency: String }

        #[derive(Serialize, Deserialize)]
        pub struct Other;
    }
    events {
        Placed { lines: Vec<Line>, to: Option<Address> },
        #[event(version = 2, upcast_from(1 => ShippedV1))]
        Shipped { carrier: String, weight: u32 },
    }
    aggregate() { lines: Vec<Line> }
    process_manager[PaymentDue, Other] { owed: Vec<Money> }
);

#[test]
fn a_change_inside_of_a_type_is_told_wherever_it_is_stored() {
    assert_told(
        &before::schema(),
        &inside::schema(),
        &[
            (
                Breaking,
                "event `Placed` of the aggregate `order`, type `Line`: the field `qty: u32` is new",
                "#[event(version = 2, upcast_from(.., 1 => PlacedV1))]",
            ),
            (
                Breaking,
                "event `Shipped` of the aggregate `order`, version 1: the type of `carrier` has changed from `String` to `u8`",
                "give `ShippedV1` the fields that version 1 was stored with",
            ),
            (
                Breaking,
                "state of the aggregate `order`: the field `qty: u32` is new, and what is stored does not have it; the variant \
                 `Points` is new: a snapshot",
                "snapshot_version = 1",
            ),
            (
                Breaking,
                "deadline `payment-due` of the process manager `saga`: the field `currency: String` is new",
                "write `#[serde(default)]` on it, or keep this message as it is, and add another one to `deadlines`",
            ),
            (
                Breaking,
                "deadline `reminder` of the process manager `saga`: it is gone",
                "keep its message in `deadlines` until none is armed",
            ),
            (Compatible, "type `Money`: the variant `Points` is new", ""),
            (
                Compatible,
                "deadline `other` of the process manager `saga`: it is new",
                "",
            ),
            (
                Compatible,
                "state of the process manager `saga`, type `Money`: the variant `Points` is new",
                "",
            ),
        ],
    );
}

program!(raised,
    types {
        #[derive(Debug, Clone, Serialize, Deserialize, StoredShape)]
        #[serde(rename_all = "camelCase")]
        pub struct Line { sku: String, unit_price: Money, parts: Vec<Line> }

        #[derive(Debug, Clone, Serialize, Deserialize, StoredShape)]
        pub enum Money { Cents(u64), Free }

        #[derive(Debug, Clone, Serialize, Deserialize)]
        pub struct Address { city: String }

        #[derive(Deserialize, StoredShape)]
        pub struct FirstShipped { carrier: String }

        #[derive(Deserialize, StoredShape)]
        pub struct ShippedV2 { carrier: String, grams: u32 }

        impl Upcast<ShippedV2> for FirstShipped {
            fn upcast(self) -> ShippedV2 {
                ShippedV2 { carrier: self.carrier, grams: 0 }
            }
        }

        impl Upcast<OrderEvent> for ShippedV2 {
            fn upcast(self) -> OrderEvent {
                OrderEvent::Shipped { by: self.carrier, weight: self.grams }
            }
        }

        #[derive(Serialize, Deserialize, StoredShape)]
        pub struct PaymentDue { amount: u64 }

        #[derive(Serialize, Deserialize)]
        pub struct Reminder;
    }
    events {
        Placed { lines: Vec<Line>, to: Option<Address> },
        #[event(version = 3, upcast_from(1 => FirstShipped, 2 => ShippedV2))]
        Shipped { by: String, weight: u32 },
    }
    aggregate() { lines: Vec<Line> }
    process_manager[PaymentDue, Reminder] { owed: Vec<Money> }
);

/// A version that was raised takes what was current for an older version: it has to read what was stored then.
#[test]
fn a_raised_version_has_to_read_what_was_current() {
    assert_told(
        &before::schema(),
        &raised::schema(),
        &[
            (
                Breaking,
                "event `Shipped` of the aggregate `order`, version 2: the field `weight: u32` is gone, and `grams` of the same type is new",
                "#[serde(alias = \"weight\")]",
            ),
            (
                Breaking,
                "version 2: the field `grams: u32` is new",
                "give `ShippedV2` the fields that version 2 was stored with",
            ),
            (
                Compatible,
                "its version was raised from 2 to 3",
                "step by step",
            ),
            (
                Compatible,
                "version 1: it is read as `FirstShipped` now, and was as `ShippedV1`",
                "",
            ),
        ],
    );
}

program!(silent,
    types {
        #[derive(Debug, Clone, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct Line { sku: String, unit_price: Money, parts: Vec<Line> }

        #[derive(Debug, Clone, Serialize, Deserialize)]
        pub enum Money { Cents(u64), Free }

        #[derive(Debug, Clone, Serialize, Deserialize)]
        pub struct Address { city: String }

        #[derive(Deserialize)]
        pub struct ShippedV1 { carrier: String }

        impl Upcast<OrderEvent> for ShippedV1 {
            fn upcast(self) -> OrderEvent {
                OrderEvent::Shipped { carrier: self.carrier, weight: 0 }
            }
        }

        #[derive(Serialize, Deserialize)]
        pub struct PaymentDue { amount: u64 }

        #[derive(Serialize, Deserialize)]
        pub struct Reminder;
    }
    events {
        Placed { lines: Vec<Line>, to: Option<Address> },
        #[event(version = 2, upcast_from(1 => ShippedV1))]
        Shipped { carrier: String, weight: u32 },
    }
    aggregate() { lines: Vec<Line> }
    process_manager[PaymentDue, Reminder] { owed: Vec<Money> }
);

/// A derive that is added says more and changes nothing; one that is removed leaves the lock blind.
#[test]
fn what_types_tell_is_told() {
    assert_told(
        &silent::schema(),
        &before::schema(),
        &[
            (
                Compatible,
                "event `Placed` of the aggregate `order`, type `Line`: what it looks like is known now",
                "",
            ),
            (
                Compatible,
                "event `Placed` of the aggregate `order`, type `Money`: what it looks like is known now",
                "",
            ),
            (
                Compatible,
                "event `Shipped` of the aggregate `order`, version 1: what it looks like is known now",
                "",
            ),
            (
                Compatible,
                "state of the aggregate `order`: what the types in it look like is known now",
                "",
            ),
            (
                Compatible,
                "deadline `payment-due` of the process manager `saga`: what it looks like is known now",
                "",
            ),
            (
                Compatible,
                "state of the process manager `saga`, type `Money`",
                "",
            ),
        ],
    );
    let unknown = "is not known any more";
    assert_told(
        &before::schema(),
        &silent::schema(),
        &[
            (Breaking, unknown, "#[derive(StoredShape)]"),
            (Breaking, unknown, "#[derive(StoredShape)]"),
            (Breaking, unknown, "#[derive(StoredShape)]"),
            (
                Breaking,
                "state of the aggregate `order`: what it looks like is not known any more",
                "snapshot_version = 1",
            ),
            (Breaking, unknown, "#[derive(StoredShape)]"),
            (
                Breaking,
                "state of the process manager `saga`, type `Money`",
                "#[derive(StoredShape)]",
            ),
        ],
    );
}

/// Amounts that are stored as text.
mod cents {
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
    pub fn serialize<S: Serializer>(cents: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&cents.to_string())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A program with an `Id` and an `Amount`, and with an address that is stored as another type.
macro_rules! parcels {
    ($name:ident { $($types:tt)* }) => {
        mod $name {
            use super::*;

            $($types)*

            #[derive(Debug, Clone, Serialize, Deserialize, StoredShape)]
            #[serde(from = "String", into = "String")]
            pub struct Address {
                city: String,
            }

            impl From<String> for Address {
                fn from(city: String) -> Self {
                    Self { city }
                }
            }

            impl From<Address> for String {
                fn from(address: Address) -> Self {
                    address.city
                }
            }

            #[derive(Debug, Clone, Serialize, Deserialize)]
            pub enum ParcelCommand {}

            #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
            #[serde(tag = "type", content = "data")]
            pub enum ParcelEvent {
                Sent { id: Id, to: Address, amount: Amount },
            }

            #[aggregate(error = Infallible)]
            #[derive(Debug, Clone, Default, Serialize, Deserialize)]
            pub struct Parcel;

            impl Decider for Parcel {
                fn decide(&self, command: ParcelCommand) -> Result<Vec<ParcelEvent>, Infallible> {
                    match command {}
                }

                fn evolve(&mut self, _event: &ParcelEvent) {}
            }

            pub fn schema() -> Schema {
                Schema::new("Post").aggregate::<Parcel>()
            }
        }
    };
}

parcels!(text_ids {
    #[derive(Debug, Clone, Serialize, Deserialize, StoredShape)]
    #[serde(transparent)]
    pub struct Id {
        text: String,
    }

    #[derive(Debug, Clone, Serialize, Deserialize, StoredShape)]
    pub struct Amount {
        #[serde(with = "cents")]
        cents: u64,
    }
});

parcels!(plain_ids {
    #[derive(Debug, Clone, Serialize, Deserialize, StoredShape)]
    pub struct Id(String);

    #[derive(Debug, Clone, Serialize, Deserialize, StoredShape)]
    pub struct Amount {
        cents: u64,
    }
});

parcels!(number_ids {
    #[derive(Debug, Clone, Serialize, Deserialize, StoredShape)]
    #[serde(transparent)]
    pub struct Id(u64);

    #[derive(Debug, Clone, Serialize, Deserialize, StoredShape)]
    #[serde(from = "u64", into = "u64")]
    pub struct Amount {
        cents: u64,
    }

    impl From<u64> for Amount {
        fn from(cents: u64) -> Self {
            Self { cents }
        }
    }

    impl From<Amount> for u64 {
        fn from(amount: Amount) -> Self {
            amount.cents
        }
    }
});

/// `Id(String)` that became `Id(u64)` under `#[serde(transparent)]` passed as unchanged.
#[test]
fn a_transparent_type_is_seen_through_and_what_is_converted_is_not_checked() {
    let lock = text_ids::schema().to_lock();
    let expected = "
    type Address
      converted from = \"String\", into = \"String\" | not checked
    type Amount
      struct
        cents: u64 | form with = \"cents\" | not checked
    type Id
      tuple
        0: String
";
    assert!(lock.contains(expected), "{lock}");
    assert_told(&text_ids::schema(), &text_ids::schema(), &[]);
    assert_told(
        &text_ids::schema(),
        &plain_ids::schema(),
        &[(
            Breaking,
            "changed from `with = \"cents\"` (not checked) to none",
            "if both read the same, write the lock anew",
        )],
    );
    assert_told(
        &plain_ids::schema(),
        &number_ids::schema(),
        &[
            (
                Breaking,
                "type `Amount`: a struct with named fields has become what `from = \"u64\", into = \"u64\"` makes of it (not checked)",
                "if both are stored alike, write the lock anew; otherwise raise its version",
            ),
            (
                Breaking,
                "type `Id`: the type of `0` has changed from `String` to `u64`",
                "raise its version",
            ),
        ],
    );
}

/// Generic types, types of modules of one name, and types that a form hides.
#[test]
fn types_are_found_where_they_stand() {
    mod a {
        use super::*;

        #[derive(Debug, Clone, Serialize, Deserialize, StoredShape)]
        pub struct Item {
            of_a: u8,
        }
    }

    mod b {
        use super::*;

        #[derive(Debug, Clone, Serialize, Deserialize, StoredShape)]
        #[stored_shape(crate = ::eventfold_es)]
        pub struct Item(String);
    }

    #[derive(Debug, Clone, Serialize, Deserialize, StoredShape)]
    struct Page<T> {
        items: Vec<T>,
        next: Option<Box<Page<T>>>,
    }

    #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
    #[serde(tag = "type", content = "data")]
    enum BookEvent {
        Bound(Page<a::Item>, [b::Item; 2]),
    }

    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    struct Book;

    impl Aggregate for Book {
        const AGGREGATE_TYPE: &'static str = "book";
        type Command = ();
        type DomainEvent = BookEvent;
        type Error = Infallible;

        fn handle(&self, (): ()) -> Result<Vec<BookEvent>, Infallible> {
            Ok(Vec::new())
        }

        fn apply(self, _event: &BookEvent) -> Self {
            self
        }
    }

    let schema = Schema::new("Library").aggregate::<Book>();
    let lock = schema.to_lock();
    let expected = "
    tuple
      0: Page<a::Item>
      1: [b::Item; 2]
    type \"Page<a::Item>\"
      struct
        items: Vec<T>
        next: Option<Box<Page<T>>> | optional
    type \"a::Item\"
      struct
        of_a: u8
    type \"b::Item\"
      tuple
        0: String
";
    assert!(lock.contains(expected), "{lock}");
    assert_eq!(schema.compare(&lock).unwrap(), []);
}

mod kinds {
    use super::*;

    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub enum BoxCommand {}

    #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
    #[serde(tag = "type", content = "data", deny_unknown_fields)]
    pub enum BoxEvent {
        Sealed { by: String, at: u64 },
    }

    #[aggregate(error = Infallible, name = "box")]
    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    pub struct Box;

    impl Decider for Box {
        fn decide(&self, command: BoxCommand) -> Result<Vec<BoxEvent>, Infallible> {
            match command {}
        }

        fn evolve(&mut self, _event: &BoxEvent) {}
    }

    #[process_manager(subscribes = [Box])]
    #[derive(Debug, Default, Serialize, Deserialize)]
    pub enum Packing {
        #[default]
        Idle,
        Filling {
            items: Vec<String>,
        },
    }

    impl React<Box> for Packing {
        fn react(&mut self, _event: &BoxEvent, _cx: &mut Reaction<'_, Self>) {}
    }
}

/// Each kind of change inside of what is stored, as the difference of one line in the lock.
#[test]
fn each_kind_of_change_has_its_verdict() {
    let schema = Schema::new("Warehouse")
        .aggregate::<kinds::Box>()
        .process_manager::<kinds::Packing>();
    let now = schema.to_lock();
    let cases = [
        (
            ("      at: u64\n", "      at: u64\n      seal: u8\n"),
            Breaking,
            "the field `seal: u8` is gone, and fields that are not known are refused",
            "remove `deny_unknown_fields`",
        ),
        (
            ("strict struct", "struct"),
            Compatible,
            "it refuses fields that it does not know",
            "",
        ),
        (
            ("at: u64", "at: u64 | optional"),
            Breaking,
            "`at` must be there now, and may be missing in what is stored",
            "write `#[serde(default)]` on it again",
        ),
        (
            ("at: u64", "at: u64 | form with = \"seconds\""),
            Breaking,
            "the form of `at` has changed from `with = \"seconds\"` (not checked) to none",
            "raise its version",
        ),
        (
            ("at: u64", "at: u32"),
            Compatible,
            "the type of `at` has changed from `u32` to `u64`",
            "the new one reads",
        ),
        (
            ("at: u64", "at: i64"),
            Breaking,
            "the type of `at` has changed from `i64` to `u64`",
            "raise its version",
        ),
        (
            ("at: u64", "at: u64 | also time"),
            Breaking,
            "the field `at` is not read under the name `time` any more",
            "#[serde(alias = \"time\")]",
        ),
        (
            (
                "    strict struct\n      by: String\n      at: u64\n",
                "    tuple\n      0: String\n",
            ),
            Breaking,
            "a single `String` has become a struct with named fields",
            "raise its version",
        ),
        (
            ("      Idle\n", "      Idle\n      Broken\n"),
            Breaking,
            "the variant `Broken` is gone",
            "write `#[serde(alias = \"Broken\")]` on what it has become, or write `state_version = 2` and `impl MigrateState`",
        ),
        (
            ("      Idle\n", ""),
            Compatible,
            "the variant `Idle` is new",
            "",
        ),
        (
            ("items: Vec<String>", "items: Vec<u8>"),
            Breaking,
            "variant `Filling`: the type of `items` has changed from `Vec<u8>` to `Vec<String>`",
            "state_version = 2",
        ),
        (
            ("  state version 1\n", "  state version 2\n"),
            Breaking,
            "its version was lowered from 2 to 1",
            "write `state_version = 2` again",
        ),
    ];
    for ((line, before), verdict, what, remedy) in cases {
        assert!(now.contains(line), "{line} is not in\n{now}");
        let changes = schema.compare(&now.replacen(line, before, 1)).unwrap();
        let [change] = changes.as_slice() else {
            panic!("{what}: {changes:?}");
        };
        let text = change.to_string();
        assert!(
            change.verdict == verdict && text.contains(what) && change.remedy.contains(remedy),
            "{text}\nand not {verdict:?} {what} ({remedy})"
        );
    }
}
