//! Interrupted rebuilds: they go on where their last commit was, unless the program has changed or nobody wants them any more.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use eventfold_es::contract::{ReadModel, SinkProjection};
use eventfold_es::prelude::*;
use eventfold_es::{RebuildStep, Sink, StoreError};
use eventfold_es_tests::TestResult;

use crate::SOON;
use crate::common::counter::{Counter, CounterCommand, CounterEvent};

/// The number of events.
const EVENTS: u64 = 60;
/// The position at which the projections fail.
const FAILS_AT: u64 = 40;

/// One test at a time uses the projections.
static USING: Mutex<()> = Mutex::new(());
static STATE: Mutex<Projecting> = Mutex::new(Projecting {
    is_broken: false,
    failures: 0,
    seen: Vec::new(),
});

struct Projecting {
    /// Whether the projections panic at [`FAILS_AT`].
    is_broken: bool,
    failures: u32,
    /// The positions of the projected events.
    seen: Vec<u64>,
}

fn state() -> MutexGuard<'static, Projecting> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes an event, or panics.
fn see(position: u64) {
    let mut state = state();
    if state.is_broken && position == FAILS_AT {
        state.failures += 1;
        drop(state);
        panic!("broken");
    }
    state.seen.push(position);
}

/// The positions that were seen since the last call.
fn seen() -> Vec<u64> {
    std::mem::take(&mut state().seen)
}

