//! Envelopes: a command with its address, typed for the runtime and erased for the dead-letter log.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::aggregate::Aggregate;
use crate::command::CommandContext;

/// An aggregate that process managers can send commands to: its commands can be written to the dead-letter log and read back.
///
/// Implemented for every aggregate whose command is `Clone + Serialize + DeserializeOwned`.
#[diagnostic::on_unimplemented(
    message = "the commands of `{Self}` cannot be dispatched by a process manager",
    label = "its command type cannot be stored as a dead letter",
    note = "a dispatched command is kept when it is rejected: put `#[derive(Clone, Serialize, Deserialize)]` on the command type of `{Self}`"
)]
pub trait DispatchTarget:
    Aggregate<Command: Clone + Serialize + DeserializeOwned + Send + 'static>
{
}

impl<A> DispatchTarget for A
where
    A: Aggregate,
    A::Command: Clone + Serialize + DeserializeOwned + Send + 'static,
{
}

/// A typed command with its address.
pub struct Envelope<A: Aggregate> {
    /// The instance that decides the command.
    pub instance_id: String,
    /// The command.
    pub command: A::Command,
    /// The context of the command.
    pub context: CommandContext,
}

impl<A: Aggregate> Envelope<A> {
    /// Addresses `command` to the instance `instance_id`.
    pub fn new(
        instance_id: impl Into<String>,
        command: A::Command,
        context: impl Into<CommandContext>,
    ) -> Self {
        Self {
            instance_id: instance_id.into(),
            command,
            context: context.into(),
        }
    }
}

impl<A: DispatchTarget> Envelope<A> {
    /// The erased form, for storage and operators.
    ///
    /// # Errors
    ///
    /// The error of serde if the command does not serialize.
    pub fn erase(&self) -> Result<CommandEnvelope, serde_json::Error> {
        Ok(CommandEnvelope {
            aggregate_type: A::AGGREGATE_TYPE.to_owned(),
            instance_id: self.instance_id.clone(),
            command: serde_json::to_value(&self.command)?,
            context: self.context.clone(),
        })
    }
}

impl<A: Aggregate> Clone for Envelope<A>
where
    A::Command: Clone,
{
    fn clone(&self) -> Self {
        Self {
            instance_id: self.instance_id.clone(),
            command: self.command.clone(),
            context: self.context.clone(),
        }
    }
}

impl<A: Aggregate> fmt::Debug for Envelope<A>
where
    A::Command: Serialize,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = serde_json::to_string(&self.command);
        f.debug_struct("Envelope")
            .field("aggregate_type", &A::AGGREGATE_TYPE)
            .field("instance_id", &self.instance_id)
            .field(
                "command",
                &command.as_deref().unwrap_or("<does not serialize>"),
            )
            .field("context", &self.context)
            .finish()
    }
}

/// The erased form of a command with its address. The dead-letter log holds it. Hand-written process managers without
/// compile-time targets produce it.
///
/// `aggregate_type` routes it, through the types registered with
/// [`AggregateStoreBuilder::aggregate_type`](crate::AggregateStoreBuilder::aggregate_type).
///
/// # Examples
///
/// ```
/// use eventfold_es::{CommandContext, CommandEnvelope};
///
/// let envelope = CommandEnvelope {
///     aggregate_type: "inventory".to_owned(),
///     instance_id: "inv-W-1".to_owned(),
///     command: serde_json::json!({ "Reserve": { "qty": 2 } }),
///     context: CommandContext::default(),
/// };
/// let line = serde_json::to_string(&envelope)?;
/// assert_eq!(serde_json::from_str::<CommandEnvelope>(&line)?, envelope);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CommandEnvelope {
    /// The stored name of the target's aggregate type.
    pub aggregate_type: String,
    /// The instance that decides the command.
    pub instance_id: String,
    /// The command as JSON.
    pub command: Value,
    /// The context of the command.
    pub context: CommandContext,
}

/// The output of a process manager: a command that routes itself to a target.
///
/// `#[process_manager]` generates an enum with one variant per dispatch target, whose `route` is a `match`.
pub trait Dispatch: 'static {
    /// Names every target that is known at compile time. Registering the process manager then registers these targets.
    fn targets(targets: &mut impl TargetVisitor);

    /// Passes this command to the router, typed or erased.
    fn route<R: Router>(self, router: R) -> R::Routed;
}

/// Receives the dispatch targets of a process manager.
pub trait TargetVisitor {
    /// One target.
    fn target<A: DispatchTarget>(&mut self);
}

/// Receives one command of a process manager.
pub trait Router {
    /// The result for the command.
    type Routed;

    /// Receives a command with a target that is known at compile time.
    fn typed<A: DispatchTarget>(self, envelope: Envelope<A>) -> Self::Routed;

    /// Receives a command with a target that must be looked up by its stored name.
    fn erased(self, envelope: CommandEnvelope) -> Self::Routed;
}

impl Dispatch for CommandEnvelope {
    fn targets(_targets: &mut impl TargetVisitor) {}

    fn route<R: Router>(self, router: R) -> R::Routed {
        router.erased(self)
    }
}
