//! Failures of process managers, and the actions for them.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Backoff, DeclaredProcessManager, Exhausted, ProcessManager, SentBy, SourceEvent};
use crate::command::CommandContext;
use crate::envelope::{CommandEnvelope, Envelope};
use crate::runtime::guard;

/// One failure of a process manager: a command that was not executed, or an event or deadline that was not handled.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Failure<'a> {
    /// The cause.
    pub cause: FailureCause,
    /// The number of failed attempts, including this one.
    pub attempt: u32,
    /// The instance key. Empty for a process manager without `key`, and for an event whose instance key cannot be determined.
    pub key: &'a str,
    /// The source event.
    pub source: &'a SourceEvent,
    /// The command that was not executed; `None` if the reaction itself failed.
    pub envelope: Option<&'a CommandEnvelope>,
    /// Whether that command compensates an earlier failure.
    pub is_compensation: bool,
}

impl<'a> Failure<'a> {
    /// The first failure of a reaction of the instance `key` to `source`.
    #[must_use]
    pub fn new(cause: FailureCause, key: &'a str, source: &'a SourceEvent) -> Self {
        Self {
            cause,
            attempt: 1,
            key,
            source,
            envelope: None,
            is_compensation: false,
        }
    }

    /// The failure of `envelope` in the attempt number `attempt`.
    #[must_use]
    pub fn of_command(mut self, envelope: &'a CommandEnvelope, attempt: u32) -> Self {
        self.envelope = Some(envelope);
        self.attempt = attempt;
        self
    }

    /// Marks the failed command as a compensation of an earlier failure.
    #[must_use]
    pub fn of_compensation(mut self) -> Self {
        self.is_compensation = true;
        self
    }

    /// The error of the aggregate that rejected the command, if the cause is a rejection and `E` is its type.
    ///
    /// # Examples
    ///
    /// ```
    /// use eventfold_es::{Failure, FailureAction, ProcessManager};
    ///
    /// #[derive(Debug, thiserror::Error)]
    /// enum InventoryError {
    ///     #[error("only {left} left")]
    ///     OutOfStock { left: u32 },
    /// }
    ///
    /// fn on_failure<PM: ProcessManager>(failure: &Failure<'_>) -> FailureAction<PM> {
    ///     match failure.rejection::<InventoryError>() {
    ///         Some(InventoryError::OutOfStock { left: 0 }) => FailureAction::Skip,
    ///         _ => FailureAction::default_for(failure),
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn rejection<E: Error + 'static>(&self) -> Option<&E> {
        match &self.cause {
            FailureCause::Rejected { error } => error.downcast_ref(),
            _ => None,
        }
    }

    /// The error of the [event handler](crate::EventHandler), if the cause is [`FailureCause::Failed`] and `E` is its type.
    ///
    /// # Examples
    ///
    /// ```
    /// use eventfold_es::{EventHandler, Failure, FailureAction, HandlerAction};
    ///
    /// #[derive(Debug, thiserror::Error)]
    /// enum MailError {
    ///     #[error("the address does not exist")]
    ///     NoSuchAddress,
    /// }
    ///
    /// fn on_failure<H: EventHandler>(failure: &Failure<'_>) -> HandlerAction<H> {
    ///     match failure.error::<MailError>() {
    ///         Some(MailError::NoSuchAddress) => FailureAction::DeadLetter,
    ///         None => FailureAction::default_for(failure),
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn error<E: Error + 'static>(&self) -> Option<&E> {
        match &self.cause {
            FailureCause::Failed { error } => error.downcast_ref(),
            _ => None,
        }
    }
}

/// The cause of a failure.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum FailureCause {
    /// The aggregate rejected the command, or the command has no route.
    Rejected {
        /// The aggregate's own error, or the problem of the route.
        error: Arc<dyn Error + Send + Sync>,
    },
    /// The event, the deadline, the state or the command does not decode.
    Undecodable {
        /// The error of decoding.
        reason: String,
    },
    /// A read or a write failed. A target whose stream is damaged, or has events of a newer program, cannot be read.
    Storage {
        /// The error of the store.
        reason: String,
    },
    /// The reaction with all its effects is larger than an entry of the [replicated log](crate::AggregateStoreBuilder::replicated). Nothing
    /// of it is stored.
    TooLarge {
        /// The size, and the limit with its setting.
        reason: String,
    },
    /// An [event handler](crate::EventHandler) returned an error.
    Failed {
        /// The error of the handler.
        error: Arc<dyn Error + Send + Sync>,
    },
    /// A call of an [event handler](crate::EventHandler) took longer than its time-out, and was dropped.
    TimedOut {
        /// The time-out.
        after: Duration,
    },
    /// Code of the user panicked.
    Panicked {
        /// The message of the panic.
        message: String,
    },
    /// The whole process ended each time the reaction began. The store parks it without a call of `on_failure`, which
    /// is code of the user as well; see [`max_starts`](crate::AggregateStoreBuilder::max_starts).
    Aborted {
        /// The number of times.
        starts: u32,
    },
}

