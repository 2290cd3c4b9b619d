//! The aggregate types whose commands go to the leader: those that are registered as targets of commands.

use std::any::{Any, type_name};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;

use serde_json::value::{RawValue, to_raw_value};

use super::wire::{AskedCommand, Told};
use crate::command::CommandContext;
use crate::envelope::DispatchTarget;
use crate::error::StoreError;
use crate::runtime::{Kept, guard};
use crate::store::{AggregateStore, Transaction};

/// The execution of a command of another node.
type Executing<'a> = Pin<Box<dyn Future<Output = Told> + Send + 'a>>;

/// The calls for the commands of one aggregate type, which this code does not know.
#[derive(Clone, Copy)]
pub(in crate::store) struct ForwardRoute {
    /// The JSON of a `Kept<A::Command>`.
    pub(in crate::store) encode: fn(&dyn Any) -> Result<Box<RawValue>, StoreError>,
    /// A `Kept<A::Command>`, from its JSON.
    pub(in crate::store) decode: fn(&RawValue) -> Result<Box<dyn Any + Send>, StoreError>,
    /// Executes a command of a node that has the log up to a batch.
    pub(super) execute:
        for<'a> fn(&'a AggregateStore, &'a AskedCommand<'a>, CommandContext, u64) -> Executing<'a>,
    /// Adds a command to a transaction.
    pub(in crate::store) add: fn(Transaction, &AskedCommand<'_>) -> Result<Transaction, StoreError>,
}

/// See the [module](self).
#[derive(Default)]
pub(in crate::store) struct ForwardRoutes(HashMap<&'static str, ForwardRoute>);

impl ForwardRoutes {
    pub(in crate::store) fn add<A: DispatchTarget>(&mut self) {
        let route = ForwardRoute {
            encode: encode::<A>,
            decode: |json| Ok(Box::new(decode::<A>(json)?)),
            execute: execute::<A>,
            add: add::<A>,
        };
        self.0.insert(A::AGGREGATE_TYPE, route);
    }

    pub(in crate::store) fn of(&self, aggregate_type: &str) -> Option<ForwardRoute> {
        self.0.get(aggregate_type).copied()
    }
}

fn encode<A: DispatchTarget>(command: &dyn Any) -> Result<Box<RawValue>, StoreError> {
    let Some(command) = command.downcast_ref::<Kept<A::Command>>() else {
        return Err(StoreError::InvalidName {
            name: A::AGGREGATE_TYPE.to_owned(),
            type_name: type_name::<A>(),
            reason: "the command has another type than its target decides".to_owned(),
        });
    };
    let encoded = guard(
        || format!("the encoding of a command of `{}`", A::AGGREGATE_TYPE),
        || to_raw_value(&**command),
    )?;
    encoded.map_err(|error| {
        let reason = format!("the command does not serialize for its way to the leader: {error}");
        let reason = reason.into();
        StoreError::Refused { reason }
    })
}

fn decode<A: DispatchTarget>(json: &RawValue) -> Result<Kept<A::Command>, StoreError> {
    let decoded = guard(
        || format!("the decoding of a command of `{}`", A::AGGREGATE_TYPE),
        || serde_json::from_str(json.get()).map(Kept::new),
    )?;
    decoded.map_err(|error| {
        let name = A::AGGREGATE_TYPE;
        let reason = format!("the command does not fit `{name}` on the leader: {error}");
        let reason = reason.into();
        StoreError::Refused { reason }
    })
}

fn execute<'a, A: DispatchTarget>(
    store: &'a AggregateStore,
    asked: &'a AskedCommand<'a>,
    context: CommandContext,
    known: u64,
) -> Executing<'a> {
    Box::pin(async move {
        let command = match decode::<A>(asked.command) {
            Ok(command) => command,
            Err(error) => return error.into(),
        };
        match store.get::<A>(&asked.id).await {
            Ok(handle) => handle.execute_for_node(command, &context, known).await,
            Err(error) => error.into(),
        }
    })
}

fn add<A: DispatchTarget>(
    transaction: Transaction,
    asked: &AskedCommand<'_>,
) -> Result<Transaction, StoreError> {
    let command = decode::<A>(asked.command)?;
    Ok(transaction.add_asked::<A>(&asked.id, command.into_inner(), asked.expected_version))
}
