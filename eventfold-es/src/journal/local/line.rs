//! One commit as one line of text: how it is written and what is checked when it is read.
//!
//! ```text
//! {"type":"commit","data":{"length":L,"commit":N,"batch":B,"end":true,"previous":"H","position":P,
//!  "streams":[{"type":T,"id":I,"dir":D,"version":V,"offset":O,"lines":[EVENT,..]},..],
//!  "process_managers":[{"name":M,"position":P,"dispatched":D,"state":S,"dead_letters":{"offset":O,"lines":[..]}},..],
//!  "adoption":{..}},"ts":T,"meta":{"checksum":"C"}}
//! ```
//!
//! (without the line breaks). `length` counts the bytes of the line without its newline; `checksum` is eventfold's line hash
//! of everything before `,"meta"`; `"flush":true` follows `end` when nobody waits for the commit to be durable; `previous` is
//! the line hash of the commit before, 16 zeros for the first. `adoption` is there in the first commit of a directory that
//! eventfold-es 0.2.0 wrote, and nowhere else.

use std::borrow::Cow;
use std::fmt::Write as _;

use eventfold::line_hash;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::sabotage::{Bug, planted};

/// The hash before the first commit.
pub(super) const NO_HASH: &str = "0000000000000000";

const CHECKSUM_LABEL: &str = ",\"meta\":{\"checksum\":\"";
const CHECKSUM_DIGITS: usize = 16;
const CHECKSUM_END: &str = "\"}}";
const LENGTH_LABEL: &str = "{\"type\":\"commit\",\"data\":{\"length\":";

/// The place of a commit in the chain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heading<'a> {
    pub(super) commit: u64,
    pub(super) batch: u64,
    /// Whether it is the last of its batch.
    pub(super) end: bool,
    /// Whether nobody waits for it to be durable.
    pub(super) flush: bool,
    pub(super) previous: &'a str,
    /// The position of its first event, or of the next one.
    pub(super) position: u64,
    /// Seconds since 1970.
    pub(super) ts: u64,
}

/// The part of a line that lists what the commit contains, as it is built up.
#[derive(Default)]
pub(super) struct Body {
    streams: String,
    process_managers: String,
    adoption: String,
}

impl Body {
    /// What became of a directory of eventfold-es 0.2.0.
    pub(super) fn adoption(&mut self, record: &RawValue) {
        self.adoption = format!(",\"adoption\":{record}");
    }

    pub(super) fn stream(
        &mut self,
        stream: &crate::journal::StreamId,
        directory: Option<&str>,
        version: u64,
        offset: u64,
        lines: &[Box<str>],
    ) {
        let text = &mut self.streams;
        separate(text);
        text.push_str("{\"type\":");
        push_string(text, &stream.aggregate_type);
        text.push_str(",\"id\":");
        push_string(text, &stream.instance_id);
        if let Some(directory) = directory {
            text.push_str(",\"dir\":");
            push_string(text, directory);
        }
        push_number(text, ",\"version\":", version);
        push_number(text, ",\"offset\":", offset);
        text.push_str(",\"lines\":");
        push_lines(text, lines);
        text.push('}');
    }

    pub(super) fn process_manager(
        &mut self,
        reaction: &crate::journal::ProposedReaction,
        dead_letter_offset: u64,
    ) {
        let text = &mut self.process_managers;
        separate(text);
        text.push_str("{\"name\":");
        push_string(text, &reaction.process_manager);
        push_number(text, ",\"position\":", reaction.progress.position);
        push_number(text, ",\"dispatched\":", reaction.dispatched);
        text.push_str(",\"state\":");
        text.push_str(reaction.progress.state.get());
        push_number(text, ",\"dead_letters\":{\"offset\":", dead_letter_offset);
        text.push_str(",\"lines\":");
        match planted(Bug::DeadLettersOutsideTheCommit) {
            true => push_lines(text, &[]),
            false => push_lines(text, &reaction.dead_letters),
        }
        text.push_str("}}");
    }

