//! What a command says of the reactions that it waited for.

use eventfold_es::prelude::*;
use eventfold_es::{Reactions, RunMode};
use eventfold_es_tests::TestResult;

use super::failures::broken;
use super::tracker::*;
use crate::common::counter::{Counter, CounterCommand, CounterEvent};

/// Sends what arrives at `chain-<key>` on to `in-<key>`.
#[process_manager(subscribes = [Counter], dispatches = [Counter])]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Relay;

impl React<Counter> for Relay {
    fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        if let CounterEvent::Added(number) = event
            && let Some(key) = cx.stream_id().strip_prefix("chain-")
        {
            let target = format!("in-{key}");
            cx.send(target, CounterCommand::Add(*number));
        }
    }
}

/// What comes of one number, and how.
async fn outcome(store: &AggregateStore, id: &str, number: i64) -> Reactions {
    let command = CounterCommand::Add(number);
    let done = store.send(id, command, CommandContext::default()).await;
    done.expect("it is accepted").reactions
}

#[tokio::test]
async fn it_tells_what_is_done_from_what_is_not_along_any_chain() -> TestResult {
    for prefix in ["in", "chain"] {
        let _guard = broken().await;
        let base = tempfile::tempdir()?;
        let clock = clock();
        let store = builder(base.path(), RunMode::Inline, &clock)
            .process_manager::<Relay>()
            .open()
            .await?;
        let of =
            async |key: &str, number| outcome(&store, &format!("{prefix}-{key}"), number).await;
        for key in ["a", "b", "c", "d"] {
            assert_eq!(of(key, START).await, Reactions::Done);
        }
        for done in [REJECTED, SKIP, COMPENSATE, QUIET, NONE, ARM] {
            assert_eq!(of("a", done).await, Reactions::Done, "{done}");
        }
        // A command that waits holds up nothing behind it.
        assert_eq!(of("a", RETRY).await, Reactions::Retrying);
        assert_eq!(of("a", CONTINUE).await, Reactions::Done);
        // Parked now, or before.
        assert_eq!(of("a", PARK).await, Reactions::Parked);
        assert_eq!(of("a", CONTINUE).await, Reactions::Parked);
        assert_eq!(of("b", POISON).await, Reactions::Parked);
        assert_eq!(of("b", CONTINUE).await, Reactions::Parked);
        assert_eq!(of("c", CONTINUE).await, Reactions::Done);
        // One of three.
        assert_eq!(of("x", SEVERAL).await, Reactions::Parked);
        assert_eq!(of("d", UNREADABLE).await, Reactions::Parked);
        assert_eq!(of("d", CONTINUE).await, Reactions::Parked);
        assert_eq!(of("c", COMPENSATE_IN_VAIN).await, Reactions::Parked);
        handle(&store).discard_parked("c").await?;
        assert_eq!(of("c", CONTINUE).await, Reactions::Done);

        handle(&store).pause().await?;
        assert_eq!(of("c", CONTINUE).await, Reactions::Paused);
        handle(&store).resume().await?;
        store.run_process_managers().await?;
        assert_eq!(of("c", CONTINUE).await, Reactions::Done);

        assert_eq!(of("c", STOP).await, Reactions::Stopped);
        assert_eq!(of("c", CONTINUE).await, Reactions::Stopped);
        store.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn nobody_waits_in_other_modes() -> TestResult {
    let base = tempfile::tempdir()?;
    for mode in [RunMode::Background, RunMode::OnDemand] {
        let store = builder(base.path(), mode, &clock()).open().await?;
        assert_eq!(outcome(&store, "in-a", PARK).await, Reactions::NotAwaited);
        store.close().await?;
    }
    Ok(())
}