/// Two failures: the first one commits the events before it, and the second one is that of the next attempt.
async fn fails_often() {
    let before = state().failures;
    while state().failures < before + 4 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

struct Using(#[expect(dead_code, reason = "held")] MutexGuard<'static, ()>);

impl Using {
    fn begin() -> Self {
        let held = USING.lock().unwrap_or_else(PoisonError::into_inner);
        state().is_broken = false;
        seen();
        Self(held)
    }
}

/// A number that depends on the order of the events.
fn folded(number: i64, by: i64, factor: i64) -> i64 {
    (number ^ by)
        .wrapping_mul(0x0100_0000_01b3)
        .wrapping_add(factor)
}

macro_rules! rows {
    ($module:ident, $factor:literal, [$($index:tt)*] $($version:tt)*) => {
        mod $module {
            use super::*;

            #[projection(subscribes = [Counter], key = String, name = "numbers" $($version)*)]
            #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
            pub(super) struct Numbers {
                $($index)*
                pub(super) number: i64,
            }

            impl Locate<Counter> for Numbers {
                fn locate(_: &CounterEvent, cx: &EventContext<'_>) -> Keys<String> {
                    Keys::one(cx.stream_id().to_owned())
                }
            }

            impl Project<Counter> for Numbers {
                fn project(&mut self, event: &CounterEvent, cx: &EventContext<'_>) {
                    see(cx.position());
                    if let CounterEvent::Added(by) = event {
                        self.number = folded(self.number, *by, $factor);
                    }
                }
            }

            impl Shown for Numbers {
                async fn shown(store: &AggregateStore) -> Result<States, StoreError> {
                    let rows = store.rows::<Self>()?.all().collect().await?;
                    Ok(rows.into_iter().map(|(id, row)| (id, row.number)).collect())
                }
            }
        }
    };
}

type States = BTreeMap<String, i64>;

/// A projection whose state a test reads.
trait Shown: ReadModel + SinkProjection {
    async fn shown(store: &AggregateStore) -> Result<States, StoreError>;
}

rows! { first, 1, [] }
rows! { second, 2, [] , version = 2 }
rows! { third, 3, [] , version = 3 }
rows! { indexed, 2, [#[index]] , version = 2 }

/// A sink of a user, with a place for the new state of a rebuild.
#[derive(Clone, Default)]
struct TwoPlaces(Arc<Mutex<Places>>);

/// The current and the new states, with their progress.
type Places = [BTreeMap<&'static str, (States, String)>; 2];

impl TwoPlaces {
    fn content(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sink of the present test.
static SINK: Mutex<Option<TwoPlaces>> = Mutex::new(None);

impl Sink for TwoPlaces {
    type Connection = Self;
    type Tx<'t> = States;
    type Error = Infallible;

    fn connect(&self) -> Result<Self, Infallible> {
        Ok(self.clone())
    }

    fn transact(
        connection: &mut Self,
        _: &str,
        work: &mut dyn FnMut(&mut States, Option<&str>) -> Option<String>,
    ) -> Result<(), Infallible> {
        let [current, _] = &mut *connection.content();
        let (mut states, progress) = current.get(NAME).cloned().unzip();
        let states = states.get_or_insert_default();
        if let Some(next) = work(states, progress.as_deref()) {
            current.insert(NAME, (std::mem::take(states), next));
        }
        Ok(())
    }

    fn rebuild(
        connection: &mut Self,
        _: &str,
        work: &mut dyn FnMut(&mut States, Option<&str>) -> Option<RebuildStep>,
    ) -> Result<bool, Infallible> {
        let [current, new] = &mut *connection.content();
        let (mut states, progress) = new.get(NAME).cloned().unzip();
        let states = states.get_or_insert_default();
        match work(states, progress.as_deref()) {
            None => {}
            Some(RebuildStep::Save(next)) => {
                new.insert(NAME, (std::mem::take(states), next));
            }
            Some(RebuildStep::Exchange(next)) => {
                current.insert(NAME, (std::mem::take(states), next));
                new.clear();
            }
            Some(RebuildStep::Discard) => new.clear(),
        }
        Ok(true)
    }
}

const NAME: &str = "numbers";

macro_rules! sink {
    ($module:ident, $factor:literal, $version:literal) => {
        mod $module {
            use super::*;

            #[projection(subscribes = [Counter], sink = TwoPlaces, name = "numbers", version = $version)]
            pub(super) struct Numbers;

            impl Prepare for Numbers {
                fn prepare(states: &mut States) -> Result<(), Infallible> {
                    states.clear();
                    Ok(())
                }
            }

            impl ProjectInto<Counter> for Numbers {
                fn project(
                    event: &CounterEvent,
                    cx: &EventContext<'_>,
                    states: &mut States,
                ) -> Result<(), Infallible> {
                    see(cx.position());
                    if let CounterEvent::Added(by) = event {
                        let state = states.entry(cx.stream_id().to_owned()).or_default();
                        *state = folded(*state, *by, $factor);
                    }
                    Ok(())
                }
            }

            impl Shown for Numbers {
                async fn shown(_: &AggregateStore) -> Result<States, StoreError> {
                    let sink = SINK.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    let sink = sink.unwrap_or_default();
                    let [current, _] = &*sink.content();
                    Ok(current.get(NAME).cloned().unwrap_or_default().0)
                }
            }
        }
    };
}

sink! { sink_first, 1, 1 }
sink! { sink_second, 2, 2 }
sink! { sink_third, 3, 3 }

/// The states after the first events.
fn model(events: u64, factor: i64) -> States {
    let mut states = States::new();
    for position in 1..=events {
        let state = states.entry(format!("{}", position % 7)).or_default();
        *state = folded(*state, position as i64, factor);
    }
    states
}

async fn add(store: &AggregateStore, positions: std::ops::RangeInclusive<u64>) -> TestResult {
    for position in positions {
        let command = CounterCommand::Add(position as i64);
        store
            .send(&format!("{}", position % 7), command, ())
            .await?;
    }
    Ok(())
}

async fn rebuilding(store: &AggregateStore) -> Option<u64> {
    let health = store.health().await;
    let projection = health.projections.first()?;
    Some(projection.rebuild?.position)
}

/// The stores of one test.
struct Place {
    base: tempfile::TempDir,
    sink: TwoPlaces,
}

impl Place {
    /// A store whose projection has all events.
    async fn new<P: Shown>(
        open: impl AsyncFn(&Self) -> AggregateStore,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let place = Self {
            base: tempfile::tempdir()?,
            sink: TwoPlaces::default(),
        };
        *SINK.lock().unwrap_or_else(PoisonError::into_inner) = Some(place.sink.clone());
        let store = open(&place).await;
        add(&store, 1..=EVENTS).await?;
        store.wait_for::<P>(EVENTS, SOON).await?;
        store.close().await?;
        seen();
        Ok(place)
    }
}

macro_rules! opens {
    ($rows:ty) => {
        async |place: &Place| {
            let builder = AggregateStore::builder(place.base.path()).projection::<$rows>();
            builder.open().await.unwrap()
        }
    };
    ($sink:ty, sink) => {
        async |place: &Place| {
            let builder = AggregateStore::builder(place.base.path()).projection::<$sink>();
            builder.sink(place.sink.clone()).open().await.unwrap()
        }
    };
}

/// A rebuild that the program needs fails in its middle. The next life goes on there.
async fn goes_on<Old: Shown, New: Shown>(
    open_old: impl AsyncFn(&Place) -> AggregateStore,
    open_new: impl AsyncFn(&Place) -> AggregateStore,
) -> TestResult {
    let _using = Using::begin();
    let place = Place::new::<Old>(open_old).await?;
    state().is_broken = true;
    let store = open_new(&place).await;
    fails_often().await;
    // Each attempt goes on behind the last commit, and readers have the old state.
    let first: Vec<_> = (1..FAILS_AT).collect();
    assert_eq!(
        seen(),
        [&first[..], &first[..]].concat(),
        "tried as a whole, then up to the failure"
    );
    assert_eq!(New::shown(&store).await?, model(EVENTS, 1));
    store.close().await?;

    // The next life.
    let store = open_new(&place).await;
    fails_often().await;
    assert_eq!(
        rebuilding(&store).await.unwrap_or(FAILS_AT - 1),
        FAILS_AT - 1
    );
    assert_eq!(New::shown(&store).await?, model(EVENTS, 1));
    store.close().await?;
    assert!(seen().is_empty());

    state().is_broken = false;
    let store = open_new(&place).await;
    store.wait_for::<New>(EVENTS, SOON).await?;
    assert_eq!(seen(), (FAILS_AT..=EVENTS).collect::<Vec<_>>());
    assert_eq!(New::shown(&store).await?, model(EVENTS, 2));
    // As a rebuild at once.
    store.rebuild_projection::<New>().await?;
    assert_eq!(seen(), (1..=EVENTS).collect::<Vec<_>>());
    assert_eq!(New::shown(&store).await?, model(EVENTS, 2));
    add(&store, EVENTS + 1..=EVENTS + 3).await?;
    store.wait_for::<New>(EVENTS + 3, SOON).await?;
    assert_eq!(New::shown(&store).await?, model(EVENTS + 3, 2));
    store.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_of_rows_goes_on_behind_its_last_commit() -> TestResult {
    goes_on::<first::Numbers, second::Numbers>(opens!(first::Numbers), opens!(second::Numbers))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_of_a_sink_with_two_places_goes_on_behind_its_last_commit() -> TestResult {
    goes_on::<sink_first::Numbers, sink_second::Numbers>(
        opens!(sink_first::Numbers, sink),
        opens!(sink_second::Numbers, sink),
    )
    .await
}

/// A rebuild that was asked for goes on in the next life, beside new events. It can be cancelled there, and nothing stays.
async fn asked_for<P: Shown>(open: impl AsyncFn(&Place) -> AggregateStore) -> TestResult {
    let _using = Using::begin();
    let place = Place::new::<P>(&open).await?;
    let interrupt = async || -> TestResult {
        state().is_broken = true;
        let store = open(&place).await;
        // It begins anew, though a rebuild was interrupted.
        assert!(store.rebuild_projection::<P>().await.is_err());
        let first: Vec<_> = (1..FAILS_AT).collect();
        assert_eq!(seen(), [&first[..], &first[..]].concat());
        store.close().await?;
        state().is_broken = false;
        Ok(())
    };
    interrupt().await?;
    let store = open(&place).await;
    add(&store, EVENTS + 1..=EVENTS + 3).await?;
    store.wait_for::<P>(EVENTS + 3, SOON).await?;
    assert_eq!(P::shown(&store).await?, model(EVENTS + 3, 1));
    assert_eq!(seen(), (FAILS_AT..=EVENTS + 3).collect::<Vec<_>>());
    store.close().await?;

    // Cancelled in the next life.
    interrupt().await?;
    state().is_broken = true;
    let store = open(&place).await;
    fails_often().await;
    store.cancel_rebuild::<P>()?;
    store.resume_projection::<P>()?;
    add(&store, EVENTS + 4..=EVENTS + 4).await?;
    store.wait_for::<P>(EVENTS + 4, SOON).await?;
    assert_eq!(P::shown(&store).await?, model(EVENTS + 4, 1));
    assert_eq!(seen(), [EVENTS + 4], "the old state goes on");
    store.close().await?;
    assert!(place.sink.content()[1].is_empty());
    let store = open(&place).await;
    add(&store, EVENTS + 5..=EVENTS + 5).await?;
    store.wait_for::<P>(EVENTS + 5, SOON).await?;
    assert_eq!(rebuilding(&store).await, None);
    assert_eq!(seen(), [EVENTS + 5], "nothing of the rebuild stays");
    store.close().await?;

    // Asked for once more, while the rest of an earlier rebuild fails.
    interrupt().await?;
    state().is_broken = true;
    let store = open(&place).await;
    fails_often().await;
    assert!(seen().is_empty());
    let asked = store.rebuild_projection::<P>();
    let mended = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        state().is_broken = false;
    };
    let (rebuilt, ()) = tokio::join!(asked, mended);
    if rebuilt.is_err() {
        // It failed before it was mended.
        seen();
        store.rebuild_projection::<P>().await?;
    }
    assert_eq!(P::shown(&store).await?, model(EVENTS + 5, 1));
    assert!(seen().ends_with(&(1..=EVENTS + 5).collect::<Vec<_>>()));
    store.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_of_rows_that_was_asked_for_goes_on_or_is_cancelled() -> TestResult {
    asked_for::<first::Numbers>(opens!(first::Numbers)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_of_a_sink_that_was_asked_for_goes_on_or_is_cancelled() -> TestResult {
    asked_for::<sink_first::Numbers>(opens!(sink_first::Numbers, sink)).await
}

/// Another version, or another index, begins at the first event.
async fn begins_anew<Old: Shown, New: Shown, Newer: Shown>(
    open_old: impl AsyncFn(&Place) -> AggregateStore,
    open_new: impl AsyncFn(&Place) -> AggregateStore,
    open_newer: impl AsyncFn(&Place) -> AggregateStore,
    factor: i64,
) -> TestResult {
    let _using = Using::begin();
    let place = Place::new::<Old>(&open_old).await?;
    let interrupt = async || -> TestResult {
        state().is_broken = true;
        let store = open_new(&place).await;
        fails_often().await;
        store.close().await?;
        state().is_broken = false;
        seen();
        Ok(())
    };
    interrupt().await?;
    // The program of before: the new state is not its own, and the old one is.
    let store = open_old(&place).await;
    add(&store, EVENTS + 1..=EVENTS + 1).await?;
    store.wait_for::<Old>(EVENTS + 1, SOON).await?;
    assert_eq!(seen(), [EVENTS + 1]);
    assert_eq!(Old::shown(&store).await?, model(EVENTS + 1, 1));
    store.close().await?;
    assert!(place.sink.content()[1].is_empty());

    interrupt().await?;
    let store = open_newer(&place).await;
    store.wait_for::<Newer>(EVENTS + 1, SOON).await?;
    assert_eq!(seen(), (1..=EVENTS + 1).collect::<Vec<_>>());
    assert_eq!(Newer::shown(&store).await?, model(EVENTS + 1, factor));
    store.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_of_rows_of_another_version_begins_anew() -> TestResult {
    begins_anew::<first::Numbers, second::Numbers, third::Numbers>(
        opens!(first::Numbers),
        opens!(second::Numbers),
        opens!(third::Numbers),
        3,
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_of_rows_with_another_index_begins_anew() -> TestResult {
    begins_anew::<first::Numbers, second::Numbers, indexed::Numbers>(
        opens!(first::Numbers),
        opens!(second::Numbers),
        opens!(indexed::Numbers),
        2,
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_of_a_sink_of_another_version_begins_anew() -> TestResult {
    begins_anew::<sink_first::Numbers, sink_second::Numbers, sink_third::Numbers>(
        opens!(sink_first::Numbers, sink),
        opens!(sink_second::Numbers, sink),
        opens!(sink_third::Numbers, sink),
        3,
    )
    .await
}
