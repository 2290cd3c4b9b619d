//! An event in its stored line. It decodes straight into the user's enum, and into a [`RecordedEvent`] only on request.

use std::borrow::Cow;
use std::sync::OnceLock;

use eventfold::Event;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{DomainEvent, EventError, RecordedEvent, deserialize};
use crate::evolution;

/// A stored event: its line, or an already decoded event.
#[derive(Debug)]
pub struct StoredEvent<'a>(Content<'a>);

#[derive(Debug)]
enum Content<'a> {
    Recorded(&'a RecordedEvent),
    Line(Line<'a>),
}

#[derive(Debug)]
struct Line<'a> {
    position: u64,
    version: u64,
    text: &'a str,
    fields: Fields<'a>,
    recorded: OnceLock<Box<RecordedEvent>>,
}

/// The fields of an eventfold event that decoding needs.
#[derive(Debug, Deserialize)]
struct Fields<'a> {
    #[serde(borrow, rename = "type")]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow, default)]
    meta: Option<&'a RawValue>,
}

/// The entry of `meta` that decoding needs.
#[derive(Deserialize)]
struct Meta {
    #[serde(default)]
    schema_version: Option<u64>,
}

impl<'a> StoredEvent<'a> {
    /// An already decoded event.
    #[must_use]
    pub fn of(event: &'a RecordedEvent) -> Self {
        Self(Content::Recorded(event))
    }

    /// The event on a line, which is JSON without a newline.
    pub(crate) fn of_line(position: u64, version: u64, text: &'a str) -> Result<Self, EventError> {
        let fields = serde_json::from_str(text).map_err(|error| malformed("?", error))?;
        Ok(Self(Content::Line(Line {
            position,
            version,
            text,
            fields,
            recorded: OnceLock::new(),
        })))
    }

    /// Decodes an event of an enum that reads its data as serde does.
    ///
    /// # Errors
    ///
    /// As [`DomainEvent::from_event`].
    pub fn decode<E: DomainEvent>(&self) -> Result<E, EventError> {
        if let Some((event_type, version, data)) = self.of_type(E::EVENT_TYPES)
            && version == u64::from(evolution::current_version::<E>(event_type))
            && let Ok(event) = deserialize(event_type, data)
        {
            return Ok(event);
        }
        // Older versions are converted as values, and only the slower way reports errors.
        E::from_event(self.recorded()?)
    }

    /// Type, stored version and data on the line of an event of one of these types; `None` if only full decoding can
    /// determine them.
    fn of_type(&self, types: &[&str]) -> Option<(&str, u64, &RawValue)> {
        let Content::Line(Line { fields, .. }) = &self.0 else {
            return None;
        };
        let event_type = &*fields.event_type;
        let is_known = types.contains(&event_type);
        let version = fields.version().filter(|_| is_known)?;
        Some((event_type, version, fields.data))
    }

    /// The event with all its stored data.
    ///
    /// # Errors
    ///
    /// [`EventError::Malformed`] if the line is not an eventfold event.
    pub fn recorded(&self) -> Result<&RecordedEvent, EventError> {
        let line = match &self.0 {
            Content::Recorded(event) => return Ok(event),
            Content::Line(line) => line,
        };
        if let Some(recorded) = line.recorded.get() {
            return Ok(recorded);
        }
        let event = serde_json::from_str(line.text);
        let event = event.map_err(|error| malformed(&line.fields.event_type, error))?;
        let recorded = RecordedEvent::new(line.position, line.version, event);
        Ok(line.recorded.get_or_init(|| Box::new(recorded)))
    }

    /// [`recorded`](Self::recorded) for an event that is already decoded. An event may decode without being a whole
    /// eventfold event. No store has written such an event. Its data is then the text of the line.
    pub(crate) fn shown(&self) -> &RecordedEvent {
        let line = match &self.0 {
            Content::Recorded(event) => return event,
            Content::Line(line) => line,
        };
        self.recorded().unwrap_or_else(|_| {
            line.recorded.get_or_init(|| {
                let event = Event {
                    event_type: line.fields.event_type.to_string(),
                    data: Value::from(line.fields.data.get()),
                    ts: 0,
                    id: None,
                    actor: None,
                    meta: None,
                };
                Box::new(RecordedEvent::new(line.position, line.version, event))
            })
        })
    }

