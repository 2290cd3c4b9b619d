//! Each piece of code of an aggregate, its commands, events and errors panics in turn.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};

use eventfold_es::prelude::*;
use eventfold_es::store::InjectOptions;
use eventfold_es::{ExecuteError, StoreError, TransactionError};
use eventfold_es_tests::TestResult;

use crate::panics::bomb::{arm, touch};
use crate::panics::context;
use crate::panics::mine::{Mine, MineCommand, MineEvent};

/// What comes of a command while a piece of code panics.
enum Comes {
    /// It fails with `Panicked`, and nothing is stored.
    Panicked,
    /// It is done, since what panics is no part of it.
    Done,
    /// The aggregate rejects it.
    Rejected,
}
use Comes::{Done, Panicked, Rejected};

fn panicked<T: std::fmt::Debug>(
    done: Result<T, ExecuteError<crate::panics::mine::Stepped>>,
    code: &str,
) {
    match done {
        Err(ExecuteError::Store(StoreError::Panicked { what, message })) => {
            assert!(message.contains(code), "{message}");
            assert!(
                what.to_lowercase().contains("mine"),
                "{what} names the code"
            );
        }
        Err(other) => panic!("{code}: {other}"),
        Ok(done) => panic!("{code}: {done:?}"),
    }
}

#[tokio::test]
async fn a_panic_anywhere_fails_its_command_only() -> TestResult {
    let cases = [
        ("event", "serialize", Panicked),
        ("event", "deserialize", Panicked),
        ("event", "clone", Panicked),
        ("event", "drop", Done),
        ("state", "evolve", Panicked),
        ("state", "drop", Done),
        ("command", "decide", Panicked),
        ("command", "drop", Panicked),
        ("command", "clone", Done),
        ("error", "drop", Rejected),
    ];
    let base = tempfile::tempdir()?;
    let mut expected = 0;
    let store = AggregateStore::open(base.path()).await?;
    for (of, code, comes) in cases {
        let tag = format!("{of} that panics in {code}");
        let command = |is_armed: bool| {
            let tag = if is_armed { tag.as_str() } else { "" };
            match of {
                "event" => MineCommand::lay(tag, ""),
                "state" => MineCommand::lay("", tag),
                "command" => MineCommand::walk(tag),
                _ => MineCommand::step(tag),
            }
        };
        let mine = store.get::<Mine>("m").await?;
        let other = store.get::<Mine>("other").await?;
        let armed = arm(&tag, code);
        // Alone, and with others before and behind it.
        let alone = mine.execute(command(true), context()).await;
        let (before, among, behind) = tokio::join!(
            mine.execute(MineCommand::walk(""), context()),
            mine.execute(command(true), context()),
            mine.execute(MineCommand::walk(""), context()),
        );
        before?;
        behind?;
        expected += 2;
        other.execute(MineCommand::walk(""), context()).await?;
        for done in [alone, among] {
            match comes {
                Panicked => panicked(done, code),
                Done => {
                    // Whoever gets the events drops them.
                    std::mem::forget(done?);
                    expected += 1;
                }
                Rejected => match done {
                    Err(error @ ExecuteError::Domain(_)) => std::mem::forget(error),
                    other => panic!("{other:?}"),
                },
            }
        }
        let seen = {
            let state = mine.state().await?;
            let seen = state.seen;
            std::mem::forget(state);
            seen
        };
        assert_eq!(seen, expected, "{tag}");
        mine.execute(MineCommand::walk(""), context()).await?;
        expected += 1;
        drop(armed);
        assert_eq!(mine.state().await?.seen, expected, "{tag}");
        assert_eq!(store.read_events("mine", "m").await?.len() as u64, expected);
    }
    let state = store.get::<Mine>("m").await?.state().await?;
    store.close().await?;
    let store = AggregateStore::open(base.path()).await?;
    assert_eq!(store.get::<Mine>("m").await?.state().await?, state);
    Ok(())
}

/// The state is there already: each use of it panics for a while.
#[tokio::test]
async fn a_state_that_panics_fails_what_needs_it_and_stays() -> TestResult {
    let base = tempfile::tempdir()?;
    let open = || {
        AggregateStore::builder(base.path())
            .snapshot_every(1)
            .open()
    };
    let store = open().await?;
    let mine = store.get::<Mine>("m").await?;
    mine.execute(MineCommand::lay("", "the state"), context())
        .await?;
    {
        let _armed = arm("the state", "clone");
        let error = mine.state().await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("the clone of `mine` panicked: clone"),
            "{text}"
        );
    }
    {
        let _armed = arm("the state", "serialize");
        mine.execute(MineCommand::walk(""), context()).await?;
    }
    {
        let _armed = arm("the state", "drop");
        mine.execute(MineCommand::walk(""), context()).await?;
        std::mem::forget(mine.state().await?);
        drop(mine);
        store.close().await?;
    }
    let store = open().await?;
    let mine = store.get::<Mine>("m").await?;
    {
        let _armed = arm("the state", "deserialize");
        assert_eq!(mine.state().await?.seen, 3);
    }
    assert_eq!(
        mine.execute(MineCommand::walk(""), context())
            .await?
            .version,
        4
    );
    Ok(())
}

