//! A newer version has written to the log.

use eventfold::line_hash;
use eventfold_es::replication::{AppendError, CommitLog as _};

use super::cluster::{NODES, until};
use super::engine;
use super::program::{Answer, Request};
use super::scene::Scene;

/// The nodes name the entry and its format. They take no commands, keep all events, and answer reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_of_a_newer_format_stops_the_nodes() {
    let Some(server) = engine::running() else {
        return;
    };
    let Scene {
        clients, cluster, ..
    } = Scene::start("an entry of a newer format", &server).await;
    clients.until_more(50).await;
    let operations = clients.finish().await;
    cluster.converge().await;
    let log = engine::connect(cluster.ways().direct());
    log.open().unwrap();
    // The leader is idle, but it may claim the log again.
    let (before, number) = until("the entry is stored", async || {
        let before = cluster.log();
        let entries = before.matches(r#""end":true"#).count() as u64;
        let last = before.lines().next_back()?;
        match log.append(entries, newer(last).into()) {
            Ok(()) => Some((before, entries + 1)),
            Err(AppendError::Fenced) => None,
            Err(error) => panic!("{error}"),
        }
    })
    .await;
    let names_it =
        |text: &str| text.contains(&format!("entry {number}")) && text.contains("it has format 2");
    for node in 0..NODES {
        until("the node is cut off", async || {
            match cluster.ask(node, Request::Role).await? {
                Answer::Role { text, .. } => {
                    (text.starts_with("cut off") && names_it(&text)).then_some(())
                }
                other => panic!("{other:?}"),
            }
        })
        .await;
        let totals = cluster.ask(node, Request::Totals).await;
        let stored = before.matches(r#"{"type":"Added""#).count() as u64;
        assert!(
            matches!(totals, Some(Answer::Totals { added, .. }) if added == stored),
            "{totals:?}"
        );
        cluster.kill(node);
        let refused = cluster.open(node).await.unwrap_err();
        assert!(names_it(&refused), "{refused}");
        assert!(
            cluster.journal(node) == before,
            "node {node} has another journal"
        );
    }
    cluster.check(&operations).await;
}

/// The same line in a newer format, with a valid checksum.
fn newer(line: &str) -> String {
    let (text, _) = line.split_once(",\"meta\"").unwrap();
    let text = text.replace("\"format\":1,", "\"format\":2,");
    let checksum = line_hash(text.as_bytes());
    format!("{text},\"meta\":{{\"checksum\":\"{checksum}\"}}}}\n")
}
