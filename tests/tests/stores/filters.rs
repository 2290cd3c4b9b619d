//! Subscriptions to some of the events, and whom a batch wakes.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::{RawRecorded, ReadError, Recorded, StoreError, Subscription, eventfold};
use eventfold_es_tests::TestResult;
use serde_json::json;

use crate::subscriptions::{Door, DoorCommand, Lamp, LampCommand, LampEvent, open, work};

async fn names(mut items: Subscription<Recorded<ItemEvent>>) -> Result<Vec<u64>, ReadError> {
    let mut found = Vec::new();
    while let Some(item) = items.next().await {
        found.push(item?.position());
    }
    Ok(found)
}

#[tokio::test]
async fn the_events_with_a_name_come_alone() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = open(base.path()).await?;
    work(store.clone(), 1, 200).await?;
    let mut broken = store.subscribe::<Lamp>().only(&["Broken"])?;
    for _ in 0..3 {
        store.send("hall", LampCommand::Break, ()).await?;
        store.send("hall", LampCommand::Switch(2), ()).await?;
    }
    let first = store.read_all(0, usize::MAX).await?.len() as u64 - 8;
    for position in [first, first + 3, first + 6] {
        let broken = broken.next().await.ok_or("none")??;
        assert_eq!(broken.event, LampEvent::Broken);
        assert_eq!(broken.position(), position);
    }
    // It waits for the next one.
    let waiting = tokio::time::timeout(Duration::from_millis(20), broken.next());
    assert!(waiting.await.is_err());
    store.send("cellar", LampCommand::Break, ()).await?;
    assert_eq!(broken.next().await.ok_or("none")??.position(), first + 9);
    let mut none = store.subscribe::<Lamp>().only(&[])?.until_now();
    assert!(none.next().await.is_none());

    let error = store
        .subscribe::<Lamp>()
        .only(&["Broken", "Brocken", "Lit"]);
    let error = error.err().ok_or("accepted")?;
    assert!(
        matches!(&error, StoreError::NoSuchEvent { names, known } if names == "Brocken, Lit" && known == "Switched, Broken"),
        "{error}"
    );
    let text = error.to_string();
    assert!(text.contains("Brocken, Lit") && text.contains("Switched, Broken"));
    store.close().await?;
    Ok(())
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ItemCommand {}

/// How often the content of an item was decoded.
static DECODED: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Content(u32);

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        DECODED.fetch_add(1, Ordering::Relaxed);
        u32::deserialize(deserializer).map(Self)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum ItemEvent {
    #[serde(alias = "Inserted")]
    Added(Content),
    #[event(version = 2, upcast_from(1 => ChangedV1))]
    Changed {
        name: String,
    },
    Moved {
        place: String,
    },
}

/// A change, also of the place.
#[derive(Deserialize)]
pub struct ChangedV1 {
    name: Option<String>,
    place: Option<String>,
}

impl Upcast<ItemEvent> for ChangedV1 {
    fn upcast(self) -> ItemEvent {
        match (self.name, self.place) {
            (Some(name), _) => ItemEvent::Changed { name },
            (None, place) => ItemEvent::Moved {
                place: place.unwrap_or_default(),
            },
        }
    }
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Item;

impl Decider for Item {
    fn decide(&self, command: ItemCommand) -> Result<Vec<ItemEvent>, Infallible> {
        match command {}
    }

    fn evolve(&mut self, _: &ItemEvent) {}
}

/// Stores events as programs of several versions have.
pub(crate) async fn items(store: &AggregateStore) -> TestResult {
    let v2 = json!({ "schema_version": 2 });
    for (event_type, data, meta) in [
        ("Inserted", json!(1), None),
        ("Added", json!(2), None),
        ("Changed", json!({ "name": "tea" }), None),
        ("Changed", json!({ "place": "shelf" }), None),
        ("Changed", json!({ "name": "coffee" }), Some(v2)),
        ("Moved", json!({ "place": "box" }), None),
        ("Inserted", json!(3), None),
    ] {
        let event = eventfold::Event {
            event_type: event_type.to_owned(),
            data,
            ts: 0,
            id: None,
            actor: None,
            meta,
        };
        let options = eventfold_es::store::InjectOptions::default();
        store.inject_event::<Item>("i", event, options).await?;
    }
    Ok(())
}

#[tokio::test]
async fn old_names_and_versions_count_as_the_event_that_they_became() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = open(base.path()).await?;
    items(&store).await?;
    for (wanted, expected) in [
        (&["Added"][..], &[1, 2, 7][..]),
        (&["Inserted"], &[1, 2, 7]),
        (&["Changed"], &[3, 5]),
        (&["Moved"], &[4, 6]),
        (&["Moved", "Added"], &[1, 2, 4, 6, 7]),
        (&[], &[]),
    ] {
        let filtered = store.subscribe::<Item>().only(wanted)?.until_now();
        assert_eq!(names(filtered).await?, expected, "{wanted:?}");
    }
    // Those that are not wanted are not decoded.
    let before = DECODED.load(Ordering::Relaxed);
    let moved = store.subscribe::<Item>().only(&["Moved"])?.until_now();
    assert_eq!(names(moved).await?.len(), 2);
    assert_eq!(DECODED.load(Ordering::Relaxed), before);
    store.close().await?;
    Ok(())
}

