//! Dead letters: rejected commands that are inspected, and sent again after the fix.
//!
//! ```text
//! cargo run --example dead_letters
//! ```
//!
//! A process manager books invoices to accounts. One account is closed by mistake, and one does not exist. Their bookings
//! become dead letters, with the reason and the source event. Nothing is lost and no other booking waits. The account is opened
//! again, and its letters are redriven, each exactly once. The other letter is discarded. The example checks its output.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::convert::Infallible;
use std::error::Error;
use std::fmt::Write as _;

use eventfold_es::prelude::*;
use eventfold_es::store::DeadLetterEntry;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum AccountCommand {
    Open,
    Close,
    Book { cents: u64 },
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum AccountEvent {
    Opened,
    Closed,
    Booked { cents: u64 },
}

#[derive(Debug, thiserror::Error)]
#[error("the account is closed")]
pub struct AccountClosed;

/// The account of a booking.
#[aggregate(error = AccountClosed)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Account {
    is_open: bool,
    cents: u64,
}

impl Decider for Account {
    fn decide(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, AccountClosed> {
        match command {
            AccountCommand::Open => Ok(vec![AccountEvent::Opened]),
            AccountCommand::Close => Ok(vec![AccountEvent::Closed]),
            AccountCommand::Book { .. } if !self.is_open => Err(AccountClosed),
            AccountCommand::Book { cents } => Ok(vec![AccountEvent::Booked { cents }]),
        }
    }

    fn evolve(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Opened => self.is_open = true,
            AccountEvent::Closed => self.is_open = false,
            AccountEvent::Booked { cents } => self.cents += cents,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum InvoiceCommand {
    Issue { account: String, cents: u64 },
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum InvoiceEvent {
    Issued { account: String, cents: u64 },
}

/// The booked amount.
#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Invoice;

impl Decider for Invoice {
    fn decide(&self, command: InvoiceCommand) -> Result<Vec<InvoiceEvent>, Infallible> {
        let InvoiceCommand::Issue { account, cents } = command;
        Ok(vec![InvoiceEvent::Issued { account, cents }])
    }

    fn evolve(&mut self, _event: &InvoiceEvent) {}
}

/// Books every invoice.
#[process_manager(subscribes = [Invoice], dispatches = [Account])]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Bookkeeper;

impl React<Invoice> for Bookkeeper {
    fn react(&mut self, event: &InvoiceEvent, cx: &mut Reaction<'_, Self>) {
        let InvoiceEvent::Issued { account, cents } = event;
        cx.send(account.clone(), AccountCommand::Book { cents: *cents });
    }
}

const EXPECTED: &str = "\
dead letters:
  inv-2 -> sales: rejected, the account is closed
  inv-3 -> sales: rejected, the account is closed
  inv-4 -> slaes: rejected, the account is closed
redriven: 2 executed, 0 failed
discarded: inv-4 -> slaes
sales: 60 EUR
dead letters left: 0
";

/// The target of a dead letter's command.
fn target(letter: &DeadLetterEntry) -> &str {
    let envelope = letter.envelope.as_ref();
    envelope.map_or("", |envelope| &envelope.instance_id)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let store = AggregateStore::builder(directory.path())
        .process_manager::<Bookkeeper>()
        .open()
        .await?;
    store.send("sales", AccountCommand::Open, ()).await?;
    let invoices = [
        ("inv-1", "sales", 1000),
        ("inv-2", "sales", 2000),
        ("inv-3", "sales", 3000),
        ("inv-4", "slaes", 4000),
    ];
    for (invoice, account, cents) in invoices {
        let account = account.to_owned();
        let issue = InvoiceCommand::Issue { account, cents };
        store.send(invoice, issue, ()).await?;
        if invoice == "inv-1" {
            // A mistake.
            store.send("sales", AccountCommand::Close, ()).await?;
        }
    }

    let bookkeeper = store.process_manager::<Bookkeeper>()?;
    let mut report = String::from("dead letters:\n");
    for letter in bookkeeper.dead_letters().await? {
        let (from, to) = (&letter.source.stream_id, target(&letter));
        let kinds: Vec<_> = letter
            .attempts
            .iter()
            .map(|tried| tried.kind.as_str())
            .collect();
        writeln!(
            report,
            "  {from} -> {to}: {}, {}",
            kinds.join(", "),
            letter.error()
        )?;
    }

    // The fix. The commands for the account are sent again, the others are discarded.
    store.send("sales", AccountCommand::Open, ()).await?;
    let (mut executed, mut failed) = (0, 0);
    for letter in bookkeeper.dead_letters().await? {
        if target(&letter) == "sales" {
            let redriven = bookkeeper.redrive(&letter.id).await?;
            executed += redriven.done;
            failed += redriven.failed;
        }
    }
    writeln!(report, "redriven: {executed} executed, {failed} failed")?;
    for letter in bookkeeper.dead_letters().await? {
        let (from, to) = (&letter.source.stream_id, target(&letter));
        writeln!(report, "discarded: {from} -> {to}")?;
        bookkeeper.discard(&letter.id).await?;
    }

    let sales = store.get::<Account>("sales").await?.state().await?;
    writeln!(report, "sales: {} EUR", sales.cents / 100)?;
    let left = bookkeeper.status().await?.dead_letters;
    writeln!(report, "dead letters left: {left}")?;
    print!("{report}");
    assert_eq!(report, EXPECTED);
    store.close().await?;
    Ok(())
}
