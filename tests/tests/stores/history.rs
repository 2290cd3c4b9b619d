//! The history of one aggregate, from either end, and the states that it had.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use eventfold_es::clock::ManualClock;
use eventfold_es::prelude::*;
use eventfold_es::{
    Durability, History, OpenError, RawRecorded, ReadError, Recorded, StateError, StoreError,
};
use eventfold_es_tests::TestResult;
use eventfold_es_tests::gate::GatedDisk;
use eventfold_es_tests::reads::CountingDisk;

use crate::subscriptions::{
    DoorCommand, DoorEvent, Lamp, LampCommand, LampEvent, earlier, open, work,
};

/// The versions and positions of a history.
async fn places<T>(
    mut history: History<T>,
    place: impl Fn(&T) -> (u64, u64),
) -> Result<Vec<(u64, u64)>, ReadError> {
    let mut places = Vec::new();
    while let Some(event) = history.next().await {
        places.push(place(&event?));
    }
    Ok(places)
}

fn raw_place(event: &RawRecorded) -> (u64, u64) {
    (event.version(), event.position())
}

/// All parts of the stream, in both directions, have the events that reading everything finds.
async fn compare(store: &AggregateStore, aggregate_type: &str, id: &str) -> TestResult {
    let all = store.read_all(0, usize::MAX).await?;
    let own = all
        .iter()
        .filter(|event| event.aggregate_type() == aggregate_type && event.stream_id() == id);
    let own: Vec<_> = own.collect();
    let last = own.len() as u64;
    for (index, event) in own.iter().enumerate() {
        assert_eq!(event.version(), index as u64 + 1);
    }
    let mut bounds: Vec<_> = (0..6).chain(last.saturating_sub(4)..last + 3).collect();
    bounds.extend([last / 3, last / 2, u64::MAX]);
    for after in bounds.iter().copied() {
        for before in bounds.iter().copied() {
            for limit in [0, 1, 3, 100, usize::MAX] {
                let within = own
                    .iter()
                    .filter(|event| event.version() > after && event.version() < before);
                let forwards: Vec<_> = within.clone().take(limit).copied().map(raw_place).collect();
                let backwards: Vec<_> = within.rev().take(limit).copied().map(raw_place).collect();
                let history = || {
                    let history = store.raw_history(aggregate_type, id).after(after);
                    history.before(before).limit(limit)
                };
                let what = format!("{id}: after {after}, before {before}, {limit} of {last}");
                assert_eq!(places(history(), raw_place).await?, forwards, "{what}");
                let found = places(history().backwards(), raw_place).await?;
                assert_eq!(found, backwards, "{what}, backwards");
            }
        }
    }
    // With everything that is known, also of an event that a transaction stored beside others.
    let read = store.raw_history(aggregate_type, id).collect().await?;
    for (found, expected) in read.iter().zip(&own) {
        assert_eq!(found.json(), expected.json());
        assert_eq!(found.at(), expected.at());
        assert_eq!(
            (found.aggregate_type(), found.stream_id()),
            (aggregate_type, id)
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_part_has_its_events_in_both_directions() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = open(base.path()).await?;
    let clients: Vec<_> = (0..4)
        .map(|client| tokio::spawn(work(store.clone(), client, 200)))
        .collect();
    for client in clients {
        client.await??;
    }
    // One commit that is longer than the pieces, between others, and one with events of several streams.
    for times in [1, 300, 2, 1] {
        let switch = LampCommand::Switch(times);
        store.send("long", switch, ()).await?;
    }
    store
        .transaction(())
        .send("front", DoorCommand::Open)
        .send("long", LampCommand::Switch(2))
        .send("long", LampCommand::Switch(1))
        .commit()
        .await?;
    for stage in ["in memory", "in runs", "in runs and in memory"] {
        for (aggregate_type, id) in [
            ("lamp", "long"),
            ("lamp", "1-3"),
            ("door", "2-0"),
            ("lamp", "0"),
        ] {
            compare(&store, aggregate_type, id)
                .await
                .map_err(|error| format!("{stage}: {error}"))?;
        }
        // The next round reads the same from other places.
        if stage == "in memory" {
            continue;
        }
        work(store.clone(), 1, 30).await?;
    }
    store.close().await?;
    let store = open(base.path()).await?;
    for (aggregate_type, id) in [("lamp", "long"), ("lamp", "1-3"), ("door", "1-0")] {
        compare(&store, aggregate_type, id).await?;
        work(store.clone(), 1, 30).await?;
        compare(&store, aggregate_type, id).await?;
    }
    store.close().await?;
    Ok(())
}

#[tokio::test]
async fn it_is_typed_and_goes_on_behind_events_that_do_not_decode() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = open(base.path()).await?;
    let context = CommandContext::default().with_actor("ann");
    store.send("hall", LampCommand::Switch(1), context).await?;
    store.send("hall", LampCommand::Break, ()).await?;
    store.send("hall", LampCommand::Switch(4), ()).await?;
    let lamps = store.history::<Lamp>("hall").limit(2).collect().await?;
    let [switched, broken] = &lamps[..] else {
        return Err(format!("{lamps:?}").into());
    };
    assert_eq!(switched.event, LampEvent::Switched { time: 0 });
    assert_eq!(
        (switched.version(), switched.position(), switched.actor()),
        (1, 1, Some("ann"))
    );
    assert_eq!((&broken.event, broken.version()), (&LampEvent::Broken, 2));

    let expected = [
        (1, "decoded"),
        (2, "unknown"),
        (3, "decoded"),
        (4, "decoded"),
        (5, "panicked"),
        (6, "decoded"),
    ];
    for is_backwards in [false, true] {
        let mut history = store.history::<earlier::Lamp>("hall");
        if is_backwards {
            history = history.backwards();
        }
        let mut found = Vec::new();
        while let Some(lamp) = history.next().await {
            found.push(match lamp {
                Ok(lamp) => (lamp.version(), "decoded"),
                Err(ReadError::Event {
                    position, version, ..
                }) if position != version => return Err("another position".into()),
                Err(ReadError::Event {
                    version, source, ..
                }) if source.to_string().contains("panicked") => (version, "panicked"),
                Err(ReadError::Event { version, .. }) => (version, "unknown"),
                Err(error) => return Err(error.into()),
            });
        }
        if is_backwards {
            found.reverse();
        }
        assert_eq!(found, expected);
    }
    let all = store.history::<earlier::Lamp>("hall").collect().await;
    assert!(
        matches!(all, Err(ReadError::Event { version: 2, .. })),
        "{all:?}"
    );
    store.close().await?;
    Ok(())
}

#[tokio::test]
async fn an_aggregate_without_events_has_an_empty_one_and_a_closed_store_none() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = open(base.path()).await?;
    store.send("hall", LampCommand::Switch(200), ()).await?;
    for id in ["", "cellar", "a\0b", "hal", "hall "] {
        for history in [
            store.history::<Lamp>(id),
            store.history::<Lamp>(id).backwards(),
        ] {
            assert!(history.collect().await?.is_empty(), "{id:?}");
        }
    }
    let mut begun = store.history::<Lamp>("hall");
    assert!(begun.next().await.is_some());
    let mut beginning = store.raw_history("lamp", "hall");
    let closed = store.clone();
    let hall = store.get::<Lamp>("hall").await?;
    store.close().await?;
    let rest = begun.collect().await;
    assert!(
        matches!(rest, Err(ReadError::Store(StoreError::Closed))),
        "{rest:?}"
    );
    assert!(is_closed(beginning.next().await));
    assert!(beginning.next().await.is_none());
    assert!(is_closed(
        closed.history::<Lamp>("hall").backwards().next().await
    ));
    let events = closed.read_events("lamp", "hall").await;
    assert!(matches!(events, Err(StoreError::Closed)), "{events:?}");
    for state in [
        hall.state_at(1).await,
        hall.state_at_time(SystemTime::now()).await,
    ] {
        assert!(
            matches!(
                state,
                Err(StateError {
                    source: StoreError::Closed,
                    ..
                })
            ),
            "{state:?}"
        );
    }
    Ok(())
}

