//! What the process managers of a store have done, and who waits for what they do.
//!
//! A wait covers positions: those of a command's own events, or everything up to the position at which
//! `run_process_managers` was called. It owes each subscribed process manager those positions. When a reaction to a covered
//! event commits, its own events are covered too, so that a wait ends when everything that was caused is done, and only that.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};

use crate::journal::Receipt;

/// What became of the reactions to the events of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reactions {
    /// Nobody waited for them: the command caused no events, no process manager subscribes to them, or the run mode is not
    /// [`RunMode::Inline`](crate::RunMode::Inline).
    NotAwaited,
    /// All reactions to its events, and to theirs, are durable.
    Done,
    /// A process manager that should react is parked at an event that it cannot react to; the others are done. See
    /// [`AggregateStore::process_managers`](crate::AggregateStore::process_managers).
    Parked,
    /// They are not done within the limit of
    /// [`AggregateStoreBuilder::reaction_timeout`](crate::AggregateStoreBuilder::reaction_timeout); they go on.
    TimedOut,
}

/// One process manager, as others see it.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) subscriptions: &'static [&'static str],
    /// The position up to which all its reactions are durable.
    pub(crate) processed: u64,
    /// The event that it is parked at, and why.
    pub(crate) parked: Option<(u64, String)>,
}

impl Member {
    fn subscribes_to_any<'a>(&self, mut aggregate_types: impl Iterator<Item = &'a str>) -> bool {
        aggregate_types.any(|aggregate_type| self.subscriptions.contains(&aggregate_type))
    }
}

/// A reaction that became durable.
pub(crate) struct DurableReaction<'a> {
    /// The position of the event that was reacted to.
    pub(crate) source: u64,
    pub(crate) receipt: Receipt,
    /// The aggregate types of the events that it produced.
    pub(crate) aggregate_types: &'a [Arc<str>],
    pub(crate) dispatched: usize,
    pub(crate) dead_lettered: usize,
}

/// See the [module](self).
pub(crate) struct ReactionHub {
    state: Mutex<HubState>,
    /// Up to where events are to be reacted to, when that is on demand.
    demand: watch::Sender<u64>,
}

#[derive(Default)]
struct HubState {
    members: Vec<Member>,
    waits: HashMap<u64, Wait>,
    next_wait: u64,
    dispatched: usize,
    dead_lettered: usize,
}

struct Wait {
    /// First and last positions.
    covered: Vec<(u64, u64)>,
    /// Members and the positions that they have to reach.
    owed: Vec<(usize, u64)>,
    has_begun: bool,
    outcome: Reactions,
    done: Option<oneshot::Sender<Reactions>>,
}

impl Wait {
    fn covers(&self, position: u64) -> bool {
        self.covered
            .iter()
            .any(|(first, last)| (*first..=*last).contains(&position))
    }

    /// Adds positions, and what the members owe for them.
    fn cover<'a>(
        &mut self,
        members: &[Member],
        first: u64,
        last: u64,
        aggregate_types: impl Iterator<Item = &'a str> + Clone,
    ) {
        self.covered.push((first, last));
        for (index, member) in members.iter().enumerate() {
            if member.processed >= last || !member.subscribes_to_any(aggregate_types.clone()) {
                continue;
            }
            match member.parked {
                None => self.owed.push((index, last)),
                Some(_) => self.outcome = Reactions::Parked,
            }
        }
    }

    fn finish_if_done(&mut self) {
        if self.has_begun
            && self.owed.is_empty()
            && let Some(done) = self.done.take()
        {
            // Nobody listens if the caller is gone.
            let _ = done.send(self.outcome);
        }
    }
}

impl ReactionHub {
    pub(crate) fn new(members: Vec<Member>) -> Self {
        Self {
            state: Mutex::new(HubState {
                members,
                ..HubState::default()
            }),
            demand: watch::Sender::new(0),
        }
    }

    pub(crate) fn members(&self) -> Vec<Member> {
        self.state().members.clone()
    }

    /// Whether any process manager subscribes to the aggregate type.
    pub(crate) fn concerns(&self, aggregate_type: &str) -> bool {
        self.state()
            .members
            .iter()
            .any(|member| member.subscriptions.contains(&aggregate_type))
    }

    pub(crate) fn demand(&self) -> watch::Receiver<u64> {
        self.demand.subscribe()
    }

    /// Demands reactions up to `position`.
    pub(crate) fn raise_demand(&self, position: u64) {
        self.demand.send_if_modified(|demand| {
            let is_higher = position > *demand;
            *demand = position.max(*demand);
            is_higher
        });
    }

