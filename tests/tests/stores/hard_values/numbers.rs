//! Numbers that JSON does not have: in events, in the states of process managers, and in those of projections.

use std::collections::BTreeMap;

use eventfold_es::contract::{ProjectError, ReactError};
use eventfold_es::prelude::*;
use eventfold_es::{EventError, ExecuteError, Reactions, StoreError};
use eventfold_es_tests::TestResult;
use serde_json::json;

use crate::common::counter::{Counter, CounterCommand, CounterEvent};
use crate::hard_values::with;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Reading {
    single: f32,
    list: Vec<f64>,
    pairs: BTreeMap<String, (u8, f64)>,
    wide: Option<u128>,
    shape: Option<Box<Shape>>,
    #[serde(flatten)]
    rest: BTreeMap<String, f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point(f64, f64),
    Circle { radius: f64 },
    Wrapped(Degrees),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Degrees(f64);

fn reading() -> Reading {
    Reading {
        single: 0.1,
        list: vec![f64::MAX, f64::MIN_POSITIVE, -0.0],
        pairs: BTreeMap::from([("a".to_owned(), (1, 2.5))]),
        wide: Some(u128::from(u64::MAX)),
        shape: Some(Box::new(Shape::Circle { radius: 1e-300 })),
        rest: BTreeMap::from([("extra".to_owned(), 1.5)]),
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
enum GaugeEvent {
    Maybe(Option<f64>),
    Read(Reading),
    Named { first: f64, second: Option<f32> },
    Signed(i128),
    Big(u128),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record(Vec<GaugeEvent>);

#[aggregate(command = Record, event = GaugeEvent, error = std::convert::Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Gauge {
    recorded: Vec<GaugeEvent>,
}

impl Decider for Gauge {
    fn decide(&self, Record(events): Record) -> Result<Vec<GaugeEvent>, std::convert::Infallible> {
        Ok(events)
    }

    fn evolve(&mut self, event: &GaugeEvent) {
        self.recorded.push(event.clone());
    }
}

/// Each would come back as another event, most of them unnoticed.
fn unstorable() -> Vec<(&'static str, GaugeEvent)> {
    let nan = f64::NAN;
    let read = |change: fn(&mut Reading)| {
        let mut reading = reading();
        change(&mut reading);
        GaugeEvent::Read(reading)
    };
    vec![
        ("`data` is NaN", GaugeEvent::Maybe(Some(nan))),
        ("`data` is inf", GaugeEvent::Maybe(Some(f64::INFINITY))),
        (
            "`data.first` is -inf",
            GaugeEvent::Named {
                first: f64::NEG_INFINITY,
                second: None,
            },
        ),
        (
            "`data.second` is NaN",
            GaugeEvent::Named {
                first: 0.0,
                second: Some(f32::NAN),
            },
        ),
        ("`data.single` is inf", read(|it| it.single = f32::INFINITY)),
        ("`data.list[3]` is NaN", read(|it| it.list.push(f64::NAN))),
        (
            "`data.pairs.b[1]` is NaN",
            read(|it| it.pairs.extend([("b".to_owned(), (1, f64::NAN))])),
        ),
        (
            "`data.wide` is 18446744073709551616",
            read(|it| it.wide = Some(u128::from(u64::MAX) + 1)),
        ),
        (
            "`data.shape.Point[1]` is NaN",
            read(|it| it.shape = Some(Box::new(Shape::Point(0.0, f64::NAN)))),
        ),
        (
            "`data.shape.Circle.radius` is NaN",
            read(|it| it.shape = Some(Box::new(Shape::Circle { radius: f64::NAN }))),
        ),
        (
            "`data.shape.Wrapped` is NaN",
            read(|it| it.shape = Some(Box::new(Shape::Wrapped(Degrees(f64::NAN))))),
        ),
        (
            "`data.extra` is inf",
            read(|it| it.rest.extend([("extra".to_owned(), f64::INFINITY)])),
        ),
        (
            "`data` is -9223372036854775809",
            GaugeEvent::Signed(i128::from(i64::MIN) - 1),
        ),
        ("`data` is 340282366920938", GaugeEvent::Big(u128::MAX)),
    ]
}

#[tokio::test]
async fn numbers_that_json_does_not_have_are_refused_and_nothing_is_written() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::open(base.path()).await?;
    for (place, event) in unstorable() {
        // Whatever stands beside it is not written either.
        let command = Record(vec![GaugeEvent::Maybe(None), event.clone()]);
        let refused = store.send("g", command, CommandContext::default()).await;
        let Err(ExecuteError::Store(StoreError::Unstorable(error))) = refused else {
            panic!("{place}: {refused:?}");
        };
        let EventError::Unstorable { event_type, reason } = &error else {
            panic!("{place}: {error:?}");
        };
        assert_eq!(event_type, event.event_type());
        assert!(reason.contains(place), "{reason}");
    }
    assert!(store.list_streams(None).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn numbers_at_the_edge_survive() -> TestResult {
    let base = tempfile::tempdir()?;
    let events = vec![
        GaugeEvent::Maybe(None),
        GaugeEvent::Maybe(Some(5e-324)),
        GaugeEvent::Read(reading()),
        GaugeEvent::Named {
            first: f64::MIN,
            second: Some(f32::MIN_POSITIVE),
        },
        GaugeEvent::Signed(i128::from(i64::MIN)),
        GaugeEvent::Signed(i128::from(u64::MAX)),
        GaugeEvent::Big(0),
        GaugeEvent::Big(u128::from(u64::MAX)),
    ];
    let store = AggregateStore::open(base.path()).await?;
    let command = Record(events.clone());
    let done = store.send("g", command, CommandContext::default()).await?;
    assert_eq!(done.events, events);
    store.close().await?;
    let store = AggregateStore::open(base.path()).await?;
    let state = store.get::<Gauge>("g").await?.state().await?;
    assert_eq!(state.recorded, events);
    let GaugeEvent::Read(read) = &state.recorded[2] else {
        panic!("{state:?}");
    };
    assert!(read.list[2].is_sign_negative(), "-0 is not 0");
    Ok(())
}

/// A field that may be missing: JSON would say that it is, and the state would read back as another one.
#[derive(Debug, Default, Serialize, Deserialize)]
struct MaybeAverage {
    sum: f64,
    mean: Option<f64>,
}

impl ProcessManager for MaybeAverage {
    const NAME: &'static str = "maybe-average";
    type Envelope = CommandEnvelope;

    fn subscriptions(&self) -> &'static [&'static str] {
        &[Counter::AGGREGATE_TYPE]
    }

    fn react(
        &mut self,
        _aggregate_type: &str,
        stream_id: &str,
        event: &RecordedEvent,
    ) -> Result<Vec<CommandEnvelope>, ReactError> {
        let CounterEvent::Added(by) = CounterEvent::from_event(event)? else {
            return Ok(Vec::new());
        };
        if stream_id != "c" {
            return Ok(Vec::new());
        }
        let count = self.sum;
        self.sum += by as f64;
        self.mean = Some(self.sum / count);
        Ok(vec![CommandEnvelope {
            aggregate_type: Counter::AGGREGATE_TYPE.to_owned(),
            instance_id: "copy".to_owned(),
            command: json!({ "Add": 1 }),
            context: CommandContext::default(),
        }])
    }
}

#[tokio::test]
async fn a_state_that_would_read_back_as_another_one_parks() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = with::<MaybeAverage>(base.path()).open().await?;
    let done = store
        .send("c", CounterCommand::Add(0), CommandContext::default())
        .await?;
    assert_eq!(done.reactions, Reactions::Parked);
    let status = store.health().await.process_managers;
    let parked = status[0].parked_at.as_ref().unwrap();
    assert!(parked.reason.contains("`mean` is NaN"), "{}", parked.reason);
    assert!(store.read_events("counter", "copy").await.is_err());
    Ok(())
}

/// A read model whose state JSON does not have.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Worst {
    seen: u64,
    worst: Option<f64>,
}

impl Projection for Worst {
    const NAME: &'static str = "worst";

    fn subscriptions(&self) -> &'static [&'static str] {
        &[Counter::AGGREGATE_TYPE]
    }

    fn apply(
        &mut self,
        _aggregate_type: &str,
        _stream_id: &str,
        _event: &RecordedEvent,
    ) -> Result<(), ProjectError> {
        self.seen += 1;
        if self.seen == 1 {
            self.worst = Some(f64::INFINITY);
        }
        Ok(())
    }
}

/// It is not saved then, and built anew: an infinity that became nothing would be a wrong answer.
#[tokio::test]
async fn the_state_of_a_projection_is_not_saved_as_another_one() -> TestResult {
    let base = tempfile::tempdir()?;
    for seen in 1..4 {
        let store = AggregateStore::builder(base.path())
            .projection::<Worst>()
            .open()
            .await?;
        store
            .send("c", CounterCommand::Add(1), CommandContext::default())
            .await?;
        let worst = store.projection::<Worst>().await?;
        assert_eq!((worst.seen, worst.worst), (seen, Some(f64::INFINITY)));
        store.close().await?;
    }
    Ok(())
}
