//! What an operator is told of the reactions to what he has asked for, which are done when he is told so.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use eventfold_es::clock::ManualClock;
use eventfold_es::prelude::*;
use eventfold_es::store::OperatorReport;
use eventfold_es::testing::MemoryDisk;
use eventfold_es::{AggregateStoreBuilder, Reactions, RunMode};
use serde::Serializer;
use serde::ser::Error as _;
use tokio::sync::MutexGuard;

use crate::process_managers::domain::{Log, LogCommand, LogEvent, log_of};
use crate::process_managers::operator::{close, handle};
use crate::process_managers::worker::{
    Alarm, Broken, BrokenCorrelation, Mended, Post, PostEvent, TIME, append, clock, refuse, say,
    with, words,
};

/// Writes what other logs get in the log `relay`, or sends it to where it is refused.
#[process_manager(subscribes = [Log], dispatches = [Log])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Relay;

impl React<Log> for Relay {
    fn react(&mut self, event: &LogEvent, cx: &mut Reaction<'_, Self>) {
        if let LogEvent::Appended { tag } = event
            && !["relay", "last"].contains(&cx.stream_id())
        {
            match tag.strip_prefix("refused") {
                Some(_) => cx.send("relay", refuse(tag)),
                None => cx.send("relay", append(tag)),
            }
        }
    }
}

/// Writes what the log `relay` gets in the log `last`.
#[process_manager(subscribes = [Log], dispatches = [Log])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Last;

impl React<Log> for Last {
    fn react(&mut self, event: &LogEvent, cx: &mut Reaction<'_, Self>) {
        if let (LogEvent::Appended { tag }, "relay") = (event, cx.stream_id()) {
            assert!(!tag.contains("bad"), "it is bad");
            let gate = GATE.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(gate) = gate {
                // It is opened, or dropped. Meanwhile the task that this thread was to run next goes to another one.
                let _ = tokio::task::block_in_place(|| gate.recv());
            }
            cx.send("last", append(tag));
        }
    }
}

/// Without `key`, stays at poison as long as it is broken.
#[process_manager(subscribes = [Post], dispatches = [Log], deadlines = [Alarm])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Fussy;

impl React<Post> for Fussy {
    fn react(&mut self, PostEvent::Said(said): &PostEvent, cx: &mut Reaction<'_, Self>) {
        match words(said) {
            ("poison", _) if IS_BROKEN.load(SeqCst) => panic!("it is poison"),
            ("arm", text) => {
                let text = text.to_owned();
                cx.schedule("alarm", Deadline::after(TIME), Alarm { text });
            }
            _ => cx.send("a", append(said)),
        }
    }
}

impl OnDeadline<Alarm> for Fussy {
    fn on_deadline(&mut self, Alarm { text }: Alarm, cx: &mut Reaction<'_, Self>) {
        assert!(!IS_BROKEN.load(SeqCst), "the alarm is poison");
        cx.send("a", append(&text));
    }
}

/// Without `key`, cannot be stored once it has seen poison. Everything becomes a letter as long as it is broken.
#[process_manager(subscribes = [Post], dispatches = [Log], on_failure)]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Brittle {
    #[serde(serialize_with = "unless_it_is_spoilt")]
    is_spoilt: bool,
}

impl React<Post> for Brittle {
    fn react(&mut self, PostEvent::Said(said): &PostEvent, cx: &mut Reaction<'_, Self>) {
        assert!(!IS_BROKEN.load(SeqCst), "it is broken");
        self.is_spoilt = said == "poison";
        cx.send("a", append(said));
    }
}

impl HandleFailure for Brittle {
    fn on_failure(&self, _: &Failure<'_>) -> FailureAction<Self> {
        FailureAction::DeadLetter
    }
}

fn unless_it_is_spoilt<S: Serializer>(is_spoilt: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    match is_spoilt {
        true => Err(S::Error::custom("it is spoilt")),
        false => serializer.serialize_bool(false),
    }
}

static IS_BROKEN: AtomicBool = AtomicBool::new(false);
/// Holds the next reaction of [`Last`] back.
static GATE: Mutex<Option<mpsc::Receiver<()>>> = Mutex::new(None);
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn alone() -> MutexGuard<'static, ()> {
    let guard = ONE_AT_A_TIME.lock().await;
    IS_BROKEN.store(true, SeqCst);
    guard
}

