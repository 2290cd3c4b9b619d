//! Phase 3 of the reference design, step 2: persistence and catch-up of process managers.
//!
//! There is no catch-up to be called on its own: what it produces is seen in what is dispatched, in an `OnDemand` store.

use std::fs;
use std::path::Path;

use crate::common::sagas::{ReservationByHand, ReservationSaga, reserve};
use crate::common::shop::{Inventory, OrderCommand, place};
use eventfold_es::contract::ReactError;
use eventfold_es::prelude::*;
use eventfold_es::store::ProcessManagerReport;
use eventfold_es::{AggregateStoreBuilder, RunMode};
use eventfold_es_tests::TestResult;

fn on_demand(base: &Path) -> AggregateStoreBuilder {
    AggregateStore::builder(base)
        .run_mode(RunMode::OnDemand)
        .aggregate_type::<Inventory>()
}

fn report(dispatched: usize, dead_lettered: usize) -> ProcessManagerReport {
    let mut report = ProcessManagerReport::default();
    report.dispatched = dispatched;
    report.dead_lettered = dead_lettered;
    report
}

/// Nothing reacts between two runs, so each report counts what one run did.
async fn run(store: &AggregateStore) -> Result<ProcessManagerReport, eventfold_es::StoreError> {
    store.run_process_managers().await
}

async fn order(store: &AggregateStore, id: &str, sku: &str, qty: u32) -> TestResult {
    store
        .send(id, place(sku, qty), CommandContext::default())
        .await?;
    Ok(())
}

async fn reserved(store: &AggregateStore, sku: &str) -> Result<u32, eventfold_es::Error> {
    let inventory = store.get::<Inventory>(&format!("inv-{sku}")).await?;
    Ok(inventory.state().await?.reserved)
}

fn checkpoint(base: &Path, name: &str) -> Result<serde_json::Value, Box<dyn std::error::Error>> {
    let path = base
        .join("process_managers")
        .join(name)
        .join("checkpoint.json");
    let stored: serde_json::Value = serde_json::from_slice(&fs::read(path)?)?;
    Ok(stored["content"].clone())
}

/// The same as [`ReservationByHand`] under a name that the store has not seen.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Renamed(ReservationByHand);

impl ProcessManager for Renamed {
    const NAME: &'static str = "reservation-renamed";
    type Envelope = CommandEnvelope;

    fn subscriptions(&self) -> &'static [&'static str] {
        self.0.subscriptions()
    }

    fn react(
        &mut self,
        aggregate_type: &str,
        stream_id: &str,
        event: &RecordedEvent,
    ) -> Result<Vec<CommandEnvelope>, ReactError> {
        self.0.react(aggregate_type, stream_id, event)
    }
}

/// Sends each command to an aggregate type that nobody registered, so that the envelopes come back as dead letters.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Collector(ReservationByHand);

impl ProcessManager for Collector {
    const NAME: &'static str = "collector";
    type Envelope = CommandEnvelope;

    fn subscriptions(&self) -> &'static [&'static str] {
        self.0.subscriptions()
    }

    fn react(
        &mut self,
        aggregate_type: &str,
        stream_id: &str,
        event: &RecordedEvent,
    ) -> Result<Vec<CommandEnvelope>, ReactError> {
        let mut envelopes = self.0.react(aggregate_type, stream_id, event)?;
        for envelope in &mut envelopes {
            envelope.aggregate_type = "nobody".to_owned();
        }
        Ok(envelopes)
    }
}

#[tokio::test]
async fn catch_up_produces_the_expected_command_envelopes() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = on_demand(base.path())
        .process_manager::<Collector>()
        .open()
        .await?;
    for (id, sku, qty) in [("a", "W-1", 2), ("b", "W-2", 3), ("c", "W-1", 4)] {
        order(&store, id, sku, qty).await?;
        store
            .send(id, OrderCommand::Confirm, CommandContext::default())
            .await?;
    }
    assert_eq!(run(&store).await?, report(0, 3));
    let letters = store.dead_letters::<Collector>().await?;
    let sent: Vec<_> = letters.into_iter().map(|letter| letter.envelope).collect();
    let expected = [("W-1", 2), ("W-2", 3), ("W-1", 4)].map(|(sku, qty)| CommandEnvelope {
        aggregate_type: "nobody".to_owned(),
        ..reserve(sku, qty)
    });
    assert_eq!(sent, expected);
    Ok(())
}