fn is_closed<T>(next: Option<Result<T, ReadError>>) -> bool {
    matches!(next, Some(Err(ReadError::Store(StoreError::Closed))))
}

/// What was decided and handed over is no history before it is durable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn only_durable_events_are_history() -> TestResult {
    let base = tempfile::tempdir()?;
    let disk = GatedDisk::default();
    let builder = AggregateStore::builder(base.path()).disk(Arc::new(disk.clone()));
    let store = builder.open().await?;
    let hall = store.get::<Lamp>("hall").await?;
    hall.execute(LampCommand::Switch(2), ()).await?;
    disk.close();
    let waiting = {
        let hall = hall.clone();
        tokio::spawn(async move { hall.execute(LampCommand::Switch(3), ()).await })
    };
    disk.wait_for_sync();
    let newest = store.history::<Lamp>("hall").backwards();
    assert_eq!(newest.collect().await?.len(), 2);
    let beyond = hall.state_at(3).await;
    assert!(
        matches!(
            &beyond,
            Err(StateError {
                source: StoreError::NoSuchVersion {
                    version: 3,
                    last: 2
                },
                ..
            })
        ),
        "{beyond:?}"
    );
    disk.open();
    waiting.await??;
    assert_eq!(store.history::<Lamp>("hall").collect().await?.len(), 5);
    hall.state_at(5).await?;
    drop(hall);
    store.close().await?;
    Ok(())
}

