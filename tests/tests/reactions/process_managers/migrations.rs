//! `state_version` and `MigrateState`: older states become current exactly once, and one that does not is refused, not lost.

use std::time::Duration;

use eventfold_es::StoredState;
use eventfold_es::prelude::*;
use eventfold_es::testing::MemoryDisk;
use eventfold_es::{Backoff, MigrationError, OpenError, RunMode};
use eventfold_es_tests::campaign::fewest;

use crate::process_managers::domain::{Log, LogCommand, Refusal, log_of};
use crate::process_managers::interrupted::interrupt;
use crate::process_managers::worker::{
    Alarm, Post, PostEvent, TIME, append, clock, refuse, said, say, with, words,
};

/// Versions of one process manager whose states have the same fields: what they count by is another thing.
macro_rules! counter {
    ($name:ident, $correlate:ident $(, $argument:ident = $value:tt)* ) => {
        #[process_manager(subscribes = [Post], dispatches = [Log], deadlines = [Alarm], on_failure, name = "counter" $(, $argument = $value)*)]
        #[derive(Debug, Default, Serialize, Deserialize)]
        struct $name {
            count: u64,
        }

        impl React<Post> for $name {
            fn react(&mut self, event: &PostEvent, cx: &mut Reaction<'_, Self>) {
                let PostEvent::Said(said) = event;
                let log = cx.stream_id().to_owned();
                match words(said) {
                    ("less", by) => self.count -= by.parse::<u64>().unwrap(),
                    ("more", by) => self.count += by.parse::<u64>().unwrap(),
                    ("arm", text) => {
                        let text = text.to_owned();
                        return cx.schedule("alarm", Deadline::after(TIME), Alarm { text });
                    }
                    ("refuse", tag) => return cx.send(log, refuse(tag)),
                    ("poison", _) => panic!("it is poison"),
                    _ => {}
                }
                cx.send(log, append(&format!("{said}: {}", self.count)));
            }
        }

        impl OnDeadline<Alarm> for $name {
            fn on_deadline(&mut self, Alarm { text }: Alarm, cx: &mut Reaction<'_, Self>) {
                cx.send(cx.stream_id().to_owned(), append(&format!("{text}: {}", self.count)));
            }
        }

        impl HandleFailure for $name {
            fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
                match failure.rejection::<Refusal>() {
                    Some(refusal) if refusal.tag == "retry" => {
                        FailureAction::Retry(Backoff::exponential(TIME).jitter(0.0))
                    }
                    _ => FailureAction::default_for(failure),
                }
            }
        }

        $correlate!($name);
    };
}

macro_rules! keyed {
    ($name:ident) => {
        impl Correlate<Post> for $name {
            fn correlate(_event: &PostEvent, cx: &EventContext<'_>) -> Correlation<String> {
                Correlation::starts_or_continues(cx.stream_id().to_owned())
            }
        }
    };
}

macro_rules! unkeyed {
    ($name:ident) => {};
}

counter!(FirstKeyed, keyed, key = String);
counter!(SecondKeyed, keyed, key = String, state_version = 2);
counter!(RefusingKeyed, keyed, key = String, state_version = 2);
counter!(PanickingKeyed, keyed, key = String, state_version = 2);
counter!(First, unkeyed);
counter!(Second, unkeyed, state_version = 2);
counter!(Third, unkeyed, state_version = 3);
counter!(Refusing, unkeyed, state_version = 2);
counter!(Panicking, unkeyed, state_version = 2);

/// The second version counts by tens.
macro_rules! by_tens {
    ($name:ident) => {
        impl MigrateState for $name {
            fn migrate(state: StoredState<'_>) -> Result<Self, MigrationError> {
                let First { count } = state.decode()?;
                match state.version() {
                    1 => Ok(Self { count: count * 10 }),
                    _ => Err(MigrationError::unknown(state)),
                }
            }
        }
    };
}

by_tens!(SecondKeyed);
by_tens!(Second);
by_tens!(Third);

macro_rules! refuses {
    ($name:ident) => {
        impl MigrateState for $name {
            fn migrate(_state: StoredState<'_>) -> Result<Self, MigrationError> {
                Err(MigrationError::Other(
                    "run `count --by-tens` first".to_owned(),
                ))
            }
        }
    };
}

refuses!(RefusingKeyed);
refuses!(Refusing);

macro_rules! panics {
    ($name:ident) => {
        impl MigrateState for $name {
            fn migrate(_state: StoredState<'_>) -> Result<Self, MigrationError> {
                panic!("nobody knows how")
            }
        }
    };
}

panics!(PanickingKeyed);
panics!(Panicking);

