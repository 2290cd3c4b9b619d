//! The stored line of an imported event.

use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::journal::keyed::{self, KeyedEvent};
use crate::runtime::{IMPORTED, mark};

/// The fields that a store adds to the event of a command with an idempotency key. The writer adds them again.
const KEYED: [&str; 3] = ["command_digest", "idempotency_key", "position"];

/// A line of a log in its stored form.
pub(super) struct Imported {
    pub(super) line: Box<str>,
    /// The idempotency key of its command, if any.
    pub(super) keyed: Option<KeyedEvent>,
}

/// The line to store for a line of a log. Each field keeps its bytes, except the fields that the store itself adds.
///
/// # Errors
///
/// The error of serde, if the line is not an object.
pub(super) fn imported(text: &str, is_marked: bool) -> Result<Imported, serde_json::Error> {
    let keyed = keyed::read(text)?;
    let line = if keyed.is_some() || text.contains("\"imported\"") {
        let is_kept = |name: &str, value: &RawValue| {
            let is_mark = name == IMPORTED && value.get() == "true";
            !(is_mark || keyed.is_some() && KEYED.contains(&name))
        };
        without(text, is_kept)?
    } else {
        text.to_owned()
    };
    let line = match is_marked {
        true => mark(&line),
        false => line,
    };
    Ok(Imported {
        line: line.into(),
        keyed,
    })
}

/// The object without the fields that `is_kept` refuses.
fn without(
    text: &str,
    is_kept: impl Fn(&str, &RawValue) -> bool,
) -> Result<String, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let fields = reader.deserialize_map(Fields)?;
    reader.end()?;
    let mut line = String::with_capacity(text.len());
    for (name, value) in fields {
        if is_kept(&name, value) {
            line.push(if line.is_empty() { '{' } else { ',' });
            line.push_str(&serde_json::to_string(&name)?);
            line.push(':');
            line.push_str(value.get());
        }
    }
    line.push('}');
    Ok(line)
}

/// Reads the fields of an object in their order.
struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(fields)
    }
}

/// The place of an event in the order of import: its second, then the order of its id. The id counts only if it is a
/// UUID of version 7 of this second, as a store makes them.
pub(super) fn order(event: &eventfold::Event) -> u128 {
    let id = event.id.as_deref();
    let id = id
        .and_then(|id| Uuid::try_parse(id).ok())
        .map(|id| id.as_u128());
    let second_of = |id: u128| u64::try_from((id >> 80) / 1000).unwrap_or_default();
    let of_this_second =
        |id: &u128| (id >> 76) & 0xf == 7 && second_of(*id).abs_diff(event.ts) <= 1;
    let by_second = u128::from(event.ts.min(u64::MAX >> 20)) * 1000;
    id.filter(of_this_second).unwrap_or(by_second << 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_store_adds_is_left_out() -> Result<(), serde_json::Error> {
        let plain = r#"{"type":"A" , "data":1.50e3,"ts":1,"imported":"by hand","position":4}"#;
        let same = imported(plain, false)?;
        assert_eq!(
            &*same.line,
            r#"{"type":"A","data":1.50e3,"ts":1,"imported":"by hand","position":4}"#
        );
        let keyed = r#"{"type":"A","data":1,"ts":1,"imported":true,"command_digest":"00000000000000ab","idempotency_key":"k","position":9}"#;
        let rebuilt = imported(keyed, false)?;
        assert_eq!(&*rebuilt.line, r#"{"type":"A","data":1,"ts":1}"#);
        assert_eq!(
            rebuilt.keyed.map(|keyed| (keyed.key, keyed.digest)),
            Some(("k".into(), Some(0xab)))
        );
        let marked = imported(keyed, true)?;
        assert_eq!(
            &*marked.line,
            r#"{"type":"A","data":1,"ts":1,"imported":true}"#
        );
        Ok(())
    }

    #[test]
    fn ids_of_the_same_second_are_in_order() {
        let event = |ts: u64, id: &str| {
            let mut event = eventfold::Event::new("A", serde_json::Value::Null).with_id(id);
            event.ts = ts;
            order(&event)
        };
        let ts = 0x0190_0000_0000 / 1000;
        let (first, second) = (
            "01900000-0000-7000-8000-000000000001",
            "01900000-0000-7000-8000-000000000002",
        );
        assert!(event(ts, first) < event(ts, second));
        assert_eq!(event(7, first), event(7, second), "an id of another time");
        assert!(event(ts, second) < event(ts + 2, "x"));
        assert!(event(ts - 1, "x") < event(ts, first));
    }
}
