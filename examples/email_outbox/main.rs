//! E-mails for events: a reader of a subscription that remembers its position in a file of its own.
//!
//! ```text
//! cargo run --example email_outbox
//! ```
//!
//! The reader sends an e-mail, and then saves the position of its event. A crash between the two sends the e-mail again
//! after the restart: each e-mail is sent *at least once*, never lost. Its id is the id of the event, so a mail server that
//! knows the id drops the second attempt. A server without such ids would deliver it twice. Here the reader crashes three
//! times at that very moment, the store is dropped and opened again, and orders arrive in each life. The example checks its
//! output.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod cursor;
mod mail;
mod order;

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

use cursor::Cursor;
use eventfold_es::prelude::*;
use mail::{Email, MailServer};
use order::{Order, OrderCommand};

/// The number of e-mails after which each life of the program ends in a crash. The last life does not crash.
const LIVES: [Option<usize>; 4] = [Some(1), Some(2), Some(3), None];

#[derive(Debug, PartialEq)]
enum End {
    CaughtUp,
    Crashed,
}

/// Sends the e-mails of all events after the saved position, up to the last event that is durable now.
///
/// A service leaves out `until_now()`, and follows the events as long as it runs.
async fn send_emails(
    store: &AggregateStore,
    cursor: &Cursor,
    server: &MailServer,
    crash_after: Option<usize>,
) -> Result<End, Box<dyn Error>> {
    let position = cursor.load()?;
    // An event that needs no e-mail is neither decoded nor copied.
    let orders = store.subscribe::<Order>().only(&["Placed", "Shipped"])?;
    let mut orders = orders.after(position).until_now();
    let mut sent = 0;
    while let Some(recorded) = orders.next().await {
        let recorded = recorded?;
        let id = recorded.id().ok_or("an event without an id")?;
        if let Some(email) = Email::about(&recorded.event, id, recorded.stream_id()) {
            server.send(email).await;
            sent += 1;
        }
        if Some(sent) == crash_after {
            return Ok(End::Crashed);
        }
        // Only now: a position that is saved before the e-mail is sent could lose the e-mail.
        let (cursor, position) = (cursor.clone(), recorded.position());
        tokio::task::spawn_blocking(move || cursor.save(position)).await??;
    }
    Ok(End::CaughtUp)
}

/// One life of the program, from its start to a crash or to its end.
async fn live(
    directory: &Path,
    life: usize,
    server: &MailServer,
    crash_after: Option<usize>,
) -> Result<End, Box<dyn Error>> {
    let store = AggregateStore::open(directory.join("store")).await?;
    let cursor = Cursor::new(directory.join("emails.cursor"));
    for customer in ["ada", "grace"] {
        let order = format!("ord-{life}-{customer}");
        let email = format!("{customer}@example.com");
        let parcel = format!("parcel-{life}");
        store
            .send(&order, OrderCommand::Place { email }, ())
            .await?;
        store.send(&order, OrderCommand::Pack, ()).await?;
        store
            .send(&order, OrderCommand::Ship { parcel }, ())
            .await?;
    }
    // A crash drops the store in the middle of the work.
    send_emails(&store, &cursor, server, crash_after).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    // The server is elsewhere, and outlives the crashes of the program.
    let server = MailServer::default();
    let mut crashes = 0;
    for (life, crash_after) in LIVES.into_iter().enumerate() {
        let end = live(directory.path(), life, &server, crash_after).await?;
        crashes += usize::from(end == End::Crashed);
    }

    let mails = server.mails();
    let mut report = String::new();
    writeln!(
        report,
        "crashes between an e-mail and its position: {crashes}"
    )?;
    writeln!(report, "attempts: {}", mails.attempts)?;
    writeln!(report, "delivered: {}", mails.delivered.len())?;
    for email in mails.delivered.values().take(3) {
        writeln!(report, "  {}: {}", email.to, email.subject)?;
    }
    print!("{report}");
    // 4 lives, 2 orders in each, 2 e-mails for each order. Each crash costs one more attempt, and no e-mail.
    assert_eq!(
        report,
        "crashes between an e-mail and its position: 3\n\
         attempts: 19\n\
         delivered: 16\n\
         \x20 ada@example.com: We have your order ord-0-ada\n\
         \x20 ada@example.com: Your order ord-0-ada is on its way: parcel-0\n\
         \x20 grace@example.com: We have your order ord-0-grace\n"
    );
    Ok(())
}