impl FailureCause {
    /// The word in the dead-letter log: `rejected`, `undecodable`, `storage`, `too-large`, `failed`, `timed-out`,
    /// `panicked` or `aborted`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Rejected { .. } => "rejected",
            Self::Undecodable { .. } => "undecodable",
            Self::Storage { .. } => "storage",
            Self::TooLarge { .. } => "too-large",
            Self::Failed { .. } => "failed",
            Self::TimedOut { .. } => "timed-out",
            Self::Panicked { .. } => "panicked",
            Self::Aborted { .. } => "aborted",
        }
    }
}

impl FailureCause {
    /// The reason, for a message that already says that it failed. A panic needs no further words.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Panicked { message } => message.clone(),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for FailureCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The error is code of the user, and may panic.
            Self::Rejected { error } | Self::Failed { error } => {
                match guard(|| "the text of the error".to_owned(), || error.to_string()) {
                    Ok(text) => f.write_str(&text),
                    Err(error) => error.fmt(f),
                }
            }
            Self::Undecodable { reason } | Self::Storage { reason } | Self::TooLarge { reason } => {
                f.write_str(reason)
            }
            Self::TimedOut { after } => write!(f, "it took longer than {after:?}"),
            Self::Panicked { message } => write!(f, "it panicked: {message}"),
            Self::Aborted { starts } => write!(
                f,
                "the whole process ended each time it was begun, {starts} times; it is not begun again before it is released"
            ),
        }
    }
}

/// The action for a failure.
#[non_exhaustive]
pub enum FailureAction<PM: DeclaredProcessManager> {
    /// The command, or the reaction, is retried later. A waiting command delays no other work. A waiting reaction
    /// delays the later events of its instance, or of its stream if the instance key cannot be determined.
    Retry(Backoff),
    /// The command becomes a dead letter. So does an event or a deadline that was not handled; its instance continues.
    DeadLetter,
    /// The command, the event or the deadline is skipped.
    Skip,
    /// These commands are sent instead of the failed command, or instead of the reaction. The event of the reaction is
    /// skipped.
    Compensate(Vec<<PM as DeclaredProcessManager>::Envelope>),
    /// The instance is parked: it holds its events, in order, until it is released. If the instance key cannot be
    /// determined, the stream of the event is held in the same way.
    Park,
    /// The process manager stops at this event, with all its instances.
    Stop,
}

impl<PM: ProcessManager> FailureAction<PM> {
    /// The default policy. A command that its target rejects, panics at or does not decode becomes a dead letter. A failed read
    /// or write is retried without limit, at first after 50 ms and at most every 5 s. An event or deadline that does not decode
    /// or panics parks its instance, and so does a reaction that is too large. So does a compensation that fails for any other reason than storage.
    ///
    /// A call of an event handler that returns an error or takes too long is retried nine times, at first after one second and
    /// at most every five minutes. Then its key is parked.
    #[must_use]
    pub fn default_for(failure: &Failure<'_>) -> Self {
        match failure.cause {
            FailureCause::Storage { .. } => {
                let first = Duration::from_millis(50);
                Self::Retry(Backoff::exponential(first).max(first * 100).forever())
            }
            FailureCause::Failed { .. } | FailureCause::TimedOut { .. } => {
                let backoff = Backoff::exponential(Duration::from_secs(1));
                Self::Retry(backoff.then(Exhausted::Park))
            }
            _ if failure.is_compensation => Self::Park,
            FailureCause::Rejected { .. } => Self::DeadLetter,
            // The cause is the command then, not the event of the instance.
            _ if failure.envelope.is_some() => Self::DeadLetter,
            _ => Self::Park,
        }
    }

    /// Sends `command` to the instance `instance_id` of its aggregate, instead of the failed work.
    ///
    /// It compiles only if the command's aggregate is in the `dispatches` list.
    #[must_use]
    pub fn compensate<C: SentBy<PM>>(instance_id: impl Into<String>, command: C) -> Self {
        Self::Compensate(Vec::new()).and_send(instance_id, command)
    }

