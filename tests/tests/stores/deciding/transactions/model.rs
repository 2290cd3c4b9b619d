//! Random transactions and single commands, against a map.

use std::collections::BTreeMap;
use std::time::Duration;

use eventfold_es::disk::SplitMix64;
use eventfold_es::prelude::*;
use eventfold_es::store::CommittedCommand;
use eventfold_es::{Durability, TransactionError};
use eventfold_es_tests::TestResult;

use crate::common::counter::{Counter, CounterCommand};
use crate::common::shop::{IN_STOCK, Inventory, InventoryCommand};

/// The version and the sum of each counter, and of each stock.
#[derive(Debug, Clone, Default, PartialEq)]
struct World {
    counters: BTreeMap<String, (u64, i64)>,
    stocks: BTreeMap<String, (u64, u32)>,
    position: u64,
}

#[derive(Debug, Clone)]
enum Step {
    Add {
        id: String,
        by: i64,
        expected: Option<u64>,
    },
    Ones {
        id: String,
        count: u32,
        expected: Option<u64>,
    },
    Reject {
        id: String,
    },
    Reserve {
        id: String,
        qty: u32,
        expected: Option<u64>,
    },
}

impl Step {
    fn random(random: &mut SplitMix64, world: &World) -> Self {
        let id = ["a", "b", "c", "d"][random.below(4)].to_owned();
        // Most expectations are true at the beginning of the transaction.
        let expect = |random: &mut SplitMix64, version: u64| match random.below(6) {
            0 => Some(version),
            1 => Some(version + random.below(2) as u64),
            _ => None,
        };
        let counter = world.counters.get(&id).map_or(0, |(version, _)| *version);
        let stock = world.stocks.get(&id).map_or(0, |(version, _)| *version);
        match random.below(16) {
            0 => Self::Reject { id },
            1..=5 => Self::Ones {
                id,
                count: random.below(3) as u32,
                expected: expect(random, counter),
            },
            6..=10 => Self::Reserve {
                id,
                qty: 1 + random.below(3) as u32,
                expected: expect(random, stock),
            },
            _ => Self::Add {
                id,
                by: random.below(9) as i64,
                expected: expect(random, counter),
            },
        }
    }

    /// What it does to the world: the version behind it and how many events that is, or whether it is a conflict.
    fn apply(&self, world: &mut World) -> Result<(u64, u64), bool> {
        let is_off = |expected: Option<u64>, version| expected.is_some_and(|one| one != version);
        match self {
            Self::Reject { .. } => Err(false),
            Self::Add { id, by, expected } => {
                let (version, sum) = world.counters.entry(id.clone()).or_default();
                if is_off(*expected, *version) {
                    return Err(true);
                }
                (*version, *sum) = (*version + 1, *sum + by);
                Ok((*version, 1))
            }
            Self::Ones {
                id,
                count,
                expected,
            } => {
                let (version, sum) = world.counters.entry(id.clone()).or_default();
                if is_off(*expected, *version) {
                    return Err(true);
                }
                *version += u64::from(*count);
                *sum += i64::from(*count);
                Ok((*version, u64::from(*count)))
            }
            Self::Reserve { id, qty, expected } => {
                let (version, reserved) = world.stocks.entry(id.clone()).or_default();
                if is_off(*expected, *version) {
                    return Err(true);
                }
                if *reserved + qty > IN_STOCK {
                    return Err(false);
                }
                (*version, *reserved) = (*version + 1, *reserved + qty);
                Ok((*version, 1))
            }
        }
    }
}

async fn commit(
    store: &AggregateStore,
    steps: &[Step],
    context: CommandContext,
) -> Result<Vec<CommittedCommand>, TransactionError> {
    let mut transaction = store.transaction(context);
    for step in steps.iter().cloned() {
        transaction = match step {
            Step::Add {
                id,
                by,
                expected: None,
            } => transaction.send(id, CounterCommand::Add(by)),
            Step::Add {
                id,
                by,
                expected: Some(version),
            } => transaction.send_expecting(id, version, CounterCommand::Add(by)),
            Step::Ones {
                id,
                count,
                expected: None,
            } => transaction.send(id, CounterCommand::AddOnes(count)),
            Step::Ones {
                id,
                count,
                expected: Some(version),
            } => transaction.send_expecting(id, version, CounterCommand::AddOnes(count)),
            Step::Reject { id } => transaction.send(id, CounterCommand::Reject),
            Step::Reserve {
                id,
                qty,
                expected: None,
            } => transaction.send(id, InventoryCommand::Reserve { qty }),
            Step::Reserve {
                id,
                qty,
                expected: Some(version),
            } => transaction.send_expecting(id, version, InventoryCommand::Reserve { qty }),
        };
    }
    Ok(transaction.commit().await?.commands)
}

