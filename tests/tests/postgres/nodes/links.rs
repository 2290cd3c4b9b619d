//! One node does not reach PostgreSQL, while the others do.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::cluster::NODES;
use super::proxy::Link;
use super::{Scene, rounds};
use crate::server::durable;

const WAYS: [Link; 2] = [Link::Cut, Link::Silent];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_isolated() {
    let scene = Scene::start("the leader is isolated", durable()).await;
    for way in WAYS.into_iter().cycle().take(2 * rounds(1) as usize) {
        scene.clients.until_more(50).await;
        let leader = scene.clients.last_by();
        let begun = Instant::now();
        scene.cluster.proxy(leader).set(way);
        scene.clients.until_by_other(leader, begun).await;
        scene.clients.until_more(50).await;
        scene.cluster.proxy(leader).set(Link::Open);
        scene.cluster.until_follower(leader).await;
    }
    scene.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_is_isolated() {
    let scene = Scene::start("a follower is isolated", durable()).await;
    for way in WAYS.into_iter().cycle().take(2 * rounds(1) as usize) {
        scene.clients.until_more(50).await;
        let follower = (scene.clients.last_by() + 1) % NODES;
        scene.cluster.proxy(follower).set(way);
        scene.clients.until_more(50).await;
        sleep(Duration::from_secs(1)).await;
        scene.cluster.proxy(follower).set(Link::Open);
    }
    scene.finish().await;
}
