//! Random histories, against a model that sees no clock but the times of the commits.
//!
//! `EVENTFOLD_ORDER_SEED=7` lives one history only.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use eventfold_es::clock::ManualClock;
use eventfold_es::disk::SplitMix64;
use eventfold_es::prelude::*;
use eventfold_es_tests::campaign::{number, size};

use super::{ALL, Clerk, LoneClerk, MODES, mended, open, release};
use crate::process_managers::domain::log_of;
use crate::process_managers::worker::{beginning, clock, say, words};

const KEYS: [&str; 3] = ["a", "b", "cc"];
const SEEDS: u64 = 60;

/// When something was stored, in milliseconds since 1970, on which post it was said, and its words.
type Told = (u64, String, String);

/// What was said, with its times, as the journal has it.
fn told(base: &Path) -> Vec<Told> {
    let journal = std::fs::read_to_string(base.join("meta/journal/app.jsonl")).unwrap();
    let mut told = Vec::new();
    for line in journal.trim_end_matches('\0').lines() {
        let commit: serde_json::Value = serde_json::from_str(line).unwrap();
        let data = &commit["data"];
        for stream in data["streams"].as_array().unwrap() {
            if stream["type"] == "post" {
                for event in stream["lines"].as_array().unwrap() {
                    let (key, said) = (stream["id"].as_str(), event["data"].as_str());
                    let time = data["time"].as_u64().unwrap();
                    told.push((time, key.unwrap().to_owned(), said.unwrap().to_owned()));
                }
            }
        }
    }
    told
}

/// What is written down: by whom, and the text.
#[derive(Default)]
struct Model {
    is_keyed: bool,
    /// By the time when they are due, the instance and the name: the text.
    timers: BTreeMap<(u64, usize, String, String), String>,
    seen: BTreeMap<String, u64>,
    written: Vec<(String, String)>,
}

fn due(seconds: &str) -> u64 {
    let since_1970 = beginning().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let due = i64::try_from(since_1970).unwrap() + seconds.parse::<i64>().unwrap() * 1000;
    due.try_into().unwrap()
}

impl Model {
    fn instance(&self, key: &str) -> String {
        match self.is_keyed {
            true => key.to_owned(),
            false => String::new(),
        }
    }

    fn write(&mut self, instance: &str, text: &str) {
        let seen = self.seen.entry(instance.to_owned()).or_default();
        *seen += 1;
        let key = if self.is_keyed { instance } else { "a" };
        self.written
            .push((key.to_owned(), format!("{text} {seen}")));
    }

    fn cancel(&mut self, instance: &str, name: &str) {
        let is_it = |(_, _, found, armed): &(u64, usize, String, String)| {
            found == instance && armed == name
        };
        self.timers.retain(|timer, _| !is_it(timer));
    }

    fn arm(&mut self, instance: &str, due: u64, text: &str) {
        let name = words(&text.replace('>', " ")).0.to_owned();
        self.cancel(instance, &name);
        let timer = (due, instance.len(), instance.to_owned(), name);
        self.timers.insert(timer, text.to_owned());
    }

    /// What was due before `time` is handled.
    fn pass(&mut self, time: u64) {
        while let Some(first) = self.timers.first_entry()
            && first.key().0 < time
        {
            let ((_, _, instance, name), text) = first.remove_entry();
            self.write(&instance, &name);
            if let Some((_, again)) = text.split_once('>') {
                self.arm(&instance, due(again), &name);
            }
        }
    }

    fn hear(&mut self, key: &str, said: &str) {
        let instance = self.instance(key);
        match words(said) {
            ("at", rest) => {
                let (seconds, text) = words(rest);
                self.arm(&instance, due(seconds), text);
            }
            ("cancel", name) => self.cancel(&instance, name),
            ("poison", rest) => self.hear(key, words(rest).1),
            _ => self.write(&instance, said),
        }
    }
}

/// What has to be written down.
fn expected(told: &[Told], is_keyed: bool) -> Vec<(String, String)> {
    let mut model = Model {
        is_keyed,
        ..Model::default()
    };
    for (time, key, said) in told {
        model.pass(*time);
        model.hear(key, said);
    }
    model.pass(u64::MAX);
    model.written
}

fn said(random: &mut SplitMix64, now: u64, number: u64) -> String {
    let name = ["x", "y"][random.below(2)];
    let seconds = now as i64 + random.below(40) as i64 - 10;
    match random.below(8) {
        0..=2 => format!("at {seconds} {name}"),
        3 => format!("at {seconds} {name}>{}", seconds + random.below(20) as i64),
        4 => format!("cancel {name}"),
        _ => format!("word-{number}"),
    }
}

