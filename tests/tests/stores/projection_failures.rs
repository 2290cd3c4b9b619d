//! Projections that cannot fold an event: they say which, stay at the one before, stop nobody else, and go on after the fix.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::counter::{Counter, CounterCommand, CounterEvent};
use eventfold_es::contract::ProjectError;
use eventfold_es::prelude::*;
use eventfold_es::{AggregateStoreBuilder, Durability, StoreError};
use eventfold_es_tests::TestResult;

/// Folds everything.
#[projection(subscribes = [Counter])]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Total {
    sum: i64,
}

impl Project<Counter> for Total {
    fn project(&mut self, event: &CounterEvent, _: &EventContext<'_>) {
        if let CounterEvent::Added(by) = event {
            self.sum += by;
        }
    }
}

fn with(base: &Path) -> AggregateStoreBuilder {
    AggregateStore::builder(base).projection::<Total>()
}

async fn add(store: &AggregateStore, id: &str, by: i64) -> TestResult {
    let command = CounterCommand::Add(by);
    store.send(id, command, CommandContext::default()).await?;
    Ok(())
}

/// Two versions of one program: the first cannot fold 13 and panics at 666.
macro_rules! picky {
    ($name:ident, $check:expr) => {
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        struct $name(Vec<i64>);

        impl Projection for $name {
            const NAME: &'static str = "picky";

            fn subscriptions(&self) -> &'static [&'static str] {
                &[Counter::AGGREGATE_TYPE]
            }

            fn apply(
                &mut self,
                _aggregate_type: &str,
                _stream_id: &str,
                event: &RecordedEvent,
            ) -> Result<(), ProjectError> {
                if let CounterEvent::Added(number) = CounterEvent::from_event(event)? {
                    self.0.push(number);
                    $check(number).map_err(ProjectError::Other)?;
                }
                Ok(())
            }
        }
    };
}

fn check(number: i64) -> Result<(), String> {
    match number {
        13 => Err("13 is not understood".to_owned()),
        666 => panic!("666 is too much"),
        _ => Ok(()),
    }
}

picky!(Picky, check);
picky!(Patient, |_| Ok::<(), String>(()));

#[tokio::test]
async fn an_event_that_cannot_be_folded_is_named_and_folded_after_the_fix() -> TestResult {
    for (bad, why) in [(13, "13 is not understood"), (666, "666 is too much")] {
        let base = tempfile::tempdir()?;
        let open = || with(base.path()).projection::<Picky>().open();
        let store = open().await?;
        add(&store, "c", 1).await?;
        assert_eq!(*store.projection::<Picky>().await?, Picky(vec![1]));
        add(&store, "c", 2).await?;
        add(&store, "d", bad).await?;
        add(&store, "d", 4).await?;
        for attempt in 0..3 {
            let rebuilt = store.rebuild_projection::<Picky>().await.err();
            let read = store.projection::<Picky>().await.err();
            for error in [rebuilt, read].into_iter().map(Option::unwrap) {
                match &error {
                    StoreError::Projection { name, position, .. } => {
                        assert_eq!((name.as_str(), *position), ("picky", 3));
                    }
                    StoreError::Panicked { .. } => assert_eq!(bad, 666),
                    other => panic!("{other:?} at attempt {attempt}"),
                }
                let text = error.to_string();
                for part in ["the projection `picky`", "position 3", why] {
                    assert!(text.contains(part), "{text}");
                }
            }
            // Others go on.
            assert_eq!(store.projection::<Total>().await?.sum, 7 + bad);
        }
        store.close().await?;

        let store = with(base.path()).projection::<Patient>().open().await?;
        let folded = store.projection::<Patient>().await?;
        assert_eq!(*folded, Patient(vec![1, 2, bad, 4]), "each once");
    }
    Ok(())
}

/// More than one chunk of the journal, so that another thread reads ahead of the projection.
const MANY: i64 = 8000;

/// A closed store with many events of 1, and one of another number.
async fn filled(base: &Path, other: i64, place: i64) -> TestResult {
    let store = with(base).durability(Durability::Flush).open().await?;
    for number in 1..=MANY {
        add(&store, "c", if number == place { other } else { 1 }).await?;
    }
    Ok(store.close().await?)
}

