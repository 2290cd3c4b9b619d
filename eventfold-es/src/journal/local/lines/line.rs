//! One commit as one line of text: its writing, and the checks of its reading.
//!
//! ```text
//! {"type":"commit","data":{"format":1,"length":L,"commit":N,"batch":B,"end":true,"previous":"H","position":P,"time":M,
//!  "streams":[{"type":T,"id":I,"version":V,"lengths":[L,..],"lines":[EVENT,..]},..],
//!  "process_managers":[{"name":M,"position":P,"dispatched":D,"state_length":L,"state":S,
//!   "rows":[{"key":K,"length":L,"value":V},..],"dead_letters":{"offset":O,"lengths":[L,..],"lines":[LETTER,..]}},..]},
//!  "ts":T,"meta":{"checksum":"C"}}
//! ```
//!
//! (without the line breaks).
//!
//! - `length` counts the bytes of the line without its newline.
//! - `checksum` is eventfold's line hash of everything before `,"meta"`.
//! - `"flush":true` follows `end` if no caller waits for the commit to be durable.
//! - `time` is the time of the commit, in milliseconds since 1970, and never less than that of the commit before.
//! - `previous` is the line hash of the commit before, 16 zeros for the first.
//! - `rows` is present if rows change; the value `null` removes a row.
//! - `adoption`, the last field of `data`, is present only in the first commit of a directory that eventfold-es 0.2.0 wrote.
//! - `claim`, also the last field, is present only in a commit with which a node of a replicated store becomes the leader.
//!
//! `lengths` has the byte length of each line in `lines`, and `state_length` that of the state. After it has verified the
//! checksum, a reader cuts the lines out without parsing their JSON ([`line_canonical`](crate::journal::local::line_canonical)). A line in any
//! other form with the same content is read as JSON ([`line_json`](crate::journal::local::line_json)), and its lengths must match.

use std::ops::Range;

use eventfold::line_hash;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use crate::journal::RowChange;
pub(in crate::journal::local) use crate::journal::local::line_read::{
    CommitData, CommitLine, LineError, parse, parse_append, parse_events, parse_text, read,
};
use crate::sabotage::{Bug, planted};

/// The hash before the first commit.
pub(in crate::journal::local) const NO_HASH: &str = "0000000000000000";

pub(in crate::journal::local) const CHECKSUM_LABEL: &str = ",\"meta\":{\"checksum\":\"";
pub(in crate::journal::local) const CHECKSUM_DIGITS: usize = 16;
pub(in crate::journal::local) const CHECKSUM_END: &str = "\"}}";
/// The approximate size of a stream's text beside its lines, and of a line beside its own bytes.
const STREAM_BYTES: usize = 256;
const LENGTH_BYTES: usize = 8;
/// The approximate size of a line beside its streams and process managers, its newline included.
const LINE_BYTES: usize = 256;
/// The approximate size of a process manager's text beside the bytes that
/// [`ProposedReaction`](crate::journal::ProposedReaction) counts.
const PROCESS_MANAGER_BYTES: usize = 192;
/// The beginning of a line in every format.
pub(in crate::journal::local) const FORMAT_LABEL: &str =
    "{\"type\":\"commit\",\"data\":{\"format\":";
/// The beginning of a line in the format [`format::JOURNAL`](crate::format::JOURNAL).
pub(in crate::journal::local) const LENGTH_LABEL: &str =
    "{\"type\":\"commit\",\"data\":{\"format\":1,\"length\":";
/// The text before the appends of a commit.
pub(in crate::journal::local) const STREAMS_LABEL: &str = ",\"streams\":[";

/// The place of a commit in the chain.
#[derive(Debug, Clone, Copy)]
pub(in crate::journal::local) struct Heading<'a> {
    pub(in crate::journal::local) commit: u64,
    pub(in crate::journal::local) batch: u64,
    /// Whether the commit is the last of its batch.
    pub(in crate::journal::local) end: bool,
    /// Whether no caller waits for the commit to be durable.
    pub(in crate::journal::local) flush: bool,
    pub(in crate::journal::local) previous: &'a str,
    /// The position of its first event, or of the next event if it has none.
    pub(in crate::journal::local) position: u64,
    /// Milliseconds since 1970.
    pub(in crate::journal::local) time: u64,
    /// Seconds since 1970.
    pub(in crate::journal::local) ts: u64,
}

