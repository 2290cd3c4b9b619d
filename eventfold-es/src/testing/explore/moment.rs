//! A state of an exploration, for its invariants.

use std::fmt::Display;
use std::marker::PhantomData;

use super::search::{Node, Search};
use crate::aggregate::Aggregate;
use crate::envelope::DispatchTarget;
use crate::event::DomainEvent;
use crate::process_manager::ProcessManager;

/// One state of a process manager and of its world.
pub struct Moment<'a, PM> {
    pub(super) search: &'a Search<'a, PM>,
    pub(super) node: &'a Node,
    pub(super) process_manager: PhantomData<fn() -> PM>,
}

impl<PM: ProcessManager> Moment<'_, PM> {
    /// The state of the instance `key`, if it is open. Without `key`, the key is empty.
    #[must_use]
    pub fn state(&self, key: impl Display) -> Option<PM> {
        let key = key.to_string();
        let mut instances = self.node.stored.instances::<PM>();
        let (_, state) = instances.find(|(found, _)| *found == key)?;
        serde_json::from_str(state?.get()).ok()
    }

    /// The keys of the open instances, in order.
    #[must_use]
    pub fn open_instances(&self) -> Vec<&str> {
        let instances = self.node.stored.instances::<PM>();
        let open = instances.filter(|(_, state)| state.is_some());
        open.map(|(key, _)| key).collect()
    }

    /// The executed commands for `A`, in order, each with the id of its target.
    #[must_use]
    pub fn sent<A: DispatchTarget>(&self) -> Vec<(String, A::Command)> {
        let sent = self.node.sent.iter();
        let commands = sent.filter_map(|sent| self.search.command(*sent));
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
        let events =
            positions.filter_map(|position| self.search.recorded(&self.node.delivered, position));
        let of_type = events.filter(|event| *event.0.aggregate_type == *A::AGGREGATE_TYPE);
        of_type
            .filter_map(|event| {
                let decoded = A::DomainEvent::from_event(&event.1).ok()?;
                Some((event.0.instance_id.to_string(), decoded))
            })
            .collect()
    }

    /// The number of dead letters.
    #[must_use]
    pub fn dead_letters(&self) -> usize {
        self.node.stored.of_kind("d").count()
    }

    /// The number of parked instances and held streams, and 1 more if the process manager has halted as a whole.
    #[must_use]
    pub fn parked(&self) -> usize {
        self.node.stored.parked() + usize::from(self.node.stored.halted.is_some())
    }

    /// Whether no event, deadline or retry is left.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.node.is_at_rest()
    }
}

impl<PM> std::fmt::Debug for Moment<'_, PM> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rows = &self.node.stored.rows;
        f.debug_struct("Moment").field("rows", rows).finish()
    }
}
