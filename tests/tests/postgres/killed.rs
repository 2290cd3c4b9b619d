//! The server and the program are killed with SIGKILL at any moment, again and again: the tables are the fold of the events
//! that their progress names.
//!
//! `EVENTFOLD_POSTGRES_KILLS=200` kills each more often, `EVENTFOLD_CRASH_SEED=7` at other moments.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use eventfold_es::Postgres;
use eventfold_es::contract::SinkProjection;
use eventfold_es::disk::SplitMix64;
use eventfold_es::prelude::*;
use eventfold_es_tests::TestResult;
use eventfold_es_tests::campaign::{number, size};

use crate::pad::{
    Retried, Skipped, Stopped, builder, check, check_all, check_now, tables, write_numbers,
    write_some,
};
use crate::server::{Kill, Server};

const STORE: &str = "EVENTFOLD_KILLED_STORE";
const URL: &str = "EVENTFOLD_KILLED_URL";
const ROUND: &str = "EVENTFOLD_KILLED_ROUND";

fn kills() -> u64 {
    number("EVENTFOLD_POSTGRES_KILLS").unwrap_or_else(|| size(20, 200))
}

fn seed() -> u64 {
    number("EVENTFOLD_CRASH_SEED").unwrap_or(20_260_101)
}

/// A store with a projection of each policy: none of them takes the end of the server for a failure of an event.
async fn open_all(directory: &Path, url: &str) -> AggregateStore {
    builder(directory)
        .projection::<Retried>()
        .projection::<Skipped>()
        .projection::<Stopped>()
        .sink(Postgres::url(url))
        .open()
        .await
        .unwrap()
}

async fn check_everything(store: &AggregateStore, url: &str) {
    check_all::<Retried>(store, url).await;
    check_all::<Skipped>(store, url).await;
    check_all::<Stopped>(store, url).await;
}

/// Checks the tables as the kill has left them.
async fn check_as_found(store: &AggregateStore, url: &str) {
    async fn one<P: SinkProjection>(store: &AggregateStore, url: &str) {
        if tables::<P>(url).await.is_some() {
            check::<P>(store, url, &[]).await;
        }
    }
    one::<Retried>(store, url).await;
    one::<Skipped>(store, url).await;
    one::<Stopped>(store, url).await;
}

fn some_kill(random: &mut SplitMix64) -> Kill {
    [Kill::All, Kill::Postmaster, Kill::Connection][random.below(3)]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_killed() -> TestResult {
    let (kills, seed) = (kills(), seed());
    println!("seed {seed}");
    let mut random = SplitMix64::new(seed);
    let directory = tempfile::tempdir()?;
    let mut server = Server::start(true);
    let url = server.database();
    let store = open_all(directory.path(), &url).await;
    let writer = tokio::spawn({
        let store = store.clone();
        async move {
            for number in 0.. {
                write_some(&store, number * 3, 3).await;
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        }
    });
    for _ in 0..kills {
        tokio::time::sleep(Duration::from_micros(random.below(100_000) as u64)).await;
        let kill = some_kill(&mut random);
        server = tokio::task::spawn_blocking(move || {
            server.kill_and_resume(kill);
            server
        })
        .await?;
        check_as_found(&store, &url).await;
        check_now::<Retried>(&store, &url).await;
        check_now::<Skipped>(&store, &url).await;
        check_now::<Stopped>(&store, &url).await;
    }
    writer.abort();
    let _ = writer.await;
    check_everything(&store, &url).await;
    store.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_is_killed() -> TestResult {
    if let Ok(directory) = env::var(STORE) {
        work(
            Path::new(&directory),
            &env::var(URL)?,
            number(ROUND).unwrap(),
        )
        .await;
        return Ok(());
    }
    let (kills, seed) = (kills(), seed());
    println!("seed {seed}");
    let mut random = SplitMix64::new(seed);
    let directory = tempfile::tempdir()?;
    let mut server = Server::start(true);
    let url = server.database();
    for round in 0..kills {
        let mut program = Command::new(env::current_exe()?)
            .args(["--exact", "killed::the_program_is_killed", "--nocapture"])
            .env(STORE, directory.path())
            .env(URL, &url)
            .env(ROUND, round.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        // Mostly in the middle of work, sometimes while it opens.
        let begun = Instant::now();
        while !directory.path().join("working").exists() && random.chance(100) {
            assert!(program.try_wait()?.is_none(), "the program ended by itself");
            assert!(
                begun.elapsed() < crate::pad::SOON,
                "the program does not work"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_micros(random.below(100_000) as u64));
        // Both at once, in every third round.
        if round % 3 == 2 {
            let kill = some_kill(&mut random);
            server = tokio::task::spawn_blocking(move || {
                server.kill_and_resume(kill);
                server
            })
            .await?;
        }
        program.kill()?;
        program.wait()?;
        let _ = std::fs::remove_file(directory.path().join("working"));

        let store = builder(directory.path()).open().await?;
        check_as_found(&store, &url).await;
        store.close().await?;
        let store = open_all(directory.path(), &url).await;
        check_everything(&store, &url).await;
        store.close().await?;
    }
    Ok(())
}

/// The program: clients send commands until the kill.
async fn work(directory: &Path, url: &str, round: u64) {
    let store = open_all(directory, url).await;
    for client in 0..4 {
        let store = store.clone();
        tokio::spawn(async move {
            let mut number = 1_000_000 * (1 + round as i64 * 4 + client);
            loop {
                let numbers = (number..number + 1 + number % 4).collect();
                write_numbers(&store, &format!("pad-{client}"), numbers).await;
                number += 4;
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
    }
    std::fs::write(directory.join("working"), "").unwrap();
    std::future::pending::<()>().await;
}
