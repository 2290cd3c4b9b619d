//! The leader is killed, or suspended.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::clients::Temper;
use super::{Scene, rounds};
use crate::server::durable;

/// A takeover that takes longer is worth a look.
const SLOW: Duration = Duration::from_secs(4);

/// The node is killed while commands are on their way, at any moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_killed() {
    let mut scene = Scene::start("the leader is killed", durable()).await;
    let mut times = Vec::new();
    for _ in 0..rounds(4) {
        scene.clients.until_more(20).await;
        sleep(Duration::from_micros(scene.random.below(300_000) as u64)).await;
        let leader = scene.clients.last_by();
        let killed = Instant::now();
        scene.cluster.kill(leader);
        let (clients, cluster) = (&scene.clients, &scene.cluster);
        if clients
            .by_other_within(SLOW, leader, killed)
            .await
            .is_none()
        {
            println!("  a slow takeover: {:?}", cluster.roles().await);
        }
        let next = clients.until_by_other(leader, killed).await;
        times.push(next.at - killed);
        scene.cluster.open(leader).await.unwrap();
    }
    scene.finish().await;
    times.sort();
    let at = |hundredths: usize| times[(times.len() * hundredths / 100).min(times.len() - 1)];
    println!(
        "{} kills; to the next acknowledged command: p50 {:?}, p99 {:?}, max {:?}",
        times.len(),
        at(50),
        at(99),
        times[times.len() - 1]
    );
}

/// Another node leads meanwhile. The clients that waited for an answer get a true one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_suspended() {
    let tempers = [Temper::Hasty, Temper::Stubborn].repeat(4);
    let scene = Scene::start_with("the leader is suspended", durable(), &tempers).await;
    for _ in 0..rounds(1) {
        scene.clients.until_more(50).await;
        let leader = scene.clients.last_by();
        let suspended = Instant::now();
        scene.cluster.suspend(leader);
        scene.clients.until_by_other(leader, suspended).await;
        let asleep = Duration::from_secs(4).saturating_sub(suspended.elapsed());
        sleep(asleep).await;
        scene.cluster.wake(leader);
        scene.cluster.until_follower(leader).await;
        scene.clients.until_more(20).await;
    }
    scene.finish().await;
}
