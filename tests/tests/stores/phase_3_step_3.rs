//! Phase 3 of the reference design, step 3: dispatch of commands, and the dead-letter log.

use std::fs;
use std::path::Path;

use crate::common::sagas::{ReservationByHand, ReservationSaga, reserve};
use crate::common::shop::{Inventory, Order, place};
use eventfold_es::contract::ReactError;
use eventfold_es::prelude::*;
use eventfold_es::store::ProcessManagerReport;
use eventfold_es::{AggregateStoreBuilder, RunMode};
use eventfold_es_tests::TestResult;
use serde_json::{Value, json};

fn on_demand(base: &Path) -> AggregateStoreBuilder {
    AggregateStore::builder(base).run_mode(RunMode::OnDemand)
}

async fn order(store: &AggregateStore, id: &str, sku: &str, qty: u32) -> TestResult {
    store
        .send(id, place(sku, qty), CommandContext::default())
        .await?;
    Ok(())
}

async fn run(store: &AggregateStore) -> Result<(usize, usize), eventfold_es::StoreError> {
    let ProcessManagerReport {
        dispatched,
        dead_lettered,
        ..
    } = store.run_process_managers().await?;
    Ok((dispatched, dead_lettered))
}

async fn reserved(store: &AggregateStore, sku: &str) -> Result<u32, eventfold_es::Error> {
    let inventory = store.get::<Inventory>(&format!("inv-{sku}")).await?;
    Ok(inventory.state().await?.reserved)
}

fn dead_letter_lines(base: &Path, name: &str) -> Result<Vec<String>, std::io::Error> {
    let path = base
        .join("process_managers")
        .join(name)
        .join("dead_letters.jsonl");
    Ok(fs::read_to_string(path)?
        .lines()
        .map(str::to_owned)
        .collect())
}

/// Answers each order with one envelope of each kind of failure between two that are fine.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Scattershot;

impl ProcessManager for Scattershot {
    const NAME: &'static str = "scattershot";
    type Envelope = CommandEnvelope;

    fn subscriptions(&self) -> &'static [&'static str] {
        &[Order::AGGREGATE_TYPE]
    }

    fn react(
        &mut self,
        _aggregate_type: &str,
        _stream_id: &str,
        _event: &RecordedEvent,
    ) -> Result<Vec<CommandEnvelope>, ReactError> {
        let with = |change: fn(&mut CommandEnvelope)| {
            let mut envelope = reserve("W-1", 1);
            change(&mut envelope);
            envelope
        };
        Ok(vec![
            reserve("W-1", 2),
            with(|envelope| envelope.aggregate_type = "warehouse".to_owned()),
            with(|envelope| envelope.command = json!({ "Reserve": { "qty": "many" } })),
            with(|envelope| envelope.command = json!({ "Reserve": { "qty": 1000 } })),
            with(|envelope| envelope.instance_id.clear()),
            reserve("W-2", 3),
        ])
    }
}

#[tokio::test]
async fn end_to_end_event_in_one_aggregate_dispatches_a_command_to_another() -> TestResult {
    // Declared: the targets are known.
    let base = tempfile::tempdir()?;
    let store = on_demand(base.path())
        .process_manager::<ReservationSaga>()
        .open()
        .await?;
    order(&store, "ord-1", "W-1", 2).await?;
    assert_eq!(reserved(&store, "W-1").await?, 0);
    assert_eq!(run(&store).await?, (1, 0));
    assert_eq!(reserved(&store, "W-1").await?, 2);

    // By hand: the target is registered.
    let base = tempfile::tempdir()?;
    let store = on_demand(base.path())
        .process_manager::<ReservationByHand>()
        .aggregate_type::<Inventory>()
        .open()
        .await?;
    order(&store, "ord-1", "W-1", 2).await?;
    assert_eq!(run(&store).await?, (1, 0));
    assert_eq!(reserved(&store, "W-1").await?, 2);
    let events = store.read_events("inventory", "inv-W-1").await?;
    assert_eq!(events[0].actor.as_deref(), Some("reservation-by-hand"));
    Ok(())
}

#[tokio::test]
async fn failed_dispatch_command_rejected_writes_to_dead_letter_log() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = on_demand(base.path())
        .process_manager::<ReservationSaga>()
        .process_manager::<ReservationByHand>()
        .aggregate_type::<Inventory>()
        .open()
        .await?;
    order(&store, "ord-1", "W-1", 101).await?;
    assert_eq!(run(&store).await?, (0, 2));
    assert_eq!(reserved(&store, "W-1").await?, 0);

    let letters = [
        store.dead_letters::<ReservationSaga>().await?,
        store.dead_letters::<ReservationByHand>().await?,
    ];
    for letters in letters {
        let [letter] = &letters[..] else {
            panic!("{letters:?}");
        };
        assert_eq!(letter.error, "101 pieces are wanted, 100 are left");
        assert_eq!(letter.envelope.aggregate_type, "inventory");
        assert_eq!(letter.envelope.instance_id, "inv-W-1");
        assert_eq!(
            letter.envelope.command,
            json!({ "Reserve": { "qty": 101 } })
        );
        assert!(letter.ts > 1_600_000_000);
    }
    Ok(())
}

