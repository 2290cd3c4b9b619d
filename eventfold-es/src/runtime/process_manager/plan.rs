//! The content of one commit: the commands of one reaction, or another attempt of one command.

use std::sync::Arc;

use smallvec::SmallVec;

use super::super::origin::{Cause, command_id};
use super::definition::{AnyAction, Sent};
use super::rows::{BEHIND_EVENT, CommandRow, ReactionRow, TimerRow, held_key};
use crate::envelope::CommandEnvelope;
use crate::journal::StreamId;
use crate::process_manager::{Effects, Failure, SourceEvent};

/// Addresses the envelopes of a process manager, for the driver.
pub(crate) trait Post {
    /// A command with its address.
    type Letter;

    /// The command of a reaction.
    fn typed(&self, envelope: Sent) -> Self::Letter;

    /// An instance reacts. Its envelopes follow.
    fn reacted(&self, _key: &str, _effects: &Effects<Sent>) {}

    /// The action for a failure, if the value of an event handler decides on it.
    fn on_failure(&self, _failure: &Failure<'_>) -> Option<AnyAction> {
        None
    }

    /// A failure is judged.
    fn judged(&self, _failure: &Failure<'_>, _action: &AnyAction) {}

    /// A stored command.
    fn stored(&self, envelope: CommandEnvelope) -> Self::Letter;
}

/// A command before its execution, apart from its envelope.
pub(crate) struct Planned {
    pub(super) command_id: String,
    pub(crate) key: Arc<str>,
    pub(super) generation: u64,
    pub(crate) is_compensation: bool,
    /// The row with its earlier attempts, if there were any.
    pub(super) before: Option<Box<CommandRow>>,
}

/// The content of one commit, before it is submitted.
pub(crate) struct Draft<L> {
    /// The position of the process manager after this commit.
    pub(super) position: u64,
    /// The number in the ids of its commands: the position of the event, or the due time of the deadline.
    about: u64,
    /// The identity of the deadline among those of its instance.
    deadline: Option<String>,
    pub(super) cause: Cause,
    pub(super) source: Source,
    /// Most reactions send one command.
    pub(crate) commands: SmallVec<[(L, Planned); 1]>,
    /// Whether an operator asked for it and receives its result.
    pub(super) is_asked_for: bool,
    /// The key under which the deadline or command was held, if it was.
    pub(super) held: Option<Box<str>>,
    /// The dead letter that is redriven, with its key.
    pub(super) letter: Option<(Box<str>, ReactionRow)>,
    /// Whether the redriven reaction has failed again.
    pub(super) has_failed: bool,
}

/// The source event of a reaction. Its description is built on demand.
pub(super) enum Source {
    Event(Arc<(StreamId, crate::event::RecordedEvent)>),
    Known(Box<SourceEvent>),
    Nothing,
}

impl Source {
    pub(super) fn event(&self) -> SourceEvent {
        match self {
            Self::Event(event) => {
                let (stream, event) = &**event;
                SourceEvent::of(&stream.aggregate_type, &stream.instance_id, event)
            }
            Self::Known(source) => (**source).clone(),
            Self::Nothing => SourceEvent::none(),
        }
    }
}

/// The result of an operator's request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    pub(crate) done: usize,
    pub(crate) failed: usize,
    /// The ids of dead letters that failed because their rows do not decode.
    pub(crate) unreadable: Vec<String>,
    /// Whether the request ended before all of its work was done.
    pub(crate) is_interrupted: bool,
}

impl Report {
    pub(super) fn new(done: usize, failed: usize) -> Self {
        Self {
            done,
            failed,
            ..Self::default()
        }
    }

    /// Adds the report of other work.
    pub(super) fn add(&mut self, other: Self) {
        self.done += other.done;
        self.failed += other.failed;
        self.unreadable.extend(other.unreadable);
    }

    /// A report of this much work, without a failure.
    pub(super) fn done(done: usize) -> Self {
        Self::new(done, 0)
    }
}