async fn live<PM: ProcessManager>(seed: u64) {
    let mut random = SplitMix64::new(seed);
    let (base, time) = (tempfile::tempdir().unwrap(), clock());
    let (mut now, mut poisons) = (0, Vec::new());
    let mut mode = Some(MODES[random.below(3)]);
    let mut store = open::<PM>(base.path(), &time, mode).await;
    for number in 0..24 {
        let handle = mode.map(|_| store.process_manager::<PM>().unwrap());
        match (random.below(16), handle) {
            (0..=3, _) => {
                now += 1 + random.below(12) as u64;
                time.set(beginning() + Duration::from_secs(now));
            }
            (4, Some(handle)) => handle.pause().await.unwrap(),
            (5, Some(handle)) => drop(handle.resume().await.unwrap()),
            (6, _) => {
                store.close().await.unwrap();
                mode = [None, Some(MODES[random.below(3)])][random.below(2)];
                store = open::<PM>(base.path(), &time, mode).await;
            }
            (7, _) => drop(store.run_process_managers().await.unwrap()),
            (8, _) => {
                let id = format!("{}-{seed}-{number}", PM::NAME);
                let said = format!("poison {id} {}", said(&mut random, now, number));
                say(&store, KEYS[random.below(3)], &said).await;
                poisons.push(id);
            }
            (9, Some(_)) => {
                mended().extend(poisons.iter().cloned());
                release::<PM>(&store, &KEYS).await;
            }
            _ => {
                let said = said(&mut random, now, number);
                say(&store, KEYS[random.below(3)], &said).await;
            }
        }
    }
    mended().extend(poisons.iter().cloned());
    store.close().await.unwrap();
    time.advance(Duration::from_secs(1000));
    finish::<PM>(base.path(), &time, &mut random, seed, poisons.is_empty()).await;
}

/// Everything that is late is done, and compared with what the model did.
async fn finish<PM: ProcessManager>(
    base: &Path,
    time: &ManualClock,
    random: &mut SplitMix64,
    seed: u64,
    is_in_one_order: bool,
) {
    let store = open::<PM>(base, time, Some(MODES[random.below(3)])).await;
    let handle = store.process_manager::<PM>().unwrap();
    handle.resume().await.unwrap();
    store.run_process_managers().await.unwrap();
    release::<PM>(&store, &KEYS).await;
    store.run_process_managers().await.unwrap();
    handle.settle().await.unwrap();
    assert_eq!(handle.status().await.unwrap().deadlines, 0, "seed {seed}");
    let (told, mut logs) = (told(base), BTreeMap::<_, Vec<String>>::new());
    let expected = expected(&told, PM::IS_KEYED);
    for (key, text) in &expected {
        logs.entry(key.clone()).or_default().push(text.clone());
    }
    for key in KEYS {
        let log = logs.remove(key).unwrap_or_default();
        let found = log_of(&store, key).await;
        assert_eq!(found, log, "{} of {key}, seed {seed}: {told:?}", PM::NAME);
    }
    // An instance that is parked is passed by others.
    if is_in_one_order || !PM::IS_KEYED {
        let all = expected.iter().map(|(key, text)| format!("{key} {text}"));
        let all: Vec<_> = all.collect();
        let found = log_of(&store, ALL).await;
        assert_eq!(found, all, "{}, seed {seed}: {told:?}", PM::NAME);
    }
    let before = handle.instances(None, 10).await.unwrap();
    handle.rebuild_state().await.unwrap();
    let after = handle.instances(None, 10).await.unwrap();
    assert_eq!(after, before, "{}, seed {seed}: {told:?}", PM::NAME);
    store.close().await.unwrap();
}

#[test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
fn random_histories_give_the_order_of_time() {
    let seeds = match number("EVENTFOLD_ORDER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..size(SEEDS, 10 * SEEDS),
    };
    // Most of the time they wait.
    let (end, next) = (seeds.end, Arc::new(AtomicU64::new(seeds.start)));
    let lives = (0..16).map(|_| {
        let next = Arc::clone(&next);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                match seed % 3 {
                    _ if seed >= end => return,
                    0 => runtime.block_on(live::<LoneClerk>(seed)),
                    _ => runtime.block_on(live::<Clerk>(seed)),
                }
            }
        })
    });
    let lives: Vec<_> = lives.collect();
    let failed = lives.into_iter().filter_map(|life| life.join().err());
    assert_eq!(failed.count(), 0, "the seeds are above");
}
