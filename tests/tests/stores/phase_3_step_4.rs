//! Phase 3 of the reference design, step 4: process managers in the builder and the store.

use std::path::Path;

use crate::common::sagas::{ReservationByHand, ReservationSaga};
use crate::common::shop::{Inventory, Order, OrderCommand, OrderEvent, place};
use eventfold_es::prelude::*;
use eventfold_es::store::ProcessManagerReport;
use eventfold_es::{AggregateStoreBuilder, RunMode};
use eventfold_es_tests::TestResult;

/// Confirms what is placed, in the stream that it subscribes to.
#[process_manager(subscribes = [Order], dispatches = [Order])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct ConfirmationSaga;

impl React<Order> for ConfirmationSaga {
    fn react(&mut self, event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
        if let OrderEvent::Placed { .. } = event {
            cx.send(cx.stream_id(), OrderCommand::Confirm);
        }
    }
}

const MODES: [RunMode; 3] = [RunMode::Inline, RunMode::Background, RunMode::OnDemand];

fn builder(base: &Path, mode: RunMode) -> AggregateStoreBuilder {
    AggregateStore::builder(base)
        .run_mode(mode)
        .process_manager::<ReservationSaga>()
        .process_manager::<ReservationByHand>()
        .process_manager::<ConfirmationSaga>()
        .aggregate_type::<Inventory>()
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

#[tokio::test]
async fn full_saga_round_trip_order_placed_reservation_saga_reserve_inventory() -> TestResult {
    for mode in MODES {
        let base = tempfile::tempdir()?;
        let store = AggregateStore::builder(base.path())
            .run_mode(mode)
            .process_manager::<ReservationSaga>()
            .open()
            .await?;
        let order = store.get::<Order>("ord-1").await?;
        let context = CommandContext::default().with_correlation_id("req-7");
        let placed = order.execute(place("W-1", 2), context).await?;
        assert_eq!(placed.version, 1);
        assert_eq!(run(&store).await?, (1, 0), "{mode:?}");

        let inventory = store.get::<Inventory>("inv-W-1").await?;
        assert_eq!(inventory.state().await?, Inventory { reserved: 2 });
        let events = store.read_events("inventory", "inv-W-1").await?;
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].event_type, "Reserved");
        let meta = events[0].meta.as_ref();
        assert_eq!(meta.unwrap()["correlation_id"], "req-7", "it travels along");
    }
    Ok(())
}

#[tokio::test]
async fn multiple_process_managers_coexist() -> TestResult {
    for mode in MODES {
        let base = tempfile::tempdir()?;
        let store = builder(base.path(), mode).open().await?;
        let order = store.get::<Order>("ord-1").await?;
        order
            .execute(place("W-1", 2), CommandContext::default())
            .await?;
        order
            .execute(OrderCommand::Confirm, CommandContext::default())
            .await?;
        // Two reservations, and one confirmation, which may come after the command's own and then finds nothing to do.
        assert_eq!(run(&store).await?, (3, 0), "{mode:?}");
        assert_eq!(reserved(&store, "W-1").await?, 4);
        assert!(order.state().await?.confirmed);
        assert_eq!(store.read_events("order", "ord-1").await?.len(), 2);
        let names: Vec<_> = store
            .health()
            .await
            .process_managers
            .into_iter()
            .map(|status| status.name)
            .collect();
        let registered = [
            ReservationSaga::NAME,
            ReservationByHand::NAME,
            ConfirmationSaga::NAME,
        ];
        assert_eq!(names, registered, "in the order of registration");
    }
    Ok(())
}

/// A dead letter of one is not one of the others.
#[tokio::test]
async fn multiple_process_managers_have_separate_dead_letters() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = builder(base.path(), RunMode::Inline).open().await?;
    let context = CommandContext::default;
    // The first reservation is accepted, the second finds 40 left.
    store.send("ord-1", place("W-1", 60), context()).await?;
    assert_eq!(run(&store).await?, (2, 1));
    let letters = store.dead_letters::<ReservationSaga>().await?.len()
        + store.dead_letters::<ReservationByHand>().await?.len();
    assert_eq!(letters, 1);
    assert!(store.dead_letters::<ConfirmationSaga>().await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn run_process_managers_is_idempotent_when_no_new_events_exist() -> TestResult {
    for mode in MODES {
        let base = tempfile::tempdir()?;
        let store = builder(base.path(), mode).open().await?;
        assert_eq!(run(&store).await?, (0, 0), "nothing at all");
        for (id, qty) in [("ord-1", 1), ("ord-2", 101)] {
            store
                .send(id, place("W-1", qty), CommandContext::default())
                .await?;
        }
        assert_eq!(run(&store).await?, (4, 2), "{mode:?}");
        let streams = store.list_streams(None).await?;
        for _ in 0..3 {
            assert_eq!(run(&store).await?, (0, 0), "{mode:?}");
        }
        assert_eq!(reserved(&store, "W-1").await?, 2);
        assert_eq!(store.list_streams(None).await?, streams);
        assert_eq!(store.dead_letters::<ReservationSaga>().await?.len(), 1);
    }
    Ok(())
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn store_restart_recovers_process_manager_state_without_duplicate_dispatches() -> TestResult {
    for mode in MODES {
        let base = tempfile::tempdir()?;
        for round in 1..=3 {
            let store = builder(base.path(), mode).open().await?;
            assert_eq!(run(&store).await?, (0, 0), "{mode:?}, round {round}");
            store
                .send(
                    &format!("ord-{round}"),
                    place("W-1", 3),
                    CommandContext::default(),
                )
                .await?;
            assert_eq!(run(&store).await?, (3, 0), "{mode:?}, round {round}");
            assert_eq!(reserved(&store, "W-1").await?, 6 * round);
            if round == 2 {
                // Dropped instead of closed: the next round waits for it.
                drop(store);
            } else {
                store.close().await?;
            }
        }
        let saved = base
            .path()
            .join("process_managers/reservation-saga/checkpoint.json");
        let saved: serde_json::Value = serde_json::from_slice(&std::fs::read(saved)?)?;
        assert_eq!(saved["content"]["state"]["placed"], 3);
    }
    Ok(())
}

/// What was not reacted to before the restart is reacted to after it, once.
#[tokio::test]
async fn store_restart_continues_with_events_that_nobody_reacted_to() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    for number in 1..=4 {
        store
            .send(
                &format!("ord-{number}"),
                place("W-1", 1),
                CommandContext::default(),
            )
            .await?;
    }
    store.close().await?;
    for expected in [(12, 0), (0, 0)] {
        let store = builder(base.path(), RunMode::Inline).open().await?;
        assert_eq!(run(&store).await?, expected);
        assert_eq!(reserved(&store, "W-1").await?, 8);
        store.close().await?;
    }
    Ok(())
}
