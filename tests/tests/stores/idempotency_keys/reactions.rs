//! Keys on what process managers send, and retries of what they react to.

use eventfold_es::contract::ReactError;
use eventfold_es::prelude::*;
use eventfold_es::{Failure, FailureAction, Reactions, RunMode};
use eventfold_es_tests::TestResult;
use serde_json::json;

use crate::common::counter::{Counter, CounterCommand, CounterEvent};
use crate::idempotency_keys::{context, counter, keyed, ones};

/// Sends what is added to `from` on to `to`, twice under the same key, and once more under a key of its own.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Twice {
    seen: u64,
}

impl ProcessManager for Twice {
    const NAME: &'static str = "twice";
    type Envelope = CommandEnvelope;

    fn subscriptions(&self) -> &'static [&'static str] {
        &[Counter::AGGREGATE_TYPE]
    }

    fn react(
        &mut self,
        _aggregate_type: &str,
        stream_id: &str,
        event: &RecordedEvent,
    ) -> Result<Vec<CommandEnvelope>, ReactError> {
        let CounterEvent::Added(by) = CounterEvent::from_event(event)? else {
            return Ok(Vec::new());
        };
        if stream_id != "from" {
            return Ok(Vec::new());
        }
        self.seen += 1;
        let envelope = |instance_id: &str, key: &str| CommandEnvelope {
            aggregate_type: Counter::AGGREGATE_TYPE.to_owned(),
            instance_id: instance_id.to_owned(),
            command: json!({ "Add": by }),
            context: keyed(key),
        };
        let own = format!("own-{}", self.seen);
        Ok(vec![
            envelope("before", &own),
            envelope("to", "shared"),
            envelope("to", &own),
            envelope("to", "shared"),
            envelope("to", ""),
        ])
    }
}

#[tokio::test]
async fn envelopes_with_one_key_are_executed_once() -> TestResult {
    let base = tempfile::tempdir()?;
    let open = || {
        AggregateStore::builder(base.path())
            .process_manager::<Twice>()
            .aggregate_type::<Counter>()
            .open()
    };
    let store = open().await?;
    store
        .send("from", CounterCommand::Add(1), context())
        .await?;
    // Positions: 1 is the cause, 2 is on `before`, 3 and 4 are on `to`.
    let add = |key| store.send("to", CounterCommand::Add(1), keyed(key));
    let staged = add("own-1").await?;
    assert_eq!((staged.version, staged.position), (2, Some(4)));
    assert_eq!(add("shared").await?.position, Some(3));
    store.close().await?;

    let store = open().await?;
    // Its target is cold, and knows `shared` from its stream.
    store
        .send("from", CounterCommand::Add(1), context())
        .await?;
    assert_eq!(counter(&store, "to").await?.sum, 1 + 1 + 1);
    let add = store.send("to", CounterCommand::Add(1), keyed("own-1"));
    assert_eq!(add.await?, staged);
    let report = store.run_process_managers().await?;
    let counts = (report.dispatched, report.dead_lettered);
    assert_eq!(counts, (4, 1), "a duplicate counts as dispatched");
    let letters = store.dead_letters::<Twice>().await?;
    assert_eq!(letters.len(), 2);
    assert!(letters[0].error.contains("it is empty"), "{letters:?}");
    assert_eq!(letters[0].envelope.context, keyed(""));
    Ok(())
}

/// Sends a command to `to` that it rejects, and then another one in its place, always under the same key.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Sorry;

impl ProcessManager for Sorry {
    const NAME: &'static str = "sorry";
    type Envelope = CommandEnvelope;

    fn subscriptions(&self) -> &'static [&'static str] {
        &[Counter::AGGREGATE_TYPE]
    }

    fn react(
        &mut self,
        _aggregate_type: &str,
        stream_id: &str,
        _event: &RecordedEvent,
    ) -> Result<Vec<CommandEnvelope>, ReactError> {
        Ok(match stream_id {
            "from" => vec![to(&CounterCommand::Reject, context())],
            _ => Vec::new(),
        })
    }

    fn on_failure(&self, _: &Failure<'_>) -> FailureAction<Self> {
        FailureAction::Compensate(vec![to(&CounterCommand::Add(1), keyed("sorry"))])
    }
}

