//! The server that leads the stream is killed.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::clients::Temper;
use super::cluster::NODES;
use super::engine::LOG;
use super::{Scene, rounds};
use crate::servers::Servers;

/// The answers that were on their way when the server was killed have come after this time, and an election takes seconds.
const ON_THE_WAY: Duration = Duration::from_millis(300);

/// The other servers elect a leader. Until then the log takes no entries, and the outcome of some commands is unknown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_that_leads_is_killed() {
    let Some(mut servers) = Servers::three() else {
        return;
    };
    let tempers = [Temper::Hasty, Temper::Stubborn].repeat(4);
    let mut scene = Scene::start_with("the server that leads is killed", &servers, &tempers).await;
    for _ in 0..rounds(1) {
        scene.clients.until_more(50).await;
        let server = tokio::task::block_in_place(|| servers.leader(LOG));
        sleep(Duration::from_micros(scene.random.below(50_000) as u64)).await;
        let killed = Instant::now();
        tokio::task::block_in_place(|| servers.kill(server));
        // A command that any node acknowledges.
        let after = killed + ON_THE_WAY;
        let next = scene.clients.until_by_other(NODES, after).await;
        let time = next.at - killed;
        println!("  the server is killed; the next acknowledged command comes after {time:?}");
        tokio::task::block_in_place(|| servers.resume(server));
        scene.clients.until_more(50).await;
    }
    scene.finish().await;
}
