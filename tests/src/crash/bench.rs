use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use eventfold_es::disk::{FaultyDisk, SystemDisk};
use eventfold_es::store::AggregateStoreBuilder;
use eventfold_es::{AggregateStore, OpenError, RunMode};

use super::check::{Check, check};
use super::fixture::Fixture;
use super::note::Expected;
use super::workload::{Client, builder};

/// A store on a disk that can fail, and what was told about it.
pub struct Bench {
    fixture: Fixture,
    /// The disk.
    pub disk: FaultyDisk,
    expected: Arc<Mutex<Expected>>,
}

impl Default for Bench {
    /// A store that is not there yet.
    fn default() -> Self {
        Self::of(&Fixture::empty())
    }
}

impl Bench {
    /// A copy of a store.
    #[must_use]
    pub fn of(fixture: &Fixture) -> Self {
        let fixture = fixture.copy();
        Self {
            expected: Arc::new(Mutex::new(fixture.expected.clone())),
            disk: FaultyDisk::new(Arc::new(SystemDisk)),
            fixture,
        }
    }

    /// The base directory of the store.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.fixture.store()
    }

    /// Opens the store with its process managers.
    ///
    /// # Errors
    ///
    /// What the store answers.
    pub async fn open(&self, mode: RunMode) -> Result<AggregateStore, OpenError> {
        self.builder().run_mode(mode).open().await
    }

    /// Configures the store with its process managers.
    pub fn builder(&self) -> AggregateStoreBuilder {
        builder(&self.store(), Arc::new(self.disk.clone()), true)
    }

    /// A client whose notes are kept.
    #[must_use]
    pub fn client(&self, store: &AggregateStore) -> Client {
        let expected = Arc::clone(&self.expected);
        Client::new(store, move |note| {
            let mut expected = expected.lock().unwrap_or_else(PoisonError::into_inner);
            expected.take(note.clone());
        })
    }

    /// What was told so far.
    #[must_use]
    pub fn expected(&self) -> Expected {
        let expected = self.expected.lock();
        expected.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens the store again without faults and compares it with what was told.
    ///
    /// # Errors
    ///
    /// The first thing that is not as it should be.
    pub async fn check(&self) -> Result<(), String> {
        self.disk.clear();
        check(&self.store(), &self.expected(), Check::UNREADABLE_TARGETS).await
    }
}