/// A page of the newest events reads these, and few blocks of the index; a long history is not read before it is asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_page_of_a_long_stream_reads_little() -> TestResult {
    const COMMITS: u64 = 20_000;
    let base = tempfile::tempdir()?;
    let disk = CountingDisk::default();
    let builder = || {
        let builder = AggregateStore::builder(base.path()).durability(Durability::Flush);
        builder.snapshot_every(0).disk(Arc::new(disk.clone()))
    };
    let store = builder().open().await?;
    let hall = store.get::<Lamp>("hall").await?;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let hall = hall.clone();
        clients.push(tokio::spawn(async move {
            for _ in 0..COMMITS / 8 {
                hall.execute(LampCommand::Switch(5), ()).await?;
            }
            Ok::<_, eventfold_es::Error>(())
        }));
    }
    for client in clients {
        client.await??;
    }
    drop(hall);
    store.close().await?;
    let last = COMMITS * 5;
    let journal = std::fs::metadata(base.path().join("meta/journal/app.jsonl"))?.len();
    assert!(journal > 5_000_000, "{journal}");

    let store = builder().open().await?;
    disk.wait_until_quiet()?;
    let _ = disk.take();
    let page = store.history::<Lamp>("hall").backwards().limit(20);
    let versions = places(page, |event| (event.version(), event.position())).await?;
    assert!(
        versions
            .into_iter()
            .map(|(version, _)| version)
            .eq((last - 19..=last).rev())
    );
    let (of_journal, of_index) = disk.take();
    assert!(of_journal < 8_000, "{of_journal} bytes of the journal");
    assert!(of_index < 100_000, "{of_index} bytes of the index");
    // The page before, and one from the middle, when the end of the stream is known.
    for before in [last - 19, last / 2] {
        let page = store.history::<Lamp>("hall").backwards().before(before);
        assert_eq!(page.limit(20).collect().await?.len(), 20);
        let (of_journal, of_index) = disk.take();
        assert!(of_journal < 8_000, "{of_journal} bytes of the journal");
        assert!(of_index < 50_000, "{of_index} bytes of the index");
    }
    for is_backwards in [false, true] {
        let mut history = store.history::<Lamp>("hall");
        if is_backwards {
            history = history.backwards();
        }
        let mut count = 0;
        while let Some(event) = history.next().await {
            event?;
            count += 1;
            if count == 1_000 {
                let (read, _) = disk.take();
                assert!(read < 2_000_000, "{read} bytes of {journal}");
            }
        }
        assert_eq!(count, last);
        let (read, _) = disk.take();
        assert!(read < journal * 2, "{read} bytes of {journal}");
    }
    store.close().await?;
    Ok(())
}

