//! One node does not reach PostgreSQL, while the others do.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::clients::Temper;
use super::cluster::NODES;
use super::proxy::Link;
use super::{Scene, rounds};
use crate::server::durable;

/// Longer than an append may take, so that its outcome is unknown.
const LONG: Duration = Duration::from_secs(6);

/// A way to lose the server.
#[derive(Debug, Clone, Copy)]
enum Loss {
    /// The connections are closed.
    Cut,
    /// Nothing arrives, until the link is open again. Then a late append comes, too.
    Late,
    /// The server hears nothing, and what was sent is lost.
    Dropped,
}

const LOSSES: [Loss; 3] = [Loss::Cut, Loss::Late, Loss::Dropped];

/// Some clients wait at the leader for an answer, and each answer must be true.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_isolated() {
    let tempers = [Temper::Hasty, Temper::Stubborn].repeat(4);
    let scene = Scene::start_with("the leader is isolated", durable(), &tempers).await;
    for loss in LOSSES.into_iter().cycle().take(3 * rounds(1) as usize) {
        scene.clients.until_more(50).await;
        let leader = scene.clients.last_by();
        let set = |link| scene.cluster.ways().set(leader, link);
        let begun = Instant::now();
        set(match loss {
            Loss::Cut => Link::Cut,
            Loss::Late => Link::Silent,
            Loss::Dropped => Link::Unheard,
        });
        scene.clients.until_by_other(leader, begun).await;
        scene.clients.until_more(20).await;
        if !matches!(loss, Loss::Cut) {
            sleep(LONG.saturating_sub(begun.elapsed())).await;
        }
        if matches!(loss, Loss::Dropped) {
            set(Link::Cut);
            sleep(Duration::from_millis(100)).await;
        }
        set(Link::Open);
        scene.cluster.until_follower(leader).await;
    }
    scene.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_is_isolated() {
    let scene = Scene::start("a follower is isolated", durable()).await;
    for way in [Link::Cut, Link::Silent]
        .into_iter()
        .cycle()
        .take(2 * rounds(1) as usize)
    {
        scene.clients.until_more(50).await;
        let follower = (scene.clients.last_by() + 1) % NODES;
        scene.cluster.ways().set(follower, way);
        scene.clients.until_more(50).await;
        sleep(Duration::from_secs(1)).await;
        scene.cluster.ways().set(follower, Link::Open);
    }
    scene.finish().await;
}
