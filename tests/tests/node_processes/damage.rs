//! The directory of a node is lost, or damaged.

use std::fs;

use super::cluster::{Cluster, until};
use super::program::Answer;

#[derive(Debug, Clone, Copy)]
pub enum Damage {
    /// The directory is gone.
    Lost,
    /// The journal ends earlier, at any byte.
    Cut,
    /// One bit of the journal is another.
    Flipped,
    /// The end of the journal is zeros, as after a loss of power.
    Zeroed,
}

pub const DAMAGES: [Damage; 4] = [Damage::Lost, Damage::Cut, Damage::Flipped, Damage::Zeroed];

/// The outcome for a node whose directory is damaged.
#[derive(Debug)]
pub enum Outcome {
    /// It has the bytes of the log, and knows it.
    CaughtUp,
    /// Its store does not open.
    Refused,
    /// It is open, and `verify` reports the damage.
    Reported,
}

impl Damage {
    /// Damages the directory of a node that does not run.
    pub fn inflict(self, cluster: &Cluster, node: usize, random: u64) {
        let file = cluster.journal_file(node);
        let length = cluster.journal_bytes(node).len();
        let place = random as usize % length;
        let mut bytes = fs::read(&file).unwrap();
        match self {
            Self::Lost => return fs::remove_dir_all(cluster.directory(node)).unwrap(),
            Self::Cut => bytes.truncate(place),
            Self::Flipped => bytes[place] ^= 1 << (random >> 32 & 7),
            Self::Zeroed => bytes[place..].fill(0),
        }
        fs::write(file, bytes).unwrap();
    }

    /// Opens the damaged node. It catches up, its store is refused, or it reports the damage. In the last two cases, an operator
    /// removes the directory.
    pub async fn mend(self, cluster: &Cluster, node: usize) -> Outcome {
        let outcome = open(cluster, node).await;
        match (self, &outcome) {
            (_, Outcome::CaughtUp) => {}
            (Self::Flipped, Outcome::Reported) | (_, Outcome::Refused) => {
                cluster.kill(node);
                fs::remove_dir_all(cluster.directory(node)).unwrap();
                cluster.open(node).await.unwrap();
            }
            (damage, outcome) => panic!("{damage:?}: {outcome:?}"),
        }
        outcome
    }
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
