//! The expected and the actual effects of a process manager, in one printed form.

use std::fmt::{Display, Write as _};
use std::marker::PhantomData;
use std::time::SystemTime;

use serde_json::Value;

use crate::command::{Command, CommandContext};
use crate::envelope::{CommandEnvelope, Dispatch, Envelope};
use crate::process_manager::{
    Backoff, Deadline, DeadlineOf, FailureAction, Keyed, ProcessManager, TargetOf, TimerChange,
};
use crate::runtime::offline::{Reacted, Sent};

/// The expected effects of the process manager `PM`, built by the closure of
/// [`ProcessManagerTest::then`](super::ProcessManagerTest::then).
///
/// Commands are ordered among themselves, and so are timers. There is no order between the two.
#[derive(Debug)]
#[must_use = "it is what the closure returns"]
pub struct Expected<PM> {
    parts: Parts,
    pub(super) now: SystemTime,
    _process_manager: PhantomData<fn() -> PM>,
}

/// Expectations, in the order in which a test names them.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The expectations before an instance or a call is named.
    first: Part,
    named: Vec<Part>,
}

/// The effects of one instance, or of one call.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// The instance or the call. `None` if the test does not name it.
    pub(super) name: Option<String>,
    /// The reason of the failure of a call.
    pub(super) failure: Option<String>,
    pub(super) commands: Vec<String>,
    pub(super) timers: Vec<String>,
    pub(super) end: Vec<String>,
}

impl<PM: ProcessManager> Expected<PM> {
    pub(super) fn new(now: SystemTime) -> Self {
        Self {
            parts: Parts::default(),
            now,
            _process_manager: PhantomData,
        }
    }

    /// The following expectations are for the instance `key`. Name the instances if several of them react.
    pub fn instance(mut self, key: impl Display) -> Self
    where
        PM: Keyed,
    {
        self.parts.name(instance(key));
        self
    }

    /// Expects `command` for the instance `instance_id`, with any context.
    ///
    /// # Panics
    ///
    /// If the command does not serialize.
    #[track_caller]
    pub fn send<C>(mut self, instance_id: impl Into<String>, command: C) -> Self
    where
        C: Command,
        C::Aggregate: TargetOf<PM>,
    {
        let context = CommandContext::default();
        let envelope = Envelope::<C::Aggregate>::new(instance_id, command, context);
        let printed = printed_envelope(<C::Aggregate as TargetOf<PM>>::envelope(envelope));
        self.parts.last().commands.push(printed);
        self
    }

    /// Expects that it arms the deadline `name`.
    ///
    /// # Panics
    ///
    /// If the message cannot be stored.
    #[track_caller]
    pub fn schedule<M: DeadlineOf<PM>>(
        mut self,
        name: impl Into<String>,
        when: impl Into<Deadline>,
        message: M,
    ) -> Self {
        let message_type = <M as DeadlineOf<PM>>::MESSAGE_TYPE;
        let message = match <M as DeadlineOf<PM>>::encode(&message) {
            Ok(message) => message,
            Err(reason) => panic!("{reason}"),
        };
        let due = when.into().due(self.now);
        let printed = printed_timer(&name.into(), due, self.now, message_type, message.get());
        self.parts.last().timers.push(printed);
        self
    }

    /// Expects that it cancels the deadline `name`, whether such a deadline is armed or not.
    pub fn cancel(mut self, name: impl Into<String>) -> Self {
        let printed = printed_cancel(&name.into());
        self.parts.last().timers.push(printed);
        self
    }

    /// Expects that the instance completes.
    pub fn complete(self) -> Self
    where
        PM: Keyed,
    {
        self.ends_with("complete")
    }

    /// Expects that the failed command is retried, with `backoff`.
    pub fn retry(self, backoff: Backoff) -> Self {
        let printed = format!("retry {backoff:?}");
        self.ends_with(&printed)
    }

    /// Expects that the failed command becomes a dead letter.
    pub fn dead_letter(self) -> Self {
        self.ends_with("dead letter")
    }

    /// Expects that the failed command is skipped.
    pub fn skip(self) -> Self {
        self.ends_with("skip")
    }

    /// Expects that the instance is parked.
    pub fn park(self) -> Self {
        self.ends_with("park")
    }

    /// Expects that the process manager stops.
    pub fn stop(self) -> Self {
        self.ends_with("stop")
    }

    fn ends_with(mut self, what: &str) -> Self {
        self.parts.last().end.push(what.to_owned());
        self
    }

    pub(super) fn into_parts(self) -> Parts {
        self.parts
    }
}

impl Parts {
    /// The following expectations are for this instance or call.
    pub(super) fn name(&mut self, name: String) {
        self.named.push(Part {
            name: Some(name),
            ..Part::default()
        });
    }

