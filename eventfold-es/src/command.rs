//! Commands and their context.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::__private::Shows;
use crate::aggregate::Aggregate;

/// The command type of exactly one aggregate, which routes the command.
///
/// `#[aggregate]` generates it. For a hand-written [`Aggregate`] write
/// `impl Command for OrderCommand { type Aggregate = Order; }`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the command of any aggregate",
    label = "not a command",
    note = "a command is the type named by `#[aggregate(command = ..)]`",
    note = "a store takes the id, the command and its context, as in `store.send(\"ord-1\", OrderCommand::Cancel, ())`"
)]
pub trait Command: Send + Sized + 'static {
    /// The aggregate that decides this command.
    type Aggregate: Aggregate<Command = Self>;
}

/// The aggregate of a command type, without the bound on that aggregate. `#[aggregate]` generates it, and [`Command`]
/// follows from it.
///
/// With a bound on the aggregate, rustc would report each missing part of the aggregate again here.
pub trait DecidedBy {
    /// The aggregate that decides this command.
    type Aggregate;
}

#[diagnostic::do_not_recommend]
impl<C> Command for C
where
    C: DecidedBy + Send + 'static,
    <C as DecidedBy>::Aggregate: Aggregate<Command = C>,
{
    type Aggregate = <C as DecidedBy>::Aggregate;
}

/// The id of an instance of the aggregate `A`, for [`Reaction::send`](crate::Reaction::send): any value that displays
/// as that id.
///
/// Implemented for every type with `Display`: `&str`, `String`, the numbers, and an id type of your own.
///
/// It depends on `A`. So rustc does not also report the id if the command is missing or wrong.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the id of an instance",
    label = "not an id",
    note = "the id comes first, and then the command, as in `cx.send(\"ord-1\", OrderCommand::Cancel)`",
    note = "an id is whatever has `Display`: a `String`, a `&str`, a number, or `cx.key()`"
)]
pub trait IdOf<A> {
    /// The id as text.
    fn into_id(self) -> String;
}

#[diagnostic::do_not_recommend]
impl<T, A: Shows<T>> IdOf<A> for T {
    fn into_id(self) -> String {
        A::text(self)
    }
}

/// The entries of the `meta` of events that belong to the store.
pub(crate) const RESERVED_METADATA: [&str; 4] =
    ["command_id", "causation_id", "correlation_id", "depth"];

/// The context of a command, which is stored with its events: the actor, the device, and the conversation.
///
/// `actor` becomes [`eventfold::Event::actor`]. The rest is merged into its `meta`: the entries of `metadata` (if it is a JSON
/// object), then `correlation_id`, `causation_id` and `source_device` under these names.
///
/// Each function with a context accepts `()` for an empty context: `execute(command, ())`. It also accepts a type of
/// your own, such as the request of a web framework, with an `impl From<MyRequest> for CommandContext`.
///
/// [`eventfold::Event::actor`]: https://docs.rs/eventfold/0.2/eventfold/struct.Event.html#structfield.actor
///
/// The names `command_id`, `causation_id`, `correlation_id` and `depth` belong to the store. A command with one of them in its
/// `metadata` is refused with [`StoreError::ReservedMetadata`](crate::StoreError::ReservedMetadata). The events that a process
/// manager caused have all four:
///
/// - `command_id` names the command permanently. It is a hash of the process manager, its instance, the position of the source
///   event, and the index of the command.
/// - `causation_id` is the id of the source event (`@` and its position if it has none).
/// - `correlation_id` is the correlation id of the source event, or the id of that event at the head of a chain. A
///   context with another correlation id begins another conversation.
/// - `depth` counts the reactions of the chain, from 1; see
///   [`max_reaction_depth`](crate::AggregateStoreBuilder::max_reaction_depth).
///
/// # Examples
///
/// ```
/// use eventfold_es::CommandContext;
///
/// let context = CommandContext::default().with_actor("user-42").with_correlation_id("req-7");
/// assert_eq!(context.actor.as_deref(), Some("user-42"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CommandContext {
    /// The issuer of the command.
    pub actor: Option<String>,
    /// The request or conversation that the command belongs to.
    pub correlation_id: Option<String>,
    /// The cause of the command, if its caller knows it: the id of an event or of an outside message. A value from a
    /// process manager is not stored, since the store knows the cause of its commands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
    /// Further entries for the `meta` of the events.
    pub metadata: Option<Value>,
    /// The device that issued the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_device: Option<String>,
    /// The key under which the command is executed at most once; see
    /// [`with_idempotency_key`](CommandContext::with_idempotency_key).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// The version that the stream must have; see [`with_expected_version`](CommandContext::with_expected_version).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<u64>,
}

