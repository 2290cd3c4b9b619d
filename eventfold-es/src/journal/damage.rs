//! Errors of reading.

use std::path::PathBuf;

use serde::Serialize;

use crate::disk::FileError;

/// A journal that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Damage(#[from] Damage),
}

/// Stored bytes that were changed.
///
/// # JSON
///
/// ```json
/// {"path":"shop/meta/journal/app.jsonl","offset":512,"reason":"the checksum differs"}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("{} is damaged at byte {offset}: {reason}", path.display())]
#[non_exhaustive]
pub struct Damage {
    /// The file.
    #[serde(serialize_with = "crate::report_json::path")]
    pub path: PathBuf,
    /// The beginning of the unusable bytes.
    pub offset: u64,
    /// The problem of the bytes, and the action for it.
    pub reason: String,
}

impl Damage {
    pub(crate) fn new(path: impl Into<PathBuf>, offset: u64, reason: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            offset,
            reason: reason.into(),
        }
    }
}
