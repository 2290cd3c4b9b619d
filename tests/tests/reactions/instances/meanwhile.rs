//! What happens while an operator makes states again, pages through instances, or closes the store.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::store::InstanceStatus;
use eventfold_es::{
    Correlate, Correlation, EventContext, ExecuteError, Reactions, RunMode, StoreError,
};
use eventfold_es_tests::TestResult;

use super::tracker::{self, START, arrived, clock, handle};
use crate::common::counter::{Counter, CounterCommand, CounterEvent};

/// What a number counts for in the states.
static WEIGHT: AtomicI64 = AtomicI64::new(1);
/// Where the next reaction waits, and who is told that it does.
static GATE: Mutex<Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>> = Mutex::new(None);
/// Tests share both.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn gate() -> MutexGuard<'static, Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>> {
    GATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets the next reaction say that it is there, and wait.
fn close_gate() -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
    let (reached, is_reached) = mpsc::channel();
    let (open, is_open) = mpsc::channel();
    *gate() = Some((reached, is_open));
    (is_reached, open)
}

fn pass_gate() {
    let held = gate().take();
    if let Some((reached, is_open)) = held {
        let _ = reached.send(());
        // The task that this thread was to run next goes to another one.
        let _ = tokio::task::block_in_place(|| is_open.recv());
    }
}

async fn until(is_reached: mpsc::Receiver<()>) {
    let waiting = tokio::task::spawn_blocking(move || is_reached.recv());
    waiting.await.expect("no panic").expect("it is reached");
}

#[process_manager(subscribes = [Counter], dispatches = [Counter], key = String)]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Weighed {
    seen: Vec<i64>,
}

impl Correlate<Counter> for Weighed {
    fn correlate(_event: &CounterEvent, cx: &EventContext<'_>) -> Correlation<String> {
        match cx.stream_id().strip_prefix("in-") {
            Some(key) => Correlation::starts_or_continues(key.to_owned()),
            None => Correlation::none(),
        }
    }
}

impl React<Counter> for Weighed {
    fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        if let CounterEvent::Added(number) = event {
            pass_gate();
            self.seen.push(number * WEIGHT.load(SeqCst));
            cx.send(format!("out-{}", cx.key()), CounterCommand::Add(*number));
        }
    }
}

/// The same with one state for all.
#[process_manager(subscribes = [Counter], dispatches = [Counter])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct WeighedTogether {
    seen: BTreeMap<String, Vec<i64>>,
}

impl React<Counter> for WeighedTogether {
    fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        if let (CounterEvent::Added(number), Some(key)) =
            (event, cx.stream_id().strip_prefix("in-"))
        {
            pass_gate();
            let key = key.to_owned();
            let seen = self.seen.entry(key.clone()).or_default();
            seen.push(number * WEIGHT.load(SeqCst));
            // What it sends tells what its state is.
            cx.send(
                format!("state-{key}"),
                CounterCommand::Add(seen.iter().sum()),
            );
            cx.send(format!("out-{key}"), CounterCommand::Add(*number));
        }
    }
}

/// Has nothing to do with them.
#[process_manager(subscribes = [Counter], dispatches = [Counter])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Bystander;

impl React<Counter> for Bystander {
    fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        if let (CounterEvent::Added(number), Some(id)) = (event, cx.stream_id().strip_prefix("in-"))
        {
            cx.send(format!("seen-{id}"), CounterCommand::Add(*number));
        }
    }
}

async fn open<PM: ProcessManager>(base: &std::path::Path, mode: RunMode) -> AggregateStore {
    let opened = AggregateStore::builder(base)
        .process_manager::<PM>()
        .process_manager::<Bystander>()
        .run_mode(mode)
        .reaction_timeout(Duration::from_millis(50))
        .open();
    opened.await.expect("it opens")
}

async fn add(store: &AggregateStore, key: &str, number: i64) -> Reactions {
    let (id, command) = (format!("in-{key}"), CounterCommand::Add(number));
    let done = store.send(&id, command, CommandContext::default()).await;
    done.expect("it is accepted").reactions
}