    /// The part that the following expectations belong to.
    pub(super) fn last(&mut self) -> &mut Part {
        self.named.last_mut().unwrap_or(&mut self.first)
    }

    /// Whether instances or calls are named.
    pub(super) fn has_names(&self) -> bool {
        !self.named.is_empty()
    }

    pub(super) fn into_vec(self) -> Vec<Part> {
        let first = Some(self.first).filter(|first| !first.is_empty());
        first.into_iter().chain(self.named).collect()
    }
}

/// The name of an instance.
fn instance(key: impl Display) -> String {
    format!("instance `{key}`")
}

impl Part {
    /// The effects of a reaction at `now`.
    pub(super) fn of(reacted: &Reacted, now: SystemTime) -> Self {
        let timers = reacted.timers.iter().map(|change| match change {
            TimerChange::Schedule(scheduled) => printed_timer(
                &scheduled.name,
                scheduled.when.due(now),
                now,
                scheduled.message_type,
                scheduled.message.get(),
            ),
            TimerChange::Cancel(name) => printed_cancel(name),
        });
        let complete = reacted.is_complete.then(|| "complete".to_owned());
        Self {
            name: Some(instance(&reacted.key)),
            failure: None,
            commands: reacted.commands.iter().map(printed_command).collect(),
            timers: timers.collect(),
            end: complete.into_iter().collect(),
        }
    }

    /// The action of the instance `key` for a failure.
    pub(super) fn of_action<PM: ProcessManager>(key: &str, action: FailureAction<PM>) -> Self {
        let mut part = Self {
            name: Some(instance(key)),
            ..Self::default()
        };
        let end = match action {
            FailureAction::Compensate(envelopes) => {
                let commands = envelopes.into_iter().map(erase);
                part.commands = commands.map(|command| printed_command(&command)).collect();
                return part;
            }
            FailureAction::Retry(backoff) => format!("retry {backoff:?}"),
            FailureAction::DeadLetter => "dead letter".to_owned(),
            FailureAction::Skip => "skip".to_owned(),
            FailureAction::Park => "park".to_owned(),
            FailureAction::Stop => "stop".to_owned(),
        };
        part.end.push(end);
        part
    }

    pub(super) fn is_empty(&self) -> bool {
        self.failure.is_none()
            && self.commands.is_empty()
            && self.timers.is_empty()
            && self.end.is_empty()
    }
}

/// The effects of instances, without instances that have no effects; with their keys if a test names them.
pub(super) fn printed(parts: &[Part], with_keys: bool) -> String {
    let with_effects = parts.iter().filter(|part| !part.is_empty());
    printed_all(with_effects, with_keys)
}

/// The effects of instances or calls; with their names if a test names them.
pub(super) fn printed_all<'a>(
    parts: impl IntoIterator<Item = &'a Part>,
    with_names: bool,
) -> String {
    let mut printed = String::new();
    for part in parts {
        let indent = match (&part.name, with_names) {
            (Some(name), true) => {
                let _ = writeln!(printed, "{name}");
                "  "
            }
            _ => "",
        };
        if let Some(failure) = &part.failure {
            let _ = writeln!(printed, "{indent}fails: {failure}");
        }
        for line in part.commands.iter().chain(&part.timers).chain(&part.end) {
            for line in line.lines() {
                let _ = writeln!(printed, "{indent}{line}");
            }
        }
    }
    printed
}

/// A command of a reaction or of a call, with any context.
#[track_caller]
pub(super) fn printed_envelope(envelope: impl Dispatch) -> String {
    printed_command(&erase(envelope))
}

#[track_caller]
fn erase<E: Dispatch>(envelope: E) -> CommandEnvelope {
    match Sent::from(envelope).erase() {
        Ok(envelope) => envelope,
        Err(error) => panic!("a command does not serialize: {error}"),
    }
}

pub(super) fn printed_command(envelope: &CommandEnvelope) -> String {
    let command = serde_json::to_string_pretty(&envelope.command);
    let command = command.unwrap_or_else(|_| envelope.command.to_string());
    format!(
        "send `{}` of `{}` {command}",
        envelope.instance_id, envelope.aggregate_type
    )
}

fn printed_timer(
    name: &str,
    due: SystemTime,
    now: SystemTime,
    message_type: &str,
    message: &str,
) -> String {
    let when = match due.duration_since(now) {
        Ok(duration) => format!("in {duration:?}"),
        Err(error) => format!("{:?} ago", error.duration()),
    };
    let message: Value = serde_json::from_str(message).unwrap_or_default();
    format!("schedule `{name}` {when}: {message_type} {message:#}")
}

fn printed_cancel(name: &str) -> String {
    format!("cancel `{name}`")
}
