//! Rules 5, 8 and 9: what is decided on what, and what becomes of it.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use eventfold_es::disk::{CrashImage, FaultyDisk, Operation, RecordingDisk, SystemDisk};
use eventfold_es::prelude::*;
use eventfold_es::{ExecuteError, RunMode};
use eventfold_es_tests::crash::domain::{Fanout, LedgerCommand, Target};
use eventfold_es_tests::crash::{Client, builder, open_on, scratch};
use eventfold_es_tests::gate::GatedDisk;

use crate::common::counter::{Counter, CounterCommand};

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

async fn gated(gate: &GatedDisk, place: &std::path::Path) -> AggregateStore {
    let disk = Arc::new(gate.clone());
    let store = AggregateStore::builder(place)
        .disk(disk)
        .open()
        .await
        .unwrap();
    let command = LedgerCommand::Put { tag: 1, parts: 1 };
    store
        .send("a", command, CommandContext::default())
        .await
        .unwrap();
    store
}

/// A rejection and "nothing to do" are answers about a state: they wait until it is durable.
#[tokio::test]
async fn rule_05_an_answer_without_a_commit_waits_for_what_it_was_decided_on() {
    let (place, gate) = (scratch(), GatedDisk::default());
    let store = gated(&gate, place.path()).await;
    gate.close();
    let send = |command| Box::pin(store.send("a", command, CommandContext::default()));
    let mut put = send(LedgerCommand::Put { tag: 3, parts: 2 });
    assert!(poll(put.as_mut()).is_pending());
    gate.wait_for_sync();
    let mut rejected = send(LedgerCommand::Refuse);
    let mut nothing = send(LedgerCommand::Put { tag: 3, parts: 2 });
    for _ in 0..100 {
        assert!(poll(rejected.as_mut()).is_pending());
        assert!(poll(nothing.as_mut()).is_pending());
        tokio::task::yield_now().await;
    }
    gate.open();
    assert!(matches!(rejected.await, Err(ExecuteError::Domain(_))));
    assert!(nothing.await.unwrap().events.is_empty());
    assert_eq!(put.await.unwrap().version, 3);
}

/// A handle holds an id: the aggregate behind it comes and goes.
#[tokio::test]
async fn rule_08_a_handle_outlives_the_eviction_of_its_aggregate() {
    let place = scratch();
    let disk = FaultyDisk::new(Arc::new(SystemDisk));
    let store = AggregateStore::builder(place.path())
        .disk(Arc::new(disk.clone()))
        .idle_timeout(Duration::ZERO)
        .open()
        .await
        .unwrap();
    let counter = store.get::<Counter>("c").await.unwrap();
    for round in 1..=5 {
        let add = counter.execute(CounterCommand::Add(1), CommandContext::default());
        assert_eq!(add.await.unwrap().version, round);
        // Until it was evicted, and is read from its file again.
        let reads = disk.calls_of(&[Operation::Read]);
        while disk.calls_of(&[Operation::Read]) == reads {
            tokio::time::sleep(Duration::from_millis(1)).await;
            assert_eq!(counter.state().await.unwrap().folded, round);
        }
    }
}

/// What is on its way is not in the stream yet: an aggregate that was evicted with it would be loaded without it, and decide on
/// a state that is behind.
#[tokio::test]
async fn rule_08_an_aggregate_with_pending_commits_stays() {
    for snapshot_every in [0, 1] {
        let (place, gate) = (scratch(), GatedDisk::default());
        let store = AggregateStore::builder(place.path())
            .disk(Arc::new(gate.clone()))
            .snapshot_every(snapshot_every)
            .idle_timeout(Duration::ZERO)
            .open()
            .await
            .unwrap();
        let counter = store.get::<Counter>("c").await.unwrap();
        let add = || Box::pin(counter.execute(CounterCommand::Add(1), CommandContext::default()));
        assert_eq!(add().await.unwrap().version, 1);
        gate.close();
        let mut first = add();
        assert!(poll(first.as_mut()).is_pending());
        gate.wait_for_sync();
        // Whoever waits holds the aggregate; it stays also when nobody does.
        drop(first);
        // Long enough for many sweeps.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let mut second = add();
        // And for it to be loaded, if it has to be.
        for _ in 0..20 {
            assert!(poll(second.as_mut()).is_pending());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        gate.open();
        assert_eq!(second.await.unwrap().version, 3);
        assert_eq!(counter.state().await.unwrap().sum, 3);
    }
}

#[tokio::test]
async fn rule_08_a_panic_discards_what_was_being_decided() {
    let place = scratch();
    let store = AggregateStore::open(place.path()).await.unwrap();
    let counter = store.get::<Counter>("c").await.unwrap();
    let execute = |command| counter.execute(command, CommandContext::default());
    execute(CounterCommand::Add(7)).await.unwrap();
    for command in [CounterCommand::PanicInEvolve, CounterCommand::PanicInDecide] {
        assert!(execute(command).await.is_err());
        let done = execute(CounterCommand::Reject).await;
        assert!(done.unwrap_err().to_string().contains("the sum 7"));
    }
    assert_eq!(execute(CounterCommand::Add(1)).await.unwrap().version, 2);
    assert_eq!(counter.state().await.unwrap().sum, 8);
}

/// One reaction sends four commands to two targets, one of which rejects its: at every moment all of that is there, or none.
#[tokio::test]
async fn rule_09_a_reaction_is_there_as_a_whole_or_not_at_all() {
    let place = scratch();
    let disk = RecordingDisk::new(place.path()).unwrap();
    let store = open_on(&disk, &place.path().join("store"), true, RunMode::OnDemand).await;
    let client = Client::recorded(&store, &disk);
    client.put("a", 2, 2).await.unwrap();
    let begun = disk.len();
    store.run_process_managers().await.unwrap();
    let ended = disk.len();
    drop(client);
    store.close().await.unwrap();
    let recording = disk.recording();
    let mut seen: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for k in begun..=ended {
        for torn in recording.tears(k) {
            let root = place.path().join(format!("killed-{k}-{torn}"));
            let image = CrashImage::killed(&recording.until(k, torn)).unwrap();
            image.materialise(&root).unwrap();
            let store = builder(&root.join("store"), Arc::new(SystemDisk), true);
            let store = store.run_mode(RunMode::OnDemand).open().await.unwrap();
            let mut notes = 0;
            for id in store.list::<Target>().await.unwrap() {
                notes += store.read_events("target", &id).await.unwrap().len();
            }
            let letters = store.dead_letters::<Fanout>().await.unwrap().len();
            *seen.entry((notes, letters)).or_default() += 1;
            store.close().await.unwrap();
        }
    }
    // Per event three notes and a dead letter.
    let all = [(0, 0), (3, 1), (6, 2)];
    let found: Vec<_> = seen.keys().copied().collect();
    assert!(found.iter().all(|pair| all.contains(pair)), "{seen:?}");
    assert!(
        found.contains(&all[0]) && found.contains(&all[2]),
        "{seen:?}"
    );
}
