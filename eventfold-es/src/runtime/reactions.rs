//! The reactions of a store's process managers, and the callers that wait for them.
//!
//! A wait covers positions: the events of one command, or all events up to the position of a call of `run_process_managers`. It owes each
//! subscribed process manager those positions. When a reaction to a covered event commits, the wait covers its events, too. So a wait ends
//! when all effects of the covered events are done, and needs nothing else. For example, a wait for an order also covers the payment that
//! the order causes.
//!
//! The wait of an operator covers the commits that serve the request. After a request to continue, it covers all work of the process
//! manager until none is left.

mod outcome;
#[cfg(test)]
mod tests;
mod wait;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};

pub use outcome::Reactions;
pub(crate) use outcome::{Setback, Stay};
use wait::Wait;

use super::process_manager::{Tallied, Tally, TallyChange};
use crate::error::StoreError;
use crate::journal::Receipt;
use crate::replication::Role;

/// The public state of a process manager.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) subscriptions: &'static [&'static str],
    /// Whether commands wait for it. They do not wait for event handlers.
    pub(crate) is_awaited: bool,
    /// The position up to which all its reactions are durable.
    pub(crate) processed: u64,
    /// The halt of the whole process manager, if it has halted.
    pub(crate) stays: Option<Stay>,
    /// Whether an operator has paused the process manager.
    pub(crate) is_paused: bool,
    /// The number of events without an open instance, since the store was opened.
    pub(crate) ignored: u64,
    /// The number of events, deadlines and commands that the policy skipped, since the store was opened.
    pub(crate) skipped: u64,
    pub(crate) presence: Presence,
}

/// The place where the task of a process manager runs.
#[derive(Debug, Clone)]
pub(crate) enum Presence {
    /// On this node.
    Here,
    /// On the leader. When this node has become the leader, the task is about to run here.
    Elsewhere(watch::Receiver<Role>),
    /// Nowhere. It has ended on this node, for this reason.
    Ended(StoreError),
}

impl Presence {
    pub(crate) fn is_elsewhere(&self) -> bool {
        matches!(self, Self::Elsewhere(_))
    }

    /// The reason why it has ended.
    pub(crate) fn ended(&self) -> Option<&StoreError> {
        match self {
            Self::Ended(reason) => Some(reason),
            Self::Here | Self::Elsewhere(_) => None,
        }
    }
}

impl Member {
    /// Whether its policy retries the event or the deadline at which it has halted.
    pub(crate) fn is_retried(&self) -> bool {
        let stay = self.stays.as_ref();
        stay.is_some_and(|stay| stay.outcome == Reactions::Retrying)
    }

    /// The outcome for callers that wait on a process manager that has stopped.
    fn absence(&self) -> Option<Reactions> {
        match (&self.stays, &self.presence) {
            (Some(stay), _) => Some(stay.outcome),
            (None, Presence::Here) => self.is_paused.then_some(Reactions::Paused),
            (None, Presence::Elsewhere(role)) => {
                (!role.borrow().is_leader()).then_some(Reactions::Closed)
            }
            (None, Presence::Ended(_)) => Some(Reactions::Closed),
        }
    }

    fn subscribes_to_any<'a>(&self, mut aggregate_types: impl Iterator<Item = &'a str>) -> bool {
        aggregate_types.any(|aggregate_type| self.subscriptions.contains(&aggregate_type))
    }
}

/// A reaction that became durable.
pub(crate) struct DurableReaction<'a> {
    pub(crate) member: usize,
    /// The wait of the operator whose request the reaction serves.
    pub(crate) operator: Option<u64>,
    /// The position of the source event.
    pub(crate) source: u64,
    pub(crate) receipt: Receipt,
    /// The aggregate types of the events that the reaction caused.
    pub(crate) aggregate_types: &'a [Arc<str>],
    pub(crate) dispatched: usize,
    pub(crate) dead_lettered: usize,
    /// The number of held events without an open instance at the time of their release.
    pub(crate) ignored: u64,
    /// The amount of work that the policy skipped.
    pub(crate) skipped: u64,
    /// Its unfinished work, including setbacks that were found earlier.
    pub(crate) setbacks: &'a [Setback],
    /// Its effects on the counts of exceptional work.
    pub(crate) tally: &'a [TallyChange],
}

impl DurableReaction<'_> {
    /// Whether the reaction was done for the operator with this wait.
    fn is_for(&self, id: u64, wait: &Wait) -> bool {
        self.operator == Some(id) || wait.going_on == Some(self.member)
    }
}

