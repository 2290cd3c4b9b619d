//! Real invoices through an event-sourced order workflow.
//!
//! ```text
//! cargo run --release --example order_fulfillment [-- [CSV] [STORE_DIR] [--run-mode inline|background|on-demand] [--sql FILE]]
//! cargo run --example order_fulfillment -- --topology mermaid|dot|json
//! ```
//!
//! Each invoice of the CSV file is one command to one `Order`. A saga reserves the lines of a placed order on `Inventory`, and
//! releases those of a return. Projections count the sales per country and the movements of the stock. Run it again on the same
//! store directory, or kill it at any moment and run it again: nothing happens twice, nothing is lost, and the totals are the
//! same. With `--sql`, another projection writes the sales to tables of SQLite, each order exactly once.
//!
//! # How a file is read
//!
//! - An invoice whose number does not start with `C` is an order, `ord-<InvoiceNo>`: its lines with a positive quantity.
//! - An invoice whose number starts with `C` is a return, under the same kind of id. The `C` marks returned goods. The sign of
//!   the quantity, usually negative, repeats that and is dropped.
//! - A negative quantity outside a return is a stock adjustment of `inv-<StockCode>`. Its name is its invoice and its place
//!   among the lines of that invoice (`536589/1`). So no second run adjusts anything twice, even if lines were added to the
//!   file elsewhere.
//! - A quantity of zero moves nothing.
//! - Lines of one invoice belong together wherever they stand in the file. Customer, country and date of an order are those of
//!   its first line; a missing country is `Unspecified`.
//! - A stock code that does not begin with a digit (`POST`, `M`, `BANK CHARGES`) is not stocked: `Inventory` rejects the
//!   command, which makes one dead letter per line of an order or return. An adjustment of such a code is no reaction of
//!   the saga; its rejection is reported and skipped.
//! - A malformed line ends the import with its number, and exit code 1. Everything before it is done, except orders and returns
//!   that continue at it or behind it. These wait whole until the line is fixed and the file is run again. If not even the
//!   invoice of the malformed line is readable, the invoice of the line before waits too.
//!
//! # What the totals are
//!
//! All of them come from the store, not from the file:
//!
//! - `orders` and `returns` count invoices; `revenue` is the exact sum of quantity × unit price over all lines of orders,
//!   whether stocked or not (postage is revenue), and returns are not deducted;
//! - `units_reserved`, `units_returned` and `units_adjusted` are the units that `Inventory` accepted;
//! - `dead_letters` counts the commands of the saga that it rejected.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)
)]

mod arguments;
mod fulfillment;
mod inventory;
mod invoices;
mod lines;
mod order;
mod projections;
mod report;
mod shop;
mod sql;

use std::error::Error;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use eventfold_es::{AggregateStore, CommandContext, ExecuteError};
use indicatif::{ProgressBar, ProgressStyle};

use arguments::{Arguments, Language, Request};
use fulfillment::FulfillmentSaga;
use inventory::InventoryError;
use invoices::{Action, Step};
use order::OrderError;
use projections::{Sales, Stock};
use report::Totals;
use shop::Shop;
use sql::SalesTables;

