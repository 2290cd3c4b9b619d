//! Rows: how fast they follow, how fast they are read, and the memory of a million.

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use eventfold_es::prelude::*;
use redb::{Database, Durability, ReadableTable as _, TableDefinition};

use crate::counter::{Counter, CounterEvent};
use crate::process::{Usage, child};
use crate::report::{Limit, Report};
use crate::scratch::{EVENTS_OF_A_MILLION, Scratch};
use crate::{Failure, micros, runtime};

pub(crate) const NAMES: &[&str] = &["rows_catch_up_ratio"];
pub(crate) const READS: &[&str] = &["rows_get_us", "rows_page_us", "rows_1m_resident_mib"];
pub(crate) const CHILD: &str = "rows-of-a-million";

/// Of 200 bytes, with their key.
const TEXT: &str = "a row of a table, as a list view of a shop has it: a name, a street and a city, a telephone number, the date of \
                    the last order, and a remark about the delivery.";
const ROWS: u64 = 1_000_000;
const ROUNDS: usize = 3;
/// The number of events that the projection has in one transaction: those of a megabyte of the journal.
const TRANSACTION: u64 = 6_000;
const READS_IN_ROUND: u32 = 20_000;
const PATIENCE: Duration = Duration::from_secs(600);

macro_rules! rows {
    ($($name:ident, $stored:literal, $(#[$index:ident])?;)*) => {
        $(
            #[projection(subscribes = [Counter], key = String, name = $stored)]
            #[derive(Debug, Clone, Default, Serialize, Deserialize)]
            pub(crate) struct $name {
                text: String,
                $(#[$index])?
                place: u64,
                events: u64,
            }

            impl Locate<Counter> for $name {
                fn locate(_: &CounterEvent, cx: &EventContext<'_>) -> Keys<String> {
                    Keys::one(cx.stream_id().to_owned())
                }
            }

            impl Project<Counter> for $name {
                fn project(&mut self, _: &CounterEvent, cx: &EventContext<'_>) {
                    if self.events == 0 {
                        TEXT.clone_into(&mut self.text);
                        // In another order than the keys.
                        self.place = cx.position().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
                    }
                    self.events += 1;
                }
            }
        )*
    };
}

rows! {
    Plain, "plain",;
    Indexed, "indexed", #[index];
}

pub(crate) fn measure(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let path = scratch.store_of_a_million()?;
    let rows = path.join("projections/plain");
    let mut ratios = Vec::new();
    for round in 0..ROUNDS {
        let _ = std::fs::remove_dir_all(&rows);
        let rate = runtime()?.block_on(async {
            let begun = Instant::now();
            let store = AggregateStore::builder(&path)
                .projection::<Plain>()
                .open()
                .await?;
            let position = store.health().await.position;
            store.wait_for::<Plain>(position, PATIENCE).await?;
            let rate = position as f64 / begun.elapsed().as_secs_f64();
            store.close().await?;
            Ok::<_, Failure>(rate)
        })?;
        let raw = raw(&scratch.join(&format!("raw-rows-{round}")))?;
        report.comment(&format!("{rate:.0} rows/s, redb alone {raw:.0}"));
        ratios.push(rate / raw);
    }
    report.median("rows_catch_up_ratio", ratios, Limit::AtLeast(0.7));
    Ok(())
}

/// The same updates of redb, in transactions of the same size, durable once a second.
fn raw(path: &Path) -> Result<f64, Failure> {
    const TABLE: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("rows");
    let database = Database::builder().set_cache_size(32 << 20).create(path)?;
    let begun = Instant::now();
    let mut durable = begun;
    let updates = ROWS * EVENTS_OF_A_MILLION as u64;
    for first in (0..updates).step_by(TRANSACTION as usize) {
        let mut transaction = database.begin_write()?;
        if durable.elapsed() < Duration::from_secs(1) {
            transaction.set_durability(Durability::None)?;
        } else {
            transaction.set_quick_repair(true);
            durable = Instant::now();
        }
        let mut table = transaction.open_table(TABLE)?;
        for update in first..(first + TRANSACTION).min(updates) {
            let row = update % ROWS;
            let key = crate::clients::id(row as usize);
            let events = table
                .get(key.as_bytes())?
                .map_or(0, |row| row.value().len());
            let row = format!(
                "{{\"text\":\"{TEXT}\",\"place\":{row},\"events\":{}}}",
                events + 1
            );
            table.insert(key.as_bytes(), row.as_bytes())?;
        }
        drop(table);
        transaction.commit()?;
    }
    Ok(updates as f64 / begun.elapsed().as_secs_f64())
}

pub(crate) fn measure_reads(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let output = child(CHILD, &scratch.store_of_a_million()?)?.output()?;
    if !output.status.success() {
        return Err(format!("reading rows failed: {}", output.status).into());
    }
    for line in String::from_utf8(output.stdout)?.lines() {
        let (name, value) = line.split_once(' ').ok_or("a line of the child is empty")?;
        let limit = match name {
            "rows_get_us" => Limit::Under(10.0),
            "rows_page_us" => Limit::Under(200.0),
            "rows_1m_resident_mib" => Limit::Under(150.0),
            _ => Limit::None,
        };
        report.value(name, value.parse()?, limit);
    }
    Ok(())
}

/// What the child does.
pub(crate) fn work(path: &Path) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let store = AggregateStore::builder(path)
            .projection::<Indexed>()
            .open()
            .await?;
        let position = store.health().await.position;
        store.wait_for::<Indexed>(position, PATIENCE).await?;
        store.close().await?;
        let store = AggregateStore::builder(path)
            .projection::<Indexed>()
            .open()
            .await?;
        store.wait_for::<Indexed>(position, PATIENCE).await?;
        let rows = store.rows::<Indexed>()?;
        for round in 0..2 {
            let begun = Instant::now();
            for read in 0..READS_IN_ROUND {
                // The same hundred rows: warm.
                let id = crate::clients::id(read as usize % 100 * 7_919);
                black_box(rows.get(&id).await?.ok_or("a row is missing")?);
            }
            let get = begun.elapsed() / READS_IN_ROUND;
            let begun = Instant::now();
            let mut page = rows
                .by_range(Indexed::PLACE, 1_000..)
                .limit(50)
                .page()
                .await?;
            for _ in 0..200 {
                let next = rows
                    .by_range(Indexed::PLACE, 1_000..)
                    .limit(50)
                    .after(page.next)
                    .page();
                page = next.await?;
                assert_eq!(page.rows.len(), 50);
            }
            if round == 1 {
                println!("rows_get_us {}", micros(get));
                println!("rows_page_us {}", micros(begun.elapsed() / 201));
            }
        }
        println!("rows_1m_resident_mib {}", Usage::read()?.resident_mib());
        println!("rows_1m {}", rows.all().count().await?);
        store.close().await?;
        Ok(())
    })
}
