//! The journal's active file, read and damaged without the store.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use serde_json::Value;

/// The file, below the base directory of a store.
pub const JOURNAL: &str = "meta/journal/app.jsonl";

/// The lines of the events of a stream, as they stand in the journal.
///
/// # Errors
///
/// If the file cannot be read.
///
/// # Panics
///
/// If it is no journal.
pub fn event_lines(base: &Path, aggregate_type: &str, id: &str) -> io::Result<Vec<String>> {
    #[derive(serde::Deserialize)]
    struct Line<'a> {
        #[serde(borrow)]
        data: Data<'a>,
    }
    #[derive(serde::Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        streams: Vec<Stream<'a>>,
    }
    #[derive(serde::Deserialize)]
    struct Stream<'a> {
        #[serde(rename = "type")]
        aggregate_type: String,
        id: String,
        #[serde(borrow)]
        lines: Vec<&'a serde_json::value::RawValue>,
    }
    let text = fs::read_to_string(base.join(JOURNAL))?;
    let mut found = Vec::new();
    for line in text.trim_end_matches('\0').lines() {
        let line: Line<'_> = serde_json::from_str(line).expect("a commit");
        let streams = line.data.streams.into_iter();
        for stream in streams.filter(|one| one.aggregate_type == aggregate_type && one.id == id) {
            found.extend(stream.lines.into_iter().map(|line| line.get().to_owned()));
        }
    }
    Ok(found)
}

/// Where the commits begin that add to this stream: whoever reads the stream reads there.
///
/// # Panics
///
/// If it is no journal.
#[must_use]
pub fn commits_of_stream(journal: &[u8], aggregate_type: &str, id: &str) -> Vec<Range<usize>> {
    let mut commits = Vec::new();
    let mut start = 0;
    for line in journal.split_inclusive(|byte| *byte == b'\n') {
        let end = start + line.len();
        if line.starts_with(b"{") {
            let commit: Value = serde_json::from_slice(line).expect("a commit");
            let streams = commit["data"]["streams"].as_array().expect("a list");
            let is_of_stream = |one: &Value| one["type"] == aggregate_type && one["id"] == id;
            if streams.iter().any(is_of_stream) {
                commits.push(start..end);
            }
        }
        start = end;
    }
    commits
}

/// Lets a stream be unreadable, until what this returns is called. No store may have the directory open, and nothing behind its
/// last checkpoint may be of this stream.
///
/// # Errors
///
/// If the file cannot be read or written.
///
/// # Panics
///
/// If the stream has no event there.
pub fn unreadable(
    base: &Path,
    aggregate_type: &str,
    id: &str,
) -> io::Result<impl FnOnce() -> io::Result<()> + use<>> {
    let path = base.join(JOURNAL);
    let commits = commits_of_stream(&fs::read(&path)?, aggregate_type, id);
    // In the middle of the events.
    let middle = |commit: &Range<usize>| (commit.start + commit.end) / 2;
    let places: Vec<_> = commits.iter().map(middle).collect();
    assert!(
        !places.is_empty(),
        "`{id}` of `{aggregate_type}` is not there"
    );
    let flip = move || {
        use std::os::unix::fs::FileExt as _;
        let file = fs::File::options().read(true).write(true).open(&path)?;
        for place in &places {
            let mut byte = [0];
            file.read_exact_at(&mut byte, *place as u64)?;
            file.write_all_at(&[byte[0] ^ 1], *place as u64)?;
        }
        Ok(())
    };
    flip()?;
    Ok(flip)
}
