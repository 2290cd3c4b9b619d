//! Bugs that can be planted, so that a test can tell whether the suite would catch them.
//!
//! In a build with `--cfg eventfold_sabotage` and the feature `testing`, the environment variable `EVENTFOLD_PLANTED_BUG` names
//! one of [`Bug::ALL`] for the whole process. The test `planted_bugs` makes such builds, and nothing else does: a feature could
//! not keep this out of a program, since cargo unifies features. In every other build `planted` is a constant.

macro_rules! bugs {
    ($($(#[doc = $text:literal])+ $bug:ident = $name:literal,)+) => {
        /// A bug that can be planted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Bug {
            $($(#[doc = $text])+ $bug,)+
        }

        #[cfg(feature = "testing")]
        impl Bug {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$bug),+];

            /// What it is called in the environment.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$bug => $name,)+
                }
            }

            /// What goes wrong.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$bug => concat!($($text),+),)+
                }
            }
        }
    };
}

bugs! {
    /// A batch is acknowledged without being synced.
    SkipSync = "skip-sync",
    /// A batch is acknowledged before it is written.
    AcknowledgeEarly = "acknowledge-early",
    /// The last commit of a batch does not say that the batch ends.
    NoEndOfBatch = "no-end-of-batch",
    /// A batch that could not be written is refused, but what there is of it stays.
    NoCutBack = "no-cut-back",
    /// After a failed sync the store goes on.
    NoPoison = "no-poison",
    /// What waits behind a failed commit is written all the same.
    UndoLeavesTheQueue = "undo-leaves-the-queue",
    /// A commit that was decided on a failed one is not refused.
    UndoNotTransitive = "undo-not-transitive",
    /// An incomplete last batch is left where it is.
    SkipTailRepair = "skip-tail-repair",
    /// Opening believes what it read of the last batch, and does not write it again.
    LastBatchNotRewritten = "last-batch-not-rewritten",
    /// Opening does not make the name of the journal durable.
    JournalNameNotSynced = "journal-name-not-synced",
    /// A commit that does not follow the one before it by its hash is believed.
    HashChainNotChecked = "hash-chain-not-checked",
    /// The files derived from the journal are written before it is synced.
    DerivedBeforeTheJournal = "derived-before-the-journal",
    /// A checkpoint is saved before what it vouches for is synced.
    CheckpointBeforeTheSync = "checkpoint-before-the-sync",
    /// A checkpoint vouches for dead letters that could not be written.
    CheckpointPassesALaggingStream = "checkpoint-passes-a-lagging-stream",
    /// A checksum is not compared.
    ChecksumNotCompared = "checksum-not-compared",
    /// The archive of the journal is not synced before its active file is replaced.
    JournalArchiveNotSynced = "journal-archive-not-synced",
    /// A backup's files get their names before they are synced.
    BackupNotSynced = "backup-not-synced",
    /// Nothing says that a backup has segments which its active file does not need yet.
    BackupWithoutItsMark = "backup-without-its-mark",
    /// The new name of the journal's active file is not made durable before more is written to it.
    JournalSwapNotSynced = "journal-swap-not-synced",
    /// A run of the index is listed by a checkpoint before it is synced.
    RunNotSynced = "run-not-synced",
    /// The name of a run is not made durable.
    RunNameNotSynced = "run-name-not-synced",
    /// Where several runs have a key, the entry of the oldest counts.
    MergeKeepsTheOldest = "merge-keeps-the-oldest",
    /// Runs that were merged are removed while a checkpoint lists them.
    MergedRunsRemovedEarly = "merged-runs-removed-early",
    /// A checkpoint drops appends from memory that its run does not have yet.
    SealNotAwaited = "seal-not-awaited",
    /// The filter of a run knows none of its keys.
    EmptyFilter = "empty-filter",
    /// Another run of the same name is taken for the one that the checkpoint lists.
    OtherRunsBelieved = "other-runs-believed",
    /// A checkpoint lists runs which are known to be damaged.
    DamagedIndexListed = "damaged-index-listed",
    /// The appends of commits that redo has found are not noted.
    RedoneNotIndexed = "redone-not-indexed",
    /// A snapshot is used wherever its stream ended when it was taken.
    SnapshotPlaceNotChecked = "snapshot-place-not-checked",
    /// The state that is saved has seen events which are not durable.
    SpeculativeSnapshot = "speculative-snapshot",
    /// The progress of a process manager is not in the commit of its reaction.
    CursorOutsideTheCommit = "cursor-outside-the-commit",
    /// Dead letters are not in the commit of their reaction.
    DeadLettersOutsideTheCommit = "dead-letters-outside-the-commit",
    /// Rows are not in the commit of their reaction.
    RowsOutsideTheCommit = "rows-outside-the-commit",
    /// A table of rows is believed, up to whatever commit it is true.
    TableWithoutItsCommit = "table-without-its-commit",
    /// What is not in a table of rows yet is forgotten when some of it is saved.
    OverlayDroppedEarly = "overlay-dropped-early",
    /// After a failure a process manager goes back to its place, but keeps its state.
    ProgressNotRestored = "progress-not-restored",
    /// A command is rejected before the state that it was decided on is durable.
    EarlyRejection = "early-rejection",
    /// An aggregate is evicted while commits of it are on their way.
    EvictionWithPendingCommits = "eviction-with-pending-commits",
    /// The key of a command is forgotten with the memory.
    KeyForgotten = "key-forgotten",
    /// The key of a command is not looked for among the commits on their way.
    KeyNotClaimed = "key-not-claimed",
    /// A transaction goes on without the command that is rejected.
    RejectedTransactionGoesOn = "rejected-transaction-goes-on",
    /// The ids of stored events are not recognized.
    InjectedIdForgotten = "injected-id-forgotten",
    /// The checkpoint of a projection claims an event that its state has not seen.
    ProjectionAheadOfItsState = "projection-ahead-of-its-state",
}

/// Whether this bug is planted.
#[cfg(all(eventfold_sabotage, feature = "testing"))]
pub(crate) fn planted(bug: Bug) -> bool {
    static NAME: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let name = NAME.get_or_init(|| std::env::var("EVENTFOLD_PLANTED_BUG").ok());
    name.as_deref() == Some(bug.name())
}

/// Whether this bug is planted: never.
#[cfg(not(all(eventfold_sabotage, feature = "testing")))]
#[inline(always)]
pub(crate) const fn planted(_bug: Bug) -> bool {
    false
}
