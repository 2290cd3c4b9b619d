//! The expected calls of an event handler.

use std::marker::PhantomData;
use std::time::Duration;

use crate::command::{Command, CommandContext};
use crate::envelope::Envelope;
use crate::event_handler::{EventHandler, SentByHandler};
use crate::process_manager::FailureCause;
use crate::runtime::offline::{Action, CallEnded, Judged};
use crate::testing::expected::{Part, Parts, printed_command, printed_envelope};

/// The expected calls of the event handler `H`, built by the closure of
/// [`EventHandlerTest::then`](crate::testing::EventHandlerTest::then).
///
/// With several calls, [`call`](Self::call) names each of them. Otherwise the expectations are for the only call.
#[derive(Debug)]
#[must_use = "it is what the closure returns"]
pub struct ExpectedCalls<H> {
    parts: Parts,
    _handler: PhantomData<fn() -> H>,
}

impl<H: EventHandler> ExpectedCalls<H> {
    pub(super) fn new() -> Self {
        Self {
            parts: Parts::default(),
            _handler: PhantomData,
        }
    }

    /// The following expectations are for the next call, which has this idempotency key. For example,
    /// `mailer:order/ord-1/2` is the key of the second event of the order `ord-1`.
    pub fn call(mut self, idempotency_key: &str) -> Self {
        self.parts.name(call(idempotency_key));
        self
    }

    /// Expects `command` for the instance `instance_id`, with any context. The commands of a call are in order.
    ///
    /// After a failure it expects a command in place of the call.
    ///
    /// # Panics
    ///
    /// If the command does not serialize.
    #[track_caller]
    pub fn send<C: SentByHandler<H>>(mut self, instance_id: impl Into<String>, command: C) -> Self {
        let context = CommandContext::default();
        let envelope = Envelope::<<C as Command>::Aggregate>::new(instance_id, command, context);
        let printed = printed_envelope(<C as SentByHandler<H>>::envelope(envelope));
        self.parts.last().commands.push(printed);
        self
    }

    /// Expects that the call fails, for a reason that contains `reason`.
    pub fn fail(mut self, reason: impl Into<String>) -> Self {
        self.parts.last().failure = Some(reason.into());
        self
    }

    /// Expects that the call is dropped at its [time-out](EventHandler::TIMEOUT), and fails.
    pub fn time_out(self) -> Self {
        let cause = FailureCause::TimedOut { after: H::TIMEOUT };
        self.fail(cause.to_string())
    }

    /// Expects another attempt after this time. The [jitter](crate::Backoff::jitter) may make it shorter.
    pub fn retry_after(self, delay: Duration) -> Self {
        self.ends_with(printed_action(Action::Retry(delay)))
    }

    /// Expects that the key is parked: it holds this event and later ones until an operator releases it.
    pub fn park(self) -> Self {
        self.ends_with(printed_action(Action::Park))
    }

    /// Expects a dead letter.
    pub fn dead_letter(self) -> Self {
        self.ends_with(printed_action(Action::DeadLetter))
    }

    /// Expects that the failed call or command is skipped.
    pub fn skip(self) -> Self {
        self.ends_with(printed_action(Action::Skip))
    }

    /// Expects that the event handler stops.
    pub fn stop(self) -> Self {
        self.ends_with(printed_action(Action::Stop))
    }

    fn ends_with(mut self, what: String) -> Self {
        self.parts.last().end.push(what);
        self
    }

    pub(super) fn into_parts(self) -> Parts {
        self.parts
    }
}

/// The call with this idempotency key.
fn call(idempotency_key: &str) -> String {
    format!("call `{idempotency_key}`")
}

/// A call that has ended.
pub(super) fn part_of_call(idempotency_key: &str, called: &CallEnded) -> Part {
    let mut part = Part {
        name: Some(call(idempotency_key)),
        ..Part::default()
    };
    match &called.outcome {
        Ok(letters) => part
            .commands
            .extend(letters.iter().map(|letter| match letter {
                Ok(command) => printed_command(command),
                Err(reason) => reason.clone(),
            })),
        Err(cause) => part.failure = Some(cause.to_string()),
    }
    part
}

/// Adds the action for a failure.
pub(super) fn add_action(part: &mut Part, judged: &Judged) {
    part.commands
        .extend(judged.commands.iter().map(printed_command));
    if judged.action != Action::Compensate {
        part.end.push(printed_action(judged.action));
    }
}

fn printed_action(action: Action) -> String {
    match action {
        Action::Retry(delay) => format!("retry after {delay:?}"),
        Action::DeadLetter => "dead letter".to_owned(),
        Action::Skip => "skip".to_owned(),
        Action::Compensate => "compensate".to_owned(),
        Action::Park => "park".to_owned(),
        Action::Stop => "stop".to_owned(),
    }
}
