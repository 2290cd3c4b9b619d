//! An event in its stored line. It decodes straight into the user's enum, and into a [`RecordedEvent`] only on request.

use std::borrow::Cow;
use std::sync::OnceLock;

use eventfold::Event;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{DomainEvent, EventError, RecordedEvent, deserialize};
use crate::evolution;
use crate::short;

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
    head: Head<'a>,
    recorded: OnceLock<Box<RecordedEvent>>,
}

/// The beginning of a line.
#[derive(Debug)]
enum Head<'a> {
    /// The form that the store writes: `{"type":"Placed","data":`, and then the rest.
    Written { event_type: &'a str, rest: &'a str },
    /// Another form, as in a directory of version 0.2.
    Other(Fields<'a>),
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

    /// The event on a line, which is JSON without a newline. It reads the line when the event is decoded.
    pub(crate) fn of_line(position: u64, version: u64, text: &'a str) -> Result<Self, EventError> {
        let head = match written_head(text) {
            Some((event_type, rest)) => Head::Written { event_type, rest },
            None => Head::Other(Fields::of(text)?),
        };
        Ok(Self(Content::Line(Line {
            position,
            version,
            text,
            head,
            recorded: OnceLock::new(),
        })))
    }

    /// Decodes an event of an enum that reads its data as serde does.
    ///
    /// # Errors
    ///
    /// As [`DomainEvent::from_event`].
    pub fn decode<E: DomainEvent>(&self) -> Result<E, EventError> {
        if let Content::Line(line) = &self.0
            && let Some(event) = line.decode()
        {
            return Ok(event);
        }
        // Older versions are converted as values, and only the slower way reports errors.
        E::from_event(self.recorded()?)
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
        let event = event.map_err(|error| malformed(line.event_type(), error))?;
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
                let fields = Fields::of(line.text);
                let event = Event {
                    event_type: line.event_type().to_owned(),
                    data: Value::from(fields.map_or(line.text, |fields| fields.data.get())),
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
        let Content::Line(line) = &self.0 else {
            return false;
        };
        let name = line.event_type();
        let current = u64::from(evolution::current_version::<E>(name));
        let mut upcasters = E::UPCASTERS.iter();
        upcasters.any(|upcaster| upcaster.names.contains(&name))
            && Fields::of(line.text).is_ok_and(|fields| fields.version() != Some(current))
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

impl Line<'_> {
    fn event_type(&self) -> &str {
        match &self.head {
            Head::Written { event_type, .. } => event_type,
            Head::Other(fields) => &fields.event_type,
        }
    }

    /// The event, if it has the current version and its data is read without an error.
    fn decode<E: DomainEvent>(&self) -> Option<E> {
        let event_type = self.event_type();
        if !E::EVENT_TYPES.contains(&event_type) {
            return None;
        }
        let current = u64::from(evolution::current_version::<E>(event_type));
        match &self.head {
            // The data is read once, and its version behind it. An event with older versions tells its version first.
            Head::Written { rest, .. } if current == 1 => {
                let mut data = serde_json::Deserializer::from_str(rest);
                let event = deserialize(event_type, &mut data).ok()?;
                (version_behind(rest, data)? == current).then_some(event)
            }
            Head::Written { .. } => {
                decode_fields(event_type, &Fields::of(self.text).ok()?, current)
            }
            Head::Other(fields) => decode_fields(event_type, fields, current),
        }
    }
}

fn decode_fields<E: DomainEvent>(event_type: &str, fields: &Fields<'_>, current: u64) -> Option<E> {
    if fields.version() != Some(current) {
        return None;
    }
    let mut data = serde_json::Deserializer::from_str(fields.data.get());
    deserialize(event_type, &mut data).ok()
}

/// The name of the event on a line that the store has written, and the line from the data on.
fn written_head(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = plain_string(line.strip_prefix("{\"type\":\"")?)?;
    Some((name, rest.strip_prefix(",\"data\":")?))
}

/// The string up to the next quotation mark, and the text behind that; `None` if the string has an escape.
fn plain_string(text: &str) -> Option<(&str, &str)> {
    let end = memchr::memchr2(b'"', b'\\', text.as_bytes())?;
    let (string, rest) = text.split_at_checked(end)?;
    Some((string, rest.strip_prefix('"')?))
}

/// The stored version of the event whose data was read from the beginning of `text`, if the fields behind the data are as
/// the store writes them.
fn version_behind(
    text: &str,
    data: serde_json::Deserializer<serde_json::de::StrRead<'_>>,
) -> Option<u64> {
    let read = data.into_iter::<IgnoredAny>().byte_offset();
    let rest = text.get(read..)?.strip_prefix(",\"ts\":")?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let mut rest = rest.get(digits..)?;
    for label in [",\"id\":\"", ",\"actor\":\""] {
        if let Some(field) = rest.strip_prefix(label) {
            (_, rest) = plain_string(field)?;
        }
    }
    match rest.strip_prefix(",\"meta\":") {
        None => (rest == "}").then_some(1),
        Some(meta) => version_in(meta.strip_suffix('}')?),
    }
}

/// The version in the `meta` of an event; `None` if only full decoding can determine it.
fn version_in(meta: &str) -> Option<u64> {
    let meta: Meta = serde_json::from_str(meta).ok()?;
    Some(meta.schema_version.unwrap_or(1))
}

/// The stored name of the event on a line, if any.
pub(crate) fn stored_name(line: &str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow, rename = "type")]
        event_type: Cow<'a, str>,
    }
    match written_head(line) {
        Some((name, _)) => Some(Cow::Borrowed(name)),
        None => serde_json::from_str(line)
            .ok()
            .map(|Named { event_type }| event_type),
    }
}

