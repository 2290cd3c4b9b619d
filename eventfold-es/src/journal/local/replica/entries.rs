use std::sync::Arc;

use eventfold::line_hash;
use serde_json::value::RawValue;

use super::claim::Claim;
use crate::journal::local::batch::{Batch, DeadLetterExtents, Prepared};
use crate::journal::local::checkpoint::ProcessManagerState;
use crate::journal::local::history::recorded;
use crate::journal::local::jobs::ReactionToWrite;
use crate::journal::local::line::{self, CommitLine};
use crate::journal::local::line_read::{ProcessManagerLines, RowLine};
use crate::journal::local::queue::Pledge;
use crate::journal::local::scan::{Tip, misplaced};
use crate::journal::local::streams::hash_from;
use crate::journal::{CommitPlace, Progress, Receipt};
use crate::replication::Entry;

/// Entries of the log, as one batch of commits of other nodes.
pub(super) struct ReadEntries {
    pub(super) batch: Batch,
    /// The last claim, and the number of its batch.
    pub(super) claim: Option<(u64, Claim)>,
}

/// Reads the entries behind `tip`, which has these extents of dead letters. The error says why an entry does not belong there.
pub(super) fn read(
    entries: &[Entry],
    tip: &Tip,
    known: &DeadLetterExtents,
) -> Result<ReadEntries, String> {
    let mut text = String::with_capacity(entries.iter().map(|entry| entry.text.len()).sum());
    for entry in entries {
        text.push_str(&entry.text);
    }
    let text = Arc::new(text);
    let mut reading = Reading {
        known,
        types: Vec::new(),
        read: ReadEntries {
            batch: Batch {
                text: Arc::clone(&text),
                commits: Vec::with_capacity(entries.len()),
                dead_letters: DeadLetterExtents::new(),
                refused: Vec::new(),
                shown: None,
                tip: tip.clone(),
                is_foreign: true,
            },
            claim: None,
        },
    };
    let mut begin = 0;
    for entry in entries {
        let end = begin + entry.text.len();
        let lines = text.get(begin..end).unwrap_or_default();
        reading
            .entry(entry.number, lines, &text)
            .map_err(|reason| format!("entry {} of the log: {reason}", entry.number))?;
        begin = end;
    }
    Ok(reading.read)
}

struct Reading<'a> {
    known: &'a DeadLetterExtents,
    types: Vec<Arc<str>>,
    read: ReadEntries,
}

impl Reading<'_> {
    fn entry(&mut self, number: u64, lines: &str, text: &Arc<String>) -> Result<(), String> {
        let lines = lines
            .strip_suffix('\n')
            .ok_or("it does not end with a newline")?;
        let expected = self.read.batch.tip.batch + 1;
        if number != expected {
            return Err(format!("entry {expected} is expected here"));
        }
        let mut has_ended = false;
        for (index, line) in lines.split('\n').enumerate() {
            if has_ended {
                return Err("it has lines behind the end of its batch".to_owned());
            }
            let commit = line::parse_text(line).map_err(|error| error.to_string())?;
            if let Some(reason) = misplaced(&commit.data, &self.read.batch.tip, index == 0) {
                return Err(format!(
                    "{reason}. The log and this store have different histories"
                ));
            }
            has_ended = commit.data.end;
            self.commit(&commit, text)?;
        }
        match has_ended {
            true => Ok(()),
            false => Err("it does not have the end of its batch".to_owned()),
        }
    }

    fn commit(&mut self, commit: &CommitLine<'_>, text: &Arc<String>) -> Result<(), String> {
        let data = &commit.data;
        let batch = &mut self.read.batch;
        let hash = line_hash(commit.text.as_bytes());
        let place = CommitPlace {
            offset: batch.tip.offset,
            length: commit.text.len() as u64 + 1,
            hash: hash_from(&hash),
        };
        let event_count = data.event_count();
        batch.tip = Tip {
            commit: data.commit,
            batch: data.batch,
            position: batch.tip.position + event_count,
            time: data.time,
            offset: place.offset + place.length,
            hash,
            flush: data.flush,
        };
        if let Some(record) = data.claim {
            let claim = Claim::read(record).map_err(|error| format!("its claim: {error}"))?;
            self.read.claim = Some((data.batch, claim));
        }
        let mut process_managers = data.process_managers.iter();
        let reaction = process_managers.next();
        if data.adoption.is_some() || process_managers.next().is_some() {
            return Err(
                "it is the record of a directory of eventfold-es 0.2.0, which cannot be replicated"
                    .to_owned(),
            );
        }
        let reaction = reaction.map(|read| self.reaction(data.commit, read));
        let streams = data.streams.iter();
        let mut prepared = Prepared {
            place,
            commit: recorded(data, text, &mut self.types),
            keyed: Default::default(),
            indexed: streams
                .map(|stream| stream.append(place.offset, place.length))
                .collect(),
            receipt: Receipt {
                first_position: data.position,
                event_count,
                ends: Arc::default(),
            },
            reaction: reaction.transpose()?,
            on_durable: None,
            on_settled: None,
            pledge: Pledge::of_batch(),
        };
        prepared.place(place);
        self.read.batch.commits.push(prepared);
        Ok(())
    }

    fn reaction(
        &mut self,
        commit: u64,
        read: &ProcessManagerLines<'_>,
    ) -> Result<ReactionToWrite, String> {
        let name: &str = &read.name;
        let known = self.read.batch.dead_letters.get(name);
        let known = known.or_else(|| self.known.get(name));
        let mut extent = known.copied().unwrap_or_default();
        if extent.bytes != read.dead_letters.offset {
            return Err(format!(
                "commit {commit} continues the dead letters of `{name}` at byte {}, but they end at byte {}",
                read.dead_letters.offset, extent.bytes
            ));
        }
        let mut dead_letters = String::new();
        for line in &read.dead_letters.lines {
            extent.push(line);
            dead_letters.push_str(line);
            dead_letters.push('\n');
        }
        let state = RawValue::from_string(read.state.to_owned())
            .map_err(|error| format!("the state of `{name}` is not JSON: {error}"))?;
        let name: Arc<str> = name.into();
        let extents = &mut self.read.batch.dead_letters;
        extents.insert(Arc::clone(&name), extent);
        Ok(ReactionToWrite {
            process_manager: name,
            state: ProcessManagerState {
                commit,
                progress: Progress {
                    position: read.position,
                    state,
                },
                dead_letters: extent,
            },
            rows: read.rows.iter().map(RowLine::change).collect(),
            dead_letters,
        })
    }
}
