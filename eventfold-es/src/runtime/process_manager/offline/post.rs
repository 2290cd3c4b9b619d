//! The envelopes of a process manager in their stored form, and a log of its calls of user code.

use std::cell::RefCell;
use std::time::Duration;

use super::{OfflineCaller, Recorded};
use crate::envelope::CommandEnvelope;
use crate::process_manager::{Effects, Failure, FailureCause, TimerChange};
use crate::runtime::process_manager::definition::{AnyAction, Sent};
use crate::runtime::process_manager::plan::Post;

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

/// A [`FailureAction`](crate::FailureAction) without its commands.
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
pub(crate) fn letters(sent: Vec<Sent>) -> Vec<Letter> {
    sent.into_iter().map(letter).collect()
}

fn letter(envelope: Sent) -> Letter {
    let erased = envelope.erase();
    erased.map_err(|error| format!("the command does not serialize: {error}"))
}

/// Keeps the envelopes in their stored form, and notes the calls of user code.
pub(super) struct Plain<'a> {
    /// The event handler that is called, if it is one.
    pub(super) caller: Option<&'a dyn OfflineCaller>,
    pub(super) happened: RefCell<Vec<Happened>>,
}

impl Plain<'_> {
    pub(super) fn note(&self, happened: Happened) {
        self.happened.borrow_mut().push(happened);
    }
}

impl Post for Plain<'_> {
    type Letter = Letter;

    fn reacted(&self, key: &str, effects: &Effects<Sent>) {
        self.note(Happened::Reacted(Reacted {
            key: key.to_owned(),
            commands: Vec::new(),
            timers: effects.timers.clone(),
            is_complete: effects.is_complete,
        }));
    }

    fn on_failure(&self, failure: &Failure<'_>) -> Option<AnyAction> {
        self.caller.map(|caller| caller.on_failure(failure))
    }

    fn judged(&self, failure: &Failure<'_>, action: &AnyAction) {
        let action = match action {
            AnyAction::Retry(backoff) => {
                let delay = backoff.jitter(0.0).delay(failure.attempt, "");
                Action::Retry(delay.unwrap_or_default())
            }
            AnyAction::DeadLetter => Action::DeadLetter,
            AnyAction::Skip => Action::Skip,
            AnyAction::Compensate(_) => Action::Compensate,
            AnyAction::Park => Action::Park,
            AnyAction::Stop => Action::Stop,
        };
        self.note(Happened::Judged(Judged {
            cause: failure.cause.clone(),
            is_of_command: failure.envelope.is_some(),
            action,
            commands: Vec::new(),
        }));
    }

    fn typed(&self, envelope: Sent) -> Self::Letter {
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
