//! A call that aborts the process: its key is parked after the documented number of starts, and the others go on.
//!
//! The test starts itself as the process that aborts.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use eventfold_es::prelude::*;
use eventfold_es::{HandleError, RunMode};
use eventfold_es_tests::TestResult;

use super::world::{add, sum};
use crate::common::counter::{Counter, CounterEvent};

const STORE: &str = "EVENTFOLD_ABORTING_HANDLER_STORE";
const CALLS: &str = "EVENTFOLD_ABORTING_HANDLER_CALLS";
/// The default of `max_starts`.
const MAX: usize = 5;
/// The first start does not know yet that it makes no progress.
const BEFORE: usize = 1;

/// Notes each call in a file, and copies what is added to `a-…` to `b-…`. The program with the mistake aborts in the call for `a-bad`.
struct Copier {
    calls: PathBuf,
    is_broken: bool,
}

impl EventHandler for Copier {
    const NAME: &'static str = "copier";
    const SUBSCRIPTIONS: &'static [&'static str] = &[Counter::AGGREGATE_TYPE];
    type Envelope = CommandEnvelope;

    async fn handle_event(&self, cx: &mut Handling<'_, Self>) -> Result<(), HandleError> {
        let event = CounterEvent::from_event(cx.event())?;
        let (CounterEvent::Added(number), Some(rest)) = (event, cx.stream_id().strip_prefix("a-"))
        else {
            return Ok(());
        };
        self.note(&format!("{} {}", cx.idempotency_key(), cx.attempt()));
        if self.is_broken && rest == "bad" {
            std::process::abort();
        }
        cx.send_envelope(CommandEnvelope {
            aggregate_type: Counter::AGGREGATE_TYPE.to_owned(),
            instance_id: format!("b-{rest}"),
            command: serde_json::json!({ "Add": number }),
            context: CommandContext::default(),
        });
        Ok(())
    }

    fn on_failure(&self, failure: &Failure<'_>) -> HandlerAction<Self> {
        // It may be what aborts, so the store does not ask it about an abort.
        self.note(&format!("asked about bad: {failure:?}"));
        FailureAction::Skip
    }
}

impl Copier {
    fn note(&self, line: &str) {
        let calls = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.calls);
        // One write: calls of several threads note their lines at the same time.
        calls
            .unwrap()
            .write_all(format!("{line}\n").as_bytes())
            .unwrap();
    }
}

async fn open(base: &Path, calls: &Path, is_broken: bool) -> AggregateStore {
    let calls = calls.to_owned();
    AggregateStore::builder(base)
        .aggregate_type::<Counter>()
        .event_handler(Copier { calls, is_broken })
        .run_mode(RunMode::Background)
        .open()
        .await
        .unwrap()
}

/// The process that aborts: it handles everything that waits.
#[test]
fn child() {
    let (Ok(base), Ok(calls)) = (env::var(STORE), env::var(CALLS)) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = open(Path::new(&base), Path::new(&calls), true).await;
        store.run_process_managers().await.unwrap();
        store.close().await.unwrap();
    });
}

/// Starts the program until it ends in order. Returns the number of aborts.
fn aborts(base: &Path, calls: &Path) -> usize {
    for aborts in 0..30 {
        let status = Command::new(env::current_exe().unwrap())
            .args(["--exact", "event_handlers::aborts::child", "--nocapture"])
            .env(STORE, base)
            .env(CALLS, calls)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        if status.success() {
            return aborts;
        }
    }
    panic!("the key is never parked");
}

#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_aborts_the_process_parks_its_key_and_others_go_on() -> TestResult {
    let directory = tempfile::tempdir()?;
    let (base, calls) = (
        directory.path().join("store"),
        directory.path().join("calls"),
    );
    let store = AggregateStore::open(&base).await?;
    for (stream, number) in [("a-bad", 1), ("a-good", 1), ("a-bad", 2), ("a-good", 2)] {
        add(&store, stream, number).await;
    }
    store.close().await?;

    assert_eq!(aborts(&base, &calls), BEFORE + MAX);
    let lines = fs::read_to_string(&calls)?;
    let bad: Vec<_> = lines.lines().filter(|line| line.contains("bad")).collect();
    // A crash is no failed attempt.
    assert_eq!(bad, vec!["copier:counter/a-bad/1 1"; BEFORE + MAX]);
    // It is not called again before it is released.
    assert_eq!(aborts(&base, &calls), 0);

    let store = open(&base, &calls, false).await;
    store.run_process_managers().await?;
    assert_eq!(sum(&store, "b-good").await, 3, "exactly once");
    assert_eq!(sum(&store, "b-bad").await, 0);
    let handle = store.event_handler::<Copier>()?;
    let parked = handle.parked().await?;
    let [parked] = &parked[..] else {
        panic!("{parked:?}");
    };
    assert_eq!(parked.instance.as_deref(), Some("counter/a-bad"));
    assert_eq!((parked.held, parked.retries_at), (2, None));
    let reason = &parked.parked.reason;
    assert!(
        reason.contains("the whole process ended") && reason.contains("5 times"),
        "{reason}"
    );
    // This program is mended.
    assert_eq!(handle.release("counter/a-bad").await?.done, 2);
    assert_eq!(sum(&store, "b-bad").await, 3);
    drop(handle);
    store.close().await?;
    let lines = fs::read_to_string(&calls)?;
    let last: Vec<_> = lines
        .lines()
        .filter(|line| line.contains("bad"))
        .skip(BEFORE + MAX)
        .collect();
    let expected = ["copier:counter/a-bad/1 1", "copier:counter/a-bad/2 1"];
    assert_eq!(last, expected);
    Ok(())
}
