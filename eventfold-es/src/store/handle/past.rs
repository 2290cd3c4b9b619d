//! The past states of an aggregate.

use std::future::Future;
use std::time::SystemTime;

use super::AggregateHandle;
use crate::aggregate::Aggregate;
use crate::error::{StateError, StoreError};

impl<A: Aggregate> AggregateHandle<A> {
    /// The state that the aggregate had at a version of its stream, folded by the current program. Version 0 is the
    /// default.
    ///
    /// It reads the events up to that version, or only the events after a snapshot at that version or before. It takes
    /// no snapshot, and neither locks nor loads the live aggregate.
    ///
    /// # Errors
    ///
    /// [`StateError`] with [`StoreError::NoSuchVersion`] if the stream does not have the version yet;
    /// with another error if the stream cannot be read or folded.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # use eventfold_es::prelude::*;
    /// # #[derive(Debug, Clone, Serialize, Deserialize)]
    /// # pub enum LampCommand { Switch }
    /// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
    /// # #[serde(tag = "type", content = "data")]
    /// # pub enum LampEvent { Switched }
    /// # #[aggregate(error = std::convert::Infallible)]
    /// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    /// # pub struct Lamp { on: bool }
    /// # impl Decider for Lamp {
    /// #     fn decide(&self, _: LampCommand) -> Result<Vec<LampEvent>, std::convert::Infallible> { Ok(vec![LampEvent::Switched]) }
    /// #     fn evolve(&mut self, _: &LampEvent) { self.on = !self.on }
    /// # }
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), eventfold_es::Error> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let store = AggregateStore::open(directory.path()).await?;
    /// let hall = store.get::<Lamp>("hall").await?;
    /// hall.execute(LampCommand::Switch, ()).await?;
    /// hall.execute(LampCommand::Switch, ()).await?;
    /// assert!(!hall.state_at(0).await?.on);
    /// assert!(hall.state_at(1).await?.on);
    /// assert!(!hall.state_at(2).await?.on);
    /// assert!(hall.state_at(3).await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn state_at(&self, version: u64) -> Result<A, StateError> {
        self.past(self.cells.state_at(&self.id, version)).await
    }

    /// The state that the aggregate had at a time: with all events stored until then, to the millisecond. Otherwise it
    /// is like [`state_at`](Self::state_at).
    ///
    /// Before the first event it is the default. At a future time it is the current state.
    ///
    /// # Errors
    ///
    /// [`StateError`] if the stream cannot be read or folded.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe; it changes nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # use eventfold_es::prelude::*;
    /// # use std::time::{Duration, SystemTime};
    /// # use eventfold_es::AggregateHandle;
    /// # #[derive(Debug, Clone, Serialize, Deserialize)]
    /// # pub enum CartCommand { Empty }
    /// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
    /// # #[serde(tag = "type", content = "data")]
    /// # pub enum CartEvent { Emptied }
    /// # #[aggregate(error = std::convert::Infallible)]
    /// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    /// # pub struct Cart { items: u64 }
    /// # impl Decider for Cart {
    /// #     fn decide(&self, _: CartCommand) -> Result<Vec<CartEvent>, std::convert::Infallible> { Ok(vec![CartEvent::Emptied]) }
    /// #     fn evolve(&mut self, _: &CartEvent) { self.items = 0 }
    /// # }
    /// # async fn look_back(cart: AggregateHandle<Cart>) -> Result<(), eventfold_es::Error> {
    /// let yesterday = SystemTime::now() - Duration::from_secs(24 * 60 * 60);
    /// println!("{} items a day ago", cart.state_at_time(yesterday).await?.items);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn state_at_time(&self, time: SystemTime) -> Result<A, StateError> {
        self.past(self.cells.state_at_time(&self.id, time)).await
    }

    async fn past(
        &self,
        fold: impl Future<Output = Result<A, StoreError>>,
    ) -> Result<A, StateError> {
        let is_closing = *self.shared.closing.borrow();
        let state = match is_closing {
            true => Err(StoreError::Closed),
            false => fold.await,
        };
        state.map_err(|source| self.state_error(source))
    }
}
