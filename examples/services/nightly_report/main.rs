//! A report each night: the program of the guide's page "Nightly report".
//!
//! ```text
//! cargo run -p eventfold-es-services --example nightly_report
//! ```
//!
//! Sales are counted, and written to a file at two in the morning in Berlin. The program crashes when a report is due, is away for
//! three nights, and its clock goes back. The clock of the store is moved by hand. The example checks its output.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod reports;
mod sale;
mod writer;

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use eventfold_es::clock::ManualClock;
use eventfold_es::prelude::*;
use reports::{Counter, Nightly, Report};
use sale::Sell;
use writer::Writer;

const EXPECTED: &str = "\
2026-11-29.txt: sales: 2, cents: 300, nights: 1
2026-11-30.txt: sales: 1, cents: 400, nights: 1
2026-12-03.txt: sales: 0, cents: 0, nights: 3
2026-12-04.txt: sales: 1, cents: 500, nights: 1
in March: 2026-03-29T03:00:00+02:00[Europe/Berlin]
";

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Noon in Berlin on 2026-11-28, in seconds since 1970.
const NOON: u64 = 1_795_863_600;

async fn open(directory: &Path, clock: &ManualClock) -> Result<AggregateStore, Box<dyn Error>> {
    let writer = Writer {
        directory: directory.join("reports"),
    };
    let store = AggregateStore::builder(directory.join("store"))
        .schedule::<Nightly>()
        .process_manager::<Counter>()
        .event_handler(writer)
        .clock(clock.clone())
        .open()
        .await?;
    Ok(store)
}

async fn sell(store: &AggregateStore, sale: &str, cents: u64) -> Result<(), Box<dyn Error>> {
    store.send(sale, Sell { cents }, ()).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let reports = directory.path().join("reports");
    fs::create_dir(&reports)?;
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(NOON));

    // An ordinary night.
    let store = open(directory.path(), &clock).await?;
    sell(&store, "sale-1", 100).await?;
    sell(&store, "sale-2", 200).await?;
    clock.advance(DAY);
    // A test waits with it. A program does not call it.
    store.run_process_managers().await?;
    assert!(reports.join("2026-11-29.txt").exists());

    // A crash when the report is due.
    sell(&store, "sale-3", 400).await?;
    clock.advance(DAY);
    drop(store);
    let store = open(directory.path(), &clock).await?;
    store.run_process_managers().await?;
    assert!(reports.join("2026-11-30.txt").exists());

    // Three nights without the program.
    store.close().await?;
    clock.advance(3 * DAY);
    let store = open(directory.path(), &clock).await?;
    store.run_process_managers().await?;

    // The clock goes back to before two o'clock, and passes it again.
    clock.set(SystemTime::UNIX_EPOCH + Duration::from_secs(NOON) + 5 * DAY - 11 * HOUR);
    sell(&store, "sale-4", 500).await?;
    store.run_process_managers().await?;
    clock.advance(2 * HOUR);
    store.run_process_managers().await?;
    clock.advance(DAY);
    store.run_process_managers().await?;

    // In this night, 02:00 does not exist in Berlin.
    let march = SystemTime::UNIX_EPOCH + Duration::from_secs(NOON) - 245 * DAY;
    let in_march = Nightly::timetable()?.next_after(march);
    let in_march = in_march.ok_or("a night without a report")?;

    let mut report = String::new();
    for date in store.list::<Report>().await? {
        let name = store.get::<Report>(&date).await?.state().await?.file;
        let name = name.ok_or("a report without a file")?;
        report += &format!("{name}: {}", fs::read_to_string(reports.join(&name))?);
    }
    report += &format!("in March: {}\n", in_march.local());
    assert_eq!(fs::read_dir(&reports)?.count(), 4);
    store.close().await?;
    print!("{report}");
    assert_eq!(report, EXPECTED);
    Ok(())
}
