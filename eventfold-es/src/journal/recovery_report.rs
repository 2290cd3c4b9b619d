use std::path::PathBuf;

use serde::Serialize;

use crate::journal::adoption::AdoptionReport;

/// The report of opening a store.
///
/// # JSON
///
/// ```json
/// {"redone_commits":1,"reindexed_commits":0,
///  "incomplete_batch":{"batch":9,"bytes":100,"saved_to":"shop/meta/journal/incomplete-batch-9.jsonl"},
///  "adoption":null,"read_only":false}
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The number of commits that were read from the journal and applied again to the derived files.
    pub redone_commits: u64,
    /// The number of commits that were read from the journal to restore a lost or damaged part of the index.
    pub reindexed_commits: u64,
    /// The batch that the program was writing when it stopped. No caller was told that its commits are stored, and none of them
    /// is.
    pub incomplete_batch: Option<IncompleteBatch>,
    /// The report of migrating the directory from eventfold-es 0.2.0, also at every later opening.
    pub adoption: Option<AdoptionReport>,
    /// Whether the file system is read-only. The reported actions then happened in memory, their files were not written, and
    /// every command is refused.
    pub read_only: bool,
}

/// An incomplete last batch that was dropped.
///
/// # JSON
///
/// ```json
/// {"batch":9,"bytes":100,"saved_to":"shop/meta/journal/incomplete-batch-9.jsonl"}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct IncompleteBatch {
    /// The number of the batch.
    pub batch: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// The file that keeps its bytes for inspection. Nothing reads it.
    #[serde(serialize_with = "crate::report_json::path")]
    pub saved_to: PathBuf,
}
