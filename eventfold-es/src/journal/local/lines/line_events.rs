//! Reading the events of the most frequent commits: one append to one stream, without a reaction.
//!
//! It reads the form of [`line_canonical`](super::line_canonical), and skips the fields that a reader of events does not
//! need. Other commits are read as a whole.

use std::borrow::Cow;

use crate::journal::local::line::{LENGTH_LABEL, NO_HASH, STREAMS_LABEL};
use crate::journal::local::line_canonical::Rest;
use crate::journal::local::line_read::Lines;

/// The events of a commit with one append and nothing else.
#[derive(Debug, PartialEq)]
pub(in crate::journal::local) struct OneAppend<'a> {
    pub(in crate::journal::local) position: u64,
    pub(in crate::journal::local) time: u64,
    pub(in crate::journal::local) aggregate_type: Cow<'a, str>,
    pub(in crate::journal::local) id: Cow<'a, str>,
    pub(in crate::journal::local) version: u64,
    pub(in crate::journal::local) lines: Lines<'a>,
}

/// The events, if the line has this form. Its checksum was verified. `body` is the part of `text` that the checksum covers.
pub(in crate::journal::local) fn read<'a>(text: &str, body: &'a str) -> Option<OneAppend<'a>> {
    let mut rest = Rest(body);
    let (position, time) = heading(text, &mut rest)?;
    rest.expect(STREAMS_LABEL)?;
    let aggregate_type = rest.string("{\"type\":")?;
    let id = rest.string(",\"id\":")?;
    rest.expect(",\"version\":")?;
    let (version, lines) = append(rest)?;
    Some(OneAppend {
        position,
        time,
        aggregate_type,
        id,
        version,
        lines,
    })
}

/// The version of the first event, and the lines of the events, if the line has this form and the append is to the stream with
/// this [label](super::line::append_label).
pub(in crate::journal::local) fn read_of<'a>(
    text: &str,
    body: &'a str,
    label: &str,
) -> Option<(u64, Lines<'a>)> {
    let mut rest = Rest(body);
    heading(text, &mut rest)?;
    rest.expect(label)?;
    append(rest)
}

/// The position and the time. The fields between are skipped.
#[inline(always)]
fn heading(text: &str, rest: &mut Rest<'_>) -> Option<(u64, u64)> {
    if rest.number(LENGTH_LABEL)? != text.len() as u64 {
        return None;
    }
    rest.skip_number(",\"commit\":")?;
    rest.skip_number(",\"batch\":")?;
    if !rest.accept(",\"end\":true") {
        rest.expect(",\"end\":false")?;
    }
    rest.accept(",\"flush\":true");
    rest.expect(",\"previous\":\"")?;
    rest.cut(NO_HASH.len() as u64)?;
    let position = rest.number("\",\"position\":")?;
    let time = rest.number(",\"time\":")?;
    Some((position, time))
}

/// The rest of a line, from the version of the first event on.
#[inline(always)]
fn append(mut rest: Rest<'_>) -> Option<(u64, Lines<'_>)> {
    let version = rest.number("")?;
    let lines = rest.lines()?;
    rest.expect("}],\"process_managers\":[]")?;
    rest.skip_number("},\"ts\":")?;
    rest.0.is_empty().then_some((version, lines))
}
