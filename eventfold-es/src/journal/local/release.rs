//! Releasing the directory after the last write to it.

use std::sync::{Arc, Mutex, Weak};

use tokio::sync::watch;

use super::appends::lock;
use super::rows::RowTables;
use crate::disk::LockHandle;

/// Both workers of the journal hold it until they have ended, so that no other store opens the directory before. Its drop
/// releases the directory.
pub(super) struct Release {
    pub(super) directory: Option<Arc<LockHandle>>,
    /// For callers that check the directory. None does after the release.
    pub(super) base: Arc<Mutex<Weak<LockHandle>>>,
    pub(super) rows: Arc<RowTables>,
    pub(super) closed: watch::Sender<bool>,
}

impl Drop for Release {
    fn drop(&mut self) {
        self.rows.close();
        *lock(&self.base) = Weak::new();
        self.directory = None;
        self.closed.send_replace(true);
    }
}
