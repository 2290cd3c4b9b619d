//! The content of one commit: the commands of one reaction, or another attempt of one command.

use std::sync::Arc;

use smallvec::SmallVec;

use super::super::guarded::{Kept, guard};
use super::super::origin::{Cause, command_id};
use super::super::routes::Stage;
use super::super::staging::{Letter, Undeliverable};
use super::ProcessManagerRunner;
use super::rows::{BEHIND_EVENT, CommandRow, ReactionRow, TimerRow, held_key};
use crate::command::CommandContext;
use crate::envelope::{CommandEnvelope, Dispatch};
use crate::journal::StreamId;
use crate::process_manager::{ProcessManager, SourceEvent};

/// A command before its execution.
pub(super) struct Planned {
    pub(super) letter: Letter,
    pub(super) command_id: String,
    pub(super) key: Arc<str>,
    pub(super) generation: u64,
    pub(super) is_compensation: bool,
    /// The row with its earlier attempts, if there were any.
    pub(super) before: Option<Box<CommandRow>>,
}

/// The content of one commit, before it is submitted.
pub(super) struct Draft {
    /// The position of the process manager after this commit.
    pub(super) position: u64,
    /// The number in the ids of its commands: the position of the event, or the due time of the deadline.
    about: u64,
    /// The identity of the deadline among those of its instance.
    deadline: Option<String>,
    pub(super) cause: Cause,
    pub(super) source: Source,
    /// Most reactions send one command.
    pub(super) planned: SmallVec<[Planned; 1]>,
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

    /// A report of this much work, without a failure.
    pub(super) fn done(done: usize) -> Self {
        Self::new(done, 0)
    }
}

impl Draft {
    pub(super) fn new(position: u64, about: u64, cause: Cause, source: Source) -> Self {
        Self {
            position,
            about,
            deadline: None,
            cause,
            source,
            planned: SmallVec::new(),
            is_asked_for: false,
            held: None,
            letter: None,
            has_failed: false,
        }
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

    /// The position of the source event. If the work is late, it lies before the position of the process manager.
    pub(super) fn source_position(&self) -> u64 {
        match &self.source {
            Source::Event(event) => event.1.position,
            Source::Known(source) => source.position,
            Source::Nothing => self.position,
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

impl<PM: ProcessManager> ProcessManagerRunner<PM> {
    /// Plans the commands of a reaction.
    pub(super) fn plan(
        &self,
        draft: &mut Draft,
        key: &Arc<str>,
        generation: u64,
        envelopes: Vec<Kept<PM::Envelope>>,
    ) {
        // A key contains no line break. A deadline that is armed again for the same time has another identity.
        let instance = match &draft.deadline {
            None => String::from(&**key),
            Some(deadline) => format!("{key}\n{deadline}"),
        };
        self.plan_named(draft, &instance, key, generation, false, envelopes);
    }

    /// Plans the commands that replace a reaction after its `attempt`th failure.
    pub(super) fn plan_compensation(
        &self,
        draft: &mut Draft,
        key: &Arc<str>,
        generation: u64,
        attempt: usize,
        envelopes: Vec<Kept<PM::Envelope>>,
    ) {
        // The reaction may succeed later, and its own commands need other ids.
        let instance = match &draft.deadline {
            None => format!("{key}\n\n{attempt}\n"),
            Some(deadline) => format!("{key}\n\n{attempt}\n{deadline}"),
        };
        self.plan_named(draft, &instance, key, generation, true, envelopes);
    }

    /// Plans commands with ids that are derived from the name `instance`.
    fn plan_named(
        &self,
        draft: &mut Draft,
        instance: &str,
        key: &Arc<str>,
        generation: u64,
        is_compensation: bool,
        envelopes: Vec<Kept<PM::Envelope>>,
    ) {
        for (index, envelope) in envelopes.into_iter().enumerate() {
            draft.planned.push(Planned {
                letter: self.route(envelope),
                command_id: command_id(PM::NAME, instance, generation, draft.about, index),
                key: Arc::clone(key),
                generation,
                is_compensation,
                before: None,
            });
        }
    }

    /// Plans another attempt of a command.
    pub(super) fn plan_again(&self, draft: &mut Draft, row: CommandRow) {
        let letter = match row.envelope.clone().route(self.stage()) {
            Ok(staged) => Letter::Staged(staged),
            Err(undeliverable) => Letter::Dead(undeliverable),
        };
        draft.planned.push(Planned {
            letter,
            command_id: row.command_id.clone(),
            key: row.key.as_str().into(),
            generation: row.generation,
            is_compensation: row.is_compensation,
            before: Some(Box::new(row)),
        });
    }

    pub(super) fn stage(&self) -> Stage<'_> {
        let super::Runtime { types, routes, .. } = &*self.context.runtime;
        Stage { types, routes }
    }

    pub(super) fn route(&self, envelope: Kept<PM::Envelope>) -> Letter {
        // Without the macros, routing is user code.
        let routed = guard(
            || format!("the routing of a command of `{}`", PM::NAME),
            || envelope.into_inner().route(self.stage()),
        );
        match routed {
            Ok(Ok(staged)) => Letter::Staged(staged),
            Ok(Err(undeliverable)) => Letter::Dead(undeliverable),
            Err(error) => {
                let lost = CommandEnvelope {
                    aggregate_type: String::new(),
                    instance_id: String::new(),
                    command: serde_json::Value::Null,
                    context: CommandContext::default(),
                };
                Letter::Dead(Undeliverable::panicked(lost, &error))
            }
        }
    }
}

impl Planned {
    /// Routes the letter again, to load its target.
    pub(super) fn letter_again<PM: ProcessManager>(
        &self,
        runner: &ProcessManagerRunner<PM>,
    ) -> Letter {
        match &self.letter {
            Letter::Staged(staged) => match staged.erase().route(runner.stage()) {
                Ok(staged) => Letter::Staged(staged),
                Err(dead) => Letter::Dead(dead),
            },
            Letter::Dead(dead) => Letter::Dead(dead.clone()),
        }
    }

    pub(super) fn letter(&self) -> &Letter {
        &self.letter
    }

    /// Turns the command into a dead letter with this reason.
    pub(super) fn give_up(&mut self, reason: &str) {
        if let Letter::Staged(staged) = &self.letter {
            let undeliverable = Undeliverable::new(staged.erase(), reason.to_owned());
            self.letter = Letter::Dead(undeliverable);
        }
    }
}
