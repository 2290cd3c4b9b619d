//! The cached instances of a process manager: the most recently used ones, and all with changes that are not yet durable.

use std::collections::{BTreeMap, HashMap};

use serde_json::value::RawValue;

use super::super::guarded::guard;
use super::super::saved_state::{default_state, round_trip};
use super::correlation::Found;
use super::definition::{Definition, State};
use super::rows::{HoldRow, InstanceRow, InstanceTable, Status, put, read, remove};
use crate::journal::RowChange;
use crate::process_manager::{FailureCause, StoredState};
use crate::short;

/// The number of instances that remain cached without changes in flight.
const IDLE_INSTANCES: usize = 4096;

pub(super) struct Instance {
    definition: &'static Definition,
    pub(super) generation: u64,
    pub(super) status: Status,
    /// `None` if the instance is completed or its stored state does not decode. Also `None` before the [first use](Self::current) of a new
    /// state.
    pub(super) state: Option<State>,
    /// The encoded state, stored or in a submitted change.
    pub(super) encoded: Option<Box<RawValue>>,
    /// The version of the encoded state.
    version: u32,
    pub(super) timers: BTreeMap<String, u64>,
    pub(super) hold: Option<HoldRow>,
    /// Whether the instance had completed before it was parked. For example, its last command failed.
    pub(super) is_complete: bool,
    /// Whether the instance was parked while it was loaded, and no row says so yet.
    pub(super) is_unstored: bool,
    /// Without a state: whether it has a row. Only an instance that holds work has a row then.
    has_row: bool,
    /// The previous instance of the key, until a change of this one is stored.
    replaced: Option<Box<Option<Self>>>,
    table: InstanceTable,
    /// The number of the last commit with a change of this instance.
    changed_in: u64,
    last_used: u64,
}

impl Instance {
    /// A new instance, the `generation`th of its key.
    fn new(definition: &'static Definition, generation: u64, table: InstanceTable) -> Self {
        Self {
            definition,
            generation,
            status: Status::Open,
            state: None,
            encoded: None,
            version: definition.state_version,
            timers: BTreeMap::new(),
            hold: None,
            is_complete: false,
            is_unstored: false,
            has_row: false,
            replaced: None,
            table,
            changed_in: 0,
            last_used: 0,
        }
    }

    /// An instance from its row, and the reason if its state is unusable.
    fn stored(
        definition: &'static Definition,
        row: InstanceRow,
        table: InstanceTable,
    ) -> (Self, Option<String>) {
        let mut instance = Self {
            status: row.status,
            encoded: row.state,
            version: row.version.unwrap_or(1),
            timers: row.timers,
            hold: row.parked,
            is_complete: row.is_complete,
            has_row: true,
            ..Self::new(definition, row.generation, table)
        };
        let problem = instance.restore().err();
        (instance, problem)
    }

    /// Restores the stored state after a failed operation on it.
    pub(super) fn restore(&mut self) -> Result<(), String> {
        let Some(encoded) = &self.encoded else {
            self.state = None;
            return Ok(());
        };
        let stored = StoredState::new(self.version, encoded.get());
        // Migrations are user code.
        let current = guard(
            || format!("reading a state of `{}`", self.definition.name),
            || (self.definition.current)(stored),
        );
        let current = match current {
            Ok(current) => current.map_err(short::reason),
            Err(error) => Err(short::reason(error)),
        };
        match current {
            Ok(state) => {
                self.state = Some(state);
                Ok(())
            }
            Err(reason) => {
                self.state = None;
                Err(reason)
            }
        }
    }

    /// The state. Its first use creates the default state. `None` if the instance is completed or its state does not decode.
    ///
    /// # Errors
    ///
    /// [`FailureCause::Panicked`] if `Default` panics.
    pub(super) fn current(&mut self) -> Result<Option<&mut State>, FailureCause> {
        let is_over = self.status == Status::Completed || self.is_complete;
        if self.state.is_none() && self.encoded.is_none() && !is_over {
            let state = default_state(self.definition);
            let state = state.map_err(|message| FailureCause::Panicked { message })?;
            self.state = Some(state);
        }
        Ok(self.state.as_mut())
    }