fn close_gate() -> mpsc::Sender<()> {
    let (open, gate) = mpsc::channel();
    *GATE.lock().unwrap_or_else(PoisonError::into_inner) = Some(gate);
    open
}

fn chain<PM: ProcessManager>(
    disk: &MemoryDisk,
    time: &ManualClock,
    mode: RunMode,
) -> AggregateStoreBuilder {
    with::<PM>(disk.builder(), time, mode)
        .process_manager::<Relay>()
        .process_manager::<Last>()
}

async fn opened<PM: ProcessManager>(disk: &MemoryDisk, time: &ManualClock) -> AggregateStore {
    let opened = chain::<PM>(disk, time, RunMode::Inline).open().await;
    opened.unwrap()
}

async fn open_log(store: &AggregateStore, id: &str) {
    let opening = store.send(id, LogCommand::Open, CommandContext::default());
    opening.await.unwrap();
}

fn told(report: &OperatorReport) -> (usize, usize, Reactions) {
    (report.done, report.failed, report.reactions)
}

/// Two letters of `a`, which would be accepted now.
async fn with_letters(disk: &MemoryDisk, time: &ManualClock, tag: &str) -> AggregateStore {
    let store = opened::<Mended>(disk, time).await;
    for number in 1..=2 {
        say(&store, "a", &format!("refuse {tag}{number}")).await;
    }
    open_log(&store, "a").await;
    store
}

#[tokio::test]
async fn whoever_redrives_is_told_when_the_whole_chain_is_done() {
    let _alone = alone().await;
    let store = with_letters(&MemoryDisk::new(), &clock(), "x").await;
    let worker = handle::<Mended>(&store);
    let letter = worker.dead_letters().await.unwrap().remove(0);
    let one = worker.redrive(&letter.id).await.unwrap();
    assert_eq!(log_of(&store, "last").await, ["x1"]);
    assert_eq!(told(&one), (1, 0, Reactions::Done));
    let all = worker.redrive_all().await.unwrap();
    assert_eq!(log_of(&store, "last").await, ["x1", "x2"]);
    assert_eq!(told(&all), (1, 0, Reactions::Done));
    let none = worker.redrive_all().await.unwrap();
    assert_eq!(told(&none), (0, 0, Reactions::NotAwaited));
    drop(worker);
    close(store).await;
}

/// The process manager that does it subscribes to what it causes, and does not wait for itself.
#[tokio::test]
async fn a_process_manager_reacts_itself_to_what_is_redriven() {
    let _alone = alone().await;
    let store = opened::<Mended>(&MemoryDisk::new(), &clock()).await;
    say(&store, "a", "refused once").await;
    let relay = handle::<Relay>(&store);
    let failed = relay.redrive_all().await.unwrap();
    assert_eq!(told(&failed), (0, 1, Reactions::NotAwaited));
    open_log(&store, "relay").await;
    let done = relay.redrive_all().await.unwrap();
    assert_eq!(log_of(&store, "last").await, ["refused once"]);
    assert_eq!(told(&done), (1, 0, Reactions::Done));
    drop(relay);
    close(store).await;
}

#[tokio::test]
async fn whoever_releases_is_told_when_the_whole_chain_is_done() {
    let _alone = alone().await;
    let (disk, time) = (MemoryDisk::new(), clock());
    let store = opened::<Broken>(&disk, &time).await;
    for words in ["poison", "one"] {
        say(&store, "a", words).await;
    }
    let worker = handle::<Broken>(&store);
    let again = worker.release("a").await.unwrap();
    assert_eq!(told(&again), (0, 1, Reactions::Parked));
    drop(worker);
    close(store).await;
    let store = opened::<Mended>(&disk, &time).await;
    let worker = handle::<Mended>(&store);
    let released = worker.release("a").await.unwrap();
    assert_eq!(log_of(&store, "last").await, ["cured", "one"]);
    assert_eq!(told(&released), (2, 0, Reactions::Done));
    let nothing = worker.release("a").await.unwrap();
    assert_eq!(told(&nothing), (0, 0, Reactions::NotAwaited));
    drop(worker);
    close(store).await;
}

