//! The role of this node, for the program.

use tokio::sync::watch;

use super::AggregateStore;
use crate::replication::Role;

impl AggregateStore {
    /// The role of this node, as it changes. A store that is not replicated is always the leader.
    ///
    /// Clone the role out of [`borrow`](watch::Receiver::borrow). A borrow that is held stops the store, which cannot change its role
    /// meanwhile.
    ///
    /// # Examples
    ///
    /// ```
    /// use eventfold_es::AggregateStore;
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), eventfold_es::Error> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// let store = AggregateStore::open(directory.path()).await?;
    /// assert!(store.role().borrow().is_leader());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn role(&self) -> watch::Receiver<Role> {
        self.shared.runtime.journal.standing().role()
    }
}
