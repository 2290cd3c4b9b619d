//! Pausing, resuming, redriving and discarding.

use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::store::ProcessManagerReport;
use eventfold_es::{
    Backoff, Correlate, Correlation, EventContext, Failure, FailureAction, HandleFailure,
    Reactions, RunMode,
};
use eventfold_es_tests::TestResult;

use super::tracker::*;
use crate::common::counter::{Counter, CounterCommand, CounterEvent};

#[tokio::test]
async fn a_paused_one_reacts_to_nothing_until_it_is_resumed_also_after_a_restart() -> TestResult {
    for mode in [RunMode::Inline, RunMode::Background, RunMode::OnDemand] {
        let base = tempfile::tempdir()?;
        let clock = clock();
        let store = builder(base.path(), mode, &clock).open().await?;
        add(&store, "a", &[START, ARM]).await?;
        handle(&store).pause().await?;
        let command = CounterCommand::Add(CONTINUE);
        let done = store
            .send("in-a", command, CommandContext::default())
            .await?;
        if mode == RunMode::Inline {
            assert_eq!(done.reactions, Reactions::Paused, "nobody waits for it");
        }
        clock.advance(Duration::from_secs(10));
        store.run_process_managers().await?;
        store.close().await?;
        let store = builder(base.path(), mode, &clock).open().await?;
        store.run_process_managers().await?;
        let status = handle(&store).status().await?;
        assert!(status.is_paused && status.lag >= 1, "{status:?}");
        assert_eq!(arrived(&store, "out-a").await, [START], "{mode:?}");
        handle(&store).resume().await?;
        store.run_process_managers().await?;
        let mut all = arrived(&store, "out-a").await;
        all.sort_unstable();
        assert_eq!(all, [START, CONTINUE, 102], "{mode:?}");
        assert!(!handle(&store).status().await?.is_paused);
        store.close().await?;
    }
    Ok(())
}

#[tokio::test]
async fn dead_letters_are_redriven_once_or_discarded_and_new_ones_are_kept() -> TestResult {
    let base = tempfile::tempdir()?;
    let clock = clock();
    let store = builder(base.path(), RunMode::Inline, &clock).open().await?;
    add(&store, "a", &[START, REJECTED, DEAD]).await?;
    add(&store, "b", &[START, PANICS_THERE]).await?;
    let before = handle(&store).dead_letters().await?;
    assert_eq!(before.len(), 3);
    // They fail again, and say so.
    let again = handle(&store).redrive_all().await?;
    assert_eq!((again.done, again.failed), (0, 3));
    let after = handle(&store).dead_letters().await?;
    let ids = |letters: &[eventfold_es::store::DeadLetterEntry]| {
        letters
            .iter()
            .map(|letter| letter.id.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&before), ids(&after), "in their order");
    assert!(after.iter().all(|letter| letter.attempts.len() == 2));
    assert_eq!(
        store.dead_letters::<Tracker>().await?.len(),
        3,
        "no other line"
    );
    assert_eq!(handle(&store).discard(&after[0].id).await?.done, 1);
    assert_eq!(handle(&store).discard(&after[0].id).await?.done, 0);
    add(&store, "a", &[REJECTED]).await?;
    store.close().await?;
    let store = builder(base.path(), RunMode::Inline, &clock).open().await?;
    let kept = handle(&store).dead_letters().await?;
    assert_eq!(kept.len(), 3);
    let one = handle(&store).redrive("no such letter").await?;
    assert_eq!((one.done, one.failed), (0, 0));
    assert_eq!(handle(&store).discard_all().await?.done, 3);
    assert!(handle(&store).dead_letters().await?.is_empty());
    Ok(())
}

