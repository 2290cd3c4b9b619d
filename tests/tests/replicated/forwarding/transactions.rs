//! Transactions on a follower.

use eventfold_es::TransactionError;
use eventfold_es::prelude::*;
use eventfold_es::store::Committed;
use eventfold_es::testing::LostMessage;

use super::{AccountCommand, Overdrawn, Pair, balance, counter};
use crate::TestResult;
use crate::common::counter::CounterCommand;

/// Moves an amount, and counts it.
async fn transfer(
    store: &AggregateStore,
    amount: i64,
    context: CommandContext,
) -> Result<Committed, TransactionError> {
    store
        .transaction(context)
        .send("from", AccountCommand::Withdraw(amount))
        .send("to", AccountCommand::Deposit(amount))
        .send("transfers", CounterCommand::Add(1))
        .send("nothing", CounterCommand::Nothing)
        .commit()
        .await
}

#[tokio::test]
async fn all_or_none_is_committed_by_the_leader() -> TestResult {
    let pair = Pair::open().await?;
    pair.one
        .send("from", AccountCommand::Deposit(10), ())
        .await?;
    for (round, lost) in [None, Some(LostMessage::Answer), Some(LostMessage::Question)]
        .into_iter()
        .enumerate()
    {
        if let Some(lost) = lost {
            pair.two_log.lose_next_message(lost);
        }
        let done = transfer(&pair.two, 3, CommandContext::default()).await?;
        let round = round as u64;
        let versions: Vec<_> = done
            .commands
            .iter()
            .map(|command| command.version)
            .collect();
        assert_eq!(
            versions,
            [Some(round + 2), Some(round + 1), Some(round + 1), None]
        );
        assert_eq!(done.position, Some(4 + 3 * round));
        assert_eq!(balance(&pair.two, "to").await, 3 * (round as i64 + 1));
    }
    let rejected = transfer(&pair.two, 3, CommandContext::default()).await;
    let Err(TransactionError::Rejected { at, .. }) = &rejected else {
        panic!("{rejected:?}");
    };
    assert_eq!((at.index, at.instance_id.as_str()), (0, "from"));
    let error = rejected.as_ref().err();
    let error = error.and_then(|error| error.downcast_ref::<Overdrawn>());
    assert_eq!(error, Some(&Overdrawn { balance: 1 }));
    assert_eq!(
        counter(&pair.two, "transfers").await.load().await?.version,
        3
    );
    Ok(())
}

#[tokio::test]
async fn versions_and_keys_are_those_of_the_leader() -> TestResult {
    let pair = Pair::open().await?;
    let conflict = pair
        .two
        .transaction(())
        .send("a", CounterCommand::Add(1))
        .send_expecting("b", 3, CounterCommand::Add(1))
        .commit()
        .await;
    let Err(TransactionError::Conflict {
        at,
        expected: 3,
        actual: 0,
    }) = &conflict
    else {
        panic!("{conflict:?}");
    };
    assert_eq!(
        (at.index, &*at.aggregate_type, &*at.instance_id),
        (1, "counter", "b")
    );
    pair.one
        .send("from", AccountCommand::Deposit(10), ())
        .await?;
    let key = || CommandContext::default().with_idempotency_key("t");
    let first = transfer(&pair.two, 3, key()).await?;
    assert_eq!(transfer(&pair.two, 3, key()).await?, first);
    assert_eq!(transfer(&pair.one, 3, key()).await?, first);
    let other = transfer(&pair.two, 4, key()).await;
    assert!(matches!(&other, Err(TransactionError::KeyReused { key }) if key == "t"));
    let empty = pair.two.transaction(()).commit().await?;
    assert_eq!((empty.commands.len(), empty.position), (0, None));
    Ok(())
}

/// The leader is cut off when the log has the transaction.
#[tokio::test]
async fn the_next_leader_knows_the_transaction() -> TestResult {
    let pair = Pair::open().await?;
    pair.one
        .send("from", AccountCommand::Deposit(10), ())
        .await?;
    pair.meet().await?;
    pair.one_log.cut_off_after_next();
    let done = transfer(&pair.two, 3, CommandContext::default()).await?;
    assert!(pair.two.role().borrow().is_leader());
    assert_eq!(done.position, Some(4));
    assert_eq!(balance(&pair.two, "to").await, 3);
    Ok(())
}