    /// Sends another command, after the commands of [`compensate`](Self::compensate). It has no effect on another
    /// action.
    #[must_use]
    pub fn and_send<C: SentBy<PM>>(mut self, instance_id: impl Into<String>, command: C) -> Self {
        if let Self::Compensate(envelopes) = &mut self {
            let context = CommandContext::default();
            let envelope = Envelope::<C::Aggregate>::new(instance_id, command, context);
            envelopes.push(<C as SentBy<PM>>::envelope(envelope));
        }
        self
    }
}

impl<PM: ProcessManager> fmt::Debug for FailureAction<PM> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retry(backoff) => f.debug_tuple("Retry").field(backoff).finish(),
            Self::DeadLetter => f.write_str("DeadLetter"),
            Self::Skip => f.write_str("Skip"),
            Self::Compensate(envelopes) => write!(f, "Compensate({} commands)", envelopes.len()),
            Self::Park => f.write_str("Park"),
            Self::Stop => f.write_str("Stop"),
        }
    }
}

/// The policy of a process manager for failures, written by the user of `#[process_manager(.., on_failure)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is declared with `on_failure`, but does not say what is done about a failure",
    label = "`impl HandleFailure for {Self}` is missing",
    note = "write `impl HandleFailure for {Self} {{ fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {{ .. }} }}`, or remove `on_failure`"
)]
pub trait HandleFailure: DeclaredProcessManager<Declared: FailurePolicy> {
    /// Decides on one failure. `self` is the state before the reaction that failed.
    ///
    /// Return [`FailureAction::default_for`] for failures without a specific action.
    // The trait has the same bound. rustc assumes it here when it compares an impl, so that a missing attribute is
    // reported once.
    fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self>
    where
        Self: DeclaredProcessManager;
}

/// Marks a process manager with `on_failure`. The attribute generates it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not declared with `on_failure`, so this would never be asked",
    label = "never asked",
    note = "add `on_failure` to the attribute of `{Self}`, `#[process_manager(..)]` or `#[event_handler(..)]`, or remove this impl"
)]
pub trait FailurePolicy {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process_manager::tests::Plain;

    fn source() -> SourceEvent {
        SourceEvent {
            aggregate_type: "order".to_owned(),
            stream_id: "o".to_owned(),
            position: 1,
            version: 1,
            event_type: "Placed".to_owned(),
            event_id: None,
            correlation_id: None,
        }
    }

    #[derive(Debug, PartialEq, thiserror::Error)]
    #[error("sold out")]
    struct SoldOut;

    fn causes() -> [FailureCause; 4] {
        [
            FailureCause::Rejected {
                error: Arc::new(SoldOut),
            },
            FailureCause::Undecodable {
                reason: "no event".to_owned(),
            },
            FailureCause::Storage {
                reason: "disk full".to_owned(),
            },
            FailureCause::Panicked {
                message: "boom".to_owned(),
            },
        ]
    }

    #[test]
    fn a_process_manager_without_policy_does_the_default() {
        let source = source();
        let decided = causes().map(|cause| {
            let failure = Failure::new(cause, "", &source);
            format!("{:?}", Plain.on_failure(&failure))
        });
        assert_eq!(decided[0], "DeadLetter");
        assert_eq!(decided[1], "Park");
        assert!(decided[2].starts_with("Retry"), "{decided:?}");
        assert_eq!(decided[3], "Park");
        let failure = Failure::new(causes()[2].clone(), "", &source);
        let FailureAction::Retry(backoff) = Plain.on_failure(&failure) else {
            panic!("a storage error is retried");
        };
        let last = backoff.delay(u32::MAX, "id");
        assert!(last.is_some_and(|delay| delay <= Duration::from_secs(5)));
    }

    #[test]
    fn a_failed_compensation_is_parked_not_lost() {
        let source = source();
        let [rejected, _, storage, _] = causes();
        let failure = Failure::new(rejected, "", &source).of_compensation();
        assert!(matches!(Plain.on_failure(&failure), FailureAction::Park));
        let failure = Failure::new(storage, "", &source).of_compensation();
        assert!(matches!(
            Plain.on_failure(&failure),
            FailureAction::Retry(_)
        ));
    }

    #[test]
    fn a_rejection_is_the_error_of_the_aggregate() {
        let source = source();
        let failures = causes().map(|cause| Failure::new(cause, "k", &source));
        assert_eq!(failures[0].rejection::<SoldOut>(), Some(&SoldOut));
        assert!(failures[0].rejection::<fmt::Error>().is_none());
        assert!(failures[1].rejection::<SoldOut>().is_none());
        let texts = failures.map(|failure| format!("{}: {}", failure.cause.kind(), failure.cause));
        assert_eq!(
            texts,
            [
                "rejected: sold out",
                "undecodable: no event",
                "storage: disk full",
                "panicked: it panicked: boom"
            ]
        );
    }
}