#[tokio::test]
async fn whoever_releases_a_stream_is_told_when_the_whole_chain_is_done() {
    let _alone = alone().await;
    let (disk, time) = (MemoryDisk::new(), clock());
    let store = opened::<BrokenCorrelation>(&disk, &time).await;
    for words in ["unreadable", "one"] {
        say(&store, "a", words).await;
    }
    let worker = handle::<BrokenCorrelation>(&store);
    let again = worker.release_stream("post", "a").await.unwrap();
    assert_eq!(told(&again), (0, 1, Reactions::Parked));
    drop(worker);
    close(store).await;
    let store = opened::<Mended>(&disk, &time).await;
    let worker = handle::<Mended>(&store);
    let released = worker.release_stream("post", "a").await.unwrap();
    assert_eq!(log_of(&store, "last").await, ["unreadable", "one"]);
    assert_eq!(told(&released), (2, 0, Reactions::Done));
    drop(worker);
    close(store).await;
}

/// What is retried, and what waits behind it, an event or a deadline.
#[tokio::test]
async fn whoever_lets_all_go_on_is_told_when_the_whole_chain_is_done() {
    for is_deadline in [false, true] {
        for is_skipped in [false, true] {
            let _alone = alone().await;
            let time = clock();
            let store = opened::<Fussy>(&MemoryDisk::new(), &time).await;
            match is_deadline {
                false => say(&store, "a", "poison").await,
                true => {
                    say(&store, "a", "arm poison").await;
                    time.advance(TIME);
                    store.run_process_managers().await.unwrap();
                }
            }
            say(&store, "a", "one").await;
            let fussy = handle::<Fussy>(&store);
            let again = fussy.retry().await.unwrap();
            assert_eq!(told(&again), (1, 0, Reactions::Parked));
            let went_on = match is_skipped {
                true => fussy.skip().await.unwrap(),
                false => {
                    IS_BROKEN.store(false, SeqCst);
                    fussy.retry().await.unwrap()
                }
            };
            let all = ["poison", "one"];
            assert_eq!(
                log_of(&store, "last").await,
                all[usize::from(is_skipped)..],
                "{is_deadline} {is_skipped}"
            );
            assert_eq!(told(&went_on), (1, 0, Reactions::Done));
            for nothing in [fussy.retry().await, fussy.skip().await] {
                let nothing = told(&nothing.unwrap());
                assert_eq!(nothing, (0, 0, Reactions::NotAwaited));
            }
            drop(fussy);
            close(store).await;
        }
    }
}

#[tokio::test]
async fn whoever_resumes_is_told_when_the_whole_chain_is_done() {
    let _alone = alone().await;
    let store = opened::<Mended>(&MemoryDisk::new(), &clock()).await;
    let worker = handle::<Mended>(&store);
    worker.pause().await.unwrap();
    for words in ["one", "two"] {
        say(&store, "a", words).await;
    }
    assert_eq!(log_of(&store, "last").await, [""; 0]);
    let resumed = worker.resume().await.unwrap();
    assert_eq!(log_of(&store, "last").await, ["one", "two"]);
    assert_eq!(told(&resumed), (1, 0, Reactions::Done));
    let nothing = worker.resume().await.unwrap();
    assert_eq!(told(&nothing), (0, 0, Reactions::NotAwaited));
    // What keeps the chain from being done, he is told as well.
    worker.pause().await.unwrap();
    for words in ["bad", "refuse retry"] {
        say(&store, "b", words).await;
    }
    let resumed = worker.resume().await.unwrap();
    assert_eq!(told(&resumed), (1, 0, Reactions::Parked));
    drop(worker);
    close(store).await;
}