/// The part of a line that lists the content of the commit, while it is built.
#[derive(Default)]
pub(in crate::journal::local) struct Body {
    streams: String,
    /// The range of each event's line in `streams`.
    lines: LinePlaces,
    process_managers: String,
    record: String,
}

/// The ranges of the lines of events in a text, in order. Most commits have one event.
pub(in crate::journal::local) type LinePlaces = SmallVec<[Range<usize>; 1]>;

impl Body {
    /// Adds the record of an adopted directory.
    pub(in crate::journal::local) fn adoption(&mut self, record: &RawValue) {
        self.record = format!(",\"adoption\":{record}");
    }

    /// Adds the record of a node that becomes the leader.
    pub(in crate::journal::local) fn claim(&mut self, record: &RawValue) {
        self.record = format!(",\"claim\":{record}");
    }

    pub(in crate::journal::local) fn stream(
        &mut self,
        stream: &crate::journal::StreamId,
        version: u64,
        lines: &[Box<str>],
    ) {
        let text = &mut self.streams;
        let lines_bytes: usize = lines.iter().map(|line| line.len() + LENGTH_BYTES).sum();
        text.reserve(lines_bytes + STREAM_BYTES);
        separate(text);
        push_stream(text, stream);
        push_number(text, "", version);
        push_lines(text, lines, Some(&mut self.lines));
        text.push('}');
    }

    pub(in crate::journal::local) fn process_manager(
        &mut self,
        reaction: &crate::journal::ProposedReaction,
        dead_letter_offset: u64,
    ) {
        let text = &mut self.process_managers;
        text.reserve(reaction.byte_count() + PROCESS_MANAGER_BYTES);
        separate(text);
        text.push_str("{\"name\":");
        push_string(text, &reaction.process_manager);
        push_number(text, ",\"position\":", reaction.progress.position);
        push_number(text, ",\"dispatched\":", reaction.dispatched);
        let state = reaction.progress.state.get();
        push_number(text, ",\"state_length\":", state.len() as u64);
        text.push_str(",\"state\":");
        text.push_str(state);
        if !planted(Bug::RowsOutsideTheCommit) {
            push_rows(text, &reaction.rows);
        }
        push_number(text, ",\"dead_letters\":{\"offset\":", dead_letter_offset);
        match planted(Bug::DeadLettersOutsideTheCommit) {
            true => push_lines(text, &[], None),
            false => push_lines(text, &reaction.dead_letters, None),
        }
        text.push_str("}}");
    }

    /// The approximate length of the whole line: rarely too small, and little too large.
    pub(in crate::journal::local) fn line_bytes(&self) -> usize {
        LINE_BYTES + self.streams.len() + self.process_managers.len() + self.record.len()
    }

    /// The whole line, without its newline.
    pub(in crate::journal::local) fn finish(self, heading: &Heading<'_>) -> String {
        let mut line = String::new();
        self.push_to(&mut line, heading, &mut String::new());
        line
    }

    /// Appends the whole line, without its newline. The result is the range of each event's line in `text`. The content of
    /// `head` is overwritten.
    pub(in crate::journal::local) fn push_to(
        self,
        text: &mut String,
        heading: &Heading<'_>,
        head: &mut String,
    ) -> LinePlaces {
        let Self {
            streams,
            mut lines,
            process_managers,
            record,
        } = self;
        head.clear();
        push_number(head, ",\"commit\":", heading.commit);
        push_number(head, ",\"batch\":", heading.batch);
        head.push_str(if heading.end {
            ",\"end\":true"
        } else {
            ",\"end\":false"
        });
        if heading.flush {
            head.push_str(",\"flush\":true");
        }
        head.push_str(",\"previous\":\"");
        head.push_str(heading.previous);
        push_number(head, "\",\"position\":", heading.position);
        push_number(head, ",\"time\":", heading.time);
        head.push_str(STREAMS_LABEL);
        let mut ts = itoa::Buffer::new();
        let parts = [
            &**head,
            &streams,
            "],\"process_managers\":[",
            &process_managers,
            "]",
            &record,
            "},\"ts\":",
            ts.format(heading.ts),
        ];
        let fixed = LENGTH_LABEL.len()
            + parts.iter().map(|part| part.len()).sum::<usize>()
            + CHECKSUM_LABEL.len()
            + CHECKSUM_DIGITS
            + CHECKSUM_END.len();
        let mut length = fixed + 1;
        while fixed + decimal_digits(length) > length {
            length += 1;
        }
        let start = text.len();
        text.reserve(length + 1);
        push_number(text, LENGTH_LABEL, length as u64);
        let moved = text.len() + head.len();
        for part in parts {
            text.push_str(part);
        }
        let checksum = line_hash(text.as_bytes().get(start..).unwrap_or_default());
        text.push_str(CHECKSUM_LABEL);
        text.push_str(&checksum);
        text.push_str(CHECKSUM_END);
        for place in &mut lines {
            *place = place.start + moved..place.end + moved;
        }
        lines
    }
}

