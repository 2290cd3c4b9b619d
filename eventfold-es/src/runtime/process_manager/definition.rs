//! The type of a process manager, erased. The engine is compiled once, and not again for each type.
//!
//! A [`Definition`] has the constants of the type and its functions, a [`State`] is a value of the type, and a [`Sent`] is one of its
//! envelopes. Their functions are code of the user, and each caller guards against panics.

use serde_json::value::RawValue;

use super::super::guarded::Kept;
use super::super::routes::Stage;
use super::super::staging::{Staged, Undeliverable};
use crate::envelope::Dispatch;
#[cfg(feature = "testing")]
use crate::envelope::{CommandEnvelope, DispatchTarget, Envelope, Router};
use crate::event::RecordedEvent;
use crate::finite;
use crate::journal::StreamId;
use crate::process_manager::{
    Backoff, Correlation, Effects, Failure, FailureAction, MigrationError, ProcessManager,
    ReactError, StoredDeadline, StoredState,
};

/// The constants and functions of a process manager.
pub(crate) struct Definition {
    pub(crate) name: &'static str,
    pub(crate) is_keyed: bool,
    pub(crate) has_state: bool,
    pub(crate) state_version: u32,
    pub(in crate::runtime) default: fn() -> State,
    /// Decodes a state of the current version.
    pub(in crate::runtime) decode: fn(&str) -> Result<State, serde_json::Error>,
    /// Decodes or migrates a state.
    pub(in crate::runtime) current: fn(StoredState<'_>) -> Result<State, MigrationError>,
    pub(super) correlate: fn(&StreamId, &RecordedEvent) -> Result<Correlation, ReactError>,
    pub(super) default_action: fn(&Failure<'_>) -> AnyAction,
}

impl std::fmt::Debug for Definition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Definition {
    pub(crate) const fn of<PM: ProcessManager>() -> &'static Self {
        const {
            &Self {
                name: PM::NAME,
                is_keyed: PM::IS_KEYED,
                has_state: PM::HAS_STATE,
                state_version: PM::STATE_VERSION,
                default: || Box::new(Kept::<PM>::default()),
                decode: |json| Ok(Box::new(serde_json::from_str::<Kept<PM>>(json)?)),
                current: |stored| Ok(Box::new(Kept::new(stored.into_current::<PM>()?))),
                correlate: |stream, event| {
                    PM::correlate(&stream.aggregate_type, &stream.instance_id, event)
                },
                default_action: |failure| FailureAction::<PM>::default_for(failure).into(),
            }
        }
    }
}

/// A state of a process manager of any type.
pub(in crate::runtime) type State = Box<dyn AnyState>;

/// See [`State`].
pub(in crate::runtime) trait AnyState: Send + Sync {
    fn react(
        &mut self,
        key: &str,
        stream: &StreamId,
        event: &RecordedEvent,
    ) -> Result<Effects<Sent>, ReactError>;

    fn on_deadline(
        &mut self,
        key: &str,
        deadline: &StoredDeadline,
    ) -> Result<Effects<Sent>, ReactError>;

    fn on_failure(&self, failure: &Failure<'_>) -> AnyAction;

    fn encode(&self) -> Result<Box<RawValue>, serde_json::Error>;
}

impl<PM: ProcessManager> AnyState for Kept<PM> {
    fn react(
        &mut self,
        key: &str,
        stream: &StreamId,
        event: &RecordedEvent,
    ) -> Result<Effects<Sent>, ReactError> {
        let effects = self.react_in(key, &stream.aggregate_type, &stream.instance_id, event);
        effects.map(erased)
    }

    fn on_deadline(
        &mut self,
        key: &str,
        deadline: &StoredDeadline,
    ) -> Result<Effects<Sent>, ReactError> {
        PM::on_deadline(self, key, deadline).map(erased)
    }

    fn on_failure(&self, failure: &Failure<'_>) -> AnyAction {
        PM::on_failure(self, failure).into()
    }

    fn encode(&self) -> Result<Box<RawValue>, serde_json::Error> {
        finite::to_raw_value(&**self)
    }
}

fn erased<E: Dispatch>(effects: Effects<E>) -> Effects<Sent> {
    Effects {
        envelopes: effects.envelopes.into_iter().map(Sent::from).collect(),
        timers: effects.timers,
        is_complete: effects.is_complete,
    }
}

/// An envelope of a process manager of any type.
pub(crate) struct Sent(Box<dyn AnyEnvelope>);

trait AnyEnvelope {
    fn stage(self: Box<Self>, stage: Stage<'_>) -> Result<Staged, Box<Undeliverable>>;

    #[cfg(feature = "testing")]
    fn erase(self: Box<Self>) -> Result<CommandEnvelope, serde_json::Error>;
}

impl<E: Dispatch> AnyEnvelope for Kept<E> {
    fn stage(self: Box<Self>, stage: Stage<'_>) -> Result<Staged, Box<Undeliverable>> {
        self.into_inner().route(stage)
    }

    #[cfg(feature = "testing")]
    fn erase(self: Box<Self>) -> Result<CommandEnvelope, serde_json::Error> {
        self.into_inner().route(Erase)
    }
}

impl Sent {
    /// The command for its target.
    pub(super) fn stage(self, stage: Stage<'_>) -> Result<Staged, Box<Undeliverable>> {
        self.0.stage(stage)
    }

    /// The stored form of the command.
    ///
    /// # Errors
    ///
    /// The error of its encoding.
    #[cfg(feature = "testing")]
    pub(crate) fn erase(self) -> Result<CommandEnvelope, serde_json::Error> {
        self.0.erase()
    }
}

impl<E: Dispatch> From<Kept<E>> for Sent {
    fn from(envelope: Kept<E>) -> Self {
        Self(Box::new(envelope))
    }
}

impl<E: Dispatch> From<E> for Sent {
    fn from(envelope: E) -> Self {
        Kept::new(envelope).into()
    }
}

/// Keeps envelopes in their stored form.
#[cfg(feature = "testing")]
struct Erase;

#[cfg(feature = "testing")]
impl Router for Erase {
    type Routed = Result<CommandEnvelope, serde_json::Error>;

    fn typed<A: DispatchTarget>(self, envelope: Envelope<A>) -> Self::Routed {
        envelope.erase()
    }

    fn erased(self, envelope: CommandEnvelope) -> Self::Routed {
        Ok(envelope)
    }
}

/// A [`FailureAction`] of a process manager of any type.
pub(crate) enum AnyAction {
    Retry(Backoff),
    DeadLetter,
    Skip,
    Compensate(Vec<Sent>),
    Park,
    Stop,
}

impl<PM: ProcessManager> From<FailureAction<PM>> for AnyAction {
    fn from(action: FailureAction<PM>) -> Self {
        match action {
            FailureAction::Retry(backoff) => Self::Retry(backoff),
            FailureAction::DeadLetter => Self::DeadLetter,
            FailureAction::Skip => Self::Skip,
            FailureAction::Compensate(envelopes) => {
                Self::Compensate(envelopes.into_iter().map(Sent::from).collect())
            }
            FailureAction::Park => Self::Park,
            FailureAction::Stop => Self::Stop,
        }
    }
}

impl std::fmt::Debug for AnyAction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
