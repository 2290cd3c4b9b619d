//! Reading the line of a commit in any JSON form with the same content.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use crate::format;
use crate::journal::local::line_read::{
    CommitData, CommitLine, DeadLetterLines, Lines, ProcessManagerLines, RowLine, StreamLines,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(rename = "type", borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    data: Data<'a>,
    ts: u64,
    #[serde(rename = "meta", borrow)]
    _meta: Meta<'a>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Meta<'a> {
    #[serde(rename = "checksum")]
    _checksum: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Data<'a> {
    format: u64,
    length: u64,
    commit: u64,
    batch: u64,
    end: bool,
    #[serde(default)]
    flush: bool,
    #[serde(borrow)]
    previous: Cow<'a, str>,
    position: u64,
    time: u64,
    #[serde(borrow)]
    streams: Vec<Stream<'a>>,
    #[serde(borrow)]
    process_managers: Vec<ProcessManager<'a>>,
    #[serde(default, borrow)]
    adoption: Option<&'a RawValue>,
    #[serde(default, borrow)]
    claim: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stream<'a> {
    #[serde(rename = "type", borrow)]
    aggregate_type: Cow<'a, str>,
    #[serde(borrow)]
    id: Cow<'a, str>,
    version: u64,
    lengths: Vec<usize>,
    #[serde(borrow)]
    lines: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProcessManager<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    position: u64,
    #[serde(rename = "dispatched")]
    _dispatched: u64,
    state_length: usize,
    #[serde(borrow)]
    state: &'a RawValue,
    #[serde(default, borrow)]
    rows: Vec<Row<'a>>,
    #[serde(borrow)]
    dead_letters: DeadLetters<'a>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    length: usize,
    #[serde(borrow)]
    value: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeadLetters<'a> {
    offset: u64,
    lengths: Vec<usize>,
    #[serde(borrow)]
    lines: Vec<&'a RawValue>,
}

/// The commit; the error is the reason why the line is not a commit.
pub(in crate::journal::local) fn read(text: &str) -> Result<CommitLine<'_>, String> {
    let line: Line<'_> =
        serde_json::from_str(text).map_err(|error| format!("the line is no commit: {error}"))?;
    if line.event_type != "commit" {
        return Err(format!(
            "the line is an event of type `{}`, not a commit",
            line.event_type
        ));
    }
    let data = line.data;
    if data.format != format::JOURNAL {
        return Err(format!("the line has the format {}", data.format));
    }
    let streams = data.streams.into_iter().map(stream);
    let process_managers = data.process_managers.into_iter().map(process_manager);
    Ok(CommitLine {
        text,
        data: CommitData {
            length: data.length,
            commit: data.commit,
            batch: data.batch,
            end: data.end,
            flush: data.flush,
            previous: data.previous,
            position: data.position,
            time: data.time,
            streams: streams.collect::<Result<_, _>>()?,
            process_managers: process_managers.collect::<Result<_, _>>()?,
            adoption: data.adoption.map(RawValue::get),
            claim: data.claim.map(RawValue::get),
        },
        ts: line.ts,
    })
}

fn stream(stream: Stream<'_>) -> Result<StreamLines<'_>, String> {
    Ok(StreamLines {
        aggregate_type: stream.aggregate_type,
        id: stream.id,
        version: stream.version,
        lines: lines(&stream.lengths, &stream.lines)?,
    })
}

fn process_manager(read: ProcessManager<'_>) -> Result<ProcessManagerLines<'_>, String> {
    let state = lines(&[read.state_length], &[read.state])?;
    let letters = read.dead_letters;
    let mut rows = SmallVec::with_capacity(read.rows.len());
    for row in read.rows {
        lines(&[row.length], &[row.value])?;
        rows.push(RowLine::new(row.key, row.value.get()));
    }
    Ok(ProcessManagerLines {
        name: read.name,
        position: read.position,
        state: state.first().copied().unwrap_or_default(),
        rows,
        dead_letters: DeadLetterLines {
            offset: letters.offset,
            lines: lines(&letters.lengths, &letters.lines)?,
        },
    })
}

fn lines<'a>(lengths: &[usize], lines: &[&'a RawValue]) -> Result<Lines<'a>, String> {
    let lines: Lines<'a> = lines.iter().map(|line| line.get()).collect();
    if !lines
        .iter()
        .map(|line| line.len())
        .eq(lengths.iter().copied())
    {
        return Err(format!(
            "the lengths {lengths:?} in the commit do not match its lines"
        ));
    }
    Ok(lines)
}