/// How often a meter was folded.
static FOLDED: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Read(u64);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum MeterEvent {
    Read(u64),
}

/// Whether the greatest value panics when it is folded.
static HAS_FORGOTTEN: AtomicBool = AtomicBool::new(false);

/// Knows its readings.
#[aggregate(command = Read, error = std::convert::Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Meter {
    read: Vec<u64>,
}

impl Decider for Meter {
    fn decide(&self, Read(value): Read) -> Result<Vec<MeterEvent>, std::convert::Infallible> {
        Ok(vec![MeterEvent::Read(value)])
    }

    fn evolve(&mut self, MeterEvent::Read(value): &MeterEvent) {
        FOLDED.fetch_add(1, Ordering::Relaxed);
        let is_known = *value < u64::MAX || !HAS_FORGOTTEN.load(Ordering::Relaxed);
        assert!(is_known, "forgotten");
        self.read.push(*value);
    }
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

async fn open_meter(
    base: &std::path::Path,
    clock: &ManualClock,
) -> Result<AggregateStore, OpenError> {
    let builder = AggregateStore::builder(base).clock(clock.clone());
    builder.snapshot_every(10).open().await
}

#[tokio::test]
async fn a_state_is_that_of_a_version_or_of_a_time() -> TestResult {
    let base = tempfile::tempdir()?;
    let clock = ManualClock::new(at(1_000));
    let store = open_meter(base.path(), &clock).await?;
    let meter = store.get::<Meter>("m").await?;
    assert_eq!(meter.state_at(0).await?, Meter::default());
    assert_eq!(meter.state_at_time(at(5_000)).await?, Meter::default());
    // Two readings in each of 14 seconds, 10 seconds apart.
    for number in 1..=28 {
        if number % 2 == 1 {
            clock.set(at(1_000 + 10 * number / 2));
        }
        meter.execute(Read(number), ()).await?;
    }
    let times: Vec<_> = store.raw_history("meter", "m").collect().await?;
    let times: Vec<_> = times.iter().map(RawRecorded::at).collect();
    for is_reopened in [false, true] {
        for version in 0..=28 {
            let state = meter.state_at(version).await?;
            assert!(state.read.into_iter().eq(1..=version), "{version}");
        }
        for second in 990..1_150 {
            let known = times.iter().filter(|time| **time <= at(second)).count() as u64;
            let state = meter.state_at_time(at(second)).await?;
            assert!(state.read.into_iter().eq(1..=known), "{second}");
        }
        let first = *times.first().ok_or("none")?;
        for (time, count) in [
            (SystemTime::UNIX_EPOCH - Duration::from_secs(9), 0),
            (first - Duration::from_millis(1), 0),
            (SystemTime::now() + Duration::from_secs(1 << 40), 28),
        ] {
            assert_eq!(meter.state_at_time(time).await?.read.len(), count);
        }
        let beyond = meter.state_at(29).await;
        assert!(
            beyond
                .as_ref()
                .is_err_and(|error| error.to_string().contains("version 28")),
            "{beyond:?}"
        );
        if is_reopened {
            // A snapshot saves folds for those behind it, and is not used for those before. Snapshots are written behind
            // the commands, so that the test waits for one of them.
            let folds = |before| FOLDED.load(Ordering::Relaxed) - before;
            let saved = async {
                loop {
                    let before = FOLDED.load(Ordering::Relaxed);
                    meter.state_at(28).await?;
                    if folds(before) <= 18 {
                        return Ok::<_, StateError>(());
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), saved).await??;
            let before = FOLDED.load(Ordering::Relaxed);
            meter.state_at(19).await?;
            assert!(folds(before) >= 9, "{}", folds(before));
            break;
        }
    }
    drop(meter);
    store.close().await?;
    let store = open_meter(base.path(), &clock).await?;
    let meter = store.get::<Meter>("m").await?;
    let before = FOLDED.load(Ordering::Relaxed);
    for version in (0..=28).rev() {
        let state = meter.state_at(version).await?;
        assert!(state.read.into_iter().eq(1..=version), "{version}");
        if version == 28 {
            let folded = FOLDED.load(Ordering::Relaxed) - before;
            assert!(folded <= 18, "{folded}");
        }
    }
    drop(meter);
    store.close().await?;
    Ok(())
}

/// The fold is code of the user, which may not know the past.
#[tokio::test]
async fn a_fold_that_panics_is_an_error() -> TestResult {
    let base = tempfile::tempdir()?;
    let clock = ManualClock::new(at(1_000));
    let store = open_meter(base.path(), &clock).await?;
    let meter = store.get::<Meter>("m").await?;
    meter.execute(Read(u64::MAX), ()).await?;
    HAS_FORGOTTEN.store(true, Ordering::Relaxed);
    assert_eq!(meter.state_at(0).await?, Meter::default());
    for state in [
        meter.state_at(1).await,
        meter.state_at_time(at(2_000)).await,
    ] {
        let is_panic = |error: &StateError| matches!(&error.source, StoreError::Panicked { message, .. } if message.contains("forgotten"));
        assert!(state.as_ref().is_err_and(is_panic), "{state:?}");
    }
    drop(meter);
    store.close().await?;
    Ok(())
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn damage_is_an_error_and_the_end() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    for _ in 0..300 {
        store.send("hall", LampCommand::Switch(1), ()).await?;
    }
    store.close().await?;
    let store = AggregateStore::open(base.path()).await?;
    let path = base.path().join("meta/journal/app.jsonl");
    let mut bytes = std::fs::read(&path)?;
    let middle = bytes.len() / 2;
    for byte in bytes.iter_mut().skip(middle).take(100) {
        *byte ^= 0x15;
    }
    std::fs::write(&path, bytes)?;
    for is_backwards in [false, true] {
        let mut history = store.raw_history("lamp", "hall");
        if is_backwards {
            history = history.backwards();
        }
        let mut read = 0;
        let error = loop {
            match history.next().await.ok_or("the end")? {
                Ok(_) => read += 1,
                Err(error) => break error,
            }
        };
        assert!(
            matches!(error, ReadError::Store(StoreError::Damaged(_))),
            "{error:?}"
        );
        assert!(read > 50, "{read}: {error}");
        assert!(history.next().await.is_none());
    }
    let events = store.read_events("lamp", "hall").await;
    assert!(matches!(events, Err(StoreError::Damaged(_))), "{events:?}");
    drop(store);
    Ok(())
}

#[tokio::test]
async fn it_is_a_stream_that_can_be_sent() -> TestResult {
    fn is_stream<S>(stream: S) -> S
    where
        S: futures_core::Stream<Item = Result<Recorded<DoorEvent>, ReadError>>
            + Send
            + Sync
            + Unpin
            + 'static,
    {
        stream
    }
    let base = tempfile::tempdir()?;
    let store = open(base.path()).await?;
    store.send("front", DoorCommand::Open, ()).await?;
    let mut doors = is_stream(store.history::<crate::subscriptions::Door>("front"));
    let next = std::future::poll_fn(|context| {
        futures_core::Stream::poll_next(std::pin::Pin::new(&mut doors), context)
    });
    assert_eq!(next.await.ok_or("none")??.event, DoorEvent::Opened);
    store.close().await?;
    Ok(())
}
