//! The targets of one commit while their commands are decided. All are locked, in one order.

use std::sync::Arc;

use smallvec::SmallVec;

use super::cell::{Keys, PartOfCommit};
use super::staging::{FoundTarget, LockedTarget, Targets};
use crate::error::StoreError;
use crate::journal::{Outcome, ProposedAppend, StreamId, Streams};

/// A target, or the reason why it cannot be read.
pub(super) type Locked<'a> = Result<Box<dyn LockedTarget + 'a>, StoreError>;

struct LockedOne<'a> {
    stream: &'a StreamId,
    keys: &'a Keys,
    target: Locked<'a>,
    /// Whether a command was sent to it.
    is_touched: bool,
    part: PartOfCommit,
}

/// See the [module](self). Dropping it undoes staged events that were not submitted.
pub(super) struct LockedTargets<'a> {
    streams: &'a dyn Streams,
    locked: SmallVec<[LockedOne<'a>; 1]>,
    /// The targets with commands, in the order of their first commands. Their events have this order in the commit.
    touched: SmallVec<[usize; 1]>,
}

impl<'a> LockedTargets<'a> {
    /// Locks the targets in their global order, and folds durable commits into their states. A target whose fold fails counts as
    /// unreadable. Returns `None` if a target has to be loaded again, or a key has to be looked up again.
    pub(super) fn lock(targets: &'a Targets, streams: &'a dyn Streams) -> Option<Self> {
        let mut locked: SmallVec<[LockedOne<'_>; 1]> = SmallVec::with_capacity(targets.len());
        for FoundTarget {
            stream,
            target,
            keys,
        } in targets
        {
            let mut target = target
                .as_ref()
                .map(|target| target.lock())
                .map_err(Clone::clone);
            if target.as_ref().is_ok_and(|target| target.is_evicted()) {
                return None;
            }
            if let Ok(settling) = &mut target {
                match settling.settle() {
                    Ok(()) if settling.is_evicted() => return None,
                    Ok(()) if !settling.learn_answers(keys, streams) => return None,
                    Ok(()) => {}
                    Err(error) => target = Err(error),
                }
            }
            locked.push(LockedOne {
                stream,
                keys,
                target,
                is_touched: false,
                part: PartOfCommit::default(),
            });
        }
        Some(Self {
            streams,
            locked,
            touched: SmallVec::new(),
        })
    }

    fn index(&self, stream: &StreamId) -> Option<usize> {
        self.locked
            .binary_search_by(|one| one.stream.cmp(stream))
            .ok()
    }

    /// The target, without a command to it.
    pub(super) fn peek(&self, stream: &StreamId) -> Option<&Locked<'a>> {
        let one = self.locked.get(self.index(stream)?)?;
        Some(&one.target)
    }

    /// The target of the next command. `None` if the target was not looked up, or if the durable answer for this key is not known.
    pub(super) fn target(
        &mut self,
        stream: &StreamId,
        key: Option<&str>,
    ) -> Option<&mut Locked<'a>> {
        let index = self.index(stream)?;
        let one = self.locked.get_mut(index)?;
        // The keys of compensations were not looked up before.
        if let (Some(key), Ok(target)) = (key, &mut one.target)
            && !one.keys.has(key)
            && !target.learn_answers(&Keys::of(Some(key)), self.streams)
        {
            return None;
        }
        if !std::mem::replace(&mut one.is_touched, true) {
            self.touched.push(index);
        }
        Some(&mut one.target)
    }

    /// The last commits that the decisions depend on.
    pub(super) fn last_pending(&self) -> impl Iterator<Item = Arc<Outcome>> {
        let touched = self.touched.iter();
        touched
            .filter_map(|index| self.locked.get(*index)?.target.as_ref().ok())
            .filter_map(|target| target.last_pending())
    }

    /// The staged events, which are submitted next.
    pub(super) fn proposed(&mut self) -> Vec<ProposedAppend> {
        let mut appends = Vec::with_capacity(self.touched.len());
        let mut events = 0;
        for index in &self.touched {
            if let Some(one) = self.locked.get_mut(*index)
                && let Ok(target) = &mut one.target
                && let Some(append) = target.proposed()
            {
                one.part = PartOfCommit {
                    append: appends.len(),
                    before: events,
                };
                events += append.lines.len() as u64;
                appends.push(append);
            }
        }
        appends
    }

    /// The place in the commit of a stream's [proposed](Self::proposed) events.
    pub(super) fn part_of(&self, stream: &StreamId) -> Option<PartOfCommit> {
        Some(self.locked.get(self.index(stream)?)?.part)
    }

    /// Records that the commit with this outcome contains the proposed events.
    pub(super) fn handed_over(self, outcome: &Arc<Outcome>) {
        for LockedOne { target, part, .. } in self.locked {
            if let Ok(mut target) = target {
                target.handed_over(outcome, part);
            }
        }
    }
}

/// Removes the evicted targets, so that the next lookup loads them again.
pub(super) fn forget_evicted(targets: Targets) {
    for target in targets.into_iter().flat_map(|found| found.target) {
        if target.lock().is_evicted() {
            target.forget();
        }
    }
}
