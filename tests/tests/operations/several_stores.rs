//! Several stores in one process, as a program has them that keeps one for each tenant: with one `StoreRuntime` they share a few
//! threads, and each of them is as alone as before.
//!
//! The stores that are counted are in a process of their own. `EVENTFOLD_STORES=1000` counts
//! as many, which takes 5,000 descriptors.

use std::collections::HashMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use eventfold_es::disk::{CrashImage, RecordingDisk, Survival};
use eventfold_es::prelude::*;
use eventfold_es::testing::MemoryDisk;
use eventfold_es::{AggregateStoreBuilder, ExecuteError, RunMode, StoreError, StoreRuntime};
use eventfold_es_tests::TestResult;
use eventfold_es_tests::alone::is_alone;
use eventfold_es_tests::crash::scratch;
use eventfold_es_tests::gate::GatedDisk;

/// The descriptors of the process beside its stores: for the test's two threads, those of tokio, and some room.
const OTHERS: usize = 24;
/// More than anything here takes.
const LONG: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum LampCommand {
    Switch,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum LampEvent {
    Switched,
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Lamp {
    switched: u64,
}

impl Decider for Lamp {
    fn decide(&self, _command: LampCommand) -> Result<Vec<LampEvent>, Infallible> {
        Ok(vec![LampEvent::Switched])
    }

    fn evolve(&mut self, _event: &LampEvent) {
        self.switched += 1;
    }
}

/// Counts for each lamp, in a state of its own.
#[process_manager(subscribes = [Lamp], dispatches = [Lamp], key = String)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Wear {
    switched: u64,
}

impl Correlate<Lamp> for Wear {
    fn correlate(_event: &LampEvent, cx: &EventContext<'_>) -> Correlation<String> {
        Correlation::starts_or_continues(cx.stream_id().to_owned())
    }
}

impl React<Lamp> for Wear {
    fn react(&mut self, _event: &LampEvent, _cx: &mut Reaction<'_, Self>) {
        self.switched += 1;
    }
}

#[projection(subscribes = [Lamp])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Usage {
    switched: u64,
}

impl Project<Lamp> for Usage {
    fn project(&mut self, _event: &LampEvent, _cx: &EventContext<'_>) {
        self.switched += 1;
    }
}

fn plain(base: &Path) -> AggregateStoreBuilder {
    AggregateStore::builder(base)
}

fn with_a_process_manager(base: &Path) -> AggregateStoreBuilder {
    plain(base)
        .process_manager::<Wear>()
        .projection::<Usage>()
        .run_mode(RunMode::Inline)
}

async fn switch(store: &AggregateStore) -> TestResult {
    store.send("hall", LampCommand::Switch, ()).await?;
    Ok(())
}

async fn switched(store: &AggregateStore) -> Result<u64, Box<dyn std::error::Error>> {
    Ok(store.get::<Lamp>("hall").await?.state().await?.switched)
}

fn entries(path: &str) -> usize {
    fs::read_dir(path).map_or(0, Iterator::count)
}

/// How many threads of this process are those of stores.
fn threads_of_stores() -> usize {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names
        .filter(|name| name.starts_with("eventfold-es"))
        .count()
}

