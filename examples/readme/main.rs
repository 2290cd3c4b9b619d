use eventfold_es::prelude::*;
use std::convert::Infallible;

#[derive(Clone, Serialize, Deserialize)]
pub struct Deposit(u64);

#[derive(Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum AccountEvent {
    Deposited(u64),
}

#[aggregate(command = Deposit, error = Infallible)] // commands in, events out
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Account {
    balance: u64,
}

impl Decider for Account {
    fn decide(&self, Deposit(amount): Deposit) -> Result<Vec<AccountEvent>, Infallible> {
        Ok(vec![AccountEvent::Deposited(amount)])
    }

    fn evolve(&mut self, AccountEvent::Deposited(amount): &AccountEvent) {
        self.balance += amount;
    }
}

#[process_manager(subscribes = [Account], dispatches = [Account])] // events in, commands out
#[derive(Default, Serialize, Deserialize)]
pub struct Saving;

impl React<Account> for Saving {
    fn react(&mut self, event: &AccountEvent, cx: &mut Reaction<'_, Self>) {
        let AccountEvent::Deposited(amount) = event;
        if cx.stream_id() != "savings" {
            cx.send("savings", Deposit(amount / 10)); // exactly once, through crashes
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = AggregateStore::builder("bank")
        .process_manager::<Saving>()
        .open()
        .await?;
    store.send("ada", Deposit(100), ()).await?; // durable, and `Saving` has reacted
    let savings = store.get::<Account>("savings").await?.state().await?;
    println!("{} in savings", savings.balance);
    Ok(())
}
