//! The world outside, as a fake: it records each call, and answers as the test says.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::{AggregateStoreBuilder, FailureCause, HandleError};
use tokio::sync::Semaphore;

use crate::common::counter::{Counter, CounterCommand, CounterEvent};

/// One call of the handler.
#[derive(Debug, Clone, PartialEq)]
pub struct Called {
    pub stream: String,
    pub number: i64,
    pub attempt: u32,
    pub key: String,
}

/// What the world does in a call.
#[derive(Clone)]
pub enum Act {
    /// Answers; the handler sends a command.
    Answer,
    /// Answers; the handler sends nothing.
    Silence,
    /// Answers after a time.
    Late(Duration),
    /// Answers when the gate has room.
    At(Arc<Semaphore>),
    Fail(&'static str),
    Panic,
    Never,
    /// Blocks the thread.
    Block(Duration),
    /// The handler sends a command that is rejected.
    Reject,
}

/// What the handler does about a failed call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Policy {
    Default,
    Retry,
    DeadLetter,
    Skip,
    Park,
    Stop,
    Instead,
}

#[derive(Default)]
struct State {
    calls: Vec<Called>,
    running: HashMap<String, usize>,
    /// Streams that had two calls at a time.
    overlaps: Vec<String>,
}

type Script = Box<dyn Fn(&Called) -> Act + Send + Sync>;

pub struct Inner {
    state: Mutex<State>,
    running: AtomicUsize,
    most: AtomicUsize,
    script: Mutex<Arc<Script>>,
    policy: Mutex<Policy>,
    failures: Mutex<Vec<String>>,
}

#[derive(Clone)]
pub struct World(Arc<Inner>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub fn new(script: impl Fn(&Called) -> Act + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            state: Mutex::default(),
            running: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            script: Mutex::new(Arc::new(Box::new(script))),
            policy: Mutex::new(Policy::Retry),
            failures: Mutex::default(),
        }))
    }

    pub fn with(self, policy: Policy) -> Self {
        *lock(&self.0.policy) = policy;
        self
    }

    /// From now on it acts so.
    pub fn acts(&self, script: impl Fn(&Called) -> Act + Send + Sync + 'static) {
        *lock(&self.0.script) = Arc::new(Box::new(script));
    }

    pub fn calls(&self) -> Vec<Called> {
        lock(&self.0.state).calls.clone()
    }

    /// The numbers with which a stream was called, in order.
    pub fn numbers(&self, stream: &str) -> Vec<i64> {
        let calls = self.calls().into_iter();
        let own = calls.filter(|call| call.stream == stream);
        own.map(|call| call.number).collect()
    }

    /// The kinds of the failures, in order.
    pub fn failures(&self) -> Vec<String> {
        lock(&self.0.failures).clone()
    }

    pub fn overlaps(&self) -> Vec<String> {
        lock(&self.0.state).overlaps.clone()
    }

    /// The largest number of calls at a time.
    pub fn most(&self) -> usize {
        self.0.most.load(Ordering::SeqCst)
    }

    pub fn running(&self) -> usize {
        self.0.running.load(Ordering::SeqCst)
    }
}

/// Ends a call, also if it is dropped.
struct Ends(World, String);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.0.running.fetch_sub(1, Ordering::SeqCst);
        if let Some(count) = lock(&self.0.0.state).running.get_mut(&self.1) {
            *count -= 1;
        }
    }
}

/// Copies what is added to `a-…` to `b-…`, after a call of the world. `N` calls run at a time, each at most `MS` milliseconds.
pub struct Courier<const N: usize, const MS: u64>(pub World);