async fn arrives(store: &AggregateStore, id: &str, numbers: &[i64]) {
    for _ in 0..500 {
        if arrived(store, id).await == numbers {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(arrived(store, id).await, numbers);
}

async fn seen(store: &AggregateStore, key: &str) -> Option<Vec<i64>> {
    let handle = store.process_manager::<Weighed>().expect("registered");
    let instance = handle.instance(key).await.expect("rows can be read")?;
    let state: Weighed = serde_json::from_str(&instance.state?).expect("a state");
    Some(state.seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn events_that_come_while_states_are_made_again_wait_for_them() -> TestResult {
    let _guard = ONE_AT_A_TIME.lock().await;
    for mode in [RunMode::Inline, RunMode::Background, RunMode::OnDemand] {
        WEIGHT.store(1, SeqCst);
        let base = tempfile::tempdir()?;
        let store = open::<Weighed>(base.path(), mode).await;
        for (key, number) in [("a", 1), ("a", 2), ("b", 1)] {
            add(&store, key, number).await;
        }
        store.run_process_managers().await?;
        WEIGHT.store(10, SeqCst);
        let handle = store.process_manager::<Weighed>()?;
        handle.settle().await?;
        let (is_reached, open_gate) = close_gate();
        let rebuilding = tokio::spawn({
            let handle = handle.clone();
            async move { handle.rebuild_state().await }
        });
        until(is_reached).await;
        // One of an instance that is there, and one that begins another.
        for (key, number) in [("a", 3), ("c", 1)] {
            let reactions = add(&store, key, number).await;
            match mode {
                RunMode::Inline => assert_eq!(reactions, Reactions::TimedOut),
                _ => assert_eq!(reactions, Reactions::NotAwaited),
            }
        }
        if mode != RunMode::OnDemand {
            arrives(&store, "seen-a", &[1, 2, 3]).await;
        }
        // What counts until then are the old ones.
        assert_eq!(seen(&store, "a").await, Some(vec![1, 2]));
        assert_eq!(seen(&store, "c").await, None);
        assert_eq!(handle.instances(None, 10).await?.len(), 2);
        assert_eq!(arrived(&store, "out-a").await, [1, 2]);
        assert!(handle.status().await?.lag >= 2);
        open_gate.send(())?;
        let rebuilt = rebuilding.await??;
        assert_eq!((rebuilt.events, rebuilt.instances), (3, 2), "{mode:?}");
        store.run_process_managers().await?;
        handle.settle().await?;
        let expected = [("a", vec![10, 20, 30]), ("b", vec![10]), ("c", vec![10])];
        for (key, expected) in expected.clone() {
            assert_eq!(seen(&store, key).await, Some(expected), "{mode:?} {key}");
        }
        drop(handle);
        store.close().await?;
        let store = open::<Weighed>(base.path(), mode).await;
        store.run_process_managers().await?;
        for (key, expected) in expected {
            assert_eq!(seen(&store, key).await, Some(expected), "{mode:?} {key}");
        }
        assert_eq!(arrived(&store, "out-a").await, [1, 2, 3]);
        assert_eq!(arrived(&store, "out-c").await, [1]);
        assert!(store.verify().await?.differences.is_empty());
        store.close().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_where_there_is_one_state_for_all() -> TestResult {
    let _guard = ONE_AT_A_TIME.lock().await;
    for mode in [RunMode::Inline, RunMode::Background, RunMode::OnDemand] {
        WEIGHT.store(1, SeqCst);
        let base = tempfile::tempdir()?;
        let store = open::<WeighedTogether>(base.path(), mode).await;
        for number in [1, 2] {
            add(&store, "a", number).await;
        }
        store.run_process_managers().await?;
        WEIGHT.store(10, SeqCst);
        let handle = store.process_manager::<WeighedTogether>()?;
        let (is_reached, open_gate) = close_gate();
        let rebuilding = tokio::spawn({
            let handle = handle.clone();
            async move { handle.rebuild_state().await }
        });
        until(is_reached).await;
        add(&store, "a", 3).await;
        assert_eq!(arrived(&store, "out-a").await, [1, 2]);
        open_gate.send(())?;
        assert_eq!(rebuilding.await??.instances, 1);
        store.run_process_managers().await?;
        drop(handle);
        store.close().await?;
        let store = open::<WeighedTogether>(base.path(), mode).await;
        add(&store, "a", 4).await;
        store.run_process_managers().await?;
        assert_eq!(arrived(&store, "out-a").await, [1, 2, 3, 4], "{mode:?}");
        assert_eq!(
            arrived(&store, "state-a").await,
            [1, 3, 60, 100],
            "{mode:?}"
        );
        store.close().await?;
    }
    Ok(())
}

/// A store that closes ends a rebuild; the old states stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_closes_ends_a_rebuild() -> TestResult {
    let _guard = ONE_AT_A_TIME.lock().await;
    WEIGHT.store(1, SeqCst);
    let base = tempfile::tempdir()?;
    let store = open::<Weighed>(base.path(), RunMode::Inline).await;
    for number in [1, 2] {
        add(&store, "a", number).await;
    }
    store.run_process_managers().await?;
    WEIGHT.store(10, SeqCst);
    let handle = store.process_manager::<Weighed>()?;
    let (is_reached, open_gate) = close_gate();
    let rebuilding = tokio::spawn(async move { handle.rebuild_state().await });
    until(is_reached).await;
    let closing = tokio::spawn(store.close());
    tokio::time::sleep(Duration::from_millis(50)).await;
    open_gate.send(())?;
    // It had read all that there is before the store began to close, or it was told so.
    let is_rebuilt = match rebuilding.await? {
        Ok(_) => true,
        Err(StoreError::Refused { .. } | StoreError::Closed) => false,
        Err(other) => return Err(other.into()),
    };
    closing.await??;
    let store = open::<Weighed>(base.path(), RunMode::Inline).await;
    let expected = if is_rebuilt { [10, 20] } else { [1, 2] };
    assert_eq!(seen(&store, "a").await, Some(expected.to_vec()));
    assert!(store.verify().await?.differences.is_empty());
    store.close().await?;
    Ok(())
}

/// Each instance that is there all the time is on one page, whatever else happens.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pages_of_instances_are_whole_while_instances_change() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = tracker::builder(base.path(), RunMode::Background, &clock())
        .open()
        .await?;
    let kept: Vec<_> = (0..60).map(|number| format!("{number:03}-kept")).collect();
    for key in &kept {
        tracker::add(&store, key, &[START]).await?;
    }
    let changing = tokio::spawn({
        let store = store.clone();
        async move {
            for round in 0..60 {
                let key = format!("{:03}-brief", (round * 37) % 60);
                for number in [tracker::EITHER, tracker::COMPLETE] {
                    let command = CounterCommand::Add(number);
                    let id = format!("in-{key}");
                    store.send(&id, command, CommandContext::default()).await?;
                }
                handle(&store).rebuild_state().await?;
            }
            Ok::<_, eventfold_es::Error>(())
        }
    });
    let mut walks = 0;
    while !changing.is_finished() || walks < 3 {
        walks += 1;
        let mut seen: Vec<String> = Vec::new();
        loop {
            let after = seen.last().map(String::as_str);
            let page = handle(&store).instances(after, 7).await?;
            assert!(page.len() <= 7);
            if page.is_empty() {
                break;
            }
            for found in &page {
                if found.key.ends_with("-kept") {
                    assert_eq!(found.status, InstanceStatus::Open, "{found:?}");
                    assert!(found.state.is_some(), "{found:?}");
                }
            }
            seen.extend(page.into_iter().map(|found| found.key));
        }
        assert!(seen.is_sorted_by(|one, next| one < next), "{seen:?}");
        seen.retain(|key| key.ends_with("-kept"));
        assert_eq!(seen, kept);
    }
    changing.await??;
    let handle = handle(&store);
    assert_eq!(handle.instances(None, 0).await?, []);
    assert_eq!(handle.instances(Some(""), 1).await?[0].key, "000-brief");
    assert_eq!(handle.instances(Some("no such key"), 9).await?, []);
    assert_eq!(handle.instances(Some("059-kept"), 9).await?, []);
    Ok(())
}

/// Nothing of what waits, of what is armed, and of what is on its way is lost or done twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_closes_leaves_all_that_is_unfinished_to_be_done_once() -> TestResult {
    for mode in [RunMode::Inline, RunMode::Background] {
        let base = tempfile::tempdir()?;
        let clock = clock();
        let store = tracker::builder(base.path(), mode, &clock).open().await?;
        tracker::add(&store, "waits", &[START, tracker::RETRY]).await?;
        tracker::add(&store, "armed", &[START, tracker::ARM]).await?;
        tracker::add(&store, "parked", &[START, tracker::PARK, tracker::CONTINUE]).await?;
        let sending: Vec<_> = (0..200)
            .map(|number| {
                let store = store.clone();
                tokio::spawn(async move {
                    let id = format!("in-{}", number % 20);
                    let command = CounterCommand::Add(tracker::EITHER);
                    match store.send(&id, command, CommandContext::default()).await {
                        Ok(_) => Ok(1),
                        Err(ExecuteError::Store(StoreError::Closed)) => Ok(0),
                        Err(other) => Err(other.to_string()),
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(2)).await;
        store.close().await?;
        let mut accepted = 0;
        for sent in sending {
            accepted += sent.await??;
        }

        let store = tracker::builder(base.path(), mode, &clock).open().await?;
        let status = handle(&store).status().await?;
        let left = (status.retrying, status.deadlines, status.instances.parked);
        assert_eq!(left, (1, 1, 1), "{mode:?}");
        store.run_process_managers().await?;
        let mut told = 0;
        for number in 0..20 {
            let numbers = arrived(&store, &format!("in-{number}")).await;
            told += numbers.len();
            let out = arrived(&store, &format!("out-{number}")).await;
            assert_eq!(out, numbers, "{mode:?}");
        }
        assert_eq!(told, accepted, "{mode:?}");
        clock.advance(Duration::from_secs(100));
        store.run_process_managers().await?;
        handle(&store).settle().await?;
        assert_eq!(arrived(&store, "out-armed").await, [START, 102]);
        handle(&store).discard_parked("parked").await?;
        let status = handle(&store).status().await?;
        let left = (
            status.deadlines,
            status.instances.parked,
            status.dead_letters,
        );
        assert_eq!(left, (0, 0, 0), "{mode:?}");
        assert_eq!(status.retrying, 1, "the second attempt was made");
        assert!(store.verify().await?.differences.is_empty());
        store.close().await?;
    }
    Ok(())
}
