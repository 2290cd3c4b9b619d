//! States that are made again from the history.

use serde::Serialize;

use super::ProcessManagerHandle;
use crate::error::StoreError;
use crate::process_manager::ProcessManager;
use crate::runtime::{Reactions, Rebuilt, Request};

/// What [`ProcessManagerHandle::rebuild_state`] has made states from.
///
/// # JSON
///
/// ```json
/// {"events":1,"deadlines":2,"instances":3,"reactions":"done"}
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RebuiltState {
    /// How many events were shown again.
    pub events: u64,
    /// How many deadlines that had been reached were shown again.
    pub deadlines: u64,
    /// How many instances there are, complete ones among them; 1 without `key`.
    pub instances: u64,
    /// The outcome of the reactions to events that came meanwhile, and to those that waited for a usable state.
    pub reactions: Reactions,
}

impl<PM: ProcessManager> ProcessManagerHandle<PM> {
    /// Makes the state, or those of all instances, again: by the reactions of this program, from the first event that the process
    /// manager was ever to react to up to where it is. For when what a state is made of has changed, or one cannot be read any
    /// more.
    ///
    /// Nothing that the reactions ask for is done again: no command is sent, no deadline is armed, cancelled or reached, and no
    /// dead letter is written. Shown are the events that it has reacted to and the deadlines that were reached, each where it
    /// was; not those that it still owes (parked, held, or a dead letter), nor those that it has passed over (by its policy or
    /// by an operator). Those that were parked and then released count where they happened.
    ///
    /// With `key`, events find their instances as this program says, and begin and complete them:
    ///
    /// - An instance keeps its generation, or gets that of the rebuild if it is higher; a key is never used under the same one twice.
    /// - A parked instance stays parked, with what it holds; its state is the one before that. Pending commands and dead
    ///   letters stay as they are.
    /// - Deadlines stay armed as long as their instance is open. One that was complete and is open now has none.
    /// - One that no event leads to any more is complete.
    ///
    /// The states are made beside those that count, and take their place in one commit. Until then the old ones count, also
    /// after a crash, which leaves nothing but the need to call this again. Events that come meanwhile wait until it is done, and
    /// so do commands in [`RunMode::Inline`](crate::RunMode::Inline), up to their limit; other process managers go on. It takes
    /// about as long as reading the journal twice and reacting to everything.
    ///
    /// In [`RunMode::Inline`](crate::RunMode::Inline) it then waits until the process manager has done what came meanwhile; if it was
    /// parked because its state could not be used, that is everything that was waiting since.
    ///
    /// # Errors
    ///
    /// [`StoreError::Refused`] if an event or a deadline cannot be reacted to any more, or a state not be stored: it names which,
    /// and the states stay as they are. Otherwise as [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// Rebuilding goes on without the caller.
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
