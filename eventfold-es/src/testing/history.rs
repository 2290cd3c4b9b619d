//! The events of a test, and the world around a piece of work.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::print::recorded;
use crate::aggregate::Aggregate;
use crate::envelope::CommandEnvelope;
use crate::journal::StreamId;
use crate::process_manager::FailureCause;
use crate::runtime::offline::{Recorded, World};

/// The time at the beginning of a test: 2000-01-01, 00:00 UTC.
pub(super) const BEGIN: Duration = Duration::from_secs(946_684_800);
/// The maximum number of deadlines or retries at one time.
pub(super) const MAX_AT_ONCE: u32 = 10_000;

/// The events so far.
#[derive(Debug, Default)]
pub(super) struct History(Vec<Recorded>);

impl History {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds an event, as a store records it at `now`.
    #[track_caller]
    pub(super) fn add<A: Aggregate>(
        &mut self,
        stream_id: &str,
        event: &A::DomainEvent,
        now: SystemTime,
    ) -> Recorded {
        let position = self.0.len() as u64 + 1;
        let stream = StreamId::new(A::AGGREGATE_TYPE, stream_id);
        let before = self.0.iter().filter(|before| before.0 == stream);
        let mut event = recorded(event, position, before.count() as u64 + 1);
        event.event.id = Some(format!("event-{position}"));
        let since_1970 = now.duration_since(UNIX_EPOCH);
        event.event.ts = since_1970.unwrap_or_default().as_secs();
        let event: Recorded = (stream, event).into();
        self.0.push(event.clone());
        event
    }

    fn at(&self, position: u64) -> Option<Recorded> {
        let index = usize::try_from(position).ok()?.checked_sub(1)?;
        self.0.get(index).cloned()
    }
}

/// The world of a test: every command is executed, without events, apart from a rejected one.
pub(super) struct Around<'a, C> {
    /// Tells the time.
    pub(super) now: C,
    pub(super) history: &'a History,
    /// The number of the command to reject, from 0, and the cause.
    pub(super) rejected: Option<(usize, FailureCause)>,
    /// The commands so far, whether they were executed or not.
    pub(super) decided: Vec<CommandEnvelope>,
}

impl<C: Fn() -> SystemTime> World for Around<'_, C> {
    fn now(&self) -> SystemTime {
        (self.now)()
    }

    fn event(&self, position: u64) -> Option<Recorded> {
        self.history.at(position)
    }

    fn decide(&mut self, command: &CommandEnvelope) -> Option<FailureCause> {
        let number = self.decided.len();
        self.decided.push(command.clone());
        let rejected = self.rejected.as_ref();
        let own = rejected.filter(|(rejected, _)| *rejected == number);
        own.map(|(_, cause)| cause.clone())
    }

    fn executed(&mut self, _command: CommandEnvelope) {}
}