impl<const N: usize, const MS: u64> EventHandler for Courier<N, MS> {
    const NAME: &'static str = "courier";
    const SUBSCRIPTIONS: &'static [&'static str] = &[Counter::AGGREGATE_TYPE];
    const CONCURRENCY: usize = N;
    const TIMEOUT: Duration = Duration::from_millis(MS);
    type Envelope = CommandEnvelope;

    async fn handle_event(&self, cx: &mut Handling<'_, Self>) -> Result<(), HandleError> {
        let event = CounterEvent::from_event(cx.event())?;
        let (CounterEvent::Added(number), Some(rest)) = (event, cx.stream_id().strip_prefix("a-"))
        else {
            return Ok(());
        };
        let world = &self.0;
        let called = Called {
            stream: cx.stream_id().to_owned(),
            number,
            attempt: cx.attempt(),
            key: cx.idempotency_key().to_owned(),
        };
        let running = world.0.running.fetch_add(1, Ordering::SeqCst) + 1;
        world.0.most.fetch_max(running, Ordering::SeqCst);
        {
            let mut state = lock(&world.0.state);
            state.calls.push(called.clone());
            let own = state.running.entry(called.stream.clone()).or_default();
            *own += 1;
            if *own > 1 {
                state.overlaps.push(called.stream.clone());
            }
        }
        let _ends = Ends(world.clone(), called.stream.clone());
        let script = Arc::clone(&lock(&world.0.script));
        let mut command = serde_json::json!({ "Add": number });
        match script(&called) {
            Act::Answer => {}
            Act::Silence => return Ok(()),
            Act::Late(time) => tokio::time::sleep(time).await,
            Act::At(gate) => gate.acquire().await.map_err(HandleError::failed)?.forget(),
            Act::Fail(reason) => return Err(HandleError::failed(reason)),
            Act::Panic => panic!("the world ends"),
            Act::Never => std::future::pending().await,
            Act::Block(time) => std::thread::sleep(time),
            Act::Reject => command = serde_json::json!("Reject"),
        }
        cx.send_envelope(CommandEnvelope {
            aggregate_type: Counter::AGGREGATE_TYPE.to_owned(),
            instance_id: format!("b-{rest}"),
            command,
            context: CommandContext::default(),
        });
        Ok(())
    }

    fn on_failure(&self, failure: &Failure<'_>) -> HandlerAction<Self> {
        lock(&self.0.0.failures).push(failure.cause.kind().to_owned());
        if matches!(failure.cause, FailureCause::Rejected { .. }) {
            return FailureAction::default_for(failure);
        }
        let policy = *lock(&self.0.0.policy);
        match policy {
            Policy::Default => FailureAction::default_for(failure),
            Policy::Retry => {
                let backoff = Backoff::exponential(Duration::from_millis(20));
                FailureAction::Retry(backoff.jitter(0.0).forever())
            }
            Policy::DeadLetter => FailureAction::DeadLetter,
            Policy::Skip => FailureAction::Skip,
            Policy::Park => FailureAction::Park,
            Policy::Stop => FailureAction::Stop,
            Policy::Instead => FailureAction::Compensate(vec![CommandEnvelope {
                aggregate_type: Counter::AGGREGATE_TYPE.to_owned(),
                instance_id: "instead".to_owned(),
                command: serde_json::json!({ "Add": 1 }),
                context: CommandContext::default(),
            }]),
        }
    }
}

/// A store with the handler.
pub fn builder<const N: usize, const MS: u64>(base: &Path, world: &World) -> AggregateStoreBuilder {
    AggregateStore::builder(base)
        .aggregate_type::<Counter>()
        .event_handler(Courier::<N, MS>(world.clone()))
}

pub async fn add(store: &AggregateStore, id: &str, number: i64) {
    let command = CounterCommand::Add(number);
    let sent = store.send(id, command, CommandContext::default()).await;
    sent.expect("it is accepted");
}

pub async fn sum(store: &AggregateStore, id: &str) -> i64 {
    let counter = store.get::<Counter>(id).await.expect("a handle");
    counter.state().await.expect("a state").sum
}

/// Waits until a condition holds.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waited = tokio::time::timeout(Duration::from_secs(20), async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "it takes too long until {what}");
}

pub async fn until_sum(store: &AggregateStore, id: &str, number: i64) {
    until(&format!("{id} is {number}"), || async {
        sum(store, id).await == number
    })
    .await;
}