    /// A wait that covers nothing yet.
    pub(crate) fn wait(self: &Arc<Self>) -> WaitGuard {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        let id = state.next_wait;
        state.next_wait += 1;
        let wait = Wait {
            covered: Vec::new(),
            owed: Vec::new(),
            has_begun: false,
            outcome: Reactions::Done,
            done: Some(sender),
        };
        state.waits.insert(id, wait);
        WaitGuard {
            hub: Arc::clone(self),
            id,
            done: receiver,
        }
    }

    /// Covers the events of a durable commit, before anybody can react to them.
    pub(crate) fn begin(&self, wait: u64, receipt: &Receipt, aggregate_type: &str) {
        let mut state = self.state();
        let HubState { members, waits, .. } = &mut *state;
        if let Some(wait) = waits.get_mut(&wait) {
            wait.has_begun = true;
            let (first, last) = (receipt.first_position, receipt.last_position());
            wait.cover(members, first, last, std::iter::once(aggregate_type));
            wait.finish_if_done();
        }
    }

    /// Covers everything up to `position`.
    fn begin_until(&self, wait: u64, position: u64) {
        let mut state = self.state();
        let HubState { members, waits, .. } = &mut *state;
        if let Some(wait) = waits.get_mut(&wait) {
            wait.has_begun = true;
            wait.covered.push((0, position));
            for (index, member) in members.iter().enumerate() {
                match member.parked {
                    None if member.processed < position => wait.owed.push((index, position)),
                    None => {}
                    Some(_) => wait.outcome = Reactions::Parked,
                }
            }
            wait.finish_if_done();
        }
    }

    /// Notes a reaction that became durable, before its own events can be reacted to.
    pub(crate) fn reacted(&self, reaction: &DurableReaction<'_>) {
        let mut state = self.state();
        state.dispatched += reaction.dispatched;
        state.dead_lettered += reaction.dead_lettered;
        if reaction.receipt.event_count == 0 {
            return;
        }
        let HubState { members, waits, .. } = &mut *state;
        let (first, last) = (
            reaction.receipt.first_position,
            reaction.receipt.last_position(),
        );
        let types = reaction.aggregate_types.iter().map(|name| &**name);
        let mut is_awaited = false;
        for wait in waits
            .values_mut()
            .filter(|wait| wait.covers(reaction.source))
        {
            wait.cover(members, first, last, types.clone());
            is_awaited = true;
        }
        drop(state);
        if is_awaited {
            self.raise_demand(last);
        }
    }

    /// Notes that all reactions of a member up to `position` are durable.
    pub(crate) fn processed(&self, member: usize, position: u64) {
        let mut state = self.state();
        let HubState { members, waits, .. } = &mut *state;
        if let Some(member) = members.get_mut(member) {
            member.processed = member.processed.max(position);
        }
        for wait in waits.values_mut() {
            wait.owed
                .retain(|(owing, owed)| *owing != member || *owed > position);
            wait.finish_if_done();
        }
    }

    /// Notes that a member stays at the event at `position`.
    pub(crate) fn parked(&self, member: usize, position: u64, reason: &str) {
        let mut state = self.state();
        let HubState { members, waits, .. } = &mut *state;
        if let Some(member) = members.get_mut(member) {
            tracing::error!(
                process_manager = member.name,
                position,
                reason,
                "a process manager is parked"
            );
            member.parked = Some((position, reason.to_owned()));
        }
        for wait in waits.values_mut() {
            let owed = wait.owed.len();
            wait.owed.retain(|(owing, _)| *owing != member);
            if wait.owed.len() < owed {
                wait.outcome = Reactions::Parked;
            }
            wait.finish_if_done();
        }
    }

    /// What was dispatched and dead-lettered since the last call.
    pub(crate) fn take_counts(&self) -> (usize, usize) {
        let mut state = self.state();
        (
            std::mem::take(&mut state.dispatched),
            std::mem::take(&mut state.dead_lettered),
        )
    }

    fn state(&self) -> MutexGuard<'_, HubState> {
        // No code of the user runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who waits; dropping it ends the wait, not the reactions.
pub(crate) struct WaitGuard {
    hub: Arc<ReactionHub>,
    id: u64,
    done: oneshot::Receiver<Reactions>,
}

impl WaitGuard {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Covers everything up to `position`.
    pub(crate) fn begin_until(&self, position: u64) {
        self.hub.begin_until(self.id, position);
    }

    /// Waits until everything that is covered is done.
    pub(crate) async fn done(&mut self) -> Reactions {
        (&mut self.done).await.unwrap_or(Reactions::Parked)
    }
}

impl Drop for WaitGuard {
    fn drop(&mut self) {
        self.hub.state().waits.remove(&self.id);
    }
}
