//! A key that is used for two commands is noticed where they can be compared.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use eventfold_es::contract::ReactError;
use eventfold_es::prelude::*;
use eventfold_es::{
    CommandBus, ExecuteError, FailureCause, StoreError, TransactionError, fingerprint,
};
use eventfold_es_tests::TestResult;
use eventfold_es_tests::gate::GatedDisk;
use eventfold_es_tests::journal_file::event_lines;
use serde_json::json;

use crate::common::counter::{Counter, CounterCommand, CounterError, CounterEvent};
use crate::idempotency_keys::{counter, keyed, ones};

fn is_reused<T>(done: &Result<T, ExecuteError<CounterError>>, expected: &str) -> bool {
    matches!(done, Err(ExecuteError::KeyReused { key }) if key == expected)
}

#[tokio::test]
async fn another_command_under_the_key_is_refused_hot_recalled_and_after_a_restart() -> TestResult {
    let base = tempfile::tempdir()?;
    let open = || {
        AggregateStore::builder(base.path())
            .idle_timeout(Duration::from_millis(1))
            .open()
    };
    let store = open().await?;
    let first = ones(&store, "c", 2, "k").await?;
    let others = || {
        [
            CounterCommand::AddOnes(3),
            CounterCommand::Add(2),
            CounterCommand::Reject,
            CounterCommand::Nothing,
            CounterCommand::PanicInDecide,
        ]
    };
    for _ in 0..3 {
        for other in others() {
            let done = store.send("c", other, keyed("k")).await;
            assert!(is_reused(&done, "k"), "{done:?}");
        }
        assert_eq!(ones(&store, "c", 2, "k").await?, first);
        // Long enough to be evicted.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // A key belongs to one aggregate.
    ones(&store, "d", 7, "k").await?;
    let mut bus = CommandBus::new(store.clone());
    bus.register::<Counter>();
    let told = bus.dispatch("c", CounterCommand::Add(2), keyed("k")).await;
    let text = "the idempotency key \"k\" was used for another command: give each command a key of its own, and send the same \
                command when it is repeated";
    assert_eq!(
        told.map_err(|error| error.to_string()),
        Err(text.to_owned())
    );
    store.close().await?;

    let store = open().await?;
    for other in others() {
        let done = store.send("c", other, keyed("k")).await;
        assert!(is_reused(&done, "k"), "{done:?}");
    }
    assert_eq!(ones(&store, "c", 2, "k").await?, first);
    assert_eq!(counter(&store, "c").await?.folded, 2);
    // What was rejected is not remembered, and its key is free.
    store
        .send("c", CounterCommand::Reject, keyed("r"))
        .await
        .unwrap_err();
    ones(&store, "c", 1, "r").await?;
    Ok(())
}

/// That the key is taken is an answer about a commit, and waits for it.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn another_command_under_the_key_of_a_pending_one_is_refused_when_that_is_durable()
-> TestResult {
    let (base, gate) = (tempfile::tempdir()?, GatedDisk::default());
    let store = AggregateStore::builder(base.path())
        .disk(Arc::new(gate.clone()))
        .open()
        .await?;
    ones(&store, "c", 1, "x").await?;
    gate.close();
    let mut waker = Context::from_waker(Waker::noop());
    let mut first = pin!(ones(&store, "c", 2, "k"));
    let mut other = pin!(ones(&store, "c", 3, "k"));
    assert!(first.as_mut().poll(&mut waker).is_pending());
    for _ in 0..100 {
        assert!(other.as_mut().poll(&mut waker).is_pending());
        tokio::task::yield_now().await;
    }
    gate.open();
    let other = other.await;
    assert!(is_reused(&other, "k"), "{other:?}");
    assert_eq!(first.await?.version, 3);
    Ok(())
}

#[tokio::test]
async fn a_transaction_with_other_commands_under_its_key_is_refused() -> TestResult {
    let base = tempfile::tempdir()?;
    let mut store = AggregateStore::open(base.path()).await?;
    let send = |store: &AggregateStore, commands: &[(&str, i64)]| {
        let mut transaction = store.transaction(keyed("k"));
        for (id, by) in commands {
            transaction = transaction.send(id, CounterCommand::Add(*by));
        }
        transaction.commit()
    };
    let first = send(&store, &[("a", 1), ("b", 2), ("a", 3)]).await?;
    for _ in 0..2 {
        for other in [
            &[("a", 1), ("b", 2), ("a", 4)][..],
            &[("a", 1), ("b", 2)],
            &[("a", 1)],
            &[("a", 1), ("b", 2), ("a", 3), ("c", 1)],
            &[("c", 1), ("b", 2), ("a", 3)],
            &[("a", 1), ("b", 2), ("c", 3)],
        ] {
            let done = send(&store, other).await;
            assert!(
                matches!(&done, Err(TransactionError::KeyReused { key }) if key == "k"),
                "{other:?}: {done:?}"
            );
        }
        assert_eq!(send(&store, &[("a", 1), ("b", 2), ("a", 3)]).await?, first);
        store.close().await?;
        store = AggregateStore::open(base.path()).await?;
    }
    assert_eq!(counter(&store, "a").await?.sum, 4);
    // Nobody there knows the key.
    send(&store, &[("d", 1), ("e", 1)]).await?;
    Ok(())
}

/// Sends what is added to `from` on to `to`, all under one key.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Careless;

impl ProcessManager for Careless {
    const NAME: &'static str = "careless";
    type Envelope = CommandEnvelope;

    fn subscriptions(&self) -> &'static [&'static str] {
        &[Counter::AGGREGATE_TYPE]
    }

    fn react(
        &mut self,
        _: &str,
        stream_id: &str,
        event: &RecordedEvent,
    ) -> Result<Vec<CommandEnvelope>, ReactError> {
        let CounterEvent::Added(by) = CounterEvent::from_event(event)? else {
            return Ok(Vec::new());
        };
        if stream_id != "from" {
            return Ok(Vec::new());
        }
        let send = |by: i64| CommandEnvelope {
            aggregate_type: Counter::AGGREGATE_TYPE.to_owned(),
            instance_id: "to".to_owned(),
            command: json!({ "Add": by }),
            context: keyed("k"),
        };
        Ok(vec![send(by), send(by), send(by + 1)])
    }

    fn on_failure(&self, failure: &eventfold_es::Failure<'_>) -> eventfold_es::FailureAction<Self> {
        assert!(matches!(failure.cause, FailureCause::Rejected { .. }));
        let reused = failure.rejection::<StoreError>();
        assert!(matches!(reused, Some(StoreError::KeyReused { .. })));
        eventfold_es::FailureAction::default_for(failure)
    }
}

