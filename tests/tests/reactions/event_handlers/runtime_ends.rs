//! `main` returns, and its runtime is dropped, while event handlers are called: nothing is lost, and the calls are made again with the
//! same keys.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use eventfold_es::RunMode;
use eventfold_es_tests::TestResult;

use super::world::{Act, World, add, builder, sum, until, until_sum};

/// The largest time that the end of a runtime may take. It takes milliseconds.
const LONGEST: Duration = Duration::from_secs(120);
const STREAMS: usize = 6;
const CALLS: usize = STREAMS + 1;

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
}

/// Opens the store, adds `number` to each stream, and returns from `main` while all calls for it run. Later events of another stream
/// are handled by then, so that these calls are deferred.
fn interrupted(base: &Path, world: &World, number: i64) -> TestResult {
    let main = runtime()?;
    main.block_on(async {
        let store = builder::<CALLS, 600_000>(base, world)
            .run_mode(RunMode::Background)
            .open()
            .await
            .unwrap();
        for stream in 0..STREAMS {
            add(&store, &format!("a-{stream}"), number).await;
        }
        // The calls for the earlier numbers come first.
        until("the calls run", || async { world.running() == STREAMS }).await;
        add(&store, "a-quick", -number).await;
        until_sum(&store, "b-quick", -(1..=number).sum::<i64>()).await;
    });
    let (ended, has_ended) = mpsc::channel();
    let dropping = std::thread::spawn(move || {
        drop(main);
        let _ = ended.send(());
    });
    has_ended.recv_timeout(LONGEST)?;
    dropping.join().unwrap();
    assert_eq!(world.running(), 0, "the calls are dropped");
    Ok(())
}

#[test]
fn calls_that_the_end_of_a_runtime_drops_are_made_again_with_the_same_keys() -> TestResult {
    let base = tempfile::tempdir()?;
    let world = World::new(|_| Act::Never);
    for number in 1..=3 {
        // The last number waits, and the earlier ones are answered.
        world.acts(move |call| match call.number == number {
            true => Act::Never,
            false => Act::Answer,
        });
        interrupted(base.path(), &world, number)?;
        for stream in 0..STREAMS {
            let numbers = world.numbers(&format!("a-{stream}"));
            assert_eq!(numbers.last(), Some(&number), "{numbers:?}");
        }
    }
    world.acts(|_| Act::Answer);
    runtime()?.block_on(async {
        let store = builder::<CALLS, 600_000>(base.path(), &world)
            .open()
            .await?;
        store.run_process_managers().await?;
        for stream in 0..STREAMS {
            let (from, to) = (format!("a-{stream}"), format!("b-{stream}"));
            assert_eq!(sum(&store, &to).await, 1 + 2 + 3, "exactly once");
            assert_eq!(world.numbers(&from), [1, 1, 2, 2, 3, 3]);
        }
        store.close().await?;
        Ok::<_, eventfold_es::Error>(())
    })?;
    let mut keys = BTreeMap::<_, Vec<_>>::new();
    for call in world.calls() {
        assert_eq!(call.attempt, 1, "the end of a runtime is no failed attempt");
        let events = keys.entry(call.key).or_default();
        events.push((call.stream, call.number));
    }
    assert_eq!(keys.len(), STREAMS * 3 + 3);
    keys.retain(|key, _| !key.contains("quick"));
    for (key, events) in keys {
        let [first, again] = &events[..] else {
            panic!("{key}: {events:?}");
        };
        assert_eq!(first, again, "{key}");
    }
    assert_eq!(world.failures(), [""; 0]);
    Ok(())
}
