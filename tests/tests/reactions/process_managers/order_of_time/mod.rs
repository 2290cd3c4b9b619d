//! A deadline comes after what was stored when it was due or before, and before what was stored later: in every run mode, and after
//! every absence.

mod histories;
mod meanwhile;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use eventfold_es::clock::ManualClock;
use eventfold_es::prelude::*;
use eventfold_es::{Durability, RunMode};
use eventfold_es_tests::TestResult;

use crate::process_managers::domain::{Log, LogCommand, LogEvent, Refusal, log_of};
use crate::process_managers::worker::{
    Post, PostEvent, append, beginning, clock, refuse, say, words,
};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bell {
    text: String,
}

static MENDED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn mended() -> std::sync::MutexGuard<'static, BTreeSet<String>> {
    MENDED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seconds after the beginning.
fn at(seconds: &str) -> Deadline {
    let seconds: i64 = seconds.parse().unwrap();
    let since = Duration::from_secs(seconds.unsigned_abs());
    Deadline::at(match seconds < 0 {
        true => beginning() - since,
        false => beginning() + since,
    })
}

/// Where everything is written down once more, by all.
const ALL: &str = "all";

/// | what is said | what is done |
/// |---|---|
/// | `at` seconds name | arms the deadline of this name; with `>` and a time behind the name, that arms it again, for then |
/// | `cancel` name | disarms it |
/// | `refuse` tag | sends what is refused until the log is open |
/// | `poison` id, and one of these | a panic until it is mended, then as without |
/// | anything else | is written down |
// Each time it formats this, rustfmt moves the arguments further to the right.
#[rustfmt::skip]
macro_rules! clerk {
    ($name:ident, $key:ident, [$($keyed:tt)*]) => {
        #[process_manager(subscribes = [Post], dispatches = [Log], deadlines = [Bell], on_failure $($keyed)*)]
        #[derive(Debug, Default, Serialize, Deserialize)]
        pub struct $name {
            seen: u64,
        }

        impl $name {
            fn write(&mut self, text: &str, cx: &mut Reaction<'_, Self>) {
                self.seen += 1;
                let ($key, text) = ($key(cx), format!("{text} {}", self.seen));
                cx.send(ALL, append(&format!("{} {text}", $key)));
                cx.send($key, append(&text));
            }

            fn hear(&mut self, said: &str, cx: &mut Reaction<'_, Self>) {
                match words(said) {
                    ("at", rest) => {
                        let (seconds, text) = words(rest);
                        let name = text.split('>').next().unwrap_or_default().to_owned();
                        let text = text.to_owned();
                        cx.schedule(name, at(seconds), Bell { text });
                    }
                    ("cancel", name) => cx.cancel(name),
                    ("poison", rest) => {
                        let (id, said) = words(rest);
                        let is_mended = mended().contains(id);
                        assert!(is_mended, "it is poison");
                        self.hear(said, cx);
                    }
                    ("refuse", tag) => cx.send($key(cx), refuse(tag)),
                    _ => self.write(said, cx),
                }
            }
        }

        impl React<Post> for $name {
            fn react(&mut self, PostEvent::Said(said): &PostEvent, cx: &mut Reaction<'_, Self>) {
                self.hear(said, cx);
            }
        }

        impl OnDeadline<Bell> for $name {
            fn on_deadline(&mut self, Bell { text }: Bell, cx: &mut Reaction<'_, Self>) {
                let (name, again) = text.split_once('>').unwrap_or((&text, ""));
                self.write(name, cx);
                if !again.is_empty() {
                    let text = name.to_owned();
                    cx.schedule(name, at(again), Bell { text });
                }
            }
        }

        impl HandleFailure for $name {
            fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
                match failure.rejection::<Refusal>() {
                    Some(_) => FailureAction::Park,
                    None => FailureAction::default_for(failure),
                }
            }
        }
    };
}

fn own(cx: &Reaction<'_, Clerk>) -> String {
    cx.key().clone()
}

fn only(_: &Reaction<'_, LoneClerk>) -> String {
    "a".to_owned()
}

clerk!(Clerk, own, [, key = String]);
clerk!(LoneClerk, only, []);

