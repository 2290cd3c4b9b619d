use std::sync::Arc;

use super::ProcessManagerPart;
use crate::error::OpenError;
use crate::journal::{
    Journal, Progress, ProposedCommit, ProposedReaction, RowChange, RowStore, Term,
};
use crate::runtime::process_manager_rows::{VERSION, VersionRow, put};
use crate::runtime::{blocking, initial_progress, migrated, room_in, settled_in};

/// The starting point of a process manager, and the reason if it is parked because of an unusable state.
type Point = (Progress, Option<String>);

/// The form of a stored state.
enum Stored {
    /// This version of the program stored it.
    Current,
    Migrated(Progress),
    /// This program cannot read it. It stays as it is.
    Unreadable(String),
}

/// The starting point of each process manager. The starting point of a new process manager is committed first, in the given
/// term. Without a term, and on a read-only file system, nothing is committed. Fails when the term is lost.
pub(super) async fn starting_points(
    journal: &Arc<dyn Journal>,
    parts: &[ProcessManagerPart],
    parks_unreadable: bool,
    term: Option<Term>,
) -> Result<Vec<Point>, OpenError> {
    let is_read_only = journal.read_only().is_some();
    let mut points = Vec::with_capacity(parts.len());
    let mut commits = Vec::new();
    for part in parts {
        let refused = |reason: String| OpenError::ProcessManagerState {
            name: part.name.to_owned(),
            reason,
        };
        let (progress, rows, dead_letters) = match journal.progress(part.name) {
            Some(progress) => {
                let stored = stored_version(journal.clone(), part.name).await?;
                match migrate(part, stored, &progress).map_err(refused)? {
                    Stored::Current => {
                        points.push((progress, None));
                        continue;
                    }
                    Stored::Unreadable(reason) if parks_unreadable => {
                        points.push((progress, Some(reason)));
                        continue;
                    }
                    Stored::Unreadable(reason) => return Err(refused(reason)),
                    Stored::Migrated(migrated) => (migrated, version_row(part), Vec::new()),
                }
            }
            None => {
                let inherited = journal.inherited(part.name);
                if !is_read_only
                    && let Some(damage) = inherited.and_then(|inherited| inherited.problem.clone())
                {
                    return Err(OpenError::ProcessManagerCheckpoint {
                        name: part.name.to_owned(),
                        damage,
                    });
                }
                let initial = initial_progress(part.definition).map_err(refused)?;
                // A process manager that an earlier version of the library has run is known. It continues at its
                // progress.
                let position = match part.starts_now && inherited.is_none() {
                    true => *journal.durable().borrow(),
                    false => initial.position,
                };
                let letters = inherited.map(|inherited| inherited.dead_letters.clone());
                let rows = inherited.map(|inherited| inherited.rows.clone());
                let mut rows = rows.unwrap_or_default();
                if part.version() != VersionRow::default() {
                    rows.extend(version_row(part));
                }
                let progress = Progress {
                    position,
                    ..initial
                };
                (progress, rows, letters.unwrap_or_default())
            }
        };
        points.push((progress.clone(), None));
        let Some(term) = term.filter(|_| !is_read_only) else {
            continue;
        };
        let room = room_in(&**journal, term).await?;
        let commit = journal.submit(
            room,
            ProposedCommit {
                reaction: Some(ProposedReaction {
                    process_manager: part.name.into(),
                    progress,
                    dispatched: 0,
                    rows,
                    dead_letters,
                }),
                ..ProposedCommit::default()
            },
        );
        commits.push((term, commit));
    }
    for (term, commit) in commits {
        settled_in(&**journal, term, &commit).await?;
    }
    Ok(points)
}

fn version_row(part: &ProcessManagerPart) -> Vec<RowChange> {
    vec![put(VERSION.into(), &part.version())]
}

/// The stored form of the states of a process manager.
async fn stored_version(
    store: Arc<dyn RowStore>,
    name: &'static str,
) -> Result<VersionRow, OpenError> {
    let what = || "reading the version of a state".to_owned();
    let row = blocking(what, move || Ok(store.rows(name, &[VERSION])?)).await?;
    let row = row.into_iter().flatten().next();
    match row.map(|row| serde_json::from_str(&row)) {
        None => Ok(VersionRow::default()),
        Some(Ok(version)) => Ok(version),
        Some(Err(error)) => Err(OpenError::ProcessManagerState {
            name: name.to_owned(),
            reason: format!("its version does not read: {error}"),
        }),
    }
}

/// The progress with the state in the form of this program, if another version stored it. If this program cannot use
/// the state, the reason.
fn migrate(
    part: &ProcessManagerPart,
    stored: VersionRow,
    progress: &Progress,
) -> Result<Stored, String> {
    let current = part.version();
    if stored.is_keyed != current.is_keyed {
        return Err(match stored.is_keyed {
            true => "it was stored with `key`, and each instance has a state of its own",
            false => "it was stored without `key`, as one state for all",
        }
        .to_owned());
    }
    if stored.state_version == current.state_version {
        return Ok(Stored::Current);
    }
    if stored.state_version > current.state_version {
        return Err(format!(
            "it was stored by version {}, and this program knows versions up to {}: run the newer program",
            stored.state_version, current.state_version
        ));
    }
    let state = match current.is_keyed {
        // The state of each instance is migrated when it is read.
        true => progress.state.clone(),
        false => match migrated(part.definition, stored.state_version, progress.state.get()) {
            Ok(migrated) => migrated,
            Err(reason) => return Ok(Stored::Unreadable(reason)),
        },
    };
    Ok(Stored::Migrated(Progress {
        position: progress.position,
        state,
    }))
}
