//! An older and a newer version of a program at once. The newer version has an aggregate and an event that the older version does not know.

use eventfold_es::prelude::*;
use eventfold_es::testing::SharedLog;

use super::world::{Cluster, until, until_follower_of, until_leader};
use crate::TestResult;

/// The program before and after the change.
macro_rules! version {
    ($version:ident, { $($command:tt)* }, { $($event:tt)* }, { $($decide:tt)* }, { $($evolve:tt)* }) => {
        mod $version {
            use eventfold_es::prelude::*;

            #[derive(Debug, Clone, Serialize, Deserialize)]
            pub enum AccountCommand { Deposit(i64), $($command)* }

            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
            #[serde(tag = "type", content = "data")]
            pub enum AccountEvent { Deposited(i64), $($event)* }

            #[aggregate(error = std::convert::Infallible)]
            #[derive(Debug, Clone, Default, Serialize, Deserialize)]
            pub struct Account { pub balance: i64 }

            impl Decider for Account {
                fn decide(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, std::convert::Infallible> {
                    Ok(vec![match command {
                        AccountCommand::Deposit(amount) => AccountEvent::Deposited(amount),
                        $($decide)*
                    }])
                }

                fn evolve(&mut self, event: &AccountEvent) {
                    self.balance += match event {
                        AccountEvent::Deposited(amount) => *amount,
                        $($evolve)*
                    };
                }
            }

            #[derive(Debug, Clone, Serialize, Deserialize)]
            pub struct MirrorCommand;

            #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
            #[serde(tag = "type", content = "data")]
            pub enum MirrorEvent { Mirrored }

            #[aggregate(error = std::convert::Infallible)]
            #[derive(Debug, Clone, Default, Serialize, Deserialize)]
            pub struct Mirror { pub count: u64 }

            impl Decider for Mirror {
                fn decide(&self, _: MirrorCommand) -> Result<Vec<MirrorEvent>, std::convert::Infallible> {
                    Ok(vec![MirrorEvent::Mirrored])
                }

                fn evolve(&mut self, _: &MirrorEvent) {
                    self.count += 1;
                }
            }

            /// Mirrors each event of an account.
            #[process_manager(subscribes = [Account], dispatches = [Mirror], key = String)]
            #[derive(Debug, Clone, Default, Serialize, Deserialize)]
            pub struct Painter;

            impl Correlate<Account> for Painter {
                fn correlate(_: &AccountEvent, cx: &EventContext<'_>) -> Correlation<String> {
                    Correlation::starts_or_continues(cx.stream_id().to_owned())
                }
            }

            impl React<Account> for Painter {
                fn react(&mut self, _: &AccountEvent, cx: &mut Reaction<'_, Self>) {
                    cx.send(cx.key().clone(), MirrorCommand);
                }
            }
        }
    };
}

version!(old, {}, {}, {}, {});
version!(
    new,
    { Bonus },
    { BonusPaid },
    { AccountCommand::Bonus => AccountEvent::BonusPaid },
    { AccountEvent::BonusPaid => 100 }
);

mod added {
    use eventfold_es::prelude::*;

    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub struct LampCommand;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
    #[serde(tag = "type", content = "data")]
    pub enum LampEvent {
        Switched,
    }

    #[aggregate(error = std::convert::Infallible)]
    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    pub struct Lamp {
        pub is_on: bool,
    }

    impl Decider for Lamp {
        fn decide(&self, _: LampCommand) -> Result<Vec<LampEvent>, std::convert::Infallible> {
            Ok(vec![LampEvent::Switched])
        }

        fn evolve(&mut self, _: &LampEvent) {
            self.is_on = !self.is_on;
        }
    }
}

async fn open_old(cluster: &Cluster, name: &str) -> (AggregateStore, SharedLog) {
    let (builder, log) = cluster.node(name);
    let builder = builder.aggregate_type::<old::Account>();
    let store = builder.process_manager::<old::Painter>().open().await;
    (store.expect("it opens"), log)
}

async fn open_new(cluster: &Cluster, name: &str) -> (AggregateStore, SharedLog) {
    let (builder, log) = cluster.node(name);
    let builder = builder
        .aggregate_type::<new::Account>()
        .aggregate_type::<added::Lamp>();
    let store = builder.process_manager::<new::Painter>().open().await;
    (store.expect("it opens"), log)
}

async fn balance(store: &AggregateStore, id: &str) -> Result<i64, String> {
    let account = store.get::<old::Account>(id).await.expect("an id");
    let state = account.state().await;
    state
        .map(|account| account.balance)
        .map_err(|error| error.to_string())
}

async fn mirrored(store: &AggregateStore, id: &str) -> u64 {
    let mirror = store.get::<new::Mirror>(id).await.expect("an id");
    mirror.state().await.expect("it is readable").count
}

/// Waits until a node has all events of another one.
async fn until_equal(store: &AggregateStore, other: &AggregateStore) {
    let position = other.health().await.position;
    until("the node has all events", || async {
        store.health().await.position >= position
    })
    .await;
}

/// The old node keeps what it does not know, refuses only the streams that it cannot read, and loses nothing. The new version goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_program_leads_behind_events_that_it_does_not_know() -> TestResult {
    let cluster = Cluster::new();
    let (new_store, _) = open_new(&cluster, "new").await;
    until_leader(&new_store).await;
    let (old_store, _) = open_old(&cluster, "old").await;
    until_follower_of(&old_store, "new").await;
    new_store
        .send("a", new::AccountCommand::Deposit(1), ())
        .await?;
    new_store.send("b", new::AccountCommand::Bonus, ()).await?;
    new_store.send("hall", added::LampCommand, ()).await?;

    // As a follower.
    until_equal(&old_store, &new_store).await;
    assert_eq!(balance(&old_store, "a").await, Ok(1));
    let unknown = balance(&old_store, "b").await.expect_err("it is unknown");
    assert!(unknown.contains("BonusPaid"), "{unknown}");
    // Its commands are forwarded, and the new program decides them.
    old_store
        .send("a", old::AccountCommand::Deposit(2), ())
        .await?;

    // The new node is closed with an event that nobody has reacted to.
    let painter = new_store.process_manager::<new::Painter>()?;
    painter.pause().await?;
    new_store.send("c", new::AccountCommand::Bonus, ()).await?;
    new_store
        .send("a", new::AccountCommand::Deposit(3), ())
        .await?;
    drop(painter);
    new_store.close().await?;

    // As the leader.
    until_leader(&old_store).await;
    let painter = old_store.process_manager::<old::Painter>()?;
    painter.resume().await?;
    painter.settle().await?;
    let held = painter.parked().await?;
    let held: Vec<_> = held.iter().map(|parked| &parked.stream).collect();
    let account = |id: &str| Some(("account".to_owned(), id.to_owned()));
    assert_eq!(held, [&account("c")]);
    old_store
        .send("a", old::AccountCommand::Deposit(4), ())
        .await?;
    assert_eq!(balance(&old_store, "a").await, Ok(10));
    let refused = old_store
        .send("b", old::AccountCommand::Deposit(1), ())
        .await;
    let refused = refused.expect_err("its state is unknown").to_string();
    assert!(refused.contains("BonusPaid"), "{refused}");
    assert!(old_store.verify().await?.is_clean());
    drop(painter);

    // A node of the new version finds everything.
    let (new_store, _) = open_new(&cluster, "new").await;
    until_follower_of(&new_store, "old").await;
    old_store.close().await?;
    until_leader(&new_store).await;
    for (id, expected) in [("a", 10), ("b", 100), ("c", 100)] {
        let account = new_store.get::<new::Account>(id).await?;
        assert_eq!(account.state().await?.balance, expected);
    }
    let hall = new_store.get::<added::Lamp>("hall").await?;
    assert!(hall.state().await?.is_on);
    new_store.send("b", new::AccountCommand::Bonus, ()).await?;
    // What the old version could not react to waits for its release.
    let painter = new_store.process_manager::<new::Painter>()?;
    assert_eq!(mirrored(&new_store, "c").await, 0);
    painter.release_stream("account", "c").await?;
    painter.settle().await?;
    let counts = [
        mirrored(&new_store, "a").await,
        mirrored(&new_store, "b").await,
        mirrored(&new_store, "c").await,
    ];
    assert_eq!(counts, [4, 2, 1]);
    assert!(new_store.verify().await?.is_clean());
    Ok(())
}
