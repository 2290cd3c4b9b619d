//! A store does what a model says that it does: whatever is asked of it, in whatever order, with clean restarts, kills, power
//! losses, evictions and abandoned calls in between.
//!
//! A case is a list of [operations](operations::Operation). What the store shows after each of them is explained by the
//! [model](shadow::Shadow), or the case fails, and is shrunk to the shortest list that fails.
//!
//! - `EVENTFOLD_MODEL_CASES=100000` runs so many cases.
//! - `EVENTFOLD_MODEL_SEED=7` runs others.
//! - `EVENTFOLD_MODEL_CASE=123` runs one of them only.
//!
//! There is no file of regressions: the cases follow from the seed, and a failure prints which one it was. What a case found
//! deserves a test with a name.

mod domain;
mod operations;
mod shadow;
mod world;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use eventfold_es_tests::campaign::{number, size};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use tokio::runtime::{Builder, Runtime};

use operations::{Operation, case};
use world::run;

const THREADS: usize = 2;
const CASES: u64 = 500;

#[test]
fn a_store_does_what_the_model_says() {
    let cases = number("EVENTFOLD_MODEL_CASES").unwrap_or_else(|| size(CASES, 10 * CASES));
    let seed = number("EVENTFOLD_MODEL_SEED").unwrap_or(20_260_101);
    let only = number("EVENTFOLD_MODEL_CASE");
    println!("{cases} cases, seed {seed}");
    let (first, end) = only.map_or((0, cases), |case| (case, case + 1));
    let (next, is_over) = (AtomicU64::new(first), AtomicBool::new(false));
    let failures: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let runtimes = [alone(), together()];
                    while !is_over.load(Ordering::Relaxed) {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= end {
                            break;
                        }
                        // Concurrency comes from the journal's own threads in one half, from everywhere in the other.
                        let runtime = &runtimes[number as usize % runtimes.len()];
                        if let Err(failure) = fails(seed, number, runtime) {
                            is_over.store(true, Ordering::Relaxed);
                            return Some(failure);
                        }
                    }
                    None
                })
            })
            .collect();
        let results = threads.into_iter().map(|thread| thread.join());
        results.filter_map(|failure| failure.unwrap()).collect()
    });
    if let Some(failure) = failures.first() {
        panic!("{failure}");
    }
    let run = next.load(Ordering::Relaxed).min(end) - first;
    println!("{run} cases passed (seed {seed})");
    assert_eq!(run, end - first);
}

fn alone() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().build().unwrap()
}

fn together() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_time().build().unwrap()
}

fn lines(operations: &[Operation]) -> String {
    let lines = operations
        .iter()
        .map(|operation| format!("  {operation:?}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Runs one case, and finds the shortest one like it that fails.
fn fails(seed: u64, number: u64, runtime: &Runtime) -> Result<(), String> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    let config = Config {
        failure_persistence: None,
        max_shrink_iters: 1_000,
        ..Config::default()
    };
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, random);
    let tree = case().new_tree(&mut runner).unwrap();
    let result = runner.run_one(tree, |(setup, operations)| {
        let checked = runtime.block_on(run(setup, &operations));
        checked.map_err(TestCaseError::fail)
    });
    match result {
        Ok(_) => Ok(()),
        Err(TestError::Fail(reason, (setup, operations))) => Err(format!(
            "{reason}\nthe shortest case that fails, after opening with {setup:?}:\n{}\n\
             again: EVENTFOLD_MODEL_SEED={seed} EVENTFOLD_MODEL_CASE={number}",
            lines(&operations)
        )),
        Err(error) => Err(error.to_string()),
    }
}