async fn opened<PM: ProcessManager>(disk: &MemoryDisk) -> AggregateStore {
    let opened = with::<PM>(disk.builder(), &clock(), RunMode::Inline)
        .reaction_timeout(Duration::from_secs(5))
        .open();
    opened.await.unwrap()
}

/// A migrated state that happens to be written as the older one was is another state all the same.
async fn a_state_is_migrated_once<F: ProcessManager, S: ProcessManager>() {
    let disk = MemoryDisk::new();
    let store = opened::<F>(&disk).await;
    say(&store, "a", "more 3").await;
    store.close().await.unwrap();
    let store = opened::<S>(&disk).await;
    say(&store, "a", "less 27").await;
    store.close().await.unwrap();
    for number in 0..3 {
        let store = opened::<S>(&disk).await;
        say(&store, "a", "look").await;
        let log = log_of(&store, "a").await;
        assert_eq!(log[..2], ["more 3: 3", "less 27: 3"]);
        assert_eq!(log[2 + number], "look: 3");
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn an_older_state_is_migrated_exactly_once() {
    a_state_is_migrated_once::<FirstKeyed, SecondKeyed>().await;
    a_state_is_migrated_once::<First, Second>().await;
}

/// What was on its way when the older program was stopped: a deadline, a command that is tried again, a dead letter, and events
/// that nobody has reacted to.
async fn work_in_flight<F: ProcessManager, S: ProcessManager>() {
    let points = interrupt(
        async |builder| {
            let builder = with::<F>(builder, &clock(), RunMode::OnDemand);
            let store = builder.open().await.unwrap();
            for words in ["more 1", "arm due", "refuse retry", "refuse dead"] {
                say(&store, "a", words).await;
            }
            say(&store, "idle", "more 5").await;
            store.run_process_managers().await.unwrap();
            say(&store, "a", "more 1").await;
            store.close().await.unwrap();
        },
        async |builder, _| {
            let builder = with::<S>(builder, &clock(), RunMode::OnDemand);
            let store = builder.open().await.unwrap();
            store.run_process_managers().await.unwrap();
            say(&store, "a", "more 1").await;
            store.run_process_managers().await.unwrap();
            store.close().await.unwrap();
        },
        async |disk, _| {
            let time = clock();
            let builder = with::<S>(disk.builder(), &time, RunMode::OnDemand);
            let store = builder.open().await.unwrap();
            store.run_process_managers().await.unwrap();
            let told = said(&store, "a").await.len();
            let handle = store.process_manager::<S>().unwrap();
            let status = handle.status().await.unwrap();
            assert_eq!(
                (status.deadlines, status.retrying, status.dead_letters),
                (1, 1, 1)
            );
            let open = store.send("a", LogCommand::Open, CommandContext::default());
            open.await.unwrap();
            time.advance(TIME);
            store.run_process_managers().await.unwrap();
            assert_eq!(handle.redrive_all().await.unwrap().done, 1);
            say(&store, "idle", "look").await;
            store.run_process_managers().await.unwrap();
            let mut log = log_of(&store, "a").await;
            let mut expected: Vec<_> = match S::IS_KEYED {
                true => vec!["more 1: 1", "more 1: 11", "more 1: 12"],
                // There the others count, too.
                false => vec!["more 1: 1", "more 1: 61", "more 1: 62"],
            };
            expected.truncate(told - 3);
            let last = expected.last().unwrap().split_once(": ").unwrap().1;
            let due = format!("due: {last}");
            let looked = match S::IS_KEYED {
                true => "look: 50".to_owned(),
                false => format!("look: {last}"),
            };
            expected.extend(["retry", "dead", &due]);
            log.sort_unstable();
            expected.sort_unstable();
            assert_eq!(log, expected);
            assert_eq!(log_of(&store, "idle").await[1..], [looked]);
            let differences = store.verify().await.unwrap().differences;
            assert!(differences.is_empty(), "{differences:?}");
            drop(handle);
            store.close().await.unwrap();
        },
    );
    assert!(points.await >= fewest());
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn work_in_flight_goes_on_after_a_migration_that_was_crashed() {
    work_in_flight::<FirstKeyed, SecondKeyed>().await;
    work_in_flight::<First, Second>().await;
}

/// A migration that refuses, or panics, parks each instance whose state it is asked for; the others and the next program go on.
async fn an_instance_is_parked<R: ProcessManager>(why: &str) {
    let disk = MemoryDisk::new();
    let store = opened::<FirstKeyed>(&disk).await;
    say(&store, "a", "more 3").await;
    say(&store, "b", "more 4").await;
    store.close().await.unwrap();
    for _ in 0..2 {
        let store = opened::<R>(&disk).await;
        say(&store, "a", "more 1").await;
        say(&store, "c", "more 1").await;
        let handle = store.process_manager::<R>().unwrap();
        let parked = handle.parked().await.unwrap();
        let [parked] = &parked[..] else {
            panic!("{parked:?}");
        };
        assert_eq!(parked.instance.as_deref(), Some("a"));
        assert!(parked.parked.reason.contains(why), "{parked:?}");
        // Neither way out loses the state.
        assert_eq!(handle.release("a").await.unwrap().done, 0);
        assert_eq!(handle.discard_parked("a").await.unwrap().done, 0);
        assert_eq!(log_of(&store, "a").await, ["more 3: 3"]);
        drop(handle);
        store.close().await.unwrap();
    }
    let store = opened::<SecondKeyed>(&disk).await;
    assert_eq!(log_of(&store, "c").await, ["more 1: 1", "more 1: 2"]);
    let handle = store.process_manager::<SecondKeyed>().unwrap();
    assert_eq!(handle.release("a").await.unwrap().done, 2);
    assert_eq!(
        log_of(&store, "a").await,
        ["more 3: 3", "more 1: 31", "more 1: 32"]
    );
    say(&store, "b", "look").await;
    assert_eq!(log_of(&store, "b").await, ["more 4: 4", "look: 40"]);
    drop(handle);
    store.close().await.unwrap();
}

#[tokio::test]
async fn an_instance_whose_state_is_not_migrated_is_parked_and_keeps_it() {
    an_instance_is_parked::<RefusingKeyed>("run `count --by-tens` first").await;
    an_instance_is_parked::<PanickingKeyed>("nobody knows how").await;
}

/// Without `key` there is nothing that could go on: the store does not open, and says why.
async fn a_store_does_not_open<R: ProcessManager>(why: &str) {
    let disk = MemoryDisk::new();
    let store = opened::<First>(&disk).await;
    say(&store, "a", "more 3").await;
    store.close().await.unwrap();
    for _ in 0..2 {
        let builder = with::<R>(disk.builder(), &clock(), RunMode::Inline);
        let error = builder.open().await.unwrap_err();
        assert!(
            matches!(&error, OpenError::ProcessManagerState { name, .. } if name == "counter"),
            "{error:?}"
        );
        assert!(error.to_string().contains(why), "{error}");
    }
    // Both the older program and a mended one go on.
    let store = opened::<First>(&disk).await;
    say(&store, "a", "more 1").await;
    store.close().await.unwrap();
    let store = opened::<Second>(&disk).await;
    say(&store, "a", "look").await;
    assert_eq!(
        log_of(&store, "a").await,
        ["more 3: 3", "more 1: 4", "look: 40"]
    );
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_state_that_is_not_migrated_keeps_the_store_from_opening() {
    a_store_does_not_open::<Refusing>("run `count --by-tens` first").await;
    a_store_does_not_open::<Panicking>("nobody knows how").await;
}

/// What a newer program stored is refused, with the remedy; also when nothing but its version was stored.
#[tokio::test]
async fn a_newer_version_is_refused_with_the_remedy() {
    for says in [&["more 3"][..], &[]] {
        let disk = MemoryDisk::new();
        let store = opened::<First>(&disk).await;
        for words in says {
            say(&store, "a", words).await;
        }
        store.close().await.unwrap();
        let store = opened::<Second>(&disk).await;
        store.close().await.unwrap();
        let error = with::<First>(disk.builder(), &clock(), RunMode::Inline)
            .open()
            .await
            .unwrap_err()
            .to_string();
        for part in ["`counter`", "version 2", "run the newer program"] {
            assert!(error.contains(part), "{error}");
        }
        // One that does not know how is refused, too, and changes nothing.
        let error = with::<Third>(disk.builder(), &clock(), RunMode::Inline)
            .open()
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("no migration from it"), "{error}");
        let store = opened::<Second>(&disk).await;
        say(&store, "a", "look").await;
        let count = 30 * says.len();
        assert_eq!(
            log_of(&store, "a").await.last().unwrap(),
            &format!("look: {count}")
        );
        store.close().await.unwrap();
    }
}

/// A key cannot be given to what has none, or taken away.
#[tokio::test]
async fn a_state_with_key_and_one_without_are_not_mistaken_for_each_other() {
    let disk = MemoryDisk::new();
    let store = opened::<First>(&disk).await;
    say(&store, "a", "more 3").await;
    store.close().await.unwrap();
    let error = with::<FirstKeyed>(disk.builder(), &clock(), RunMode::Inline)
        .open()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("without `key`"), "{error}");
    let disk = MemoryDisk::new();
    let store = opened::<FirstKeyed>(&disk).await;
    say(&store, "a", "more 3").await;
    store.close().await.unwrap();
    let error = with::<Second>(disk.builder(), &clock(), RunMode::Inline)
        .open()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("with `key`"), "{error}");
}