fn to(command: &CounterCommand, context: CommandContext) -> CommandEnvelope {
    CommandEnvelope {
        aggregate_type: Counter::AGGREGATE_TYPE.to_owned(),
        instance_id: "to".to_owned(),
        command: json!(command),
        context,
    }
}

/// Its target is locked already, for the command that failed, when the key of the compensation becomes known.
#[tokio::test]
async fn a_compensation_with_a_key_is_executed_once() -> TestResult {
    let base = tempfile::tempdir()?;
    for round in 0..3 {
        let store = AggregateStore::builder(base.path())
            .process_manager::<Sorry>()
            .aggregate_type::<Counter>();
        let store = store.open().await?;
        for _ in 0..2 {
            let add = store.send("from", CounterCommand::Add(1), context());
            add.await?;
            store.run_process_managers().await?;
            let expected = Counter { sum: 1, folded: 1 };
            assert_eq!(counter(&store, "to").await?, expected, "{round}");
        }
        store.close().await?;
    }
    Ok(())
}

/// Passes on from `a` to `b`, from `b` to `c`, from `c` to `d`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Relay;

impl ProcessManager for Relay {
    const NAME: &'static str = "relay";
    type Envelope = CommandEnvelope;

    fn subscriptions(&self) -> &'static [&'static str] {
        &[Counter::AGGREGATE_TYPE]
    }

    fn react(
        &mut self,
        _aggregate_type: &str,
        stream_id: &str,
        _event: &RecordedEvent,
    ) -> Result<Vec<CommandEnvelope>, ReactError> {
        let next = match stream_id {
            "a" => "b",
            "b" => "c",
            "c" => "d",
            _ => return Ok(Vec::new()),
        };
        Ok(vec![CommandEnvelope {
            aggregate_type: Counter::AGGREGATE_TYPE.to_owned(),
            instance_id: next.to_owned(),
            command: json!({ "Add": 1 }),
            context: context(),
        }])
    }
}

/// The first one is told what is stored before anybody has reacted; the retry, in another mode, waits for all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inline_retry_waits_for_the_reactions() -> TestResult {
    let base = tempfile::tempdir()?;
    let open = |mode| {
        AggregateStore::builder(base.path())
            .run_mode(mode)
            .process_manager::<Relay>()
            .aggregate_type::<Counter>()
            .open()
    };
    let store = open(RunMode::OnDemand).await?;
    let first = ones(&store, "a", 1, "k").await?;
    assert_eq!(first.reactions, Reactions::NotAwaited);
    store.close().await?;

    let store = open(RunMode::Inline).await?;
    let again = ones(&store, "a", 1, "k").await?;
    assert_eq!(counter(&store, "d").await?.folded, 1);
    assert_eq!(again.reactions, Reactions::Done);
    assert_eq!((&again.events, again.version), (&first.events, 1));
    assert_eq!(ones(&store, "a", 1, "k").await?, again);
    let inline = ones(&store, "a", 1, "l").await?;
    assert_eq!(ones(&store, "a", 1, "l").await?, inline);
    assert_eq!(counter(&store, "d").await?.folded, 2);
    Ok(())
}

/// The reaction to the event itself is done, and what that caused is not reacted to yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inline_retry_waits_for_what_the_reactions_caused() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::builder(base.path())
        .process_manager::<Relay>()
        .aggregate_type::<Counter>()
        .open()
        .await?;
    let sent = tokio::spawn({
        let store = store.clone();
        async move { ones(&store, "a", 1, "k").await }
    });
    while counter(&store, "b").await?.folded == 0 {
        tokio::task::yield_now().await;
    }
    let again = ones(&store, "a", 1, "k").await?;
    assert_eq!(counter(&store, "d").await?.folded, 1);
    assert_eq!(again, sent.await??);
    Ok(())
}