impl Correlate<Post> for Clerk {
    fn correlate(_event: &PostEvent, cx: &EventContext<'_>) -> Correlation<String> {
        Correlation::starts_or_continues(cx.stream_id().to_owned())
    }
}

const MODES: [RunMode; 3] = [RunMode::Inline, RunMode::Background, RunMode::OnDemand];

/// A store with the process manager, or one in which it is not there.
async fn open<PM: ProcessManager>(
    base: &Path,
    time: &ManualClock,
    mode: Option<RunMode>,
) -> AggregateStore {
    let builder = AggregateStore::builder(base)
        .aggregate_type::<Log>()
        .clock(time.clone())
        .durability(Durability::Flush)
        .reaction_timeout(Duration::from_millis(50));
    let builder = match mode {
        Some(mode) => builder.process_manager::<PM>().run_mode(mode),
        None => builder,
    };
    builder.open().await.unwrap()
}

/// Lets what is parked go on.
async fn release<PM: ProcessManager>(store: &AggregateStore, keys: &[&str]) {
    let clerk = store.process_manager::<PM>().unwrap();
    if !PM::IS_KEYED {
        clerk.retry().await.unwrap();
    }
    for key in keys.iter().filter(|_| PM::IS_KEYED) {
        clerk.release(key).await.unwrap();
    }
}

/// Why nobody handles anything for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Away {
    Never,
    Restart,
    Pause,
    Park,
}

async fn order<PM: ProcessManager>(mode: RunMode, away: Away, is_disturbed: bool) -> Vec<String> {
    let (base, time) = (tempfile::tempdir().unwrap(), clock());
    let mut store = open::<PM>(base.path(), &time, Some(mode)).await;
    let set = |seconds| time.set(beginning() + Duration::from_secs(seconds));
    say(&store, "a", "at 35 due").await;
    store.run_process_managers().await.unwrap();
    let clerk = || store.process_manager::<PM>().unwrap();
    match away {
        Away::Never => {}
        Away::Pause => clerk().pause().await.unwrap(),
        Away::Park => {
            say(&store, "a", "refuse parked").await;
            store.run_process_managers().await.unwrap();
        }
        Away::Restart => {
            store.close().await.unwrap();
            store = open::<PM>(base.path(), &time, None).await;
        }
    }
    for (seconds, said) in [(10, "unrelated"), (20, "paid"), (35, "tie"), (36, "late")] {
        if seconds == 10 && !is_disturbed || seconds == 35 && away == Away::Never {
            continue;
        }
        set(seconds);
        let post = if seconds == 10 { "z" } else { "a" };
        say(&store, post, said).await;
        if away == Away::Never {
            store.run_process_managers().await.unwrap();
        }
    }
    set(1000);
    match away {
        Away::Never => {}
        Away::Pause => {
            let clerk = store.process_manager::<PM>().unwrap();
            clerk.resume().await.unwrap();
        }
        Away::Park => {
            let open = store.send("a", LogCommand::Open, CommandContext::default());
            open.await.unwrap();
            release::<PM>(&store, &["a"]).await;
        }
        Away::Restart => {
            store.close().await.unwrap();
            store = open::<PM>(base.path(), &time, Some(mode)).await;
        }
    }
    store.run_process_managers().await.unwrap();
    let log = log_of(&store, "a").await.into_iter();
    let tags = log.map(|tag| words(&tag).0.to_owned());
    tags.filter(|tag| !["parked", "unrelated", "tie"].contains(&tag.as_str()))
        .collect()
}

#[tokio::test]
async fn every_run_mode_and_every_absence_gives_one_order() {
    for mode in MODES {
        for away in [Away::Never, Away::Restart, Away::Pause, Away::Park] {
            for is_disturbed in [false, true] {
                let keyed = order::<Clerk>(mode, away, is_disturbed).await;
                let alone = order::<LoneClerk>(mode, away, is_disturbed).await;
                for (found, kind) in [(keyed, "keyed"), (alone, "alone")] {
                    let what = format!("{kind}, {mode:?}, {away:?}, disturbed: {is_disturbed}");
                    assert_eq!(found, ["paid", "due", "late"], "{what}");
                }
            }
        }
    }
}

