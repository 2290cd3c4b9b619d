//! The transactions of the sink.

use std::sync::Arc;

use super::calls::Pulse;
use super::fault::{fault, unreachable};
use super::{Follower, Halt, State};
use crate::error::StoreError;
use crate::guarded::{Kept, guard};
use crate::projection::{RebuildStep, Sink, SinkFault, SinkProjection};

/// The work in a transaction. `T` ends it.
pub(super) type Work<'a, P, T> =
    dyn FnMut(&mut <<P as SinkProjection>::Sink as Sink>::Tx<'_>, Option<&str>) -> Option<T> + 'a;

type Failed = (StoreError, SinkFault);

impl<P: SinkProjection> Follower<P> {
    /// One transaction on the state that readers see.
    pub(super) fn transact(&mut self, work: &mut Work<'_, P, String>) -> Result<(), Halt> {
        let transacted = self.try_transact(work);
        transacted.map_err(|(error, _)| Halt::Sink(error))
    }

    /// One transaction on the new state of a rebuild. `false` if the sink has none.
    pub(super) fn transact_new(
        &mut self,
        work: &mut Work<'_, P, RebuildStep>,
    ) -> Result<bool, Halt> {
        let transacted = self.try_transact_new(work);
        transacted.map_err(|(error, _)| Halt::Sink(error))
    }

    /// One transaction that saves the progress of a state.
    pub(super) fn try_save(
        &mut self,
        of: State,
        work: &mut Work<'_, P, String>,
    ) -> Result<(), Failed> {
        match of {
            State::Current => self.try_transact(work),
            State::New => {
                self.try_transact_new(&mut |tx, stored| work(tx, stored).map(RebuildStep::Save))?;
                Ok(())
            }
        }
    }

    fn try_transact(&mut self, work: &mut Work<'_, P, String>) -> Result<(), Failed> {
        self.call(|connection, pulse| {
            P::Sink::transact(connection, P::NAME, &mut |tx, stored| {
                let next = pulse.beat().then(|| work(tx, stored)).flatten();
                next.filter(|_| pulse.beat())
            })
        })
    }

    fn try_transact_new(&mut self, work: &mut Work<'_, P, RebuildStep>) -> Result<bool, Failed> {
        self.call(|connection, pulse| {
            P::Sink::rebuild(connection, P::NAME, &mut |tx, stored| {
                let next = pulse.beat().then(|| work(tx, stored)).flatten();
                next.filter(|_| pulse.beat())
            })
        })
    }

    /// Calls the sink with a connection.
    fn call<T>(
        &mut self,
        call: impl FnOnce(
            &mut <P::Sink as Sink>::Connection,
            &Pulse,
        ) -> Result<T, <P::Sink as Sink>::Error>,
    ) -> Result<T, Failed> {
        let unknown = |error| (error, SinkFault::Unknown);
        let pulse = Arc::clone(&self.pulse);
        let prepared = self.journal.prepare_to_save();
        prepared.map_err(|error| unknown(error.into()))?;
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => {
                let what = || format!("connecting the projection `{}`", P::NAME);
                let connected = guard(what, || self.sink.connect()).map_err(unknown)?;
                let connected = connected.map_err(|error| unknown(unreachable::<P>(&error)))?;
                self.connection.insert(Kept::new(connected))
            }
        };
        pulse.beat();
        let what = || format!("a transaction of the projection `{}`", P::NAME);
        let called = guard(what, || call(connection, &pulse));
        // Another call goes on in its place, and reads the progress.
        if pulse.is_given_up() {
            return Err(unknown(StoreError::Closed));
        }
        called
            .map_err(unknown)?
            .map_err(|error| (unreachable::<P>(&error), fault::<P>(&error)))
    }
}
