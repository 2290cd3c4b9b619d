//! The node that leads is killed, suspended or closed. Most clients are at followers, which forward their commands.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::clients::Temper;
use super::cluster::{NODES, until};
use super::{Scene, rounds};
use crate::servers::Servers;

/// The answers that were on their way when the node ended have come after this time, and no other node leads before it.
const ON_THE_WAY: Duration = Duration::from_millis(300);

impl Scene {
    /// Waits until each node has acknowledged commands, and returns the node that leads.
    async fn until_all_serve(&self) -> usize {
        let begun = Instant::now();
        until("each node acknowledges commands", async || {
            let mut counts = (0..NODES).map(|node| self.clients.count_by(node, begun));
            counts.all(|count| count >= 10).then_some(())
        })
        .await;
        self.cluster.leader_of(&[0, 1, 2]).await
    }

    /// Waits for the next leader, and for the first command that a node acknowledges after the former one has ended.
    async fn next_leader(&self, former: usize, ended: Instant) -> Duration {
        let next = self
            .clients
            .until_by_other(former, ended + ON_THE_WAY)
            .await;
        let others: Vec<_> = (0..NODES).filter(|node| *node != former).collect();
        self.cluster.leader_of(&others).await;
        next.at - ended
    }
}

/// The node is killed while commands are on their way, at any moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_killed() {
    let Some(servers) = Servers::three() else {
        return;
    };
    let mut scene = Scene::start("the leader is killed", &servers).await;
    for _ in 0..rounds(2) {
        let leader = scene.until_all_serve().await;
        sleep(Duration::from_micros(scene.random.below(300_000) as u64)).await;
        let killed = Instant::now();
        scene.cluster.kill(leader);
        let time = scene.next_leader(leader, killed).await;
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
        let leader = scene.until_all_serve().await;
        let suspended = Instant::now();
        scene.cluster.suspend(leader);
        let time = scene.next_leader(leader, suspended).await;
        println!("  the node is suspended; the next acknowledged command comes after {time:?}");
        let asleep = Duration::from_secs(4).saturating_sub(suspended.elapsed());
        sleep(asleep).await;
        scene.cluster.wake(leader);
        scene.cluster.until_follower(leader).await;
        scene.clients.until_more(20).await;
    }
    scene.finish().await;
}

/// Each node is closed and opened again, as for a new version of the program.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nodes_are_restarted_one_after_the_other() {
    let Some(servers) = Servers::three() else {
        return;
    };
    let scene = Scene::start("the nodes are restarted", &servers).await;
    for _ in 0..rounds(1) {
        for _ in 0..NODES {
            let leader = scene.until_all_serve().await;
            let closed = Instant::now();
            tokio::task::block_in_place(|| scene.cluster.close(leader));
            let time = scene.next_leader(leader, closed).await;
            println!("  the leader is closed; {time:?} later, commands are acknowledged");
            scene.cluster.open(leader).await.unwrap();
        }
    }
    scene.finish().await;
}