/// A process manager that is paused passes a discarded event at once; the rest waits until it is resumed.
#[tokio::test]
async fn a_process_manager_passes_what_it_stays_at_while_it_is_paused() {
    let _alone = alone().await;
    let (disk, time) = (MemoryDisk::new(), clock());
    let mut store = opened::<Fussy>(&disk, &time).await;
    for words in ["before", "poison", "one"] {
        say(&store, "a", words).await;
    }
    let fussy = handle::<Fussy>(&store);
    fussy.pause().await.unwrap();
    let skipping = tokio::time::timeout(Duration::from_secs(5), fussy.skip());
    let skipped = skipping.await.unwrap().unwrap();
    assert_eq!(told(&skipped), (1, 0, Reactions::Paused));
    drop(fussy);
    close(store).await;
    store = opened::<Fussy>(&disk, &time).await;
    assert_eq!(log_of(&store, "last").await, ["before"]);
    let fussy = handle::<Fussy>(&store);
    let resumed = fussy.resume().await.unwrap();
    assert_eq!(log_of(&store, "last").await, ["before", "one"]);
    assert_eq!(told(&resumed), (1, 0, Reactions::Done));
    drop(fussy);
    close(store).await;
}

#[tokio::test]
async fn one_that_is_parked_as_a_whole_stays_so_when_it_is_resumed() {
    let _alone = alone().await;
    let store = opened::<Fussy>(&MemoryDisk::new(), &clock()).await;
    say(&store, "a", "poison").await;
    let fussy = handle::<Fussy>(&store);
    fussy.pause().await.unwrap();
    let resumed = fussy.resume().await.unwrap();
    assert_eq!(told(&resumed), (1, 0, Reactions::Parked));
    assert!(fussy.status().await.unwrap().parked_at.is_some());
    let rebuilt = fussy.rebuild_state().await.unwrap();
    assert_eq!(rebuilt.reactions, Reactions::Parked);
    drop(fussy);
    close(store).await;
}

#[tokio::test]
async fn whoever_redrives_all_is_told_how_far_that_came() {
    let _alone = alone().await;
    let store = opened::<Brittle>(&MemoryDisk::new(), &clock()).await;
    for words in ["one", "two", "poison", "three"] {
        say(&store, "a", words).await;
    }
    let brittle = handle::<Brittle>(&store);
    assert_eq!(brittle.dead_letters().await.unwrap().len(), 4);
    IS_BROKEN.store(false, SeqCst);
    let refused = brittle.redrive_all().await.unwrap_err().to_string();
    assert!(
        refused.contains("2 were done and 0 failed again"),
        "{refused}"
    );
    assert_eq!(log_of(&store, "a").await, ["one", "two"]);
    assert_eq!(brittle.dead_letters().await.unwrap().len(), 2);
    drop(brittle);
    close(store).await;
}

/// Nothing is caused by it, and there is nothing to wait for.
#[tokio::test]
async fn what_is_discarded_causes_nothing() {
    let _alone = alone().await;
    let store = with_letters(&MemoryDisk::new(), &clock(), "x").await;
    let worker = handle::<Mended>(&store);
    let letter = worker.dead_letters().await.unwrap().remove(0);
    for (id, done) in [(&*letter.id, 1), ("no letter", 0)] {
        let discarded = worker.discard(id).await.unwrap();
        assert_eq!(told(&discarded), (done, 0, Reactions::NotAwaited));
    }
    let all = worker.discard_all().await.unwrap();
    assert_eq!(told(&all), (1, 0, Reactions::NotAwaited));
    say(&store, "b", "refuse park").await;
    let parked = worker.discard_parked("b").await.unwrap();
    assert_eq!(told(&parked), (1, 0, Reactions::NotAwaited));
    assert_eq!(log_of(&store, "last").await, [""; 0]);
    drop(worker);
    close(store).await;
}

#[tokio::test]
async fn whoever_asks_is_told_what_keeps_the_chain_from_being_done() {
    let _alone = alone().await;
    let store = with_letters(&MemoryDisk::new(), &clock(), "bad").await;
    let worker = handle::<Mended>(&store);
    let last = handle::<Last>(&store);
    last.pause().await.unwrap();
    let letter = worker.dead_letters().await.unwrap().remove(0);
    let paused = worker.redrive(&letter.id).await.unwrap();
    assert_eq!(told(&paused), (1, 0, Reactions::Paused));
    last.resume().await.unwrap();
    store.run_process_managers().await.unwrap();
    assert!(last.status().await.unwrap().parked_at.is_some());
    let parked = worker.redrive_all().await.unwrap();
    assert_eq!(told(&parked), (1, 0, Reactions::Parked));
    // A command that fails again is tried again later, and then by nobody.
    say(&store, "b", "refuse park").await;
    say(&store, "b", "refuse retry").await;
    let released = worker.release("b").await.unwrap();
    assert_eq!(told(&released), (0, 1, Reactions::Parked));
    drop((worker, last));
    close(store).await;
}

