//! A state of an exploration, for its invariants.

use std::cell::RefCell;
use std::fmt::Display;
use std::marker::PhantomData;

use super::state::{Node, Pool};
use crate::aggregate::Aggregate;
use crate::envelope::DispatchTarget;
use crate::event::DomainEvent;
use crate::process_manager::ProcessManager;

/// One state of a process manager, of the event handlers beside it, and of the world `W` outside.
pub struct Moment<'a, PM, W = ()> {
    pub(super) pool: &'a RefCell<Pool>,
    pub(super) node: &'a Node,
    pub(super) outside: &'a W,
    pub(super) process_manager: PhantomData<fn() -> PM>,
}

impl<PM: ProcessManager, W> Moment<'_, PM, W> {
    /// The world outside, which the calls of event handlers have changed.
    #[must_use]
    pub fn outside(&self) -> &W {
        self.outside
    }

    /// The state of the instance `key`, if it is open. Without `key`, the key is empty.
    #[must_use]
    pub fn state(&self, key: impl Display) -> Option<PM> {
        let key = key.to_string();
        let mut instances = self.node.stored.instances();
        let (_, state) = instances.find(|(found, _)| *found == key)?;
        serde_json::from_str(state?.get()).ok()
    }

    /// The keys of the open instances, in order.
    #[must_use]
    pub fn open_instances(&self) -> Vec<&str> {
        let instances = self.node.stored.instances();
        let open = instances.filter(|(_, state)| state.is_some());
        open.map(|(key, _)| key).collect()
    }

    /// The executed commands for `A`, in order, each with the id of its target.
    #[must_use]
    pub fn sent<A: DispatchTarget>(&self) -> Vec<(String, A::Command)> {
        let pool = self.pool.borrow();
        let sent = self.node.sent.iter();
        let commands = sent.filter_map(|sent| pool.commands.get(*sent as usize));
        let of_type = commands.filter(|command| command.aggregate_type == A::AGGREGATE_TYPE);
        of_type
            .filter_map(|command| {
                let decoded = serde_json::from_value(command.command.clone()).ok()?;
                Some((command.instance_id.clone(), decoded))
            })
            .collect()
    }

    /// The events of `A` that have happened, in order, each with the id of its instance.
    #[must_use]
    pub fn happened<A: Aggregate>(&self) -> Vec<(String, A::DomainEvent)> {
        let positions = 1..=self.node.delivered.len() as u64;
        let pool = self.pool.borrow();
        let delivered = &self.node.delivered;
        let events = positions.filter_map(|position| pool.recorded(delivered, position));
        let of_type = events.filter(|event| *event.0.aggregate_type == *A::AGGREGATE_TYPE);
        of_type
            .filter_map(|event| {
                let decoded = A::DomainEvent::from_event(&event.1).ok()?;
                Some((event.0.instance_id.to_string(), decoded))
            })
            .collect()
    }

    /// The number of dead letters, also of event handlers.
    #[must_use]
    pub fn dead_letters(&self) -> usize {
        let letters = self.node.all_stored().map(|stored| stored.of_kind("d"));
        letters.map(Iterator::count).sum()
    }

    /// The number of parked instances, keys and held streams, and 1 more for the process manager and for each event handler that has
    /// halted as a whole.
    #[must_use]
    pub fn parked(&self) -> usize {
        let all = self.node.all_stored();
        all.map(|stored| stored.parked() + usize::from(stored.halted.is_some()))
            .sum()
    }

    /// Whether no event, deadline, retry or call is left.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.node.is_at_rest()
    }
}

impl<PM, W> std::fmt::Debug for Moment<'_, PM, W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rows = &self.node.stored.rows;
        f.debug_struct("Moment").field("rows", rows).finish()
    }
}
