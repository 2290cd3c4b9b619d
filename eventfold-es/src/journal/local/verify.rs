//! Reading everything back and comparing it with the journal, from the first commit on.

use std::collections::{BTreeMap, HashMap};

use super::LocalJournal;
use super::checkpoint::Checkpoint;
use super::extents::{SavedExtents, read_extents};
use super::line;
use super::log::Parts;
use super::registry::read_registry;
use super::rows::ExpectedRows;
use super::scan::{Tip, scan};
use super::stream_reader::read_stream;
use super::streams::StreamSlot;
use crate::disk::{FileError, SealError};
use crate::journal::{CheckState, Damage, Extent, JournalError, Snapshot, StreamId, Verified};

/// What the journal says of everything that is derived from it.
#[derive(Default)]
struct Expected {
    streams: HashMap<StreamId, ExpectedStream>,
    /// The dead letters of each process manager.
    dead_letters: BTreeMap<String, Extent>,
    rows: ExpectedRows,
    /// The extents of the streams at the commit of the checkpoint.
    at_checkpoint: HashMap<StreamId, Extent>,
    events: u64,
}

struct ExpectedStream {
    directory: String,
    extent: Extent,
}

impl LocalJournal {
    /// Compares everything with the journal, up to what is durable now. Blocks.
    pub(super) fn verify_all(
        &self,
        check_state: &CheckState<'_>,
    ) -> Result<Verified, JournalError> {
        let row_changes = self.rows.changes();
        // First: one that is taken meanwhile follows commits that are not read.
        let checkpoint = Checkpoint::load(&self.files, &self.layout)?;
        let followed = checkpoint
            .as_ref()
            .map_or(0, |checkpoint| checkpoint.tip().offset);
        // What a checkpoint follows is durable a moment before it is announced.
        let (end, parts) = self.parts_with_end(followed);
        if let Err(reason) = self.backlog.wait_until_written() {
            let source = std::io::Error::other(&*reason);
            return Err(FileError::new("verify", self.layout.base(), source).into());
        }
        let mut differences = Vec::new();
        if checkpoint.is_none() && self.files.exists(&self.layout.checkpoint())? {
            let reason = "the checkpoint is damaged; opening the store derives everything from the journal again";
            differences.push(Damage::new(self.layout.checkpoint(), 0, reason));
        }
        let (expected, tip) = read_journal(&parts, end, checkpoint.as_ref(), &mut differences)?;
        let mut snapshots = 0;
        // Behind damage nothing is known to compare with.
        if tip.offset == end {
            snapshots = self.compare_streams(&expected, check_state, &mut differences)?;
            self.compare_registry(&expected, &mut differences)?;
            self.compare_dead_letters(&expected, &mut differences)?;
            differences.extend(self.rows.compare(&expected.rows, row_changes)?);
            if let Some(checkpoint) = &checkpoint {
                self.compare_extents(checkpoint.stream_extents, &expected, &mut differences)?;
            }
        }
        Ok(Verified {
            commits: tip.commit,
            events: expected.events,
            streams: expected.streams.len() as u64,
            snapshots,
            differences,
        })
    }

    fn compare_streams(
        &self,
        expected: &Expected,
        check_state: &CheckState<'_>,
        differences: &mut Vec<Damage>,
    ) -> Result<u64, JournalError> {
        let mut snapshots = 0;
        let mut streams: Vec<_> = expected.streams.iter().collect();
        streams.sort_by_key(|(stream, _)| *stream);
        for (stream, known) in streams {
            let path = self
                .layout
                .stream_file(&stream.aggregate_type, &known.directory);
            let slot = self.table.slot(stream);
            let Some(slot) = slot.filter(|slot| slot.directory() == known.directory) else {
                let reason = format!(
                    "the stream `{}` of `{}` is unknown, or known in another directory",
                    stream.instance_id, stream.aggregate_type
                );
                differences.push(Damage::new(path, 0, reason));
                continue;
            };
            match read_stream(&self.files, &self.layout, &slot, Extent::default()) {
                Ok(stored) => {
                    let text = &stored.lines.text;
                    // It may have grown since the journal was read.
                    if first_lines(text, known.extent.lines) != known.extent {
                        let reason =
                            "the events of the stream are not those that the journal holds";
                        differences.push(Damage::new(path, 0, reason));
                        continue;
                    }
                    // It is never synced: that a power loss tears one is no damage, and nobody believes it.
                    let snapshot = match self.snapshots.check(&slot)? {
                        None | Some(Err(SealError::Torn)) => continue,
                        Some(snapshot) => snapshot,
                    };
                    snapshots += 1;
                    let reason = snapshot_problem(snapshot, &slot, text, check_state);
                    let path = self
                        .layout
                        .snapshot(&stream.aggregate_type, &known.directory);
                    differences.extend(reason.map(|reason| Damage::new(path, 0, reason)));
                }
                Err(JournalError::Damage(damage)) => differences.push(damage),
                Err(error) => return Err(error),
            }
        }
        Ok(snapshots)
    }

