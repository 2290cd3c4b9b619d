//! Pads that numbers are written on, and tables of what was written, in order.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use eventfold_es::contract::{ReadModel, SinkProjection};
use eventfold_es::postgres::types::Type;
use eventfold_es::postgres::{Error, IsolationLevel, Transaction};
use eventfold_es::prelude::*;
use eventfold_es::{AggregateStoreBuilder, Durability, Postgres};
use serde_json::Value;

use crate::server::sql;

/// The time for everything that happens soon, on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// What can be asked of a [`Pad`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum PadCommand {
    /// Writes numbers, each an event.
    Write(Vec<i64>),
}

/// What happened to a [`Pad`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum PadEvent {
    /// A number was written.
    Wrote(i64),
}

/// A pad.
#[aggregate(error = std::convert::Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Pad;

impl Decider for Pad {
    fn decide(&self, command: PadCommand) -> Result<Vec<PadEvent>, std::convert::Infallible> {
        let PadCommand::Write(numbers) = command;
        Ok(numbers.into_iter().map(PadEvent::Wrote).collect())
    }

    fn evolve(&mut self, _: &PadEvent) {}
}

/// An aggregate that no table is about.
#[aggregate(error = std::convert::Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Noise;

/// Makes noise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NoiseCommand;

/// There was noise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum NoiseEvent {
    /// It was heard.
    Heard,
}

impl Decider for Noise {
    fn decide(&self, _: NoiseCommand) -> Result<Vec<NoiseEvent>, std::convert::Infallible> {
        Ok(vec![NoiseEvent::Heard])
    }

    fn evolve(&mut self, _: &NoiseEvent) {}
}

/// A fold that depends on the order of the numbers.
pub const MODULUS: i64 = 1_000_003;

/// The folds of the pads, in memory.
#[projection(subscribes = [Pad])]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Folds {
    folds: BTreeMap<String, i64>,
}

impl Project<Pad> for Folds {
    fn project(&mut self, event: &PadEvent, cx: &EventContext<'_>) {
        let PadEvent::Wrote(number) = event;
        let fold = self.folds.entry(cx.stream_id().to_owned()).or_insert(1);
        *fold = (*fold * 31 + number) % MODULUS;
    }
}

/// Creates the tables of a projection.
pub fn prepare(tx: &mut Transaction<'_>, name: &str) -> Result<(), Error> {
    tx.batch_execute(&format!(
        "DROP TABLE IF EXISTS {name}_lines, {name}_folds;
         CREATE TABLE {name}_lines (n bigserial, position bigint NOT NULL, pad text NOT NULL,
                                    number bigint NOT NULL CONSTRAINT no_13 CHECK (number <> 13));
         CREATE TABLE {name}_folds (pad text PRIMARY KEY, fold bigint NOT NULL);"
    ))
}

/// Writes an event to the tables of a projection.
pub fn write(
    tx: &mut Transaction<'_>,
    name: &str,
    event: &PadEvent,
    cx: &EventContext<'_>,
) -> Result<(), Error> {
    let PadEvent::Wrote(number) = event;
    let position = i64::try_from(cx.position()).unwrap();
    let line = format!("INSERT INTO {name}_lines (position, pad, number) VALUES ($1, $2, $3)");
    let pad = (&cx.stream_id() as _, Type::TEXT);
    let number = (number as _, Type::INT8);
    tx.execute_typed(
        &line,
        &[(&position, Type::INT8), pad.clone(), number.clone()],
    )?;
    let fold = format!(
        "INSERT INTO {name}_folds AS old VALUES ($1, (31 + $2) % {MODULUS})
         ON CONFLICT (pad) DO UPDATE SET fold = (old.fold * 31 + $2) % {MODULUS}"
    );
    tx.execute_typed(&fold, &[pad, number])?;
    Ok(())
}

