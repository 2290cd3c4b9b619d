//! Redo: writes data from the journal again that may not have reached the derived files.

use std::collections::BTreeMap;

use eventfold::line_hash;

use crate::disk::{Files, OpenMode};
use crate::journal::index::Runs;
use crate::journal::local::appends::{Append, Appends};
use crate::journal::local::checkpoint::{ProcessManagerState, ProcessManagerStates};
use crate::journal::local::derived::add_run;
use crate::journal::local::layout::Layout;
use crate::journal::local::line::CommitLine;
use crate::journal::local::line_read::RowLine;
use crate::journal::local::rows::RowTables;
use crate::journal::local::scan::Tip;
use crate::journal::{Damage, Extent, JournalError, Progress};
use crate::sabotage::{Bug, planted};

/// The number of bytes of the journal that are held in memory before they are written to a run of the index.
pub(in crate::journal::local) const RUN_BYTES: u64 = 16 << 20;

/// Applies commits in order: records their appends, and writes the progress of process managers and their dead letters.
///
/// Bytes are always written at the recorded offsets, even if equal bytes are read there, because these may be in the page cache
/// only.
pub(in crate::journal::local) struct Redo<'a> {
    files: &'a Files,
    layout: &'a Layout,
    appends: &'a Appends,
    index: &'a Runs,
    states: &'a mut ProcessManagerStates,
    rows: &'a RowTables,
    dead_letters: BTreeMap<String, Letters>,
    /// Whether everything is derived again.
    is_rebuild: bool,
}

/// The part of a process manager's dead letters that is written again.
struct Letters {
    /// The extent of the dead letters, this part included.
    extent: Extent,
    text: Text,
}

impl Letters {
    fn behind(extent: Extent) -> Self {
        Self {
            extent,
            text: Text {
                offset: extent.bytes,
                pending: String::new(),
            },
        }
    }
}

/// Bytes, and the offset they belong at.
#[derive(Default)]
struct Text {
    offset: u64,
    pending: String,
}

impl Text {
    fn end(&self) -> u64 {
        self.offset + self.pending.len() as u64
    }
}

/// The appends of the commit on the line at `at` of the journal.
pub(in crate::journal::local) fn appends_on(
    commit: &CommitLine<'_>,
    at: u64,
) -> impl Iterator<Item = Append> {
    let length = commit.text.len() as u64 + 1;
    let streams = commit.data.streams.iter();
    streams.map(move |stream| stream.append(at, length))
}

impl<'a> Redo<'a> {
    pub(in crate::journal::local) fn new(
        files: &'a Files,
        layout: &'a Layout,
        appends: &'a Appends,
        index: &'a Runs,
        states: &'a mut ProcessManagerStates,
        rows: &'a RowTables,
        is_rebuild: bool,
    ) -> Self {
        Self {
            files,
            layout,
            appends,
            index,
            states,
            rows,
            dead_letters: BTreeMap::new(),
            is_rebuild,
        }
    }