/// See the [module](self).
pub(crate) struct ReactionHub {
    state: Mutex<HubState>,
    /// The last position to handle, if reactions run on demand.
    demand: watch::Sender<u64>,
}

#[derive(Default)]
struct HubState {
    members: Vec<Member>,
    /// The exceptional work of each member.
    tallies: Vec<Tally>,
    waits: HashMap<u64, Wait>,
    next_wait: u64,
    dispatched: usize,
    dead_lettered: usize,
    /// The last position that a durable reaction caused. The journal announces it a moment later.
    caused: u64,
}

impl ReactionHub {
    pub(crate) fn new(members: Vec<Member>, tallies: Vec<Tally>) -> Self {
        Self {
            state: Mutex::new(HubState {
                members,
                tallies,
                ..HubState::default()
            }),
            demand: watch::Sender::new(0),
        }
    }

    pub(crate) fn members(&self) -> Vec<Member> {
        self.state().members.clone()
    }

    /// The counts of exceptional work of each member.
    pub(crate) fn tallied(&self) -> Vec<Tallied> {
        self.state().tallies.iter().map(Tally::counts).collect()
    }

    /// Whether a process manager subscribes to the aggregate type.
    pub(crate) fn concerns(&self, aggregate_type: &str) -> bool {
        self.state()
            .members
            .iter()
            .any(|member| member.is_awaited && member.subscriptions.contains(&aggregate_type))
    }

    pub(crate) fn demand(&self) -> watch::Receiver<u64> {
        self.demand.subscribe()
    }

    /// Demands reactions to all events up to `position`.
    pub(crate) fn raise_demand(&self, position: u64) {
        self.demand.send_if_modified(|demand| {
            let is_higher = position > *demand;
            *demand = position.max(*demand);
            is_higher
        });
    }

    /// Creates a wait that covers nothing yet.
    pub(crate) fn wait(self: &Arc<Self>) -> WaitGuard {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        let id = state.next_wait;
        state.next_wait += 1;
        let wait = Wait {
            covered: Vec::new(),
            owed: Vec::new(),
            going_on: None,
            has_begun: false,
            is_for_all: false,
            outcome: Reactions::NotAwaited,
            done: Some(sender),
        };
        state.waits.insert(id, wait);
        WaitGuard {
            hub: Arc::clone(self),
            id,
            done: receiver,
        }
    }

