//! Lost questions and answers, and leaders that end: each command is stored once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use eventfold_es::prelude::*;
use eventfold_es::testing::LostMessage;
use serde::Deserializer;

use super::super::world::{Cluster, hand_over, until, until_follower_of, until_leader};
use super::{AccountCommand, Overdrawn, Pair, add_one, balance, counter};
use crate::TestResult;
use crate::common::counter::CounterCommand;

#[tokio::test]
async fn a_lost_message_is_sent_again() -> TestResult {
    let pair = Pair::open().await?;
    let a = counter(&pair.two, "a").await;
    let lost = [
        LostMessage::Question,
        LostMessage::Answer,
        LostMessage::LateQuestion,
    ];
    for (version, lost) in (1..).zip(lost.into_iter().cycle().take(9)) {
        pair.two_log.lose_next_message(lost);
        let done = a.execute(CounterCommand::Add(1), ()).await?;
        assert!(!pair.two_log.loses_next_message());
        assert_eq!((done.version, done.position), (version, Some(version)));
    }
    assert_eq!(pair.two_log.deliver_questions(), 3);
    for version in 10..=BEHIND + 9 {
        assert_eq!(
            a.execute(CounterCommand::Add(1), ()).await?.version,
            version
        );
    }
    Ok(())
}

/// The number of commands behind a late question. When the last of them is done, the question has been taken.
const BEHIND: u64 = 5;

/// Delivers the late question of `two`. Returns the balance that the leader has behind it, without that of later commands.
async fn balance_behind_the_late_question(pair: &Pair, id: &str) -> i64 {
    assert_eq!(pair.two_log.deliver_questions(), 1);
    for _ in 0..BEHIND {
        let deposited = pair.two.send(id, AccountCommand::Deposit(1), ()).await;
        deposited.expect("it is executed");
    }
    balance(&pair.one, id).await - BEHIND as i64
}

/// The answer to a command with nothing to store may be late. The question must not be executed later.
#[tokio::test]
async fn a_late_question_does_nothing_behind_a_rejection() -> TestResult {
    let pair = Pair::open().await?;
    pair.two_log.lose_next_message(LostMessage::LateQuestion);
    let rejected = pair.two.send("a", AccountCommand::Withdraw(5), ()).await;
    assert!(matches!(
        rejected,
        Err(ExecuteError::Domain(Overdrawn { balance: 0 }))
    ));
    pair.one.send("a", AccountCommand::Deposit(9), ()).await?;
    assert_eq!(balance_behind_the_late_question(&pair, "a").await, 9);
    Ok(())
}

/// A question is on its way to a leader. Meanwhile another node decides the command, and then the first node leads again.
#[tokio::test]
async fn a_late_question_for_an_earlier_term_does_nothing() -> TestResult {
    let pair = Pair::open().await?;
    pair.two_log.lose_next_message(LostMessage::LateQuestion);
    pair.one_log.cut_off();
    let rejected = pair.two.send("a", AccountCommand::Withdraw(5), ()).await;
    assert!(matches!(
        rejected,
        Err(ExecuteError::Domain(Overdrawn { balance: 0 }))
    ));
    until_leader(&pair.two).await;
    pair.two.send("a", AccountCommand::Deposit(9), ()).await?;
    pair.one_log.reconnect();
    until_follower_of(&pair.one, "two").await;
    hand_over(&pair.two, &pair.two_log, &pair.one, "one").await;
    assert_eq!(balance_behind_the_late_question(&pair, "a").await, 9);
    Ok(())
}

/// The leader is cut off when the log has the command, and before it can answer.
#[tokio::test]
async fn the_leader_ends_between_the_commit_and_the_answer() -> TestResult {
    let pair = Pair::open().await?;
    pair.one_log.cut_off_after_next();
    let done = pair.two.send("a", CounterCommand::Add(1), ()).await?;
    // This node leads now, and has found the command by its key.
    assert!(pair.two.role().borrow().is_leader());
    assert_eq!((done.version, done.position), (1, Some(1)));
    let next = pair.two.send("a", CounterCommand::Add(1), ()).await?;
    assert_eq!(next.version, 2);
    Ok(())
}

/// The leader has the command, and the log does not. Another node leads, and the command goes there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_ends_before_the_commit() -> TestResult {
    let pair = Pair::open().await?;
    let (builder, _) = super::node(&pair.cluster, "three");
    let three = builder.open().await?;
    until_follower_of(&three, "one").await;
    pair.one_log.pause();
    let executing = [add_one(&pair.two, "a"), add_one(&three, "a")];
    until("one is on its way", || async {
        pair.one_log.has_paused_append()
    })
    .await;
    pair.one_log.cut_off();
    let mut versions = Vec::new();
    for executing in executing {
        versions.push(executing.await??);
    }
    versions.sort_unstable();
    assert_eq!(versions, [1, 2]);
    pair.one_log.release();
    pair.one_log.reconnect();
    let a = counter(&pair.one, "a").await;
    until("the old leader has both", || async {
        a.load().await.is_ok_and(|loaded| loaded.version == 2)
    })
    .await;
    Ok(())
}

