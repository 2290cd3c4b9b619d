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

/// What travels with a command and is stored with its events: who, from where, and as part of what.
///
/// `actor` becomes [`eventfold::Event::actor`]; the rest is merged into its `meta`: the entries of `metadata` (if it is a
/// JSON object), then `correlation_id` and `source_device` under these names.
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
    /// Further entries for the `meta` of the events.
    pub metadata: Option<Value>,
    /// The device that issued the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_device: Option<String>,
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
}
