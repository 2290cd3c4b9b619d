//! `#[derive(DomainEvent)]` names events as serde writes and reads them.

use eventfold_es::EventError;
use eventfold_es::prelude::*;

/// Every stored name that the derive announces is the one serde writes, and reads back.
fn round_trip<E: DomainEvent + PartialEq + std::fmt::Debug>(events: &[E], names: &[&str]) {
    assert_eq!(events.len(), names.len());
    for (event, name) in events.iter().zip(names) {
        assert_eq!(event.event_type(), *name);
        let stored = event.to_event().unwrap();
        assert_eq!(stored.event_type, *name);
        assert_eq!(&E::from_event(&stored).unwrap(), event);
    }
    assert_eq!(E::EVENT_TYPES.get(..names.len()), Some(names));
}

macro_rules! cases {
    ($($test:ident: $rule:literal => [$($name:literal),*];)*) => {$(
        #[test]
        #[allow(non_camel_case_types)]
        fn $test() {
            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
            #[serde(tag = "type", content = "data", rename_all = $rule)]
            enum Happened {
                Placed { qty: u32 },
                OrderWasConfirmed,
                HTTPCall(u8),
                V2(u8, String),
                A,
                r#Match,
                With_Underscore,
            }
            use Happened::*;
            let events = [
                Placed { qty: 1 }, OrderWasConfirmed, HTTPCall(2), V2(3, "x".to_owned()), A, Match, With_Underscore,
            ];
            round_trip(&events, &[$($name),*]);
        }
    )*};
}

cases! {
    lowercase: "lowercase" => ["placed", "orderwasconfirmed", "httpcall", "v2", "a", "match", "with_underscore"];
    uppercase: "UPPERCASE" => ["PLACED", "ORDERWASCONFIRMED", "HTTPCALL", "V2", "A", "MATCH", "WITH_UNDERSCORE"];
    pascal_case: "PascalCase" => ["Placed", "OrderWasConfirmed", "HTTPCall", "V2", "A", "Match", "With_Underscore"];
    camel_case: "camelCase" => ["placed", "orderWasConfirmed", "hTTPCall", "v2", "a", "match", "with_Underscore"];
    snake_case: "snake_case" =>
        ["placed", "order_was_confirmed", "h_t_t_p_call", "v2", "a", "match", "with__underscore"];
    screaming_snake_case: "SCREAMING_SNAKE_CASE" =>
        ["PLACED", "ORDER_WAS_CONFIRMED", "H_T_T_P_CALL", "V2", "A", "MATCH", "WITH__UNDERSCORE"];
    kebab_case: "kebab-case" =>
        ["placed", "order-was-confirmed", "h-t-t-p-call", "v2", "a", "match", "with--underscore"];
    screaming_kebab_case: "SCREAMING-KEBAB-CASE" =>
        ["PLACED", "ORDER-WAS-CONFIRMED", "H-T-T-P-CALL", "V2", "A", "MATCH", "WITH--UNDERSCORE"];
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(
    tag = "type",
    rename_all(serialize = "snake_case", deserialize = "snake_case")
)]
#[serde(content = "data", rename_all_fields = "camelCase")]
enum Renamed {
    #[serde(rename = "order.placed", alias = "Placed", alias = "placed")]
    OrderPlaced { unit_price: u32 },
    #[serde(rename(
        serialize = "confirmed",
        deserialize = "confirmed",
        deserialize = "approved"
    ))]
    OrderConfirmed,
    #[serde(rename(serialize = "gone"), alias = "gone")]
    OrderRejected(#[serde(default)] Option<String>),
    #[serde(rename_all = "UPPERCASE")]
    Noted {
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        lines: Vec<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        by: Option<String>,
        #[serde(rename = "Z", alias = "z")]
        zone: u8,
    },
}

#[test]
fn names_can_be_given() {
    use Renamed::*;
    let noted = Noted {
        lines: Vec::new(),
        by: None,
        zone: 1,
    };
    let events = [
        OrderPlaced { unit_price: 3 },
        OrderConfirmed,
        OrderRejected(None),
        noted,
    ];
    round_trip(&events, &["order.placed", "confirmed", "gone", "noted"]);
    assert_eq!(
        Renamed::EVENT_TYPES,
        [
            "order.placed",
            "confirmed",
            "gone",
            "noted",
            "Placed",
            "placed",
            "approved",
            "order_rejected"
        ]
    );
}

#[test]
fn old_names_are_read() {
    let mut stored = Renamed::OrderConfirmed.to_event().unwrap();
    for alias in ["approved", "confirmed"] {
        stored.event_type = alias.to_owned();
        assert_eq!(
            Renamed::from_event(&stored).unwrap(),
            Renamed::OrderConfirmed
        );
    }
    stored.event_type = "cancelled".to_owned();
    assert!(matches!(
        Renamed::from_event(&stored),
        Err(EventError::UnknownType { .. })
    ));
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
enum Configured {
    #[cfg(test)]
    Here(u8),
    #[cfg(any())]
    NotHere(TypeThatDoesNotExist),
    #[cfg_attr(test, serde(rename = "elsewhere"))]
    There,
}

#[test]
fn variants_can_depend_on_the_configuration() {
    round_trip(
        &[Configured::Here(1), Configured::There],
        &["Here", "elsewhere"],
    );
    assert_eq!(Configured::EVENT_TYPES, ["Here", "elsewhere"]);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
enum Never {}

#[test]
fn an_aggregate_may_have_no_events() {
    assert!(Never::EVENT_TYPES.is_empty());
}
