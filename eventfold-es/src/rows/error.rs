use super::EncodeError;
use crate::error::StoreError;

/// Rows that cannot be read or changed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum RowsError {
    /// A stored row does not decode into the type that is registered now.
    #[error(
        "the row {key} of the projection `{projection}` does not decode: {reason}. Give new fields `#[serde(default)]`, or raise \
         `version = ..` in `#[projection(..)]`, which rebuilds all rows"
    )]
    Undecodable {
        /// The stored name of the projection.
        projection: &'static str,
        /// The key, as JSON if it decodes.
        key: String,
        /// The error of serde.
        reason: String,
    },
    /// A row that does not serialize.
    #[error("the row of the projection `{projection}` does not serialize: {reason}")]
    Unstorable {
        /// The stored name of the projection.
        projection: &'static str,
        /// The error of serde.
        reason: String,
    },
    /// A key or an index value without a stored form.
    #[error(transparent)]
    Key(#[from] EncodeError),
    /// The file of the rows cannot be used, or code of the row panicked.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<RowsError> for StoreError {
    fn from(error: RowsError) -> Self {
        match error {
            RowsError::Store(error) => error,
            error => Self::Rows {
                reason: error.to_string().into(),
            },
        }
    }
}
