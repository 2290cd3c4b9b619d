//! States that are not the same once they were saved: nobody's decision depends on where a state comes from.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::fmt::Debug;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::collector::Collector;
use crate::common::saved::{forge, is_empty, place, version, wait_for_version};
use eventfold_es::prelude::*;
use eventfold_es::{AggregateHandle, Executed};
use eventfold_es_tests::TestResult;
use serde::Serializer;

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum Passed {
    Passed { number: u64, is_free: bool },
}

/// A command of an aggregate that answers with what it knows.
macro_rules! gate {
    ($(#[$meta:meta])* $name:ident, $command:ident, $knows:expr) => {
        #[derive(Debug, Clone, Serialize, Deserialize)]
        pub struct $command;

        impl Decider for $name {
            fn decide(&self, _: $command) -> Result<Vec<Passed>, Infallible> {
                let (number, is_free) = $knows(self);
                Ok(vec![Passed::Passed { number, is_free }])
            }

            fn evolve(&mut self, event: &Passed) {
                self.pass(event);
            }
        }
    };
}

async fn store(base: &Path, every: u64) -> Result<AggregateStore, eventfold_es::OpenError> {
    AggregateStore::builder(base)
        .snapshot_every(every)
        .open()
        .await
}

async fn pass<A>(
    gate: &AggregateHandle<A>,
    command: A::Command,
) -> Result<Passed, eventfold_es::Error>
where
    A: Aggregate<DomainEvent = Passed, Error = Infallible>,
{
    let done: Executed<Passed> = gate.execute(command, ()).await?;
    Ok(done.events[0])
}

/// Waits until the log has a line with this text.
async fn wait_for_line(text: &str) -> String {
    let begun = Instant::now();
    loop {
        if let Some(line) = Collector::global().lines(text).pop() {
            return line.text;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "nobody says `{text}`"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Uses the aggregate until the log has a line with this text.
async fn pass_until<A>(
    gate: &AggregateHandle<A>,
    command: impl Fn() -> A::Command,
    text: &str,
) -> TestResult
where
    A: Aggregate<DomainEvent = Passed, Error = Infallible> + Debug,
{
    let begun = Instant::now();
    while Collector::global().lines(text).is_empty() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "nobody says `{text}`"
        );
        pass(gate, command()).await?;
    }
    Ok(())
}

/// Every third one is free, which `decide` knows from a field that is not saved.
#[aggregate(command = TurnstileCommand, event = Passed, error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Turnstile {
    passed: u64,
    #[serde(skip)]
    paid: u64,
}

impl Turnstile {
    fn pass(&mut self, Passed::Passed { is_free, .. }: &Passed) {
        self.passed += 1;
        self.paid = if *is_free { 0 } else { self.paid + 1 };
    }
}

gate!(Turnstile, TurnstileCommand, |state: &Turnstile| (
    state.passed,
    state.paid == 2
));

#[tokio::test]
async fn a_field_that_is_skipped_is_folded_from_the_events_each_time() -> TestResult {
    let base = tempfile::tempdir()?;
    let mut decided = Vec::new();
    for _ in 0..8 {
        let store = store(base.path(), 1).await?;
        let gate = store.get::<Turnstile>("t").await?;
        for _ in 0..4 {
            decided.push(pass(&gate, TurnstileCommand).await?);
        }
        store.close().await?;
    }
    let expected: Vec<_> = (0..32)
        .map(|number| Passed::Passed {
            number,
            is_free: number % 3 == 2,
        })
        .collect();
    assert_eq!(decided, expected);
    let store = store(base.path(), 1).await?;
    assert!(is_empty(&place(&store, "turnstile", "t")));
    store.close().await?;
    Ok(())
}

/// Writes less than it knows, by hand: what becomes of that shows two events later.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "u64")]
pub struct Dozens {
    full: u64,
    begun: u64,
}

impl Serialize for Dozens {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.full)
    }
}

impl From<u64> for Dozens {
    fn from(full: u64) -> Self {
        Self { full, begun: 0 }
    }
}

#[aggregate(command = CrateCommand, event = Passed, error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Crates {
    dozens: Vec<Dozens>,
}

