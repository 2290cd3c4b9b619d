//! The leader closes, is cut off, or is only slow.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use eventfold_es::clock::ManualClock;
use eventfold_es::replication::{AppendError, CommitLog, Entry, LogError, Role};
use eventfold_es::testing::SharedLog;
use tokio::sync::{broadcast, watch};

use crate::TestResult;
use crate::cluster::Cluster;
use crate::common::counter::{Counter, CounterCommand};

#[tokio::test]
async fn a_leader_that_closes_hands_over() -> TestResult {
    let cluster = Cluster::new()?;
    let one = cluster.open("one").await?;
    let two = cluster.open("two").await?;
    let three = cluster.open("three").await?;
    one.add("a", 1).await?;
    one.store.close().await?;
    let next = tokio::select! {
        () = two.until_leader() => &two,
        () = three.until_leader() => &three,
    };
    next.add("a", 10).await?;
    for node in [&two, &three] {
        node.until_sum("a", 11).await;
    }
    let one = cluster.open("one").await?;
    assert_eq!(one.sum("a").await?, 11);
    assert!(!one.is_leader());
    Ok(())
}

/// A log whose last entries a node reads late.
pub(crate) struct Late {
    pub(crate) log: SharedLog,
    /// The last entry that it reads.
    pub(crate) visible: Arc<AtomicU64>,
    pub(crate) claims: Arc<AtomicU64>,
}

impl CommitLog for Late {
    fn describe(&self) -> String {
        self.log.describe()
    }

    fn open(&self) -> Result<(), LogError> {
        self.log.open()
    }

    fn max_entry_bytes(&self) -> usize {
        self.log.max_entry_bytes()
    }

    fn append(&self, after: u64, text: Arc<str>) -> Result<(), AppendError> {
        let appended = self.log.append(after, text);
        self.claims.fetch_add(1, Relaxed);
        appended
    }

    fn read(&self, from: u64, max_bytes: usize) -> Result<Vec<Entry>, LogError> {
        let mut entries = self.log.read(from, max_bytes)?;
        let visible = self.visible.load(Relaxed);
        entries.retain(|entry| entry.number <= visible);
        Ok(entries)
    }

    fn follow(&self) -> watch::Receiver<u64> {
        self.log.follow()
    }

    fn signal(&self, message: String) {
        self.log.signal(message);
    }

    fn signals(&self) -> broadcast::Receiver<String> {
        self.log.signals()
    }
}