/// Opens stores, uses them, and says how many threads and descriptors there were at most; twice, so that each store is found as
/// it is left, with one run of its index.
async fn count_stores(
    base: &Path,
    number: usize,
    builder: fn(&Path) -> AggregateStoreBuilder,
    max_descriptors: usize,
) -> Result<(usize, usize), Box<dyn std::error::Error>> {
    let (mut most_threads, mut descriptors) = (0, 0);
    for round in 1..=2 {
        let threads = StoreRuntime::new();
        let before = entries("/proc/self/fd");
        let mut tenants: HashMap<usize, AggregateStore> = HashMap::new();
        for tenant in 0..number {
            let place = base.join(tenant.to_string());
            let store = builder(&place).runtime(&threads).open().await?;
            switch(&store).await?;
            assert_eq!(switched(&store).await?, round);
            tenants.insert(tenant, store);
            most_threads = most_threads.max(entries("/proc/self/task"));
        }
        // Files are opened in the background until then.
        let begun = Instant::now();
        loop {
            descriptors = entries("/proc/self/fd") - before;
            if descriptors <= max_descriptors || begun.elapsed() > LONG / 6 {
                break;
            }
            thread::yield_now();
        }
        drop(threads);
        let closing = tenants
            .into_values()
            .map(|store| tokio::spawn(store.close()));
        for closed in closing.collect::<Vec<_>>() {
            closed.await??;
        }
        let begun = Instant::now();
        while threads_of_stores() > 0 {
            assert!(begun.elapsed() < LONG, "threads of closed stores go on");
            thread::yield_now();
        }
    }
    Ok((most_threads, descriptors))
}

