//! `#[aggregate(context)]`: what a decision is told besides the state and the command.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use eventfold_es::clock::ManualClock;
use eventfold_es::prelude::*;
use eventfold_es::testing;
use eventfold_es_tests::TestResult;
use eventfold_es_tests::gate::GatedDisk;
use serde_json::{Value, json};

#[derive(Debug, Clone, Serialize, Deserialize)]
enum MemoCommand {
    Note,
    Panic,
}

/// What a decision was told, as an event.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
enum MemoEvent {
    Noted(Told),
    #[default]
    Panicked,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Told {
    id: String,
    version: u64,
    seconds: u64,
    actor: Option<String>,
    correlation_id: Option<String>,
    metadata: Option<Value>,
}

#[aggregate(context, error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Memo {
    noted: u64,
}

impl ContextDecider for Memo {
    fn decide(
        &self,
        command: MemoCommand,
        cx: &Deciding<'_>,
    ) -> Result<Vec<MemoEvent>, Infallible> {
        match command {
            MemoCommand::Note => Ok(vec![MemoEvent::Noted(told(cx))]),
            MemoCommand::Panic => panic!("for {:?}", cx.actor()),
        }
    }

    fn evolve(&mut self, _: &MemoEvent) {
        self.noted += 1;
    }
}

fn told(cx: &Deciding<'_>) -> Told {
    let since_1970 = cx.now().duration_since(UNIX_EPOCH);
    Told {
        id: cx.id().to_owned(),
        version: cx.version(),
        seconds: since_1970.unwrap_or_default().as_secs(),
        actor: cx.actor().map(str::to_owned),
        correlation_id: cx.correlation_id().map(str::to_owned),
        metadata: cx.metadata().cloned(),
    }
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

async fn notes(store: &AggregateStore, id: &str) -> Result<Vec<Told>, Box<dyn std::error::Error>> {
    let mut told = Vec::new();
    for event in store.read_events("memo", id).await? {
        match MemoEvent::from_event(&event)? {
            MemoEvent::Noted(noted) => told.push(noted),
            MemoEvent::Panicked => return Err("a decision that panicked stored an event".into()),
        }
    }
    Ok(told)
}

#[tokio::test]
async fn a_decision_is_told_id_version_time_and_who_asks() -> TestResult {
    let base = tempfile::tempdir()?;
    let clock = ManualClock::new(at(1_000_000));
    let open = || {
        let builder = AggregateStore::builder(base.path());
        builder.clock(clock.clone()).open()
    };
    let store = open().await?;
    let context = CommandContext::default()
        .with_actor("alice")
        .with_correlation_id("req-7")
        .with_metadata(json!({ "tenant": "north" }));
    store.send("m-1", MemoCommand::Note, context).await?;
    clock.advance(Duration::from_millis(60_500));
    store.send("m-1", MemoCommand::Note, ()).await?;
    let panicked = store.send("m-1", MemoCommand::Panic, ()).await;
    let error = panicked.unwrap_err().to_string();
    assert!(
        error.contains("the decision of `memo` panicked: for None"),
        "{error}"
    );
    store.close().await?;

    // As ever after a restart, also by a clock that is behind: the time is that of the last commit, less a millisecond.
    clock.set(at(5));
    let store = open().await?;
    store.send("m-1", MemoCommand::Note, ()).await?;
    store.send("m-2", MemoCommand::Note, ()).await?;
    let of_alice = Told {
        id: "m-1".into(),
        version: 0,
        seconds: 1_000_000,
        actor: Some("alice".into()),
        correlation_id: Some("req-7".into()),
        metadata: Some(json!({ "tenant": "north" })),
    };
    let of_nobody = |id: &str, version| Told {
        id: id.into(),
        version,
        seconds: 1_000_060,
        ..Told::default()
    };
    let first = notes(&store, "m-1").await?;
    assert_eq!(first, [of_alice, of_nobody("m-1", 1), of_nobody("m-1", 2)]);
    assert_eq!(notes(&store, "m-2").await?, [of_nobody("m-2", 0)]);
    Ok(())
}

/// The version is that of the state that is decided on, whether or not it is durable yet.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn what_is_pending_counts_in_the_version() -> TestResult {
    let (base, gate) = (tempfile::tempdir()?, GatedDisk::default());
    let builder = AggregateStore::builder(base.path()).disk(Arc::new(gate.clone()));
    let store = builder.open().await?;
    let memo = store.get::<Memo>("m").await?;
    memo.execute(MemoCommand::Note, ()).await?;
    gate.close();
    let waiting: Vec<_> = (0..20)
        .map(|_| {
            let memo = memo.clone();
            tokio::spawn(async move { memo.execute(MemoCommand::Note, ()).await })
        })
        .collect();
    // On one thread each of them is decided before the gate opens.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(memo.state().await?.noted, 1, "durable only");
    gate.open();
    for done in waiting {
        done.await??;
    }
    let told = notes(&store, "m").await?;
    let versions: Vec<_> = told.iter().map(|told| told.version).collect();
    assert_eq!(versions, (0..=20).collect::<Vec<_>>());
    Ok(())
}