impl<'a> Fields<'a> {
    fn of(text: &'a str) -> Result<Self, EventError> {
        serde_json::from_str(text).map_err(|error| malformed("?", error))
    }

    /// The stored version of the event; `None` if only full decoding can determine it.
    fn version(&self) -> Option<u64> {
        match self.meta {
            None => Some(1),
            Some(meta) => version_in(meta.get()),
        }
    }
}

fn malformed(event_type: &str, error: serde_json::Error) -> EventError {
    EventError::Malformed {
        event_type: event_type.to_owned(),
        reason: short::reason(error),
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
                // As the store writes it.
                let end = match meta.is_null() {
                    true => "}".to_owned(),
                    false => format!(",\"id\":\"i\",\"actor\":\"a\",\"meta\":{meta}}}"),
                };
                lines.push(format!(
                    "{{\"type\":{event_type:?},\"data\":{data},\"ts\":7{end}"
                ));
            }
        }
        let odd = [
            r#"{"ts":1,"data":2.5,"new":[],"type":"New\u0074ype"}"#,
            r#"{"type":"Unit","ts":1}"#,
            r#"{"type":"Unit","data":null}"#,
            r#"{"type":"Newtype","data":1e999,"ts":1}"#,
            r#"{"type":"Unit","data":null,"ts":1} 1"#,
            r#"{"type":"Unit","data":null,"ts":1"#,
            r#"{"type":"Unit","data":nul"#,
            r#"{"type":"Grown","data":{"text":"new"},"meta":{"schema_version":2},"ts":1}"#,
            r#"{"type":"Unit","data":null,"ts":1,"meta":{"schema_version":2},"new":{}}"#,
            r#"{"type":"Unit","data":null,"ts":1,"id":"\"","actor":"a"}"#,
            "[]",
            "",
        ];
        lines.extend(odd.map(str::to_owned));
        lines
    }

    #[test]
    fn the_error_of_a_long_event_is_short() {
        let long = "x".repeat(4 << 20);
        let data = format!("{{\"type\":\"Newtype\",\"data\":\"{long}\",\"ts\":1,\"meta\":null}}");
        let ts = format!("{{\"type\":\"Unit\",\"data\":null,\"ts\":\"{long}\",\"meta\":null}}");
        for (line, end) in [
            (data, "expected f64. Give"),
            (ts, "at line 1 column 4194338. Give"),
        ] {
            let decoded = StoredEvent::of_line(5, 3, &line).and_then(|stored| {
                stored.recorded()?;
                Mixed::from_stored(&stored)
            });
            let text = decoded.map(|_| ()).map_err(|error| error.to_string());
            let text = text.err().unwrap_or_default();
            assert!(text.len() < 1_500, "{} bytes", text.len());
            assert!(
                text.contains("invalid type: string \"xxx") && text.contains(end),
                "{text}"
            );
        }
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