#[tokio::test]
async fn a_process_manager_that_uses_a_key_twice_gets_dead_letters() -> TestResult {
    let base = tempfile::tempdir()?;
    let open = || {
        AggregateStore::builder(base.path())
            .process_manager::<Careless>()
            .aggregate_type::<Counter>()
            .open()
    };
    let store = open().await?;
    let cause = |store: AggregateStore, by| async move {
        store
            .send("from", CounterCommand::Add(by), ())
            .await
            .map(drop)
    };
    // Staged in the same reaction.
    cause(store.clone(), 5).await?;
    assert_eq!(store.dead_letters::<Careless>().await?.len(), 1);
    store.close().await?;
    // And stored by an earlier one: the first two are other commands, and the third is not executed by that either.
    let store = open().await?;
    cause(store.clone(), 4).await?;
    assert_eq!(counter(&store, "to").await?.sum, 5);
    assert_eq!(store.dead_letters::<Careless>().await?.len(), 3);
    Ok(())
}

/// Commands with maps and sets, which have another order in each copy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tag {
    names: HashSet<String>,
    counts: HashMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum TagEvent {
    Tagged,
}

#[aggregate(name = "tagged", command = Tag, event = TagEvent, error = std::convert::Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Tagged {
    count: u64,
}

impl Decider for Tagged {
    fn decide(&self, _: Tag) -> Result<Vec<TagEvent>, std::convert::Infallible> {
        Ok(vec![TagEvent::Tagged])
    }

    fn evolve(&mut self, _: &TagEvent) {
        self.count += 1;
    }
}

#[tokio::test]
async fn a_repeat_with_maps_and_sets_is_no_other_command() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let tag = |count: u64| Tag {
        names: (0..count).map(|number| number.to_string()).collect(),
        counts: (0..count)
            .map(|number| (number.to_string(), number))
            .collect(),
    };
    let first = store.send("t", tag(20), keyed("k")).await?;
    for _ in 0..20 {
        assert_eq!(store.send("t", tag(20), keyed("k")).await?, first);
    }
    let other = store.send("t", tag(19), keyed("k")).await;
    assert!(
        matches!(other, Err(ExecuteError::KeyReused { .. })),
        "{other:?}"
    );
    Ok(())
}

/// A command that is not `Serialize` is not compared.
#[derive(Debug)]
pub struct Plain(u64);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum PlainEvent {
    Done(u64),
}

#[aggregate(name = "plain", command = Plain, event = PlainEvent, error = std::convert::Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Bare {
    sum: u64,
}

impl Decider for Bare {
    fn decide(&self, command: Plain) -> Result<Vec<PlainEvent>, std::convert::Infallible> {
        Ok(vec![PlainEvent::Done(command.0)])
    }

    fn evolve(&mut self, event: &PlainEvent) {
        let PlainEvent::Done(by) = event;
        self.sum += by;
    }
}

/// The same aggregate in a later version of the program.
#[derive(Debug, Serialize)]
pub struct Later(u64);

#[aggregate(name = "plain", command = Later, event = PlainEvent, error = std::convert::Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct BareLater {
    sum: u64,
}

impl Decider for BareLater {
    fn decide(&self, command: Later) -> Result<Vec<PlainEvent>, std::convert::Infallible> {
        Ok(vec![PlainEvent::Done(command.0)])
    }

