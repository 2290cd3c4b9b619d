//! E-mails by an event handler and SMTP: the program of the guide's page "Sending e-mail".
//!
//! ```text
//! cargo run -p eventfold-es-services --example sending_email
//! ```
//!
//! The program crashes after the server has accepted the first mail. The server defers the second mail once, and refuses the third.
//! The example checks its output.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod mailer;
mod order;
mod smtp_stub;

use std::collections::BTreeSet;
use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use eventfold_es::clock::ManualClock;
use eventfold_es::prelude::*;
use eventfold_es_services::until;
use lettre::{AsyncSmtpTransport, Tokio1Executor};
use mailer::Mailer;
use order::{Order, OrderCommand};
use smtp_stub::{Answer, SmtpStub};

const EXPECTED: &str = "\
ord-1: 2 copies with 1 Message-ID, Mailed(\"accepted\")
ord-2: 1 copies with 1 Message-ID, Mailed(\"accepted\")
ord-3: 0 copies with 0 Message-ID, Bounced
";

async fn open(
    directory: &Path,
    server: SocketAddr,
    clock: &ManualClock,
) -> Result<AggregateStore, Box<dyn Error>> {
    // The stub speaks no TLS. A program uses `AsyncSmtpTransport::relay(..)`.
    let smtp = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(server.ip().to_string())
        .port(server.port())
        .build();
    let from = "Shop <orders@shop.example>".parse()?;
    let store = AggregateStore::builder(directory)
        .event_handler(Mailer { smtp, from })
        // So that the crash of this example does not wait for the call.
        .handler_patience(Duration::ZERO)
        .clock(clock.clone())
        .open()
        .await?;
    Ok(store)
}

async fn mail_about(store: &AggregateStore, order: &str) -> Result<Order, Box<dyn Error>> {
    Ok(store.get::<Order>(order).await?.state().await?)
}

async fn is_settled(store: &AggregateStore, order: &str) -> Result<bool, Box<dyn Error>> {
    Ok(mail_about(store, order).await? != Order::Waiting)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let (server, address) = SmtpStub::start().await?;
    let clock = ManualClock::new(SystemTime::now());
    let place = |email: &str| OrderCommand::Place {
        email: email.to_owned(),
    };

    // A crash after the server has accepted the mail, and before the program knows it.
    let store = open(directory.path(), address, &clock).await?;
    server.next_answer(Answer::AcceptsSilently);
    store.send("ord-1", place("ada@example.com"), ()).await?;
    until("the server has the mail", async || {
        Ok(server.accepted().len() == 1)
    })
    .await?;
    drop(store);
    let store = open(directory.path(), address, &clock).await?;
    until("the mail is noted", async || {
        is_settled(&store, "ord-1").await
    })
    .await?;

    // The server defers the mail. Each second is an attempt, by the clock of the store.
    server.next_answer(Answer::Greylists);
    store.send("ord-2", place("grace@example.com"), ()).await?;
    until("the mail is deferred", async || Ok(server.refusals() == 1)).await?;
    assert!(!is_settled(&store, "ord-2").await?);
    until("the mail is noted", async || {
        clock.advance(Duration::from_secs(1));
        is_settled(&store, "ord-2").await
    })
    .await?;

    // The server refuses the mail, and no attempt would succeed.
    server.next_answer(Answer::Refuses);
    store.send("ord-3", place("linus@example.com"), ()).await?;
    until("the bounce is noted", async || {
        is_settled(&store, "ord-3").await
    })
    .await?;
    assert_eq!(server.refusals(), 2);

    let mut report = String::new();
    for (order, email) in [
        ("ord-1", "ada@example.com"),
        ("ord-2", "grace@example.com"),
        ("ord-3", "linus@example.com"),
    ] {
        let accepted = server.accepted();
        let copies = accepted.iter().filter(|mail| mail.to == email);
        let ids: BTreeSet<_> = copies.clone().map(|mail| &mail.message_id).collect();
        let mail = match mail_about(&store, order).await? {
            Order::Bounced(reason) if reason.contains("no such mailbox") => "Bounced".to_owned(),
            other => format!("{other:?}"),
        };
        report += &format!(
            "{order}: {} copies with {} Message-ID, {mail}\n",
            copies.count(),
            ids.len()
        );
    }
    store.close().await?;
    print!("{report}");
    assert_eq!(report, EXPECTED);
    Ok(())
}