/// "Dispatch fails (deserialization error, command rejection, ..)": one dead letter each, and the other commands of the same
/// reaction are executed.
#[tokio::test]
async fn failed_dispatch_of_every_kind_writes_to_dead_letter_log() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = on_demand(base.path())
        .process_manager::<Scattershot>()
        .aggregate_type::<Inventory>()
        .open()
        .await?;
    order(&store, "ord-1", "W-1", 1).await?;
    assert_eq!(run(&store).await?, (2, 4));
    assert_eq!(reserved(&store, "W-1").await?, 2);
    assert_eq!(reserved(&store, "W-2").await?, 3);

    let letters = store.dead_letters::<Scattershot>().await?;
    let errors: Vec<_> = letters.iter().map(|letter| letter.error.as_str()).collect();
    let expected = [
        "unknown aggregate type `warehouse`: register it with `.aggregate_type::<..>()`",
        "the command does not fit `inventory`: invalid type: string \"many\", expected u32",
        "1000 pieces are wanted, 98 are left",
        "the id \"\" of `inventory` cannot be used: it is empty",
    ];
    assert_eq!(errors, expected);
    // As they were sent, to be corrected and sent again.
    assert_eq!(letters[0].envelope.aggregate_type, "warehouse");
    assert_eq!(
        letters[1].envelope.command,
        json!({ "Reserve": { "qty": "many" } })
    );
    assert_eq!(letters[3].envelope.instance_id, "");
    Ok(())
}

/// Registration is for erased envelopes: a declared process manager brings its targets along.
#[tokio::test]
async fn unregistered_target_of_an_erased_envelope_writes_to_dead_letter_log() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = on_demand(base.path())
        .process_manager::<ReservationByHand>()
        .open()
        .await?;
    order(&store, "ord-1", "W-1", 2).await?;
    assert_eq!(run(&store).await?, (0, 1));
    let letters = store.dead_letters::<ReservationByHand>().await?;
    assert_eq!(
        letters[0].error,
        "unknown aggregate type `inventory`: register it with `.aggregate_type::<..>()`"
    );
    store.close().await?;

    // Beside a declared process manager with the same target, the erased one finds it too.
    let base = tempfile::tempdir()?;
    let store = on_demand(base.path())
        .process_manager::<ReservationByHand>()
        .process_manager::<ReservationSaga>()
        .open()
        .await?;
    order(&store, "ord-1", "W-1", 2).await?;
    assert_eq!(run(&store).await?, (2, 0));
    assert_eq!(reserved(&store, "W-1").await?, 4);
    Ok(())
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn dead_letter_log_is_human_readable_jsonl() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = on_demand(base.path())
        .process_manager::<Scattershot>()
        .aggregate_type::<Inventory>()
        .open()
        .await?;
    order(&store, "ord-1", "W-1", 1).await?;
    order(&store, "ord-2", "W-1", 1).await?;
    assert_eq!(run(&store).await?, (4, 8));
    let letters = store.dead_letters::<Scattershot>().await?;
    let lines = dead_letter_lines(base.path(), Scattershot::NAME)?;
    assert_eq!((letters.len(), lines.len()), (8, 8));
    for (line, letter) in lines.iter().zip(&letters) {
        let fields: serde_json::Map<String, Value> = serde_json::from_str(line)?;
        let keys: Vec<_> = fields.keys().map(String::as_str).collect();
        assert_eq!(keys, ["envelope", "error", "ts"], "exactly these");
        assert!(fields["error"].is_string() && fields["ts"].is_u64());
        let envelope: CommandEnvelope = serde_json::from_value(fields["envelope"].clone())?;
        assert_eq!(envelope, letter.envelope);
        assert_eq!(fields["error"], letter.error.as_str());
    }
    // What a person greps for.
    assert!(lines[2].contains(r#""command":{"Reserve":{"qty":1000}}"#));
    assert!(lines[2].contains(r#""error":"1000 pieces are wanted, 98 are left""#));
    assert!(lines[2].starts_with(r#"{"envelope":{"aggregate_type":"inventory","instance_id":"#));
    Ok(())
}

/// Append-only: what is there stays, byte for byte, and new lines come after it, over restarts too.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn dead_letter_log_is_append_only() -> TestResult {
    let base = tempfile::tempdir()?;
    let mut before = Vec::new();
    for round in 1..=3 {
        let store = on_demand(base.path())
            .process_manager::<ReservationSaga>()
            .open()
            .await?;
        order(&store, &format!("ord-{round}"), "W-1", 100 + round).await?;
        assert_eq!(run(&store).await?, (0, 1));
        store.close().await?;
        let lines = dead_letter_lines(base.path(), ReservationSaga::NAME)?;
        assert_eq!(lines.len(), round as usize);
        assert!(lines.starts_with(&before));
        before = lines;
    }
    Ok(())
}

#[tokio::test]
async fn process_manager_does_not_redispatch_on_subsequent_catch_up() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = on_demand(base.path())
        .process_manager::<ReservationSaga>()
        .process_manager::<Scattershot>()
        .aggregate_type::<Inventory>()
        .open()
        .await?;
    order(&store, "ord-1", "W-9", 2).await?;
    assert_eq!(run(&store).await?, (3, 4));
    for _ in 0..3 {
        assert_eq!(run(&store).await?, (0, 0));
    }
    // Nor when there are new events, of the same stream and of others.
    order(&store, "ord-2", "W-9", 3).await?;
    assert_eq!(run(&store).await?, (3, 4));
    assert_eq!(reserved(&store, "W-9").await?, 5);
    assert_eq!(store.dead_letters::<Scattershot>().await?.len(), 8);
    assert_eq!(store.read_events("inventory", "inv-W-9").await?.len(), 2);
    Ok(())
}