/// The gate blocks the thread on which `Last` reacts, which must not be the one of the test.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_waits_in_other_modes() {
    let _alone = alone().await;
    for mode in [RunMode::Background, RunMode::OnDemand] {
        let (disk, time) = (MemoryDisk::new(), clock());
        let store = with_letters(&disk, &time, "x").await;
        close(store).await;
        let store = chain::<Mended>(&disk, &time, mode).open().await.unwrap();
        let gate = close_gate();
        let redriven = handle::<Mended>(&store).redrive_all().await.unwrap();
        assert_eq!(told(&redriven), (2, 0, Reactions::NotAwaited), "{mode:?}");
        drop(gate);
        store.run_process_managers().await.unwrap();
        assert_eq!(log_of(&store, "last").await, ["x1", "x2"], "{mode:?}");
        close(store).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reactions_that_take_too_long_go_on_without_the_operator() {
    let _alone = alone().await;
    let (disk, time) = (MemoryDisk::new(), clock());
    close(with_letters(&disk, &time, "x").await).await;
    let store = chain::<Mended>(&disk, &time, RunMode::Inline)
        .reaction_timeout(Duration::from_millis(20))
        .open()
        .await
        .unwrap();
    let gate = close_gate();
    let redriven = handle::<Mended>(&store).redrive_all().await.unwrap();
    assert_eq!(told(&redriven), (2, 0, Reactions::TimedOut));
    gate.send(()).unwrap();
    store.run_process_managers().await.unwrap();
    assert_eq!(log_of(&store, "last").await, ["x1", "x2"]);
    close(store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_store_that_closes_meanwhile_ends_the_wait() {
    let _alone = alone().await;
    let (disk, time) = (MemoryDisk::new(), clock());
    let store = with_letters(&disk, &time, "x").await;
    let gate = close_gate();
    let worker = handle::<Mended>(&store);
    let redriving = tokio::spawn({
        let worker = worker.clone();
        async move { worker.redrive_all().await }
    });
    while log_of(&store, "relay").await.len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!redriving.is_finished(), "the last one has not reacted");
    let closing = tokio::spawn(store.close());
    while worker.redrive("none").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gate.send(()).unwrap();
    let redriven = redriving.await.unwrap().unwrap();
    assert_eq!(told(&redriven), (2, 0, Reactions::Closed));
    closing.await.unwrap().unwrap();
    // And the error of whoever comes later says so.
    let late = worker.redrive_all().await.unwrap_err();
    assert_eq!(late.to_string(), "the store is closed");
    let store = opened::<Mended>(&disk, &time).await;
    store.run_process_managers().await.unwrap();
    assert_eq!(log_of(&store, "last").await, ["x1", "x2"]);
    close(store).await;
}

/// Polls a call this often, and then drops it.
async fn abandon_after<T>(polls: usize, call: impl Future<Output = T>) -> Option<T> {
    let mut call = std::pin::pin!(call);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return std::task::Poll::Ready(None);
        }
        left -= 1;
        call.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Whenever it is dropped: it is done once or not at all, and others are told as ever.
#[tokio::test]
async fn a_call_that_is_dropped_is_done_or_not() {
    let _alone = alone().await;
    for polls in 0..6 {
        let store = with_letters(&MemoryDisk::new(), &clock(), "x").await;
        let worker = handle::<Mended>(&store);
        let redriven = abandon_after(polls, worker.redrive_all()).await;
        let left = worker.redrive_all().await.unwrap();
        assert!(matches!(left.done, 0 | 2), "{polls}: {left:?}");
        assert_eq!(left.failed, 0);
        if let Some(redriven) = redriven {
            assert_eq!(told(&redriven.unwrap()), (2, 0, Reactions::Done));
        }
        store.run_process_managers().await.unwrap();
        assert_eq!(log_of(&store, "last").await, ["x1", "x2"], "{polls}");
        drop(worker);
        close(store).await;
    }
}
