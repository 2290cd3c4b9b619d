//! A person approves: the program of the guide's page "Human approval".
//!
//! ```text
//! cargo run -p eventfold-es-services --example approval
//! ```
//!
//! Three expenses: one is approved at once, one is refused after two reminders, and one expires while the program is closed. The
//! clock of the store is moved by hand. The example checks its output.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod approvals;
mod expense;
mod postman;
#[path = "../sending_email/smtp_stub.rs"]
#[allow(dead_code, reason = "this program needs a part of it")]
mod smtp_stub;

use std::collections::BTreeSet;
use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::time::SystemTime;

use approvals::{Approvals, DAY};
use eventfold_es::clock::ManualClock;
use eventfold_es::prelude::*;
use eventfold_es_services::until;
use expense::{Expense, ExpenseCommand, ExpenseError};
use lettre::{AsyncSmtpTransport, Tokio1Executor};
use postman::Postman;
use smtp_stub::SmtpStub;

const EXPECTED: &str = "\
day 0: exp-1 is Decided(Approved), mails: 1
day 1: exp-2 has 2 mails, exp-3 has 2 mails
day 2: exp-2 has 3 mails, exp-3 has 3 mails
day 2: exp-2 is Decided(Refused)
day 9, at the next start: exp-3 is Decided(Expired)
its approval on day 9: the expense is decided already: Expired
mails: 7, each with its own Message-ID
";

async fn open(
    directory: &Path,
    server: SocketAddr,
    clock: &ManualClock,
) -> Result<AggregateStore, Box<dyn Error>> {
    let smtp = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(server.ip().to_string())
        .port(server.port())
        .build();
    let from = "Office <office@office.example>".parse()?;
    let store = AggregateStore::builder(directory)
        .process_manager::<Approvals>()
        .event_handler(Postman { smtp, from })
        .clock(clock.clone())
        .open()
        .await?;
    Ok(store)
}

async fn submit(store: &AggregateStore, expense: &str) -> Result<(), Box<dyn Error>> {
    let (cents, approver) = (4_200, "ada@office.example".to_owned());
    let submit = ExpenseCommand::Submit { cents, approver };
    store.send(expense, submit, ()).await?;
    Ok(())
}

async fn expense(store: &AggregateStore, id: &str) -> Result<Expense, Box<dyn Error>> {
    Ok(store.get::<Expense>(id).await?.state().await?)
}

fn mails_about(server: &SmtpStub, expense: &str) -> usize {
    let mails = server.accepted();
    let about = mails
        .iter()
        .filter(|mail| mail.subject.starts_with(expense));
    about.count()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let (server, address) = SmtpStub::start().await?;
    let clock = ManualClock::new(SystemTime::now());
    let mut report = String::new();

    let store = open(directory.path(), address, &clock).await?;
    for id in ["exp-1", "exp-2", "exp-3"] {
        submit(&store, id).await?;
    }
    // The person clicks a link, and the program sends the command.
    store.send("exp-1", ExpenseCommand::Approve, ()).await?;
    until("each approver has a mail", async || {
        Ok(server.accepted().len() == 3)
    })
    .await?;
    let exp_1 = expense(&store, "exp-1").await?;
    let mails = mails_about(&server, "exp-1");
    report += &format!("day 0: exp-1 is {exp_1:?}, mails: {mails}\n");

    for day in 1..=2 {
        clock.advance(DAY);
        until("the reminders are mailed", async || {
            Ok(server.accepted().len() == 3 + 2 * day)
        })
        .await?;
        let (exp_2, exp_3) = (mails_about(&server, "exp-2"), mails_about(&server, "exp-3"));
        report += &format!("day {day}: exp-2 has {exp_2} mails, exp-3 has {exp_3} mails\n");
    }
    let refuse = ExpenseCommand::Refuse {
        reason: "not this year".to_owned(),
    };
    store.send("exp-2", refuse, ()).await?;
    let exp_2 = expense(&store, "exp-2").await?;
    report += &format!("day 2: exp-2 is {exp_2:?}\n");
    store.close().await?;

    // A week without the program.
    clock.advance(7 * DAY);
    let store = open(directory.path(), address, &clock).await?;
    let approvals = store.process_manager::<Approvals>()?;
    until("no expense waits", async || {
        Ok(approvals.status().await?.instances.open == 0)
    })
    .await?;
    let exp_3 = expense(&store, "exp-3").await?;
    report += &format!("day 9, at the next start: exp-3 is {exp_3:?}\n");
    match store.send("exp-3", ExpenseCommand::Approve, ()).await {
        Err(ExecuteError::Domain(error @ ExpenseError::Decided(_))) => {
            report += &format!("its approval on day 9: {error}\n");
        }
        other => return Err(format!("an expired expense was approved: {other:?}").into()),
    }
    store.run_process_managers().await?;
    store.close().await?;

    let mails = server.accepted();
    let ids: BTreeSet<_> = mails.iter().map(|mail| &mail.message_id).collect();
    assert_eq!(ids.len(), mails.len());
    report += &format!("mails: {}, each with its own Message-ID\n", mails.len());
    print!("{report}");
    assert_eq!(report, EXPECTED);
    Ok(())
}
