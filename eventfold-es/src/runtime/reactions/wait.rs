//! One wait for reactions: the positions that it covers, and the positions that it is owed.

use tokio::sync::oneshot;

use super::{Member, Reactions};

pub(super) struct Wait {
    /// The first and last positions of ranges.
    pub(super) covered: Vec<(u64, u64)>,
    /// Members and the positions that they have to reach, with one entry for each.
    pub(super) owed: Vec<(usize, u64)>,
    /// A member that continues for an operator, until it has no work left.
    pub(super) going_on: Option<usize>,
    pub(super) has_begun: bool,
    /// Whether it waits for event handlers, too. A command does not: their calls take time.
    pub(super) is_for_all: bool,
    pub(super) outcome: Reactions,
    pub(super) done: Option<oneshot::Sender<Reactions>>,
}

impl Wait {
    pub(super) fn covers(&self, position: u64) -> bool {
        self.covered
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&position))
    }

    /// Covers more positions, and adds the debts of the members for them.
    pub(super) fn cover<'a>(
        &mut self,
        members: &[Member],
        first: u64,
        last: u64,
        aggregate_types: impl Iterator<Item = &'a str> + Clone,
    ) {
        // The effects of reactions follow each other in the journal, so the list stays short.
        let range = self
            .covered
            .iter_mut()
            .find(|(start, end)| (*start..=*end + 1).contains(&first));
        match range {
            Some((_, end)) => *end = last.max(*end),
            None => self.covered.push((first, last)),
        }
        for (index, member) in members.iter().enumerate() {
            let is_awaited = member.is_awaited || self.is_for_all;
            if !is_awaited || !member.subscribes_to_any(aggregate_types.clone()) {
                continue;
            }
            self.came_to(Reactions::Done);
            match member.absence() {
                _ if member.processed >= last => {}
                None => self.owe(index, last),
                Some(outcome) => self.came_to(outcome),
            }
        }
    }

    pub(super) fn owe(&mut self, member: usize, position: u64) {
        match self.owed.iter_mut().find(|(owing, _)| *owing == member) {
            Some((_, owed)) => *owed = position.max(*owed),
            None => self.owed.push((member, position)),
        }
    }

    /// Adds the outcome of a part of the work.
    pub(super) fn came_to(&mut self, outcome: Reactions) {
        self.outcome = self.outcome.and(outcome);
    }

    /// Ends the wait for a member that has stopped.
    pub(super) fn give_up_on(&mut self, member: usize, outcome: Reactions) {
        let owed = self.owed.len();
        self.owed.retain(|(owing, _)| *owing != member);
        let was_going_on = self.going_on.take_if(|going_on| *going_on == member);
        if self.owed.len() < owed || was_going_on.is_some() {
            self.came_to(outcome);
        }
        self.finish_if_done();
    }

    pub(super) fn finish_if_done(&mut self) {
        if self.has_begun
            && self.owed.is_empty()
            && self.going_on.is_none()
            && let Some(done) = self.done.take()
        {
            // The receiver is gone if the caller is gone.
            let _ = done.send(self.outcome);
        }
    }
}
