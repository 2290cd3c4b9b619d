//! The envelopes of a process manager in their stored form, and a log of its calls of user code.

use std::cell::RefCell;
use std::time::Duration;

use super::{OfflineCaller, Recorded};
use crate::envelope::{CommandEnvelope, Dispatch, DispatchTarget, Envelope, Router};
use crate::guarded::Kept;
use crate::process_manager::{
    Effects, Failure, FailureAction, FailureCause, ProcessManager, TimerChange,
};
use crate::runtime::process_manager::plan::Post;

/// Keeps envelopes in their stored form.
struct Erase;

impl Router for Erase {
    type Routed = Result<CommandEnvelope, serde_json::Error>;

    fn typed<A: DispatchTarget>(self, envelope: Envelope<A>) -> Self::Routed {
        envelope.erase()
    }

    fn erased(self, envelope: CommandEnvelope) -> Self::Routed {
        Ok(envelope)
    }
}

/// The stored form of a command.
///
/// # Errors
///
/// The error of its encoding.
pub(crate) fn erased<E: Dispatch>(envelope: E) -> Result<CommandEnvelope, serde_json::Error> {
    envelope.route(Erase)
}

/// The effects of one reaction.
#[derive(Debug, Clone)]
pub(crate) struct Reacted {
    pub(crate) key: String,
    pub(crate) commands: Vec<CommandEnvelope>,
    pub(crate) timers: Vec<TimerChange>,
    pub(crate) is_complete: bool,
}

/// A call of an event handler that has ended.
#[derive(Debug, Clone)]
pub(crate) struct CallEnded {
    pub(crate) event: Recorded,
    pub(crate) outcome: Outcome,
}

/// A failure, and the action that the policy chooses.
#[derive(Debug, Clone)]
pub(crate) struct Judged {
    pub(crate) cause: FailureCause,
    /// Whether a command was not executed. Otherwise a reaction or a call has failed.
    pub(crate) is_of_command: bool,
    pub(crate) action: Action,
    /// The compensations.
    pub(crate) commands: Vec<CommandEnvelope>,
}

/// A [`FailureAction`] without its commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Another attempt after this time, which the jitter may shorten.
    Retry(Duration),
    DeadLetter,
    Skip,
    Compensate,
    Park,
    Stop,
}

/// A call of user code in a piece of work.
#[derive(Debug, Clone)]
pub(crate) enum Happened {
    Reacted(Reacted),
    Called(CallEnded),
    Judged(Judged),
    /// The process manager is held as a whole, for this reason.
    Halted(String),
}

/// A command in its stored form, or the reason why it has none.
pub(crate) type Letter = Result<CommandEnvelope, String>;

/// The commands of a call, or the reason of its failure.
pub(crate) type Outcome = Result<Vec<Letter>, FailureCause>;

/// The stored form of the commands of a call.
pub(crate) fn letters<E: Dispatch>(envelopes: Vec<Kept<E>>) -> Vec<Letter> {
    envelopes.into_iter().map(letter).collect()
}

fn letter<E: Dispatch>(envelope: Kept<E>) -> Letter {
    let erased = erased(envelope.into_inner());
    erased.map_err(|error| format!("the command does not serialize: {error}"))
}

/// Keeps the envelopes in their stored form, and notes the calls of user code.
pub(super) struct Plain<'a, PM> {
    /// The event handler that is called, if it is one.
    pub(super) caller: Option<&'a dyn OfflineCaller<PM>>,
    pub(super) happened: RefCell<Vec<Happened>>,
}

impl<PM> Plain<'_, PM> {
    pub(super) fn note(&self, happened: Happened) {
        self.happened.borrow_mut().push(happened);
    }
}

impl<PM: ProcessManager> Post<PM> for Plain<'_, PM> {
    type Letter = Letter;

    fn reacted(&self, key: &str, effects: &Effects<PM::Envelope>) {
        self.note(Happened::Reacted(Reacted {
            key: key.to_owned(),
            commands: Vec::new(),
            timers: effects.timers.clone(),
            is_complete: effects.is_complete,
        }));
    }

    fn on_failure(&self, failure: &Failure<'_>) -> Option<FailureAction<PM>> {
        self.caller.map(|caller| caller.on_failure(failure))
    }

    fn judged(&self, failure: &Failure<'_>, action: &FailureAction<PM>) {
        let action = match action {
            FailureAction::Retry(backoff) => {
                let delay = backoff.jitter(0.0).delay(failure.attempt, "");
                Action::Retry(delay.unwrap_or_default())
            }
            FailureAction::DeadLetter => Action::DeadLetter,
            FailureAction::Skip => Action::Skip,
            FailureAction::Compensate(_) => Action::Compensate,
            FailureAction::Park => Action::Park,
            FailureAction::Stop => Action::Stop,
        };
        self.note(Happened::Judged(Judged {
            cause: failure.cause.clone(),
            is_of_command: failure.envelope.is_some(),
            action,
            commands: Vec::new(),
        }));
    }

    fn typed(&self, envelope: Kept<PM::Envelope>) -> Self::Letter {
        let letter = letter(envelope);
        if let Ok(command) = &letter {
            let mut happened = self.happened.borrow_mut();
            let commands = match happened.last_mut() {
                Some(Happened::Reacted(reacted)) => Some(&mut reacted.commands),
                Some(Happened::Judged(judged)) => Some(&mut judged.commands),
                Some(Happened::Called(_) | Happened::Halted(_)) | None => None,
            };
            if let Some(commands) = commands {
                commands.push(command.clone());
            }
        }
        letter
    }

    fn stored(&self, envelope: CommandEnvelope) -> Self::Letter {
        Ok(envelope)
    }
}
