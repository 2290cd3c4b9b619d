use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use eventfold::{Event, EventReader};
use serde::Deserialize;
use serde_json::value::RawValue;

/// What the files of a closed store hold, read without the store.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    /// The events of each stream, by aggregate type and instance.
    pub streams: BTreeMap<(String, String), Vec<Event>>,
    /// The streams of all events, in the order of their positions, each with the index of its event.
    pub order: Vec<((String, String), usize)>,
    /// The lines of `dead_letters.jsonl`, by process manager.
    pub dead_letters: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    data: Commit<'a>,
}

#[derive(Deserialize)]
struct Commit<'a> {
    commit: u64,
    batch: u64,
    end: bool,
    position: u64,
    #[serde(borrow)]
    streams: Vec<Append<'a>>,
    #[serde(borrow)]
    process_managers: Vec<Reaction<'a>>,
}

#[derive(Deserialize)]
struct Append<'a> {
    #[serde(rename = "type")]
    aggregate_type: String,
    id: String,
    version: u64,
    #[serde(borrow)]
    lines: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Reaction<'a> {
    name: String,
    #[serde(borrow)]
    dead_letters: Letters<'a>,
}

#[derive(Deserialize)]
struct Letters<'a> {
    offset: u64,
    #[serde(borrow)]
    lines: Vec<&'a RawValue>,
}

/// Reads the journal of a closed store with eventfold's own reader as well, and compares what stands beside it, byte for byte.
///
/// # Errors
///
/// The first thing that is not as it should be.
pub fn audit(store: &Path) -> Result<Audit, String> {
    let journal = read_log(&store.join("meta/journal"))?;
    let mut letters: BTreeMap<String, String> = BTreeMap::new();
    let mut audit = Audit::default();
    let (mut position, mut batch, mut ended) = (0, 0, true);
    for (index, line) in journal.lines().enumerate() {
        let Line { data } = serde_json::from_str(line)
            .map_err(|error| format!("line {} of the journal is no commit: {error}", index + 1))?;
        same("the number of a commit", data.commit, index as u64 + 1)?;
        same("a batch number", data.batch, batch + u64::from(ended))?;
        same("the position of a commit", data.position, position + 1)?;
        (batch, ended) = (data.batch, data.end);
        for append in data.streams {
            let stream = (append.aggregate_type, append.id);
            let events = audit.streams.entry(stream.clone()).or_default();
            let place = format!("of {stream:?}");
            same(
                &format!("the version {place}"),
                append.version,
                events.len() as u64 + 1,
            )?;
            for line in append.lines {
                let event = serde_json::from_str(line.get())
                    .map_err(|error| format!("an event {place}: {error}"))?;
                audit.order.push((stream.clone(), events.len()));
                events.push(event);
                position += 1;
            }
        }
        for reaction in data.process_managers {
            let text = letters.entry(reaction.name.clone()).or_default();
            let what = format!("the offset of a dead letter of {}", reaction.name);
            same(&what, reaction.dead_letters.offset, text.len() as u64)?;
            for line in reaction.dead_letters.lines {
                text.push_str(line.get());
                text.push('\n');
            }
        }
    }
    if !ended {
        return Err("the last batch of the journal has no end".to_owned());
    }
    let commits = read_events(&store.join("meta/journal/app.jsonl"))?;
    same(
        "what eventfold reads of the active file",
        commits,
        read(&store.join("meta/journal/app.jsonl"))?.lines().count(),
    )?;
    for (name, expected) in letters {
        let path = store.join(format!("process_managers/{name}/dead_letters.jsonl"));
        let found = if path.exists() {
            read(&path)?
        } else {
            String::new()
        };
        same(&format!("dead_letters.jsonl of {name}"), &found, &expected)?;
        let lines = found.lines().map(str::to_owned).collect();
        audit.dead_letters.insert(name, lines);
    }
    Ok(audit)
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The lines of a log, the archived ones first.
fn read_log(directory: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", directory.display());
    let mut archives = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        archives.extend(
            path.extension()
                .is_some_and(|extension| extension == "zst")
                .then_some(path),
        );
    }
    archives.sort();
    let mut text = String::new();
    for archive in archives {
        let archive = fs::read(archive).map_err(failed)?;
        let archived = zstd::stream::decode_all(&archive[..]).map_err(failed)?;
        text += &String::from_utf8(archived).map_err(|error| error.to_string())?;
    }
    Ok(text + &read(&directory.join("app.jsonl"))?)
}

/// How many events eventfold reads in a file.
fn read_events(path: &Path) -> Result<usize, String> {
    let failed =
        |error: std::io::Error| format!("eventfold cannot read {}: {error}", path.display());
    let directory = path.parent().unwrap_or(path);
    let mut count = 0;
    for event in EventReader::new(directory).read_from(0).map_err(failed)? {
        event.map_err(failed)?;
        count += 1;
    }
    Ok(count)
}

pub(super) fn same<T: PartialEq + std::fmt::Debug>(
    what: &str,
    found: T,
    expected: T,
) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what} is {found:?} instead of {expected:?}"))
    }
}