#[tokio::test]
async fn the_events_of_some_types_come_alone() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = open(base.path()).await?;
    work(store.clone(), 1, 100).await?;
    items(&store).await?;
    let all = store.read_all(0, usize::MAX).await?;
    for types in [
        &["door"][..],
        &["item", "door"],
        &["lamp", "item", "door"],
        &["nothing"],
        &[],
    ] {
        let of_types = all
            .iter()
            .filter(|event| types.contains(&event.aggregate_type()));
        let expected: Vec<_> = of_types.map(RawRecorded::position).collect();
        let mut events = store.subscribe_all().only_types(types).until_now();
        let mut found = Vec::new();
        while let Some(event) = events.next().await {
            found.push(event?.position());
        }
        assert_eq!(found, expected, "{types:?}");
    }
    store.close().await?;
    Ok(())
}

/// Counts how often it is woken.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A subscriber that waits, and how often it was woken.
struct Waiting<T> {
    events: Subscription<T>,
    count: Arc<Counting>,
}

impl<T> Waiting<T> {
    async fn new(events: Subscription<T>) -> Result<Self, Box<dyn std::error::Error>> {
        let mut waiting = Self {
            events,
            count: Arc::default(),
        };
        // Until it has read everything, which may take a read of the file.
        for _ in 0..100 {
            let before = waiting.count.0.load(Ordering::SeqCst);
            if waiting.poll().is_some() {
                return Err("there is an event already".into());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
            if waiting.count.0.swap(0, Ordering::SeqCst) == before {
                return Ok(waiting);
            }
        }
        Err("it is woken all the time".into())
    }

    fn poll(&mut self) -> Option<Option<Result<T, ReadError>>> {
        let waker = Waker::from(Arc::clone(&self.count));
        let next = pin!(self.events.next());
        match next.poll(&mut Context::from_waker(&waker)) {
            std::task::Poll::Ready(event) => Some(event),
            std::task::Poll::Pending => None,
        }
    }

    fn woken(&self) -> usize {
        self.count.0.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_batch_wakes_those_whose_types_it_has() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = open(base.path()).await?;
    store.send("hall", LampCommand::Switch(3), ()).await?;
    let mut doors = Waiting::new(store.subscribe::<Door>()).await?;
    let two = store.subscribe_all().only_types(&["item", "door"]);
    let mut two = Waiting::new(two).await?;
    let mut later = Waiting::new(store.subscribe::<Door>().after(4)).await?;
    let mut all = Waiting::new(store.subscribe_all().after(3)).await?;
    for _ in 0..50 {
        store.send("hall", LampCommand::Switch(1), ()).await?;
    }
    assert_eq!((doors.woken(), two.woken(), later.woken()), (0, 0, 0));
    assert_eq!(all.woken(), 1);
    let mut next = 4;
    while let Some(event) = all.poll() {
        assert_eq!(event.ok_or("the end")??.position(), next);
        next += 1;
    }
    assert_eq!(next, 54);

    // Many batches are between it and its event, and more came behind that.
    store.send("front", DoorCommand::Open, ()).await?;
    store.send("hall", LampCommand::Switch(1), ()).await?;
    store.send("front", DoorCommand::Open, ()).await?;
    assert_eq!((doors.woken(), later.woken()), (1, 1));
    assert!((1..=2).contains(&two.woken()), "{}", two.woken());
    for position in [54, 56] {
        for found in [doors.poll(), later.poll()] {
            let found = found.ok_or("waits")?.ok_or("the end")??;
            assert_eq!(found.position(), position);
        }
        let found = two.poll().ok_or("waits")?.ok_or("the end")??;
        assert_eq!(
            (found.position(), found.aggregate_type()),
            (position, "door")
        );
    }
    assert!(doors.poll().is_none() && two.poll().is_none());
    drop((doors, two, later, all));
    store.close().await?;
    Ok(())
}

/// Readers of a rare type beside writers of others: nothing is lost between two waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_lost_between_two_waits() -> TestResult {
    const DOORS: u64 = 300;
    let base = tempfile::tempdir()?;
    let store = open(base.path()).await?;
    let mut readers = Vec::new();
    for number in 0..20 {
        let mut doors = store.subscribe::<Door>();
        readers.push(tokio::spawn(async move {
            for version in 1..=DOORS {
                let door = doors.next().await.ok_or("the end")?;
                let door = door.map_err(|error| error.to_string())?;
                if door.version() != version {
                    return Err(format!("{number}: {} instead of {version}", door.version()));
                }
            }
            Ok(())
        }));
    }
    let lamps = store.clone();
    let lamps = tokio::spawn(async move {
        for _ in 0..2_000 {
            lamps.send("hall", LampCommand::Switch(1), ()).await?;
        }
        Ok::<_, eventfold_es::Error>(())
    });
    for number in 0..DOORS {
        store.send("front", DoorCommand::Open, ()).await?;
        if number % 3 == 0 {
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
    }
    for reader in readers {
        tokio::time::timeout(Duration::from_secs(20), reader).await???;
    }
    lamps.await??;
    store.close().await?;
    Ok(())
}