static DECISIONS: AtomicUsize = AtomicUsize::new(0);

/// It rejects each second command, and counts its decisions.
#[aggregate(error = Refused)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Fickle {
    is_full: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct FickleCommand;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
enum FickleEvent {
    Filled,
}

#[derive(Debug, thiserror::Error)]
#[error("it is full")]
struct Refused;

impl Decider for Fickle {
    fn decide(&self, _: FickleCommand) -> Result<Vec<FickleEvent>, Refused> {
        DECISIONS.fetch_add(1, Ordering::SeqCst);
        match self.is_full {
            true => Err(Refused),
            false => Ok(vec![FickleEvent::Filled]),
        }
    }

    fn evolve(&mut self, _: &FickleEvent) {
        self.is_full = true;
    }
}

/// The leader is slow, so the commands are asked for again and again. Each has one decision there, and one outcome.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_leader_decides_once() -> TestResult {
    let cluster = Cluster::new();
    let (builder, one_log) = super::node(&cluster, "one");
    let one = builder.aggregate_type::<Fickle>().open().await?;
    let (builder, _) = super::node(&cluster, "two");
    let two = builder.aggregate_type::<Fickle>().open().await?;
    until_follower_of(&two, "one").await;
    let fickle = two.get::<Fickle>("a").await?;
    let execute = || {
        let fickle = fickle.clone();
        tokio::spawn(async move { fickle.execute(FickleCommand, ()).await })
    };
    one_log.pause();
    let first = execute();
    until("it is on its way", || async { one_log.has_paused_append() }).await;
    let second = execute();
    // The follower asks each second. A leader whose log hangs for longer than two seconds loses the leadership.
    tokio::time::sleep(Duration::from_millis(1_800)).await;
    one_log.release();
    assert_eq!(first.await??.version, 1);
    let rejected = second.await?;
    assert!(matches!(rejected, Err(ExecuteError::Domain(Refused))));
    if one.role().borrow().is_leader() {
        // Two on the leader, and one on the follower for the error of the rejection.
        assert_eq!(DECISIONS.load(Ordering::SeqCst), 3);
    }
    Ok(())
}

static IS_HELD: AtomicBool = AtomicBool::new(true);
static READINGS: AtomicUsize = AtomicUsize::new(0);

/// Nobody enters before it is open.
#[aggregate(error = Closed)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Door {
    is_open: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum DoorCommand {
    Open,
    Enter {
        #[serde(deserialize_with = "slowly_at_first")]
        name: String,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
enum DoorEvent {
    Opened,
    Entered(String),
}

#[derive(Debug, thiserror::Error)]
#[error("the door is closed")]
struct Closed;

/// The first reading waits until it is let go.
fn slowly_at_first<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    if READINGS.fetch_add(1, Ordering::SeqCst) == 0 {
        while IS_HELD.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    String::deserialize(deserializer)
}

impl Decider for Door {
    fn decide(&self, command: DoorCommand) -> Result<Vec<DoorEvent>, Closed> {
        match command {
            DoorCommand::Open => Ok(vec![DoorEvent::Opened]),
            DoorCommand::Enter { .. } if !self.is_open => Err(Closed),
            DoorCommand::Enter { name } => Ok(vec![DoorEvent::Entered(name)]),
        }
    }

    fn evolve(&mut self, event: &DoorEvent) {
        self.is_open |= *event == DoorEvent::Opened;
    }
}

/// An answer holds for all attempts before it. If a later attempt were rejected while the first is in work, the first could be executed
/// behind the rejection.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_later_attempt_does_not_overtake_the_first() -> TestResult {
    let cluster = Cluster::new();
    let (builder, _) = super::node(&cluster, "one");
    let one = builder.aggregate_type::<Door>().open().await?;
    let (builder, _) = super::node(&cluster, "two");
    let two = builder.aggregate_type::<Door>().open().await?;
    until_follower_of(&two, "one").await;
    let door = two.get::<Door>("a").await?;
    let entering = tokio::spawn(async move {
        let name = "Ada".to_owned();
        door.execute(DoorCommand::Enter { name }, ()).await
    });
    until("it is asked for three times, or answered", || async {
        let node = one.health().await.node;
        node.is_some_and(|node| node.taken.questions >= 3) || entering.is_finished()
    })
    .await;
    let opened = one.send("a", DoorCommand::Open, ()).await;
    IS_HELD.store(false, Ordering::SeqCst);
    assert_eq!(opened?.version, 1);
    assert_eq!(entering.await??.version, 2);
    Ok(())
}
