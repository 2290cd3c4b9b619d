//! The servers and the nodes are in two halves that do not hear each other.

use std::time::{Duration, Instant};

use tokio::task::block_in_place;
use tokio::time::sleep;

use super::Scene;
use super::clients::Temper;
use super::cluster::NODES;
use super::engine::{LOG, Server, Ways};
use super::program::{Answer, Request};
use super::proxy::Link;
use super::routes::Routes;

/// Changes the ways between a server with a node, and all others.
pub fn isolate(
    (servers, routes, ways): (&Server, &Routes, &Ways),
    server: usize,
    node: usize,
    link: Link,
) {
    routes.set(server, link);
    for one in 0..NODES {
        for other in 0..servers.count() {
            if (one == node) != (other == server) {
                ways.set_to(one, other, link);
            }
        }
    }
}

/// The node that leads is with the server that leads, and both are alone. The others go on. The commands of the minority are refused,
/// or their outcome is unknown, and afterwards all nodes have one history.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leaders_are_in_the_minority() {
    let Some((routes, servers)) = Routes::and_servers() else {
        return;
    };
    let tempers = [Temper::Hasty, Temper::Stubborn].repeat(4);
    let scene = Scene::start_with("the leaders are in the minority", &servers, &tempers).await;
    let (clients, cluster) = (&scene.clients, &scene.cluster);
    for link in [Link::Silent, Link::Cut] {
        clients.until_more(50).await;
        let node = cluster.leader_of(&[0, 1, 2]).await;
        let server = block_in_place(|| servers.leader(LOG));
        let parts = (&servers, &routes, cluster.ways());
        let begun = Instant::now();
        isolate(parts, server, node, link);
        // The answers that were on their way have come when another node leads.
        let others: Vec<_> = (0..NODES).filter(|other| *other != node).collect();
        cluster.leader_of(&others).await;
        let next = clients.until_by_other(node, Instant::now()).await;
        clients.until_more(20).await;
        let role = cluster.ask(node, Request::Role).await;
        assert!(
            matches!(&role, Some(Answer::Role { is_leader: false, text }) if text.starts_with("cut off")),
            "{role:?}"
        );
        // Longer than an append may take.
        sleep(Duration::from_secs(6).saturating_sub(begun.elapsed())).await;
        assert_eq!(
            clients.count_by(node, next.at),
            0,
            "the minority takes commands"
        );
        isolate(parts, server, node, Link::Open);
        cluster.until_follower(node).await;
        println!(
            "  {link:?}: the majority goes on after {:?}",
            next.at - begun
        );
    }
    clients.until_more(50).await;
    scene.finish().await;
}