/// Declares a projection into the tables `<name>_lines` and `<name>_folds`.
macro_rules! tables {
    ($(#[$doc:meta])* $type:ident, $name:literal, $on_failure:literal) => {
        $(#[$doc])*
        #[projection(subscribes = [Pad], sink = Postgres, name = $name, on_failure = $on_failure)]
        pub struct $type;

        impl Prepare for $type {
            fn prepare(tx: &mut Transaction<'_>) -> Result<(), Error> {
                prepare(tx, $name)
            }
        }

        impl ProjectInto<Pad> for $type {
            fn project(event: &PadEvent, cx: &EventContext<'_>, tx: &mut Transaction<'_>) -> Result<(), Error> {
                write(tx, $name, event, cx)
            }
        }
    };
}

tables!(
    /// Retries an event that it cannot project.
    Retried, "retried", "retry"
);
tables!(
    /// Skips an event that it cannot project.
    Skipped, "skipped", "skip"
);
tables!(
    /// Stops at an event that it cannot project.
    Stopped, "stopped", "stop"
);

/// A builder with the projection in memory.
pub fn builder(directory: &Path) -> AggregateStoreBuilder {
    AggregateStore::builder(directory)
        .durability(Durability::Flush)
        .projection::<Folds>()
}

/// Opens a store with one projection into a database.
pub async fn open<P: ReadModel>(directory: &Path, sink: Postgres) -> AggregateStore {
    builder(directory)
        .projection::<P>()
        .sink(sink)
        .open()
        .await
        .unwrap()
}

/// Writes a number of lines, in commands of up to three events, with some noise; returns the last position.
pub async fn write_some(store: &AggregateStore, first: i64, count: i64) -> u64 {
    let mut position = 0;
    let mut number = first;
    while number < first + count {
        let events = (1 + number % 3).min(first + count - number);
        let pad = format!("pad-{}", number % 7);
        // 13 is for the tests of failures.
        let numbers = (number..number + events)
            .map(|number| 1_000 + number)
            .collect();
        position = write_numbers(store, &pad, numbers).await;
        if number % 5 == 0 {
            store.send("street", NoiseCommand, ()).await.unwrap();
        }
        number += events;
    }
    position
}

/// Writes numbers with one command; returns the last position.
pub async fn write_numbers(store: &AggregateStore, pad: &str, numbers: Vec<i64>) -> u64 {
    let written = store
        .send(pad, PadCommand::Write(numbers), ())
        .await
        .unwrap();
    written.position.unwrap()
}

/// A line: the position, the pad and the number.
pub type Line = (u64, String, i64);

/// The content of a database for one projection, of one moment.
#[derive(Debug, PartialEq)]
pub struct Tables {
    /// The lines in the order of their insertion.
    pub lines: Vec<Line>,
    /// The folds.
    pub folds: BTreeMap<String, i64>,
    /// The saved progress.
    pub progress: Value,
}

/// Reads the tables of a projection. `None` before they exist.
pub async fn tables<P: SinkProjection>(url: &str) -> Option<Tables> {
    let name = P::NAME;
    let read = sql(url, move |client| {
        let mut tx = client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .start()?;
        let exists = tx.query_one("SELECT to_regclass('eventfold_progress') IS NOT NULL", &[])?;
        if !exists.get::<_, bool>(0) {
            return Ok(None);
        }
        let progress = tx.query_opt(
            "SELECT progress FROM eventfold_progress WHERE projection = $1",
            &[&name],
        )?;
        let Some(progress) = progress else {
            return Ok(None);
        };
        let lines = format!("SELECT position, pad, number FROM {name}_lines ORDER BY n");
        let lines = tx.query(&lines, &[])?;
        let folds = tx.query(&format!("SELECT pad, fold FROM {name}_folds"), &[])?;
        Ok(Some(Tables {
            lines: lines
                .iter()
                .map(|row| (row.get::<_, i64>(0) as u64, row.get(1), row.get(2)))
                .collect(),
            folds: folds.iter().map(|row| (row.get(0), row.get(1))).collect(),
            progress: serde_json::from_str(progress.get(0)).unwrap(),
        }))
    });
    read.await.unwrap()
}

/// The lines that a store has, up to a position.
pub async fn lines_of(store: &AggregateStore, position: u64) -> Vec<Line> {
    let events = store.read_all(0, usize::MAX).await.unwrap();
    let before = events.iter().filter(|event| event.position() <= position);
    before
        .filter_map(|event| {
            let PadEvent::Wrote(number) = event.decode::<Pad>().unwrap()?;
            Some((event.position(), event.stream_id().to_owned(), number))
        })
        .collect()
}

/// Fails unless the tables are the fold of the events of the store up to their progress, without `skipped`; returns the
/// position of the progress.
pub async fn check<P: SinkProjection>(store: &AggregateStore, url: &str, skipped: &[i64]) -> u64 {
    let tables = tables::<P>(url).await.expect("the tables exist");
    let position = tables.progress["position"].as_u64().unwrap();
    let mut lines = lines_of(store, position).await;
    let seen = lines.len();
    lines.retain(|(_, _, number)| !skipped.contains(number));
    assert_eq!(
        tables.progress["skipped"].as_u64().unwrap_or(0),
        (seen - lines.len()) as u64,
        "{}",
        P::NAME
    );
    let mut folds = BTreeMap::new();
    for (_, pad, number) in &lines {
        let fold = folds.entry(pad.clone()).or_insert(1);
        *fold = (*fold * 31 + number) % MODULUS;
    }
    assert_eq!(tables.lines, lines, "{} at {}", P::NAME, tables.progress);
    assert_eq!(tables.folds, folds, "{} at {}", P::NAME, tables.progress);
    if let Some((last, _, _)) = lines.last() {
        assert_eq!(
            tables.progress["event"]["position"].as_u64(),
            Some(*last),
            "{}",
            tables.progress
        );
    }
    position
}

/// Waits until a projection has the events that the store has now, and checks its tables.
pub async fn check_now<P: SinkProjection + ReadModel>(store: &AggregateStore, url: &str) {
    let end = store.health().await.position;
    // A failure that is over may still wait for its next attempt.
    store.resume_projection::<P>().unwrap();
    let reached = store.wait_for::<P>(end, SOON).await;
    reached.unwrap_or_else(|error| panic!("{}: {error}", <P as ReadModel>::NAME));
    check::<P>(store, url, &[]).await;
}

/// As [`check_now`], in a store that nobody writes to: the tables are also the fold in memory.
pub async fn check_all<P: SinkProjection + ReadModel>(store: &AggregateStore, url: &str) {
    check_now::<P>(store, url).await;
    let tables = tables::<P>(url).await.unwrap();
    let folds = &store.projection::<Folds>().await.unwrap().folds;
    assert_eq!(tables.folds, *folds, "{}", <P as ReadModel>::NAME);
    let lines = lines_of(store, u64::MAX).await;
    assert_eq!(tables.lines, lines, "{}", <P as ReadModel>::NAME);
}