    /// Covers the events of a durable commit, before any reaction to them can begin.
    pub(crate) fn begin<'a>(
        &self,
        wait: u64,
        receipt: &Receipt,
        aggregate_types: impl Iterator<Item = &'a str> + Clone,
    ) {
        let mut state = self.state();
        let HubState { members, waits, .. } = &mut *state;
        if let Some(wait) = waits.get_mut(&wait) {
            wait.has_begun = true;
            let (first, last) = (receipt.first_position, receipt.last_position());
            wait.cover(members, first, last, aggregate_types);
            wait.finish_if_done();
        }
    }

    /// Covers everything up to `position`, and all events that were caused before this call. Returns the last covered position.
    fn begin_until(&self, wait: u64, position: u64) -> u64 {
        let mut state = self.state();
        // A reaction that is durable and not yet announced was recorded before this wait existed, so its events are covered here.
        let position = position.max(state.caused);
        let HubState { members, waits, .. } = &mut *state;
        if let Some(wait) = waits.get_mut(&wait) {
            wait.has_begun = true;
            wait.is_for_all = true;
            wait.covered.push((0, position));
            for (index, member) in members.iter().enumerate() {
                match member.absence() {
                    None if member.processed < position => wait.owe(index, position),
                    Some(outcome) if member.processed < position => wait.came_to(outcome),
                    None | Some(_) => {}
                }
            }
            wait.finish_if_done();
        }
        position
    }

    /// Covers older durable events of `aggregate_types` from `first` to `last`, and the effects of earlier reactions to them. The positions
    /// of these effects are not recorded. So the wait covers all positions up to `durable`, which include them.
    fn begin_again<'a>(
        &self,
        wait: u64,
        (first, last): (u64, u64),
        aggregate_types: impl Iterator<Item = &'a str> + Clone,
        durable: u64,
    ) {
        let mut state = self.state();
        let durable = durable.max(state.caused);
        let HubState { members, waits, .. } = &mut *state;
        if let Some(wait) = waits.get_mut(&wait) {
            wait.has_begun = true;
            wait.cover(members, first, last, aggregate_types);
            wait.covered.push((first, durable));
            for (index, member) in members.iter().enumerate() {
                let is_behind = member.is_awaited && member.processed < durable;
                if is_behind && member.absence().is_none() {
                    wait.owe(index, durable);
                }
            }
            wait.finish_if_done();
        }
    }

    /// Records a reaction that became durable, before any reaction to its events can begin.
    pub(crate) fn reacted(&self, reaction: &DurableReaction<'_>) {
        let mut state = self.state();
        state.dispatched += reaction.dispatched;
        state.dead_lettered += reaction.dead_lettered;
        let member = state.members.get_mut(reaction.member);
        let is_awaited = member.as_ref().is_none_or(|member| member.is_awaited);
        if let Some(member) = member {
            member.ignored += reaction.ignored;
            member.skipped += reaction.skipped;
        }
        if let Some(tally) = state.tallies.get_mut(reaction.member) {
            reaction
                .tally
                .iter()
                .for_each(|change| tally.apply(*change));
        }
        for Setback { position, outcome } in reaction.setbacks {
            for (id, wait) in &mut state.waits {
                let is_covered = (is_awaited || wait.is_for_all)
                    && position.is_some_and(|position| wait.covers(position));
                if is_covered || reaction.is_for(*id, wait) {
                    wait.came_to(*outcome);
                }
            }
        }
        if reaction.receipt.event_count == 0 {
            return;
        }
        let (first, last) = (
            reaction.receipt.first_position,
            reaction.receipt.last_position(),
        );
        state.caused = last.max(state.caused);
        let HubState { members, waits, .. } = &mut *state;
        let types = reaction.aggregate_types.iter().map(|name| &**name);
        let mut has_waits = false;
        for (id, wait) in waits {
            let is_covered = (is_awaited || wait.is_for_all) && wait.covers(reaction.source);
            if is_covered || reaction.is_for(*id, wait) {
                wait.cover(members, first, last, types.clone());
                has_waits = true;
            }
        }
        drop(state);
        if has_waits {
            self.raise_demand(last);
        }
    }

    /// Records that a member continues for an operator, until [`has_gone_on`](Self::has_gone_on). If the member has stopped, the wait gets
    /// that outcome instead.
    pub(crate) fn goes_on(&self, wait: u64, member: usize) {
        let mut state = self.state();
        let HubState { members, waits, .. } = &mut *state;
        let absence = members.get(member).and_then(Member::absence);
        if let Some(wait) = waits.get_mut(&wait) {
            match absence {
                Some(outcome) => wait.came_to(outcome),
                None => {
                    wait.came_to(Reactions::Done);
                    wait.going_on = Some(member);
                }
            }
        }
    }

    /// Records that a member has no work left.
    pub(crate) fn has_gone_on(&self, member: usize) {
        for wait in self.state().waits.values_mut() {
            wait.going_on.take_if(|going_on| *going_on == member);
            wait.finish_if_done();
        }
    }

    /// Records that all reactions of a member up to `position` are durable.
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

    /// Records the halt of a member.
    pub(crate) fn stays(&self, member: usize, stay: Stay) {
        tracing::error!(
            process_manager = self.name_of(member),
            position = stay.position,
            reason = stay.reason,
            "a process manager is parked"
        );
        let mut state = self.state();
        let HubState { members, waits, .. } = &mut *state;
        let outcome = stay.outcome;
        if let Some(member) = members.get_mut(member) {
            member.stays = Some(stay);
        }
        for wait in waits.values_mut() {
            wait.give_up_on(member, outcome);
        }
    }

    /// Records the end of a halt.
    pub(crate) fn unparked(&self, member: usize) {
        if let Some(member) = self.state().members.get_mut(member) {
            member.stays = None;
        }
        tracing::info!(
            process_manager = self.name_of(member),
            "a parked process manager continues"
        );
    }

    /// The name is read first, because nothing is logged under the lock: a subscriber of `tracing` is user code.
    fn name_of(&self, member: usize) -> &'static str {
        let state = self.state();
        let member = state.members.get(member);
        member.map_or("", |member| member.name)
    }

    /// Records whether a member is paused. No wait continues for a paused member.
    pub(crate) fn paused(&self, member: usize, is_paused: bool) {
        let mut state = self.state();
        let HubState { members, waits, .. } = &mut *state;
        let found = members.get_mut(member);
        let was_paused = found.map(|found| std::mem::replace(&mut found.is_paused, is_paused));
        if is_paused {
            for wait in waits.values_mut() {
                wait.give_up_on(member, Reactions::Paused);
            }
        }
        drop(state);
        if was_paused != Some(is_paused) {
            let process_manager = self.name_of(member);
            match is_paused {
                true => tracing::info!(process_manager, "a process manager is paused"),
                false => tracing::info!(process_manager, "a process manager is resumed"),
            }
        }
    }

    /// Counts an event without an open instance.
    pub(crate) fn ignored(&self, member: usize) {
        if let Some(member) = self.state().members.get_mut(member) {
            member.ignored += 1;
        }
    }

    /// Records a panic of user code outside a guard. It halts the whole process manager.
    pub(crate) fn panicked(&self, member: usize, panicked: &StoreError) {
        let next = self
            .state()
            .members
            .get(member)
            .map(|one| one.processed + 1);
        let stay = Stay {
            position: next.unwrap_or_default(),
            reason: format!("{panicked}; at this event or a later one"),
            outcome: Reactions::Parked,
        };
        self.stays(member, stay);
    }

    /// Records that the task of a member has ended.
    pub(crate) fn ended(&self, member: usize, reason: StoreError) {
        let mut state = self.state();
        let HubState { members, waits, .. } = &mut *state;
        if let Some(member) = members.get_mut(member) {
            member.presence = Presence::Ended(reason);
        }
        for wait in waits.values_mut() {
            wait.give_up_on(member, Reactions::Closed);
        }
    }

    /// Records that a member runs on the leader, because this node is not the leader any more. Nothing of it is kept but the progress.
    pub(crate) fn leaves(&self, member: usize, role: watch::Receiver<Role>) {
        let mut state = self.state();
        let HubState {
            members,
            tallies,
            waits,
            ..
        } = &mut *state;
        if let Some(member) = members.get_mut(member) {
            member.presence = Presence::Elsewhere(role);
            member.stays = None;
            member.is_paused = false;
        }
        if let Some(tally) = tallies.get_mut(member) {
            *tally = Tally::default();
        }
        for wait in waits.values_mut() {
            wait.give_up_on(member, Reactions::Closed);
        }
    }

    /// Records that a member runs on this node, behind its durable progress.
    pub(crate) fn enters(&self, member: usize, position: u64, tally: Tally) {
        let mut state = self.state();
        if let Some(member) = state.members.get_mut(member) {
            member.presence = Presence::Here;
            member.processed = position;
        }
        if let Some(present) = state.tallies.get_mut(member) {
            *present = tally;
        }
        drop(state);
        self.processed(member, position);
    }

    /// The reason why a member has ended, if one has.
    pub(crate) fn ended_because(&self) -> Option<StoreError> {
        let state = self.state();
        let mut members = state.members.iter();
        members.find_map(|member| member.presence.ended().cloned())
    }

    /// The numbers of dispatched and dead-lettered commands since the last call.
    pub(crate) fn take_counts(&self) -> (usize, usize) {
        let mut state = self.state();
        (
            std::mem::take(&mut state.dispatched),
            std::mem::take(&mut state.dead_lettered),
        )
    }

    fn state(&self) -> MutexGuard<'_, HubState> {
        // No user code runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A waiting caller. Dropping the guard ends the wait, not the reactions.
