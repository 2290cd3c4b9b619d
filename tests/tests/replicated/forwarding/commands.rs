//! The answers of the leader, as the follower passes them on.

use eventfold_es::prelude::*;
use eventfold_es::{CommandBus, EventError, Reactions, StoreError};

use super::super::world::{a_moment, until};
use super::{Account, AccountCommand, Ledger, Overdrawn, Pair, balance, counter};
use crate::TestResult;
use crate::common::counter::{Counter, CounterCommand, CounterError, CounterEvent};

#[tokio::test]
async fn the_answer_is_that_of_a_command_on_the_leader() -> TestResult {
    let pair = Pair::open().await?;
    let context = CommandContext::default()
        .with_actor("alice")
        .with_correlation_id("request-7")
        .with_causation_id("mail-3")
        .with_source_device("phone")
        .with_metadata(serde_json::json!({ "fraction": 0.1, "text": "\"ä\n\"" }));
    let here = counter(&pair.one, "a").await;
    let there = counter(&pair.two, "b").await;
    let one = here
        .execute(CounterCommand::AddOnes(3), context.clone())
        .await?;
    let two = there.execute(CounterCommand::AddOnes(3), context).await?;
    assert_eq!(two.events, vec![CounterEvent::Added(1); 3]);
    assert_eq!((two.version, two.position), (3, Some(6)));
    assert_eq!(one.events, two.events);
    assert_eq!(one.reactions, two.reactions);
    // All of the context is stored.
    let events = pair.two.read_all(0, 10).await?;
    let [first, .., last] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(last.actor(), Some("alice"));
    assert_eq!(last.correlation_id(), Some("request-7"));
    assert_eq!(last.causation_id(), Some("mail-3"));
    assert_eq!(last.metadata(), first.metadata());
    let device = last.metadata().and_then(|meta| meta.get("source_device"));
    assert_eq!(device, Some(&serde_json::json!("phone")));
    // Another way to send it.
    let mut bus = CommandBus::new(pair.two.clone());
    bus.register::<Counter>();
    bus.dispatch("b", CounterCommand::Add(5), ()).await?;
    assert_eq!(there.state().await?.sum, 8);
    let nothing = there.execute(CounterCommand::Nothing, ()).await?;
    assert_eq!((nothing.version, nothing.position), (4, None));
    assert_eq!(nothing.events, []);
    Ok(())
}

#[tokio::test]
async fn the_follower_has_the_events_before_the_answer() -> TestResult {
    let pair = Pair::open().await?;
    let a = counter(&pair.two, "a").await;
    for sum in 1..=30 {
        a.execute(CounterCommand::Add(1), ()).await?;
        assert_eq!(a.state().await?.sum, sum);
    }
    pair.two_log.fall_behind();
    let executing = super::add_one(&pair.two, "a");
    let leader = counter(&pair.one, "a").await;
    until("the leader has it", || async {
        leader.load().await.is_ok_and(|loaded| loaded.version == 31)
    })
    .await;
    a_moment().await;
    assert!(!executing.is_finished());
    pair.two_log.catch_up();
    assert_eq!(executing.await??, 31);
    assert_eq!(a.load().await?.version, 31);
    Ok(())
}

#[tokio::test]
async fn a_rejection_has_the_error_of_the_aggregate() -> TestResult {
    let pair = Pair::open().await?;
    pair.one.send("a", AccountCommand::Deposit(10), ()).await?;
    let rejected = pair.two.send("a", AccountCommand::Withdraw(11), ()).await;
    let Err(ExecuteError::Domain(error)) = rejected else {
        panic!("{rejected:?}");
    };
    // Decided on the state of the leader.
    assert_eq!(error, Overdrawn { balance: 10 });
    let a = counter(&pair.two, "a").await;
    let forgotten = a.execute(CounterCommand::Forget, ()).await;
    let is_typed = matches!(
        &forgotten,
        Err(ExecuteError::Store(StoreError::Unstorable(
            EventError::Unstorable { .. }
        )))
    );
    assert!(is_typed, "{forgotten:?}");
    let panicked = a.execute(CounterCommand::PanicInDecide, ()).await;
    let local = counter(&pair.one, "a").await;
    let local = local.execute(CounterCommand::PanicInDecide, ()).await;
    let text = |result: Result<_, ExecuteError<CounterError>>| {
        let error = result.err();
        error.map(|error| error.to_string())
    };
    let panicked = text(panicked.map(drop));
    assert!(
        panicked
            .as_ref()
            .is_some_and(|text| text.contains("panicked: no idea"))
    );
    assert_eq!(panicked, text(local.map(drop)));
    assert_eq!(a.load().await?.version, 0);
    Ok(())
}