    /// Applies the commit on the line at `at` of the journal.
    pub(in crate::journal::local) fn commit(
        &mut self,
        commit: &CommitLine<'_>,
        at: u64,
    ) -> Result<(), JournalError> {
        let data = &commit.data;
        let length = commit.text.len() as u64 + 1;
        for append in appends_on(commit, at) {
            self.require_continued(&append)?;
            if !planted(Bug::RedoneNotIndexed) {
                self.appends.note(&append);
            }
        }
        if self.is_rebuild && at + length >= self.index.covered() + RUN_BYTES {
            let tip = Tip {
                offset: at + length,
                hash: line_hash(commit.text.as_bytes()),
                ..Tip::default()
            };
            self.write_run(&tip)?;
        }
        for process_manager in &data.process_managers {
            let name: &str = &process_manager.name;
            if !process_manager.rows.is_empty() {
                let changes = process_manager.rows.iter().map(RowLine::change);
                self.rows.change(name, data.commit, changes);
            }
            let known = self.states.get(name);
            if known.is_some_and(|state| state.commit >= data.commit) {
                // Its checkpoint is newer than that of the store, and covers the dead letters too.
                continue;
            }
            let known = known.map(|state| state.dead_letters);
            let letters = self
                .dead_letters
                .entry(name.to_owned())
                .or_insert_with(|| Letters::behind(known.unwrap_or_default()));
            if letters.extent.bytes != process_manager.dead_letters.offset {
                let reason = format!(
                    "commit {} continues the dead letters of `{name}` at byte {}, but they end at byte {}",
                    data.commit, process_manager.dead_letters.offset, letters.extent.bytes
                );
                return Err(Damage::new(self.layout.journal_file(), at, reason).into());
            }
            for line in &process_manager.dead_letters.lines {
                letters.extent.push(line);
                letters.text.pending.push_str(line);
                letters.text.pending.push('\n');
            }
            let json = serde_json::from_str(process_manager.state).map_err(|error| {
                let reason = format!("the state of `{name}` is not JSON: {error}");
                Damage::new(self.layout.journal_file(), at, reason)
            })?;
            let state = ProcessManagerState {
                commit: data.commit,
                progress: Progress {
                    position: process_manager.position,
                    state: json,
                },
                dead_letters: letters.extent,
            };
            self.states.insert(name.to_owned(), state);
        }
        if self.is_rebuild {
            self.rows
                .relieve(data.commit, || line_hash(commit.text.as_bytes()))?;
        }
        Ok(())
    }

    /// Refuses an append that does not begin at the end of its stream, if that end is known without a lookup.
    fn require_continued(&self, append: &Append) -> Result<(), JournalError> {
        let Append {
            stream, version, ..
        } = append;
        let known = self.appends.version(stream);
        match known {
            Some(known) if known + 1 != *version => {
                let reason = format!(
                    "the commit continues the stream `{}` of `{}` at version {version}, but it ends at version {known}",
                    stream.instance_id, stream.aggregate_type
                );
                Err(Damage::new(self.layout.journal_file(), append.address.offset, reason).into())
            }
            _ => Ok(()),
        }
    }

    /// Writes a run of the collected appends, and merges runs if that is due.
    fn write_run(&mut self, tip: &Tip) -> Result<(), JournalError> {
        self.appends.seal();
        add_run(self.index, self.appends, tip)?;
        self.appends.drop_sealed();
        while let Some(merge) = self.index.begin_merge()? {
            let mut left = Some(merge);
            while let Some(merge) = left {
                left = self.index.go_on(merge, u64::MAX)?;
            }
        }
        self.index.sweep(&[]);
        Ok(())
    }

    /// Writes all collected data.
    pub(in crate::journal::local) fn finish(self) -> Result<(), JournalError> {
        for (name, letters) in &self.dead_letters {
            self.files
                .create_dir_all(&self.layout.process_manager(name))?;
            let file = self
                .files
                .open(&self.layout.dead_letters(name), OpenMode::Write)?;
            let text = &letters.text;
            file.write_all_at(text.pending.as_bytes(), text.offset)?;
            file.set_len(text.end())?;
        }
        for (name, state) in &*self.states {
            if !self.dead_letters.contains_key(name) {
                self.cut_dead_letters(name, state.dead_letters.bytes)?;
            }
        }
        Ok(())
    }

    /// Cuts off dead letters that the journal does not have. For example, a restored copy may have a journal that is older than
    /// its dead letters.
    fn cut_dead_letters(&self, name: &str, length: u64) -> Result<(), JournalError> {
        let path = self.layout.dead_letters(name);
        if !self.files.exists(&path)? {
            return Ok(());
        }
        let found = self.files.open(&path, OpenMode::Read)?.len()?;
        if found > length {
            tracing::warn!(path = %path.display(), found, length, "dead letters that the journal does not have are cut off");
            self.files.open(&path, OpenMode::Write)?.set_len(length)?;
        }
        Ok(())
    }
}
