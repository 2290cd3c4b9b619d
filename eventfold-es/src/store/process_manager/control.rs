//! Pausing and resuming a process manager, and moving it past an event.

use super::{OperatorReport, ProcessManagerHandle};
use crate::error::StoreError;
use crate::process_manager::ProcessManager;
use crate::runtime::{Request, Scope};

impl<PM: ProcessManager> ProcessManagerHandle<PM> {
    /// Stops all reactions until [`resume`](Self::resume), also after a restart. Commands do not wait for it meanwhile.
    ///
    /// It still carries out the requests of an operator: releasing, redriving, rebuilding states. A release that a
    /// restart interrupts continues with `resume`, or when it is requested again.
    ///
    /// # Errors
    ///
    /// [`StoreError::ReadOnly`] on a read-only file system, [`StoreError::Closed`] if it has ended, and
    /// [`StoreError::Refused`] if it cannot be done now.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it done or not.
    pub async fn pause(&self) -> Result<(), StoreError> {
        self.ask(Request::Pause).await
    }

    /// Lets it react again. `done` is 1 if it was paused.
    ///
    /// In [`RunMode::Inline`](crate::RunMode::Inline) it waits for all waiting work, and `reactions` is the outcome. A process
    /// manager that is parked as a whole stays parked. Then `reactions` is [`Parked`](crate::Reactions::Parked), and
    /// [`retry`](Self::retry) or [`skip`](Self::skip) lets it continue.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// As [`pause`](Self::pause).
    pub async fn resume(&self) -> Result<OperatorReport, StoreError> {
        self.operate(Request::Resume).await
    }

    /// Makes the effects of all durable reactions visible here.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn settle(&self) -> Result<(), StoreError> {
        self.ask(Request::Settle).await
    }

    /// Delivers the event at which a process manager is parked as a whole once more, and lets it continue. `done` is 1 if it
    /// was parked; if it parks again, `reactions` says so.
    ///
    /// In [`RunMode::Inline`](crate::RunMode::Inline) it waits for all work that the event has held up.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it done or not.
    pub async fn retry(&self) -> Result<OperatorReport, StoreError> {
        self.operate(|asked| Request::Release(Scope::All, asked))
            .await
    }

    /// Lets a process manager without `key` that is parked as a whole skip the event, the deadline or the command at which it
    /// is parked. A row records that. It is durable when this returns. `done` is 1 if it was parked.
    ///
    /// In [`RunMode::Inline`](crate::RunMode::Inline) it waits for all work that was held up. While it is
    /// [paused](Self::pause), it only skips: `reactions` is [`Paused`](crate::Reactions::Paused).
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it done or not.
    pub async fn skip(&self) -> Result<OperatorReport, StoreError> {
        self.operate(|asked| Request::Discard(Scope::All, asked))
            .await
    }
}
