//! Reading the line of a commit in the form that [`Body`](crate::journal::local::line::Body) writes, byte for byte.
//!
//! Events, states and dead letters are cut out by their lengths, and their JSON is not parsed. That is sound only because the
//! checksum of the line was verified before, and because only the store writes this form.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::journal::local::line::LENGTH_LABEL;
use crate::journal::local::line_read::{
    CommitData, CommitLine, DeadLetterLines, Lines, ProcessManagerLines, RowLine, StreamLines,
};

/// The commit, if the line has this form. `body` is the part of `text` that its checksum covers.
pub(in crate::journal::local) fn read<'a>(text: &'a str, body: &'a str) -> Option<CommitLine<'a>> {
    let mut rest = Rest(body);
    let length = rest.number(LENGTH_LABEL)?;
    let commit = rest.number(",\"commit\":")?;
    let batch = rest.number(",\"batch\":")?;
    let end = rest.accept(",\"end\":true");
    if !end {
        rest.expect(",\"end\":false")?;
    }
    let flush = rest.accept(",\"flush\":true");
    let previous = rest.string(",\"previous\":")?;
    let position = rest.number(",\"position\":")?;
    let time = rest.number(",\"time\":")?;
    let streams = rest.list(",\"streams\":[", stream)?;
    let process_managers = rest.list(",\"process_managers\":[", process_manager)?;
    let ts = rest.number("},\"ts\":")?;
    rest.0.is_empty().then_some(CommitLine {
        text,
        data: CommitData {
            length,
            commit,
            batch,
            end,
            flush,
            previous,
            position,
            time,
            streams,
            process_managers,
            // The few commits with a record are read as JSON.
            adoption: None,
            claim: None,
        },
        ts,
    })
}

// Inlined, so that the result is built in its final place.
#[inline(always)]
fn stream<'a>(rest: &mut Rest<'a>) -> Option<StreamLines<'a>> {
    let aggregate_type = rest.string("{\"type\":")?;
    let id = rest.string(",\"id\":")?;
    let version = rest.number(",\"version\":")?;
    let lines = rest.lines()?;
    rest.expect("}")?;
    Some(StreamLines {
        aggregate_type,
        id,
        version,
        lines,
    })
}

fn process_manager<'a>(rest: &mut Rest<'a>) -> Option<ProcessManagerLines<'a>> {
    let name = rest.string("{\"name\":")?;
    let position = rest.number(",\"position\":")?;
    rest.number(",\"dispatched\":")?;
    let length = rest.number(",\"state_length\":")?;
    rest.expect(",\"state\":")?;
    let state = rest.cut(length)?;
    let rows = if rest.0.starts_with(",\"rows\":[{") {
        rest.list(",\"rows\":[", row)?
    } else {
        SmallVec::new()
    };
    let offset = rest.number(",\"dead_letters\":{\"offset\":")?;
    let lines = rest.lines()?;
    rest.expect("}}")?;
    Some(ProcessManagerLines {
        name,
        position,
        state,
        rows,
        dead_letters: DeadLetterLines { offset, lines },
    })
}

fn row<'a>(rest: &mut Rest<'a>) -> Option<RowLine<'a>> {
    let key = rest.string("{\"key\":")?;
    let length = rest.number(",\"length\":")?;
    rest.expect(",\"value\":")?;
    let value = rest.cut(length)?;
    rest.expect("}")?;
    Some(RowLine::new(key, value))
}

/// A number with this many digits fits in 64 bits.
const SAFE_DIGITS: usize = 19;

/// The unread rest of a line.
pub(super) struct Rest<'a>(pub(super) &'a str);

impl<'a> Rest<'a> {
    // Inlined, so that a label of known length is compared without a call.
    #[inline(always)]
    pub(super) fn accept(&mut self, label: &str) -> bool {
        self.expect(label).is_some()
    }

    #[inline(always)]
    pub(super) fn expect(&mut self, label: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(label)?;
        Some(())
    }

    #[inline(always)]
    pub(super) fn number(&mut self, label: &str) -> Option<u64> {
        self.expect(label)?;
        self.digits()
    }

    #[inline(always)]
    pub(super) fn skip_number(&mut self, label: &str) -> Option<()> {
        self.expect(label)?;
        let digits = self.0.bytes().take_while(u8::is_ascii_digit).count();
        self.0 = self.0.get(digits..)?;
        (digits > 0).then_some(())
    }

    #[inline(always)]
    pub(super) fn string(&mut self, label: &str) -> Option<Cow<'a, str>> {
        self.expect(label)?;
        self.quoted()
    }

    fn digits(&mut self) -> Option<u64> {
        let mut number: u64 = 0;
        let mut digits = 0;
        for byte in self.0.bytes() {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            number = number.wrapping_mul(10).wrapping_add(digit.into());
            digits += 1;
        }
        if digits > SAFE_DIGITS {
            number = self.0.get(..digits)?.parse().ok()?;
        }
        let is_canonical = digits == 1 || digits > 1 && !self.0.starts_with('0');
        self.0 = self.0.get(digits..)?;
        is_canonical.then_some(number)
    }

    fn quoted(&mut self) -> Option<Cow<'a, str>> {
        let quoted = self.0.strip_prefix('"')?;
        let end = quoted
            .bytes()
            .position(|byte| matches!(byte, b'"' | b'\\' | ..b' '))?;
        let (string, behind) = quoted.split_at_checked(end)?;
        if let Some(behind) = behind.strip_prefix('"') {
            self.0 = behind;
            return Some(Cow::Borrowed(string));
        }
        let mut strings = serde_json::Deserializer::from_str(self.0).into_iter();
        let string: String = strings.next()?.ok()?;
        self.0 = self.0.get(strings.byte_offset()..)?;
        Some(Cow::Owned(string))
    }

    pub(super) fn cut(&mut self, length: u64) -> Option<&'a str> {
        let (cut, behind) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = behind;
        Some(cut)
    }

    #[inline(always)]
    fn list<L: Default + Extend<T>, T>(
        &mut self,
        label: &str,
        mut element: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<L> {
        self.expect(label)?;
        let mut list = L::default();
        if self.accept("]") {
            return Some(list);
        }
        loop {
            list.extend([element(self)?]);
            if self.accept("]") {
                return Some(list);
            }
            self.expect(",")?;
        }
    }

    pub(super) fn lines(&mut self) -> Option<Lines<'a>> {
        self.expect(",\"lengths\":[")?;
        let (lengths, behind) = self
            .0
            .split_at_checked(memchr::memchr(b']', self.0.as_bytes())?)?;
        self.0 = behind;
        self.expect("],\"lines\":[")?;
        let mut lengths = Rest(lengths);
        let mut lines = Lines::new();
        while !lengths.0.is_empty() {
            if !lines.is_empty() {
                lengths.expect(",")?;
                self.expect(",")?;
            }
            let length = lengths.digits()?;
            lines.push(self.cut(length)?);
        }
        self.expect("]")?;
        Some(lines)
    }
}
