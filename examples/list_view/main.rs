//! A list of tickets in rows: found by key and by two indexes, counted, and shown page by page in both directions.
//!
//! ```text
//! cargo run --example list_view
//! ```
//!
//! A helpdesk shows its open tickets. Each is a row of a projection, which the store keeps on disk with its indexes. The
//! program waits for a row after its command, filters by an index, turns pages while tickets are closed, and finds the row
//! of a closed ticket removed. The example checks its output.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod open_tickets;
mod ticket;

use std::error::Error;
use std::fmt::Write as _;
use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::store::{Page, PageToken, RowQuery, Rows};
use open_tickets::OpenTicket;
use ticket::TicketCommand;

const EXPECTED: &str = "\
read after the command: t-01, a printer that burns
open tickets: 9
of ada: t-01, t-03, t-05, t-07, t-09
urgent: t-04, t-08
forwards: t-01 t-02 t-03 t-04 | t-05 t-06 t-07 t-08 | t-09
backwards: t-09 t-08 t-07 t-06 | t-05 t-04 t-03 t-02 | t-01
most urgent first: t-08 t-04 t-09 t-07 | t-06 t-05 t-03 t-02 | t-01
page 2 after t-02 was closed: t-05 t-06 t-07 t-08
closed: t-02 has no row, 8 tickets are open
taken over: of ada t-03, t-05, t-07, t-09, of grace t-01, t-04, t-06, t-08
";

/// Longer than a projection needs for one event.
const SOON: Duration = Duration::from_secs(10);
const PAGE: usize = 4;

/// Executes a command, and waits until the rows have its events.
async fn execute(
    store: &AggregateStore,
    ticket: &str,
    command: TicketCommand,
) -> Result<(), Box<dyn Error>> {
    let done = store.send(ticket, command, ()).await?;
    store.wait_for::<OpenTicket>(done.position, SOON).await?;
    Ok(())
}

fn ids(rows: &[(String, OpenTicket)], separator: &str) -> String {
    let ids: Vec<_> = rows.iter().map(|(id, _)| id.as_str()).collect();
    ids.join(separator)
}

/// All pages of a selection, as a client turns them: it has the text of the last token, and nothing else.
async fn pages(select: impl Fn() -> RowQuery<OpenTicket>) -> Result<String, Box<dyn Error>> {
    let mut pages = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let token: Option<PageToken> = next.as_deref().map(str::parse).transpose()?;
        let page: Page<OpenTicket> = select().limit(PAGE).after(token).page().await?;
        pages.push(ids(&page.rows, " "));
        match page.next {
            Some(token) => next = Some(token.to_string()),
            None => return Ok(pages.join(" | ")),
        }
    }
}

async fn of(tickets: &Rows<OpenTicket>, agent: &str) -> Result<String, Box<dyn Error>> {
    let rows = tickets.by(OpenTicket::AGENT, agent).collect().await?;
    Ok(ids(&rows, ", "))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let builder = AggregateStore::builder(directory.path()).projection::<OpenTicket>();
    let store = builder.open().await?;
    let tickets = store.rows::<OpenTicket>()?;
    let mut report = String::new();

    let subject = "a printer that burns".to_owned();
    let (agent, priority) = ("ada".to_owned(), 1);
    execute(
        &store,
        "t-01",
        TicketCommand::Open {
            subject,
            agent,
            priority,
        },
    )
    .await?;
    let first = tickets
        .get("t-01")
        .await?
        .ok_or("no row after the command")?;
    writeln!(report, "read after the command: t-01, {}", first.subject)?;

    for number in 2..=9 {
        let agent = if number % 2 == 0 { "grace" } else { "ada" }.to_owned();
        let priority = if number % 4 == 0 { 3 } else { 2 };
        let subject = format!("question {number}");
        let open = TicketCommand::Open {
            subject,
            agent,
            priority,
        };
        execute(&store, &format!("t-{number:02}"), open).await?;
    }
    writeln!(report, "open tickets: {}", tickets.all().count().await?)?;
    writeln!(report, "of ada: {}", of(&tickets, "ada").await?)?;
    let urgent = tickets
        .by_range(OpenTicket::PRIORITY, 3..)
        .collect()
        .await?;
    writeln!(report, "urgent: {}", ids(&urgent, ", "))?;

    writeln!(report, "forwards: {}", pages(|| tickets.all()).await?)?;
    writeln!(
        report,
        "backwards: {}",
        pages(|| tickets.all().backwards()).await?
    )?;
    let by_priority = || tickets.by_range(OpenTicket::PRIORITY, ..).backwards();
    writeln!(report, "most urgent first: {}", pages(by_priority).await?)?;

    // A token is a place in the order, and no number of rows: a ticket that is closed meanwhile moves nothing.
    let page = tickets.all().limit(PAGE).page().await?;
    execute(&store, "t-02", TicketCommand::Close).await?;
    let page = tickets.all().limit(PAGE).after(page.next).page().await?;
    writeln!(
        report,
        "page 2 after t-02 was closed: {}",
        ids(&page.rows, " ")
    )?;
    let closed = tickets.get("t-02").await?;
    let open = tickets.all().count().await?;
    writeln!(
        report,
        "closed: t-02 has {} row, {open} tickets are open",
        if closed.is_none() { "no" } else { "a" },
    )?;

    // The index follows the row.
    execute(&store, "t-01", TicketCommand::HandOver("grace".to_owned())).await?;
    let (ada, grace) = (of(&tickets, "ada").await?, of(&tickets, "grace").await?);
    writeln!(report, "taken over: of ada {ada}, of grace {grace}")?;
    store.close().await?;

    print!("{report}");
    assert_eq!(report, EXPECTED);
    Ok(())
}
