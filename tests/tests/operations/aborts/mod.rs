//! Scenario 16: what ends the whole process each time that it is reacted to is parked after some starts; the others go on, and after
//! a fix it is released.
//!
//! The test starts itself as the process that ends.

mod retried;

use std::convert::Infallible;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use eventfold_es::disk::{CrashImage, DiskOp, RecordingDisk};
use eventfold_es::prelude::*;
use eventfold_es::store::AggregateStoreBuilder;
use eventfold_es::{Backoff, RunMode};
use eventfold_es_tests::TestResult;
use eventfold_es_tests::crash::scratch;

const STORE: &str = "EVENTFOLD_ABORTS_STORE";
const KIND: &str = "EVENTFOLD_ABORTS_KIND";
/// How many starts may end.
const MAX: u32 = 3;

/// Whether this is the program with the mistake.
static IS_BROKEN: AtomicBool = AtomicBool::new(false);

fn abort_if_broken() {
    if IS_BROKEN.load(Ordering::SeqCst) {
        std::process::abort();
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Say(String);

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum PostEvent {
    Said(String),
}

#[aggregate(command = Say, error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Post;

impl Decider for Post {
    fn decide(&self, Say(words): Say) -> Result<Vec<PostEvent>, Infallible> {
        Ok(vec![PostEvent::Said(words)])
    }

    fn evolve(&mut self, _: &PostEvent) {}
}

/// Ends the process in `decide`, in `evolve`, or when it is tried for the second time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Note(String);

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum LogEvent {
    Noted(String),
}

#[derive(Debug, thiserror::Error)]
#[error("not yet")]
pub struct NotYet;

#[aggregate(command = Note, error = NotYet)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Log {
    notes: Vec<String>,
}

impl Decider for Log {
    fn decide(&self, Note(text): Note) -> Result<Vec<LogEvent>, NotYet> {
        if text == "decide" {
            abort_if_broken();
        }
        if text == "retry" && IS_BROKEN.load(Ordering::SeqCst) {
            if self.notes.contains(&"late".to_owned()) {
                std::process::abort();
            }
            return Err(NotYet);
        }
        Ok(vec![LogEvent::Noted(text)])
    }

    fn evolve(&mut self, LogEvent::Noted(text): &LogEvent) {
        if text == "evolve" {
            abort_if_broken();
        }
        self.notes.push(text.clone());
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Alarm {
    text: String,
}

/// | what is said on a post | what is done |
/// |---|---|
/// | `correlate` | ends the process in the correlation |
/// | `correlate later` | the same, after a first attempt that panics |
/// | `react` | ends it in the reaction |
/// | `alarm` text | arms a deadline in the past; ends the process there if the text is `abort` |
/// | `to several` text | noted by the instances `a`, `b` and `c` |
/// | anything else | noted on the log of the post |
macro_rules! scribe {
    ($name:ident $(, $argument:ident = $value:tt)*) => {
        #[process_manager(subscribes = [Post], dispatches = [Log], deadlines = [Alarm], on_failure $(, $argument = $value)*)]
        #[derive(Debug, Default, Serialize, Deserialize)]
        struct $name {
            seen: u64,
        }

        impl React<Post> for $name {
            fn react(&mut self, PostEvent::Said(said): &PostEvent, cx: &mut Reaction<'_, Self>) {
                self.seen += 1;
                let log = self.log(cx);
                match said.split_once(' ') {
                    None if said == "react" => {
                        abort_if_broken();
                        cx.send(log, Note(said.clone()));
                    }
                    Some(("alarm", text)) => {
                        let text = text.to_owned();
                        cx.schedule("alarm", Deadline::at(SystemTime::UNIX_EPOCH), Alarm { text });
                    }
                    _ => cx.send(log, Note(said.clone())),
                }
            }
        }

        impl OnDeadline<Alarm> for $name {
            fn on_deadline(&mut self, Alarm { text }: Alarm, cx: &mut Reaction<'_, Self>) {
                self.seen += 1;
                if text == "abort" {
                    abort_if_broken();
                }
                let log = self.log(cx);
                cx.send(log, Note(text));
            }
        }

        impl HandleFailure for $name {
            fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
                if failure.cause.to_string().contains(retried::TOO_EARLY) {
                    return FailureAction::Retry(Backoff::exponential(retried::PAUSE));
                }
                match failure.rejection::<NotYet>() {
                    Some(NotYet) => FailureAction::Retry(Backoff::exponential(Duration::ZERO)),
                    None => FailureAction::default_for(failure),
                }
            }
        }
    };
}

scribe!(Scribe, key = String);
scribe!(Clerk);

impl Scribe {
    fn log(&self, cx: &Reaction<'_, Self>) -> String {
        cx.key().clone()
    }
}

impl Clerk {
    fn log(&self, cx: &Reaction<'_, Self>) -> String {
        cx.stream_id().to_owned()
    }
}

impl Correlate<Post> for Scribe {
    fn correlate(PostEvent::Said(said): &PostEvent, cx: &EventContext<'_>) -> Correlation<String> {
        if said.starts_with("correlate") {
            abort_if_broken();
        }
        if said == "correlate later" {
            retried::panic_at_first();
        }
        let one = |key: &str| Correlation::starts_or_continues(key.to_owned());
        match said.starts_with("to several") {
            true => Correlation::each(["a", "b", "c"].map(one)),
            false => one(cx.stream_id()),
        }
    }
}

fn builder(base: &Path, kind: &str, mode: RunMode) -> AggregateStoreBuilder {
    let builder = AggregateStore::builder(base).max_starts(MAX).run_mode(mode);
    match kind {
        "keyed" => builder.process_manager::<Scribe>(),
        _ => builder.process_manager::<Clerk>(),
    }
}

/// What the process does: it reacts to everything that waits, and to what is due.
#[test]
fn child() {
    let (Ok(base), Ok(kind)) = (env::var(STORE), env::var(KIND)) else {
        return;
    };
    IS_BROKEN.store(true, Ordering::SeqCst);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = builder(Path::new(&base), &kind, RunMode::Background)
            .open()
            .await
            .unwrap();
        // Deadlines and retries come a moment later.
        for _ in 0..3 {
            store.run_process_managers().await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        store.close().await.unwrap();
    });
}

/// Starts the program until it ends in order; how often it ended otherwise.
fn starts(base: &Path, kind: &str) -> u32 {
    for ended in 0..30 {
        let status = Command::new(env::current_exe().unwrap())
            .args(["--exact", "aborts::child", "--nocapture"])
            .env(STORE, base)
            .env(KIND, kind)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        if status.success() {
            return ended;
        }
    }
    panic!("it is never parked");
}

async fn prepare(base: &Path, says: &[(&str, &str)]) -> TestResult {
    let store = AggregateStore::open(base).await?;
    for (post, words) in says {
        let said = Say((*words).to_owned());
        store.send(post, said, CommandContext::default()).await?;
    }
    store.close().await?;
    Ok(())
}

async fn notes(store: &AggregateStore, log: &str) -> Vec<String> {
    store
        .get::<Log>(log)
        .await
        .unwrap()
        .state()
        .await
        .unwrap()
        .notes
}

fn note_file(base: &Path, kind: &str) -> PathBuf {
    let name = if kind == "keyed" {
        Scribe::NAME
    } else {
        Clerk::NAME
    };
    base.join("process_managers").join(name).join("starts.json")
}

/// Starts that are not careful: one, and each that made progress before its end, for which there are two events.
const BEFORE: u32 = 3;

/// Starts the program until it has been parked, and once more.
#[track_caller]
fn is_parked_after_starts(base: &Path, kind: &str, more: u32) {
    let ended = starts(base, kind);
    let expected = 1 + MAX..=BEFORE + MAX + more;
    assert!(expected.contains(&ended), "{ended} starts");
    assert_eq!(starts(base, kind), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_16_a_reaction_that_ends_the_process_parks_its_instance() -> TestResult {
    for what in ["react", "decide", "evolve"] {
        let place = scratch();
        let base = place.path();
        let says = [("a", "1"), ("b", "1"), ("a", what), ("a", "2"), ("b", "2")];
        prepare(base, &says).await?;
        is_parked_after_starts(base, "keyed", 0);
        assert!(!note_file(base, "keyed").exists());
        let store = builder(base, "keyed", RunMode::Inline).open().await?;
        assert_eq!(notes(&store, "a").await, ["1"], "{what}");
        assert_eq!(notes(&store, "b").await, ["1", "2"], "{what}");
        let scribe = store.process_manager::<Scribe>()?;
        let parked = scribe.parked().await?;
        let [parked] = &parked[..] else {
            panic!("{parked:?}");
        };
        assert_eq!((parked.instance.as_deref(), parked.held), (Some("a"), 2));
        assert!(parked.parked.reason.contains("3 times"), "{parked:?}");
        // This program is mended.
        assert_eq!(scribe.release("a").await?.done, 2);
        assert_eq!(notes(&store, "a").await, ["1", what, "2"]);
        drop(scribe);
        store.close().await?;
    }
    Ok(())
}

/// Where nothing comes before it that could be progress, the starts are counted to the last one.
#[tokio::test(flavor = "multi_thread")]
async fn scenario_16_a_reaction_is_begun_as_often_as_is_said_and_no_more() -> TestResult {
    let place = scratch();
    let base = place.path();
    prepare(base, &[("a", "react"), ("a", "2")]).await?;
    assert_eq!(starts(base, "keyed"), 1 + MAX);
    let store = builder(base, "keyed", RunMode::Inline).open().await?;
    let scribe = store.process_manager::<Scribe>()?;
    assert_eq!(scribe.parked().await?[0].held, 2);
    drop(scribe);
    store.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_16_a_correlation_that_ends_the_process_holds_its_stream() -> TestResult {
    let place = scratch();
    let base = place.path();
    let says = [("a", "1"), ("a", "correlate"), ("a", "2"), ("b", "1")];
    prepare(base, &says).await?;
    is_parked_after_starts(base, "keyed", 0);
    let store = builder(base, "keyed", RunMode::Inline).open().await?;
    assert_eq!(notes(&store, "a").await, ["1"]);
    assert_eq!(notes(&store, "b").await, ["1"]);
    let scribe = store.process_manager::<Scribe>()?;
    assert_eq!(scribe.parked().await?[0].held, 2);
    assert_eq!(scribe.release_stream("post", "a").await?.done, 2);
    assert_eq!(notes(&store, "a").await, ["1", "correlate", "2"]);
    drop(scribe);
    store.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn scenario_16_a_deadline_that_ends_the_process_parks_its_instance() -> TestResult {
    let place = scratch();
    let base = place.path();
    prepare(base, &[("a", "alarm abort"), ("b", "alarm x"), ("a", "1")]).await?;
    // In one of them it is armed.
    is_parked_after_starts(base, "keyed", 1);
    let store = builder(base, "keyed", RunMode::Inline).open().await?;
    // A deadline in the past comes before the event that was stored next.
    assert_eq!(notes(&store, "a").await, [""; 0]);
    assert_eq!(notes(&store, "b").await, ["x"]);
    let scribe = store.process_manager::<Scribe>()?;
    assert_eq!(scribe.parked().await?[0].held, 2);
    assert_eq!(scribe.release("a").await?.done, 2);
    assert_eq!(notes(&store, "a").await, ["abort", "1"]);
    drop(scribe);
    store.close().await?;
    Ok(())
}

/// A command that was rejected once, and ends the process when it is tried again.
#[tokio::test(flavor = "multi_thread")]
async fn scenario_16_a_retry_that_ends_the_process_parks_its_instance() -> TestResult {
    let place = scratch();
    let base = place.path();
    prepare(base, &[("a", "retry"), ("b", "1"), ("a", "late")]).await?;
    is_parked_after_starts(base, "keyed", 1);
    let store = builder(base, "keyed", RunMode::Inline).open().await?;
    assert_eq!(notes(&store, "a").await, ["late"]);
    assert_eq!(notes(&store, "b").await, ["1"]);
    let scribe = store.process_manager::<Scribe>()?;
    assert_eq!(scribe.parked().await?[0].held, 1);
    assert_eq!(scribe.release("a").await?.done, 1);
    assert_eq!(notes(&store, "a").await, ["late", "retry"]);
    drop(scribe);
    store.close().await?;
    Ok(())
}

/// What is released before it is mended ends the process again, and is parked again.
#[tokio::test(flavor = "multi_thread")]
async fn scenario_16_a_release_that_ends_the_process_parks_its_instance_again() -> TestResult {
    let place = scratch();
    let base = place.path();
    prepare(base, &[("a", "react"), ("a", "1"), ("b", "1")]).await?;
    is_parked_after_starts(base, "keyed", 0);
    // A release that was crashed: the mark is there, and goes on at the next start.
    let disk = RecordingDisk::new(base)?;
    let store = builder(base, "keyed", RunMode::Inline)
        .disk(Arc::new(disk.clone()))
        .open()
        .await?;
    let scribe = store.process_manager::<Scribe>()?;
    assert_eq!(scribe.release("a").await?.done, 2);
    drop(scribe);
    store.close().await?;
    let recording = disk.recording();
    let marked = recording.ops().iter().position(|op| match op {
        DiskOp::Write { path, bytes, .. } => {
            path.ends_with("journal/app.jsonl") && bytes.windows(9).any(|part| part == b"releasing")
        }
        _ => false,
    });
    let until = recording.until(marked.expect("a release") + 1, 0);
    let place = scratch();
    let base = place.path().join("store");
    CrashImage::killed(&until)?.materialise(&base)?;
    is_parked_after_starts(&base, "keyed", 0);
    let store = builder(&base, "keyed", RunMode::Inline).open().await?;
    assert_eq!(notes(&store, "a").await, [""; 0]);
    assert_eq!(notes(&store, "b").await, ["1"]);
    let scribe = store.process_manager::<Scribe>()?;
    assert_eq!(scribe.parked().await?[0].held, 2);
    assert_eq!(scribe.release("a").await?.done, 2);
    assert_eq!(notes(&store, "a").await, ["react", "1"]);
    drop(scribe);
    store.close().await?;
    Ok(())
}

/// Without `key` there are no others; the operator passes it, or mends the program.
#[tokio::test(flavor = "multi_thread")]
async fn scenario_16_without_key_the_process_manager_is_parked_as_a_whole() -> TestResult {
    for (what, note) in [
        ("react", "react"),
        ("decide", "decide"),
        ("alarm abort", "abort"),
    ] {
        for is_skipped in [true, false] {
            let place = scratch();
            let base = place.path();
            prepare(base, &[("a", "1"), ("a", what), ("a", "2")]).await?;
            let armed = u32::from(note == "abort");
            is_parked_after_starts(base, "unkeyed", armed);
            let store = builder(base, "unkeyed", RunMode::Inline).open().await?;
            store.run_process_managers().await?;
            let clerk = store.process_manager::<Clerk>()?;
            let parked = clerk
                .status()
                .await?
                .parked_at
                .expect("nobody has released it");
            assert!(parked.reason.contains("3 times"), "{parked:?}");
            // A deadline in the past comes before the event that was stored next, too.
            assert_eq!(notes(&store, "a").await, ["1"]);
            match is_skipped {
                true => assert_eq!(clerk.skip().await?.done, 1),
                // This program is mended.
                false => assert_eq!(clerk.retry().await?.done, 1),
            }
            store.run_process_managers().await?;
            let expected = match is_skipped {
                true => vec!["1", "2"],
                false => vec!["1", note, "2"],
            };
            assert_eq!(notes(&store, "a").await, expected, "{what}");
            assert_eq!(clerk.status().await?.parked_at, None);
            drop(clerk);
            store.close().await?;
        }
    }
    Ok(())
}

/// Many instances of one event, of which one ends the process with what it sends.
#[tokio::test(flavor = "multi_thread")]
async fn scenario_16_an_event_for_several_instances_parks_them_all() -> TestResult {
    let place = scratch();
    let base = place.path();
    prepare(base, &[("x", "decide"), ("x", "to several 1"), ("d", "1")]).await?;
    is_parked_after_starts(base, "keyed", 0);
    let store = builder(base, "keyed", RunMode::Inline).open().await?;
    for log in ["a", "b", "c"] {
        assert_eq!(notes(&store, log).await, ["to several 1"]);
    }
    assert_eq!(notes(&store, "d").await, ["1"]);
    store.close().await?;
    Ok(())
}

/// A catch-up that makes progress between kills notes each start, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_catch_up_after_a_kill_is_not_careful() -> TestResult {
    let place = scratch();
    let base = place.path().join("store");
    let says: Vec<_> = (0..200).map(|_| ("a", "1")).collect();
    prepare(&base, &says).await?;
    let saves = |disk: &RecordingDisk| {
        let ops = disk.ops();
        let renames = ops
            .iter()
            .filter(|op| matches!(op, DiskOp::Rename { to, .. } if to.ends_with("starts.json")));
        renames.count()
    };
    // Killed once, before anything of it was durable, and again and again.
    for (kill, expected) in [1, 1 + 2 * 200].into_iter().enumerate() {
        let disk = RecordingDisk::new(&base)?;
        let store = builder(&base, "keyed", RunMode::OnDemand)
            .disk(Arc::new(disk.clone()))
            .open()
            .await?;
        store.run_process_managers().await?;
        assert_eq!(notes(&store, "a").await.len(), 200);
        store.close().await?;
        assert_eq!(saves(&disk), expected, "kill {kill}");
        assert!(!note_file(&base, "keyed").exists(), "nothing is left of it");
        let recording = disk.recording();
        let noted = recording
            .ops()
            .iter()
            .position(|op| matches!(op, DiskOp::Rename { to, .. } if to.ends_with("starts.json")));
        // Not one operation more: it may be what makes progress durable.
        let until = recording.until(noted.expect("a note") + 1, 0);
        std::fs::remove_dir_all(&base)?;
        CrashImage::killed(&until)?.materialise(&base)?;
    }
    Ok(())
}
