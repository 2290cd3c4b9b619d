//! Making states again from what the instances were shown, without doing again what that led to.
//!
//! The states are made beside those that count, in rows of their own, and take their place in one commit. Whatever interrupts
//! it before leaves remains that nobody reads and that the next start removes.

mod past;
mod replay;

use super::draft::{Draft, Source};
use super::rows::{self, DeadRow, HeldRow, InstanceRow, Status, VersionRow, put, remove};
use super::{Halt, ProcessManagerRunner};
use crate::journal::{Row, RowRange};
use crate::process_manager::ProcessManager;
use crate::runtime::origin::Cause;
use crate::runtime::saved_state::{default_state, encode_state};

use past::Owed;
use replay::Replay;

/// How many rows are exchanged in one commit.
const ROWS: usize = 512;

/// What states were made again from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rebuilt {
    pub(crate) events: u64,
    pub(crate) deadlines: u64,
    pub(crate) instances: u64,
}

/// Why a rebuild ends before its time.
pub(super) enum Failed {
    /// The states stay as they are.
    Refused(String),
    Halt(Halt),
}

impl From<Halt> for Failed {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

impl<PM: ProcessManager> ProcessManagerRunner<PM> {
    /// Makes all states again; the reason if they stay as they are.
    pub(super) async fn rebuild(&mut self) -> Result<Result<Rebuilt, String>, Halt> {
        self.settle_all().await?;
        if PM::IS_KEYED {
            self.sweep_spare().await?;
        }
        match self.rebuild_all().await {
            Ok(rebuilt) => Ok(Ok(rebuilt)),
            Err(Failed::Halt(halt)) => Err(halt),
            Err(Failed::Refused(reason)) => {
                if PM::IS_KEYED {
                    self.sweep_spare().await?;
                }
                Ok(Err(reason))
            }
        }
    }

    async fn rebuild_all(&mut self) -> Result<Rebuilt, Failed> {
        let owed = self.owed().await?;
        let mut replay = Replay::new(owed);
        self.replay(&mut replay).await?;
        let Replay {
            known, mut rebuilt, ..
        } = replay;
        if PM::IS_KEYED {
            self.store_remade(known).await?;
            rebuilt.instances = self.settle_remade().await?;
            self.exchange().await?;
            return Ok(rebuilt);
        }
        rebuilt.instances = 1;
        let state = known.into_values().next().and_then(|remade| remade.state);
        let state = match state {
            Some(state) => state,
            None => default_state().map_err(Failed::Refused)?,
        };
        let encoded = encode_state::<PM>(&state);
        let encoded = encoded.map_err(|cause| Failed::Refused(cause.reason()))?;
        if let Some(instance) = self.instances.get("") {
            instance.state = Some(state);
            instance.encoded = Some(encoded);
        }
        let position = self.position;
        if self.unreadable.is_some() {
            // What it replaces may be of an older version.
            let version = VersionRow {
                state_version: PM::STATE_VERSION,
                is_keyed: PM::IS_KEYED,
            };
            let row = put(rows::VERSION.into(), &version);
            self.dirty.push(row, position);
        }
        // The state is in the progress: this commit is what replaces it.
        let draft = Draft::new(position, position, Cause::none(), Source::Nothing);
        self.commit(draft).await?;
        self.settle_all().await?;
        self.unreadable = None;
        Ok(rebuilt)
    }

    /// What instances still owe, or have passed over: it is no part of their states.
    async fn owed(&mut self) -> Result<Owed, Halt> {
        let mut owed = Owed::default();
        let passed = RowRange::of_kind(rows::PASSED);
        self.each_row(passed, |row| owed.passed(&row.key, &row.value))
            .await?;
        let streams = RowRange::of_kind(rows::STREAM_HELD);
        self.each_row(streams, |row| owed.of_stream(&row.key))
            .await?;
        let held = RowRange::of_kind(rows::HELD);
        self.each_row(held, |row| {
            // A command or a deadline that is held stands at an event that was reacted to.
            let held = rows::read(&row.key, &row.value);
            if let Ok(HeldRow::Event(_) | HeldRow::Failed(_)) = held {
                owed.of_instance(&row.key);
            }
        })
        .await?;
        let dead = RowRange::of_kind(rows::DEAD_LETTERS);
        self.each_row(dead, |row| {
            if let Ok(DeadRow::Reaction(letter)) = DeadRow::read(&row.key, &row.value)
                && let HeldRow::Event(at) = letter.reaction
            {
                owed.add(at, &letter.key);
            }
        })
        .await?;
        Ok(owed)
    }