/// What a run of the store comes to, if these are said at these seconds while nobody handles anything.
async fn caught_up<PM: ProcessManager>(says: &[(u64, &str)]) -> Vec<String> {
    let (base, time) = (tempfile::tempdir().unwrap(), clock());
    let store = open::<PM>(base.path(), &time, Some(RunMode::OnDemand)).await;
    for (seconds, said) in says {
        time.set(beginning() + Duration::from_secs(*seconds));
        say(&store, "a", said).await;
    }
    time.set(beginning() + Duration::from_secs(1000));
    store.run_process_managers().await.unwrap();
    let log = log_of(&store, "a").await.into_iter();
    log.map(|tag| words(&tag).0.to_owned()).collect()
}

/// Ties go to the event. Those that events or deadlines of the same absence have armed count as well.
#[tokio::test]
async fn what_was_armed_meanwhile_comes_where_it_was_due() {
    let says = [
        (1, "at 35 due"),
        (35, "tie"),
        (36, "at 37 one>38"),
        (38, "two"),
        (39, "three"),
        (40, "at -5 past"),
        (40, "four"),
    ];
    let expected = ["tie", "due", "one", "two", "one", "three", "past", "four"];
    assert_eq!(caught_up::<Clerk>(&says).await, expected);
    assert_eq!(caught_up::<LoneClerk>(&says).await, expected);
}

/// What is released arms a deadline that was due long ago: what was held behind it and stored later comes after it.
#[tokio::test]
async fn what_is_released_arms_a_deadline_in_its_place() -> TestResult {
    for mode in MODES {
        let (base, time) = (tempfile::tempdir()?, clock());
        let store = open::<Clerk>(base.path(), &time, Some(mode)).await;
        let id = format!("released-{mode:?}");
        for (seconds, said) in [
            (1, format!("poison {id} at 30 due")),
            (20, "one".to_owned()),
            (30, "two".to_owned()),
            (31, "three".to_owned()),
        ] {
            time.set(beginning() + Duration::from_secs(seconds));
            say(&store, "a", &said).await;
            store.run_process_managers().await?;
        }
        time.advance(Duration::from_secs(60));
        mended().insert(id);
        release::<Clerk>(&store, &["a"]).await;
        store.run_process_managers().await?;
        assert_eq!(
            log_of(&store, "a").await,
            ["one 1", "two 2", "due 3", "three 4"]
        );
        let clerk = store.process_manager::<Clerk>()?;
        let before = clerk.instance("a").await?;
        clerk.rebuild_state().await?;
        assert_eq!(clerk.instance("a").await?, before);
    }
    Ok(())
}

/// Where what is released parks again, the deadline that it has armed is held before what was stored after it was due.
#[tokio::test]
async fn what_parks_again_holds_a_deadline_in_its_place() -> TestResult {
    for mode in MODES {
        let (base, time) = (tempfile::tempdir()?, clock());
        let store = open::<Clerk>(base.path(), &time, Some(mode)).await;
        let id = format!("parks-again-{mode:?}");
        for (seconds, said) in [
            (1, format!("poison {id} at 30 due")),
            (2, "at 31 other".to_owned()),
            (20, "refuse parked".to_owned()),
            (30, "two".to_owned()),
            (31, "three".to_owned()),
            (32, "four".to_owned()),
        ] {
            time.set(beginning() + Duration::from_secs(seconds));
            say(&store, "a", &said).await;
            store.run_process_managers().await?;
        }
        time.advance(Duration::from_secs(60));
        mended().insert(id);
        release::<Clerk>(&store, &["a"]).await;
        store.run_process_managers().await?;
        let parked = store.process_manager::<Clerk>()?.parked().await?;
        let held: Vec<_> = parked.iter().map(|parked| parked.held).collect();
        assert_eq!(
            held,
            [6],
            "{mode:?}: the command, three events, two deadlines"
        );
        let open = store.send("a", LogCommand::Open, CommandContext::default());
        open.await?;
        release::<Clerk>(&store, &["a"]).await;
        store.run_process_managers().await?;
        let log = log_of(&store, "a").await.into_iter();
        let tags: Vec<_> = log.map(|tag| words(&tag).0.to_owned()).collect();
        let expected = ["two", "due", "three", "other", "four"];
        assert_eq!(
            tags.into_iter()
                .filter(|tag| tag != "parked")
                .collect::<Vec<_>>(),
            expected,
            "{mode:?}"
        );
    }
    Ok(())
}