/// The text before the version in the line of a commit whose first append is to this stream.
pub(in crate::journal::local) fn append_label(stream: &crate::journal::StreamId) -> String {
    let mut label = STREAMS_LABEL.to_owned();
    push_stream(&mut label, stream);
    label
}

fn push_stream(text: &mut String, stream: &crate::journal::StreamId) {
    text.push_str("{\"type\":");
    push_string(text, &stream.aggregate_type);
    text.push_str(",\"id\":");
    push_string(text, &stream.instance_id);
    text.push_str(",\"version\":");
}

fn separate(list: &mut String) {
    if !list.is_empty() {
        list.push(',');
    }
}

fn push_string(text: &mut String, value: &str) {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if value.bytes().all(is_plain) {
        text.push('"');
        text.push_str(value);
        text.push('"');
    } else {
        text.push_str(&serde_json::Value::from(value).to_string());
    }
}

fn push_number(text: &mut String, label: &str, value: u64) {
    text.push_str(label);
    text.push_str(itoa::Buffer::new().format(value));
}

fn push_lines(text: &mut String, lines: &[Box<str>], mut places: Option<&mut LinePlaces>) {
    text.push_str(",\"lengths\":[");
    for (index, line) in lines.iter().enumerate() {
        push_number(text, if index > 0 { "," } else { "" }, line.len() as u64);
    }
    text.push_str("],\"lines\":[");
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        if let Some(places) = &mut places {
            places.push(text.len()..text.len() + line.len());
        }
        text.push_str(line);
    }
    text.push(']');
}

/// Writes nothing if no row changes.
fn push_rows(text: &mut String, rows: &[RowChange]) {
    for (index, row) in rows.iter().enumerate() {
        text.push_str(if index == 0 {
            ",\"rows\":[{\"key\":"
        } else {
            ",{\"key\":"
        });
        push_string(text, &row.key);
        let value = row.value.as_deref().unwrap_or("null");
        push_number(text, ",\"length\":", value.len() as u64);
        text.push_str(",\"value\":");
        text.push_str(value);
        text.push('}');
    }
    if !rows.is_empty() {
        text.push(']');
    }
}

fn decimal_digits(number: usize) -> usize {
    number
        .checked_ilog10()
        .map_or(1, |digits| digits as usize + 1)
}