    /// Whether it is older than the current version, so that a step of evolution applies.
    pub(crate) fn is_older<E: DomainEvent>(&self) -> bool {
        let Content::Line(Line { fields, .. }) = &self.0 else {
            return false;
        };
        let name = &*fields.event_type;
        let current = u64::from(evolution::current_version::<E>(name));
        let mut upcasters = E::UPCASTERS.iter();
        upcasters.any(|upcaster| upcaster.names.contains(&name))
            && fields.version() != Some(current)
    }

    pub(crate) fn position(&self) -> u64 {
        match &self.0 {
            Content::Recorded(event) => event.position,
            Content::Line(line) => line.position,
        }
    }

    pub(crate) fn version(&self) -> u64 {
        match &self.0 {
            Content::Recorded(event) => event.version,
            Content::Line(line) => line.version,
        }
    }
}

/// The stored name of the event on a line, if any.
pub(crate) fn stored_name(line: &str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow, rename = "type")]
        event_type: Cow<'a, str>,
    }
    // The store writes the name first.
    let first = line.strip_prefix("{\"type\":\"");
    let end = first.and_then(|name| memchr::memchr2(b'"', b'\\', name.as_bytes()));
    match first
        .zip(end)
        .and_then(|(name, end)| name.split_at_checked(end))
    {
        Some((name, rest)) if rest.starts_with('"') => Some(Cow::Borrowed(name)),
        _ => serde_json::from_str(line)
            .ok()
            .map(|Named { event_type }| event_type),
    }
}

impl Fields<'_> {
    /// The stored version of the event; `None` if only full decoding can determine it.
    fn version(&self) -> Option<u64> {
        let Some(meta) = self.meta else {
            return Some(1);
        };
        let meta: Meta = serde_json::from_str(meta.get()).ok()?;
        Some(meta.schema_version.unwrap_or(1))
    }
}

