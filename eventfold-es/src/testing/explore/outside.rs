//! The world outside the store, which event handlers change.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The world outside, for the fake of an event handler in an [exploration](super::Exploration). The clones share one world.
///
/// # Examples
///
/// ```
/// use eventfold_es::testing::Outside;
///
/// /// In place of a bank: the charges by their idempotency keys.
/// struct FakeBank(Outside<Vec<String>>);
///
/// impl FakeBank {
///     async fn charge(&self, key: &str) {
///         self.0.with(|charges| charges.push(key.to_owned()));
///     }
/// }
/// ```
pub struct Outside<W>(Arc<Mutex<W>>);

impl<W> Outside<W> {
    /// A world, for a test of the fake without an exploration.
    #[must_use]
    pub fn new(world: W) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    /// Reads or changes the world. Other calls wait for the end of `act`, so it must not call `with` again.
    pub fn with<T>(&self, act: impl FnOnce(&mut W) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<W> Clone for Outside<W> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<W> fmt::Debug for Outside<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside").finish_non_exhaustive()
    }
}