/// An empty context: `execute(command, ())`.
impl From<()> for CommandContext {
    fn from((): ()) -> Self {
        Self::default()
    }
}

impl CommandContext {
    /// Sets the issuer of the command.
    #[must_use]
    pub fn with_actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = Some(actor.into());
        self
    }

    /// Sets the request or conversation that the command belongs to.
    #[must_use]
    pub fn with_correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation_id = Some(id.into());
        self
    }

    /// Sets the cause of the command.
    #[must_use]
    pub fn with_causation_id(mut self, id: impl Into<String>) -> Self {
        self.causation_id = Some(id.into());
        self
    }

    /// Sets further entries for the `meta` of the events. Only a JSON object is stored.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Value) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// Sets the device that issued the command.
    #[must_use]
    pub fn with_source_device(mut self, device: impl Into<String>) -> Self {
        self.source_device = Some(device.into());
        self
    }

    /// Sets the idempotency key: the aggregate executes the command at most once under this key. A retry with the same key
    /// returns the first answer, with the same events, version and position, and does nothing.
    ///
    /// - **Another command under the key** is refused with [`ExecuteError::KeyReused`](crate::ExecuteError::KeyReused), if the
    ///   command type is `Serialize` and `#[aggregate]` declares the aggregate. Commands are compared by their JSON, without
    ///   regard to the order of fields and lists. Some commands cannot be compared, and then only the key counts: a command
    ///   type that is not `Serialize`, an aggregate by hand without [`fingerprint`](crate::Aggregate::fingerprint), and events
    ///   that were stored by either.
    /// - **A retry sends the same command.** A value that is new at each attempt makes it another command: a time, a
    ///   random id, or a text that is encrypted with a new nonce. Keep such a command with its key, or let the
    ///   aggregate make these values. You can also choose the compared part:
    ///   `#[aggregate(fingerprint = OrderCommand::intent)]` names a `fn(&OrderCommand) -> impl Serialize`.
    /// - A key belongs to one aggregate. Under the same key, another aggregate executes a command of its own.
    /// - It is stored with the events, and counts permanently: after a restart, an eviction, or a crash.
    /// - Only commands that stored events are remembered. A command that was rejected, had nothing to do, or could not
    ///   be stored is decided again. While the first command is in flight, a retry waits for it and shares its outcome.
    /// - A process manager may set it too: a command that its target has already executed counts as dispatched.
    ///
    /// A new key usually costs no read: about one in a hundred reads an entry of the index without a match. A retry
    /// reads the line of its first commit.
    ///
    /// A key has 1 to 512 bytes and no control characters. Any other key is refused with
    /// [`StoreError::InvalidIdempotencyKey`](crate::StoreError::InvalidIdempotencyKey) when the command is executed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use eventfold_es::prelude::*;
    /// # use eventfold_es::AggregateStore;
    /// # #[derive(Debug, Clone, Serialize, Deserialize)]
    /// # pub enum AccountCommand { Deposit(u64) }
    /// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
    /// # #[serde(tag = "type", content = "data")]
    /// # pub enum AccountEvent { Deposited(u64) }
    /// # #[aggregate(error = std::convert::Infallible)]
    /// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    /// # pub struct Account { balance: u64 }
    /// # impl Decider for Account {
    /// #     fn decide(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, std::convert::Infallible> {
    /// #         let AccountCommand::Deposit(amount) = command;
    /// #         Ok(vec![AccountEvent::Deposited(amount)])
    /// #     }
    /// #     fn evolve(&mut self, event: &AccountEvent) { let AccountEvent::Deposited(amount) = event; self.balance += amount; }
    /// # }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), eventfold_es::Error> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let store = AggregateStore::open(directory.path()).await?;
    /// let account = store.get::<Account>("alice").await?;
    /// let payment = CommandContext::default().with_idempotency_key("payment-4711");
    /// let first = account.execute(AccountCommand::Deposit(10), payment.clone()).await?;
    /// let again = account.execute(AccountCommand::Deposit(10), payment).await?;
    /// assert_eq!(again, first);
    /// assert_eq!(account.state().await?.balance, 10);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Executes the command only if the stream has this version: the `If-Match` of an HTTP API. The version is the number of
    /// events of the stream, as in [`Executed::version`](crate::Executed::version) and
    /// [`Loaded::version`](crate::Loaded::version). Version 0 means that the aggregate must not exist yet: `If-None-Match: *`.
    ///
    /// A stream with any other version is a [`Conflict`](crate::ExecuteError::Conflict), and nothing is stored.
    ///
    /// - The version counts all earlier commands, including commands with commits that are not durable yet. The answer
    ///   waits for them: if they fail, this command fails too, without a conflict.
    /// - A command that is repeated under an idempotency key returns the first answer, although it moved the version
    ///   itself.
    /// - Several commands of one reaction or transaction to one aggregate each see the events of the earlier commands.
    /// - A conflicting command of a process manager is a rejected command: `on_failure` decides, and by default it
    ///   becomes a dead letter. Retries and [`redrive`](crate::ProcessManagerHandle::redrive) keep the condition. So
    ///   they conflict again with a stream that has changed: discard the dead letter.
    ///
    /// # Examples
    ///
    /// Two clients have read the same version of a profile. The first change counts, and the second client reads again.
    ///
    /// ```
    /// # use eventfold_es::prelude::*;
    /// use eventfold_es::{AggregateHandle, ExecuteError};
    /// # #[derive(Debug, Clone, Serialize, Deserialize)]
    /// # pub enum ProfileCommand { Rename(String) }
    /// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
    /// # #[serde(tag = "type", content = "data")]
    /// # pub enum ProfileEvent { Renamed(String) }
    /// # #[aggregate(error = std::convert::Infallible)]
    /// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    /// # pub struct Profile { name: String }
    /// # impl Decider for Profile {
    /// #     fn decide(&self, command: ProfileCommand) -> Result<Vec<ProfileEvent>, std::convert::Infallible> {
    /// #         let ProfileCommand::Rename(name) = command;
    /// #         Ok(vec![ProfileEvent::Renamed(name)])
    /// #     }
    /// #     fn evolve(&mut self, event: &ProfileEvent) { let ProfileEvent::Renamed(name) = event; self.name.clone_from(name); }
    /// # }
    ///
    /// /// `PUT /profiles/{id}/name` with `If-Match: "{version}"`: a status, and the `ETag` of the answer.
    /// async fn put_name(
    ///     profile: &AggregateHandle<Profile>,
    ///     if_match: u64,
    ///     name: &str,
    /// ) -> Result<(u16, u64), eventfold_es::Error> {
    ///     let context = CommandContext::default().with_expected_version(if_match);
    ///     match profile.execute(ProfileCommand::Rename(name.to_owned()), context).await {
    ///         Ok(done) => Ok((200, done.version)),
    ///         Err(ExecuteError::Conflict { actual, .. }) => Ok((412, actual)),
    ///         Err(error) => Err(error.into()),
    ///     }
    /// }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), eventfold_es::Error> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let store = AggregateStore::open(directory.path()).await?;
    /// let profile = store.get::<Profile>("alice").await?;
    /// assert_eq!(put_name(&profile, 0, "Alice").await?, (200, 1));
    ///
    /// let (mine, yours) = (profile.load().await?, profile.load().await?);
    /// assert_eq!(put_name(&profile, mine.version, "Alice B.").await?, (200, 2));
    /// assert_eq!(put_name(&profile, yours.version, "Alicia").await?, (412, 2));
    /// assert_eq!(profile.state().await?.name, "Alice B.");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_expected_version(mut self, version: u64) -> Self {
        self.expected_version = Some(version);
        self
    }
}
