//! Reading the line of a commit back: first the checks of its bytes, then its content.

use std::borrow::Cow;

use smallvec::SmallVec;
use xxhash_rust::xxh64::xxh64;

use crate::format;
use crate::journal::index::Address;
use crate::journal::local::appends::Append;
use crate::journal::local::line::{
    CHECKSUM_DIGITS, CHECKSUM_END, CHECKSUM_LABEL, LENGTH_LABEL, format_of,
};
use crate::journal::local::line_events::{self, OneAppend};
use crate::journal::local::{line_canonical, line_json};
use crate::journal::{RowChange, StreamId, keyed};

/// A line that was read back with a valid checksum.
#[derive(Debug, PartialEq)]
pub(in crate::journal::local) struct CommitLine<'a> {
    /// Without its newline.
    pub(in crate::journal::local) text: &'a str,
    pub(in crate::journal::local) data: CommitData<'a>,
    pub(in crate::journal::local) ts: u64,
}

#[derive(Debug, PartialEq)]
pub(in crate::journal::local) struct CommitData<'a> {
    pub(in crate::journal::local) length: u64,
    pub(in crate::journal::local) commit: u64,
    pub(in crate::journal::local) batch: u64,
    pub(in crate::journal::local) end: bool,
    pub(in crate::journal::local) flush: bool,
    pub(in crate::journal::local) previous: Cow<'a, str>,
    pub(in crate::journal::local) position: u64,
    /// Milliseconds since 1970.
    pub(in crate::journal::local) time: u64,
    /// Most commits append one event to one stream.
    pub(in crate::journal::local) streams: SmallVec<[StreamLines<'a>; 1]>,
    /// Most commits have none. A `Vec` keeps these commits small to move.
    pub(in crate::journal::local) process_managers: Vec<ProcessManagerLines<'a>>,
    /// JSON; only in the first commit of an adopted directory.
    pub(in crate::journal::local) adoption: Option<&'a str>,
    /// JSON; only in a commit with which a node becomes the leader.
    pub(in crate::journal::local) claim: Option<&'a str>,
}

#[derive(Debug, PartialEq)]
pub(in crate::journal::local) struct StreamLines<'a> {
    pub(in crate::journal::local) aggregate_type: Cow<'a, str>,
    pub(in crate::journal::local) id: Cow<'a, str>,
    /// The version of the first line.
    pub(in crate::journal::local) version: u64,
    pub(in crate::journal::local) lines: Lines<'a>,
}

impl StreamLines<'_> {
    /// The append of these lines, given the offset and the length of the commit's line, its newline included.
    pub(in crate::journal::local) fn append(&self, offset: u64, length: u64) -> Append {
        let address = Address {
            offset,
            length,
            count: self.lines.len() as u64,
        };
        Append {
            stream: StreamId::new(&self.aggregate_type, &self.id),
            version: self.version,
            address,
            answers: keyed::answers(self.lines.iter().copied(), self.version, address),
        }
    }
}

pub(in crate::journal::local) type Lines<'a> = SmallVec<[&'a str; 1]>;

#[derive(Debug, PartialEq)]
pub(in crate::journal::local) struct ProcessManagerLines<'a> {
    pub(in crate::journal::local) name: Cow<'a, str>,
    pub(in crate::journal::local) position: u64,
    /// JSON.
    pub(in crate::journal::local) state: &'a str,
    pub(in crate::journal::local) rows: SmallVec<[RowLine<'a>; 1]>,
    pub(in crate::journal::local) dead_letters: DeadLetterLines<'a>,
}

#[derive(Debug, PartialEq)]
pub(in crate::journal::local) struct RowLine<'a> {
    pub(in crate::journal::local) key: Cow<'a, str>,
    /// JSON; `None` if the row is removed.
    pub(in crate::journal::local) value: Option<&'a str>,
}

