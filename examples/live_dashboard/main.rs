//! A dashboard in the terminal, which follows orders while other tasks place them.
//!
//! ```text
//! cargo run --example live_dashboard
//! ```
//!
//! Three tasks place orders, and ship or cancel them. The dashboard subscribes to the orders and keeps their totals. It
//! draws at most ten times a second, however many events arrive, and only after a change. A terminal shows each drawing in
//! the place of the previous drawing; a file or a pipe gets the last drawing only. The example checks its output.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod dashboard;
mod order;

use std::error::Error;
use std::io::{IsTerminal as _, stdout};
use std::time::{Duration, Instant};

use dashboard::{Dashboard, Screen};
use eventfold_es::prelude::*;
use order::{Order, OrderCommand, OrderError};
use tokio::time::{MissedTickBehavior, interval};

const BRANCHES: [&str; 3] = ["Leeds", "Lyon", "Oslo"];
const ORDERS_PER_BRANCH: u64 = 100;
const ORDERS: u64 = BRANCHES.len() as u64 * ORDERS_PER_BRANCH;
/// The shortest time between two drawings.
const REDRAW: Duration = Duration::from_millis(100);

const EXPECTED: &str = "\
Branch     placed   shipped  cancelled      EUR
Leeds         100        90         10   450.00
Lyon          100        90         10   900.00
Oslo          100        90         10  1350.00
all           300       270         30  2700.00
";

/// Places the orders of a branch. Each tenth order is cancelled, the others are shipped.
async fn take_orders(
    store: AggregateStore,
    branch: &str,
    cents: u64,
) -> Result<(), ExecuteError<OrderError>> {
    for number in 1..=ORDERS_PER_BRANCH {
        let id = format!("{branch}-{number}");
        let branch = branch.to_owned();
        let place = OrderCommand::Place { branch, cents };
        store.send(&id, place, ()).await?;
        let end = match number % 10 {
            0 => OrderCommand::Cancel,
            _ => OrderCommand::Ship,
        };
        store.send(&id, end, ()).await?;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// Follows the orders until all of them have ended.
async fn follow(store: &AggregateStore, screen: &mut Screen) -> Result<Dashboard, Box<dyn Error>> {
    let mut orders = store.subscribe::<Order>();
    let mut redraw = interval(REDRAW);
    // A late drawing postpones the next ones, instead of being followed by several at once.
    redraw.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut dashboard = Dashboard::default();
    let mut is_changed = false;
    while dashboard.ended() < ORDERS {
        // Both futures are cancel safe: the branch that is dropped loses no event.
        tokio::select! {
            recorded = orders.next() => {
                let recorded = recorded.ok_or("the store was closed")??;
                dashboard.apply(recorded.stream_id(), &recorded.event);
                is_changed = true;
            }
            _ = redraw.tick(), if is_changed => {
                screen.draw(&dashboard)?;
                is_changed = false;
            }
        }
    }
    Ok(dashboard)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let store = AggregateStore::open(directory.path()).await?;

    let tasks: Vec<_> = BRANCHES
        .into_iter()
        .zip([500, 1000, 1500])
        .map(|(branch, cents)| tokio::spawn(take_orders(store.clone(), branch, cents)))
        .collect();

    let begun = Instant::now();
    let mut screen = Screen::new(stdout(), stdout().is_terminal());
    let branches = async {
        for task in tasks {
            task.await??;
        }
        Ok(())
    };
    // A branch that fails ends the dashboard, too, which would wait for its orders.
    let (dashboard, ()) = tokio::try_join!(follow(&store, &mut screen), branches)?;
    store.close().await?;

    screen.finish(&dashboard)?;
    assert_eq!(dashboard.to_string(), EXPECTED);
    let most = begun.elapsed().as_millis() / REDRAW.as_millis() + 1;
    assert!(screen.redraws() <= most, "{} drawings", screen.redraws());
    Ok(())
}