/// An event that was stored at the beginning of time comes before a deadline that was due then.
#[process_manager(subscribes = [Log], dispatches = [Log], deadlines = [Bell])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct First;

impl React<Log> for First {
    fn react(&mut self, event: &LogEvent, cx: &mut Reaction<'_, Self>) {
        let LogEvent::Appended { tag } = event else {
            return;
        };
        match &**tag {
            "arm" => {
                let text = "due".to_owned();
                cx.schedule("bell", Deadline::at(SystemTime::UNIX_EPOCH), Bell { text });
                cx.send("a", append("tie"));
            }
            "tie" if cx.stream_id() == "a" => cx.send("b", append("tie")),
            _ => {}
        }
    }
}

impl OnDeadline<Bell> for First {
    fn on_deadline(&mut self, Bell { text }: Bell, cx: &mut Reaction<'_, Self>) {
        cx.send("b", append(&text));
    }
}

#[tokio::test]
async fn the_beginning_of_time_is_a_time_like_others() -> TestResult {
    for (seconds, expected) in [(0, ["tie", "due"]), (1, ["due", "tie"])] {
        let time = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let base = tempfile::tempdir()?;
        let store = open::<First>(base.path(), &time, Some(RunMode::Inline)).await;
        store
            .send("a", append("arm"), CommandContext::default())
            .await?;
        store.run_process_managers().await?;
        assert_eq!(log_of(&store, "b").await, expected, "{seconds}");
    }
    Ok(())
}

/// Many that earlier deadlines have armed, all due before one event, later or at once: none of them is left for after it.
#[tokio::test]
async fn however_many_were_armed_again_come_before_the_event() -> TestResult {
    for again in ["at 10 first>20", "at 10 first>10"] {
        however_many_were_armed(again).await?;
    }
    Ok(())
}

async fn however_many_were_armed(again: &str) -> TestResult {
    const CLERKS: usize = 1100;
    let (base, time) = (tempfile::tempdir()?, clock());
    let store = open::<Clerk>(base.path(), &time, Some(RunMode::OnDemand)).await;
    for clerk in 0..CLERKS {
        say(&store, &clerk.to_string(), again).await;
    }
    for seconds in [15, 30] {
        if seconds == 15 && again.ends_with(">10") {
            continue;
        }
        time.set(beginning() + Duration::from_secs(seconds));
        if seconds == 30 {
            say(&store, "0", "late").await;
        }
        store.run_process_managers().await?;
    }
    let log = log_of(&store, ALL).await;
    assert_eq!(log.len(), 2 * CLERKS + 1);
    assert_eq!(log.last().map(String::as_str), Some("0 late 3"));
    Ok(())
}

/// A clock that jumps back delays deadlines, and breaks nothing.
#[tokio::test]
async fn a_clock_that_jumps_back_delays_deadlines() -> TestResult {
    let (base, time) = (tempfile::tempdir()?, clock());
    let set = |seconds| time.set(beginning() + Duration::from_secs(seconds));
    let mut store = open::<Clerk>(base.path(), &time, Some(RunMode::Inline)).await;
    set(100);
    say(&store, "a", "at 120 due").await;
    for seconds in [50, 90] {
        set(seconds);
        say(&store, "a", "early").await;
        store.run_process_managers().await?;
    }
    store.close().await?;
    set(10);
    store = open::<Clerk>(base.path(), &time, Some(RunMode::Inline)).await;
    say(&store, "a", "reopened").await;
    store.run_process_managers().await?;
    set(121);
    say(&store, "a", "late").await;
    store.run_process_managers().await?;
    let expected = ["early 1", "early 2", "reopened 3", "due 4", "late 5"];
    assert_eq!(log_of(&store, "a").await, expected);
    Ok(())
}