/// A command whose target accepts it after a fix has its effect once, under its own command id.
#[tokio::test]
async fn a_redriven_command_has_its_effect_once() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::builder(base.path())
        .process_manager::<BeforeTheFix>()
        .open()
        .await?;
    store
        .send("in-a", CounterCommand::Add(5), CommandContext::default())
        .await?;
    let letters = store
        .process_manager::<BeforeTheFix>()?
        .dead_letters()
        .await?;
    assert_eq!(letters.len(), 1);
    let command_id = letters[0].command_id.clone();
    store.close().await?;

    // The target that it names is registered now.
    let store = AggregateStore::builder(base.path())
        .process_manager::<BeforeTheFix>()
        .aggregate_type::<crate::common::counter::Counter>()
        .open()
        .await?;
    let handle = store.process_manager::<BeforeTheFix>()?;
    let done = handle.redrive_all().await?;
    assert_eq!((done.done, done.failed), (1, 0));
    assert_eq!(arrived(&store, "late").await, [5]);
    let events = store.read_events("counter", "late").await?;
    assert_eq!(
        events[0].meta.as_ref().unwrap()["command_id"],
        command_id.as_str()
    );
    assert_eq!(handle.redrive_all().await?.done, 0);
    store.close().await?;
    let store = AggregateStore::builder(base.path())
        .process_manager::<BeforeTheFix>()
        .open()
        .await?;
    let report = store.run_process_managers().await?;
    assert_eq!(report, ProcessManagerReport::default());
    assert!(
        store
            .process_manager::<BeforeTheFix>()?
            .dead_letters()
            .await?
            .is_empty()
    );
    assert_eq!(arrived(&store, "late").await, [5]);
    Ok(())
}

/// Sends, by name, to a target that the store may not know.
#[derive(Debug, Default, Serialize, Deserialize)]
struct BeforeTheFix;

impl ProcessManager for BeforeTheFix {
    const NAME: &'static str = "before-the-fix";
    type Envelope = CommandEnvelope;

    fn subscriptions(&self) -> &'static [&'static str] {
        &["counter"]
    }

    fn react(
        &mut self,
        _aggregate_type: &str,
        stream_id: &str,
        event: &RecordedEvent,
    ) -> Result<Vec<CommandEnvelope>, eventfold_es::contract::ReactError> {
        if !stream_id.starts_with("in-") {
            return Ok(Vec::new());
        }
        Ok(vec![CommandEnvelope {
            aggregate_type: "counter".to_owned(),
            instance_id: "late".to_owned(),
            command: serde_json::json!({ "Add": event.data }),
            context: CommandContext::default(),
        }])
    }
}

/// Lets the first failure be a dead letter, and would do something else about any other.
#[process_manager(subscribes = [Counter], dispatches = [Counter], key = String, on_failure)]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Fickle;

impl Correlate<Counter> for Fickle {
    fn correlate(_event: &CounterEvent, cx: &EventContext<'_>) -> Correlation<String> {
        match cx.stream_id().strip_prefix("in-") {
            Some(key) => Correlation::starts_or_continues(key.to_owned()),
            None => Correlation::none(),
        }
    }
}

impl React<Counter> for Fickle {
    fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        assert_ne!(*event, CounterEvent::Added(2), "2 is poison");
        cx.send("out", CounterCommand::Reject);
    }
}

impl HandleFailure for Fickle {
    fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
        if failure.attempt == 1 {
            return FailureAction::DeadLetter;
        }
        match failure.key {
            "skip" => FailureAction::Skip,
            "park" => FailureAction::Park,
            "stop" => FailureAction::Stop,
            "retry" => FailureAction::Retry(Backoff::exponential(Duration::from_secs(1))),
            _ => FailureAction::compensate("sorry", CounterCommand::Add(1)),
        }
    }
}

/// An operator who redrives a letter sees what becomes of it: the policy is not asked.
#[tokio::test]
async fn a_letter_that_fails_again_stays_one_whatever_the_policy_would_say() -> TestResult {
    for (action, number) in ["skip", "park", "stop", "retry", "sorry"]
        .into_iter()
        .flat_map(|action| [(action, 1), (action, 2)])
    {
        let base = tempfile::tempdir()?;
        let open = || {
            AggregateStore::builder(base.path())
                .process_manager::<Fickle>()
                .open()
        };
        let mut store = open().await?;
        let (id, command) = (format!("in-{action}"), CounterCommand::Add(number));
        store.send(&id, command, CommandContext::default()).await?;
        for attempts in 2..4 {
            let fickle = store.process_manager::<Fickle>()?;
            let again = fickle.redrive_all().await?;
            assert_eq!((again.done, again.failed), (0, 1), "{action} {number}");
            let letters = fickle.dead_letters().await?;
            let [letter] = &letters[..] else {
                panic!("{action} {number}: {letters:?}");
            };
            assert_eq!(letter.attempts.len(), attempts);
            let status = fickle.status().await?;
            let elsewhere = (status.skipped, status.retrying, status.instances.parked);
            assert_eq!((elsewhere, status.parked_at), ((0, 0, 0), None), "{action}");
            assert_eq!(arrived(&store, "sorry").await, [0; 0]);
            drop(fickle);
            store.close().await?;
            store = open().await?;
        }
        store.close().await?;
    }
    Ok(())
}