fn malformed(event_type: &str, error: serde_json::Error) -> EventError {
    EventError::Malformed {
        event_type: event_type.to_owned(),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Serialize;
    use serde_json::json;

    use super::*;
    use crate::evolution::Upcaster;
    use crate::schema::{EventSchema, Shape};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "type", content = "data")]
    enum Mixed {
        Unit,
        Newtype(f64),
        Tuple(i64, Option<String>),
        Fields {
            by_number: BTreeMap<u64, Vec<f32>>,
            #[serde(default)]
            nested: Option<Box<Mixed>>,
        },
        Grown {
            text: String,
        },
    }

    impl DomainEvent for Mixed {
        const EVENT_TYPES: &'static [&'static str] =
            &["Unit", "Newtype", "Tuple", "Fields", "Grown"];
        const SCHEMAS: &'static [EventSchema] =
            &[EventSchema::new("Grown", Shape::Unit).version(2)];
        const UPCASTERS: &'static [Upcaster<Self>] = &[Upcaster::new(&["Grown"], 1, |data| {
            let text = String::deserialize(data)?;
            Ok(Self::Grown { text })
        })];

        fn event_type(&self) -> &'static str {
            match self {
                Self::Unit => "Unit",
                Self::Newtype(_) => "Newtype",
                Self::Tuple(..) => "Tuple",
                Self::Fields { .. } => "Fields",
                Self::Grown { .. } => "Grown",
            }
        }

        fn from_stored(event: &StoredEvent<'_>) -> Result<Self, EventError> {
            event.decode()
        }
    }

    /// Lines of events that decode, and of events that do not.
    fn lines() -> Vec<String> {
        let data = [
            ("Unit", json!(null)),
            ("Unit", json!({})),
            ("Unit", json!(1)),
            ("Newtype", json!(-0.0)),
            ("Newtype", json!(1e300)),
            ("Newtype", json!(u64::MAX)),
            ("Newtype", json!("1")),
            ("Tuple", json!([i64::MIN, null])),
            ("Tuple", json!([1, "ö\u{1F980}\"\\\n"])),
            ("Tuple", json!([1])),
            ("Tuple", json!([u64::MAX, null])),
            ("Fields", json!({ "by_number": { "7": [0.1, 2] } })),
            (
                "Fields",
                json!({ "by_number": {}, "nested": { "type": "Unit" }, "more": [{}] }),
            ),
            ("Fields", json!({ "by_number": { "x": [] } })),
            ("Fields", json!({})),
            ("Grown", json!({ "text": "new" })),
            ("Grown", json!("old")),
            ("Others", json!(null)),
        ];
        let metas = [
            json!(null),
            json!({}),
            json!({ "correlation_id": "c", "schema_version": 1 }),
            json!({ "schema_version": 2 }),
            json!({ "schema_version": 3 }),
            json!({ "schema_version": 0 }),
            json!({ "schema_version": "2" }),
            json!({ "schema_version": null }),
            json!(["schema_version", 2]),
        ];
        let mut lines = Vec::new();
        for (event_type, data) in &data {
            for meta in &metas {
                let event =
                    json!({ "type": event_type, "data": data, "ts": 7, "id": "i", "meta": meta });
                lines.push(event.to_string());
            }
        }
        let odd = [
            r#"{"ts":1,"data":2.5,"new":[],"type":"New\u0074ype"}"#,
            r#"{"type":"Unit","ts":1}"#,
            r#"{"type":"Unit","data":null}"#,
            r#"{"type":"Newtype","data":1e999,"ts":1}"#,
            r#"{"type":"Unit","data":null,"ts":1} 1"#,
            "[]",
            "",
        ];
        lines.extend(odd.map(str::to_owned));
        lines
    }

    #[test]
    fn both_ways_to_decode_agree() {
        let mut decoded = 0;
        for line in lines() {
            let stored = StoredEvent::of_line(5, 3, &line);
            let recorded = serde_json::from_str::<Event>(&line);
            let expected = recorded.as_ref().ok().map(Mixed::from_event);
            let found = stored.and_then(|stored| Mixed::from_stored(&stored));
            if let Some(Ok(expected)) = &expected
                && let Ok(recorded) = &recorded
            {
                // The type comes first, as on a line. After the data, serde would read the data into values of its own.
                let [event_type, data] = [json!(recorded.event_type), recorded.data.clone()];
                let object = format!("{{\"type\":{event_type},\"data\":{data}}}");
                match serde_json::from_str::<Mixed>(&object) {
                    Ok(other) => assert_eq!(other, *expected, "{line}"),
                    // serde does not know older versions.
                    Err(_) => assert_eq!(recorded.data, json!("old"), "{line}"),
                }
            }
            match (expected, found) {
                (Some(Ok(expected)), Ok(found)) => {
                    decoded += 1;
                    assert_eq!(found, expected, "{line}");
                }
                (Some(Err(expected)), Err(found)) => {
                    assert_eq!(found.to_string(), expected.to_string(), "{line}");
                    assert!(!found.to_string().contains(" at line "), "{found}");
                }
                // Decoding does not read the time.
                (None, Ok(Mixed::Unit)) if !line.contains("ts") => {}
                (None, Err(EventError::Malformed { .. })) => {}
                (expected, found) => panic!("{line}: {expected:?}, {found:?}"),
            }
        }
        assert!(decoded > 50, "{decoded}");
    }

    #[test]
    fn all_that_was_stored_is_there_for_those_who_ask() -> Result<(), EventError> {
        for line in lines() {
            let (Ok(stored), Ok(event)) = (
                StoredEvent::of_line(5, 3, &line),
                serde_json::from_str(&line),
            ) else {
                continue;
            };
            let expected = RecordedEvent::new(5, 3, event);
            assert_eq!((stored.position(), stored.version()), (5, 3));
            assert_eq!(stored.recorded()?, &expected, "{line}");
            assert_eq!(stored.shown(), &expected, "{line}");
            let again = StoredEvent::of(&expected);
            assert_eq!((again.position(), again.version()), (5, 3));
            assert_eq!(again.recorded()?, &expected);
        }
        let line = r#"{"type":"Newtype","data":1e999,"ts":1}"#;
        let unreadable = StoredEvent::of_line(5, 3, line)?;
        assert!(unreadable.recorded().is_err());
        assert_eq!(unreadable.shown().data, json!("1e999"));
        Ok(())
    }
}
