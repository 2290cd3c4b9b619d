//! The stored states of process managers.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::guarded::{Kept, guard};
use crate::finite;
use crate::journal::Progress;
use crate::process_manager::{FailureCause, ProcessManager, StoredState};

/// Encodes a state, and checks that it reads back. Otherwise the store could not be opened again.
pub(super) fn encode_state<PM: ProcessManager>(state: &PM) -> Result<Box<RawValue>, FailureCause> {
    round_trip(state).map(|(encoded, _)| encoded)
}

/// [`encode_state`], and the state as it reads back. A process manager that continues with this state behaves the same before and after a
/// restart, even if it differs from the original.
pub(super) fn round_trip<PM: ProcessManager>(
    state: &PM,
) -> Result<(Box<RawValue>, Kept<PM>), FailureCause> {
    let encoded = guard(
        || format!("the encoding of the state of `{}`", PM::NAME),
        || {
            let encoded = one_line(state)
                .map_err(|error| format!("the state does not serialize: {error}"))?;
            match serde_json::from_str::<Kept<PM>>(encoded.get()) {
                Ok(read) => Ok((encoded, read)),
                Err(error) => Err(format!("the state does not read back: {error}")),
            }
        },
    );
    match encoded {
        Ok(encoded) => encoded.map_err(|reason| FailureCause::Undecodable { reason }),
        Err(error) => Err(FailureCause::Panicked {
            message: error.to_string(),
        }),
    }
}

/// Decodes a state that this version of the program has stored.
pub(super) fn decode_state<PM: ProcessManager>(state: &str) -> Result<PM, String> {
    let decoded = guard(
        || format!("the decoding of the state of `{}`", PM::NAME),
        || serde_json::from_str(state),
    );
    let decoded = decoded.map_err(|error| error.to_string())?;
    decoded.map_err(|error| error.to_string())
}

/// The initial state.
pub(super) fn default_state<PM: ProcessManager>() -> Result<Kept<PM>, String> {
    let state = guard(|| format!("the default of `{}`", PM::NAME), Kept::default);
    state.map_err(|error| error.to_string())
}

/// Encodes a value without line breaks. A commit is one line, and raw JSON inside the value may contain line breaks.
fn one_line(value: &impl Serialize) -> Result<Box<RawValue>, serde_json::Error> {
    let encoded = finite::to_raw_value(value)?;
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
pub(crate) fn migrated<PM: ProcessManager>(
    version: u32,
    state: &str,
) -> Result<Box<RawValue>, String> {
    let migrated = guard(
        || format!("the migration of the state of `{}`", PM::NAME),
        || StoredState::new(version, state).into_current::<PM>(),
    );
    let state = migrated.map_err(|error| error.to_string())?;
    let state = Kept::new(state.map_err(|error| error.to_string())?);
    encode_state::<PM>(&state).map_err(|cause| cause.reason())
}

/// The progress of a process manager before its first event.
///
/// # Errors
///
/// The reason, if the default state does not serialize or does not read back.
pub(crate) fn initial_progress<PM: ProcessManager>() -> Result<Progress, String> {
    if PM::IS_KEYED {
        // Each instance has its own state.
        let state = RawValue::NULL.to_owned();
        return Ok(Progress { position: 0, state });
    }
    let state = encode_state::<PM>(&*default_state()?).map_err(|cause| cause.reason())?;
    Ok(Progress { position: 0, state })
}
