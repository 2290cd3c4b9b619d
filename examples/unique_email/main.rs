//! Unique e-mail addresses: an address is an aggregate of its own, and is claimed in the transaction that needs it.
//!
//! ```text
//! cargo run --example unique_email
//! ```
//!
//! A set of all addresses would be one aggregate that every registration waits for. Here each address stands alone, so that
//! only requests for the same address meet. A transaction claims the address and registers the user, or does neither: no crash
//! leaves an address without its user. Thirty-two people want the same address at once, and one gets it. A change of address
//! releases the old address and claims the new one in one step. The example checks its output.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::convert::Infallible;
use std::error::Error;
use std::fmt::Write as _;

use eventfold_es::TransactionError;
use eventfold_es::prelude::*;
use eventfold_es::store::Committed;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum EmailCommand {
    Claim { user: String },
    Release { user: String },
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum EmailEvent {
    Claimed { user: String },
    Released,
}

#[derive(Debug, thiserror::Error)]
pub enum EmailError {
    #[error("the address belongs to somebody else")]
    Taken,
    #[error("the address is not theirs")]
    NotTheirs,
}

/// An e-mail address, and its owner.
#[aggregate]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Email {
    owner: Option<String>,
}

impl Decider for Email {
    fn decide(&self, command: EmailCommand) -> Result<Vec<EmailEvent>, EmailError> {
        match command {
            EmailCommand::Claim { user } if self.owner.as_ref() == Some(&user) => Ok(Vec::new()),
            EmailCommand::Claim { .. } if self.owner.is_some() => Err(EmailError::Taken),
            EmailCommand::Claim { user } => Ok(vec![EmailEvent::Claimed { user }]),
            EmailCommand::Release { user } if self.owner.as_ref() != Some(&user) => {
                Err(EmailError::NotTheirs)
            }
            EmailCommand::Release { .. } => Ok(vec![EmailEvent::Released]),
        }
    }

    fn evolve(&mut self, event: &EmailEvent) {
        self.owner = match event {
            EmailEvent::Claimed { user } => Some(user.clone()),
            EmailEvent::Released => None,
        };
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum UserCommand {
    Register { email: String },
    ChangeEmail { email: String },
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum UserEvent {
    Registered { email: String },
    EmailChanged { email: String },
}

/// A user with an account.
#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct User {
    email: String,
}

impl Decider for User {
    fn decide(&self, command: UserCommand) -> Result<Vec<UserEvent>, Infallible> {
        Ok(vec![match command {
            UserCommand::Register { email } => UserEvent::Registered { email },
            UserCommand::ChangeEmail { email } => UserEvent::EmailChanged { email },
        }])
    }

    fn evolve(&mut self, event: &UserEvent) {
        let (UserEvent::Registered { email } | UserEvent::EmailChanged { email }) = event;
        self.email.clone_from(email);
    }
}

/// The aggregate that stands for an address. Addresses that differ only in case are one.
fn address(email: &str) -> String {
    format!("email-{}", email.to_lowercase())
}

/// Registers a user who does not exist yet.
async fn register(
    store: &AggregateStore,
    user: &str,
    email: &str,
) -> Result<Committed, TransactionError> {
    let (owner, email_of_user) = (user.to_owned(), email.to_owned());
    store
        .transaction(CommandContext::default().with_actor(user))
        .send(address(email), EmailCommand::Claim { user: owner })
        .send_expecting(
            user,
            0,
            UserCommand::Register {
                email: email_of_user,
            },
        )
        .commit()
        .await
}

/// Gives a user another address, unless the user has changed since it was loaded.
async fn change_email(
    store: &AggregateStore,
    user: &str,
    email: &str,
) -> Result<Committed, Box<dyn Error>> {
    let loaded = store.get::<User>(user).await?.load().await?;
    let owner = || user.to_owned();
    let change = UserCommand::ChangeEmail {
        email: email.to_owned(),
    };
    let done = store
        .transaction(CommandContext::default().with_actor(user))
        .send(
            address(&loaded.state.email),
            EmailCommand::Release { user: owner() },
        )
        .send(address(email), EmailCommand::Claim { user: owner() })
        .send_expecting(user, loaded.version, change)
        .commit();
    Ok(done.await?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let store = AggregateStore::open(directory.path()).await?;
    let mut report = String::new();

    let tasks: Vec<_> = (1..=32)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                // The same address in any case.
                let email = match number % 2 {
                    0 => "ada@example.com",
                    _ => "Ada@Example.com",
                };
                register(&store, &format!("user-{number}"), email).await
            })
        })
        .collect();
    let (mut registered, mut refused) = (0, 0);
    for task in tasks {
        match task.await? {
            Ok(_) => registered += 1,
            Err(error) => match error.downcast_ref::<EmailError>() {
                Some(EmailError::Taken) => refused += 1,
                _ => return Err(error.into()),
            },
        }
    }
    writeln!(
        report,
        "one address: {registered} registered, {refused} refused"
    )?;
    let users = store.list::<User>().await?;
    writeln!(report, "users: {}", users.len())?;
    let winner = users.first().ok_or("nobody was registered")?;

    change_email(&store, winner, "lovelace@example.com").await?;
    let next = register(&store, "grace", "ada@example.com").await?;
    writeln!(
        report,
        "the old address is free again, and claimed: {} commands",
        next.commands.len()
    )?;

    let taken = change_email(&store, "grace", "lovelace@example.com").await;
    let error = taken.err().ok_or("two users have one address")?;
    writeln!(report, "{error}")?;
    // Nothing of it was done: grace did not lose the address that she has.
    let kept = store
        .get::<Email>("email-ada@example.com")
        .await?
        .state()
        .await?;
    writeln!(
        report,
        "grace keeps hers: {}",
        kept.owner.as_deref() == Some("grace")
    )?;
    store.close().await?;

    print!("{report}");
    assert_eq!(
        report,
        "one address: 1 registered, 31 refused\n\
         users: 1\n\
         the old address is free again, and claimed: 2 commands\n\
         command 1, to `email-lovelace@example.com` of `email`: the address belongs to somebody else\n\
         grace keeps hers: true\n"
    );
    Ok(())
}