/// The shipped file, from where the example was built or from the root of the repository.
const SHIPPED: [&str; 2] = [
    concat!(env!("CARGO_MANIFEST_DIR"), "/data/online-retail-10k.csv"),
    "examples/data/online-retail-10k.csv",
];

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(Request::Run(arguments)) => arguments,
        Ok(Request::Help) => {
            return match print(arguments::USAGE) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            };
        }
        Ok(Request::Topology(language)) => {
            return match print(&drawing(language)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            };
        }
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let csv = arguments.csv.clone().unwrap_or_else(shipped_csv);
    let csv_name = csv.display();
    let bytes = std::fs::read(&csv).map_err(|error| format!("{csv_name}: {error}"))?;
    let invoices = invoices::read(&bytes).map_err(|error| format!("{csv_name}:1: {error}"))?;

    // Dropped, and so removed, after the store.
    let temporary;
    let directory = match &arguments.store {
        Some(directory) => directory.as_path(),
        None => {
            temporary = tempfile::tempdir()?;
            temporary.path()
        }
    };
    let mut builder = Shop::builder(directory).run_mode(arguments.run_mode);
    if let Some(file) = &arguments.sql {
        builder = builder
            .projection::<SalesTables>()
            .sink(sql::database(file)?);
    }
    let store = builder.open().await?;

    let started = Instant::now();
    let commands = invoices.steps.len() as u64;
    execute(&store, invoices.steps, &csv).await?;
    // Inline, nothing is left to do here, unless the run before was killed between an order and the reaction to it.
    store.run_process_managers().await?;
    for process_manager in store.health().await.process_managers {
        if let Some(parked) = process_manager.parked_at {
            let (name, reason) = (process_manager.name, parked.reason);
            return Err(
                format!("{name} cannot react to event {}: {reason}", parked.position).into(),
            );
        }
    }
    let elapsed = started.elapsed();

    let sales = store.projection::<Sales>().await?;
    let stock = store.projection::<Stock>().await?;
    let dead_letters = store.dead_letters::<FulfillmentSaga>().await?;
    let totals = Totals::new(&sales, &stock, dead_letters.len());
    let by_sql = match &arguments.sql {
        Some(file) => format!("\n{}", sql::report(&store, file, &sales).await?),
        None => String::new(),
    };
    store.close().await?;

    print(&format!(
        "{}\n{}{by_sql}\n{}",
        report::table(&sales),
        totals.lines(),
        report::throughput(invoices.lines, commands, elapsed),
    ))?;
    if let Some(malformed) = invoices.malformed {
        if !invoices.waiting.is_empty() {
            let waiting = invoices.waiting.join(", ");
            eprintln!(
                "note: not placed, since they may go on at the malformed line or behind it: {waiting}"
            );
        }
        return Err(format!("{csv_name}:{malformed}").into());
    }
    if arguments.csv.is_none() && arguments.store.is_none() && totals != Totals::shipped() {
        let expected = Totals::shipped().lines();
        return Err(format!("these are not the totals of the shipped file:\n{expected}").into());
    }
    Ok(())
}

/// Sends each command, in the order of the file. The aggregate recognizes the commands of an earlier run, and rejects them.
async fn execute(
    store: &AggregateStore,
    steps: Vec<Step>,
    csv: &Path,
) -> Result<(), Box<dyn Error>> {
    let progress = progress_bar(steps.len());
    for step in steps {
        let context = CommandContext::default().with_correlation_id(&step.invoice);
        let failed = |id: &str, error: &dyn Error| {
            let (csv, line) = (csv.display(), step.line);
            format!("{csv}:{line}: the command for `{id}` failed: {error}")
        };
        match step.action {
            Action::Order(id, command) => match store.send(&id, command, context).await {
                Ok(_)
                | Err(ExecuteError::Domain(
                    OrderError::AlreadyPlaced | OrderError::AlreadyReturned,
                )) => {}
                Err(error) => return Err(failed(&id, &error).into()),
            },
            Action::Adjustment(id, command) => match store.send(&id, command, context).await {
                Ok(_) | Err(ExecuteError::Domain(InventoryError::AlreadyAdjusted { .. })) => {}
                Err(ExecuteError::Domain(error @ InventoryError::NotStocked { .. })) => {
                    let (csv, line) = (csv.display(), step.line);
                    progress.suspend(|| eprintln!("note: {csv}:{line}: no adjustment: {error}"));
                }
                Err(error) => return Err(failed(&id, &error).into()),
            },
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(())
}

/// The drawing of the store, without opening it.
fn drawing(language: Language) -> String {
    match language {
        Language::Mermaid => Shop::topology().to_mermaid(),
        Language::Dot => Shop::topology().to_dot(),
        Language::Json => Shop::topology().to_json(),
    }
}

/// A bar on standard error; none without a terminal.
fn progress_bar(steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64);
    match ProgressStyle::with_template("{wide_bar} {pos}/{len} commands") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn shipped_csv() -> PathBuf {
    let paths = SHIPPED.map(PathBuf::from);
    let [built, _] = &paths;
    paths
        .iter()
        .find(|path| path.exists())
        .unwrap_or(built)
        .clone()
}

/// Prints to standard output; a closed reader is no error.
fn print(text: &str) -> std::io::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}