/// A node that hears that the leader has closed, and then reads the last entries of that leader, does not wait for another leader.
#[tokio::test]
async fn last_entries_do_not_delay_the_next_leader() -> TestResult {
    let mut times = Vec::new();
    // Another try for a busy machine. With the delay, each takes longer than the silence of a leader.
    for _ in 0..10 {
        let cluster = Cluster::new()?;
        let one = cluster.open("one").await?;
        let (visible, claims) = (Arc::new(AtomicU64::new(u64::MAX)), Arc::default());
        let late = Late {
            log: cluster.log.handle(),
            visible: Arc::clone(&visible),
            claims: Arc::clone(&claims),
        };
        let two = cluster.builder("two").replicated(late).node("two");
        let two = two.open().await?;
        visible.store(cluster.log.texts().len() as u64, Relaxed);
        one.add("a", 1).await?;
        one.store.close().await?;
        // It has heard that, and comes too early.
        while claims.load(Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let begun = Instant::now();
        visible.store(u64::MAX, Relaxed);
        let mut role = two.role();
        tokio::time::timeout(Duration::from_secs(60), role.wait_for(Role::is_leader)).await??;
        times.push(begun.elapsed());
        if begun.elapsed() < Duration::from_millis(1400) {
            return Ok(());
        }
    }
    panic!("{times:?}");
}

#[tokio::test]
async fn a_leader_that_is_cut_off_steps_down() -> TestResult {
    let cluster = Cluster::new()?;
    let one = cluster.open("one").await?;
    let two = cluster.open("two").await?;
    one.add("a", 1).await?;
    one.log.cut_off();
    let lost = one.add("a", 100).await;
    assert!(lost.is_err(), "{lost:?}");
    one.until(|role| matches!(role, Role::Detached { .. }))
        .await;
    // Its reads go on.
    assert_eq!(one.sum("a").await?, 1);
    two.until_leader().await;
    two.add("a", 2).await?;
    one.log.reconnect();
    one.until_follower_of("two").await;
    one.until_sum("a", 3).await;
    Ok(())
}

/// Without a command, the leader notices by itself.
#[tokio::test]
async fn an_idle_leader_notices_that_it_is_cut_off() -> TestResult {
    let cluster = Cluster::new()?;
    let one = cluster.open("one").await?;
    one.log.cut_off();
    one.until(|role| matches!(role, Role::Detached { .. }))
        .await;
    one.log.reconnect();
    one.until_leader().await;
    one.add("a", 1).await?;
    Ok(())
}

#[tokio::test]
async fn a_leader_that_sleeps_is_fenced_when_it_wakes() -> TestResult {
    let cluster = Cluster::new()?;
    let one = cluster.open("one").await?;
    let two = cluster.open("two").await?;
    one.add("a", 1).await?;
    one.log.pause();
    let asleep = tokio::spawn({
        let counter = one.store.get::<Counter>("a").await?;
        async move {
            let command = CounterCommand::Add(100);
            counter.execute(command, ()).await
        }
    });
    while !one.log.has_paused_append() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Its thread of signals sleeps, too.
    one.log.cut_off();
    two.until_leader().await;
    two.add("a", 2).await?;
    one.log.reconnect();
    one.log.release();
    let woken = asleep.await?;
    assert!(woken.is_err(), "{woken:?}");
    one.until_follower_of("two").await;
    one.until_sum("a", 3).await;
    one.store.close().await?;
    two.store.close().await?;
    assert_eq!(cluster.journal("one")?, cluster.text());
    assert_eq!(cluster.journal("two")?, cluster.text());
    Ok(())
}

/// The clock of the next leader is hours behind: the times of commits still never go back.
#[tokio::test]
async fn clocks_may_be_hours_apart() -> TestResult {
    let cluster = Cluster::new()?;
    let clocks = [3 * 3600, 0].map(|ahead| {
        let now = SystemTime::now() + Duration::from_secs(ahead);
        ManualClock::new(now)
    });
    let mut nodes = Vec::new();
    for (name, clock) in ["one", "two"].into_iter().zip(&clocks) {
        let builder = cluster.builder(name).replicated(cluster.log.handle());
        nodes.push(builder.node(name).clock(clock.clone()).open().await?);
    }
    let [one, two] = nodes.try_into().map_err(|_| "two nodes are open")?;
    one.send("a", CounterCommand::Add(1), ()).await?;
    one.close().await?;
    two.role().wait_for(Role::is_leader).await?;
    two.send("a", CounterCommand::Add(2), ()).await?;
    let read = two.read_all(0, 10).await?;
    let times: Vec<_> = read.iter().map(|event| event.at()).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert_eq!(times.len(), 2);
    Ok(())
}

/// Its servers were restored from an older copy while the nodes ran.
#[tokio::test]
async fn a_log_that_loses_entries_stops_its_nodes() -> TestResult {
    let cluster = Cluster::new()?;
    let one = cluster.open("one").await?;
    let two = cluster.open("two").await?;
    for by in 1..=5 {
        one.add("a", by).await?;
    }
    two.until_sum("a", 15).await;
    cluster.log.forget_after(3);
    for node in [&one, &two] {
        let lost =
            |role: &Role| matches!(role, Role::Detached { reason, .. } if reason.contains("lost"));
        node.until(lost).await;
    }
    // Other nodes append as many entries as were lost. The numbers fit, and the histories do not.
    for number in 3..6 {
        cluster.log.append(number, "{}\n".into())?;
    }
    let different = |role: &Role| matches!(role, Role::Detached { reason, .. } if reason.contains("different histories"));
    one.until(different).await;
    assert!(one.add("a", 1).await.is_err());
    assert_eq!((one.sum("a").await?, cluster.log.texts().len()), (15, 6));
    Ok(())
}

/// Many commands at once do not make a batch that the log refuses. A command that is too large is refused alone.
#[tokio::test]
async fn batches_fit_into_entries() -> TestResult {
    const MAX: usize = 16 << 10;
    let log = SharedLog::with_max_entry_bytes(MAX);
    let cluster = Cluster::new()?;
    let one = cluster
        .builder("one")
        .replicated(log.clone())
        .node("one")
        .open()
        .await?;
    // All of them wait for one append.
    log.pause();
    let commands = (0..200).map(|number| {
        let one = one.clone();
        tokio::spawn(async move {
            let ones = if number == 100 { 1000 } else { 10 };
            let command = CounterCommand::AddOnes(ones);
            one.send(&format!("counter-{number}"), command, ())
                .await
                .is_ok()
        })
    });
    let commands: Vec<_> = commands.collect();
    while !log.has_paused_append() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    log.release();
    for (number, sent) in commands.into_iter().enumerate() {
        assert_eq!(sent.await?, number != 100, "command {number}");
    }
    let texts = log.texts();
    assert!(texts.iter().all(|text| text.len() <= MAX));
    assert!(
        texts.len() < 100,
        "{} entries for 200 commands",
        texts.len()
    );
    let refused = one.send("large", CounterCommand::AddOnes(1000), ()).await;
    let reason = refused.expect_err("it is too large").to_string();
    assert!(reason.contains("at most 16384 bytes"), "{reason}");
    Ok(())
}