/// The format of the line that begins with these bytes, if they contain it.
pub(in crate::journal::local) fn format_of(beginning: &[u8]) -> Option<u64> {
    let rest = beginning.strip_prefix(FORMAT_LABEL.as_bytes())?;
    let (number, rest) = digits(rest);
    rest.first()?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

fn digits(bytes: &[u8]) -> (&[u8], &[u8]) {
    let count = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    bytes.split_at(count)
}

/// The number of the commit whose line begins with these bytes.
pub(in crate::journal::local) fn commit_number(beginning: &[u8]) -> Option<u64> {
    let rest = beginning.strip_prefix(LENGTH_LABEL.as_bytes())?;
    let (_, rest) = digits(rest);
    let (number, rest) = digits(rest.strip_prefix(b",\"commit\":")?);
    rest.first()?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// Whether these bytes can be the beginning of a commit's line, and no more than one line. If `number` is given, the line must
/// be that of this commit in this batch.
pub(in crate::journal::local) fn can_begin(fragment: &[u8], number: Option<(u64, u64)>) -> bool {
    let label = LENGTH_LABEL.as_bytes();
    let Some(rest) = fragment.strip_prefix(label) else {
        return label.starts_with(fragment);
    };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = rest.split_at(digits);
    let expected = number.map_or_else(String::new, |(commit, batch)| {
        format!(",\"commit\":{commit},\"batch\":{batch},\"end\":")
    });
    let length: Option<u64> = std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok());
    if rest.is_empty() {
        return digits.is_empty() || length.is_some();
    }
    length.is_some_and(|length| fragment.len() as u64 <= length)
        && (rest.starts_with(expected.as_bytes()) || expected.as_bytes().starts_with(rest))
}

/// Whether these bytes begin the line of the commit with this number in this batch, and say that a caller waits for it.
pub(in crate::journal::local) fn begins_what_was_waited_for(
    bytes: &[u8],
    (commit, batch): (u64, u64),
) -> bool {
    let expected = format!(",\"commit\":{commit},\"batch\":{batch},\"end\":");
    let Some(rest) = bytes.strip_prefix(LENGTH_LABEL.as_bytes()) else {
        return false;
    };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = rest.get(digits..).unwrap_or_default();
    rest.strip_prefix(expected.as_bytes())
        .and_then(|rest| {
            let is_not_end = || rest.strip_prefix(b"false");
            rest.strip_prefix(b"true").or_else(is_not_end)
        })
        .is_some_and(|rest| rest.starts_with(b",\"previous\":"))
}

#[cfg(test)]
pub(in crate::journal::local) mod tests {
    use super::*;
    use crate::journal::StreamId;

    pub(in crate::journal::local) fn sample(payload: usize) -> String {
        let mut body = Body::default();
        body.stream(
            &StreamId::new("order", "a\"b"),
            1,
            &[format!(
                "{{\"type\":\"Placed\",\"data\":\"{}\",\"ts\":1}}",
                "x".repeat(payload)
            )
            .into()],
        );
        body.finish(&Heading {
            commit: 1,
            batch: 1,
            end: true,
            flush: false,
            previous: NO_HASH,
            position: 1,
            time: 5_250,
            ts: 5,
        })
    }

    #[test]
    fn a_line_is_an_eventfold_event() -> Result<(), serde_json::Error> {
        let event: eventfold::Event = serde_json::from_str(&sample(3))?;
        assert_eq!(event.event_type, "commit");
        Ok(())
    }

    #[test]
    fn a_line_says_early_whether_somebody_waited() {
        let line = sample(10);
        let end = line.find("\"previous\":").unwrap_or_default() + "\"previous\":".len();
        for length in 0..=line.len() {
            let (cut, _) = line.as_bytes().split_at(length);
            assert_eq!(begins_what_was_waited_for(cut, (1, 1)), length >= end);
            assert!(!begins_what_was_waited_for(cut, (2, 1)));
        }
        let inner = line.replace("\"end\":true", "\"end\":false");
        assert!(begins_what_was_waited_for(inner.as_bytes(), (1, 1)));
        let flush = line.replace("\"end\":true", "\"end\":true,\"flush\":true");
        assert!(!begins_what_was_waited_for(flush.as_bytes(), (1, 1)));
    }

    #[test]
    fn every_beginning_of_a_line_is_known_as_one() {
        let line = sample(10);
        let number = line.find("1,\"batch\"").unwrap_or_default();
        for length in 0..=line.len() {
            let (cut, _) = line.as_bytes().split_at(length);
            assert!(can_begin(cut, None), "{length} bytes");
            assert!(can_begin(cut, Some((1, 1))), "{length} bytes");
            assert_eq!(
                can_begin(cut, Some((2, 1))),
                length <= number,
                "{length} bytes"
            );
        }
        for other in [
            "x",
            "{\"type\":\"Placed\"",
            "{\"type\":\"commit\",\"data\":{\"length\":x",
        ] {
            assert!(!can_begin(other.as_bytes(), None), "{other}");
        }
        let too_long = [line.as_bytes(), b"x"].concat();
        assert!(!can_begin(&too_long, None));
    }
}
