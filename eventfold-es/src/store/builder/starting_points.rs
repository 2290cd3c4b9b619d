use std::sync::Arc;

use super::ProcessManagerPart;
use crate::error::{OpenError, StoreError};
use crate::journal::{Journal, Progress, ProposedCommit, ProposedReaction};

/// Where each process manager goes on; the starting point of a new one is committed first, where anything can be.
pub(super) async fn starting_points(
    journal: &Arc<dyn Journal>,
    parts: &[ProcessManagerPart],
) -> Result<Vec<Progress>, OpenError> {
    let is_read_only = journal.read_only().is_some();
    let mut points = Vec::with_capacity(parts.len());
    let mut commits = Vec::new();
    for part in parts {
        if let Some(progress) = journal.progress(part.name) {
            points.push(progress);
            continue;
        }
        let adopted = journal.adopted(part.name);
        if !is_read_only && let Some(damage) = adopted.and_then(|adopted| adopted.problem.clone()) {
            return Err(OpenError::ProcessManagerCheckpoint {
                name: part.name.to_owned(),
                damage,
            });
        }
        let progress = (part.initial)().map_err(|error| OpenError::ProcessManagerState {
            name: part.name.to_owned(),
            reason: error.to_string(),
        })?;
        points.push(progress.clone());
        if is_read_only {
            continue;
        }
        let room = Arc::clone(journal.room())
            .acquire_owned()
            .await
            .map_err(|_| StoreError::Closed)?;
        commits.push(
            journal.submit(
                room,
                ProposedCommit {
                    reaction: Some(ProposedReaction {
                        process_manager: part.name.into(),
                        progress,
                        dispatched: 0,
                        rows: Vec::new(),
                        dead_letters: adopted
                            .map(|adopted| adopted.dead_letters.clone())
                            .unwrap_or_default(),
                    }),
                    ..ProposedCommit::default()
                },
            ),
        );
    }
    for commit in commits {
        commit.wait().await.map_err(StoreError::from)?;
    }
    Ok(points)
}
