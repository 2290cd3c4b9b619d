//! The targets of one commit while their commands are decided: locked together, in one order.

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

/// See the [module](self). What is staged and not handed over never happened.
pub(super) struct LockedTargets<'a> {
    streams: &'a dyn Streams,
    locked: SmallVec<[LockedOne<'a>; 1]>,
    /// In the order in which commands were sent to them, which is that of their events in the commit.
    touched: SmallVec<[usize; 1]>,
}

impl<'a> LockedTargets<'a> {
    /// Locks them in their order, which is one everywhere, and takes what became durable into their states: one that cannot be folded
    /// cannot be read. `None` if one has to be loaded again, or keys are to be looked for again.
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

    /// The target of the next command, if that was looked for, and it is known what is durable of a command with this key.
    pub(super) fn target(
        &mut self,
        stream: &StreamId,
        key: Option<&str>,
    ) -> Option<&mut Locked<'a>> {
        let index = self.index(stream)?;
        let one = self.locked.get_mut(index)?;
        // Compensations have keys that nobody has looked for.
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

    /// The last commits that what was decided depends on.
    pub(super) fn last_pending(&self) -> impl Iterator<Item = Arc<Outcome>> {
        let touched = self.touched.iter();
        touched
            .filter_map(|index| self.locked.get(*index)?.target.as_ref().ok())
            .filter_map(|target| target.last_pending())
    }

    /// What was staged, which is handed over next.
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

    /// Where in the commit the events of a stream are that were [proposed](Self::proposed).
    pub(super) fn part_of(&self, stream: &StreamId) -> Option<PartOfCommit> {
        Some(self.locked.get(self.index(stream)?)?.part)
    }

    /// Notes that what was proposed is in the commit with this outcome.
    pub(super) fn handed_over(self, outcome: &Arc<Outcome>) {
        for LockedOne { target, part, .. } in self.locked {
            if let Ok(mut target) = target {
                target.handed_over(outcome, part);
            }
        }
    }
}

/// Forgets those that were evicted, so that they are loaded when they are looked for again.
pub(super) fn forget_evicted(targets: Targets) {
    for target in targets.into_iter().flat_map(|found| found.target) {
        if target.lock().is_evicted() {
            target.forget();
        }
    }
}