    /// Encodes the state, and returns whether it has changed.
    pub(super) fn encode(&mut self) -> Result<bool, FailureCause> {
        let definition = self.definition;
        let current = self.current()?;
        // A state that does not decode remains stored as it is.
        let Some(state) = current else {
            return Ok(false);
        };
        let (encoded, read) = round_trip(definition, state)?;
        // A state of another version is a change even with an identical encoding, because its meaning differs.
        let is_new = self.version != definition.state_version
            || self
                .encoded
                .as_ref()
                .is_none_or(|old| old.get() != encoded.get());
        self.encoded = Some(encoded);
        self.state = Some(read);
        self.version = definition.state_version;
        Ok(is_new)
    }

    /// The row of the instance.
    pub(super) fn row(&self, key: &str) -> RowChange {
        let row = InstanceRow {
            generation: self.generation,
            status: self.status,
            version: (self.definition.is_keyed && self.encoded.is_some()).then_some(self.version),
            // Without `key`, the progress contains the state.
            state: self.encoded.clone().filter(|_| self.definition.is_keyed),
            timers: self.timers.clone(),
            parked: self.hold.clone(),
            is_complete: self.is_complete,
        };
        put(self.table.key(key), &row)
    }

    /// Sets the status after a hold: completed if the instance had completed, and `status` otherwise.
    pub(super) fn release(&mut self, status: Status) {
        self.status = match std::mem::take(&mut self.is_complete) {
            true => Status::Completed,
            false => status,
        };
        if self.status != Status::Releasing {
            self.hold = None;
        }
    }

    /// Whether no change of this instance is stored yet.
    pub(super) fn is_new(&self) -> bool {
        self.replaced.is_some()
    }

    /// Whether the instance has handled no event, not even the event that started it.
    pub(super) fn has_reacted_to_nothing(&self) -> bool {
        self.definition.is_keyed
            && self.definition.has_state
            && self.status != Status::Completed
            && self.encoded.is_none()
            && !self.is_complete
    }

    /// Ends the instance. Later events for its key start another instance, or are ignored.
    pub(super) fn end(&mut self) {
        self.status = Status::Completed;
        self.hold = None;
        self.state = None;
        self.encoded = None;
    }

    pub(super) fn found(&self) -> Found {
        match self.status {
            Status::Open => Found::Open,
            Status::Completed => Found::Nothing,
            Status::Parked | Status::Releasing => Found::Holding,
        }
    }

    /// Without `key`: ends the retry of `what`, and returns whether there was one.
    pub(super) fn ends_retry_of(&mut self, what: impl FnOnce() -> Box<str>) -> bool {
        if self.definition.is_keyed || self.hold.is_none() {
            return false;
        }
        let what = what();
        let ended = self.hold.take_if(|hold| hold.retry_of(&what).is_some());
        ended.is_some()
    }

    pub(super) fn holds(&self) -> bool {
        matches!(self.status, Status::Parked | Status::Releasing)
    }
}

/// See the [module](self).
pub(super) struct Instances {
    definition: &'static Definition,
    /// The only instance without `key`. It is apart from the map because each event needs it several times.
    only: Option<Instance>,
    known: HashMap<String, Option<Instance>>,
    table: InstanceTable,
    used: u64,
}

impl Instances {
    pub(super) fn new(definition: &'static Definition) -> Self {
        Self {
            definition,
            only: None,
            known: HashMap::new(),
            table: InstanceTable::default(),
            used: 0,
        }
    }

    pub(super) fn table(&self) -> InstanceTable {
        self.table
    }

    /// Switches to another table.
    pub(super) fn move_to(&mut self, table: InstanceTable) {
        if self.table != table {
            self.table = table;
            self.known.clear();
        }
    }

    /// Evicts all instances, to load the durable rows again.
    pub(super) fn clear(&mut self) {
        self.only = None;
        self.known.clear();
    }

    /// Whether this instance is cached (present or known to be absent).
    pub(super) fn knows(&self, key: &str) -> bool {
        match self.definition.is_keyed {
            true => self.known.contains_key(key),
            false => self.only.is_some(),
        }
    }

