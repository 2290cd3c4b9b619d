//! The engine of process managers: a [machine](machine) without I/O, and a [driver] that reads, commits and waits for it.
//!
//! | room | holds |
//! |---|---|
//! | [`machine`] | one input, its effects |
//! | [`definition`] | the type of the process manager, erased |
//! | [`correlation`] | the join table |
//! | [`reaction`] | a call of user code, and the plan of its effects |
//! | [`failure`] | the judge of failures |
//! | [`hold`] | work that waits: of an instance, of a stream, of the whole process manager |
//! | [`timers`] | due rows in the order of their times |
//! | [`instances`], [`rows`] | states in memory and stored |
//! | [`driver`], [`reading`], [`commit`], [`due`], [`release`] | the task: events, commits, time, held work |
//! | [`calls`] | event handlers: calls that take time, instead of reactions |
//! | [`operator`], [`rebuild`], [`starts`], [`tally`] | requests, rebuilds, aborts of the program, counts |

#[cfg(test)]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic is how a test fails"
)]
mod against_model;
mod calls;
mod commit;
mod correlation;
pub(super) mod definition;
mod driver;
mod due;
mod failure;
mod hold;
mod instances;
pub(crate) mod machine;
#[cfg(feature = "testing")]
pub(crate) mod offline;
mod operator;
mod plan;
mod reaction;
mod reading;
mod rebuild;
mod release;
pub(crate) mod rows;
mod sizes;
mod starts;
mod tally;
mod timers;

use std::sync::Arc;

use super::reactions::Reactions;
use crate::error::StoreError;
use crate::event::RecordedEvent;
use crate::journal::StreamId;
use crate::process_manager::{FailureCause, Join};
use crate::short;

pub(crate) use calls::AnyHandler;
pub(crate) use definition::Definition;
pub(crate) use driver::{ProcessManagerRunner, RunnerContext, RunnerTask};
pub(crate) use hold::Scope;
pub(crate) use operator::{Asked, Request};
pub(crate) use plan::Report;
pub(crate) use rebuild::Rebuilt;
use rows::HoldRow;
pub(crate) use tally::{Tallied, Tally, TallyChange};

/// The reason why a process manager stops reacting.
pub(crate) enum Halt {
    /// The whole process manager is held, with this outcome for waiting callers.
    Held(Box<HoldRow>, Reactions),
    /// A read or a commit failed and may succeed later.
    Retry,
    /// It restarts from its last durable commit without a delay.
    Back,
    /// No further write is possible.
    Ended,
}

impl Halt {
    fn held(hold: HoldRow, outcome: Reactions) -> Self {
        Self::Held(Box::new(hold), outcome)
    }

    /// A hold of the whole process manager, until an operator ends it.
    fn parked(position: u64, reason: String) -> Self {
        let noted = crate::clock::seconds_since_1970();
        Self::held(HoldRow::new(position, reason, noted), Reactions::Parked)
    }
}

impl From<HoldRow> for Halt {
    fn from(hold: HoldRow) -> Self {
        let outcome = hold.outcome();
        Self::held(hold, outcome)
    }
}

/// An event, with the result of its correlation.
pub(crate) struct Shown {
    event: Arc<(StreamId, RecordedEvent)>,
    correlation: Result<Vec<Join>, FailureCause>,
}

/// The failure cause of a guarded call of user code.
fn cause_of(error: &StoreError) -> FailureCause {
    match error {
        StoreError::Panicked { .. } => FailureCause::Panicked {
            message: short::reason(error),
        },
        other => FailureCause::Undecodable {
            reason: short::reason(other),
        },
    }
}