    /// Gives what was made again the part of an instance that is no state: whether it is parked, its deadlines, its generation. How
    /// many instances there are.
    async fn settle_remade(&mut self) -> Result<u64, Failed> {
        let table = self.instances.table();
        let mut range = RowRange::of_kind(table.kind());
        loop {
            let page = self.read_range(range.clone(), ROWS).await?;
            let keys: Vec<_> = page
                .iter()
                .map(|row| table.other().key(row.key.get(1..).unwrap_or_default()))
                .collect();
            let remade = self.read_rows(keys.clone()).await?;
            for ((row, key), remade) in page.iter().zip(keys).zip(remade) {
                let unreadable = |reason| Failed::Refused(reason);
                let old: InstanceRow = rows::read(&row.key, &row.value).map_err(unreadable)?;
                let remade: Option<InstanceRow> = remade
                    .map(|remade| rows::read(&key, &remade))
                    .transpose()
                    .map_err(unreadable)?;
                self.dirty
                    .push(put(key, &settled(old, remade)), self.position);
            }
            self.flush().await?;
            self.finish_in_flight().await?;
            match page.last() {
                Some(last) if page.len() == ROWS => range = range.behind(&last.key),
                _ => break,
            }
        }
        let mut instances = 0;
        let remade = RowRange::of_kind(table.other().kind());
        self.each_row(remade, |_| instances += 1).await?;
        Ok(instances)
    }

    /// Lets what was made again count, in one commit, and removes what counted before.
    async fn exchange(&mut self) -> Result<(), Halt> {
        let table = self.instances.table().other();
        let control = rows::ControlRow {
            instances: table,
            ..self.control()
        };
        let row = put(rows::CONTROL.into(), &control);
        self.dirty.push(row, self.position);
        self.settle_all().await?;
        self.instances.move_to(table);
        self.sweep_spare().await
    }

    /// Removes the instances that do not count: those that were replaced, or those of a rebuild that did not get to its end.
    pub(super) async fn sweep_spare(&mut self) -> Result<(), Halt> {
        let table = self.instances.table();
        let spare = RowRange::of_kind(table.other().kind());
        loop {
            let page = self.read_range(spare.clone(), ROWS).await?;
            if page.is_empty() {
                return Ok(());
            }
            let keys = page
                .iter()
                .map(|row| table.key(row.key.get(1..).unwrap_or_default()));
            let current = self.read_rows(keys.collect()).await?;
            for (row, current) in page.iter().zip(current) {
                self.drop_spare(row, current.as_deref());
            }
            self.flush().await?;
            self.finish_in_flight().await?;
        }
    }

    /// Removes one of them, with those of its deadlines that nobody has any more.
    fn drop_spare(&mut self, row: &Row, current: Option<&str>) {
        let instance = row.key.get(1..).unwrap_or_default();
        let read = |value| rows::read::<InstanceRow>(&row.key, value).ok();
        let kept = current.and_then(read).map(|current| current.timers);
        let timers = read(&row.value).map(|spare| spare.timers);
        for (name, due) in timers.unwrap_or_default() {
            let is_kept = kept.as_ref().and_then(|kept| kept.get(&name)) == Some(&due);
            if !is_kept {
                let removed = remove(rows::timer_key(due, instance, &name));
                self.notice(&removed);
                self.dirty.push(removed, self.position);
            }
        }
        self.dirty.push(remove(row.key.clone()), self.position);
    }
}

/// What an instance becomes.
fn settled(old: InstanceRow, remade: Option<InstanceRow>) -> InstanceRow {
    // One that is parked at what begins it is not remade, and not complete.
    let was_begun = remade.is_some() || old.is_complete;
    let remade = remade.unwrap_or(InstanceRow {
        generation: 0,
        status: Status::Completed,
        version: None,
        state: None,
        timers: Default::default(),
        parked: None,
        is_complete: true,
    });
    // Never one that was there before: deadlines and commands are named after it.
    let generation = old.generation.max(remade.generation);
    let is_held = !matches!(old.status, Status::Open | Status::Completed);
    let is_open = remade.status == Status::Open || is_held;
    InstanceRow {
        generation,
        status: match is_held {
            true => old.status,
            false => remade.status,
        },
        version: remade.version,
        state: remade.state,
        timers: match is_open && generation == old.generation {
            true => old.timers,
            false => Default::default(),
        },
        parked: old.parked.filter(|_| is_held),
        is_complete: is_held && was_begun && remade.status == Status::Completed,
    }
}