    /// Caches a loaded row. An instance whose state does not decode is cached as parked.
    ///
    /// # Errors
    ///
    /// The reason, if the row does not decode.
    pub(super) fn learn(
        &mut self,
        key: &str,
        row: Option<&str>,
        position: u64,
        noted: u64,
    ) -> Result<(), String> {
        let instance = match row {
            None => None,
            Some(row) => {
                let row = read::<InstanceRow>(key, row)?;
                let is_parked = row.status == Status::Parked;
                let (mut instance, problem) = Instance::stored(self.definition, row, self.table);
                if let Some(problem) = problem
                    && !is_parked
                    && self.definition.is_keyed
                {
                    instance.status = Status::Parked;
                    let reason = format!("its state cannot be used: {problem}");
                    tracing::error!(
                        process_manager = self.definition.name,
                        instance = key,
                        reason,
                        "an instance is parked"
                    );
                    instance.hold = Some(HoldRow::new(position, reason, noted));
                    instance.is_unstored = true;
                }
                Some(instance)
            }
        };
        *self.entry(key) = instance;
        Ok(())
    }

    fn find(&mut self, key: &str) -> Option<&mut Instance> {
        match self.definition.is_keyed {
            true => self.known.get_mut(key)?.as_mut(),
            false => self.only.as_mut(),
        }
    }

    fn entry(&mut self, key: &str) -> &mut Option<Instance> {
        match self.definition.is_keyed {
            true => self.known.entry(key.to_owned()).or_default(),
            false => &mut self.only,
        }
    }

    pub(super) fn get(&mut self, key: &str) -> Option<&mut Instance> {
        self.used += 1;
        let used = self.used;
        let instance = self.find(key)?;
        instance.last_used = used;
        Some(instance)
    }

    /// Without `key`: the only instance.
    pub(super) fn only(&mut self) -> Option<&mut Instance> {
        match self.definition.is_keyed {
            true => None,
            false => self.get(""),
        }
    }

    /// The cached instance of a key, for the join table.
    pub(super) fn found(&mut self, key: &str) -> Found {
        self.get(key).map_or(Found::Nothing, |found| found.found())
    }

    /// Starts a new instance in place of the previous one.
    pub(super) fn begin(&mut self, key: &str) -> &mut Instance {
        self.used += 1;
        let (used, table, definition) = (self.used, self.table, self.definition);
        let entry = self.entry(key);
        let generation = entry.as_ref().map_or(0, |old| old.generation) + 1;
        let replaced = entry.take();
        let instance = entry.insert(Instance::new(definition, generation, table));
        instance.replaced = Some(Box::new(replaced));
        instance.last_used = used;
        instance
    }

    /// Restores the previous instance of the key, if no change of the new one is stored.
    pub(super) fn undo_begin(&mut self, key: &str) {
        let replaced = self.find(key).and_then(|found| found.replaced.take());
        if let Some(replaced) = replaced {
            *self.entry(key) = *replaced;
        }
    }

    pub(super) fn is_releasing(&mut self, key: &str) -> bool {
        self.get(key)
            .is_some_and(|found| found.status == Status::Releasing)
    }

    /// The row of an instance, for the commit with this number.
    pub(super) fn store(&mut self, key: &str, commit: u64) -> Option<RowChange> {
        let has_state = self.definition.has_state;
        let instance = self.get(key)?;
        instance.changed_in = commit;
        instance.replaced = None;
        if !has_state && !instance.holds() {
            let had_row = std::mem::take(&mut instance.has_row);
            return had_row.then(|| remove(instance.table.key(key)));
        }
        instance.has_row = true;
        Some(instance.row(key))
    }

    /// Evicts instances that were not used recently and have no change after the commit `durable`.
    pub(super) fn evict(&mut self, durable: u64) {
        if self.known.len() <= 2 * IDLE_INSTANCES {
            return;
        }
        let oldest = self.used.saturating_sub(IDLE_INSTANCES as u64);
        self.known.retain(|_, instance| match instance {
            None => false,
            Some(instance) => instance.changed_in > durable || instance.last_used > oldest,
        });
    }
}