    /// The whole line, without its newline.
    pub(super) fn finish(self, heading: &Heading<'_>) -> String {
        let mut rest =
            String::with_capacity(self.streams.len() + self.process_managers.len() + 256);
        push_number(&mut rest, ",\"commit\":", heading.commit);
        push_number(&mut rest, ",\"batch\":", heading.batch);
        rest.push_str(if heading.end {
            ",\"end\":true"
        } else {
            ",\"end\":false"
        });
        if heading.flush {
            rest.push_str(",\"flush\":true");
        }
        rest.push_str(",\"previous\":\"");
        rest.push_str(heading.previous);
        push_number(&mut rest, "\",\"position\":", heading.position);
        rest.push_str(",\"streams\":[");
        rest.push_str(&self.streams);
        rest.push_str("],\"process_managers\":[");
        rest.push_str(&self.process_managers);
        rest.push(']');
        rest.push_str(&self.adoption);
        push_number(&mut rest, "},\"ts\":", heading.ts);

        let fixed = LENGTH_LABEL.len()
            + rest.len()
            + CHECKSUM_LABEL.len()
            + CHECKSUM_DIGITS
            + CHECKSUM_END.len();
        let mut length = fixed + 1;
        while fixed + decimal_digits(length) > length {
            length += 1;
        }
        let mut line = String::with_capacity(length);
        push_number(&mut line, LENGTH_LABEL, length as u64);
        line.push_str(&rest);
        let checksum = line_hash(line.as_bytes());
        line.push_str(CHECKSUM_LABEL);
        line.push_str(&checksum);
        line.push_str(CHECKSUM_END);
        line
    }
}

fn separate(list: &mut String) {
    if !list.is_empty() {
        list.push(',');
    }
}

fn push_string(text: &mut String, value: &str) {
    text.push_str(&serde_json::Value::from(value).to_string());
}

fn push_number(text: &mut String, label: &str, value: u64) {
    text.push_str(label);
    // Writing to a String cannot fail.
    let _ = write!(text, "{value}");
}

fn push_lines(text: &mut String, lines: &[Box<str>]) {
    text.push('[');
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(line);
    }
    text.push(']');
}

fn decimal_digits(number: usize) -> usize {
    number
        .checked_ilog10()
        .map_or(1, |digits| digits as usize + 1)
}

/// A line that was read back and whose checksum holds.
#[derive(Deserialize)]
pub(super) struct CommitLine<'a> {
    #[serde(rename = "type")]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) data: CommitData<'a>,
    pub(super) ts: u64,
}

#[derive(Deserialize)]
pub(super) struct CommitData<'a> {
    length: u64,
    pub(super) commit: u64,
    pub(super) batch: u64,
    pub(super) end: bool,
    #[serde(default)]
    pub(super) flush: bool,
    #[serde(borrow)]
    pub(super) previous: Cow<'a, str>,
    pub(super) position: u64,
    #[serde(borrow)]
    pub(super) streams: Vec<StreamLines<'a>>,
    #[serde(borrow)]
    pub(super) process_managers: Vec<ProcessManagerLines<'a>>,
    /// In the first commit of a directory that eventfold-es 0.2.0 wrote.
    #[serde(default, borrow)]
    pub(super) adoption: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct StreamLines<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) aggregate_type: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(default, borrow)]
    pub(super) dir: Option<Cow<'a, str>>,
    pub(super) version: u64,
    pub(super) offset: u64,
    #[serde(borrow)]
    pub(super) lines: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct ProcessManagerLines<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    pub(super) position: u64,
    #[serde(borrow)]
    pub(super) state: &'a RawValue,
    #[serde(borrow)]
    pub(super) dead_letters: DeadLetterLines<'a>,
}

