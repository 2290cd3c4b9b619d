//! The selection of past inputs for the replay.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use super::super::Halt;
use super::super::driver::ProcessManagerRunner;
use super::super::rows::{self, FiredRow, PassedRow};
use super::Failed;
use crate::journal::{PastReaction, PastReactions, RowChange};

/// The events that instances have not handled, by position.
#[derive(Default)]
pub(super) struct Owed {
    /// The instances that have not handled the event. The empty key stands for all.
    by_event: HashMap<u64, HashSet<Box<str>>>,
    /// The instances that the event started nevertheless.
    begun: HashMap<u64, HashSet<Box<str>>>,
}

impl Owed {
    pub(super) fn passed(&mut self, key: &str, value: &str) {
        if let Some((position, instance)) = rows::passed_of(key) {
            self.add(position, instance);
            if rows::read::<PassedRow>(key, value).is_ok_and(|passed| passed.begins) {
                let begun = self.begun.entry(position).or_default();
                begun.insert(instance.into());
            }
        }
    }

    pub(super) fn of_instance(&mut self, key: &str) {
        if let Some((instance, position)) = rows::held_of(key) {
            self.add(position, instance);
        }
    }

    pub(super) fn of_stream(&mut self, key: &str) {
        if let Some(position) = rows::stream_held_at(key) {
            self.add(position, "");
        }
    }

    pub(super) fn add(&mut self, position: u64, instance: &str) {
        self.by_event
            .entry(position)
            .or_default()
            .insert(instance.into());
    }

    /// Whether an instance has not handled the event at a position.
    pub(super) fn holds(&self, position: u64, instance: &str) -> bool {
        let instances = self.by_event.get(&position);
        instances.is_some_and(|found| found.contains("") || found.contains(instance))
    }

    /// Whether the event at a position started an instance that has not handled it.
    pub(super) fn begins(&self, position: u64, instance: &str) -> bool {
        let instances = self.begun.get(&position);
        instances.is_some_and(|found| found.contains(instance))
    }

    /// Whether no instance has handled the event.
    pub(super) fn holds_for_all(&self, position: u64) -> bool {
        self.holds(position, "")
    }
}

/// The fired deadlines, in the order of their delivery.
pub(super) struct Reached {
    past: PastReactions,
    next: VecDeque<FiredRow>,
    /// Deadlines that were held first, by the position after which they belong. Their commits are later.
    late: BTreeMap<u64, Vec<FiredRow>>,
}

impl Reached {
    /// The next loaded deadline, if it belongs before the event at `position`.
    fn pop(&mut self, position: u64) -> Option<FiredRow> {
        let at = self.next.front().map(|fired| fired.at);
        let late = self.late.first_key_value().map(|(at, _)| *at);
        let is_late = late.is_some_and(|late| at.is_none_or(|at| late <= at));
        if !is_late {
            return self.next.pop_front_if(|fired| fired.at < position);
        }
        let mut first = self.late.first_entry()?;
        if *first.key() >= position {
            return None;
        }
        let fired = first.get_mut();
        let next = (!fired.is_empty()).then(|| fired.remove(0));
        if fired.is_empty() {
            first.remove();
        }
        next
    }
}

impl ProcessManagerRunner {
    /// The position at which this process manager started, and a reader of the deadlines that fired since.
    pub(super) async fn reached(&mut self) -> Result<(u64, Reached), Failed> {
        let mut past = PastReactions::new(self.definition().name, rows::FIRED);
        let mut start = None;
        let mut late: BTreeMap<u64, Vec<FiredRow>> = BTreeMap::new();
        while !past.is_read {
            let (read, found) = self.read_past(past).await?;
            past = read;
            if start.is_none() {
                start = found.first().map(|first| first.position);
            }
            for (fired, reached) in fired_in(&found)? {
                if fired.at != reached {
                    late.entry(fired.at).or_default().push(fired);
                }
            }
        }
        let reached = Reached {
            past: PastReactions::new(self.definition().name, rows::FIRED),
            next: VecDeque::new(),
            late,
        };
        Ok((start.unwrap_or_default(), reached))
    }

    /// The next deadline that fired before the event at `position`.
    pub(super) async fn next_reached(
        &mut self,
        reached: &mut Reached,
        position: u64,
    ) -> Result<Option<FiredRow>, Failed> {
        while reached.next.is_empty() && !reached.past.is_read {
            let past = std::mem::replace(
                &mut reached.past,
                PastReactions::new(self.definition().name, rows::FIRED),
            );
            let (past, found) = self.read_past(past).await?;
            reached.past = past;
            for (fired, at) in fired_in(&found)? {
                if fired.at == at {
                    reached.next.push_back(fired);
                }
            }
        }
        Ok(reached.pop(position))
    }

    pub(in super::super) async fn read_past(
        &mut self,
        mut past: PastReactions,
    ) -> Result<(PastReactions, Vec<PastReaction>), Halt> {
        self.blocking(move |journal| {
            let found = journal.past_reactions(&mut past);
            found.map(|found| (past, found))
        })
        .await
    }
}

/// The fired deadlines in these commits, each with the position of its commit.
fn fired_in(found: &[PastReaction]) -> Result<Vec<(FiredRow, u64)>, Failed> {
    let mut fired = Vec::new();
    for reaction in found {
        for RowChange { key, value } in &reaction.rows {
            if let Some(value) = value {
                let row = rows::read(key, value).map_err(Failed::Refused)?;
                fired.push((row, reaction.position));
            }
        }
    }
    Ok(fired)
}
