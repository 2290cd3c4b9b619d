//! Personal data that can be deleted, although events cannot: one key for each person, and deletion of the key.
//!
//! ```text
//! cargo run --example personal_data
//! ```
//!
//! A customer's name is encrypted before it becomes part of a command. So events, snapshots, projections, dead letters,
//! archives and backups hold the encrypted text only. To forget a customer, the program deletes the key. It checks that the
//! name is nowhere in the directory of the store, and that it cannot be read afterwards. `docs/guide/personal-data.md` lists
//! the other places.

#![deny(clippy::unwrap_used, clippy::expect_used)]

mod vault;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::fs;
use std::io;
use std::path::Path;

use eventfold_es::OpenError;
use eventfold_es::prelude::*;
use vault::{Sealed, Vault, VaultError};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum CustomerCommand {
    Register { name: Sealed },
    Rename { name: Sealed },
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum CustomerEvent {
    Registered { name: Sealed },
    Renamed { name: Sealed },
}

/// A customer; the id is a number of ours, and no name or e-mail address.
#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Customer {
    name: Option<Sealed>,
}

impl Decider for Customer {
    fn decide(&self, command: CustomerCommand) -> Result<Vec<CustomerEvent>, Infallible> {
        Ok(match command {
            CustomerCommand::Register { .. } if self.name.is_some() => vec![],
            CustomerCommand::Register { name } => vec![CustomerEvent::Registered { name }],
            CustomerCommand::Rename { name } => vec![CustomerEvent::Renamed { name }],
        })
    }

    fn evolve(&mut self, event: &CustomerEvent) {
        let (CustomerEvent::Registered { name } | CustomerEvent::Renamed { name }) = event;
        self.name = Some(name.clone());
    }
}

/// Names by customer. Its checkpoint is a file like any other: it holds them encrypted, too.
#[projection(subscribes = [Customer])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Names(BTreeMap<String, Sealed>);

impl Project<Customer> for Names {
    fn project(&mut self, event: &CustomerEvent, cx: &EventContext<'_>) {
        let (CustomerEvent::Registered { name } | CustomerEvent::Renamed { name }) = event;
        self.0.insert(cx.stream_id().to_owned(), name.clone());
    }
}

/// A page about a customer. It decrypts at the last moment, and keeps nothing.
async fn shown_name(
    store: &AggregateStore,
    vault: &Vault,
    id: &str,
) -> Result<String, Box<dyn Error>> {
    let names = store.projection::<Names>().await?;
    match names.0.get(id).map(|name| vault.unseal(id, name)) {
        None => Ok("nobody".to_owned()),
        Some(Ok(name)) => Ok(name),
        Some(Err(VaultError::NoKey { .. })) => Ok("deleted".to_owned()),
        Some(Err(error)) => Err(error.into()),
    }
}

/// Whether a text is in a file below a directory.
fn holds(directory: &Path, text: &str) -> io::Result<bool> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_found = match path.is_dir() {
            true => holds(&path, text)?,
            false => String::from_utf8_lossy(&fs::read(&path)?).contains(text),
        };
        if is_found {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn open(base: &Path) -> Result<AggregateStore, OpenError> {
    let builder = AggregateStore::builder(base).projection::<Names>();
    builder.open().await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let place = tempfile::tempdir()?;
    let base = place.path().join("store");
    // Not in the directory of the store: a backup of that one must not hold the keys.
    let vault = Vault::open(&place.path().join("keys"))?;
    let store = open(&base).await?;

    // The key is durable before the first event that needs it.
    for (id, name) in [
        ("customer-7", "Ada Lovelace"),
        ("customer-8", "Alan Turing"),
    ] {
        vault.enroll(id)?;
        let name = vault.seal(id, name)?;
        let register = CustomerCommand::Register { name };
        store.send(id, register, ()).await?;
    }
    println!(
        "customer-7: {}",
        shown_name(&store, &vault, "customer-7").await?
    );

    vault.forget("customer-7")?;
    let shown = shown_name(&store, &vault, "customer-7").await?;
    println!("customer-7: {shown}");
    assert_eq!(shown, "deleted");
    assert_eq!(
        shown_name(&store, &vault, "customer-8").await?,
        "Alan Turing"
    );
    // No new data about a forgotten person.
    assert!(vault.seal("customer-7", "Ada King").is_err());
    store.close().await?;

    // The history is whole, and says nothing about the person, also in the snapshot and in the checkpoint of the projection.
    assert!(!holds(&base, "Lovelace")?);
    assert!(holds(&base, "customer-7")?, "an id stays for ever");
    let store = open(&base).await?;
    let customer = store.get::<Customer>("customer-7").await?.state().await?;
    assert!(customer.name.is_some(), "encrypted");
    store.rebuild_projection::<Names>().await?;
    assert_eq!(shown_name(&store, &vault, "customer-7").await?, "deleted");
    println!("the name is nowhere in the store");
    store.close().await?;
    Ok(())
}
