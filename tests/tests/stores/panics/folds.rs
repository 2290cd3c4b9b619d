//! Panics in the decision and in the fold of an aggregate, with commands in flight before and behind.

use std::convert::Infallible;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::common::counter::{Counter, CounterCommand};
use eventfold_es::prelude::*;
use eventfold_es_tests::TestResult;

use crate::panics::context;

#[tokio::test]
async fn a_panic_fails_its_command_only() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let counter = store.get::<Counter>("c").await?;
    counter.execute(CounterCommand::Add(1), context()).await?;
    let panics = [
        (
            CounterCommand::PanicInDecide,
            "the decision of `counter` panicked: no idea",
        ),
        (
            CounterCommand::PanicInEvolve,
            "the fold of `counter` panicked: cannot be folded",
        ),
    ];
    let mut sum = 1;
    for (command, text) in panics {
        // Alone, and with others in flight before and behind it.
        let failed = counter
            .execute(command.clone(), context())
            .await
            .unwrap_err();
        assert_eq!(failed.to_string(), text);
        let (before, failed, behind) = tokio::join!(
            counter.execute(CounterCommand::Add(1), context()),
            counter.execute(command, context()),
            counter.execute(CounterCommand::Add(1), context()),
        );
        assert_eq!(failed.unwrap_err().to_string(), text);
        sum += 2;
        assert_eq!((before?.version, behind?.version), (sum - 1, sum));
        assert_eq!(
            counter.state().await?,
            Counter {
                sum: sum as i64,
                folded: sum
            }
        );
    }
    let events = store.read_events("counter", "c").await?;
    assert_eq!(events.len() as u64, sum, "nothing of what failed");
    Ok(())
}

/// After how many folds of a [`Fuse`] the next one panics.
static FOLDS: AtomicI64 = AtomicI64::new(i64::MAX);

#[derive(Debug, Clone, Serialize, Deserialize)]
enum FuseCommand {
    Light,
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
enum FuseEvent {
    Lit,
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Fuse {
    lit: u64,
}

impl Decider for Fuse {
    fn decide(&self, _: FuseCommand) -> Result<Vec<FuseEvent>, Infallible> {
        Ok(vec![FuseEvent::Lit])
    }

    fn evolve(&mut self, _: &FuseEvent) {
        assert!(FOLDS.fetch_sub(1, Ordering::Relaxed) > 0, "broken");
        self.lit += 1;
    }
}

/// The fold of what is already durable may panic as well, once or for a while: the state is read from the stream again.
#[tokio::test]
async fn a_panic_in_the_fold_of_durable_events_loses_nothing() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    let fuse = store.get::<Fuse>("f").await?;
    for round in 1..=3 {
        for is_read_first in [false, true] {
            // The fold that the command is decided with works; that of what is durable then does not.
            FOLDS.store(1, Ordering::Relaxed);
            fuse.execute(FuseCommand::Light, context()).await?;
            for _ in 0..round {
                let error = fuse.state().await.unwrap_err();
                let text = error.to_string();
                assert!(
                    text.contains("the state of `f` of `fuse` cannot be read"),
                    "{text}"
                );
                assert!(
                    text.contains("the fold of `fuse` panicked: broken"),
                    "{text}"
                );
            }
            FOLDS.store(i64::MAX, Ordering::Relaxed);
            if is_read_first {
                assert_eq!(fuse.state().await?.lit, 4 * round - 1);
            }
            let done = fuse.execute(FuseCommand::Light, context()).await?;
            assert_eq!(done.version, 4 * round - 2 * u64::from(!is_read_first));
        }
    }
    assert_eq!(fuse.state().await?.lit, 12);
    Ok(())
}