#[cfg(target_os = "linux")]
#[test]
fn many_idle_stores_have_few_threads_and_descriptors() -> TestResult {
    if !is_alone("several_stores::many_idle_stores_have_few_threads_and_descriptors") {
        return Ok(());
    }
    let number = match env::var("EVENTFOLD_STORES") {
        Ok(number) => number.parse()?,
        Err(_) => 40,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()?;
    let place = scratch();
    for (kind, builder, each) in [
        ("plain", plain as fn(&Path) -> _, 3),
        ("with a process manager", with_a_process_manager, 4),
    ] {
        let base = place.path().join(kind);
        let max_descriptors = each * number + OTHERS;
        let counted = runtime.block_on(count_stores(&base, number, builder, max_descriptors))?;
        println!("{number} stores {kind}: {counted:?} threads and descriptors");
        let (threads, descriptors) = counted;
        assert!(threads <= 64, "{threads} threads of {number} stores {kind}");
        assert!(
            descriptors <= max_descriptors,
            "{descriptors} descriptors of {number} stores {kind}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn what_is_acknowledged_is_durable_in_each_and_closing_one_leaves_the_others() -> TestResult {
    let place = scratch();
    let threads = StoreRuntime::new();
    let path = |tenant: usize| place.path().join(tenant.to_string());
    let (mut tenants, mut disks) = (Vec::new(), Vec::new());
    for tenant in 0..20 {
        let path = path(tenant);
        fs::create_dir(&path)?;
        let disk = RecordingDisk::new(&path)?;
        let builder = plain(&path).disk(Arc::new(disk.clone()));
        tenants.push(builder.runtime(&threads).open().await?);
        disks.push(disk);
    }
    // Dropped here, it lives on in the stores.
    drop(threads);
    let sending = tenants.iter().cloned().map(|store| {
        tokio::spawn(async move {
            for _ in 0..10 {
                let sent = store.send("hall", LampCommand::Switch, ()).await;
                assert!(sent.is_ok(), "{sent:?}");
            }
        })
    });
    for sent in sending.collect::<Vec<_>>() {
        sent.await?;
    }
    for disk in &disks {
        // A power loss now keeps what was synced and nothing else.
        let image = CrashImage::power_loss(&disk.recording(), &Survival::Nothing)?;
        let store = MemoryDisk::holding(&image)?.builder().open().await?;
        assert_eq!(switched(&store).await?, 10);
        store.close().await?;
    }
    for (tenant, store) in tenants
        .iter()
        .enumerate()
        .filter(|(tenant, _)| tenant % 2 == 0)
    {
        store.clone().close().await?;
        let refused = store.send("hall", LampCommand::Switch, ()).await;
        assert!(
            matches!(refused, Err(ExecuteError::Store(StoreError::Closed))),
            "{tenant}: {refused:?}"
        );
    }
    for (_, store) in tenants
        .iter()
        .enumerate()
        .filter(|(tenant, _)| tenant % 2 == 1)
    {
        switch(store).await?;
    }
    drop(tenants);
    for tenant in 0..20 {
        let store = plain(&path(tenant)).open().await?;
        assert_eq!(switched(&store).await?, 10 + tenant as u64 % 2, "{tenant}");
        store.close().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_panics_poisons_its_store_and_no_other() -> TestResult {
    let place = scratch();
    let threads = StoreRuntime::new();
    let other = plain(&place.path().join("other"));
    let other = other.runtime(&threads).open().await?;
    let syncs = GatedDisk::default();
    let checkpoints = GatedDisk::at_name("checkpoint.json");
    for (name, disk) in [("syncs", &syncs), ("checkpoints", &checkpoints)] {
        let path = place.path().join(name);
        let builder = plain(&path).disk(Arc::new(disk.clone()));
        let store = builder.runtime(&threads).open().await?;
        switch(&store).await?;
        disk.mine();
        if name == "syncs" {
            let send = || store.send("hall", LampCommand::Switch, ());
            let unknown = tokio::time::timeout(LONG, send()).await?;
            assert!(
                matches!(unknown, Err(ExecuteError::OutcomeUnknown { .. })),
                "{unknown:?}"
            );
            let refused = tokio::time::timeout(LONG, send()).await?;
            assert!(
                matches!(
                    refused,
                    Err(ExecuteError::Store(StoreError::Poisoned { .. }))
                ),
                "{refused:?}"
            );
        }
        let closed = tokio::time::timeout(LONG, store.close()).await?;
        assert!(
            matches!(closed, Err(StoreError::Poisoned { .. })),
            "{name}: {closed:?}"
        );
        tokio::time::timeout(LONG, switch(&other)).await??;
        disk.open();
        let store = plain(&path).runtime(&threads).open().await?;
        assert!((1..=2).contains(&switched(&store).await?), "{name}");
        store.close().await?;
    }
    Ok(())
}

/// All threads for journals but one wait for disks that do not answer, and so do all others.
#[tokio::test(flavor = "multi_thread")]
async fn disks_that_hang_keep_no_other_store_from_committing() -> TestResult {
    let place = scratch();
    let threads = StoreRuntime::new();
    let open = |name: String, disk: &GatedDisk| {
        let builder = plain(&place.path().join(name)).runtime(&threads);
        builder.disk(Arc::new(disk.clone())).open()
    };
    let syncs = GatedDisk::default();
    let checkpoints = GatedDisk::at_name("checkpoint.json");
    let (mut hanging, mut closing) = (Vec::new(), Vec::new());
    for number in 0..15 {
        hanging.push(open(format!("syncs-{number}"), &syncs).await?);
    }
    for number in 0..16 {
        let store = open(format!("checkpoints-{number}"), &checkpoints).await?;
        switch(&store).await?;
        closing.push(store);
    }
    let other = plain(&place.path().join("other"))
        .runtime(&threads)
        .open()
        .await?;
    switch(&other).await?;
    syncs.close();
    checkpoints.close();
    let sending: Vec<_> = hanging
        .iter()
        .map(|store| {
            let store = store.clone();
            tokio::spawn(async move { store.send("hall", LampCommand::Switch, ()).await.is_ok() })
        })
        .collect();
    let closing: Vec<_> = closing
        .into_iter()
        .map(|store| tokio::spawn(async move { store.close().await.is_ok() }))
        .collect();
    syncs.wait_for(15);
    checkpoints.wait_for(16);
    for _ in 0..3 {
        tokio::time::timeout(LONG, switch(&other)).await??;
    }
    assert_eq!(switched(&other).await?, 4);
    assert!(
        !sending
            .iter()
            .chain(&closing)
            .any(|task| task.is_finished())
    );
    syncs.open();
    checkpoints.open();
    for task in sending.into_iter().chain(closing) {
        assert!(task.await?);
    }
    Ok(())
}
