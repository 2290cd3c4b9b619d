//! Bugs to plant. A test then shows whether the suite detects them.
//!
//! In a build with `--cfg eventfold_sabotage` and the feature `testing`, the environment variable
//! `EVENTFOLD_PLANTED_BUG` names one of [`Bug::ALL`] for the whole process. Only the test `planted_bugs` makes such
//! builds. A feature could not keep this code out of a program, since cargo unifies features. In every other build
//! `planted` is a constant.

macro_rules! bugs {
    ($($(#[doc = $text:literal])+ $bug:ident = $name:literal,)+) => {
        /// A bug that can be planted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Bug {
            $($(#[doc = $text])+ $bug,)+
        }

        #[cfg(feature = "testing")]
        impl Bug {
            /// All bugs.
            pub const ALL: &'static [Self] = &[$(Self::$bug),+];

            /// The name of the bug in the environment.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$bug => $name,)+
                }
            }

            /// The effect of the bug.
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
    /// The last commit of a batch does not mark the end of the batch.
    NoEndOfBatch = "no-end-of-batch",
    /// A batch that could not be written is refused, but its written part stays.
    NoCutBack = "no-cut-back",
    /// After a failed sync the store continues.
    NoPoison = "no-poison",
    /// Commits that wait for a failed commit are written nevertheless.
    UndoLeavesTheQueue = "undo-leaves-the-queue",
    /// A commit that was decided on a failed commit is not refused.
    UndoNotTransitive = "undo-not-transitive",
    /// An incomplete last batch is not removed.
    SkipTailRepair = "skip-tail-repair",
    /// Opening trusts the bytes of the last batch, and does not write it again.
    LastBatchNotRewritten = "last-batch-not-rewritten",
    /// Opening does not make the name of the journal durable.
    JournalNameNotSynced = "journal-name-not-synced",
    /// A commit with a hash that does not follow from the previous commit is accepted.
    HashChainNotChecked = "hash-chain-not-checked",
    /// The files derived from the journal are written before it is synced.
    DerivedBeforeTheJournal = "derived-before-the-journal",
    /// A checkpoint is saved before the data that it covers is synced.
    CheckpointBeforeTheSync = "checkpoint-before-the-sync",
    /// A checkpoint covers dead letters that could not be written.
    CheckpointPassesALaggingStream = "checkpoint-passes-a-lagging-stream",
    /// A checksum is not compared.
    ChecksumNotCompared = "checksum-not-compared",
    /// The archive of the journal is not synced before its active file is replaced.
    JournalArchiveNotSynced = "journal-archive-not-synced",
    /// A backup's files get their names before they are synced.
    BackupNotSynced = "backup-not-synced",
    /// A backup has no mark for segments that its active file does not need yet.
    BackupWithoutItsMark = "backup-without-its-mark",
    /// The new name of the journal's active file is not made durable before the next write to it.
    JournalSwapNotSynced = "journal-swap-not-synced",
    /// A run of the index is listed by a checkpoint before it is synced.
    RunNotSynced = "run-not-synced",
    /// The name of a run is not made durable.
    RunNameNotSynced = "run-name-not-synced",
    /// If several runs have a key, the oldest entry counts.
    MergeKeepsTheOldest = "merge-keeps-the-oldest",
    /// Merged runs are removed while a checkpoint lists them.
    MergedRunsRemovedEarly = "merged-runs-removed-early",
    /// A checkpoint drops appends from memory that its run does not have yet.
    SealNotAwaited = "seal-not-awaited",
    /// The filter of a run knows none of its keys.
    EmptyFilter = "empty-filter",
    /// Another run of the same name is accepted in place of the run that the checkpoint lists.
    OtherRunsBelieved = "other-runs-believed",
    /// A checkpoint lists runs that are known to be damaged.
    DamagedIndexListed = "damaged-index-listed",
    /// The appends of redone commits are not indexed.
    RedoneNotIndexed = "redone-not-indexed",
    /// A snapshot is used without a check of the place at which it was taken.
    SnapshotPlaceNotChecked = "snapshot-place-not-checked",
    /// A saved state includes events that are not durable.
    SpeculativeSnapshot = "speculative-snapshot",
    /// The progress of a process manager is not in the commit of its reaction.
    CursorOutsideTheCommit = "cursor-outside-the-commit",
    /// Dead letters are not in the commit of their reaction.
    DeadLettersOutsideTheCommit = "dead-letters-outside-the-commit",
    /// Rows are not in the commit of their reaction.
    RowsOutsideTheCommit = "rows-outside-the-commit",
    /// A table of rows is used without a check of its commit.
    TableWithoutItsCommit = "table-without-its-commit",
    /// Rows that are not in a table yet are dropped when only a part of them is saved.
    OverlayDroppedEarly = "overlay-dropped-early",
    /// After a failure a process manager returns to its position, but keeps its state.
    ProgressNotRestored = "progress-not-restored",
    /// A command is rejected before the state of its decision is durable.
    EarlyRejection = "early-rejection",
    /// An aggregate is evicted while commits of it are in flight.
    EvictionWithPendingCommits = "eviction-with-pending-commits",
    /// The key of a command is lost when the aggregate is evicted.
    KeyForgotten = "key-forgotten",
    /// The key of a command is not compared with commits in flight.
    KeyNotClaimed = "key-not-claimed",
    /// A transaction continues without the rejected command.
    RejectedTransactionGoesOn = "rejected-transaction-goes-on",
    /// The ids of stored events are not recognized.
    InjectedIdForgotten = "injected-id-forgotten",
    /// The checkpoint of a projection covers an event that its state has not folded.
    ProjectionAheadOfItsState = "projection-ahead-of-its-state",
    /// A later attempt of a forwarded command is executed beside the attempt in work.
    AttemptNotJoined = "attempt-not-joined",
    /// A late attempt of a forwarded command is executed.
    LateAttemptExecuted = "late-attempt-executed",
    /// A leader executes a command that was sent to the leader of an earlier term.
    ClaimNotCompared = "claim-not-compared",
    /// Each attempt of a forwarded command has an id of its own.
    AttemptWithItsOwnId = "attempt-with-its-own-id",
    /// A node that becomes the leader decides its forwarded commands without their generated keys.
    TakeoverWithoutTheKey = "takeover-without-the-key",
    /// A leader that has not answered counts as a leader that was not reached.
    SilenceTakenForRefusal = "silence-taken-for-refusal",
    /// A follower returns before it has the events of its command.
    AnswerBeforeItsEvents = "answer-before-its-events",
    /// The expected version of a forwarded command stays behind.
    ExpectedVersionNotSent = "expected-version-not-sent",
    /// The causation of a forwarded command stays behind.
    CausationNotSent = "causation-not-sent",
    /// A commit of an earlier term is accepted in a later term.
    TermNotCompared = "term-not-compared",
    /// A live aggregate stays in memory when another node changes it.
    LiveAggregateKept = "live-aggregate-kept",
    /// A commit counts as stored although the log has not answered.
    UnsettledTakenForStored = "unsettled-taken-for-stored",
    /// A commit without an answer is refused, although the log has it.
    UnsettledNotRecognized = "unsettled-not-recognized",
    /// A store that closes refuses a commit without an answer, although the log may have it.
    UnsettledRefusedAtClose = "unsettled-refused-at-close",
    /// A leader that closes hands over while commands of other nodes are in work.
    ResignedWithWork = "resigned-with-work",
    /// A leader that closes hands over only after it has saved its projections.
    ResignedBehindSaving = "resigned-behind-saving",
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
