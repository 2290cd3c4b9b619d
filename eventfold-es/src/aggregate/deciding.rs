//! Deciding with the id, the version, the time and the actor in addition to the state.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{Decider, DeclaredAggregate};
use crate::command::CommandContext;

/// The context of a decision: the values beside the state and the command. A [`ContextDecider`] receives it.
///
/// It does not change during a decision: `now` is read once from the store's clock, before the decision.
///
/// # Examples
///
/// A decision is a function, and needs no store:
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use eventfold_es::{CommandContext, Deciding};
///
/// let alice = CommandContext::default().with_actor("alice");
/// let cx = Deciding::new("ord-1")
///     .with_version(3)
///     .with_now(SystemTime::UNIX_EPOCH + Duration::from_secs(60))
///     .with_context(&alice);
/// assert_eq!((cx.id(), cx.version(), cx.actor()), ("ord-1", 3, Some("alice")));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deciding<'a> {
    id: &'a str,
    version: u64,
    now: SystemTime,
    actor: Option<&'a str>,
    correlation_id: Option<&'a str>,
    metadata: Option<&'a Value>,
}

impl<'a> Deciding<'a> {
    /// The context of the instance `id` at version 0, in 1970, without an actor.
    #[must_use]
    pub const fn new(id: &'a str) -> Self {
        Self {
            id,
            version: 0,
            now: UNIX_EPOCH,
            actor: None,
            correlation_id: None,
            metadata: None,
        }
    }

    /// Sets the version.
    #[must_use]
    pub const fn with_version(mut self, version: u64) -> Self {
        self.version = version;
        self
    }

    /// Sets the time.
    #[must_use]
    pub const fn with_now(mut self, now: SystemTime) -> Self {
        self.now = now;
        self
    }

    /// Sets actor, correlation id and metadata to the values in the context.
    #[must_use]
    pub fn with_context(mut self, context: &'a CommandContext) -> Self {
        self.actor = context.actor.as_deref();
        self.correlation_id = context.correlation_id.as_deref();
        self.metadata = context.metadata.as_ref();
        self
    }

    /// Sets the correlation id, unless the context has one.
    pub(crate) fn or_correlation_id(mut self, id: Option<&'a str>) -> Self {
        self.correlation_id = self.correlation_id.or(id);
        self
    }

    /// The instance that decides.
    #[must_use]
    pub const fn id(&self) -> &'a str {
        self.id
    }

    /// The version of the state: the number of events of the instance. The first event of this command has the next
    /// version.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The time of the store's [clock](crate::AggregateStoreBuilder::clock). It never goes back while the store is
    /// open. After a restart with an earlier clock, it starts within a millisecond of the last commit.
    #[must_use]
    pub const fn now(&self) -> SystemTime {
        self.now
    }

    /// [`CommandContext::actor`]: the issuer of the command.
    #[must_use]
    pub const fn actor(&self) -> Option<&'a str> {
        self.actor
    }

    /// The correlation id of the events of the command, if any.
    #[must_use]
    pub const fn correlation_id(&self) -> Option<&'a str> {
        self.correlation_id
    }

    /// [`CommandContext::metadata`].
    #[must_use]
    pub const fn metadata(&self) -> Option<&'a Value> {
        self.metadata
    }
}

/// The context of an instance without an id, at version 0, in 1970, without an actor. A [`ContextDecider`] receives it
/// from [`Aggregate::handle`](super::Aggregate::handle), which has no context.
impl Default for Deciding<'_> {
    fn default() -> Self {
        Self::new("")
    }
}

/// Marks a type that decides with a context. `#[aggregate(context)]` generates it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not declared to decide with a context",
    label = "`#[aggregate]` of `{Self}` does not say `context`",
    note = "write `#[aggregate(context)]` on `{Self}`; or `impl Decider for {Self}`, whose `decide` takes the command alone"
)]
pub trait DecidesWithContext {}

