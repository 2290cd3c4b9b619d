//! Crashes at a chosen file operation.

use std::io;
use std::sync::Arc;

use tokio::sync::watch;

/// The number of file operations until the crash. After it every operation fails, as if the process were gone.
#[derive(Debug, Clone)]
pub struct Fuel(Arc<watch::Sender<u32>>);

impl Fuel {
    /// The operation after this number of operations crashes.
    pub fn for_operations(number: u32) -> Self {
        Self(Arc::new(watch::Sender::new(number)))
    }

    /// Takes the fuel of one operation.
    pub fn burn(&self) -> io::Result<()> {
        let mut is_enough = false;
        self.0.send_modify(|left| {
            is_enough = *left > 0;
            *left = left.saturating_sub(1);
        });
        match is_enough {
            true => Ok(()),
            false => Err(io::Error::other("the process has crashed")),
        }
    }

    pub fn is_empty(&self) -> bool {
        *self.0.borrow() == 0
    }

    /// Waits until there is no fuel.
    pub async fn is_used_up(&self) {
        let _ = self.0.subscribe().wait_for(|left| *left == 0).await;
    }
}