/// The leader rejects the command. Before the follower has the state of that decision, another event changes it.
#[tokio::test]
async fn a_rejection_that_holds_no_more_is_asked_again() -> TestResult {
    let pair = Pair::open().await?;
    pair.two_log.fall_behind();
    pair.one.send("a", AccountCommand::Deposit(1), ()).await?;
    let withdrawing = tokio::spawn({
        let two = pair.two.clone();
        async move { two.send("a", AccountCommand::Withdraw(5), ()).await }
    });
    a_moment().await;
    assert!(!withdrawing.is_finished());
    pair.one.send("a", AccountCommand::Deposit(9), ()).await?;
    pair.two_log.catch_up();
    assert_eq!(withdrawing.await??.version, 3);
    assert_eq!(balance(&pair.two, "a").await, 5);
    Ok(())
}

#[tokio::test]
async fn the_expected_version_is_that_on_the_leader() -> TestResult {
    let pair = Pair::open().await?;
    let a = counter(&pair.two, "a").await;
    let expecting = |version| CommandContext::default().with_expected_version(version);
    let add = || CounterCommand::Add(1);
    assert_eq!(a.execute(add(), expecting(0)).await?.version, 1);
    // The follower has not got the second event.
    pair.two_log.fall_behind();
    let leader = counter(&pair.one, "a").await;
    leader.execute(add(), ()).await?;
    let conflict = a.execute(add(), expecting(1)).await;
    let is_conflict = matches!(
        &conflict,
        Err(ExecuteError::Conflict {
            expected: 1,
            actual: 2
        })
    );
    assert!(is_conflict, "{conflict:?}");
    pair.two_log.catch_up();
    assert_eq!(a.execute(add(), expecting(2)).await?.version, 3);
    Ok(())
}

#[tokio::test]
async fn keys_are_those_of_the_leader() -> TestResult {
    let pair = Pair::open().await?;
    let key = || CommandContext::default().with_idempotency_key("k");
    let first = pair.one.send("a", CounterCommand::Add(1), key()).await?;
    let again = pair.two.send("a", CounterCommand::Add(1), key()).await?;
    assert_eq!(again, first);
    let other = pair.two.send("a", CounterCommand::Add(2), key()).await;
    assert!(matches!(&other, Err(ExecuteError::KeyReused { key }) if key == "k"));
    // Without a key, the same command is another one.
    for version in 2..5 {
        let done = pair.two.send("a", CounterCommand::Add(1), ()).await?;
        assert_eq!(done.version, version);
    }
    // The cost of a generated key: about 60 bytes in the line of each event.
    pair.one.send("a", CounterCommand::Add(1), ()).await?;
    pair.meet().await?;
    let events = pair.two.read_all(3, 10).await?;
    let [forwarded, direct] = events.as_slice() else {
        panic!("{events:?}");
    };
    let more = forwarded.json().len() - direct.json().len();
    assert!((50..=60).contains(&more), "{more}: {}", forwarded.json());
    // A user cannot give a key of the form of generated ones.
    let key = CommandContext::default().with_idempotency_key("\nk");
    let refused = pair.two.send("a", CounterCommand::Add(1), key).await;
    let is_refused = matches!(
        &refused,
        Err(ExecuteError::Store(
            StoreError::InvalidIdempotencyKey { .. }
        ))
    );
    assert!(is_refused, "{refused:?}");
    Ok(())
}

/// The reactions run on the leader, and their events are here when the command returns.
#[tokio::test]
async fn reactions_are_done_and_here() -> TestResult {
    let pair = Pair::open().await?;
    for total in 1..=20 {
        let done = pair.two.send("a", AccountCommand::Note(1), ()).await?;
        assert_eq!(done.reactions, Reactions::Done);
        let ledger = pair.two.get::<Ledger>("all").await?;
        assert_eq!(ledger.state().await?.total, total);
    }
    let account = pair.two.get::<Account>("a").await?;
    assert_eq!(account.load().await?.version, 20);
    Ok(())
}
