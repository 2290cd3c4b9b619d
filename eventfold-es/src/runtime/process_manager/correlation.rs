//! The join table of [`Correlation`](crate::Correlation): the part of an event in the instances that it names.
//!
//! Reactions, rebuilds and the test kit read this one table.

use super::super::guarded::guard;
use super::super::inside_reaction::inside_reaction;
use super::cause_of;
use super::definition::Definition;
use crate::event::RecordedEvent;
use crate::journal::StreamId;
use crate::process_manager::{FailureCause, Join, JoinKind};
use crate::short;

/// The instance of a key when an event arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// There is none, or it is completed.
    Nothing,
    Open,
    /// It holds its events until it is released.
    Holding,
}

/// The part of an event in an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The event does not concern it.
    Ignored,
    /// The event starts it, and it reacts.
    Starts,
    /// It reacts.
    Continues,
    /// It holds the event. The release reads the table again, because the instance may have ended by then.
    Waits,
}

/// The join table.
pub(crate) fn part(kind: JoinKind, found: Found) -> Part {
    match (kind, found) {
        (_, Found::Holding) => Part::Waits,
        (JoinKind::Start | JoinKind::StartOrContinue, Found::Nothing) => Part::Starts,
        (JoinKind::Continue | JoinKind::StartOrContinue, Found::Open) => Part::Continues,
        (JoinKind::Start, Found::Open) | (JoinKind::Continue, Found::Nothing) => Part::Ignored,
    }
}

/// The instances of an event. Without `key`, every event is for the only instance.
///
/// # Errors
///
/// The cause, if they cannot be determined.
pub(super) fn joins(
    definition: &Definition,
    stream: &StreamId,
    event: &RecordedEvent,
) -> Result<Vec<Join>, FailureCause> {
    if !definition.is_keyed {
        let kind = JoinKind::StartOrContinue;
        return Ok(vec![Join {
            key: String::new(),
            kind,
        }]);
    }
    let correlated = guard(
        || format!("the correlation of `{}`", definition.name),
        || inside_reaction(definition.name, || (definition.correlate)(stream, event)),
    );
    match correlated {
        Ok(Ok(correlation)) => Ok(correlation.into_joins()),
        Ok(Err(error)) => Err(FailureCause::Undecodable {
            reason: short::reason(error),
        }),
        Err(error) => Err(cause_of(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table in the documentation of [`Correlation`](crate::Correlation), and its last column for parked instances.
    #[test]
    fn it_is_the_documented_table() {
        use Part::{Continues, Ignored, Starts, Waits};
        let table = [
            (JoinKind::Start, [Starts, Ignored, Waits]),
            (JoinKind::Continue, [Ignored, Continues, Waits]),
            (JoinKind::StartOrContinue, [Starts, Continues, Waits]),
        ];
        for (kind, row) in table {
            let found = [Found::Nothing, Found::Open, Found::Holding];
            assert_eq!(found.map(|found| part(kind, found)), row, "{kind:?}");
        }
    }
}