impl<'a> RowLine<'a> {
    pub(in crate::journal::local) fn new(key: Cow<'a, str>, value: &'a str) -> Self {
        Self {
            key,
            value: Some(value).filter(|value| *value != "null"),
        }
    }

    pub(in crate::journal::local) fn change(&self) -> RowChange {
        RowChange {
            key: (*self.key).into(),
            value: self.value.map(Into::into),
        }
    }
}

#[derive(Debug, PartialEq)]
pub(in crate::journal::local) struct DeadLetterLines<'a> {
    pub(in crate::journal::local) offset: u64,
    pub(in crate::journal::local) lines: Lines<'a>,
}

impl CommitData<'_> {
    pub(in crate::journal::local) fn event_count(&self) -> u64 {
        self.streams
            .iter()
            .map(|stream| stream.lines.len() as u64)
            .sum()
    }
}

/// The reason why a line is not read.
#[derive(Debug, thiserror::Error)]
pub(in crate::journal::local) enum LineError {
    /// The line has a newer format and a valid checksum.
    #[error(transparent)]
    Newer(#[from] format::Newer),
    #[error("{0}")]
    Damaged(String),
}

impl From<String> for LineError {
    fn from(reason: String) -> Self {
        Self::Damaged(reason)
    }
}

/// Reads a line (without its newline), and verifies its checksum and its length. The error is the reason if one does not match.
pub(in crate::journal::local) fn parse(line: &[u8]) -> Result<CommitLine<'_>, LineError> {
    let text = std::str::from_utf8(line)
        .map_err(|error| format!("the commit is not UTF-8 text: {error}"))?;
    parse_text(text)
}

/// [`parse`], for bytes that are known to be text.
pub(in crate::journal::local) fn parse_text(text: &str) -> Result<CommitLine<'_>, LineError> {
    verify(text)?;
    Ok(read(text)?)
}

/// The events of a line, which is verified as [`parse_text`] does.
pub(in crate::journal::local) fn parse_events(text: &str) -> Result<CommitEvents<'_>, LineError> {
    let body = verify(text)?;
    match line_events::read(text, body) {
        Some(append) => Ok(CommitEvents::OneAppend(append)),
        None => Ok(CommitEvents::Commit(Box::new(read(text)?))),
    }
}

/// The events that a line, which is verified as [`parse_text`] does, appends to a stream: the version of the first, and their
/// lines. `label` is the [label](super::line::append_label) of the stream.
pub(in crate::journal::local) fn parse_append<'a>(
    text: &'a str,
    stream: &StreamId,
    label: &str,
) -> Result<Option<(u64, Lines<'a>)>, LineError> {
    let body = verify(text)?;
    if let Some(append) = line_events::read_of(text, body, label) {
        return Ok(Some(append));
    }
    let mut appends = read(text)?.data.streams.into_iter();
    let append = appends.find(|append| {
        append.id == *stream.instance_id && append.aggregate_type == *stream.aggregate_type
    });
    Ok(append.map(|append| (append.version, append.lines)))
}

/// The events of a commit.
pub(in crate::journal::local) enum CommitEvents<'a> {
    OneAppend(OneAppend<'a>),
    Commit(Box<CommitLine<'a>>),
}

impl CommitEvents<'_> {
    /// The position of the first event, and the number of events.
    pub(in crate::journal::local) fn positions(&self) -> (u64, u64) {
        match self {
            Self::OneAppend(append) => (append.position, append.lines.len() as u64),
            Self::Commit(commit) => (commit.data.position, commit.data.event_count()),
        }
    }
}