    fn compare_registry(
        &self,
        expected: &Expected,
        differences: &mut Vec<Damage>,
    ) -> Result<(), JournalError> {
        let path = self.layout.registry();
        let bytes = self.files.read(&path)?.unwrap_or_default();
        let listed = match read_registry(&bytes) {
            Ok(listed) => listed,
            Err(reason) => {
                differences.push(Damage::new(path, 0, reason));
                return Ok(());
            }
        };
        let mut found: HashMap<&StreamId, usize> = HashMap::new();
        for (stream, directory) in &listed {
            *found.entry(stream).or_default() += 1;
            let is_expected = match expected.streams.get(stream) {
                Some(known) => known.directory == *directory,
                // It may have begun since the journal was read.
                None => self.table.contains(stream),
            };
            if !is_expected {
                let reason = format!(
                    "it lists the stream `{}` of `{}` in the directory `{directory}`, which the journal does not",
                    stream.instance_id, stream.aggregate_type
                );
                differences.push(Damage::new(&path, 0, reason));
            }
        }
        for stream in expected.streams.keys() {
            let times = found.get(stream).copied().unwrap_or_default();
            if times != 1 {
                let reason = format!(
                    "it lists the stream `{}` of `{}` {times} times",
                    stream.instance_id, stream.aggregate_type
                );
                differences.push(Damage::new(&path, 0, reason));
            }
        }
        Ok(())
    }

    fn compare_dead_letters(
        &self,
        expected: &Expected,
        differences: &mut Vec<Damage>,
    ) -> Result<(), JournalError> {
        for (name, extent) in &expected.dead_letters {
            let path = self.layout.dead_letters(name);
            let bytes = self.files.read(&path)?.unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            if first_lines(&text, extent.lines) != *extent {
                let reason = "the dead letters are not those that the journal holds; opening the store with `repair` restores them";
                differences.push(Damage::new(path, 0, reason));
            }
        }
        Ok(())
    }

    fn compare_extents(
        &self,
        saved: SavedExtents,
        expected: &Expected,
        differences: &mut Vec<Damage>,
    ) -> Result<(), JournalError> {
        let now = Checkpoint::load(&self.files, &self.layout)?;
        if now.is_none_or(|now| now.stream_extents != saved) {
            // Another checkpoint was taken meanwhile.
            return Ok(());
        }
        let path = self.layout.stream_extents(saved.generation());
        let places = match read_extents(&self.files, &self.layout, saved)? {
            Ok(places) => places,
            Err(reason) => {
                differences.push(Damage::new(path, 0, reason));
                return Ok(());
            }
        };
        for (number, place) in &places {
            let slot = self.table.numbered(*number);
            let known = slot.and_then(|slot| expected.at_checkpoint.get(&slot.stream).copied());
            if known != Some(place.extent) {
                let reason = format!(
                    "the extent of stream {number} is not what the journal holds at the checkpoint"
                );
                differences.push(Damage::new(&path, 0, reason));
            }
        }
        if places.len() != expected.at_checkpoint.len() {
            let reason = format!(
                "it knows {} streams, the journal {} at the checkpoint",
                places.len(),
                expected.at_checkpoint.len()
            );
            differences.push(Damage::new(&path, 0, reason));
        }
        Ok(())
    }
}

