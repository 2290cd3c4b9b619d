//! Deriving states from the history again.

use serde::Serialize;

use super::ProcessManagerHandle;
use crate::error::StoreError;
use crate::process_manager::ProcessManager;
use crate::runtime::{Reactions, Rebuilt, Request};

/// The result of [`ProcessManagerHandle::rebuild_state`].
///
/// # JSON
///
/// ```json
/// {"events":1,"deadlines":2,"instances":3,"reactions":"done"}
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RebuiltState {
    /// The number of replayed events.
    pub events: u64,
    /// The number of replayed deadlines.
    pub deadlines: u64,
    /// The number of instances, including completed ones; 1 without `key`.
    pub instances: u64,
    /// The outcome of the reactions to events that arrived meanwhile, and to events that waited for a usable state.
    pub reactions: Reactions,
}

impl<PM: ProcessManager> ProcessManagerHandle<PM> {
    /// Derives the state, or the states of all instances, again. It replays events to the reactions of this program, from the
    /// first event of the process manager to its present position. Use it after a change of a state, or for a state that cannot
    /// be read any more.
    ///
    /// No effect is repeated: no command is sent, no deadline is armed, cancelled or fired, and no dead letter is written. It
    /// replays handled events and fired deadlines, each at its place. It does not replay owed work (parked, held, or a dead
    /// letter), nor skipped work (by its policy or by an operator). Work that was parked and then released counts at its
    /// original place.
    ///
    /// With `key`, events find, start and complete their instances as this program says:
    ///
    /// - An instance keeps its generation, or gets the generation of the rebuild if that is higher. A key never has two
    ///   instances of one generation.
    /// - A parked instance stays parked, with its held work and the state before that. Commands in retry and dead
    ///   letters stay.
    /// - Deadlines stay armed as long as their instance is open. An instance that was complete and is open now has no
    ///   deadlines.
    /// - An instance without any remaining event is complete.
    ///
    /// The new states are made next to the present states, and replace them in one commit. Until then the present
    /// states count. A crash leaves the present states, and you have to repeat the call. Events that arrive meanwhile
    /// wait until it is done, and so do commands in [`RunMode::Inline`](crate::RunMode::Inline), up to their limit.
    /// Other process managers continue. A rebuild takes about as long as reading the journal twice and reacting to all
    /// events.
    ///
    /// In [`RunMode::Inline`](crate::RunMode::Inline) it then waits for the events that arrived meanwhile. If the process
    /// manager was parked because of an unusable state, it waits for all work since then.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`] if an event or a deadline fails, or a state cannot be stored. The error names it, and the states
    /// stay as they are. Otherwise as [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// Rebuilding continues without the caller.
    pub async fn rebuild_state(&self) -> Result<RebuiltState, StoreError> {
        let (done, reactions) = self.operate_on(Request::Rebuild).await?;
        let rebuilt = done.map_err(|reason| StoreError::Refused {
            reason: format!("the states of `{}` stay as they are: {reason}", self.name).into(),
        })?;
        let Rebuilt {
            events,
            deadlines,
            instances,
        } = rebuilt;
        Ok(RebuiltState {
            events,
            deadlines,
            instances,
            reactions,
        })
    }
}
