//! Process managers and projections see all of a transaction, or nothing.

use std::sync::OnceLock;

use eventfold_es::prelude::*;
use eventfold_es::{Reactions, RunMode, StoreError, TransactionError};
use eventfold_es_tests::TestResult;

use crate::common::counter::{Counter, CounterCommand, CounterEvent};
use crate::common::shop::{Inventory, InventoryCommand, InventoryEvent};

/// Notes what happens to `a` and to stocks on `log`, and what happens there on `end`.
#[process_manager(subscribes = [Counter, Inventory], dispatches = [Counter])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Notes {
    seen: Vec<String>,
}

impl React<Counter> for Notes {
    fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        let CounterEvent::Added(by) = event else {
            return;
        };
        match cx.stream_id() {
            "a" => cx.send("log", CounterCommand::Add(*by)),
            "log" => cx.send("end", CounterCommand::Add(*by)),
            _ => {}
        }
    }
}

impl React<Inventory> for Notes {
    fn react(&mut self, event: &InventoryEvent, cx: &mut Reaction<'_, Self>) {
        let InventoryEvent::Reserved { qty } = event;
        cx.send("log", CounterCommand::Add(i64::from(*qty)));
    }
}

fn context() -> CommandContext {
    CommandContext::default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inline_transaction_waits_for_the_reactions_to_all_its_events() -> TestResult {
    let base = tempfile::tempdir()?;
    let open = |mode| {
        AggregateStore::builder(base.path())
            .run_mode(mode)
            .process_manager::<Notes>()
            .open()
    };
    let end = |store: AggregateStore| async move {
        let end = store.get::<Counter>("end").await?.state().await?;
        Ok::<_, eventfold_es::Error>(end.sum)
    };
    let store = open(RunMode::Inline).await?;
    let mut sum = 0;
    for round in 1..=20 {
        let done = store
            .transaction(context())
            .send("unrelated", CounterCommand::Add(1))
            .send("a", CounterCommand::Add(round))
            .send(format!("w-{round}"), InventoryCommand::Reserve { qty: 3 })
            .commit()
            .await?;
        assert_eq!(done.reactions, Reactions::Done);
        sum += round + 3;
        assert_eq!(end(store.clone()).await?, sum);
    }
    store.close().await?;

    // The first one is told before anybody has reacted; the repeat, in another mode, waits.
    let send = |store: AggregateStore| async move {
        let transaction = store
            .transaction(context().with_idempotency_key("k"))
            .send("a", CounterCommand::Add(100))
            .send("w", InventoryCommand::Reserve { qty: 7 });
        transaction.commit().await
    };
    let store = open(RunMode::OnDemand).await?;
    let first = send(store.clone()).await?;
    assert_eq!(first.reactions, Reactions::NotAwaited);
    store.close().await?;
    let store = open(RunMode::Inline).await?;
    let again = send(store.clone()).await?;
    assert_eq!(again.reactions, Reactions::Done);
    assert_eq!(again.commands, first.commands);
    assert_eq!(end(store.clone()).await?, sum + 107);
    Ok(())
}

static STORE: OnceLock<AggregateStore> = OnceLock::new();

/// Commits a transaction inside of its own reaction, which cannot work.
#[process_manager(subscribes = [Counter], dispatches = [Counter])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Impatient {
    refused: bool,
}

impl React<Counter> for Impatient {
    fn react(&mut self, _: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        let Some(store) = STORE.get() else {
            return;
        };
        if cx.stream_id() != "begin" {
            return;
        }
        let transaction = store
            .transaction(context())
            .send("never", CounterCommand::Add(1));
        let mut commit = std::pin::pin!(transaction.commit());
        let mut waker = std::task::Context::from_waker(std::task::Waker::noop());
        if let std::task::Poll::Ready(Err(TransactionError::Store(StoreError::InsideReaction {
            process_manager,
        }))) = std::future::Future::poll(commit.as_mut(), &mut waker)
        {
            assert_eq!(process_manager, "impatient");
            cx.send("refused", CounterCommand::Add(1));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_inside_a_reaction_is_refused() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::builder(base.path())
        .process_manager::<Impatient>()
        .open()
        .await?;
    assert!(STORE.set(store.clone()).is_ok());
    store
        .send("begin", CounterCommand::Add(1), context())
        .await?;
    assert!(store.get::<Counter>("refused").await?.exists().await?);
    assert!(!store.get::<Counter>("never").await?.exists().await?);
    Ok(())
}
