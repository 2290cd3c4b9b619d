//! The directory of a follower is lost, or damaged.

use super::damage::DAMAGES;
use super::{Scene, rounds};
use crate::server::durable;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_directory_of_a_follower_is_damaged() {
    let mut scene = Scene::start("a directory is damaged", durable()).await;
    let cluster = &scene.cluster;
    let node = 2;
    for round in 0..rounds(2) {
        for (number, damage) in DAMAGES.into_iter().enumerate() {
            scene.clients.until_more(20).await;
            cluster.until_follower(node).await;
            // Closed or killed.
            match (round + number as u64).is_multiple_of(2) {
                true => cluster.close(node),
                false => cluster.kill(node),
            }
            damage.inflict(cluster, node, scene.random.next_u64());
            let outcome = damage.mend(cluster, node).await;
            println!("  {damage:?}: {outcome:?}");
        }
    }
    scene.finish().await;
}
