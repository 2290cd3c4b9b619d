//! Releasing the directory when nobody writes to it any more.

use std::sync::{Arc, Mutex, Weak};

use tokio::sync::watch;

use super::appends::lock;
use super::rows::RowTables;
use crate::disk::LockHandle;

/// Both workers of the journal hold it until they have ended: nobody else opens the directory before. The directory is free when it
/// is dropped.
pub(super) struct Release {
    pub(super) directory: Option<Arc<LockHandle>>,
    /// For those who look at the directory; none does any more when it is released.
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
