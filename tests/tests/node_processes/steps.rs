//! Nodes end at each step of an append, of a claim, and of applying the entries of another node.

use super::cluster::{NODES, until};
use super::dying::{STEPS, Step};
use super::engine;
use super::program::{Answer, Request};
use super::scene::{Scene, rounds};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_end_at_each_step() {
    let Some(server) = engine::running() else {
        return;
    };
    let mut scene = Scene::start("nodes end at each step", &server).await;
    for step in STEPS.repeat(rounds(1) as usize) {
        scene.clients.until_more(20).await;
        let cluster = &scene.cluster;
        let leader = cluster.leader_of(&[0, 1, 2]).await;
        // Whichever node comes to the step ends there.
        let (fewest, after) = match step {
            Step::BeforeAppend | Step::AfterAppend => (1, scene.random.below(5)),
            Step::BeforeClaim | Step::AfterClaim => (NODES, 0),
            Step::BeforeApply | Step::AfterApply => (NODES - 1, scene.random.below(5)),
        };
        for node in 0..NODES {
            let asked = cluster.ask(node, Request::EndAt(Some((step, after)))).await;
            // The others may have ended at the step, so that this one has no answer yet.
            assert!(matches!(asked, Some(Answer::Done) | None), "{asked:?}");
        }
        if let Step::BeforeClaim | Step::AfterClaim = step {
            cluster.kill(leader);
        }
        until("the nodes end", async || {
            (cluster.ended() >= fewest).then_some(())
        })
        .await;
        for node in 0..NODES {
            // It may end at the step in this moment.
            let _ = cluster.ask(node, Request::EndAt(None)).await;
        }
        println!("  {step:?}: {} nodes ended", cluster.ended());
        for node in 0..NODES {
            if !cluster.runs(node) {
                cluster.must_open(node).await;
            }
        }
    }
    scene.clients.until_more(20).await;
    scene.finish().await;
}
