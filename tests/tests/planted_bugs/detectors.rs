use std::fmt;

use eventfold_es::sabotage::Bug;

/// A test that may catch a bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Detector {
    pub executable: &'static str,
    pub test: &'static str,
    /// The only workload of the crash enumeration.
    workload: Option<&'static str>,
}

impl Detector {
    /// Whether it takes many seconds where there is no bug.
    pub fn is_long(&self) -> bool {
        self.workload.is_some()
    }

    pub fn environment(&self) -> Vec<(&'static str, &'static str)> {
        let workload = self.workload.iter();
        workload
            .flat_map(|workload| {
                [
                    ("EVENTFOLD_CRASH_WORKLOAD", *workload),
                    ("EVENTFOLD_CRASH_POINTS", "1"),
                    ("EVENTFOLD_CRASH_FIRST", "1"),
                ]
            })
            .collect()
    }
}

impl fmt::Display for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workload = self.workload.map(|workload| format!(" of {workload}"));
        let workload = workload.unwrap_or_default();
        write!(f, "{}::{}{workload}", self.executable, self.test)
    }
}

const fn test(executable: &'static str, test: &'static str) -> Detector {
    Detector {
        executable,
        test,
        workload: None,
    }
}

/// A test of several nodes.
const fn node(test: &'static str) -> Detector {
    self::test("replicated", test)
}

const fn crash(workload: &'static str) -> Detector {
    Detector {
        executable: "campaigns",
        test: "crash_enumeration::crash_enumeration",
        workload: Some(workload),
    }
}

