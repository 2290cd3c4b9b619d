//! Scenario 23: random stops, failures and events; exactly once, and in order.

use std::sync::Arc;

use eventfold_es::disk::{CrashImage, RecordingDisk, SplitMix64, Survival};
use eventfold_es::prelude::*;
use eventfold_es::testing::MemoryDisk;
use eventfold_es::{Durability, RunMode};

use crate::domain::{
    OrderEvent, Saga, Tell, clock, continued, exactly_once, fanned, finished, started, with_saga,
};

const SEEDS: u64 = 1000;
const KEYS: [&str; 3] = ["a", "b", "c"];

fn event(random: &mut SplitMix64, number: usize) -> OrderEvent {
    let key = KEYS[random.below(KEYS.len())];
    match random.below(8) {
        0..=2 => started(key),
        3..=5 => continued(key, &number.to_string()),
        6 => finished(key),
        _ => fanned(&KEYS[random.below(KEYS.len())..]),
    }
}

/// A life of a store: some runs, each of which ends with a close, a kill or a power loss.
async fn live(seed: u64) {
    let mut random = SplitMix64::new(seed);
    let clock = clock();
    let modes = [RunMode::Inline, RunMode::Background, RunMode::OnDemand];
    let mut image = CrashImage::default();
    // What was acknowledged before the last crash has to be there after it.
    let mut acknowledged = 0;
    for run in 0..3 {
        let memory = MemoryDisk::holding(&image).unwrap();
        let root = memory.root().to_owned();
        let disk = RecordingDisk::on_image(Arc::new(memory), &root, &image).unwrap();
        let mode = modes[random.below(modes.len())];
        let builder = AggregateStore::builder(&root).disk(Arc::new(disk.clone()));
        let store = with_saga(builder, &clock, mode)
            .durability(Durability::Sync)
            .open()
            .await
            .unwrap_or_else(|error| panic!("seed {seed}, run {run}: {error}"));
        let before = store.projection::<crate::domain::Told>().await.unwrap();
        assert!(
            before.events.len() >= acknowledged,
            "seed {seed}, run {run}"
        );
        let count = 1 + random.below(8);
        for number in 0..count {
            let told = Tell(event(&mut random, 10 * run + number));
            store
                .send("orders", told, CommandContext::default())
                .await
                .unwrap();
            if random.chance(1) {
                store.run_process_managers().await.unwrap();
            }
            if random.chance(1) {
                let saga = store.process_manager::<Saga>().unwrap();
                saga.pause().await.unwrap();
                saga.resume().await.unwrap();
            }
        }
        acknowledged = before.events.len() + count;
        drop(before);
        let recording = disk.recording();
        store.close().await.unwrap();
        let crashed = match random.below(4) {
            0 => Ok(CrashImage::killed(&disk.recording())),
            1 => Ok(CrashImage::killed(&recording)),
            2 => Ok(CrashImage::power_loss(
                &recording,
                &Survival::Random(random.next_u64()),
            )),
            _ => {
                // In the middle of it: not everything is acknowledged then.
                let span = recording.len() + 1 - recording.start();
                let k = recording.start() + random.below(span);
                Err(CrashImage::killed(&recording.until(k, 0)))
            }
        };
        image = match crashed {
            Ok(image) => image.unwrap(),
            Err(image) => {
                acknowledged = 0;
                image.unwrap()
            }
        };
    }
    let memory = MemoryDisk::holding(&image).unwrap();
    let store = with_saga(memory.builder(), &clock, RunMode::OnDemand)
        .open()
        .await;
    let store = store.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    // The crash may have come while it was paused, and it still is then.
    let saga = store.process_manager::<Saga>().unwrap();
    saga.resume().await.unwrap();
    store.run_process_managers().await.unwrap();
    let events = exactly_once(&store).await;
    assert!(events.len() >= acknowledged, "seed {seed}");
    store.close().await.unwrap();
}

#[test]
fn scenario_23_seeded_chaos() {
    let workers = 4;
    let lives = (0..workers).map(|worker| {
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            for seed in (worker..SEEDS).step_by(workers as usize) {
                let lived = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    runtime.block_on(live(seed));
                }));
                if lived.is_err() {
                    panic!("seed {seed}");
                }
            }
        })
    });
    let lives: Vec<_> = lives.collect();
    let failed = lives.into_iter().filter_map(|life| life.join().err());
    let failed: Vec<_> = failed
        .map(|payload| {
            payload
                .downcast::<String>()
                .map(|text| *text)
                .unwrap_or_default()
        })
        .collect();
    assert!(failed.is_empty(), "{failed:?}");
}