#[tokio::test]
async fn reading_ahead_ends_with_the_projection() -> TestResult {
    for (bad, place) in [(13, 1), (666, 1), (13, MANY / 2), (666, MANY)] {
        let base = tempfile::tempdir()?;
        filled(base.path(), bad, place).await?;
        let store = with(base.path()).projection::<Picky>().open().await?;
        for _ in 0..2 {
            let error = store.projection::<Picky>().await.unwrap_err().to_string();
            let expected = format!("position {place}");
            assert!(error.contains(&expected), "{error}");
        }
        assert_eq!(store.projection::<Total>().await?.sum, MANY - 1 + bad);
        store.close().await?;

        let store = with(base.path()).projection::<Patient>().open().await?;
        let folded = store.projection::<Patient>().await?;
        assert_eq!(folded.0.len() as i64, MANY);
        assert_eq!(folded.0.iter().sum::<i64>(), MANY - 1 + bad);
    }
    Ok(())
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn damage_that_is_read_ahead_is_named_after_what_comes_before_it() -> TestResult {
    let base = tempfile::tempdir()?;
    filled(base.path(), 13, MANY / 5).await?;
    let path = base.path().join("meta/journal/app.jsonl");
    let mut journal = std::fs::read(&path)?;
    assert!(journal.len() > 2 << 20, "{} bytes", journal.len());
    let middle = journal.len() / 2;
    journal[middle] ^= 1;
    std::fs::write(&path, journal)?;

    let open = || with(base.path()).projection::<Picky>().open();
    let store = open().await?;
    let first = store.projection::<Picky>().await.unwrap_err().to_string();
    assert!(first.contains(&format!("position {}", MANY / 5)), "{first}");
    let damage = store.projection::<Total>().await.unwrap_err();
    assert!(matches!(damage, StoreError::Damaged(_)), "{damage}");
    let again = store.projection::<Total>().await.unwrap_err();
    assert_eq!(again.to_string(), damage.to_string());
    Ok(())
}

/// A newer version of the program has written an event that this one does not know.
#[tokio::test]
async fn an_event_of_a_newer_version_says_what_to_do() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = with(base.path()).open().await?;
    add(&store, "c", 1).await?;
    store.close().await?;

    let store = newer::open(base.path()).await?;
    store
        .send("c", newer::Command::Double, CommandContext::default())
        .await?;
    store.close().await?;

    let store = with(base.path()).open().await?;
    let error = store.projection::<Total>().await.unwrap_err().to_string();
    for part in [
        "the projection `total`",
        "position 2",
        "`Doubled`",
        "update this program",
    ] {
        assert!(error.contains(part), "{error}");
    }
    let error = store
        .get::<Counter>("c")
        .await?
        .state()
        .await
        .unwrap_err()
        .to_string();
    for part in [
        "`c` of `counter`",
        "event 2",
        "`Doubled`",
        "update this program",
    ] {
        assert!(error.contains(part), "{error}");
    }
    Ok(())
}

mod newer {
    use eventfold_es::prelude::*;

    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub enum Command {
        Double,
    }

    #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
    #[serde(tag = "type", content = "data")]
    pub enum Event {
        Added(i64),
        Doubled,
    }

    #[aggregate(name = "counter", command = Command, event = Event, error = std::convert::Infallible)]
    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    pub struct NewCounter;

    impl Decider for NewCounter {
        fn decide(&self, _: Command) -> Result<Vec<Event>, std::convert::Infallible> {
            Ok(vec![Event::Doubled])
        }

        fn evolve(&mut self, _: &Event) {}
    }

    pub async fn open(base: &std::path::Path) -> Result<AggregateStore, eventfold_es::OpenError> {
        AggregateStore::open(base).await
    }
}

/// Whether [`Moody`] panics at the end of each event.
static IS_MOODY: AtomicBool = AtomicBool::new(false);

#[projection(subscribes = [Counter])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Moody(Vec<i64>);

impl Project<Counter> for Moody {
    fn project(&mut self, event: &CounterEvent, _: &EventContext<'_>) {
        if let CounterEvent::Added(by) = event {
            self.0.push(*by);
        }
        assert!(!IS_MOODY.load(Ordering::Relaxed), "not today");
    }
}

/// What a failed fold has done to the state is gone, whatever it was, and without opening the store again.
#[tokio::test]
async fn nothing_of_a_failed_fold_stays_in_the_state() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = with(base.path()).projection::<Moody>().open().await?;
    for number in 1..=4 {
        add(&store, "c", number).await?;
        if number % 2 == 1 {
            assert_eq!(store.projection::<Moody>().await?.0.len() as i64, number);
        }
    }
    IS_MOODY.store(true, Ordering::Relaxed);
    for _ in 0..3 {
        let error = store.projection::<Moody>().await.unwrap_err();
        assert!(error.to_string().contains("not today"), "{error}");
    }
    IS_MOODY.store(false, Ordering::Relaxed);
    assert_eq!(store.projection::<Moody>().await?.0, [1, 2, 3, 4]);
    Ok(())
}