/// A command that is answered again is dropped undecided, and its answer is the truth.
#[tokio::test]
async fn a_command_that_panics_when_it_is_dropped_is_answered() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let mine = store.get::<Mine>("m").await?;
    let once = context().with_idempotency_key("once");
    let first = mine
        .execute(MineCommand::walk("again"), once.clone())
        .await?;
    let _armed = arm("again", "drop");
    let again = mine
        .execute(MineCommand::walk("again"), once.clone())
        .await?;
    assert_eq!(again, first);
    // So is one that is refused.
    let reserved = context().with_metadata(serde_json::json!({ "depth": 1 }));
    let refused = mine.execute(MineCommand::walk("again"), reserved).await;
    assert!(matches!(
        refused,
        Err(ExecuteError::Store(StoreError::ReservedMetadata { .. }))
    ));
    assert_eq!(mine.state().await?.seen, 1);
    Ok(())
}

#[tokio::test]
async fn an_injected_event_that_panics_is_refused() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let event = serde_json::from_value::<eventfold::Event>(serde_json::json!({
        "type": "Laid", "data": { "event": "injected", "state": "" }, "ts": 0,
    }))?;
    for code in ["deserialize", "clone"] {
        let _armed = arm("injected", code);
        let injected = store
            .inject_event::<Mine>("m", event.clone(), InjectOptions::default())
            .await;
        assert!(
            matches!(injected, Err(StoreError::Panicked { .. })),
            "{injected:?}"
        );
    }
    store
        .inject_event::<Mine>("m", event, InjectOptions::default())
        .await?;
    assert_eq!(store.get::<Mine>("m").await?.state().await?.seen, 1);
    Ok(())
}

/// Whether the next [`Unborn`] panics.
static UNBORN: AtomicBool = AtomicBool::new(false);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum UnbornCommand {
    Live,
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum UnbornEvent {
    Lived,
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unborn {
    lived: u64,
}

impl Default for Unborn {
    fn default() -> Self {
        assert!(!UNBORN.load(Ordering::Relaxed), "no default");
        Self { lived: 0 }
    }
}

impl Decider for Unborn {
    fn decide(&self, _: UnbornCommand) -> Result<Vec<UnbornEvent>, Infallible> {
        Ok(vec![UnbornEvent::Lived])
    }

    fn evolve(&mut self, _: &UnbornEvent) {
        self.lived += 1;
    }
}

#[tokio::test]
async fn a_default_that_panics_fails_the_command() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let unborn = store.get::<Unborn>("u").await?;
    UNBORN.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        let error = unborn
            .execute(UnbornCommand::Live, context())
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("the default of `unborn` panicked: no default"),
            "{text}"
        );
    }
    UNBORN.store(false, Ordering::Relaxed);
    unborn.execute(UnbornCommand::Live, context()).await?;
    UNBORN.store(true, Ordering::Relaxed);
    // What is durable is read again when it can be.
    let _ = unborn.state().await;
    UNBORN.store(false, Ordering::Relaxed);
    assert_eq!(unborn.state().await?.lived, 1);
    Ok(())
}

#[test]
fn what_is_armed_panics() {
    let _armed = arm("a", "b");
    assert!(std::panic::catch_unwind(|| touch("a", "b")).is_err());
    touch("a", "c");
    let _ = MineEvent::Walked;
}

#[tokio::test]
async fn a_panic_fails_its_transaction_as_a_whole() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    for code in ["serialize", "deserialize", "clone"] {
        let _armed = arm("together", code);
        let transaction = store.transaction(()).send("a", MineCommand::walk(""));
        let done = transaction
            .send("b", MineCommand::lay("together", ""))
            .commit()
            .await;
        assert!(
            matches!(
                done,
                Err(TransactionError::Store(StoreError::Panicked { .. }))
            ),
            "{done:?}"
        );
        assert!(!store.get::<Mine>("a").await?.exists().await?, "{code}");
    }
    let transaction = store.transaction(()).send("a", MineCommand::walk(""));
    transaction
        .send("b", MineCommand::lay("together", ""))
        .commit()
        .await?;
    assert_eq!(store.get::<Mine>("b").await?.state().await?.seen, 1);
    Ok(())
}
