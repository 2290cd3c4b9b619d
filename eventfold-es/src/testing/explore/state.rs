//! A state of an exploration: its data, and its identity.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use xxhash_rust::xxh3::Xxh3;

use super::handlers::{HandlerState, Task};
use super::plan::Scripted;
use super::search::Kind;
use crate::envelope::CommandEnvelope;
use crate::event::RecordedEvent;
use crate::journal::StreamId;
use crate::runtime::offline::{Offline, Recorded};
use crate::testing::history::BEGIN;

/// A state: of the process manager, and of the world around it.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) stored: Offline,
    /// The events that are still to happen, per stream, as numbers in the pool.
    pub(super) waiting: Vec<(StreamId, VecDeque<u32>)>,
    /// The events that have happened, in order.
    pub(super) delivered: Vec<u32>,
    /// The executed commands, in order.
    pub(super) sent: Vec<u32>,
    pub(super) failures: u32,
    pub(super) timeouts: u32,
    pub(super) crashes: u32,
    pub(super) now: SystemTime,
    /// The event handlers, in the order of the plan.
    pub(super) handlers: Vec<HandlerState>,
}

impl Node {
    pub(super) fn is_at_rest(&self) -> bool {
        let is_idle = self.waiting.iter().all(|(_, events)| events.is_empty())
            && self.handlers.iter().all(HandlerState::is_at_rest);
        let stored = &self.stored;
        is_idle && !stored.has_deadlines() && stored.next_retry().is_none()
            || stored.halted.is_some()
    }

    /// The time of a deadline or of a retry.
    pub(super) fn due(&self, kind: Kind) -> Option<SystemTime> {
        let retry = |stored: &Offline| {
            let (_, due) = stored.next_retry()?;
            Some(UNIX_EPOCH + Duration::from_millis(due))
        };
        match kind {
            Kind::Deadline => {
                let (_, timer) = self.stored.next_deadline()?;
                Some(timer.deadline.due())
            }
            Kind::Retry => retry(&self.stored),
            Kind::Handler(index, Task::Retry) => retry(&self.handlers.get(index)?.stored),
            Kind::Event(_) | Kind::Handler(..) => None,
        }
    }

    /// The stored data of the process manager and of the event handlers.
    pub(super) fn all_stored(&self) -> impl Iterator<Item = &Offline> {
        let handlers = self.handlers.iter().map(|station| &station.stored);
        std::iter::once(&self.stored).chain(handlers)
    }

    /// The identity of the state. Positions count as far as rows name them.
    pub(super) fn hash(&self, outside: &impl Hash) -> u128 {
        let mut hash = Xxh3::new();
        let mut holds = false;
        for stored in self.all_stored() {
            for (key, value) in &stored.rows {
                holds |= key.starts_with(['h', 's']);
                for part in [key, value] {
                    hash.update(&(part.len() as u64).to_le_bytes());
                    hash.update(part.as_bytes());
                }
            }
            hash.update(b"\n");
            hash.update(stored.state.get().as_bytes());
            hash.update(&[u8::from(stored.halted.is_some())]);
        }
        for station in &self.handlers {
            station.hash(&mut hash);
            hash.update(b"\n");
        }
        outside.hash(&mut hash);
        for (_, events) in &self.waiting {
            hash.update(&(events.len() as u64).to_le_bytes());
            for event in events {
                hash.update(&event.to_le_bytes());
            }
        }
        for sent in &self.sent {
            hash.update(&sent.to_le_bytes());
        }
        if holds {
            hash.update(b"\n");
            for event in &self.delivered {
                hash.update(&event.to_le_bytes());
            }
        }
        hash.update(&self.failures.to_le_bytes());
        hash.update(&self.timeouts.to_le_bytes());
        hash.update(&self.crashes.to_le_bytes());
        hash.digest128()
    }
}

/// Events and commands, each once.
#[derive(Default)]
pub(super) struct Pool {
    pub(super) events: Vec<Scripted>,
    pub(super) commands: Vec<Arc<CommandEnvelope>>,
    known: HashMap<String, u32>,
}

impl Pool {
    pub(super) fn event(&mut self, scripted: Scripted) -> u32 {
        let name = format!(
            "e{}\n{}\n{}\n{}",
            scripted.stream.aggregate_type,
            scripted.stream.instance_id,
            scripted.event.event_type,
            scripted.event.data
        );
        let events = &mut self.events;
        *self.known.entry(name).or_insert_with(|| {
            events.push(scripted);
            events.len() as u32 - 1
        })
    }

    pub(super) fn command(&mut self, command: CommandEnvelope) -> u32 {
        let name = format!(
            "c{}\n{}\n{}",
            command.aggregate_type, command.instance_id, command.command
        );
        let commands = &mut self.commands;
        *self.known.entry(name).or_insert_with(|| {
            commands.push(Arc::new(command));
            commands.len() as u32 - 1
        })
    }

    /// The event at a position.
    pub(super) fn recorded(&self, delivered: &[u32], position: u64) -> Option<Recorded> {
        let index = usize::try_from(position).ok()?.checked_sub(1)?;
        let number = *delivered.get(index)?;
        let Scripted { stream, event } = self.events.get(number as usize)?;
        let before = delivered.iter().take(index);
        let of_stream = |number: &&u32| {
            let event = self.events.get(**number as usize);
            event.is_some_and(|event| event.stream == *stream)
        };
        let version = before.filter(of_stream).count() as u64 + 1;
        let mut event = RecordedEvent::new(position, version, (**event).clone());
        event.event.id = Some(format!("event-{position}"));
        event.event.ts = BEGIN.as_secs();
        Some(Arc::new((stream.clone(), event)))
    }
}
