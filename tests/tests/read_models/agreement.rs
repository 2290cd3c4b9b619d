//! Every form of one projection has the same state: in memory, in rows, rebuilt offline and online, and in SQLite.
//!
//! The fold depends on the order of the events. Histories are random, with stores that are closed and opened in between.
//! `EVENTFOLD_READ_HISTORIES=1000` checks so many; the ordinary run has 15.

use std::collections::BTreeMap;
use std::path::Path;

use eventfold_es::Sqlite;
use eventfold_es::disk::SplitMix64;
use eventfold_es::prelude::*;
use eventfold_es::rusqlite::{self, Connection, Transaction, params};
use eventfold_es_tests::TestResult;
use eventfold_es_tests::campaign::number;

use crate::SOON;
use crate::common::counter::{Counter, CounterCommand, CounterEvent};

type States = BTreeMap<String, i64>;

/// The next state of a counter; none if it is deleted.
fn folded(state: Option<i64>, event: &CounterEvent) -> Option<i64> {
    match event {
        CounterEvent::Added(0) => None,
        CounterEvent::Added(by) => Some((state.unwrap_or(1) ^ by).wrapping_mul(0x0100_0000_01b3)),
        _ => state,
    }
}

#[projection(subscribes = [Counter])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct InMemory(States);

impl Project<Counter> for InMemory {
    fn project(&mut self, event: &CounterEvent, cx: &EventContext<'_>) {
        let id = cx.stream_id();
        match folded(self.0.get(id).copied(), event) {
            Some(state) => drop(self.0.insert(id.to_owned(), state)),
            None => drop(self.0.remove(id)),
        }
    }
}

macro_rules! in_rows {
    ($($name:ident)*) => {
        $(
            #[projection(subscribes = [Counter], key = String)]
            #[derive(Debug, Clone, Default, Serialize, Deserialize)]
            struct $name {
                #[index]
                state: Option<i64>,
            }

            impl Locate<Counter> for $name {
                fn locate(_: &CounterEvent, cx: &EventContext<'_>) -> Keys<String> {
                    Keys::one(cx.stream_id().to_owned())
                }
            }

            impl Project<Counter> for $name {
                fn project(&mut self, event: &CounterEvent, cx: &EventContext<'_>) {
                    self.state = folded(self.state, event);
                    if self.state.is_none() {
                        cx.delete();
                    }
                }
            }
        )*
    };
}

in_rows! { InRows RebuiltRows LateRows }

#[projection(subscribes = [Counter], sink = Sqlite)]
struct InSqlite;

impl Prepare for InSqlite {
    fn prepare(tx: &mut Transaction<'_>) -> rusqlite::Result<()> {
        let table = "DROP TABLE IF EXISTS states; CREATE TABLE states (id TEXT PRIMARY KEY, state INTEGER NOT NULL)";
        tx.execute_batch(table)
    }
}

impl ProjectInto<Counter> for InSqlite {
    fn project(
        event: &CounterEvent,
        cx: &EventContext<'_>,
        tx: &mut Transaction<'_>,
    ) -> rusqlite::Result<()> {
        let select = "SELECT state FROM states WHERE id = ?1";
        let state = match tx
            .prepare_cached(select)?
            .query_row([cx.stream_id()], |row| row.get(0))
        {
            Err(rusqlite::Error::QueryReturnedNoRows) => None,
            state => Some(state?),
        };
        match folded(state, event) {
            Some(state) => {
                let upsert = "INSERT OR REPLACE INTO states VALUES (?1, ?2)";
                tx.prepare_cached(upsert)?
                    .execute(params![cx.stream_id(), state])?;
            }
            None => {
                let delete = "DELETE FROM states WHERE id = ?1";
                tx.prepare_cached(delete)?.execute([cx.stream_id()])?;
            }
        }
        Ok(())
    }
}

async fn open(base: &Path, is_late: bool) -> Result<AggregateStore, eventfold_es::OpenError> {
    let builder = AggregateStore::builder(base.join("store"))
        .projection::<InMemory>()
        .projection::<InRows>()
        .projection::<RebuiltRows>()
        .projection::<InSqlite>()
        .sink(Sqlite::file(base.join("states.db")));
    match is_late {
        true => builder.projection::<LateRows>().open().await,
        false => builder.open().await,
    }
}

async fn work(store: &AggregateStore, random: &mut SplitMix64, model: &mut States) -> TestResult {
    for _ in 0..random.below(30) {
        let id = ["a", "b", "c", "d"][random.below(4)];
        let by = random.below(6) as i64;
        store.send(id, CounterCommand::Add(by), ()).await?;
        match folded(model.get(id).copied(), &CounterEvent::Added(by)) {
            Some(state) => drop(model.insert(id.to_owned(), state)),
            None => drop(model.remove(id)),
        }
    }
    Ok(())
}

macro_rules! states_of {
    ($store:expr, $position:expr, $rows:ty) => {{
        $store.wait_for::<$rows>($position, SOON).await?;
        let rows = $store.rows::<$rows>()?;
        let found = rows.all().collect().await?;
        let indexed = rows.by_range(<$rows>::STATE, ..).count().await?;
        assert_eq!(indexed, found.len() as u64);
        found
            .into_iter()
            .filter_map(|(id, row)| Some((id, row.state?)))
            .collect::<States>()
    }};
}

#[tokio::test]
async fn all_forms_of_a_projection_agree() -> TestResult {
    for seed in 0..number("EVENTFOLD_READ_HISTORIES").unwrap_or(15) {
        let mut random = SplitMix64::new(seed);
        let base = tempfile::tempdir()?;
        let mut model = States::new();
        let runs = 1 + random.below(3);
        for run in 1..=runs {
            let store = open(base.path(), run == runs).await?;
            let store = &store;
            work(store, &mut random, &mut model).await?;
            if random.chance(4) {
                // While events come in.
                let rebuilt = store.rebuild_projection::<RebuiltRows>();
                let (rebuilt, worked) = tokio::join!(rebuilt, work(store, &mut random, &mut model));
                rebuilt?;
                worked?;
            }
            if random.chance(2) {
                store.rebuild_projection::<InMemory>().await?;
                store.rebuild_projection::<InSqlite>().await?;
            }
            if run < runs {
                store.clone().close().await?;
                continue;
            }
            let position = store.health().await.position;
            assert_eq!(
                store.projection::<InMemory>().await?.0,
                model,
                "in memory, {seed}"
            );
            assert_eq!(states_of!(store, position, InRows), model, "rows, {seed}");
            assert_eq!(
                states_of!(store, position, RebuiltRows),
                model,
                "rebuilt rows, {seed}"
            );
            assert_eq!(
                states_of!(store, position, LateRows),
                model,
                "late rows, {seed}"
            );
            store.wait_for::<InSqlite>(position, SOON).await?;
            let connection = Connection::open(base.path().join("states.db"))?;
            let mut select = connection.prepare("SELECT id, state FROM states")?;
            let states = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            assert_eq!(
                states.collect::<Result<States, _>>()?,
                model,
                "SQLite, {seed}"
            );
            store.clone().close().await?;
        }
    }
    Ok(())
}
