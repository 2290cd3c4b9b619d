//! The stored form of events from a command with an idempotency key. Their lines end in a digest of the command, the key, and
//! their position. The stream alone therefore has the answer to such a command.

use std::sync::Arc;

use serde::Deserialize;

use super::index::Address;
use super::{Answer, CommitPlace};
use crate::sabotage::{Bug, planted};

/// The lines of an append from one command with an idempotency key.
#[derive(Debug, Clone)]
pub(crate) struct KeyedLines {
    pub(crate) key: Arc<str>,
    /// The digest of the command, if it can be compared.
    pub(crate) digest: Option<u64>,
    /// The number of lines of the append before them.
    pub(crate) before: usize,
    pub(crate) count: usize,
}

/// The fields of a line beside the event.
#[derive(Debug, PartialEq)]
pub(crate) struct KeyedEvent {
    pub(crate) key: Box<str>,
    pub(crate) digest: Option<u64>,
    pub(crate) position: u64,
}

/// The maximum size that [`complete`] adds to a line, beside the key.
const FIELDS_BYTES: usize =
    r#","command_digest":"0123456789abcdef","idempotency_key":"","position":18446744073709551615"#
        .len();

impl KeyedLines {
    /// The approximate size that [`complete`] adds to the lines.
    pub(crate) fn byte_count(&self) -> usize {
        self.count * (self.key.len() + FIELDS_BYTES)
    }

    /// The answer, given the place of the append: the version and the position of its first event, and the line.
    pub(crate) fn answer(
        &self,
        first_version: u64,
        first_position: u64,
        line: CommitPlace,
    ) -> Answer {
        let before = self.before as u64;
        Answer {
            first_version: first_version + before,
            first_position: first_position + before,
            digest: self.digest,
            address: Address {
                offset: line.offset,
                length: line.length,
                count: self.count as u64,
            },
        }
    }
}

/// Adds the fields of a key to these lines, given the position of the first line.
pub(crate) fn complete(
    mut lines: Vec<Box<str>>,
    keyed: &[KeyedLines],
    position: u64,
) -> Vec<Box<str>> {
    for group in keyed {
        let key = serde_json::Value::from(&*group.key).to_string();
        let digest = group.digest.map_or_else(String::new, |digest| {
            format!(",\"command_digest\":\"{digest:016x}\"")
        });
        let positions = position + group.before as u64..;
        let lines = lines.iter_mut().skip(group.before).take(group.count);
        for (line, position) in lines.zip(positions) {
            let open = line.strip_suffix('}').unwrap_or(line);
            *line = format!("{open}{digest},\"idempotency_key\":{key},\"position\":{position}}}")
                .into();
        }
    }
    lines
}

/// The answers in the lines of an append, with their keys. `first_version` is the version of the first line, and `append` the
/// address of the append.
pub(crate) fn answers<'a>(
    lines: impl IntoIterator<Item = &'a str>,
    first_version: u64,
    append: Address,
) -> Vec<KeyedAnswer> {
    let mut answers: Vec<KeyedAnswer> = Vec::new();
    for (version, line) in (first_version..).zip(lines) {
        // An event that does not read cannot be folded. No command is decided behind it, so that no answer is needed.
        let Some(event) = read(line).ok().flatten() else {
            continue;
        };
        match answers.last_mut() {
            Some((key, last)) if **key == *event.key && last.last_version() + 1 == version => {
                last.address.count += 1;
            }
            _ => answers.push((
                event.key.into(),
                Answer {
                    first_version: version,
                    first_position: event.position,
                    digest: event.digest,
                    address: Address { count: 1, ..append },
                },
            )),
        }
    }
    if planted(Bug::KeyForgotten) {
        answers.clear();
    }
    answers
}

/// An answer with its key.
pub(crate) type KeyedAnswer = (Arc<str>, Answer);

/// The fields of a stored line, if it has them.
///
/// # Errors
///
/// The error of serde if the line is not a JSON object.
pub(crate) fn read(line: &str) -> Result<Option<KeyedEvent>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Fields {
        command_digest: Option<Box<str>>,
        idempotency_key: Option<Box<str>>,
        position: Option<u64>,
    }
    // Most lines have no key, and this search is cheaper than parsing JSON. Parsing decides if the text is inside the event.
    if memchr::memmem::find(line.as_bytes(), b"\"idempotency_key\":").is_none() {
        return Ok(None);
    }
    let fields: Fields = serde_json::from_str(line)?;
    let Fields {
        command_digest,
        idempotency_key,
        position,
    } = fields;
    Ok(idempotency_key
        .zip(position)
        .map(|(key, position)| KeyedEvent {
            key,
            digest: command_digest.and_then(|digest| u64::from_str_radix(&digest, 16).ok()),
            position,
        }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize) -> Vec<Box<str>> {
        (0..count)
            .map(|number| format!(r#"{{"type":"Added","data":{number},"ts":1}}"#).into())
            .collect()
    }

    fn group(key: &str, before: usize, count: usize) -> KeyedLines {
        KeyedLines {
            key: key.into(),
            // The group `a` has no digest.
            digest: (key != "a").then_some(0xab),
            before,
            count,
        }
    }

    #[test]
    fn each_group_gets_its_key_and_each_line_its_position() -> Result<(), serde_json::Error> {
        let keyed = [group("a", 1, 2), group("b\"\\\u{1F980}", 4, 1)];
        let done = complete(lines(6), &keyed, 10);
        let read = done.iter().map(|line| read(line));
        let read: Vec<_> = read.collect::<Result<_, _>>()?;
        let found = |key: &str, position| {
            Some(KeyedEvent {
                key: key.into(),
                digest: (key != "a").then_some(0xab),
                position,
            })
        };
        let expected = [
            None,
            found("a", 11),
            found("a", 12),
            None,
            found("b\"\\\u{1F980}", 14),
            None,
        ];
        assert_eq!(read, expected);
        for (line, plain) in done.iter().zip(lines(6)) {
            let event: eventfold::Event = serde_json::from_str(line)?;
            assert_eq!(event, serde_json::from_str(&plain)?);
        }
        assert_eq!(done.first(), lines(1).first());
        Ok(())
    }

    #[test]
    fn what_an_event_contains_is_not_taken_for_the_fields() -> Result<(), serde_json::Error> {
        for inside in [
            r#"{"type":"A","data":{"idempotency_key":"k","position":3},"ts":1}"#,
            r#"{"type":"A","data":"\"idempotency_key\":","ts":1}"#,
            r#"{"type":"A","data":null,"ts":1,"meta":{"idempotency_key":"k","position":3}}"#,
            r#"{"type":"A","data":null,"ts":1,"idempotency_key":"of another program"}"#,
        ] {
            assert_eq!(read(inside)?, None, "{inside}");
            let done = complete(vec![inside.into()], &[group("own", 0, 1)], 7);
            if !inside.contains("program") {
                let read = done.first().and_then(|line| read(line).ok().flatten());
                assert_eq!(
                    read.map(|read| (&*read.key == "own", read.position)),
                    Some((true, 7))
                );
            }
        }
        Ok(())
    }
}