/// Each command of a transaction is decided in its context, on what those before it did.
#[tokio::test]
async fn commands_of_a_transaction_are_decided_in_its_context() -> TestResult {
    let base = tempfile::tempdir()?;
    let builder = AggregateStore::builder(base.path()).clock(ManualClock::new(at(5)));
    let store = builder.open().await?;
    let alice = CommandContext::default().with_actor("alice");
    let transaction = store
        .transaction(alice)
        .send("m-1", MemoCommand::Note)
        .send("m-2", MemoCommand::Note)
        .send("m-1", MemoCommand::Note);
    transaction.commit().await?;
    let of_alice = |id: &str, version| Told {
        id: id.into(),
        version,
        seconds: 5,
        actor: Some("alice".into()),
        ..Told::default()
    };
    let first = notes(&store, "m-1").await?;
    assert_eq!(first, [of_alice("m-1", 0), of_alice("m-1", 1)]);
    assert_eq!(notes(&store, "m-2").await?, [of_alice("m-2", 0)]);
    Ok(())
}

/// Sends a note for each that was stored directly, with a context of its own or with that of the event.
#[process_manager(subscribes = [Memo], dispatches = [Memo])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Clerk;

impl React<Memo> for Clerk {
    fn react(&mut self, event: &MemoEvent, cx: &mut Reaction<'_, Self>) {
        match event {
            MemoEvent::Noted(told) if told.id == "m-1" => {
                let own = CommandContext::default()
                    .with_actor("clerk")
                    .with_metadata(json!({ "copy": true }));
                cx.send_with("copy-1", MemoCommand::Note, own);
                cx.send("copy-2", MemoCommand::Note);
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_command_of_a_process_manager_is_decided_in_its_context() -> TestResult {
    let base = tempfile::tempdir()?;
    let builder = AggregateStore::builder(base.path()).clock(ManualClock::new(at(77)));
    let store = builder.process_manager::<Clerk>().open().await?;
    let context = CommandContext::default()
        .with_actor("alice")
        .with_correlation_id("req-7");
    store.send("m-1", MemoCommand::Note, context).await?;
    let own = Told {
        id: "copy-1".into(),
        seconds: 77,
        actor: Some("clerk".into()),
        correlation_id: Some("req-7".into()),
        metadata: Some(json!({ "copy": true })),
        ..Told::default()
    };
    assert_eq!(notes(&store, "copy-1").await?, [own]);
    let of_event = Told {
        id: "copy-2".into(),
        seconds: 77,
        correlation_id: Some("req-7".into()),
        ..Told::default()
    };
    assert_eq!(notes(&store, "copy-2").await?, [of_event]);
    // The decision was told what is stored.
    let stored = store.read_events("memo", "copy-1").await?.remove(0);
    assert_eq!(stored.actor.as_deref(), Some("clerk"));
    assert_eq!(stored.meta.unwrap_or_default()["correlation_id"], "req-7");
    Ok(())
}

/// By hand: it knows its own id.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Own;

impl Aggregate for Own {
    const AGGREGATE_TYPE: &'static str = "own";
    type Command = ();
    type DomainEvent = MemoEvent;
    type Error = Infallible;

    fn handle(&self, (): ()) -> Result<Vec<MemoEvent>, Infallible> {
        self.handle_with((), &Deciding::new("nobody's"))
    }

    fn handle_with(&self, (): (), cx: &Deciding<'_>) -> Result<Vec<MemoEvent>, Infallible> {
        Ok(vec![MemoEvent::Noted(told(cx))])
    }

    fn apply(self, _: &MemoEvent) -> Self {
        self
    }
}

#[tokio::test]
async fn an_aggregate_written_by_hand_decides_with_its_context_too() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::builder(base.path())
        .clock(ManualClock::new(at(9)))
        .open()
        .await?;
    let done = store.get::<Own>("o-1").await?.execute((), ()).await?;
    let told = Told {
        id: "o-1".into(),
        seconds: 9,
        ..Told::default()
    };
    assert_eq!(done.events, [MemoEvent::Noted(told)]);
    Ok(())
}

#[test]
fn without_a_store_a_decision_is_told_what_the_test_says() {
    let told = Told {
        id: "m-1".into(),
        version: 2,
        seconds: 60,
        actor: Some("alice".into()),
        correlation_id: None,
        metadata: Some(json!(1)),
    };
    let context = CommandContext::default()
        .with_actor("alice")
        .with_metadata(json!(1));
    testing::aggregate::<Memo>()
        .id("m-1")
        .given([MemoEvent::Panicked, MemoEvent::Panicked])
        .at(at(60))
        .context(context)
        .when(MemoCommand::Note)
        .then([MemoEvent::Noted(told)]);
    testing::aggregate::<Memo>()
        .when(MemoCommand::Note)
        .then([MemoEvent::Noted(Told::default())]);

    // Who has no context gives none.
    let noted = || Ok(vec![MemoEvent::Noted(Told::default())]);
    assert_eq!(Memo::default().handle(MemoCommand::Note), noted());
    assert_eq!(
        Decider::decide(&Memo::default(), MemoCommand::Note),
        noted()
    );
}
