//! Commands and the context that travels with them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::aggregate::Aggregate;

/// The command type of exactly one aggregate, so that a command routes itself.
///
/// `#[aggregate]` generates it; with a hand-written [`Aggregate`] write
/// `impl Command for OrderCommand { type Aggregate = Order; }`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the command of any aggregate",
    label = "not a command",
    note = "a command is the type named by `#[aggregate(command = ..)]`"
)]
pub trait Command: Send + Sized + 'static {
    /// The aggregate that decides this command.
    type Aggregate: Aggregate<Command = Self>;
}

/// The entries of the `meta` of events that only the store makes.
pub(crate) const RESERVED_METADATA: [&str; 4] =
    ["command_id", "causation_id", "correlation_id", "depth"];

/// What travels with a command and is stored with its events: who, from where, and as part of what.
///
/// `actor` becomes [`eventfold::Event::actor`]; the rest is merged into its `meta`: the entries of `metadata` (if it is a
/// JSON object), then `correlation_id`, `causation_id` and `source_device` under these names.
///
/// The names `command_id`, `causation_id`, `correlation_id` and `depth` belong to the store: a command whose `metadata` has one
/// of them is refused with [`StoreError::ReservedMetadata`](crate::StoreError::ReservedMetadata). The events that a command of a
/// process manager causes have all four:
///
/// - `command_id` names the command, for ever: it is a hash of the process manager, its instance, the position of the event that was
///   reacted to, and the place of the command among those sent there.
/// - `causation_id` is the id of the event that was reacted to (`@` and its position if it has none).
/// - `correlation_id` is that of the event, or the event's id where a chain begins; a context that sets another one begins another
///   conversation.
/// - `depth` counts the reactions that led here, from 1; see
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
pub struct CommandContext {
    /// Who issued the command.
    pub actor: Option<String>,
    /// The request or conversation that the command belongs to.
    pub correlation_id: Option<String>,
    /// What caused the command, if its caller knows: the id of an event or of a message from elsewhere. What a process manager
    /// sets here is not stored, since the store knows what caused its commands.
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
}

impl CommandContext {
    /// Sets who issued the command.
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

    /// Sets what caused the command.
    #[must_use]
    pub fn with_causation_id(mut self, id: impl Into<String>) -> Self {
        self.causation_id = Some(id.into());
        self
    }

    /// Sets further entries for the `meta` of the events; anything but a JSON object is not stored.
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

    /// Sets the key under which the aggregate executes the command at most once: a retry with the same key answers as the first
    /// one did, with the same events, version and position, and does nothing.
    ///
    /// - What counts is the key, not the command: a retry does not look at the command at all.
    /// - A key belongs to one aggregate. Under the same key, another aggregate executes a command of its own.
    /// - It is stored with the events, and counts for ever: after a restart, an eviction, or a crash.
    /// - Only commands that stored events are remembered. One that was rejected, or had nothing to do, or could not be stored,
    ///   is decided afresh. While the first one is on its way, a retry waits for it and shares its outcome.
    /// - A process manager may set it too: a command that its target knows already counts as dispatched.
    ///
    /// The first command with a key on an aggregate that is not in memory reads the events of the aggregate once; from then on
    /// its keys are held in memory, until it is evicted.
    ///
    /// A key has 1 to 512 bytes and no control characters; anything else is refused with
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
}
