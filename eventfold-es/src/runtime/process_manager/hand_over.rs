//! The commands of one reaction. They are decided together, with the actions for failed commands, and submitted as one commit.

use std::collections::VecDeque;
use std::sync::Arc;

use smallvec::SmallVec;
use tokio::sync::OwnedSemaphorePermit;

use super::super::guarded::Kept;
use super::super::locked_targets::LockedTargets;
use super::super::origin::Origin;
use super::super::reactions::{DurableReaction, Reactions};
use super::super::staging::{Letter, Targets, cause_of, cause_of_refusal};
use super::draft::{Draft, Planned, Report, Source};
use super::in_flight::InFlight;
use super::tally::TallyChange;
use super::{Dirty, ProcessManagerRunner};
use crate::error::ExecuteError;
use crate::journal::{Progress, ProposedCommit, ProposedReaction, RowChange};
use crate::process_manager::ProcessManager;

/// The result of an attempt to submit a commit.
pub(super) enum HandOver {
    Done(Report),
    /// A target was evicted, an idempotency key needs another lookup, or an earlier commit failed.
    Again,
    /// The targets of compensations are not loaded, or their idempotency keys were not looked up.
    More(Vec<Letter>),
    /// The failure policy halts the process manager.
    Stop(String, Reactions),
}

/// The effects of one attempt, before they are submitted.
#[derive(Default)]
pub(super) struct Attempt {
    dispatched: usize,
    pub(super) failed: usize,
    pub(super) dead_letters: Vec<Box<str>>,
    pub(super) rows: Vec<RowChange>,
    pub(super) parks: Vec<(Arc<str>, String)>,
    more: Vec<Letter>,
    /// The number of commands that the policy skipped.
    pub(super) skipped: u64,
    pub(super) stop: Option<(String, Reactions)>,
    /// The outcome of unfinished commands for waiting callers.
    pub(super) setback: Option<Reactions>,
}

impl Attempt {
    /// Records an unfinished command, and its outcome for waiting callers.
    pub(super) fn set_back(&mut self, outcome: Reactions) {
        let before = self.setback.unwrap_or(Reactions::Done);
        self.setback = Some(before.and(outcome));
    }
}

impl<PM: ProcessManager> ProcessManagerRunner<PM> {
    /// No await lies between the locks on the targets and the submission. So a dropped future leaves either nothing or a commit.
    pub(super) fn hand_over(
        &mut self,
        draft: &Draft,
        targets: &Targets,
        room: OwnedSemaphorePermit,
    ) -> HandOver {
        let journal = Arc::clone(&self.context.runtime.journal);
        let Some(mut locked) = LockedTargets::lock(targets, &*journal) else {
            return HandOver::Again;
        };
        if self.has_failed() {
            return HandOver::Again;
        }
        let mut attempt = Attempt::default();
        let mut compensations: VecDeque<Planned> = VecDeque::new();
        let mut index = 0;
        let mut planned_ones = draft.planned.iter();
        loop {
            let compensation;
            let planned = match planned_ones.next() {
                Some(planned) => planned,
                None => match compensations.pop_front() {
                    Some(next) => {
                        compensation = next;
                        &compensation
                    }
                    None => break,
                },
            };
            let failure = match &planned.letter {
                Letter::Dead(dead) => Some(dead.cause.clone()),
                Letter::Staged(staged) => {
                    let context = staged.context();
                    let cause = planned
                        .before
                        .as_ref()
                        .map_or(&draft.cause, |row| &row.cause);
                    let origin = Origin {
                        command_id: &planned.command_id,
                        cause,
                    };
                    let key = context.idempotency_key.as_deref();
                    match locked.target(staged.address().stream(), key) {
                        Some(Ok(target)) => {
                            let clock = journal.clock();
                            let command = staged.command().map_err(ExecuteError::Store);
                            command
                                .and_then(|command| {
                                    target.decide(
                                        command,
                                        context,
                                        staged.key(),
                                        Some(origin),
                                        clock,
                                    )
                                })
                                .err()
                                .map(cause_of_refusal)
                        }
                        Some(Err(error)) => Some(cause_of(error)),
                        None => {
                            // This compensation is decided after its target is loaded and its key is looked up.
                            if let Letter::Staged(staged) = planned.letter_again(self) {
                                attempt.more.push(Letter::Staged(staged));
                            }
                            None
                        }
                    }
                }
            };
            match failure {
                None => attempt.dispatched += 1,
                Some(cause) => {
                    // The cause may be the last owner of the aggregate's error, and its drop is user code.
                    let cause = Kept::new(cause);
                    attempt.failed += 1;
                    let follow = self.after_failure(draft, planned, &cause, index, &mut attempt);
                    compensations.extend(follow);
                }
            }
            index += 1;
        }
        if !attempt.more.is_empty() {
            return HandOver::More(attempt.more);
        }
        if let Some((reason, outcome)) = attempt.stop {
            return HandOver::Stop(reason, outcome);
        }
        let appends = locked.proposed();
        let after = locked
            .last_pending()
            .chain(self.in_flight.back().map(|last| Arc::clone(&last.outcome)))
            .collect();
        let aggregate_types: SmallVec<[_; 1]> = appends
            .iter()
            .map(|append| Arc::clone(&append.stream.aggregate_type))
            .collect();
        for (key, reason) in &attempt.parks {
            self.park_instance(key, draft.position, reason.clone());
        }
        if let Some(outcome) = attempt.setback {
            let position = match &draft.source {
                Source::Event(event) => Some(event.1.position),
                Source::Known(_) | Source::Nothing => None,
            };
            self.dirty.set_back(position, outcome);
        }
        let Dirty {
            mut rows,
            setbacks,
            mut dead_letters,
            counts,
            ..
        } = std::mem::take(&mut self.dirty);
        dead_letters.append(&mut attempt.dead_letters);
        for row in &attempt.rows {
            self.notice(row);
        }
        rows.append(&mut attempt.rows);
        let tally: Vec<_> = rows.iter().filter_map(TallyChange::of).collect();
        let progress = Progress {
            position: draft.position,
            state: self.progress_state(),
        };
        let hub = Arc::clone(&self.context.runtime.reactions);
        let settled_hub = Arc::clone(&hub);
        let member = self.context.member;
        let operator = self.operator;
        let source = progress.position;
        let dead_lettered = dead_letters.len();
        let dispatched = attempt.dispatched;
        let skipped = counts.skipped + attempt.skipped;
        let outcome = journal.submit(
            room,
            ProposedCommit {
                after,
                appends,
                reaction: Some(ProposedReaction {
                    process_manager: Arc::clone(&self.name),
                    progress: progress.clone(),
                    dispatched: dispatched as u64,
                    rows,
                    dead_letters,
                }),
                on_durable: Some(Box::new(move |receipt| {
                    hub.reacted(&DurableReaction {
                        member,
                        operator,
                        source,
                        receipt: receipt.clone(),
                        aggregate_types: &aggregate_types,
                        dispatched,
                        dead_lettered,
                        ignored: counts.ignored,
                        skipped,
                        setbacks: &setbacks,
                        tally: &tally,
                    });
                })),
                // All earlier work is in earlier commits. The journal notifies waiting callers at once, without this task.
                on_settled: Some(Box::new(move || settled_hub.processed(member, source))),
            },
        );
        locked.handed_over(&outcome);
        self.in_flight.push_back(InFlight {
            outcome,
            progress,
            number: self.next_commit,
        });
        self.next_commit += 1;
        HandOver::Done(Report::new(dispatched, attempt.failed))
    }
}
