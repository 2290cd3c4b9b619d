//! Calls of a database that never return: the projection says so and goes on, and nobody waits for them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::{Sink, StoreError};
use eventfold_es_tests::TestResult;
use tokio::time::timeout;

use crate::common::counter::{Counter, CounterCommand, CounterEvent};
use crate::refused;

/// More than any wait of a test takes. Nothing here ends by it.
const LONG: Duration = Duration::from_secs(120);
/// The time after which a test gives up calls.
const SHORT: Duration = Duration::from_millis(200);

/// A step of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Connect,
    Begin,
    Event,
    Commit,
}

const STEPS: [Step; 4] = [Step::Connect, Step::Begin, Step::Event, Step::Commit];

/// A database in memory whose calls hang at one step.
#[derive(Clone)]
struct Memory {
    inner: Arc<Inner>,
    timeout: Duration,
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    numbers: Vec<i64>,
    progress: Option<String>,
    hangs_at: Option<Step>,
    hanging: usize,
    releases: usize,
    /// The number of commits after another transaction.
    conflicts: usize,
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self, step: Step) {
        let mut state = self.state();
        if state.hangs_at != Some(step) {
            return;
        }
        state.hanging += 1;
        self.changed.notify_all();
        let before = state.releases;
        let released = self
            .changed
            .wait_while(state, |state| state.releases == before);
        released.unwrap_or_else(PoisonError::into_inner).hanging -= 1;
        self.changed.notify_all();
    }
}

impl Memory {
    fn new(timeout: Duration) -> Self {
        Self {
            inner: Arc::default(),
            timeout,
        }
    }

    /// From now on calls hang at a step, or at none. Calls that hang already go on doing so.
    fn hang_at(&self, step: impl Into<Option<Step>>) {
        self.inner.state().hangs_at = step.into();
    }

    /// Lets all calls go on.
    fn release(&self) {
        let mut state = self.inner.state();
        state.hangs_at = None;
        state.releases += 1;
        self.inner.changed.notify_all();
    }

    /// Waits until so many calls hang.
    async fn hang(&self, calls: usize) {
        let memory = self.clone();
        let waited = tokio::task::spawn_blocking(move || {
            let state = memory.inner.state();
            let changed = &memory.inner.changed;
            let waited = changed.wait_timeout_while(state, LONG, |state| state.hanging != calls);
            !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
        });
        assert!(waited.await.unwrap(), "not {calls} calls hang");
    }

    fn numbers(&self) -> Vec<i64> {
        self.inner.state().numbers.clone()
    }
}

/// Another transaction has changed the progress.
#[derive(Debug, thiserror::Error)]
#[error("the progress has changed")]
struct Conflict;

struct MemoryTx {
    numbers: Vec<i64>,
    inner: Arc<Inner>,
}

impl Sink for Memory {
    type Connection = Self;
    type Tx<'t> = MemoryTx;
    type Error = Conflict;

    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn connect(&self) -> Result<Self, Conflict> {
        self.inner.pass(Step::Connect);
        Ok(self.clone())
    }

    fn transact(
        Self { inner, .. }: &mut Self,
        _: &str,
        work: &mut dyn FnMut(&mut MemoryTx, Option<&str>) -> Option<String>,
    ) -> Result<(), Conflict> {
        inner.pass(Step::Begin);
        let state = inner.state();
        let progress = state.progress.clone();
        let mut tx = MemoryTx {
            numbers: state.numbers.clone(),
            inner: Arc::clone(inner),
        };
        drop(state);
        let Some(next) = work(&mut tx, progress.as_deref()) else {
            return Ok(());
        };
        inner.pass(Step::Commit);
        let mut state = inner.state();
        if state.progress != progress {
            state.conflicts += 1;
            return Err(Conflict);
        }
        state.numbers = tx.numbers;
        state.progress = Some(next);
        Ok(())
    }
}

macro_rules! numbers {
    ($type:ident, $version:literal) => {
        #[projection(subscribes = [Counter], sink = Memory, name = "numbers", version = $version)]
        struct $type;

        impl Prepare for $type {
            fn prepare(tx: &mut MemoryTx) -> Result<(), Conflict> {
                tx.numbers.clear();
                Ok(())
            }
        }

        impl ProjectInto<Counter> for $type {
            fn project(
                event: &CounterEvent,
                _: &EventContext<'_>,
                tx: &mut MemoryTx,
            ) -> Result<(), Conflict> {
                tx.inner.pass(Step::Event);
                if let CounterEvent::Added(by) = event {
                    tx.numbers.push(*by);
                }
                Ok(())
            }
        }
    };
}

