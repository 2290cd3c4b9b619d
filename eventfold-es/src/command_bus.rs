//! Routing of commands by their Rust type.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;

use crate::aggregate::Aggregate;
use crate::command::CommandContext;
use crate::error::{DispatchError, ExecuteError};
use crate::runtime::Kept;
use crate::store::AggregateStore;

type Dispatched<'a> = Pin<Box<dyn Future<Output = Result<(), DispatchError>> + Send + 'a>>;
type Route =
    for<'a> fn(&'a AggregateStore, &'a str, Box<dyn Any + Send>, CommandContext) -> Dispatched<'a>;

/// Routes commands to aggregates by their type, for programs that learn the set of commands at run time.
///
/// If the command type is known, prefer [`AggregateStore::send`]: it needs no registration and cannot meet an unknown
/// command.
///
/// # Examples
///
/// ```
/// # use eventfold_es::prelude::*;
/// use eventfold_es::{AggregateStore, CommandBus};
/// # #[derive(Debug, Clone, Serialize, Deserialize)]
/// # pub enum LampCommand { Switch }
/// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
/// # #[serde(tag = "type", content = "data")]
/// # pub enum LampEvent { Switched }
/// # #[aggregate(error = std::convert::Infallible)]
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Lamp { on: bool }
/// # impl Decider for Lamp {
/// #     fn decide(&self, _: LampCommand) -> Result<Vec<LampEvent>, std::convert::Infallible> { Ok(vec![LampEvent::Switched]) }
/// #     fn evolve(&mut self, _: &LampEvent) { self.on = !self.on }
/// # }
/// # #[tokio::main]
/// # async fn main() -> Result<(), eventfold_es::Error> {
/// # let directory = tempfile::tempdir().unwrap();
/// let store = AggregateStore::open(directory.path()).await?;
/// let mut bus = CommandBus::new(store);
/// bus.register::<Lamp>();
/// bus.dispatch("hall", LampCommand::Switch, ()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct CommandBus {
    store: AggregateStore,
    routes: HashMap<TypeId, Route>,
}

impl CommandBus {
    /// A bus without routes.
    #[must_use]
    pub fn new(store: AggregateStore) -> Self {
        Self {
            store,
            routes: HashMap::new(),
        }
    }

    /// Routes commands of the type `A::Command` to `A`. A later registration for the same type replaces it.
    pub fn register<A: Aggregate>(&mut self) {
        self.routes.insert(TypeId::of::<A::Command>(), route::<A>);
    }

    /// Executes a command on the instance `instance_id` of the aggregate that is registered for its type.
    ///
    /// # Errors
    ///
    /// [`DispatchError::UnknownCommand`] if no aggregate is registered; [`DispatchError::Execution`] with the
    /// [`ExecuteError`](crate::ExecuteError) of the aggregate.
    ///
    /// # Cancel safety
    ///
    /// As [`AggregateHandle::execute`](crate::AggregateHandle::execute).
    pub async fn dispatch<C: Send + 'static>(
        &self,
        instance_id: &str,
        command: C,
        context: impl Into<CommandContext>,
    ) -> Result<(), DispatchError> {
        let context = context.into();
        let command = Kept::new(command);
        match self.routes.get(&TypeId::of::<C>()) {
            Some(route) => route(&self.store, instance_id, Box::new(command), context).await,
            None => Err(DispatchError::UnknownCommand(type_name::<C>())),
        }
    }
}

fn route<'a, A: Aggregate>(
    store: &'a AggregateStore,
    instance_id: &'a str,
    command: Box<dyn Any + Send>,
    context: CommandContext,
) -> Dispatched<'a> {
    Box::pin(async move {
        let command = command
            .downcast::<Kept<A::Command>>()
            .map_err(|_| DispatchError::UnknownCommand(type_name::<A::Command>()))?;
        let failed = |error: ExecuteError<A::Error>| DispatchError::Execution(Box::new(error));
        let handle = store
            .get::<A>(instance_id)
            .await
            .map_err(|error| failed(error.into()))?;
        handle
            .execute(command.into_inner(), context)
            .await
            .map_err(failed)?;
        Ok(())
    })
}
