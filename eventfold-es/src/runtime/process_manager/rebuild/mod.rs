//! Rebuilds states from the past inputs of the instances, without repeating their effects.
//!
//! With `key`, the rebuilt states are rows in a second table, and one commit switches to it. An interrupted rebuild leaves rows that are
//! never read, and the next start removes them.

mod past;
mod replay;

use super::Halt;
use super::driver::ProcessManagerRunner;
use super::rows::{self, DeadRow, HeldRow, InstanceRow, Status, VersionRow, put, remove};
use crate::journal::{Row, RowRange};
use crate::runtime::saved_state::{default_state, encode_state};

use past::Owed;
use replay::Replay;

/// The maximum number of rows per commit.
const ROWS: usize = 512;

/// The size of a rebuild.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rebuilt {
    pub(crate) events: u64,
    pub(crate) deadlines: u64,
    pub(crate) instances: u64,
}

/// The reason why a rebuild ends early.
pub(super) enum Failed {
    /// The states remain unchanged.
    Refused(String),
    Halt(Halt),
}

impl From<Halt> for Failed {
    fn from(halt: Halt) -> Self {
        Self::Halt(halt)
    }
}

impl ProcessManagerRunner {
    /// Rebuilds all states. Returns the reason if they remain unchanged.
    pub(super) async fn rebuild(&mut self) -> Result<Result<Rebuilt, String>, Halt> {
        self.settle_all().await?;
        if self.definition().is_keyed {
            self.sweep_spare().await?;
        }
        match self.rebuild_all().await {
            Ok(rebuilt) => Ok(Ok(rebuilt)),
            Err(Failed::Halt(halt)) => Err(halt),
            Err(Failed::Refused(reason)) => {
                if self.definition().is_keyed {
                    self.sweep_spare().await?;
                }
                Ok(Err(reason))
            }
        }
    }

    async fn rebuild_all(&mut self) -> Result<Rebuilt, Failed> {
        let owed = self.owed().await?;
        let mut replay = Replay::new(self.definition(), owed);
        self.replay(&mut replay).await?;
        let Replay {
            known, mut rebuilt, ..
        } = replay;
        if self.definition().is_keyed {
            self.store_remade(known).await?;
            rebuilt.instances = self.settle_remade().await?;
            self.exchange().await?;
            return Ok(rebuilt);
        }
        rebuilt.instances = 1;
        let state = known.into_values().next().and_then(|remade| remade.state);
        let state = match state {
            Some(state) => state,
            None => default_state(self.definition()).map_err(Failed::Refused)?,
        };
        let encoded = encode_state(self.definition(), &state);
        let encoded = encoded.map_err(|cause| Failed::Refused(cause.reason()))?;
        if let Some(instance) = self.machine.instances.get("") {
            instance.state = Some(state);
            instance.encoded = Some(encoded);
        }
        let position = self.machine.position;
        if self.unreadable.is_some() {
            // The replaced state may have an older version.
            let version = VersionRow {
                state_version: self.definition().state_version,
                is_keyed: self.definition().is_keyed,
            };
            let row = put(rows::VERSION.into(), &version);
            self.machine.put(row, position);
        }
        // The progress contains the state, so this commit replaces it.
        self.commit_progress().await?;
        self.settle_all().await?;
        self.unreadable = None;
        Ok(rebuilt)
    }

    /// The inputs that instances still hold, or have skipped. They are not part of the states.
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
            // A held command or deadline is stored at an event that was handled.
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

    /// Adds the current status, deadlines and generation to each rebuilt instance. Returns the number of instances.
    async fn settle_remade(&mut self) -> Result<u64, Failed> {
        let table = self.machine.instances.table();
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
                self.machine
                    .put(put(key, &settled(old, remade)), self.machine.position);
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

    /// Switches to the rebuilt table in one commit, and removes the previous one.
    async fn exchange(&mut self) -> Result<(), Halt> {
        let table = self.machine.instances.table().other();
        let control = rows::ControlRow {
            instances: table,
            ..self.control()
        };
        let row = put(rows::CONTROL.into(), &control);
        self.machine.put(row, self.machine.position);
        self.settle_all().await?;
        self.machine.instances.move_to(table);
        self.sweep_spare().await
    }

    /// Removes the instances of the unused table. They were replaced, or an interrupted rebuild left them.
    pub(super) async fn sweep_spare(&mut self) -> Result<(), Halt> {
        let table = self.machine.instances.table();
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

    /// Removes an instance of the unused table, with all deadlines that the current instance does not have.
    fn drop_spare(&mut self, row: &Row, current: Option<&str>) {
        let instance = row.key.get(1..).unwrap_or_default();
        let read = |value| rows::read::<InstanceRow>(&row.key, value).ok();
        let kept = current.and_then(read).map(|current| current.timers);
        let timers = read(&row.value).map(|spare| spare.timers);
        for (name, due) in timers.unwrap_or_default() {
            let is_kept = kept.as_ref().and_then(|kept| kept.get(&name)) == Some(&due);
            if !is_kept {
                let removed = remove(rows::timer_key(due, instance, &name));
                self.machine.put(removed, self.machine.position);
            }
        }
        self.machine
            .put(remove(row.key.clone()), self.machine.position);
    }
}

/// The row of an instance after the rebuild.
fn settled(old: InstanceRow, remade: Option<InstanceRow>) -> InstanceRow {
    // An instance that is parked at its first event is neither rebuilt nor complete.
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
    // The generation of an earlier instance is never used again, because the ids of deadlines and commands contain it.
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
