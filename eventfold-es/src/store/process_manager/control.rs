//! How a process manager goes on: paused, resumed, or let past an event that it stays at.

use super::{OperatorReport, ProcessManagerHandle};
use crate::error::StoreError;
use crate::process_manager::ProcessManager;
use crate::runtime::{Parked, Request};

impl<PM: ProcessManager> ProcessManagerHandle<PM> {
    /// Lets it react to nothing until it is [resumed](Self::resume), also after a restart. Commands do not wait for it meanwhile.
    ///
    /// What is asked for here is done all the same: releasing, redriving, making states again. A release that a restart interrupts goes
    /// on when it is resumed, or when it is asked for again.
    ///
    /// # Errors
    ///
    /// [`StoreError::ReadOnly`] on a read-only file system, [`StoreError::Closed`] if it has ended, and [`StoreError::Refused`] if
    /// it could not be done now.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it done or not.
    pub async fn pause(&self) -> Result<(), StoreError> {
        self.ask(Request::Pause).await
    }

    /// Lets it react again. `done` is 1 if it was paused.
    ///
    /// In [`RunMode::Inline`](crate::RunMode::Inline) it waits until everything is done that was waiting meanwhile, and `reactions` says
    /// what became of that. One that is parked as a whole stays parked: `reactions` is [`Parked`](crate::Reactions::Parked) then, and
    /// [`retry`](Self::retry) or [`skip`](Self::skip) lets it go on.
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

    /// Makes the effects of everything durable that it has reacted to so far, so that they can be seen here.
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

    /// Shows a process manager that is parked as a whole the event that it stays at, once more, and lets it go on. `done` is 1 if it
    /// was parked; if it parks again, `reactions` says so.
    ///
    /// In [`RunMode::Inline`](crate::RunMode::Inline) it waits until everything is done that was waiting behind that event.
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it done or not.
    pub async fn retry(&self) -> Result<OperatorReport, StoreError> {
        self.operate(|asked| Request::Release(Parked::All, asked))
            .await
    }

    /// Lets a process manager without `key` that is parked as a whole pass the event, the deadline or the command that it stays at,
    /// which a row remembers. It is durable when this returns. `done` is 1 if it was parked.
    ///
    /// In [`RunMode::Inline`](crate::RunMode::Inline) it waits until everything is done that was waiting behind it. While it is
    /// [paused](Self::pause), it passes what it stays at and does nothing of that: `reactions` is
    /// [`Paused`](crate::Reactions::Paused).
    ///
    /// # Errors
    ///
    /// As [`pause`](Self::pause).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves it done or not.
    pub async fn skip(&self) -> Result<OperatorReport, StoreError> {
        self.operate(|asked| Request::Discard(Parked::All, asked))
            .await
    }
}
