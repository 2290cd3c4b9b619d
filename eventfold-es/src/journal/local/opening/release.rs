//! Releasing the directory after the last write to it.

use std::sync::{Arc, Mutex, Weak};

use tokio::sync::watch;

use crate::disk::LockHandle;
use crate::journal::local::appends::lock;
use crate::journal::local::rows::RowTables;

/// Both workers of the journal hold it until they have ended, so that no other store opens the directory before. Its drop
/// releases the directory.
pub(in crate::journal::local) struct Release {
    pub(in crate::journal::local) directory: Option<Arc<LockHandle>>,
    /// For callers that check the directory. None does after the release.
    pub(in crate::journal::local) base: Arc<Mutex<Weak<LockHandle>>>,
    pub(in crate::journal::local) rows: Arc<RowTables>,
    pub(in crate::journal::local) closed: watch::Sender<bool>,
}

impl Drop for Release {
    fn drop(&mut self) {
        self.rows.close();
        *lock(&self.base) = Weak::new();
        self.directory = None;
        self.closed.send_replace(true);
    }
}