    fn evolve(&mut self, event: &PlainEvent) {
        let PlainEvent::Done(by) = event;
        self.sum += by;
    }
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn commands_that_cannot_be_compared_answer_as_the_first_one() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let first = store.send("p", Plain(1), keyed("k")).await?;
    assert_eq!(store.send("p", Plain(2), keyed("k")).await?, first);
    store.close().await?;
    let stream = event_lines(base.path(), "plain", "p")?.concat();
    assert!(!stream.contains("command_digest"), "{stream}");
    let store = AggregateStore::open(base.path()).await?;
    assert_eq!(store.send("p", Plain(2), keyed("k")).await?, first);
    store.close().await?;

    // Nor is one whose key was stored without the means to compare it, by a program in which they were not `Serialize`.
    let store = AggregateStore::open(base.path()).await?;
    let again = store.send("p", Later(2), keyed("k")).await?;
    assert_eq!(again, first);
    store.send("p", Later(1), keyed("l")).await?;
    let other = store.send("p", Later(2), keyed("l")).await;
    assert!(
        matches!(other, Err(ExecuteError::KeyReused { .. })),
        "{other:?}"
    );
    Ok(())
}

/// A command with a part that each attempt has for itself, which cannot even be serialized.
#[derive(Debug)]
pub struct Transfer {
    cents: u64,
    asked_at: std::time::Instant,
}

impl Transfer {
    fn new(cents: u64) -> Self {
        Self {
            cents,
            asked_at: std::time::Instant::now(),
        }
    }

    fn intent(&self) -> impl Serialize {
        [Some(self.cents), None]
    }
}

#[aggregate(
    name = "compared", command = Transfer, event = PlainEvent, error = std::convert::Infallible, fingerprint = Transfer::intent
)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Account {
    sum: u64,
}

impl Decider for Account {
    fn decide(&self, command: Transfer) -> Result<Vec<PlainEvent>, std::convert::Infallible> {
        assert!(command.asked_at <= std::time::Instant::now());
        Ok(vec![PlainEvent::Done(command.cents)])
    }

    fn evolve(&mut self, event: &PlainEvent) {
        let PlainEvent::Done(by) = event;
        self.sum += by;
    }
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn commands_are_compared_by_what_the_aggregate_says() -> TestResult {
    let base = tempfile::tempdir()?;
    let mut store = AggregateStore::open(base.path()).await?;
    let first = store.send("a", Transfer::new(5), keyed("k")).await?;
    for _ in 0..2 {
        assert_eq!(store.send("a", Transfer::new(5), keyed("k")).await?, first);
        let other = store.send("a", Transfer::new(6), keyed("k")).await;
        assert!(
            matches!(other, Err(ExecuteError::KeyReused { .. })),
            "{other:?}"
        );
        store.close().await?;
        store = AggregateStore::open(base.path()).await?;
    }
    // It is the digest of what the function returns, whichever program computes it.
    let stream = event_lines(base.path(), "compared", "a")?.concat();
    let digest = fingerprint(&[Some(5), None]).ok_or("it serializes")?;
    assert!(
        stream.contains(&format!("\"command_digest\":\"{digest:016x}\"")),
        "{stream}"
    );
    Ok(())
}

/// Versions of one program, the later of which has a command with one field more.
macro_rules! version {
    ($aggregate:ident, $command:ident { $($field:ident : $ty:ty),* }) => {
        #[derive(Debug, Clone, Serialize, Deserialize)]
        pub struct $command {
            $($field: $ty),*
        }

        #[aggregate(name = "grown", command = $command, event = PlainEvent, error = std::convert::Infallible)]
        #[derive(Debug, Clone, Default, Serialize, Deserialize)]
        pub struct $aggregate {
            sum: u64,
        }

        impl Decider for $aggregate {
            fn decide(&self, command: $command) -> Result<Vec<PlainEvent>, std::convert::Infallible> {
                Ok(vec![PlainEvent::Done(command.cents)])
            }

            fn evolve(&mut self, event: &PlainEvent) {
                let PlainEvent::Done(by) = event;
                self.sum += by;
            }
        }
    };
}

version!(Before, PayBefore { cents: u64 });
version!(Since, PaySince { note: Option<String>, cents: u64 });

#[tokio::test]
async fn a_field_that_a_later_version_has_added_makes_no_other_command_while_it_is_none()
-> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let first = store.send("p", PayBefore { cents: 5 }, keyed("k")).await?;
    store.close().await?;
    let store = AggregateStore::open(base.path()).await?;
    let pay = |note: Option<&str>| PaySince {
        note: note.map(str::to_owned),
        cents: 5,
    };
    assert_eq!(store.send("p", pay(None), keyed("k")).await?, first);
    let other = store.send("p", pay(Some("tip")), keyed("k")).await;
    assert!(
        matches!(other, Err(ExecuteError::KeyReused { .. })),
        "{other:?}"
    );
    Ok(())
}
