//! Pausing, resuming, redriving and discarding.

use eventfold_es::prelude::*;
use eventfold_es::{ProcessManagerReport, Reactions, RunMode};
use eventfold_es_tests::TestResult;

use super::common::counter::CounterCommand;
use super::tracker::*;

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
        clock.advance(std::time::Duration::from_secs(10));
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
    assert_eq!((again.executed, again.failed), (0, 3));
    let after = handle(&store).dead_letters().await?;
    let ids = |letters: &[eventfold_es::DeadLetterEntry]| {
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
    assert!(handle(&store).discard(&after[0].id).await?);
    assert!(!handle(&store).discard(&after[0].id).await?);
    add(&store, "a", &[REJECTED]).await?;
    store.close().await?;
    let store = builder(base.path(), RunMode::Inline, &clock).open().await?;
    let kept = handle(&store).dead_letters().await?;
    assert_eq!(kept.len(), 3);
    let one = handle(&store).redrive("no such letter").await?;
    assert_eq!((one.executed, one.failed), (0, 0));
    assert_eq!(handle(&store).discard_all().await?, 3);
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
        .aggregate_type::<super::common::counter::Counter>()
        .open()
        .await?;
    let handle = store.process_manager::<BeforeTheFix>()?;
    let done = handle.redrive_all().await?;
    assert_eq!((done.executed, done.failed), (1, 0));
    assert_eq!(arrived(&store, "late").await, [5]);
    let events = store.read_events("counter", "late").await?;
    assert_eq!(
        events[0].meta.as_ref().unwrap()["command_id"],
        command_id.as_str()
    );
    assert_eq!(handle.redrive_all().await?.executed, 0);
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
    ) -> Result<Vec<CommandEnvelope>, eventfold_es::ReactError> {
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
