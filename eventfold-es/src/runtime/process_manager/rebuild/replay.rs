//! Replays past inputs to instances, and drops the effects.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::Shown;
use super::super::correlation::{Found, Part, part};
use super::super::definition::{Definition, State};
use super::super::driver::ProcessManagerRunner;
use super::super::reaction::Delivery;
use super::super::rows::{self, FiredRow, InstanceRow, Status, put};
use super::past::Owed;
use super::{Failed, ROWS, Rebuilt};
use crate::journal::{Cursor, RecordedCommit};
use crate::process_manager::Join;
use crate::runtime::imported::is_imported;
use crate::runtime::saved_state::{decode_state, default_state, encode_state};

/// The maximum number of instances in memory. Beyond it, they are stored and evicted.
const INSTANCES: usize = 8192;

/// An instance during a rebuild.
pub(super) struct Remade {
    /// 0 if the instance never started.
    generation: u64,
    /// `None` if the instance does not exist, or is complete.
    pub(super) state: Option<State>,
}

/// The state of a rebuild.
pub(super) struct Replay {
    definition: &'static Definition,
    pub(super) known: HashMap<String, Remade>,
    /// Whether instances were stored and evicted.
    has_stored: bool,
    owed: Owed,
    pub(super) rebuilt: Rebuilt,
}

impl Replay {
    pub(super) fn new(definition: &'static Definition, owed: Owed) -> Self {
        Self {
            definition,
            known: HashMap::new(),
            has_stored: false,
            owed,
            rebuilt: Rebuilt::default(),
        }
    }

    /// Replays an event to its loaded instances.
    fn show(&mut self, shown: &Shown) -> Result<(), Failed> {
        let (stream, event) = &*shown.event;
        let position = event.position;
        let joins = shown.correlation.as_ref();
        let joins = joins.map_err(|cause| refused(position, &cause.to_string()))?;
        let mut is_shown = false;
        for Join { key, kind, .. } in joins {
            let is_owed = self.owed.holds(position, key);
            if is_owed && !self.owed.begins(position, key) {
                continue;
            }
            let remade = self.known.entry(key.to_owned()).or_insert(Remade {
                generation: 0,
                state: None,
            });
            let found = match remade.state {
                Some(_) => Found::Open,
                None => Found::Nothing,
            };
            match part(*kind, found) {
                Part::Ignored | Part::Waits => continue,
                Part::Starts => {
                    remade.generation += 1;
                    let state = default_state(self.definition);
                    remade.state = Some(state.map_err(|reason| refused(position, &reason))?);
                }
                Part::Continues => {}
            }
            is_shown = true;
            let Some(state) = remade.state.as_mut().filter(|_| !is_owed) else {
                continue;
            };
            let done = is_complete(self.definition, Delivery::Event(stream, event), state, key);
            if done.map_err(|reason| refused(position, &reason))? {
                remade.state = None;
            }
        }
        self.rebuilt.events += u64::from(is_shown);
        Ok(())
    }

    /// Replays a deadline to its loaded instance.
    fn show_deadline(&mut self, fired: &FiredRow) -> Result<(), Failed> {
        let key = &fired.timer.key;
        let Some(remade) = self.known.get_mut(key) else {
            return Ok(());
        };
        let Some(state) = &mut remade.state else {
            return Ok(());
        };
        self.rebuilt.deadlines += 1;
        let deadline = &fired.timer.deadline;
        let done = is_complete(
            self.definition,
            Delivery::Deadline(&fired.timer),
            state,
            key,
        );
        let done = done.map_err(|reason| {
            Failed::Refused(format!(
                "the deadline `{}` of `{key}` that fired after position {} cannot be handled: {reason}",
                deadline.name, fired.at
            ))
        })?;
        if done {
            remade.state = None;
        }
        Ok(())
    }
}

fn refused(position: u64, reason: &str) -> Failed {
    Failed::Refused(format!(
        "the event at position {position} cannot be handled: {reason}"
    ))
}

/// Whether the reaction completes the instance.
///
/// # Errors
///
/// The reason, if the reaction fails.
fn is_complete(
    definition: &Definition,
    input: Delivery<'_>,
    state: &mut State,
    key: &str,
) -> Result<bool, String> {
    let effects = input
        .react(definition, state, key)
        .map_err(|cause| cause.reason())?;
    Ok(effects.is_complete && definition.is_keyed)
}