/// Verifies the checksum and the format of a line. The result is the part of it that the checksum covers.
fn verify(text: &str) -> Result<&str, LineError> {
    let damaged = |reason: &str| LineError::Damaged(reason.to_owned());
    let (body, checksum) =
        split_checksum(text).ok_or_else(|| damaged("the line is too short to be a commit"))?;
    let stored = checksum
        .strip_prefix(CHECKSUM_LABEL)
        .and_then(|rest| rest.strip_suffix(CHECKSUM_END))
        .ok_or_else(|| damaged("the line does not end in the checksum of a commit"))?;
    let actual = xxh64(body.as_bytes(), 0);
    if !is_written_as(stored, actual) {
        let reason = format!("the commit's checksum is {stored}, but its bytes have {actual:016x}");
        return Err(reason.into());
    }
    let is_of_this_format = body.starts_with(LENGTH_LABEL);
    if !is_of_this_format && let Some(found) = format_of(text.as_bytes()) {
        format::refuse_newer(found, format::JOURNAL)?;
    }
    Ok(body)
}

/// Reads a line that [`parse`] has already accepted, without computing its checksum again.
pub(in crate::journal::local) fn read(text: &str) -> Result<CommitLine<'_>, String> {
    let canonical = split_checksum(text).and_then(|(body, _)| line_canonical::read(text, body));
    let commit = match canonical {
        Some(commit) => commit,
        None => line_json::read(text)?,
    };
    if commit.data.length != text.len() as u64 {
        return Err(format!(
            "the commit says it has {} bytes, but has {}",
            commit.data.length,
            text.len()
        ));
    }
    Ok(commit)
}

/// Splits a line into the part that the checksum covers, and the part behind it.
fn split_checksum(text: &str) -> Option<(&str, &str)> {
    let end = CHECKSUM_LABEL.len() + CHECKSUM_DIGITS + CHECKSUM_END.len();
    text.split_at_checked(text.len().checked_sub(end)?)
}

/// Whether these are the digits in which eventfold writes a line hash: 16, in lower case.
fn is_written_as(digits: &str, hash: u64) -> bool {
    let (high, low) = ((hash >> 32) as u32, hash as u32);
    let written = [eight_digits(high), eight_digits(low)];
    digits.as_bytes() == written.as_flattened()
}

