//! Rule 6: a dropped future leaves nothing or a commit. So it is dropped wherever it can wait: for room in the queue, for its
//! aggregate to be loaded, for what is known of its key or id, and for its commit.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use eventfold_es::RunMode;
use eventfold_es::prelude::*;
use eventfold_es::store::InjectOptions;
use eventfold_es_tests::crash::domain::{Ledger, LedgerCommand, LedgerEvent, entry};
use eventfold_es_tests::crash::scratch;
use eventfold_es_tests::gate::GatedDisk;

use crate::common::counter::{Counter, CounterCommand};

/// Nothing here takes so long, unless it never ends.
const PATIENCE: Duration = Duration::from_secs(30);
/// More polls than it takes for anything here to be done.
const POLLS: u64 = 40;
/// More commands than there is room for in the queue.
const TOO_MANY: usize = 9000;

fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls a future so many times, with time for other threads in between, and drops it.
async fn drop_after(polls: u64, mut future: Pin<Box<dyn Future<Output = ()> + '_>>) {
    for _ in 0..polls {
        if poll(future.as_mut()).is_ready() {
            return;
        }
        tokio::time::sleep(Duration::from_micros(50)).await;
    }
}

#[derive(Debug, Clone, Copy)]
enum Dropped {
    Command,
    Keyed,
    Injected,
}

impl Dropped {
    /// A command or an event with the tag 5, on an aggregate that has one event with the tag 1.
    async fn ask(self, store: &AggregateStore, id: &str) {
        let command = LedgerCommand::Put { tag: 5, parts: 2 };
        let context = CommandContext::default();
        match self {
            Self::Command => drop(store.send(id, command, context).await),
            Self::Keyed => {
                let context = context.with_idempotency_key("key");
                drop(store.send(id, command, context).await);
            }
            Self::Injected => {
                let mut event = entry(5, 0, 1).to_event().unwrap();
                event.id = Some("id".to_owned());
                let options = InjectOptions::default();
                let injected = store.inject_event::<Ledger>(id, event, options);
                drop(injected.await);
            }
        }
    }
}

async fn put(store: &AggregateStore, id: &str, tag: u64) -> u64 {
    let command = LedgerCommand::Put { tag, parts: 1 };
    let put = store.send(id, command, CommandContext::default());
    let done = tokio::time::timeout(PATIENCE, put).await;
    done.expect("it never ends").unwrap().version
}

/// The tag and part of each entry, and the version that the state has.
async fn entries(store: &AggregateStore, id: &str) -> Vec<(u64, u32)> {
    let events = store.read_events("ledger", id).await.unwrap();
    let entries = events.iter().map(|event| {
        let LedgerEvent::Entry { tag, part, .. } = LedgerEvent::from_event(event).unwrap();
        (tag, part)
    });
    let entries: Vec<_> = entries.collect();
    let handle = store.get::<Ledger>(id).await.unwrap();
    let state = handle.state().await.unwrap();
    assert_eq!(state.entries, entries.len() as u64, "{id}");
    entries
}

#[tokio::test]
async fn rule_06_a_dropped_command_is_nothing_or_a_commit() {
    for dropped in [Dropped::Command, Dropped::Keyed, Dropped::Injected] {
        let place = scratch();
        let whole: &[(u64, u32)] = match dropped {
            Dropped::Injected => &[(5, 0)],
            Dropped::Command | Dropped::Keyed => &[(5, 0), (5, 1)],
        };
        let id = |polls: u64| format!("l-{polls}");
        let store = AggregateStore::open(place.path()).await.unwrap();
        for polls in 0..POLLS {
            put(&store, &id(polls), 1).await;
        }
        store.close().await.unwrap();
        // Each aggregate is loaded by the command that is dropped.
        let store = AggregateStore::open(place.path()).await.unwrap();
        let mut found = BTreeSet::new();
        for polls in 0..POLLS {
            let id = id(polls);
            drop_after(polls, Box::pin(dropped.ask(&store, &id))).await;
            // Whether it was handed over shows in what comes behind it.
            let version = put(&store, &id, 7).await;
            let entries = entries(&store, &id).await;
            assert_eq!(entries.len() as u64, version, "{dropped:?}, {polls} polls");
            let between = &entries[1..entries.len() - 1];
            assert!(
                between.is_empty() || between == whole,
                "{dropped:?}, {polls} polls: {entries:?}"
            );
            found.insert(between.is_empty());
            // And once more, under the same key or id.
            if !matches!(dropped, Dropped::Command) {
                let again = tokio::time::timeout(PATIENCE, dropped.ask(&store, &id));
                again.await.expect("it never ends");
                let count = self::entries(&store, &id).await.len();
                assert_eq!(count, 2 + whole.len(), "{dropped:?}, {polls} polls");
            }
        }
        assert_eq!(found, BTreeSet::from([false, true]), "{dropped:?}");
        store.close().await.unwrap();
    }
}

/// Those that wait for room have not happened, those in the queue have.
#[tokio::test]
async fn rule_06_commands_that_are_dropped_in_front_of_a_full_queue() {
    let (place, gate) = (scratch(), GatedDisk::default());
    let builder = AggregateStore::builder(place.path()).run_mode(RunMode::OnDemand);
    let store = builder.disk(Arc::new(gate.clone())).open().await.unwrap();
    let counter = store.get::<Counter>("c").await.unwrap();
    let add = || Box::pin(counter.execute(CounterCommand::Add(1), CommandContext::default()));
    assert_eq!(add().await.unwrap().version, 1);
    gate.close();
    let mut commands: Vec<_> = (0..TOO_MANY).map(|_| add()).collect();
    for command in &mut commands {
        assert!(poll(command.as_mut()).is_pending());
        // A task that does not rest is held up by tokio in front of the queue.
        tokio::task::yield_now().await;
    }
    // The last ones wait for room, and those before them are in the queue.
    let kept = TOO_MANY / 2;
    let dropped = commands.split_off(kept);
    drop(dropped);
    let mut late = add();
    assert!(poll(late.as_mut()).is_pending());
    gate.open();
    for (version, command) in (2..).zip(commands) {
        let done = tokio::time::timeout(PATIENCE, command).await;
        assert_eq!(done.expect("it never ends").unwrap().version, version);
    }
    let done = tokio::time::timeout(PATIENCE, late).await;
    let version = done.expect("it never ends").unwrap().version;
    assert!(
        version > kept as u64 + 2,
        "none of those that were dropped was in the queue"
    );
    assert!(
        version <= TOO_MANY as u64,
        "none of those that were dropped waited for room"
    );
    let events = store.read_events("counter", "c").await.unwrap();
    assert_eq!(events.len() as u64, version);
    let state = counter.state().await.unwrap();
    assert_eq!((state.sum, state.folded), (version as i64, version));
    drop(counter);
    store.close().await.unwrap();
}
