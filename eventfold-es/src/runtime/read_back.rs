//! Checks that a line reads back as its event, without a second copy of the event in memory.

use std::fmt;

use eventfold::Event;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

/// Whether `line` reads back as `event`.
///
/// # Errors
///
/// The error of serde, if the line does not decode.
pub(super) fn reads_back(line: &str, event: &Event) -> Result<bool, serde_json::Error> {
    let mut read = serde_json::Deserializer::from_str(line);
    let is_same = SameEvent(event).deserialize(&mut read)?;
    read.end()?;
    Ok(is_same)
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Type,
    Data,
    Ts,
    Id,
    Actor,
    Meta,
    #[serde(other)]
    Other,
}

/// The expected value of a field.
enum Expected<'a> {
    Text(&'a str),
    Value(&'a Value),
    Seconds(u64),
}

/// Compares an object with the fields of an event.
struct SameEvent<'a>(&'a Event);

impl<'de> DeserializeSeed<'de> for SameEvent<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for SameEvent<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<bool, M::Error> {
        let Event {
            event_type,
            data,
            ts,
            id,
            actor,
            meta,
        } = self.0;
        let mut is_same = true;
        // A `None` field is not written.
        let optional = [id.is_some(), actor.is_some(), meta.is_some()];
        let mut missing = 3 + optional.into_iter().filter(|is_some| *is_some).count();
        while let Some(field) = map.next_key()? {
            let expected = match field {
                Field::Type => Some(Expected::Text(event_type)),
                Field::Data => Some(Expected::Value(data)),
                Field::Ts => Some(Expected::Seconds(*ts)),
                Field::Id => id.as_deref().map(Expected::Text),
                Field::Actor => actor.as_deref().map(Expected::Text),
                Field::Meta => meta.as_ref().map(Expected::Value),
                Field::Other => {
                    let IgnoredAny = map.next_value()?;
                    continue;
                }
            };
            missing = usize::saturating_sub(missing, usize::from(expected.is_some()));
            is_same &= match expected {
                Some(Expected::Text(text)) => map.next_value_seed(SameText(text))?,
                // As an optional field, `null` is read as `None`.
                Some(Expected::Value(Value::Null)) if matches!(field, Field::Meta) => {
                    map.next_value().map(|IgnoredAny| false)?
                }
                Some(Expected::Value(value)) => map.next_value_seed(SameValue(value))?,
                Some(Expected::Seconds(seconds)) => map.next_value::<u64>()? == seconds,
                None => map.next_value::<Option<IgnoredAny>>()?.is_none(),
            };
        }
        Ok(is_same && missing == 0)
    }
}

/// Compares a string.
struct SameText<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for SameText<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for SameText<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
        Ok(text == self.0)
    }
}

/// Compares any value.
struct SameValue<'a>(&'a Value);

impl SameValue<'_> {
    fn is_number(&self, number: Option<Number>) -> bool {
        matches!((self.0, number), (Value::Number(expected), Some(number)) if *expected == number)
    }
}

impl<'de> DeserializeSeed<'de> for SameValue<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for SameValue<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(self.0.is_null())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
        Ok(*self.0 == Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<bool, E> {
        Ok(self.is_number(Some(value.into())))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<bool, E> {
        Ok(self.is_number(Some(value.into())))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<bool, E> {
        Ok(self.is_number(Number::from_f64(value)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
        Ok(matches!(self.0, Value::String(expected) if expected == text))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<bool, S::Error> {
        let mut is_same = self.0.is_array();
        let mut expected = self.0.as_array().into_iter().flatten();
        loop {
            let next = match expected.next().filter(|_| is_same) {
                Some(expected) => match seq.next_element_seed(SameValue(expected))? {
                    None => return Ok(false),
                    next => next,
                },
                None => seq.next_element()?.map(|IgnoredAny| false),
            };
            match next {
                Some(next) => is_same &= next,
                None => return Ok(is_same),
            }
        }
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<bool, M::Error> {
        let Value::Object(entries) = self.0 else {
            // With a feature of serde_json that another crate may enable, numbers are read as maps.
            let read = Value::deserialize(MapAccessDeserializer::new(map))?;
            return Ok(read == *self.0);
        };
        let mut is_same = true;
        // The entries are read in the order in which they were written.
        let mut expected = entries.iter();
        loop {
            let (is_next, value) = match expected.next().filter(|_| is_same) {
                Some((key, value)) => (map.next_key_seed(SameText(key))?, Some(value)),
                None => (map.next_key()?.map(|IgnoredAny| false), None),
            };
            match (is_next, value) {
                (Some(true), Some(value)) => is_same &= map.next_value_seed(SameValue(value))?,
                (Some(_), _) => {
                    is_same = false;
                    map.next_value().map(|IgnoredAny| ())?;
                }
                (None, value) => return Ok(is_same && value.is_none()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(data: Value, meta: Option<Value>) -> Event {
        Event {
            event_type: "Mixed \"up\"".to_owned(),
            data,
            ts: 7,
            id: Some("ö\n".to_owned()),
            actor: None,
            meta,
        }
    }

    fn values() -> Vec<Value> {
        let deep = (0..60).fold(json!(1), |inner, _| json!([{ "in": inner }]));
        vec![
            json!(null),
            json!(false),
            json!(0),
            json!(-1),
            json!(u64::MAX),
            json!(i64::MIN),
            json!(0.1),
            json!(-0.0),
            json!(1e300),
            json!(1.0),
            json!(""),
            json!("\u{1F980}\"\\"),
            json!([]),
            json!([1]),
            json!([1, 2]),
            json!([1, [2]]),
            json!({}),
            json!({ "a": 1 }),
            json!({ "a": 1, "b": null }),
            json!({ "a": 1, "c": null }),
            json!({ "b": 1 }),
            deep,
        ]
    }

    #[test]
    fn an_event_reads_back_and_no_other_does() -> Result<(), serde_json::Error> {
        let mut events = vec![event(json!({}), Some(json!({ "source_device": "x" })))];
        for value in values() {
            events.push(event(value.clone(), None));
            events.push(event(json!(1), Some(value)));
        }
        events.push(Event {
            actor: Some("a".to_owned()),
            ..event(json!(1), None)
        });
        events.push(Event {
            id: None,
            ..event(json!(1), None)
        });
        events.push(Event {
            ts: 8,
            ..event(json!(1), None)
        });
        for written in &events {
            let line = serde_json::to_string(written)?;
            let read: Event = serde_json::from_str(&line)?;
            for other in &events {
                assert_eq!(
                    reads_back(&line, other)?,
                    read == *other,
                    "{line} as {other:?}"
                );
            }
        }
        Ok(())
    }

    #[test]
    fn what_no_reader_accepts_is_an_error() -> Result<(), serde_json::Error> {
        for depth in 120..140 {
            let deep = (0..depth).fold(json!(1), |inner, _| json!([inner]));
            let written = event(deep, None);
            let line = serde_json::to_string(&written)?;
            let is_read = serde_json::from_str::<Event>(&line).is_ok();
            assert_eq!(reads_back(&line, &written).is_ok(), is_read, "{depth}");
        }
        let written = event(json!(1), None);
        let line = serde_json::to_string(&written)?;
        assert!(reads_back(&format!("{line} 1"), &written).is_err());
        assert!(reads_back("{}", &written).is_ok_and(|is_same| !is_same));
        Ok(())
    }
}