impl ProcessManagerRunner {
    /// Replays all inputs that this process manager has handled so far.
    pub(super) async fn replay(&mut self, replay: &mut Replay) -> Result<(), Failed> {
        let (start, mut reached) = self.reached().await?;
        let mut cursor = Cursor::after(start);
        let until = self.machine.position;
        while cursor.position < until {
            if *self.context.closing.borrow() {
                let reason = "the store is closing; ask again when it is open";
                return Err(Failed::Refused(reason.to_owned()));
            }
            let read = self.blocking(move |journal| {
                let commits = journal.read_on(&mut cursor);
                commits.map(|commits| (cursor, commits))
            });
            let (read_to, commits) = read.await?;
            if commits.is_empty() {
                break;
            }
            cursor = read_to;
            let all_shown = self.shown_in(&commits, start, until, &replay.owed);
            let joins = all_shown
                .iter()
                .flat_map(|shown| shown.correlation.iter().flatten());
            let keys: Vec<_> = joins.map(|join| join.key.clone()).collect();
            self.learn_remade(replay, keys).await?;
            for shown in all_shown {
                let position = shown.event.1.position;
                while let Some(fired) = self.next_reached(&mut reached, position).await? {
                    let key = vec![fired.timer.key.clone()];
                    self.learn_remade(replay, key).await?;
                    replay.show_deadline(&fired)?;
                }
                replay.show(&shown)?;
            }
            if replay.known.len() > INSTANCES {
                let known = std::mem::take(&mut replay.known);
                self.store_remade(known).await?;
                replay.has_stored = true;
            }
            tokio::task::yield_now().await;
        }
        while let Some(fired) = self.next_reached(&mut reached, until + 1).await? {
            let key = vec![fired.timer.key.clone()];
            self.learn_remade(replay, key).await?;
            replay.show_deadline(&fired)?;
        }
        Ok(())
    }

    /// The subscribed events in these commits that this process manager has handled.
    fn shown_in(
        &self,
        commits: &[Arc<RecordedCommit>],
        start: u64,
        until: u64,
        owed: &Owed,
    ) -> Vec<Shown> {
        let mut shown = Vec::new();
        for commit in commits {
            for event in commit.events() {
                let is_past = event.position > start && event.position <= until;
                let is_shown = is_past
                    && self
                        .context
                        .subscriptions
                        .contains(&&**event.stream.aggregate_type)
                    && !is_imported(event.line);
                if is_shown && !owed.holds_for_all(event.position) {
                    shown.push(self.show(event, None));
                }
            }
        }
        shown
    }

    /// Loads the instances that were stored and evicted.
    async fn learn_remade(
        &mut self,
        replay: &mut Replay,
        mut instances: Vec<String>,
    ) -> Result<(), Failed> {
        if !replay.has_stored {
            return Ok(());
        }
        instances.retain(|instance| !replay.known.contains_key(instance));
        instances.sort();
        instances.dedup();
        let definition = self.definition();
        let table = self.machine.instances.table().other();
        let keys = instances.iter().map(|instance| table.key(instance));
        let stored = self.read_rows(keys.collect()).await?;
        for (instance, row) in instances.into_iter().zip(stored) {
            let Some(row) = row else {
                continue;
            };
            let row: InstanceRow = rows::read(&instance, &row).map_err(Failed::Refused)?;
            let state = row.state.map(|state| decode_state(definition, state.get()));
            let state = state.transpose().map_err(Failed::Refused)?;
            let remade = Remade {
                generation: row.generation,
                state,
            };
            replay.known.insert(instance, remade);
        }
        Ok(())
    }

    /// Stores rebuilt instances in the unused table, which is not read yet.
    pub(super) async fn store_remade(
        &mut self,
        known: HashMap<String, Remade>,
    ) -> Result<(), Failed> {
        let definition = self.definition();
        let table = self.machine.instances.table().other();
        for (key, remade) in known {
            if remade.generation == 0 {
                continue;
            }
            let state = remade.state.as_ref();
            let state = state
                .map(|state| encode_state(definition, state))
                .transpose();
            let state = state.map_err(|cause| {
                let reason = cause.reason();
                Failed::Refused(format!("the state of `{key}` cannot be stored: {reason}"))
            })?;
            let row = InstanceRow {
                generation: remade.generation,
                status: match state {
                    Some(_) => Status::Open,
                    None => Status::Completed,
                },
                version: state.as_ref().map(|_| definition.state_version),
                state,
                timers: Default::default(),
                parked: None,
                is_complete: false,
            };
            self.machine
                .put(put(table.key(&key), &row), self.machine.position);
            if self.machine.dirty.rows.len() >= ROWS {
                self.flush().await?;
            }
        }
        self.flush().await?;
        self.finish_in_flight().await?;
        Ok(())
    }
}