impl Crates {
    fn pass(&mut self, _: &Passed) {
        self.dozens.resize_with(2, Dozens::default);
        let dozens = &mut self.dozens[1];
        dozens.begun += 1;
        if dozens.begun == 3 {
            *dozens = Dozens::from(dozens.full + 1);
        }
    }

    fn known(&self) -> (u64, bool) {
        self.dozens
            .get(1)
            .map_or((0, false), |dozens| (dozens.full, dozens.begun == 2))
    }
}

gate!(Crates, CrateCommand, Crates::known);

#[tokio::test]
async fn what_is_lost_on_the_way_is_noticed_when_it_shows_in_later_events() -> TestResult {
    Collector::global();
    let base = tempfile::tempdir()?;
    let mut decided = Vec::new();
    for round in 0..4 {
        let store = store(base.path(), 4).await?;
        let gate = store.get::<Crates>("c").await?;
        for _ in 0..5 {
            decided.push(pass(&gate, CrateCommand).await?);
        }
        if round == 0 {
            let line = wait_for_line("aggregate=\"crates\"").await;
            assert!(line.contains("`.dozens[1]`"), "{line}");
            assert!(line.contains("raise `snapshot_version`"), "{line}");
        }
        store.close().await?;
    }
    let expected: Vec<_> = (0..20)
        .map(|number| Passed::Passed {
            number: number / 3,
            is_free: number % 3 == 2,
        })
        .collect();
    assert_eq!(decided, expected);
    let store = store(base.path(), 1).await?;
    assert!(is_empty(&place(&store, "crates", "c")));
    store.close().await?;
    Ok(())
}

/// Below the state, where no macro of the aggregate sees it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    #[serde(skip)]
    paid: u64,
}

#[aggregate(command = BarrierCommand, event = Passed, error = Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Barrier {
    passed: u64,
    memory: Memory,
}

impl Barrier {
    fn pass(&mut self, _: &Passed) {
        self.passed += 1;
        self.memory.paid += 1;
    }
}

gate!(Barrier, BarrierCommand, |state: &Barrier| (
    state.memory.paid,
    false
));

#[tokio::test]
async fn what_only_decide_reads_is_noticed_by_partial_eq() -> TestResult {
    Collector::global();
    let base = tempfile::tempdir()?;
    for round in 0..3 {
        let store = store(base.path(), 2).await?;
        let gate = store.get::<Barrier>("b").await?;
        for number in 0..4 {
            let passed = pass(&gate, BarrierCommand).await?;
            let number = 4 * round + number;
            assert_eq!(
                passed,
                Passed::Passed {
                    number,
                    is_free: false
                }
            );
        }
        let line = wait_for_line("aggregate=\"barrier\"").await;
        assert!(line.contains("`PartialEq`"), "{line}");
        store.close().await?;
    }
    let store = store(base.path(), 1).await?;
    assert!(is_empty(&place(&store, "barrier", "b")));
    store.close().await?;
    Ok(())
}

/// In another order in each copy of it; and one that is not equal to itself.
#[aggregate(command = MarketCommand, event = Passed, error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Market {
    seen: HashSet<String>,
    by_name: HashMap<String, Vec<HashSet<u64>>>,
    pairs: Vec<(u64, Option<f64>)>,
    unit: (),
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last: Option<BTreeMap<u64, f32>>,
}

impl PartialEq for Market {
    fn eq(&self, _: &Self) -> bool {
        false
    }
}

impl Market {
    fn pass(&mut self, Passed::Passed { number, .. }: &Passed) {
        self.seen.insert(number.to_string());
        let sets = self.by_name.entry((number % 5).to_string()).or_default();
        sets.push((0..*number).collect());
        self.pairs.push((*number, Some(0.1 * *number as f64)));
        self.last = (number % 2 == 0).then(|| BTreeMap::from([(*number, 0.3)]));
    }
}

gate!(Market, MarketCommand, |state: &Market| (
    state.seen.len() as u64,
    false
));