impl<L> Draft<L> {
    pub(super) fn new(position: u64, about: u64, cause: Cause, source: Source) -> Self {
        Self {
            position,
            about,
            deadline: None,
            cause,
            source,
            commands: SmallVec::new(),
            is_asked_for: false,
            held: None,
            letter: None,
            has_failed: false,
        }
    }

    /// An empty draft for the reaction to an event.
    pub(super) fn of_event(
        position: u64,
        event: &Arc<(StreamId, crate::event::RecordedEvent)>,
    ) -> Self {
        let source = Source::Event(Arc::clone(event));
        Self::new(position, event.1.position, Cause::of(&event.1), source)
    }

    /// An empty draft for the reaction to a deadline.
    pub(super) fn of_deadline(position: u64, timer: &TimerRow) -> Self {
        let deadline = &timer.deadline;
        let cause = Cause::of_deadline(deadline, timer.depth);
        let source = Source::Known(Box::new(deadline.source.clone()));
        Self {
            deadline: Some(timer.identity()),
            ..Self::new(position, deadline.due_ms, cause, source)
        }
    }

    /// A draft for another attempt of a command.
    pub(super) fn of_command(position: u64, row: CommandRow, letter: L) -> Self {
        let source = Source::Known(Box::new(row.source.clone()));
        let mut draft = Self::new(position, row.source.position, row.cause.clone(), source);
        let planned = Planned {
            command_id: row.command_id.clone(),
            key: row.key.as_str().into(),
            generation: row.generation,
            is_compensation: row.is_compensation,
            before: Some(Box::new(row)),
        };
        draft.commands.push((letter, planned));
        draft
    }

    /// The position of the source event. If the work is late, it lies before the position of the process manager.
    pub(super) fn source_position(&self) -> u64 {
        match &self.source {
            Source::Event(event) => event.1.position,
            Source::Known(source) => source.position,
            Source::Nothing => self.position,
        }
    }

    /// Plans the commands of a reaction.
    pub(super) fn plan(
        &mut self,
        process_manager: &str,
        key: &str,
        generation: u64,
        letters: impl IntoIterator<Item = L>,
    ) {
        // A key contains no line break. A deadline that is armed again for the same time has another identity.
        let instance = match &self.deadline {
            None => key.to_owned(),
            Some(deadline) => format!("{key}\n{deadline}"),
        };
        self.plan_named(process_manager, &instance, key, generation, false, letters);
    }

    /// Plans the commands that replace a reaction after its `attempt`th failure.
    pub(super) fn plan_compensation(
        &mut self,
        process_manager: &str,
        key: &str,
        generation: u64,
        attempt: u32,
        letters: impl IntoIterator<Item = L>,
    ) {
        // The reaction may succeed later, and its own commands need other ids.
        let deadline = self.deadline.as_deref().unwrap_or_default();
        let instance = format!("{key}\n\n{attempt}\n{deadline}");
        self.plan_named(process_manager, &instance, key, generation, true, letters);
    }

    /// Plans commands with ids that are derived from the name `instance`.
    fn plan_named(
        &mut self,
        process_manager: &str,
        instance: &str,
        key: &str,
        generation: u64,
        is_compensation: bool,
        letters: impl IntoIterator<Item = L>,
    ) {
        let mut shared: Option<Arc<str>> = None;
        for (index, letter) in letters.into_iter().enumerate() {
            let key = shared.get_or_insert_with(|| key.into());
            let planned = Planned {
                command_id: command_id(process_manager, instance, generation, self.about, index),
                key: Arc::clone(key),
                generation,
                is_compensation,
                before: None,
            };
            self.commands.push((letter, planned));
        }
    }

    /// The key under which a command is held: after the work that sent it, and before later work.
    pub(super) fn place_of(&self, row: &CommandRow, is_again: bool, index: usize) -> Box<str> {
        match &self.held {
            Some(held) if is_again => held.clone(),
            Some(held) => format!("{held}/{index:08x}{}", row.command_id).into(),
            None => {
                let position = match &self.source {
                    Source::Event(event) => event.1.position,
                    Source::Known(_) | Source::Nothing => self.position,
                };
                held_key(&row.key, position, BEHIND_EVENT + index, &row.command_id)
            }
        }
    }
}