async fn look(store: &AggregateStore, world: &World) -> TestResult {
    for (id, (version, sum)) in &world.counters {
        let loaded = store.get::<Counter>(id).await?.load().await?;
        assert_eq!((loaded.version, loaded.state.sum), (*version, *sum), "{id}");
    }
    for (id, (version, reserved)) in &world.stocks {
        let loaded = store.get::<Inventory>(id).await?.load().await?;
        assert_eq!(
            (loaded.version, loaded.state.reserved),
            (*version, *reserved),
            "{id}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn random_transactions_do_what_a_map_says() -> TestResult {
    let mut counts = [0; 4];
    for seed in 1..=4 {
        let base = tempfile::tempdir()?;
        let mut random = SplitMix64::new(seed);
        let mut world = World::default();
        let open = || {
            AggregateStore::builder(base.path())
                .idle_timeout(Duration::from_millis(1))
                .snapshot_every(3)
                .durability(Durability::Flush)
                .open()
        };
        let mut store = open().await?;
        // What was answered under which key.
        let mut keyed: Vec<(Vec<Step>, Vec<CommittedCommand>)> = Vec::new();
        let key =
            |index: usize| CommandContext::default().with_idempotency_key(format!("k-{index}"));
        for _ in 0..100 {
            if random.below(12) == 0 {
                store.close().await?;
                store = open().await?;
            }
            if !keyed.is_empty() && random.below(5) == 0 {
                let index = random.below(keyed.len());
                let (steps, answer) = &keyed[index];
                assert_eq!(
                    commit(&store, steps, key(index)).await?,
                    *answer,
                    "{steps:?}"
                );
                counts[0] += 1;
                continue;
            }
            let steps: Vec<_> = (0..random.below(6))
                .map(|_| Step::random(&mut random, &world))
                .collect();
            let mut next = world.clone();
            let applied: Result<Vec<_>, (usize, bool)> = steps
                .iter()
                .enumerate()
                .map(|(index, step)| {
                    step.apply(&mut next)
                        .map_err(|is_conflict| (index, is_conflict))
                })
                .collect();
            let is_keyed = random.below(2) == 0;
            let context = match is_keyed {
                true => key(keyed.len()),
                false => CommandContext::default(),
            };
            match (commit(&store, &steps, context).await, applied) {
                (Ok(done), Ok(applied)) => {
                    let versions: Vec<_> = done.iter().map(|one| one.version).collect();
                    let expected: Vec<_> = applied
                        .iter()
                        .map(|(version, count)| (*count > 0).then_some(*version))
                        .collect();
                    assert_eq!(versions, expected, "{steps:?}");
                    next.position += applied.iter().map(|(_, count)| count).sum::<u64>();
                    let last = done.iter().filter_map(|one| one.position).max();
                    if let Some(last) = last {
                        assert_eq!(last, next.position, "{steps:?}");
                        if is_keyed {
                            keyed.push((steps, done));
                        }
                    }
                    world = next;
                    counts[1] += 1;
                }
                (Err(TransactionError::Rejected { at, .. }), Err((index, false))) => {
                    assert_eq!(at.index, index, "{steps:?}");
                    counts[2] += 1;
                }
                (Err(TransactionError::Conflict { at, .. }), Err((index, true))) => {
                    assert_eq!(at.index, index, "{steps:?}");
                    counts[3] += 1;
                }
                (done, applied) => panic!("{steps:?}: {done:?} where {applied:?} is right"),
            }
            look(&store, &world).await?;
        }
        store.close().await?;
        let store = open().await?;
        look(&store, &world).await?;
        assert!(store.verify().await?.differences.is_empty());
        store.close().await?;
    }
    assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
    Ok(())
}
