//! The directory of a follower is lost, or damaged.

use std::fs;
use std::sync::Arc;

use super::cluster::{Cluster, until};
use super::program::Answer;
use super::{Scene, rounds};
use crate::server::durable;

#[derive(Debug, Clone, Copy)]
enum Damage {
    /// The directory is gone.
    Lost,
    /// The journal ends earlier, at any byte.
    Cut,
    /// One bit of the journal is another.
    Flipped,
    /// The end of the journal is zeros, as after a loss of power.
    Zeroed,
}

const DAMAGES: [Damage; 4] = [Damage::Lost, Damage::Cut, Damage::Flipped, Damage::Zeroed];

fn inflict(damage: Damage, cluster: &Arc<Cluster>, node: usize, random: u64) {
    let file = cluster.journal_file(node);
    let length = cluster.journal(node).len();
    let place = random as usize % length;
    let mut bytes = fs::read(&file).unwrap();
    match damage {
        Damage::Lost => return fs::remove_dir_all(cluster.directory(node)).unwrap(),
        Damage::Cut => bytes.truncate(place),
        Damage::Flipped => bytes[place] ^= 1 << (random >> 32 & 7),
        Damage::Zeroed => bytes[place..].fill(0),
    }
    fs::write(file, bytes).unwrap();
}

/// The outcome for a node whose directory is damaged.
#[derive(Debug)]
enum Outcome {
    /// It has the bytes of the log, and knows it.
    CaughtUp,
    /// Its store does not open.
    Refused,
    /// It is open, and `verify` reports the damage.
    Reported,
}

/// The reason for a refusal names the directory.
async fn open(cluster: &Cluster, node: usize) -> Outcome {
    let directory = cluster.directory(node).display().to_string();
    if let Err(refused) = cluster.open(node).await {
        assert!(refused.contains(&directory), "{refused}");
        return Outcome::Refused;
    }
    // The log goes on meanwhile.
    let log = cluster.log();
    let length = log.len();
    let is_damaged = until("the node has caught up", async || {
        let journal = cluster.journal_bytes(node);
        (journal.len() >= length).then(|| journal[..length] != *log.as_bytes())
    })
    .await;
    let verified = cluster.verify(node).await;
    let Answer::Verified { is_clean, text } = verified else {
        panic!("{verified:?}");
    };
    assert_eq!(is_clean, !is_damaged, "{text}");
    match is_clean {
        true => Outcome::CaughtUp,
        false => {
            assert!(text.contains("app.jsonl"), "{text}");
            Outcome::Reported
        }
    }
}

/// It catches up, its store is refused, or it reports the damage. In the last two cases, an operator removes the directory.
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
            inflict(damage, cluster, node, scene.random.next_u64());
            let outcome = open(cluster, node).await;
            println!("  {damage:?}: {outcome:?}");
            match (damage, outcome) {
                (_, Outcome::CaughtUp) => {}
                (Damage::Flipped, Outcome::Reported) | (_, Outcome::Refused) => {
                    cluster.kill(node);
                    fs::remove_dir_all(cluster.directory(node)).unwrap();
                    cluster.open(node).await.unwrap();
                }
                (damage, outcome) => panic!("{damage:?}: {outcome:?}"),
            }
        }
    }
    scene.finish().await;
}
