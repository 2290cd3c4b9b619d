//! The sales in a SQLite database: written by a projection, and read back by SQL.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use eventfold_es::Sqlite;
use eventfold_es::prelude::*;
use eventfold_es::rusqlite::types::Type;
use eventfold_es::rusqlite::{self, Connection, OptionalExtension as _, Transaction, params};
use rust_decimal::Decimal;

use super::order::{Invoice, Order, OrderEvent};
use super::projections::{CountrySales, Sales};

/// The time for the projection to catch up at the end of a run.
const CATCH_UP: Duration = Duration::from_secs(60);

/// The database in a file. A path that cannot be opened is an error here; the projection itself would try again and again.
pub fn database(file: &Path) -> rusqlite::Result<Sqlite> {
    Connection::open(file)?;
    Ok(Sqlite::file(file))
}

/// Orders and revenue per country, and units per article, in tables.
///
/// SQLite has no decimal type, so the revenue is the exact decimal number as text. `CAST(revenue AS REAL)` sorts it.
#[projection(subscribes = [Order], sink = Sqlite)]
pub struct SalesTables;

impl Prepare for SalesTables {
    fn prepare(tx: &mut Transaction<'_>) -> rusqlite::Result<()> {
        tx.execute_batch(
            "DROP TABLE IF EXISTS sales_per_country;
             CREATE TABLE sales_per_country (country TEXT PRIMARY KEY, orders INTEGER NOT NULL, revenue TEXT NOT NULL);
             DROP TABLE IF EXISTS articles;
             CREATE TABLE articles (stock_code TEXT PRIMARY KEY, description TEXT NOT NULL, units INTEGER NOT NULL);",
        )
    }
}

impl ProjectInto<Order> for SalesTables {
    fn project(
        event: &OrderEvent,
        _cx: &EventContext<'_>,
        tx: &mut Transaction<'_>,
    ) -> rusqlite::Result<()> {
        let OrderEvent::Placed(invoice) = event else {
            return Ok(());
        };
        let select = "SELECT revenue FROM sales_per_country WHERE country = ?1";
        let before = tx
            .prepare_cached(select)?
            .query_row([&invoice.country], |row| decimal(row, 0))
            .optional()?
            .unwrap_or_default();
        let revenue = (before + invoice.amount()).to_string();
        let upsert = "INSERT INTO sales_per_country VALUES (?1, 1, ?2)
                      ON CONFLICT (country) DO UPDATE SET orders = orders + 1, revenue = excluded.revenue";
        tx.prepare_cached(upsert)?
            .execute(params![invoice.country, revenue])?;

        let upsert = "INSERT INTO articles VALUES (?1, ?2, ?3)
                      ON CONFLICT (stock_code) DO UPDATE SET description = excluded.description, units = units + excluded.units";
        let mut upsert = tx.prepare_cached(upsert)?;
        for line in &invoice.lines {
            upsert.execute(params![line.stock_code, line.description, line.units])?;
        }
        Ok(())
    }
}

fn decimal(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Decimal> {
    let text: String = row.get(column)?;
    text.parse().map_err(|error: rust_decimal::Error| {
        let error = error.to_string().into();
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error)
    })
}

/// The articles of all orders, as an event handler in memory counts them.
#[derive(Debug, Default, PartialEq)]
struct Articles(BTreeMap<String, (String, i64)>);

impl Articles {
    fn add(&mut self, invoice: Invoice) {
        for line in invoice.lines {
            let (description, units) = self.0.entry(line.stock_code).or_default();
            *description = line.description;
            *units += i64::from(line.units);
        }
    }
}

/// Waits for the tables, compares them with the same numbers in memory, and returns the ten best articles.
pub async fn report(
    store: &AggregateStore,
    file: &Path,
    sales: &Sales,
) -> Result<String, Box<dyn Error>> {
    let position = store.health().await.position;
    store.wait_for::<SalesTables>(position, CATCH_UP).await?;

    let mut articles = Articles::default();
    let mut orders = store.subscribe::<Order>().until_now();
    while let Some(recorded) = orders.next().await {
        if let OrderEvent::Placed(invoice) = recorded?.event {
            articles.add(invoice);
        }
    }
    let database = Connection::open(file)?;
    if countries(&database)? != sales.countries {
        return Err("the countries in SQL are not those in memory".into());
    }
    if all_articles(&database)? != articles {
        return Err("the articles in SQL are not those in memory".into());
    }
    Ok(best_articles(&database)?)
}

fn countries(database: &Connection) -> rusqlite::Result<BTreeMap<String, CountrySales>> {
    let mut select = database.prepare("SELECT country, orders, revenue FROM sales_per_country")?;
    let rows = select.query_map([], |row| {
        let (orders, revenue) = (row.get::<_, u32>(1)?.into(), decimal(row, 2)?);
        Ok((row.get(0)?, CountrySales { orders, revenue }))
    })?;
    rows.collect()
}

fn all_articles(database: &Connection) -> rusqlite::Result<Articles> {
    let mut select = database.prepare("SELECT stock_code, description, units FROM articles")?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?;
    Ok(Articles(rows.collect::<Result<_, _>>()?))
}

fn best_articles(database: &Connection) -> rusqlite::Result<String> {
    let (countries, best): (u32, String) = database.query_row(
        "SELECT count(*) OVER (), country FROM sales_per_country ORDER BY CAST(revenue AS REAL) DESC LIMIT 1",
        [],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
    .optional()?
    .unwrap_or_default();
    let mut report =
        format!("By SQL: {countries} countries, first {best}. The ten best articles:\n");
    let mut select = database.prepare(
        "SELECT units, stock_code, description FROM articles ORDER BY units DESC, stock_code LIMIT 10",
    )?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (units, stock_code, description): (u32, String, String) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        let _ = writeln!(report, "{units:>6}  {stock_code:8}  {description}");
    }
    Ok(report)
}