/// Reads the journal, and notes where it is damaged.
fn read_journal(
    parts: &Parts,
    end: u64,
    checkpoint: Option<&Checkpoint>,
    differences: &mut Vec<Damage>,
) -> Result<(Expected, Tip), JournalError> {
    if let Some(checkpoint) = checkpoint
        && let Err(JournalError::Damage(damage)) = checkpoint.verify(parts)
    {
        differences.push(damage);
    }
    let checkpoint = checkpoint.map(Checkpoint::commit);
    let mut expected = Expected::default();
    let mut last = Tip::default();
    let scanned = scan(parts, Tip::default(), Some(end), |commit, offset| {
        let damage = |reason: String| JournalError::from(parts.damage(offset, reason));
        expected.add(&commit.data).map_err(damage)?;
        last.offset = offset + commit.text.len() as u64 + 1;
        last.commit = commit.data.commit;
        if Some(last.commit) == checkpoint {
            let streams = expected.streams.iter();
            expected.at_checkpoint = streams
                .map(|(stream, known)| (stream.clone(), known.extent))
                .collect();
        }
        Ok(())
    });
    match scanned {
        Ok(scan) if scan.tip.offset == end => last = scan.tip,
        Ok(scan) => {
            let reason = "the commits from here on cannot be read; restore the journal from a copy";
            differences.push(parts.damage(scan.tip.offset, reason));
            last = scan.tip;
        }
        Err(JournalError::Damage(damage)) => differences.push(damage),
        Err(error) => return Err(error),
    }
    Ok((expected, last))
}

impl Expected {
    /// Adds a commit; the reason if it does not continue its streams.
    fn add(&mut self, data: &line::CommitData<'_>) -> Result<(), String> {
        self.events += data.event_count();
        for stream in &data.streams {
            let id = StreamId::new(&stream.aggregate_type, &stream.id);
            let known = match (self.streams.entry(id), &stream.dir) {
                (std::collections::hash_map::Entry::Occupied(entry), _) => entry.into_mut(),
                (std::collections::hash_map::Entry::Vacant(entry), Some(directory)) => entry
                    .insert(ExpectedStream {
                        directory: directory.to_string(),
                        extent: Extent::default(),
                    }),
                (_, None) => {
                    return Err("the commit continues a stream that never began".to_owned());
                }
            };
            if (known.extent.lines + 1, known.extent.bytes) != (stream.version, stream.offset) {
                return Err(format!(
                    "the commit continues the stream `{}` of `{}` at version {} and byte {}, but it ends at version {} and byte {}",
                    stream.id,
                    stream.aggregate_type,
                    stream.version,
                    stream.offset,
                    known.extent.lines,
                    known.extent.bytes
                ));
            }
            for line in &stream.lines {
                known.extent.push(line);
            }
        }
        for process_manager in &data.process_managers {
            let name = process_manager.name.to_string();
            let extent = self.dead_letters.entry(name).or_default();
            for line in &process_manager.dead_letters.lines {
                extent.push(line);
            }
            for row in &process_manager.rows {
                self.rows.change(&process_manager.name, &row.change());
            }
        }
        Ok(())
    }
}

/// Why the snapshot of a stream with this text is not believed, or should not be.
fn snapshot_problem(
    snapshot: Result<Snapshot, SealError>,
    slot: &StreamSlot,
    text: &str,
    check_state: &CheckState<'_>,
) -> Option<String> {
    let snapshot = match snapshot {
        Ok(snapshot) => snapshot,
        Err(error) => return Some(format!("the snapshot is not believed: {error}")),
    };
    let seen = snapshot.extent;
    let read = first_lines(text, seen.lines);
    if read.lines < seen.lines && seen.lines <= slot.extent().lines {
        // It came when the stream had grown behind what was read.
        return None;
    }
    if seen.lines <= slot.extent().lines && read != seen {
        return Some("the snapshot is not one of this stream".to_owned());
    }
    check_state(&slot.stream, &snapshot, text)
}

/// The extent of the first lines of a text.
fn first_lines(text: &str, count: u64) -> Extent {
    let mut extent = Extent::default();
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    for line in text.split_inclusive('\n').take(count) {
        // A line without its end is not the one that was written.
        if let Some(line) = line.strip_suffix('\n') {
            extent.push(line);
        }
    }
    extent
}