#[tokio::test]
async fn maps_and_sets_are_saved_in_whatever_order() -> TestResult {
    let base = tempfile::tempdir()?;
    for round in 1..=3 {
        let store = store(base.path(), 4).await?;
        let file = place(&store, "market", "m");
        let gate = store.get::<Market>("m").await?;
        for number in 0..8 {
            let passed = pass(&gate, MarketCommand).await?;
            let number = 8 * (round - 1) + number;
            assert_eq!(
                passed,
                Passed::Passed {
                    number,
                    is_free: false
                }
            );
            if number % 4 == 3 {
                gate.state().await?;
                wait_for_version(&file, number + 1).await;
            }
        }
        let verified = store.verify().await?;
        assert!(verified.differences.is_empty(), "{verified:?}");
        store.close().await?;
    }
    assert!(Collector::global().lines("aggregate=\"market\"").is_empty());
    Ok(())
}

/// Panics where it goes on from what was read.
#[aggregate(command = FlapCommand, event = Passed, error = Infallible)]
#[derive(Debug, Clone, Default, Serialize)]
pub struct Flap {
    passed: u64,
}

impl<'de> Deserialize<'de> for Flap {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer)?;
        Ok(Self { passed: u64::MAX })
    }
}

impl Flap {
    fn pass(&mut self, _: &Passed) {
        self.passed = self.passed.checked_add(1).expect("room for one more");
    }
}

gate!(Flap, FlapCommand, |state: &Flap| (state.passed, false));

#[tokio::test]
async fn a_panic_of_the_copy_harms_nobody() -> TestResult {
    Collector::global();
    let base = tempfile::tempdir()?;
    for round in 0..3 {
        let store = store(base.path(), 2).await?;
        let gate = store.get::<Flap>("f").await?;
        for number in 0..4 {
            let passed = pass(&gate, FlapCommand).await?;
            let number = 4 * round + number;
            assert_eq!(
                passed,
                Passed::Passed {
                    number,
                    is_free: false
                }
            );
        }
        wait_for_line("aggregate=\"flap\"").await;
        store.close().await?;
    }
    let store = store(base.path(), 1).await?;
    assert!(is_empty(&place(&store, "flap", "f")));
    store.close().await?;
    Ok(())
}

static FORGETS: AtomicBool = AtomicBool::new(false);

fn forgetful<S: Serializer>(passed: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    let passed = if FORGETS.load(Ordering::Relaxed) {
        0
    } else {
        *passed
    };
    serializer.serialize_u64(passed)
}

/// Saves everything, until a version of the program that does not.
#[aggregate(command = HatchCommand, event = Passed, error = Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Hatch {
    #[serde(serialize_with = "forgetful")]
    passed: u64,
}

impl Hatch {
    fn pass(&mut self, _: &Passed) {
        self.passed += 1;
    }
}

gate!(Hatch, HatchCommand, |state: &Hatch| (state.passed, false));

#[tokio::test]
async fn what_came_from_a_snapshot_is_read_again_when_it_is_not_believed_any_more() -> TestResult {
    Collector::global();
    let base = tempfile::tempdir()?;
    let first = store(base.path(), 20).await?;
    let file = place(&first, "hatch", "old");
    let old = first.get::<Hatch>("old").await?;
    for _ in 0..20 {
        pass(&old, HatchCommand).await?;
    }
    old.state().await?;
    wait_for_version(&file, 20).await;
    first.close().await?;

    FORGETS.store(true, Ordering::Relaxed);
    let store = store(base.path(), 20).await?;
    let file = place(&store, "hatch", "old");
    forge(&file, |content| content["state"]["passed"] = 1000.into());
    let old = store.get::<Hatch>("old").await?;
    assert_eq!(old.state().await?.passed, 1000);
    let new = store.get::<Hatch>("new").await?;
    pass_until(&new, || HatchCommand, "aggregate=\"hatch\"").await?;
    assert_eq!(old.state().await?.passed, 20);
    assert_eq!(
        pass(&old, HatchCommand).await?,
        Passed::Passed {
            number: 20,
            is_free: false
        }
    );
    assert_eq!(version(&file), 20);
    // Once is enough.
    let told = Collector::global().lines("aggregate=\"hatch\"").len();
    for _ in 0..100 {
        pass(&new, HatchCommand).await?;
    }
    assert_eq!(Collector::global().lines("aggregate=\"hatch\"").len(), told);
    store.close().await?;
    Ok(())
}