/// The decision, with its context, and the fold. The user of `#[aggregate(context)]` writes this instead of a [`Decider`].
///
/// Every `ContextDecider` is a `Decider` too, which decides with [`Deciding::default()`].
///
/// # Examples
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use eventfold_es::prelude::*;
///
/// #[derive(Debug, Clone, Serialize, Deserialize)]
/// pub enum OfferCommand { Make, Accept }
///
/// #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
/// #[serde(tag = "type", content = "data")]
/// pub enum OfferEvent { Made { until: SystemTime }, Accepted { by: String } }
///
/// #[derive(Debug, PartialEq, thiserror::Error)]
/// pub enum OfferError {
///     #[error("there is no offer, or not any more")]
///     Expired,
///     #[error("somebody has to accept it")]
///     Anonymous,
/// }
///
/// #[aggregate(context)]
/// #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// pub struct Offer { until: Option<SystemTime> }
///
/// impl ContextDecider for Offer {
///     fn decide(&self, command: OfferCommand, cx: &Deciding<'_>) -> Result<Vec<OfferEvent>, OfferError> {
///         match command {
///             OfferCommand::Make => Ok(vec![OfferEvent::Made { until: cx.now() + Duration::from_secs(3600) }]),
///             OfferCommand::Accept if self.until.is_none_or(|until| cx.now() > until) => Err(OfferError::Expired),
///             OfferCommand::Accept => {
///                 let by = cx.actor().ok_or(OfferError::Anonymous)?.to_owned();
///                 Ok(vec![OfferEvent::Accepted { by }])
///             }
///         }
///     }
///
///     fn evolve(&mut self, event: &OfferEvent) {
///         match event {
///             OfferEvent::Made { until } => self.until = Some(*until),
///             OfferEvent::Accepted { .. } => self.until = None,
///         }
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), eventfold_es::Error> {
/// # let directory = tempfile::tempdir().unwrap();
/// let store = AggregateStore::open(directory.path()).await?;
/// store.send("o-1", OfferCommand::Make, ()).await?;
/// let alice = CommandContext::default().with_actor("alice");
/// let accepted = store.send("o-1", OfferCommand::Accept, alice).await?;
/// assert_eq!(accepted.events, [OfferEvent::Accepted { by: "alice".into() }]);
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is declared with `#[aggregate(context)]` but does not decide its commands",
    label = "`impl ContextDecider for {Self}` is missing",
    note = "write `impl ContextDecider for {Self} {{ fn decide(&self, command: .., cx: &Deciding<'_>) -> Result<Vec<..>, ..> {{ .. }} fn evolve(&mut self, event: &..) {{ .. }} }}`",
    note = "`impl Decider for {Self}` decides without a context: for that one, write `#[aggregate]` without `context`"
)]
pub trait ContextDecider: DecidesWithContext + DeclaredAggregate {
    /// Decides `command` against the current state, in its context: the events it causes, or a rejection.
    ///
    /// # Errors
    ///
    /// The rejection of the aggregate. It stores nothing.
    fn decide(
        &self,
        command: <Self as DeclaredAggregate>::Command,
        cx: &Deciding<'_>,
    ) -> Result<Vec<<Self as DeclaredAggregate>::DomainEvent>, <Self as DeclaredAggregate>::Error>;

    /// Folds one event into the state.
    fn evolve(&mut self, event: &<Self as DeclaredAggregate>::DomainEvent);
}

/// A type that decides with a context also decides without a context. So one type cannot implement both by hand, and a
/// forgotten `context` is one error.
#[diagnostic::do_not_recommend]
impl<A: ContextDecider> Decider for A {
    fn decide(
        &self,
        command: <Self as DeclaredAggregate>::Command,
    ) -> Result<Vec<<Self as DeclaredAggregate>::DomainEvent>, <Self as DeclaredAggregate>::Error>
    {
        ContextDecider::decide(self, command, &Deciding::default())
    }

    fn evolve(&mut self, event: &<Self as DeclaredAggregate>::DomainEvent) {
        ContextDecider::evolve(self, event);
    }
}