/// The tests that may catch it, the likeliest first.
pub fn detectors(bug: Bug) -> Vec<Detector> {
    const FAILED_SYNC: Detector = test(
        "campaigns",
        "failed_calls::a_failed_sync_leaves_the_outcome_unknown_and_poisons",
    );
    const NO_ROOM_FOR_REACTIONS: Detector = test(
        "campaigns",
        "failed_calls::reactions_are_retried_when_there_is_room",
    );
    const FAILED_REACTION: Detector = test(
        "campaigns",
        "failed_calls::a_failed_reaction_is_not_passed_by_those_behind_it",
    );
    const KILLED: Detector = test("storage", "recovery::a_killed_store_is_whole");
    const EVERY_CALL: Detector = test(
        "campaigns",
        "failed_calls::every_call::every_call_fails_once",
    );
    match bug {
        Bug::SkipSync => vec![
            test(
                "storage",
                "rules::writing::rule_03_a_failed_sync_of_any_kind_poisons",
            ),
            crash("Commands"),
        ],
        Bug::AcknowledgeEarly | Bug::NoPoison => vec![FAILED_SYNC],
        Bug::NoEndOfBatch => vec![KILLED],
        Bug::NoCutBack => vec![
            test(
                "storage",
                "crash_after_failed_call::a_write_that_fails_halfway_leaves_nothing",
            ),
            EVERY_CALL,
        ],
        Bug::UndoLeavesTheQueue => vec![
            test(
                "storage",
                "rules::writing::rule_04_a_failed_batch_takes_along_what_was_handed_over_behind_it",
            ),
            FAILED_REACTION,
            EVERY_CALL,
        ],
        Bug::UndoNotTransitive => vec![
            test(
                "storage",
                "rules::undone::rule_04_a_commit_that_was_decided_on_a_failed_one_is_refused",
            ),
            FAILED_REACTION,
            test(
                "campaigns",
                "failed_calls::what_was_decided_on_a_failed_commit_fails_with_it",
            ),
            EVERY_CALL,
        ],
        Bug::SkipTailRepair => vec![
            test(
                "storage",
                "recovery::nothing_of_an_incomplete_batch_stands_behind_the_next_one",
            ),
            crash("Commands"),
        ],
        Bug::LastBatchNotRewritten => vec![test(
            "storage",
            "crash_after_failed_call::a_power_loss_after_a_failed_sync",
        )],
        Bug::JournalNameNotSynced => vec![crash("Commands")],
        Bug::HashChainNotChecked => vec![test(
            "storage",
            "recovery::a_commit_of_another_history_is_damage",
        )],
        Bug::DerivedBeforeTheJournal => vec![
            test(
                "storage",
                "durability_flush::rule_14_the_journal_is_synced_before_anything_derived_is_written",
            ),
            test(
                "storage",
                "durability_flush::a_power_loss_takes_a_tail_and_a_kill_nothing",
            ),
        ],
        Bug::CheckpointBeforeTheSync => vec![
            test(
                "storage",
                "rules::writing::rule_13_a_checkpoint_syncs_what_it_vouches_for",
            ),
            crash("Reopened"),
        ],
        Bug::CheckpointPassesALaggingStream => vec![
            test(
                "storage",
                "rules::deriving::rule_07_no_checkpoint_passes_dead_letters_that_lag",
            ),
            test(
                "campaigns",
                "failed_calls::closing_does_not_wait_for_files_that_cannot_be_written",
            ),
        ],
        Bug::ChecksumNotCompared => vec![test(
            "storage",
            "recovery::what_is_derived_is_rebuilt_when_a_bit_of_it_is_flipped",
        )],
        Bug::JournalSwapNotSynced => vec![
            test(
                "storage",
                "archive::rule_12_the_new_name_is_durable_before_more_is_written",
            ),
            crash("Archive"),
        ],
        Bug::JournalArchiveNotSynced => vec![
            test(
                "storage",
                "archive::rule_12_a_segment_is_durable_before_the_active_file_is_replaced",
            ),
            crash("Archive"),
        ],
        Bug::BackupNotSynced | Bug::BackupWithoutItsMark => vec![crash("Backup")],
        Bug::RunNotSynced | Bug::RunNameNotSynced => vec![
            test(
                "storage",
                "archive::rule_12_a_run_is_durable_before_a_checkpoint_lists_it",
            ),
            crash("Archive"),
        ],
        Bug::MergeKeepsTheOldest => vec![test("storage", "snapshots::the_newest_counts")],
        Bug::MergedRunsRemovedEarly => vec![test(
            "storage",
            "index::merged_runs_stay_until_no_checkpoint_lists_them",
        )],
        Bug::SealNotAwaited => vec![test(
            "storage",
            "index::nothing_is_missing_while_checkpoints_are_taken",
        )],
        Bug::EmptyFilter | Bug::RedoneNotIndexed => vec![KILLED],
        Bug::OtherRunsBelieved => vec![test(
            "storage",
            "index::a_run_of_another_store_is_not_believed",
        )],
        Bug::DamagedIndexListed => vec![test(
            "storage",
            "index::a_damaged_run_is_made_again_at_the_next_opening",
        )],
        Bug::SnapshotPlaceNotChecked => {
            vec![test(
                "storage",
                "snapshots_not_believed::that_of_another_history",
            )]
        }
        Bug::SpeculativeSnapshot => {
            vec![test("storage", "snapshots::only_what_is_durable_is_saved")]
        }
        Bug::CursorOutsideTheCommit => vec![KILLED, crash("ProcessManagers")],
        Bug::DeadLettersOutsideTheCommit => vec![KILLED, crash("ProcessManagers")],
        Bug::RowsOutsideTheCommit => vec![
            test(
                "reactions",
                "instances::correlating::each_key_has_a_state_of_its_own_also_after_a_restart",
            ),
            crash("Instances"),
        ],
        Bug::TableWithoutItsCommit => vec![test(
            "reactions",
            "instances::tables::an_older_copy_of_a_table_is_not_believed",
        )],
        Bug::OverlayDroppedEarly => vec![
            test(
                "reactions",
                "instances::tables::what_is_newer_than_a_checkpoint_is_not_lost_to_it",
            ),
            crash("Instances"),
        ],
        Bug::ProgressNotRestored => vec![NO_ROOM_FOR_REACTIONS, EVERY_CALL],
        Bug::EarlyRejection => vec![test(
            "stores",
            "aggregates::a_rejection_is_answered_when_the_state_it_was_decided_on_is_durable",
        )],
        Bug::EvictionWithPendingCommits => vec![test(
            "storage",
            "rules::deciding::rule_08_an_aggregate_with_pending_commits_stays",
        )],
        Bug::KeyForgotten => vec![test(
            "stores",
            "idempotency_keys::a_retry_after_a_restart_answers_as_the_first_one_did",
        )],
        Bug::KeyNotClaimed => vec![test(
            "stores",
            "idempotency_keys::concurrent_duplicates_are_one_commit",
        )],
        Bug::RejectedTransactionGoesOn => vec![
            test(
                "stores",
                "deciding::transactions::a_rejection_of_one_rejects_all_and_says_which",
            ),
            crash("Transactions"),
        ],
        Bug::InjectedIdForgotten => vec![test(
            "stores",
            "idempotency_keys::an_injected_event_is_known_by_its_id_after_a_restart_and_after_eviction",
        )],
        Bug::ProjectionAheadOfItsState => vec![
            test(
                "stores",
                "projections::an_older_or_newer_checkpoint_is_caught_up_or_built_anew",
            ),
            crash("Reopened"),
        ],
        Bug::AttemptNotJoined => vec![node(
            "forwarding::exactly_once::a_later_attempt_does_not_overtake_the_first",
        )],
        Bug::LateAttemptExecuted => vec![node(
            "forwarding::exactly_once::a_late_question_does_nothing_behind_a_rejection",
        )],
        Bug::ClaimNotCompared => vec![node(
            "forwarding::exactly_once::a_late_question_for_an_earlier_term_does_nothing",
        )],
        Bug::AttemptWithItsOwnId => vec![node(
            "forwarding::exactly_once::a_lost_message_is_sent_again",
        )],
        Bug::TakeoverWithoutTheKey => vec![
            node("forwarding::transactions::the_next_leader_knows_the_transaction"),
            node("forwarding::exactly_once::the_leader_ends_between_the_commit_and_the_answer"),
        ],
        Bug::SilenceTakenForRefusal => vec![node(
            "forwarding::limits::an_error_after_a_lost_answer_leaves_the_outcome_open",
        )],
        Bug::AnswerBeforeItsEvents => vec![node(
            "forwarding::limits::a_node_without_the_events_says_that_they_are_elsewhere",
        )],
        Bug::ExpectedVersionNotSent => vec![node(
            "forwarding::transactions::versions_and_keys_are_those_of_the_leader",
        )],
        Bug::CausationNotSent => vec![node(
            "forwarding::commands::the_answer_is_that_of_a_command_on_the_leader",
        )],
        Bug::TermNotCompared => vec![node(
            "reactions::a_reaction_of_an_earlier_term_is_not_stored_and_happens_again",
        )],
        Bug::LiveAggregateKept => vec![node(
            "forwarding::commands::the_follower_has_the_events_before_the_answer",
        )],
        Bug::UnsettledTakenForStored => vec![node("lost_answers::a_lost_command_fails")],
        Bug::UnsettledNotRecognized => vec![node("lost_answers::a_stored_command_succeeds")],
        Bug::UnsettledRefusedAtClose => vec![node(
            "lost_answers::a_store_that_closes_leaves_the_outcome_open",
        )],
        Bug::ResignedWithWork => vec![node(
            "forwarding::closing::a_leader_that_closes_finishes_its_questions",
        )],
        Bug::ResignedBehindSaving => vec![node("closing::saving_does_not_hold_up_the_next_leader")],
    }
}
