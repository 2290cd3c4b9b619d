//! A sink of your own: a projection into a directory of JSON files, exactly once across crashes.
//!
//! ```text
//! cargo run --example own_sink
//! ```
//!
//! Any place with transactions can be the sink of a projection. A directory has none, so `folder.rs` makes them: new files
//! under new names, and one rename that makes all of them valid together with the progress. The program crashes at the
//! first file operation, then at the second, and so on, until a life has enough of them to finish. Each crash drops the
//! store in the middle of a transaction, even in the middle of a file. After each the files are those of some position, and
//! at the end each event was counted once. The example checks its output.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod account;
mod folder;
mod fuel;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::time::Duration;

use account::{Account, AccountEvent, Deposit};
use eventfold_es::prelude::*;
use folder::{Folder, FolderError, FolderTx};
use fuel::Fuel;

/// Longer than a life takes.
const SOON: Duration = Duration::from_secs(30);
const ACCOUNTS: [&str; 3] = ["ada", "grace", "linus"];

/// The file of an account.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Statement {
    deposits: u64,
    cents: u64,
}

/// A file for each account, for programs that know nothing of the store.
#[projection(subscribes = [Account], sink = Folder)]
pub struct Statements;

impl Prepare for Statements {
    fn prepare(tx: &mut FolderTx) -> Result<(), FolderError> {
        tx.clear();
        Ok(())
    }
}

impl ProjectInto<Account> for Statements {
    fn project(
        event: &AccountEvent,
        cx: &EventContext<'_>,
        tx: &mut FolderTx,
    ) -> Result<(), FolderError> {
        let AccountEvent::Deposited { cents } = event;
        let mut statement: Statement = tx.read(cx.stream_id())?.unwrap_or_default();
        statement.deposits += 1;
        statement.cents += cents;
        tx.write(cx.stream_id(), &statement)
    }
}

/// The statements after a number of deposits. The amounts are powers of two, so a missing or doubled deposit shows.
fn expected(deposits: u64) -> BTreeMap<String, Statement> {
    let mut statements = BTreeMap::<_, Statement>::new();
    for (number, id) in (0..deposits).zip(ACCOUNTS.iter().cycle()) {
        let statement = statements.entry((*id).to_owned()).or_default();
        statement.deposits += 1;
        statement.cents += 1 << number;
    }
    statements
}

/// One life of the program: deposits until the fuel for file operations is used up, or to the end. Returns the number of
/// durable deposits.
async fn live(directory: &Path, fuel: Fuel, total: u64) -> Result<u64, Box<dyn Error>> {
    let folder = Folder::new(directory.join("statements"), fuel.clone());
    let builder = AggregateStore::builder(directory.join("store"));
    let store = builder
        .projection::<Statements>()
        .sink(folder)
        .open()
        .await?;
    let mut done = store.health().await.position;
    loop {
        // The projection goes on with a file operation that fails, as with every error of its sink. A crash does not.
        tokio::select! {
            reached = store.wait_for::<Statements>(done, SOON) => reached?,
            () = fuel.is_used_up() => break,
        };
        if done == total {
            break;
        }
        let id = ACCOUNTS.iter().cycle().nth(usize::try_from(done)?);
        let deposit = Deposit { cents: 1 << done };
        store.send(id.ok_or("no account")?, deposit, ()).await?;
        done += 1;
    }
    // The store is dropped, and not closed.
    Ok(done)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    const TOTAL: u64 = 24;

    let directory = tempfile::tempdir()?;
    let mut crashes = 0;
    let mut lost = 0;
    loop {
        let fuel = Fuel::for_operations(crashes + 1);
        let deposits = live(directory.path(), fuel.clone(), TOTAL).await?;

        // What another program finds at this moment.
        let found = folder::read_all::<Statement>(&directory.path().join("statements/statements"))?;
        let seen = found.values().map(|statement| statement.deposits).sum();
        assert_eq!(found, expected(seen), "after {crashes} crashes");
        assert!(seen <= deposits, "{seen} of {deposits}");
        if !fuel.is_empty() {
            assert_eq!(seen, TOTAL);
            break;
        }
        crashes += 1;
        lost = lost.max(deposits - seen);
    }
    println!("{TOTAL} deposits, each in the files once, through {crashes} crashes");
    for (id, statement) in expected(TOTAL) {
        println!(
            "  {id}: {} deposits, {} cents",
            statement.deposits, statement.cents
        );
    }
    assert!(
        crashes > 10 && lost > 0,
        "{crashes} crashes, at most {lost} deposits behind"
    );
    Ok(())
}