/// The digits of a number, all at once: each byte of the result is one of them.
fn eight_digits(number: u32) -> [u8; 8] {
    let mut digits = u64::from(number);
    digits = (digits | digits << 16) & 0x0000_ffff_0000_ffff;
    digits = (digits | digits << 8) & 0x00ff_00ff_00ff_00ff;
    digits = (digits | digits << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = ((digits + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    let digits = digits + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'0' - 10);
    digits.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use eventfold::line_hash;

    use super::*;
    use crate::journal::local::line::tests::sample;
    use crate::journal::local::line::{Body, Heading, NO_HASH};

    /// A commit with every field that a commit can have.
    fn full() -> Result<String, serde_json::Error> {
        let mut body = Body::default();
        let event = "{\"type\":\"Named\",\"data\":\"],[\\\"Ünïcode\",\"ts\":1}";
        let plain = StreamId::new("order", "ö 1");
        body.stream(&plain, 7, &[event.into(), "{}".into()]);
        let escaped = StreamId::new("or\\der", "a\"b");
        body.stream(&escaped, 1, &[event.into()]);
        let row = |key: &str, value: Option<&str>| RowChange {
            key: key.into(),
            value: value.map(Into::into),
        };
        let rows = vec![
            row("i\"ö\"", Some("{\"rows\":[],\"state\":\"}]\"}")),
            row("t1", None),
            row("t2", Some("7")),
        ];
        for (name, rows, dead_letters) in [
            ("saga", vec![], vec![]),
            ("mail \"er\"", rows, vec!["{}".into(); 2]),
        ] {
            let reaction = crate::journal::ProposedReaction {
                process_manager: name.into(),
                progress: crate::journal::Progress {
                    position: 4,
                    state: serde_json::from_str("{\"seen\":[1,\"ü]\"]}")?,
                },
                dispatched: 2,
                rows,
                dead_letters,
            };
            body.process_manager(&reaction, 11);
        }
        Ok(body.finish(&Heading {
            commit: 12,
            batch: 3,
            end: false,
            flush: true,
            previous: "00ffe7d2b9a41c55",
            position: 30,
            time: 5_999,
            ts: 5,
        }))
    }

    #[test]
    fn both_ways_to_read_a_line_agree() -> Result<(), Box<dyn std::error::Error>> {
        let nothing = Body::default().finish(&Heading {
            commit: u64::MAX,
            batch: 0,
            end: true,
            flush: false,
            previous: NO_HASH,
            position: 10,
            time: u64::MAX,
            ts: 0,
        });
        for line in [full()?, sample(3), nothing] {
            let (body, _) = split_checksum(&line).ok_or("short")?;
            let canonical = line_canonical::read(&line, body).ok_or("not canonical")?;
            assert_eq!(canonical, line_json::read(&line)?);
            assert_eq!(canonical, parse(line.as_bytes())?);
        }
        Ok(())
    }

    #[test]
    fn the_events_alone_are_those_of_the_whole_commit() -> Result<(), Box<dyn std::error::Error>> {
        let mut body = Body::default();
        let events = ["{\"a\":\"],[ü\"}".into(), "{}".into()];
        body.stream(&StreamId::new("or\\der", "a\"b"), 7, &events);
        let odd = body.finish(&Heading {
            commit: 12,
            batch: 3,
            end: false,
            flush: true,
            previous: "00ffe7d2b9a41c55",
            position: 30,
            time: 5_999,
            ts: 5,
        });
        for (line, is_short) in [(sample(3), true), (odd, true), (full()?, false)] {
            let whole = parse_text(&line)?.data;
            assert_eq!(
                matches!(parse_events(&line)?, CommitEvents::OneAppend(_)),
                is_short
            );
            assert_eq!(
                parse_events(&line)?.positions(),
                (whole.position, whole.event_count())
            );
            let Some(StreamLines {
                aggregate_type,
                id,
                version,
                lines,
            }) = whole.streams.into_iter().next()
            else {
                return Err("no stream".into());
            };
            let CommitEvents::OneAppend(found) = parse_events(&line)? else {
                continue;
            };
            let (position, time) = (whole.position, whole.time);
            let expected = OneAppend {
                position,
                time,
                aggregate_type,
                id,
                version,
                lines,
            };
            assert_eq!(found, expected);
            let body = split_checksum(&line).ok_or("short")?.0;
            for other in [
                line.replacen("\"length\":", "\"length\":1", 1),
                format!("{line} "),
            ] {
                assert_eq!(line_events::read(&other, body), None);
            }
        }
        Ok(())
    }

    #[test]
    fn another_form_is_read_as_json() -> Result<(), Box<dyn std::error::Error>> {
        let line = full()?;
        for (canonical, other) in [
            ("\"end\":false", "\"end\": false"),
            ("\"lengths\":[", "\"lengths\":[ "),
            (
                "\"version\":7,\"lengths\":[47,2]",
                "\"lengths\":[47,2],\"version\":7",
            ),
        ] {
            let other = line.replacen(canonical, other, 1);
            let (body, _) = split_checksum(&other).ok_or("short")?;
            assert_eq!(line_canonical::read(&other, body), None, "{other}");
            let (read, expected) = (line_json::read(&other)?, line_json::read(&line)?);
            assert_eq!(read.data, expected.data);
        }
        Ok(())
    }

    #[test]
    fn a_field_that_this_format_does_not_have_is_refused() -> Result<(), Box<dyn std::error::Error>>
    {
        let line = full()?;
        for place in [
            "\"commit\":12",
            "\"version\":7",
            "\"dispatched\":2",
            "\"offset\":11",
            "\"ts\":5",
        ] {
            let other = line.replacen(place, &format!("{place},\"new\":[1]"), 1);
            assert_ne!(other, line, "{place}");
            let reason = line_json::read(&other).err().ok_or("it was read")?;
            assert!(reason.contains("unknown field `new`"), "{place}: {reason}");
        }
        Ok(())
    }

    #[test]
    fn a_newer_format_is_told_from_damage() -> Result<(), Box<dyn std::error::Error>> {
        assert_eq!(format_of(full()?.as_bytes()), Some(format::JOURNAL));
        let line = full()?.replacen("\"format\":1", "\"format\":2,\"new\":3", 1);
        assert!(matches!(parse(line.as_bytes()), Err(LineError::Damaged(_))));
        let (body, _) = split_checksum(&line).ok_or("short")?;
        let checksum = line_hash(body.as_bytes());
        let line = format!("{body}{CHECKSUM_LABEL}{checksum}{CHECKSUM_END}");
        let newer = format::Newer {
            found: 2,
            supported: format::JOURNAL,
        };
        assert!(matches!(parse(line.as_bytes()), Err(LineError::Newer(found)) if found == newer));
        Ok(())
    }

    #[test]
    fn lengths_that_do_not_fit_are_refused() -> Result<(), Box<dyn std::error::Error>> {
        let line = full()?;
        let lengths = line.find("\"lengths\":[").ok_or("no lengths")?;
        let (before, behind) = line.split_at(lengths);
        let (_, behind) = behind.split_once(']').ok_or("no end")?;
        for list in [
            "",
            "47",
            "46,2",
            "48,2",
            "2,47",
            "47,2,2",
            "47,3",
            "99999999999999999999,2",
            "047,2",
        ] {
            let other = format!("{before}\"lengths\":[{list}]{behind}");
            assert!(read(&other).is_err(), "{list}");
        }
        for length in [0, 1, 3] {
            let other = line.replacen(
                "\"key\":\"t2\",\"length\":1",
                &format!("\"key\":\"t2\",\"length\":{length}"),
                1,
            );
            assert!(other == line || read(&other).is_err(), "{other}");
        }
        for length in [0, 17, 19] {
            let other = line.replacen("_length\":18", &format!("_length\":{length}"), 1);
            assert_ne!(other, line);
            assert!(read(&other).is_err(), "{other}");
        }
        Ok(())
    }

    #[test]
    fn every_flipped_bit_is_seen() -> Result<(), serde_json::Error> {
        for line in [sample(10), full()?] {
            let line = line.into_bytes();
            for index in 0..line.len() {
                for bit in 0..8 {
                    let mut flipped = line.clone();
                    if let Some(byte) = flipped.get_mut(index) {
                        *byte ^= 1 << bit;
                    }
                    assert!(parse(&flipped).is_err(), "byte {index}, bit {bit}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn every_cut_is_seen() {
        let line = sample(10).into_bytes();
        for length in 0..line.len() {
            let (cut, _) = line.split_at(length);
            assert!(parse(cut).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_hash_is_written_as_eventfold_writes_it() {
        for text in ["", "a", "{\"type\":\"commit\"}", &sample(1000)] {
            let digits = line_hash(text.as_bytes());
            let hash = xxh64(text.as_bytes(), 0);
            assert!(is_written_as(&digits, hash));
            assert!(
                !is_written_as(&digits.to_uppercase(), hash)
                    || !digits.contains(char::is_alphabetic)
            );
            assert!(!is_written_as(&digits, hash ^ 1));
            assert!(!is_written_as(&format!("0{digits}"), hash));
        }
        assert!(is_written_as(NO_HASH, 0));
    }

    #[test]
    fn a_line_reads_back_at_every_length() -> Result<(), Box<dyn std::error::Error>> {
        for payload in (0..20).chain(9_600..9_700).chain([99_700, 99_730, 99_760]) {
            let line = sample(payload);
            let commit = parse(line.as_bytes())?;
            assert_eq!(commit.data.event_count(), 1);
            let stream = commit.data.streams.first().ok_or("no stream")?;
            assert_eq!(&*stream.id, "a\"b");
        }
        Ok(())
    }
}
