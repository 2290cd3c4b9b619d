//! Subscriptions: every durable event once, in order, from the past into the present.

use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use eventfold_es::prelude::*;
use eventfold_es::{
    Durability, EventError, RawRecorded, ReadError, Recorded, StoreError, Subscription,
};
use eventfold_es_tests::TestResult;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum LampCommand {
    Switch(u32),
    Break,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum LampEvent {
    Switched { time: u32 },
    Broken,
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Lamp;

impl Decider for Lamp {
    fn decide(&self, command: LampCommand) -> Result<Vec<LampEvent>, Infallible> {
        Ok(match command {
            LampCommand::Switch(times) => (0..times)
                .map(|time| LampEvent::Switched { time })
                .collect(),
            LampCommand::Break => vec![LampEvent::Broken],
        })
    }

    fn evolve(&mut self, _: &LampEvent) {}
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum DoorCommand {
    Open,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum DoorEvent {
    Opened,
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Door;

impl Decider for Door {
    fn decide(&self, _: DoorCommand) -> Result<Vec<DoorEvent>, Infallible> {
        Ok(vec![DoorEvent::Opened])
    }

    fn evolve(&mut self, _: &DoorEvent) {}
}

/// A store that archives early and often.
pub(crate) async fn open(base: &Path) -> Result<AggregateStore, eventfold_es::OpenError> {
    let builder = AggregateStore::builder(base).durability(Durability::Flush);
    builder.max_log_size(100_000).open().await
}

/// Switches lamps, and opens a door now and then, with commands of one to three events.
pub(crate) async fn work(
    store: AggregateStore,
    client: u32,
    commands: u32,
) -> Result<(), eventfold_es::Error> {
    for number in 0..commands {
        let id = format!("{client}-{}", number % 7);
        match number % 5 {
            0 => drop(store.send(&id, DoorCommand::Open, ()).await?),
            times => drop(store.send(&id, LampCommand::Switch(times), ()).await?),
        }
    }
    Ok(())
}

/// The archived segments of a closed store, in order.
fn segments(base: &Path) -> std::io::Result<Vec<PathBuf>> {
    let journal = base.join("meta/journal");
    let mut segments = Vec::new();
    if journal.exists() {
        for entry in fs::read_dir(journal)? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name != "app.jsonl") {
                segments.push(path);
            }
        }
    }
    segments.sort();
    Ok(segments)
}

async fn positions_until(
    mut events: Subscription<RawRecorded>,
    last: u64,
) -> Result<Vec<u64>, ReadError> {
    let mut positions = Vec::new();
    while positions.last().is_none_or(|position| *position < last) {
        match events.next().await {
            Some(event) => positions.push(event?.position()),
            None => break,
        }
    }
    Ok(positions)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn each_event_comes_once_from_the_past_into_the_present() -> TestResult {
    let base = tempfile::tempdir()?;
    // A busy machine archives less at a time.
    let mut rounds = 0;
    while segments(base.path())?.len() < 3 {
        rounds += 1;
        let store = open(base.path()).await?;
        let clients: Vec<_> = (0..8)
            .map(|client| tokio::spawn(work(store.clone(), client, 300)))
            .collect();
        for client in clients {
            client.await??;
        }
        store.close().await?;
    }

    // Nothing of that is in memory now.
    let store = open(base.path()).await?;
    let past = store.read_all(0, usize::MAX).await?.len() as u64;
    let new = 4 * (40 + 4 * 40 * 10 / 4);
    let clients: Vec<_> = (10..14)
        .map(|client| tokio::spawn(work(store.clone(), client, 200)))
        .collect();
    let mut readers = Vec::new();
    for after in [0, 1, 2, past / 2, past - 1, past, past + 3] {
        let events = store.subscribe_all().after(after);
        readers.push((after, tokio::spawn(positions_until(events, past + new))));
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    for client in clients {
        client.await??;
    }
    for (after, reader) in readers {
        let found = reader.await??;
        assert!(
            found.into_iter().eq(after + 1..=past + new),
            "after {after}"
        );
    }

    // One type of them, with everything that is known.
    let all = store.read_all(0, usize::MAX).await?;
    assert!(all.is_sorted_by_key(|event| (event.position(), event.at())));
    let expected: Vec<_> = all
        .iter()
        .filter(|event| event.aggregate_type() == "lamp")
        .map(|event| {
            (
                event.position(),
                event.stream_id().to_owned(),
                event.version(),
            )
        })
        .collect();
    let mut lamps = store.subscribe::<Lamp>().until_now();
    let mut found = Vec::new();
    while let Some(lamp) = lamps.next().await {
        let lamp = lamp?;
        assert!(matches!(lamp.event, LampEvent::Switched { .. }));
        found.push((lamp.position(), lamp.stream_id().to_owned(), lamp.version()));
    }
    assert_eq!(found, expected);
    assert_eq!(found.len() + rounds * 8 * 60 + 4 * 40, all.len());
    store.close().await?;
    Ok(())
}

#[tokio::test]
async fn it_tells_everything_about_an_event() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = open(base.path()).await?;
    let before = SystemTime::now() - Duration::from_secs(1);
    let context = CommandContext::default()
        .with_actor("ann")
        .with_correlation_id("c-1")
        .with_metadata(serde_json::json!({ "tenant": 7 }));
    store.send("hall", LampCommand::Switch(2), context).await?;
    let mut lamps = store.subscribe::<Lamp>().after(1);
    let Recorded { event, raw, .. } = lamps.next().await.ok_or("none")??;
    assert_eq!(event, LampEvent::Switched { time: 1 });
    assert_eq!((raw.position(), raw.version()), (2, 2));
    assert_eq!((raw.aggregate_type(), raw.stream_id()), ("lamp", "hall"));
    assert_eq!(
        (raw.actor(), raw.correlation_id()),
        (Some("ann"), Some("c-1"))
    );
    assert_eq!(raw.causation_id(), None);
    assert_eq!(
        raw.metadata().and_then(|meta| meta.get("tenant")),
        Some(&7.into())
    );
    assert!(raw.id().is_some_and(|id| id.len() == 36));
    assert!(raw.at() > before && raw.at() < SystemTime::now() + Duration::from_secs(1));
    assert_eq!(raw.recorded()?.event_type, "Switched");
    assert!(raw.json().starts_with("{\"type\":\"Switched\""));
    assert_eq!(raw.decode::<Lamp>()?, Some(event));
    assert_eq!(raw.decode::<Door>()?, None);
    store.close().await?;
    Ok(())
}

#[tokio::test]
async fn it_waits_beyond_the_end_and_ends_where_it_is_asked_to() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = open(base.path()).await?;
    assert!(store.subscribe_all().until_now().next().await.is_none());
    assert!(store.read_all(7, 10).await?.is_empty());
    let mut beyond = store.subscribe_all().after(3);
    for number in 0..5 {
        let waits = tokio::time::timeout(Duration::from_millis(20), beyond.next()).await;
        assert!(waits.is_err() == (number < 4), "{number}: {waits:?}");
        store.send("front", DoorCommand::Open, ()).await?;
    }
    let page = store.read_all(1, 2).await?;
    let positions: Vec<_> = page.iter().map(RawRecorded::position).collect();
    assert_eq!(positions, [2, 3]);
    let mut now = store.subscribe_all().after(4).until_now();
    store.send("front", DoorCommand::Open, ()).await?;
    assert_eq!(now.next().await.ok_or("none")??.position(), 5);
    assert!(now.next().await.is_none());
    assert!(now.next().await.is_none());
    // Of a commit with several events, those behind the position.
    store.send("hall", LampCommand::Switch(4), ()).await?;
    let behind = store.read_all(8, 10).await?;
    let versions: Vec<_> = behind
        .iter()
        .map(|event| (event.position(), event.version()))
        .collect();
    assert_eq!(versions, [(9, 3), (10, 4)]);
    // Behind events of another type in one commit.
    store
        .transaction(())
        .send("front", DoorCommand::Open)
        .send("hall", LampCommand::Switch(2))
        .send("back", DoorCommand::Open)
        .commit()
        .await?;
    let mut lamps = store.subscribe::<Lamp>().after(10).until_now();
    for position in [12, 13] {
        assert_eq!(lamps.next().await.ok_or("none")??.position(), position);
    }
    assert!(lamps.next().await.is_none());
    store.close().await?;
    Ok(())
}

pub(crate) mod earlier {
    use super::*;

    /// What an earlier program knew of a lamp, under its name.
    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
    #[serde(tag = "type", content = "data")]
    pub enum LampEvent {
        Switched { time: Panicking },
    }

    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub enum LampCommand {}

    /// Panics when it reads 2.
    #[derive(Debug, Clone, PartialEq, Serialize)]
    pub struct Panicking(u32);

    impl<'de> Deserialize<'de> for Panicking {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            match u32::deserialize(deserializer)? {
                2 => panic!("two"),
                other => Ok(Self(other)),
            }
        }
    }

    #[aggregate(error = Infallible)]
    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    pub struct Lamp;

    impl Decider for Lamp {
        fn decide(&self, command: LampCommand) -> Result<Vec<LampEvent>, Infallible> {
            match command {}
        }

        fn evolve(&mut self, _: &LampEvent) {}
    }
}

#[tokio::test]
async fn it_goes_on_behind_events_that_do_not_decode() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = open(base.path()).await?;
    for command in [
        LampCommand::Break,
        LampCommand::Switch(4),
        LampCommand::Break,
    ] {
        store.send("hall", command, ()).await?;
    }
    let mut lamps = store.subscribe::<earlier::Lamp>().until_now();
    let mut found = Vec::new();
    while let Some(lamp) = lamps.next().await {
        found.push(match lamp {
            Ok(lamp) => (lamp.position(), "decoded"),
            Err(ReadError::Event {
                position, source, ..
            }) if source.to_string().contains("panicked") => (position, "panicked"),
            Err(ReadError::Event {
                position,
                source: EventError::UnknownType { .. },
                ..
            }) => (position, "unknown"),
            Err(error) => return Err(error.into()),
        });
    }
    let expected = [
        (1, "unknown"),
        (2, "decoded"),
        (3, "decoded"),
        (4, "panicked"),
        (5, "decoded"),
        (6, "unknown"),
    ];
    assert_eq!(found, expected);
    store.close().await?;
    Ok(())
}

#[tokio::test]
async fn it_ends_with_its_store_and_keeps_none_open() -> TestResult {
    let base = tempfile::tempdir()?;
    for is_closed in [true, false] {
        let store = open(base.path()).await?;
        store.send("front", DoorCommand::Open, ()).await?;
        let mut events = store
            .subscribe_all()
            .after(store.read_all(0, 10).await?.len() as u64);
        let waiting = tokio::spawn(async move { events.next().await.is_none() });
        tokio::task::yield_now().await;
        let unread = store.subscribe_all();
        if is_closed {
            store.close().await?;
        } else {
            drop(store);
        }
        assert!(waiting.await?);
        // Waits until the directory is released.
        let again = open(base.path()).await?;
        let mut unread = unread;
        assert!(unread.next().await.is_none());
        again.close().await?;
    }
    let store = open(base.path()).await?;
    let closed = store.clone();
    store.close().await?;
    let page = closed.read_all(0, 10).await;
    assert!(
        matches!(page, Err(ReadError::Store(StoreError::Closed))),
        "{page:?}"
    );
    Ok(())
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn damage_is_an_error_and_the_end() -> TestResult {
    let base = tempfile::tempdir()?;
    while segments(base.path())?.len() < 2 {
        let store = open(base.path()).await?;
        work(store.clone(), 1, 1_500).await?;
        store.close().await?;
    }
    let archived = segments(base.path())?;
    let path = archived.get(1).ok_or("no segment")?;
    let mut bytes = fs::read(path)?;
    for byte in bytes.iter_mut().skip(100).take(2_000) {
        *byte ^= 0x55;
    }
    fs::write(path, bytes)?;
    let store = open(base.path()).await?;
    let mut events = store.subscribe_all();
    let mut read = 0;
    let error = loop {
        match events.next().await.ok_or("the end")? {
            Ok(event) => {
                read += 1;
                assert_eq!(event.position(), read);
            }
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, ReadError::Store(StoreError::Damaged(_))),
        "{error:?}"
    );
    assert!(read > 0);
    assert!(events.next().await.is_none());
    // The events behind the damage are there for those who begin behind it.
    let last = events_behind(&store).await?;
    assert!(last > read);
    store.close().await?;
    Ok(())
}

async fn events_behind(store: &AggregateStore) -> Result<u64, Box<dyn std::error::Error>> {
    let mut after = 0;
    let mut beyond = 1 << 20;
    // The highest position behind which there is an event.
    while after + 1 < beyond {
        let middle = (after + beyond) / 2;
        match store.read_all(middle, 1).await {
            Ok(page) if page.is_empty() => beyond = middle,
            _ => after = middle,
        }
    }
    Ok(after + 1)
}

#[tokio::test]
async fn no_event_is_lost_when_a_reader_gives_up_waiting() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = open(base.path()).await?;
    let writer = tokio::spawn(work(store.clone(), 1, 400));
    let mut events = store.subscribe_all();
    let mut position = 0;
    while position < 400 {
        let next = tokio::time::timeout(Duration::from_micros(50), events.next()).await;
        if let Ok(Some(event)) = next {
            position += 1;
            assert_eq!(event?.position(), position);
        }
    }
    writer.await??;
    store.close().await?;
    Ok(())
}

#[tokio::test]
async fn it_is_a_stream_that_can_be_sent() -> TestResult {
    fn is_stream<S>(stream: S) -> S
    where
        S: futures_core::Stream<Item = Result<Recorded<LampEvent>, ReadError>>
            + Send
            + Unpin
            + 'static,
    {
        stream
    }
    let base = tempfile::tempdir()?;
    let store = open(base.path()).await?;
    store.send("hall", LampCommand::Switch(1), ()).await?;
    let mut lamps = is_stream(store.subscribe::<Lamp>());
    let next = std::future::poll_fn(|context| {
        futures_core::Stream::poll_next(Pin::new(&mut lamps), context)
    });
    assert_eq!(
        next.await.ok_or("none")??.event,
        LampEvent::Switched { time: 0 }
    );
    store.close().await?;
    Ok(())
}
