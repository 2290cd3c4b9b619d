//! The stored states of process managers.

use serde_json::value::{RawValue, to_raw_value};

use super::guarded::guard;
use super::process_manager::definition::{Definition, State};
use crate::journal::Progress;
use crate::process_manager::{FailureCause, StoredState};
use crate::short;

/// Encodes a state, and returns it also as it reads back. Otherwise the store could not be opened again. A process manager that continues
/// with this state behaves the same before and after a restart, even if it differs from the original.
pub(super) fn round_trip(
    definition: &Definition,
    state: &State,
) -> Result<(Box<RawValue>, State), FailureCause> {
    let encoded = guard(
        || format!("the encoding of the state of `{}`", definition.name),
        || {
            let encoded = state.encode().and_then(one_line);
            let encoded = encoded.map_err(|error| {
                format!("the state does not serialize: {}", short::reason(error))
            })?;
            match (definition.decode)(encoded.get()) {
                Ok(read) => Ok((encoded, read)),
                Err(error) => Err(format!(
                    "the state does not read back: {}",
                    short::reason(error)
                )),
            }
        },
    );
    match encoded {
        Ok(encoded) => encoded.map_err(|reason| FailureCause::Undecodable { reason }),
        Err(error) => Err(FailureCause::Panicked {
            message: short::reason(error),
        }),
    }
}

/// Encodes a state, and checks that it reads back.
pub(super) fn encode_state(
    definition: &Definition,
    state: &State,
) -> Result<Box<RawValue>, FailureCause> {
    round_trip(definition, state).map(|(encoded, _)| encoded)
}

/// Decodes a state that this version of the program has stored.
pub(super) fn decode_state(definition: &Definition, state: &str) -> Result<State, String> {
    let decoded = guard(
        || format!("the decoding of the state of `{}`", definition.name),
        || (definition.decode)(state),
    );
    let decoded = decoded.map_err(short::reason)?;
    decoded.map_err(short::reason)
}

/// The initial state.
pub(super) fn default_state(definition: &Definition) -> Result<State, String> {
    let state = guard(
        || format!("the default of `{}`", definition.name),
        definition.default,
    );
    state.map_err(short::reason)
}

/// The same value without line breaks. A commit is one line, and raw JSON inside the value may contain line breaks.
fn one_line(encoded: Box<RawValue>) -> Result<Box<RawValue>, serde_json::Error> {
    if encoded.get().contains(['\n', '\r']) {
        to_raw_value(&serde_json::from_str::<serde_json::Value>(encoded.get())?)
    } else {
        Ok(encoded)
    }
}

/// Migrates the state of an earlier version to the stored form of this version.
///
/// # Errors
///
/// The reason why the migration fails.
pub(crate) fn migrated(
    definition: &Definition,
    version: u32,
    state: &str,
) -> Result<Box<RawValue>, String> {
    let migrated = guard(
        || format!("the migration of the state of `{}`", definition.name),
        || (definition.current)(StoredState::new(version, state)),
    );
    let state = migrated.map_err(short::reason)?;
    let state = state.map_err(short::reason)?;
    encode_state(definition, &state).map_err(|cause| cause.reason())
}

/// The progress of a process manager before its first event.
///
/// # Errors
///
/// The reason, if the default state does not serialize or does not read back.
pub(crate) fn initial_progress(definition: &Definition) -> Result<Progress, String> {
    if definition.is_keyed {
        // Each instance has its own state.
        let state = RawValue::NULL.to_owned();
        return Ok(Progress { position: 0, state });
    }
    let state = default_state(definition)?;
    let state = encode_state(definition, &state).map_err(|cause| cause.reason())?;
    Ok(Progress { position: 0, state })
}