#[derive(Deserialize)]
pub(super) struct DeadLetterLines<'a> {
    pub(super) offset: u64,
    #[serde(borrow)]
    pub(super) lines: Vec<&'a RawValue>,
}

impl CommitData<'_> {
    pub(super) fn event_count(&self) -> u64 {
        self.streams
            .iter()
            .map(|stream| stream.lines.len() as u64)
            .sum()
    }
}

/// Reads a line (without its newline) whose checksum and length hold; the reason otherwise.
pub(super) fn parse(line: &[u8]) -> Result<CommitLine<'_>, String> {
    let text = std::str::from_utf8(line)
        .map_err(|error| format!("the commit is not UTF-8 text: {error}"))?;
    let (body, checksum) = text
        .len()
        .checked_sub(CHECKSUM_LABEL.len() + CHECKSUM_DIGITS + CHECKSUM_END.len())
        .and_then(|split| text.split_at_checked(split))
        .ok_or("the line is too short to be a commit")?;
    let stored = checksum
        .strip_prefix(CHECKSUM_LABEL)
        .and_then(|rest| rest.strip_suffix(CHECKSUM_END))
        .ok_or("the line does not end in the checksum of a commit")?;
    let actual = line_hash(body.as_bytes());
    if stored != actual {
        return Err(format!(
            "the commit's checksum is {stored}, but its bytes have {actual}"
        ));
    }
    let commit: CommitLine<'_> =
        serde_json::from_str(text).map_err(|error| format!("the line is no commit: {error}"))?;
    if commit.event_type != "commit" {
        return Err(format!(
            "the line is an event of type `{}`, not a commit",
            commit.event_type
        ));
    }
    if commit.data.length != line.len() as u64 {
        return Err(format!(
            "the commit says it has {} bytes, but has {}",
            commit.data.length,
            line.len()
        ));
    }
    Ok(commit)
}

/// The number of the commit whose line begins with these bytes.
pub(super) fn commit_number(beginning: &[u8]) -> Option<u64> {
    fn digits(bytes: &[u8]) -> (&[u8], &[u8]) {
        let count = bytes
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        bytes.split_at(count)
    }
    let rest = beginning.strip_prefix(LENGTH_LABEL.as_bytes())?;
    let (_, rest) = digits(rest);
    let (number, rest) = digits(rest.strip_prefix(b",\"commit\":")?);
    rest.first()?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

/// Whether these bytes can be the beginning of the line of a commit, and no more than it; of the one with this number in this
/// batch, where these are known.
pub(super) fn can_begin(fragment: &[u8], number: Option<(u64, u64)>) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::StreamId;

    fn sample(payload: usize) -> String {
        let mut body = Body::default();
        body.stream(
            &StreamId::new("order", "a\"b"),
            Some("a%22b"),
            1,
            0,
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
            ts: 5,
        })
    }

    #[test]
    fn a_line_reads_back_at_every_length() -> Result<(), String> {
        for payload in (0..20).chain(9_600..9_700).chain([99_700, 99_730, 99_760]) {
            let line = sample(payload);
            let commit = parse(line.as_bytes())?;
            assert_eq!(commit.data.event_count(), 1);
            let stream = commit.data.streams.first().ok_or("no stream")?;
            assert_eq!(
                (&*stream.id, stream.dir.as_deref()),
                ("a\"b", Some("a%22b"))
            );
        }
        Ok(())
    }

    #[test]
    fn a_line_is_an_eventfold_event() -> Result<(), serde_json::Error> {
        let event: eventfold::Event = serde_json::from_str(&sample(3))?;
        assert_eq!(event.event_type, "commit");
        Ok(())
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let line = sample(10).into_bytes();
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

    #[test]
    fn every_cut_is_seen() {
        let line = sample(10).into_bytes();
        for length in 0..line.len() {
            let (cut, _) = line.split_at(length);
            assert!(parse(cut).is_err(), "{length} bytes");
        }
    }
}
