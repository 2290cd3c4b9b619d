//! The routes of process managers' commands. A typed command goes to its type. An erased command goes to the type that is registered under
//! its stored name.

use std::collections::HashMap;

use super::guarded::guard;
use super::staging::{Staged, Undeliverable, stage};
use super::types::AggregateTypes;
use crate::envelope::{CommandEnvelope, DispatchTarget, Envelope, Router};
use crate::error::{DispatchError, StoreError};
use crate::short;

/// Turns an erased envelope into a command for its type.
type Route = fn(&AggregateTypes, CommandEnvelope) -> Result<Staged, Box<Undeliverable>>;

/// Claims the stored name of a target for its type.
type Claim = fn(&AggregateTypes) -> Result<(), StoreError>;

/// The dispatch targets of a store.
#[derive(Default)]
pub(crate) struct Routes {
    routes: HashMap<&'static str, Route>,
    claims: Vec<Claim>,
}

impl Routes {
    pub(crate) fn add<A: DispatchTarget>(&mut self) {
        self.routes.insert(A::AGGREGATE_TYPE, route::<A>);
        self.claims.push(|types| types.cells::<A>().map(drop));
    }

    /// Claims the names of all targets for their types.
    ///
    /// # Errors
    ///
    /// The errors of [`AggregateTypes::cells`].
    pub(crate) fn claim_names(&self, types: &AggregateTypes) -> Result<(), StoreError> {
        self.claims.iter().try_for_each(|claim| claim(types))
    }
}

fn route<A: DispatchTarget>(
    types: &AggregateTypes,
    envelope: CommandEnvelope,
) -> Result<Staged, Box<Undeliverable>> {
    let decoded = guard(
        || format!("the decoding of a command of `{}`", A::AGGREGATE_TYPE),
        || serde_json::from_value(envelope.command.clone()),
    );
    let decoded = match decoded {
        Ok(decoded) => decoded,
        Err(error) => return Err(Undeliverable::panicked(envelope, &error)),
    };
    match decoded {
        Ok(command) => {
            let envelope = Envelope::<A>::new(envelope.instance_id, command, envelope.context);
            stage(types, envelope)
        }
        Err(source) => {
            let error = DispatchError::Deserialization {
                aggregate_type: A::AGGREGATE_TYPE.to_owned(),
                source,
            };
            Err(Undeliverable::new(envelope, short::reason(error)))
        }
    }
}

/// Routes one envelope of a reaction.
pub(super) struct Stage<'a> {
    pub(super) types: &'a AggregateTypes,
    pub(super) routes: &'a Routes,
}

impl Router for Stage<'_> {
    type Routed = Result<Staged, Box<Undeliverable>>;

    fn typed<A: DispatchTarget>(self, envelope: Envelope<A>) -> Self::Routed {
        stage(self.types, envelope)
    }

    fn erased(self, envelope: CommandEnvelope) -> Self::Routed {
        match self.routes.routes.get(envelope.aggregate_type.as_str()) {
            Some(route) => route(self.types, envelope),
            None => {
                let error = DispatchError::UnknownAggregateType(envelope.aggregate_type.clone());
                Err(Undeliverable::new(envelope, error.to_string()))
            }
        }
    }
}
