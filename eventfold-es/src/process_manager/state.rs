//! The stored states of process managers, and their migration.

use std::cmp::Ordering;
use std::fmt;

use serde::de::DeserializeOwned;

use super::{DeclaredProcessManager, ProcessManager};
use crate::short;

/// The stored state of a process manager, or of one of its instances.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StoredState<'a> {
    version: u32,
    json: &'a str,
}

impl<'a> StoredState<'a> {
    /// A state that version `version` of its process manager stored as `json`.
    #[must_use]
    pub fn new(version: u32, json: &'a str) -> Self {
        Self { version, json }
    }

    /// The `state_version` of the program that stored it.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The state as JSON.
    #[must_use]
    pub fn json(&self) -> &'a str {
        self.json
    }

    /// The state as its type of that version.
    ///
    /// # Errors
    ///
    /// [`MigrationError::Malformed`] if it does not decode as that type.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, MigrationError> {
        serde_json::from_str(self.json).map_err(|error| MigrationError::Malformed {
            version: self.version,
            reason: short::reason(error),
        })
    }

    /// The current state: decoded if the program's version stored it, otherwise migrated.
    ///
    /// # Errors
    ///
    /// [`MigrationError`] if it does not decode, comes from a newer program, or is older and has no migration.
    pub fn into_current<PM: ProcessManager>(self) -> Result<PM, MigrationError> {
        match self.version.cmp(&PM::STATE_VERSION) {
            Ordering::Equal => self.decode(),
            Ordering::Less => PM::migrate_state(self),
            Ordering::Greater => Err(MigrationError::Newer {
                version: self.version,
                current: PM::STATE_VERSION,
            }),
        }
    }
}

impl fmt::Debug for StoredState<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredState")
            .field("version", &self.version)
            .field("json", &format_args!("{}", self.json))
            .finish()
    }
}

/// The migration of states of earlier versions, written by the user of `#[process_manager(.., state_version = 2)]`.
///
/// # Examples
///
/// ```
/// use eventfold_es::prelude::*;
/// use eventfold_es::MigrationError;
/// use eventfold_es::StoredState;
/// # trait MigrateState: Sized {
/// #     fn migrate(state: StoredState<'_>) -> Result<Self, MigrationError>;
/// # }
///
/// #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
/// struct Shipping { addresses: Vec<String> }
///
/// impl MigrateState for Shipping {
///     fn migrate(state: StoredState<'_>) -> Result<Self, MigrationError> {
///         #[derive(Deserialize)]
///         struct V1 { address: String }
///
///         match state.version() {
///             1 => Ok(Self { addresses: vec![state.decode::<V1>()?.address] }),
///             _ => Err(MigrationError::unknown(state)),
///         }
///     }
/// }
///
/// let stored = StoredState::new(1, r#"{"address":"5 Main St"}"#);
/// assert_eq!(Shipping::migrate(stored)?, Shipping { addresses: vec!["5 Main St".to_owned()] });
/// # Ok::<(), MigrationError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has a `state_version` above 1, but does not say how older states become current",
    label = "`impl MigrateState for {Self}` is missing",
    note = "write `impl MigrateState for {Self} {{ fn migrate(state: StoredState<'_>) -> Result<Self, MigrationError> {{ .. }} }}`"
)]
pub trait MigrateState: DeclaredProcessManager<Declared: StateVersioned> {
    /// Converts a state of an earlier version to the current version.
    ///
    /// # Errors
    ///
    /// [`MigrationError`] if it cannot convert the state. The state stays unchanged, and the error appears at the work
    /// that needs the state.
    fn migrate(state: StoredState<'_>) -> Result<Self, MigrationError>;
}

/// Marks a process manager with a `state_version` above 1. The attribute generates it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no older states to migrate: its `state_version` is 1",
    label = "not needed",
    note = "add `state_version = 2` to `#[process_manager(..)]` of `{Self}`, or remove this impl"
)]
pub trait StateVersioned {}

/// A stored state that cannot be converted to the current version.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum MigrationError {
    /// The state is older, and there is no migration from its version.
    #[error(
        "the state was stored by version {version}, and there is no migration from it: declare `state_version` and handle that \
         version in `MigrateState`"
    )]
    Unknown {
        /// The version that stored it.
        version: u32,
    },
    /// The state was stored by a newer program.
    #[error(
        "the state was stored by version {version}, and this program knows versions up to {current}: run the newer program"
    )]
    Newer {
        /// The version that stored it.
        version: u32,
        /// The version of this program.
        current: u32,
    },
    /// The state does not decode.
    #[error(
        "the state of version {version} does not decode: {reason}. Give new fields `#[serde(default)]`, or raise `state_version` \
         and migrate"
    )]
    Malformed {
        /// The version that stored it.
        version: u32,
        /// The error of serde.
        reason: String,
    },
    /// The reason of a migration.
    #[error("{0}")]
    Other(String),
}

impl MigrationError {
    /// The error of a state without a migration from its version.
    #[must_use]
    pub fn unknown(state: StoredState<'_>) -> Self {
        Self::Unknown {
            version: state.version,
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::envelope::CommandEnvelope;
    use crate::event::RecordedEvent;
    use crate::process_manager::ReactError;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    struct Third {
        names: Vec<String>,
    }

    impl ProcessManager for Third {
        const NAME: &'static str = "third";
        const STATE_VERSION: u32 = 3;
        type Envelope = CommandEnvelope;

        fn subscriptions(&self) -> &'static [&'static str] {
            &[]
        }

        fn react(
            &mut self,
            _: &str,
            _: &str,
            _: &RecordedEvent,
        ) -> Result<Vec<CommandEnvelope>, ReactError> {
            Ok(Vec::new())
        }

        fn migrate_state(state: StoredState<'_>) -> Result<Self, MigrationError> {
            match state.version() {
                2 => Ok(Self {
                    names: vec![state.decode()?],
                }),
                _ => Err(MigrationError::unknown(state)),
            }
        }
    }

    fn current(version: u32, json: &str) -> Result<Third, String> {
        let state = StoredState::new(version, json);
        state.into_current().map_err(|error| error.to_string())
    }

    #[test]
    fn a_state_is_decoded_or_migrated_or_refused() {
        let ann = Third {
            names: vec!["Ann".to_owned()],
        };
        assert_eq!(current(3, r#"{"names":["Ann"]}"#), Ok(ann));
        let ann = current(2, r#""Ann""#);
        assert_eq!(ann.map(|state| state.names), Ok(vec!["Ann".to_owned()]));
        let refused = [
            (1, "null", "no migration from it"),
            (2, "7", "the state of version 2 does not decode"),
            (3, "{}", "missing field `names`"),
            (4, r#"{"names":[]}"#, "knows versions up to 3"),
        ];
        for (version, json, says) in refused {
            let error = current(version, json).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
