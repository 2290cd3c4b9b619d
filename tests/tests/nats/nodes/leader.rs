//! The node that leads is killed, or suspended.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::clients::Temper;
use super::{Scene, rounds};
use crate::servers::Servers;

/// The node is killed while commands are on their way, at any moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_killed() {
    let Some(servers) = Servers::three() else {
        return;
    };
    let mut scene = Scene::start("the leader is killed", &servers).await;
    for _ in 0..rounds(2) {
        scene.clients.until_more(20).await;
        sleep(Duration::from_micros(scene.random.below(300_000) as u64)).await;
        let leader = scene.clients.last_by();
        let killed = Instant::now();
        scene.cluster.kill(leader);
        let next = scene.clients.until_by_other(leader, killed).await;
        let time = next.at - killed;
        println!("  the node is killed; the next acknowledged command comes after {time:?}");
        scene.cluster.open(leader).await.unwrap();
    }
    scene.finish().await;
}

/// Another node leads meanwhile. The clients that waited for an answer get a true one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_suspended() {
    let Some(servers) = Servers::three() else {
        return;
    };
    let tempers = [Temper::Hasty, Temper::Stubborn].repeat(4);
    let scene = Scene::start_with("the leader is suspended", &servers, &tempers).await;
    for _ in 0..rounds(1) {
        scene.clients.until_more(50).await;
        let leader = scene.clients.last_by();
        let suspended = Instant::now();
        scene.cluster.suspend(leader);
        let next = scene.clients.until_by_other(leader, suspended).await;
        let time = next.at - suspended;
        println!("  the node is suspended; the next acknowledged command comes after {time:?}");
        let asleep = Duration::from_secs(4).saturating_sub(suspended.elapsed());
        sleep(asleep).await;
        scene.cluster.wake(leader);
        scene.cluster.until_follower(leader).await;
        scene.clients.until_more(20).await;
    }
    scene.finish().await;
}