#[tokio::test]
async fn cursors_advance_and_rerunning_catch_up_does_not_reemit_old_envelopes() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = on_demand(base.path())
        .process_manager::<ReservationSaga>()
        .process_manager::<ReservationByHand>()
        .open()
        .await?;
    order(&store, "a", "W-1", 2).await?;
    let before = store.health().await.process_managers;
    assert!(
        before
            .iter()
            .all(|status| (status.position, status.lag) == (0, 1)),
        "{before:?}"
    );
    assert_eq!(run(&store).await?, report(2, 0));
    assert_eq!(reserved(&store, "W-1").await?, 4);
    let after = store.health().await.process_managers;
    assert!(after.iter().all(|status| status.position >= 1), "{after:?}");

    assert_eq!(run(&store).await?, report(0, 0));
    assert_eq!(reserved(&store, "W-1").await?, 4);

    // Only what is new.
    order(&store, "b", "W-1", 5).await?;
    assert_eq!(run(&store).await?, report(2, 0));
    assert_eq!(reserved(&store, "W-1").await?, 14);
    Ok(())
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn checkpoint_persists_and_restores() -> TestResult {
    let base = tempfile::tempdir()?;
    let builder = || {
        on_demand(base.path())
            .process_manager::<ReservationSaga>()
            .process_manager::<ReservationByHand>()
    };
    let store = builder().open().await?;
    order(&store, "a", "W-1", 2).await?;
    store
        .send("a", OrderCommand::Confirm, CommandContext::default())
        .await?;
    assert_eq!(run(&store).await?, report(2, 0));
    let positions = store.health().await.process_managers;
    store.close().await?;
    for name in [ReservationSaga::NAME, ReservationByHand::NAME] {
        let saved = checkpoint(base.path(), name)?;
        assert_eq!(
            saved["state"],
            serde_json::json!({ "placed": 1 }),
            "{name}: {saved}"
        );
        assert!(saved["position"].as_u64() >= Some(2), "{name}: {saved}");
    }

    let store = builder().open().await?;
    let restored = store.health().await.process_managers;
    for (restored, before) in restored.iter().zip(&positions) {
        assert!(
            restored.position >= 1 && restored.parked_at.is_none(),
            "{restored:?}"
        );
        assert_eq!(restored.name, before.name);
    }
    assert_eq!(run(&store).await?, report(0, 0));
    order(&store, "b", "W-1", 3).await?;
    assert_eq!(run(&store).await?, report(2, 0));
    store.close().await?;
    // The state went on from what was restored.
    for name in [ReservationSaga::NAME, ReservationByHand::NAME] {
        assert_eq!(
            checkpoint(base.path(), name)?["state"],
            serde_json::json!({ "placed": 2 })
        );
    }
    Ok(())
}

/// This milestone has no public rebuild of a process manager: replaying its reactions would dispatch everything again. The
/// nearest thing is a process manager under a name that the store has not seen: it replays all events, in order.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn rebuild_replays_all_events() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = on_demand(base.path())
        .process_manager::<ReservationByHand>()
        .open()
        .await?;
    for number in 1..=5 {
        order(&store, &format!("ord-{number}"), "W-1", number).await?;
    }
    assert_eq!(run(&store).await?, report(5, 0));
    store.close().await?;

    let store = on_demand(base.path())
        .process_manager::<ReservationByHand>()
        .process_manager::<Renamed>()
        .open()
        .await?;
    assert_eq!(run(&store).await?, report(5, 0));
    assert_eq!(reserved(&store, "W-1").await?, 30);
    store.close().await?;
    let rebuilt = checkpoint(base.path(), Renamed::NAME)?;
    assert_eq!(
        rebuilt["state"],
        checkpoint(base.path(), ReservationByHand::NAME)?["state"]
    );
    Ok(())
}

/// The other half of a rebuild: a checkpoint that is lost or damaged is derived from the journal again, which holds the
/// progress beside the effects, and so dispatches nothing twice.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn rebuild_of_a_lost_checkpoint_dispatches_nothing_again() -> TestResult {
    let damages: [fn(&Path) -> std::io::Result<()>; 4] = [
        |path| fs::remove_file(path),
        |path| fs::write(path, ""),
        |path| {
            let bytes = fs::read(path)?;
            fs::write(path, &bytes[..bytes.len() / 2])
        },
        |path| {
            let text = fs::read_to_string(path)?;
            fs::write(path, text.replace("\"placed\":1", "\"placed\":0"))
        },
    ];
    for damage in damages {
        let base = tempfile::tempdir()?;
        let builder = || on_demand(base.path()).process_manager::<ReservationByHand>();
        let store = builder().open().await?;
        order(&store, "a", "W-1", 2).await?;
        assert_eq!(run(&store).await?, report(1, 0));
        store.close().await?;
        let saved = base
            .path()
            .join("process_managers/reservation-by-hand/checkpoint.json");
        damage(&saved)?;

        let store = builder().open().await?;
        assert_eq!(run(&store).await?, report(0, 0));
        assert_eq!(reserved(&store, "W-1").await?, 2);
        order(&store, "b", "W-1", 3).await?;
        assert_eq!(run(&store).await?, report(1, 0));
        store.close().await?;
        let state = checkpoint(base.path(), ReservationByHand::NAME)?["state"].clone();
        assert_eq!(state, serde_json::json!({ "placed": 2 }));
    }
    Ok(())
}
