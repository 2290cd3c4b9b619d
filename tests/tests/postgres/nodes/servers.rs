//! PostgreSQL is killed, or suspended.

use std::time::Duration;

use tokio::time::sleep;

use super::clients::Temper;
use super::cluster::until;
use super::{Scene, rounds};
use crate::server::{Kill, Server};

/// Some clients repeat a command, and some wait for its answer.
const TEMPERS: [Temper; 6] = [
    Temper::Hasty,
    Temper::Stubborn,
    Temper::Hasty,
    Temper::Stubborn,
    Temper::Hasty,
    Temper::Stubborn,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_killed() {
    let mut server = Server::start(true);
    let mut scene = Scene::start_with("PostgreSQL is killed", &server, &TEMPERS).await;
    let kills = [Kill::All, Kill::Connection, Kill::Postmaster];
    for kill in kills.into_iter().cycle().take(rounds(3) as usize) {
        scene.clients.until_more(50).await;
        sleep(Duration::from_micros(scene.random.below(50_000) as u64)).await;
        tokio::task::block_in_place(|| server.kill_and_resume(kill));
    }
    scene.clients.until_more(50).await;
    scene.finish().await;
}

/// Longer than an append may take, so that the outcome of a command is unknown for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_suspended() {
    let server = Server::start(true);
    let scene = Scene::start_with("PostgreSQL is suspended", &server, &TEMPERS).await;
    for _ in 0..rounds(1) {
        scene.clients.until_more(50).await;
        server.suspend();
        sleep(Duration::from_secs(6)).await;
        server.wake();
        scene.clients.until_more(50).await;
    }
    scene.finish().await;
}

/// Nothing is acknowledged meanwhile, and the nodes say why. They go on when there is room again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_is_full() {
    let Some(mut server) = Server::on_small_disk(128) else {
        return;
    };
    let scene = Scene::start_with("the disk is full", &server, &TEMPERS).await;
    for _ in 0..rounds(1) {
        scene.clients.until_more(50).await;
        server.disk().fill().unwrap();
        // A server that cannot write its own log ends, and the nodes have no connection.
        let reasons = ["No space left on device", "onnection"];
        let reason = until("a node says why it is cut off", async || {
            let roles = scene.cluster.roles().await;
            let mut texts = roles.into_iter().flatten().map(|role| format!("{role:?}"));
            texts.find(|text| {
                text.contains("cut off") && reasons.iter().any(|reason| text.contains(reason))
            })
        })
        .await;
        println!("  {reason}");
        sleep(Duration::from_secs(1)).await;
        server.disk().empty().unwrap();
        tokio::task::block_in_place(|| server.resume_if_ended());
        scene.clients.until_more(50).await;
    }
    scene.finish().await;
}
