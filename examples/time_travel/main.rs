//! Past states of an aggregate, and the answer to "who changed this, and when?".
//!
//! ```text
//! cargo run --example time_travel
//! ```
//!
//! Three people change a product in a catalog over five days. The program asks for its state at a version and at a time, for
//! the author of the current price, and for its changes in pages, newest first. The clock of the store is the program's own,
//! so that the days pass at once. The example checks its output.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod calendar;
mod product;

use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;

use calendar::{Calendar, day, shown};
use eventfold_es::prelude::*;
use eventfold_es::{Recorded, StateError, StoreError};
use product::{Product, ProductCommand, ProductEvent};

const EXPECTED: &str = "\
today: Sencha, 6.90 EUR
version 2: Tea, 4.50 EUR
at the end of day 3: Green tea, 5.90 EUR
before day 1: no product
version 9: there is none; the last version is 6
the price: linus, day 5, in version 6
the name: grace, day 4, in version 5
changes, page 1:
  version 6, day 5, linus: the price is 6.90 EUR
  version 5, day 4, grace: the name is Sencha
changes, page 2:
  version 4, day 3, ada: the price is 5.90 EUR
  version 3, day 2, grace: the name is Green tea
changes, page 3:
  version 2, day 1, ada: the price is 4.50 EUR
  version 1, day 1, ada: the name is Tea
";

const PRODUCT: &str = "tea-1";
const PAGE: usize = 2;

type Change = Recorded<ProductEvent>;

/// The newest change that `is_wanted`. It reads from the end, and no further than to that change.
async fn last_change(
    store: &AggregateStore,
    is_wanted: impl Fn(&ProductEvent) -> bool,
) -> Result<Option<Change>, Box<dyn Error>> {
    let mut changes = store.history::<Product>(PRODUCT).backwards();
    while let Some(change) = changes.next().await {
        let change = change?;
        if is_wanted(&change.event) {
            return Ok(Some(change));
        }
    }
    Ok(None)
}

/// A page of changes, newest first: those before a version, or the newest.
async fn page(store: &AggregateStore, before: Option<u64>) -> Result<Vec<Change>, Box<dyn Error>> {
    let changes = store.history::<Product>(PRODUCT).backwards().limit(PAGE);
    let changes = match before {
        Some(version) => changes.before(version),
        None => changes,
    };
    Ok(changes.collect().await?)
}

fn author(change: Option<&Change>) -> String {
    change.map_or_else(String::new, |change| {
        let (actor, day) = (change.actor().unwrap_or("?"), shown(change.at()));
        format!("{actor}, {day}, in version {}", change.version())
    })
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let calendar = Calendar::default();
    let builder = AggregateStore::builder(directory.path()).clock(calendar.clone());
    let store = builder.open().await?;
    let tea = store.get::<Product>(PRODUCT).await?;

    for (on, actor, command) in [
        (1, "ada", ProductCommand::Rename("Tea".to_owned())),
        (1, "ada", ProductCommand::SetPrice(450)),
        (2, "grace", ProductCommand::Rename("Green tea".to_owned())),
        (3, "ada", ProductCommand::SetPrice(590)),
        (4, "grace", ProductCommand::Rename("Sencha".to_owned())),
        (5, "linus", ProductCommand::SetPrice(690)),
    ] {
        calendar.turn_to(on);
        tea.execute(command, CommandContext::default().with_actor(actor))
            .await?;
    }

    let mut report = String::new();
    writeln!(report, "today: {}", tea.state().await?)?;
    writeln!(report, "version 2: {}", tea.state_at(2).await?)?;
    // A time is inclusive: this has the changes of day 3, and nothing of day 4.
    let end_of_day_3 = day(4) - Duration::from_millis(1);
    writeln!(
        report,
        "at the end of day 3: {}",
        tea.state_at_time(end_of_day_3).await?
    )?;
    writeln!(report, "before day 1: {}", tea.state_at_time(day(0)).await?)?;
    match tea.state_at(9).await {
        Err(StateError {
            source: StoreError::NoSuchVersion { version, last },
            ..
        }) => {
            writeln!(
                report,
                "version {version}: there is none; the last version is {last}"
            )?;
        }
        other => return Err(format!("{other:?}").into()),
    }

    let price = last_change(&store, |event| matches!(event, ProductEvent::PriceSet(_))).await?;
    writeln!(report, "the price: {}", author(price.as_ref()))?;
    let name = last_change(&store, |event| matches!(event, ProductEvent::Renamed(_))).await?;
    writeln!(report, "the name: {}", author(name.as_ref()))?;

    let mut changes = page(&store, None).await?;
    let mut number = 1;
    while let Some(oldest) = changes.last() {
        writeln!(report, "changes, page {number}:")?;
        for change in &changes {
            let (day, actor) = (shown(change.at()), change.actor().unwrap_or("?"));
            writeln!(
                report,
                "  version {}, {day}, {actor}: {}",
                change.version(),
                change.event
            )?;
        }
        // Pages go by version, so changes that arrive meanwhile move nothing.
        changes = page(&store, Some(oldest.version())).await?;
        number += 1;
    }
    store.close().await?;

    print!("{report}");
    assert_eq!(report, EXPECTED);
    Ok(())
}