numbers!(Numbers, 1);
numbers!(OtherNumbers, 2);

async fn open(base: &std::path::Path, memory: &Memory) -> AggregateStore {
    let builder = AggregateStore::builder(base).projection::<Numbers>();
    builder.sink(memory.clone()).open().await.unwrap()
}

/// Adds the numbers of a range, each at the position after it.
async fn add(store: &AggregateStore, numbers: std::ops::Range<i64>) {
    for by in numbers {
        store.send("a", CounterCommand::Add(by), ()).await.unwrap();
    }
}

/// Closes a store, which must not wait for the calls that hang.
async fn close(store: AggregateStore) {
    let closed = timeout(LONG, store.close()).await;
    closed.expect("the store closes").unwrap();
}

/// A store with three events that its database does not have.
async fn with_three(base: &std::path::Path) {
    let store = AggregateStore::open(base).await.unwrap();
    add(&store, 1..4).await;
    close(store).await;
}

#[tokio::test]
async fn a_call_that_does_not_return_is_reported_and_given_up() -> TestResult {
    for step in STEPS {
        let base = tempfile::tempdir()?;
        let memory = Memory::new(SHORT);
        with_three(base.path()).await;
        memory.hang_at(step);
        let store = open(base.path(), &memory).await;
        let reasons = ["has not returned for 200ms", "4 calls have not returned"];
        refused::<Numbers>(&store, 3, &reasons).await;
        assert_eq!(memory.numbers(), [0; 0], "{step:?}");

        // The next call goes on, and finds its own connection, while the earlier calls hang.
        memory.hang_at(None);
        store.resume_projection::<Numbers>()?;
        store.wait_for::<Numbers>(3, LONG).await?;
        add(&store, 4..6).await;
        store.wait_for::<Numbers>(5, LONG).await?;
        assert_eq!(memory.numbers(), [1, 2, 3, 4, 5], "{step:?}");
        assert_eq!(store.health().await.projections[0].failure, None);

        // They return, and change nothing.
        memory.release();
        memory.hang(0).await;
        add(&store, 6..7).await;
        store.wait_for::<Numbers>(6, LONG).await?;
        close(store).await;
        // Only a commit that hangs is still tried.
        let conflicts = memory.inner.state().conflicts;
        assert_eq!(conflicts > 0, step == Step::Commit, "{step:?}: {conflicts}");
        assert_eq!(memory.numbers(), [1, 2, 3, 4, 5, 6], "{step:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_database_whose_calls_all_hang_gets_few_of_them_and_is_caught_up_when_it_is_back()
-> TestResult {
    for step in STEPS {
        let base = tempfile::tempdir()?;
        let memory = Memory::new(SHORT);
        with_three(base.path()).await;
        memory.hang_at(step);
        let store = open(base.path(), &memory).await;
        refused::<Numbers>(&store, 3, &["4 calls have not returned"]).await;
        memory.hang(4).await;
        add(&store, 4..6).await;
        assert_eq!(memory.numbers(), [0; 0], "{step:?}");

        memory.release();
        store.wait_for::<Numbers>(5, LONG).await?;
        assert_eq!(memory.numbers(), [1, 2, 3, 4, 5], "{step:?}");
        close(store).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_closes_while_a_call_hangs_and_loses_nothing() -> TestResult {
    async fn closes(step: Step) -> TestResult {
        let base = tempfile::tempdir()?;
        let memory = Memory::new(LONG * 100);
        with_three(base.path()).await;
        memory.hang_at(step);
        let store = open(base.path(), &memory).await;
        memory.hang(1).await;
        let closed = timeout(LONG, store.close()).await;
        closed.map_err(|_| "the store does not close")??;

        // The directory is free, and the next life of the store writes what is missing.
        memory.hang_at(None);
        let store = open(base.path(), &memory).await;
        add(&store, 4..6).await;
        store.wait_for::<Numbers>(5, LONG).await?;
        assert_eq!(memory.numbers(), [1, 2, 3, 4, 5], "{step:?}");
        memory.release();
        memory.hang(0).await;
        add(&store, 6..7).await;
        store.wait_for::<Numbers>(6, LONG).await?;
        close(store).await;
        assert_eq!(memory.numbers(), [1, 2, 3, 4, 5, 6], "{step:?}");
        Ok(())
    }
    let stores = STEPS.map(|step| {
        let of_its_own = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime = runtime.unwrap();
            let closed = runtime.block_on(closes(step));
            // A store that does not close fails the test, and does not hang it.
            runtime.shutdown_background();
            closed.unwrap();
        };
        tokio::task::spawn_blocking(of_its_own)
    });
    for store in stores {
        store.await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_rebuild_that_hangs_is_cancelled() -> TestResult {
    let base = tempfile::tempdir()?;
    let memory = Memory::new(LONG * 100);
    with_three(base.path()).await;
    let store = open(base.path(), &memory).await;
    store.wait_for::<Numbers>(3, LONG).await?;
    memory.hang_at(Step::Event);
    let rebuild = tokio::spawn({
        let store = store.clone();
        async move { store.rebuild_projection::<Numbers>().await }
    });
    memory.hang(1).await;
    memory.hang_at(None);
    store.cancel_rebuild::<Numbers>()?;
    let cancelled = timeout(LONG, rebuild).await??;
    assert!(
        matches!(cancelled, Err(StoreError::RebuildCancelled)),
        "{cancelled:?}"
    );
    // The old state goes on.
    add(&store, 4..6).await;
    store.wait_for::<Numbers>(5, LONG).await?;
    assert_eq!(memory.numbers(), [1, 2, 3, 4, 5]);
    memory.release();
    memory.hang(0).await;
    store.rebuild_projection::<Numbers>().await?;
    assert_eq!(memory.numbers(), [1, 2, 3, 4, 5]);
    close(store).await;
    Ok(())
}

#[tokio::test]
async fn a_required_rebuild_that_hangs_is_cancelled_and_the_projection_stops() -> TestResult {
    let base = tempfile::tempdir()?;
    let memory = Memory::new(LONG * 100);
    with_three(base.path()).await;
    let store = open(base.path(), &memory).await;
    store.wait_for::<Numbers>(3, LONG).await?;
    close(store).await;

    memory.hang_at(Step::Event);
    let builder = AggregateStore::builder(base.path()).projection::<OtherNumbers>();
    let store = builder.sink(memory.clone()).open().await?;
    memory.hang(1).await;
    memory.hang_at(None);
    store.cancel_rebuild::<OtherNumbers>()?;
    let stopped = store.wait_for::<OtherNumbers>(4, LONG).await.unwrap_err();
    let stopped = stopped.to_string();
    assert!(stopped.contains("its rebuild was cancelled"), "{stopped}");
    assert_eq!(memory.numbers(), [1, 2, 3]);
    memory.release();
    store.rebuild_projection::<OtherNumbers>().await?;
    add(&store, 4..5).await;
    store.wait_for::<OtherNumbers>(4, LONG).await?;
    assert_eq!(memory.numbers(), [1, 2, 3, 4]);
    close(store).await;
    Ok(())
}

#[tokio::test]
async fn a_rebuild_that_hangs_is_given_up_and_the_old_state_goes_on() -> TestResult {
    for step in [Step::Begin, Step::Event, Step::Commit] {
        let base = tempfile::tempdir()?;
        let memory = Memory::new(SHORT);
        with_three(base.path()).await;
        let store = open(base.path(), &memory).await;
        store.wait_for::<Numbers>(3, LONG).await?;
        memory.hang_at(step);
        let given_up = timeout(LONG, store.rebuild_projection::<Numbers>()).await?;
        let given_up = given_up.unwrap_err().to_string();
        assert!(
            given_up.contains("has not returned for 200ms"),
            "{given_up}"
        );
        memory.hang_at(None);
        add(&store, 4..6).await;
        store.resume_projection::<Numbers>()?;
        store.wait_for::<Numbers>(5, LONG).await?;
        memory.release();
        memory.hang(0).await;
        close(store).await;
        assert_eq!(memory.numbers(), [1, 2, 3, 4, 5], "{step:?}");
    }
    Ok(())
}

#[test]
fn a_runtime_ends_while_a_call_hangs() -> TestResult {
    let base = tempfile::tempdir()?;
    let memory = Memory::new(LONG * 100);
    let runtime = tokio::runtime::Runtime::new()?;
    let store = runtime.block_on(async {
        with_three(base.path()).await;
        memory.hang_at(Step::Event);
        let store = open(base.path(), &memory).await;
        memory.hang(1).await;
        store
    });
    let (ended, has_ended) = mpsc::channel();
    std::thread::spawn(move || {
        drop(runtime);
        let _ = ended.send(());
    });
    has_ended
        .recv_timeout(LONG)
        .expect("the runtime waits for a call that hangs");
    drop(store);
    memory.release();
    Ok(())
}