pub(crate) struct WaitGuard {
    hub: Arc<ReactionHub>,
    id: u64,
    done: oneshot::Receiver<Reactions>,
}

impl WaitGuard {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Covers only the commits that serve the operator's request.
    pub(crate) fn begin(&self) {
        if let Some(wait) = self.hub.state().waits.get_mut(&self.id) {
            wait.has_begun = true;
            wait.finish_if_done();
        }
    }

    /// Covers everything up to `position`, and all events that were caused before this call. Returns the last covered position.
    pub(crate) fn begin_until(&self, position: u64) -> u64 {
        self.hub.begin_until(self.id, position)
    }

    /// Covers older events of `aggregate_types` at these positions, and the effects of earlier reactions to them up to `durable`.
    pub(crate) fn begin_again<'a>(
        &self,
        positions: (u64, u64),
        aggregate_types: impl Iterator<Item = &'a str> + Clone,
        durable: u64,
    ) {
        self.hub
            .begin_again(self.id, positions, aggregate_types, durable);
    }

    /// Waits until all covered work is done.
    pub(crate) async fn done(&mut self) -> Reactions {
        (&mut self.done).await.unwrap_or(Reactions::Parked)
    }
}

impl Drop for WaitGuard {
    fn drop(&mut self) {
        self.hub.state().waits.remove(&self.id);
    }
}
