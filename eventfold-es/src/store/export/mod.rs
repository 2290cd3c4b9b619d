//! A tree of eventfold logs, one for each stream, for eventfold's tools and for other programs.

mod directories;
mod tree;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use tracing::Instrument as _;

use super::AggregateStore;
use super::stop_on_drop::StopOnDrop;
use crate::disk::{FileError, absolute};
use crate::error::StoreError;
use crate::journal::JournalError;
pub(super) use tree::{ARCHIVE, LOG, META, REGISTRY, STREAMS, UNFINISHED};

/// The result of [`AggregateStore::export_streams`].
///
/// # JSON
///
/// ```json
/// {"position":1204,"streams":310,"events":1204,"bytes":262144}
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExportReport {
    /// The position of the last event in the export; 0 if there is none.
    pub position: u64,
    /// The number of streams, which is the number of logs.
    pub streams: u64,
    /// The number of events in all logs.
    pub events: u64,
    /// The size of all logs, in bytes.
    pub bytes: u64,
}

/// An export that failed or was not finished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The directory is the store's, or inside it, or contains it. Nothing was written.
    #[error("{} and the store are inside each other; an export needs a directory of its own", path.display())]
    Overlapping {
        /// The directory.
        path: PathBuf,
    },
    /// The directory is not empty. Nothing was written.
    #[error("{} already exists; choose an empty or a new directory", path.display())]
    Occupied {
        /// The first file or directory in it.
        path: PathBuf,
    },
    /// The directory holds an export that was interrupted. Nothing was written.
    #[error("{} holds an export that was interrupted; remove the directory and export again", path.display())]
    Unfinished {
        /// The directory.
        path: PathBuf,
    },
    /// Another export is being written there. Nothing was written.
    #[error("{} is in use: another export is being written there", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The store cannot be read, or the directory cannot be written: the error names the file. A started export stays
    /// unfinished.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<FileError> for ExportError {
    fn from(error: FileError) -> Self {
        Self::Store(error.into())
    }
}

impl From<JournalError> for ExportError {
    fn from(error: JournalError) -> Self {
        Self::Store(error.into())
    }
}

impl AggregateStore {
    /// Writes all events to a new directory, as one [eventfold](https://docs.rs/eventfold/0.2) log per stream, while commands
    /// continue. eventfold's own tools read each log, eventfold-es 0.2.0 reads the directory, and
    /// [`import_streams`](Self::import_streams) reads it into another store. To copy a store for safety, use
    /// [`backup`](Self::backup): it is faster, and it keeps the process managers.
    ///
    /// ```text
    /// <directory>/streams/<aggregate type>/<directory of the id>/app.jsonl   one event per line
    /// <directory>/meta/streams.jsonl                                         {"type","id","ts"}, and "dir" where it is not the id
    /// ```
    ///
    /// The export is the store at one moment: every event up to [`ExportReport::position`], and no later event. Each
    /// event keeps its stored bytes.
    ///
    /// An id of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-` with at most 200 bytes is the name of its directory. In other ids each
    /// other byte becomes `%` and two hexadecimal digits (`a/b` is `a%2Fb`), as do a `.` at either end and the first character
    /// of a device name of Windows. If two names differ only in upper and lower case, all letters of the second name are
    /// encoded. A name of more than 200 bytes is cut, and ends in `~` and a hash of the id. `meta/streams.jsonl` has the id of
    /// each directory.
    ///
    /// During the export the directory has a file `unfinished-export`. The export removes it when every log is durable.
    /// `import_streams` refuses a directory with this file. Memory holds at most about 32 MiB of events, and some bytes
    /// per stream.
    ///
    /// # Errors
    ///
    /// [`ExportError::Overlapping`], [`ExportError::Occupied`], [`ExportError::Unfinished`] and [`ExportError::InUse`]
    /// if the directory cannot take a new export; these write nothing. [`ExportError::Store`] if a file cannot be read
    /// or written. The export then stays unfinished, unless only the removal of `unfinished-export` could not be made
    /// durable.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the export and leaves it unfinished. It never changes the store.
    ///
    /// # Examples
    ///
    /// ```
    /// # use eventfold_es::prelude::*;
    /// # #[derive(Debug, Clone, Serialize, Deserialize)]
    /// # pub enum LampCommand { Switch }
    /// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
    /// # #[serde(tag = "type", content = "data")]
    /// # pub enum LampEvent { Switched }
    /// # #[aggregate(error = std::convert::Infallible)]
    /// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    /// # pub struct Lamp { on: bool }
    /// # impl Decider for Lamp {
    /// #     fn decide(&self, _: LampCommand) -> Result<Vec<LampEvent>, std::convert::Infallible> { Ok(vec![LampEvent::Switched]) }
    /// #     fn evolve(&mut self, _: &LampEvent) { self.on = !self.on }
    /// # }
    /// use eventfold_es::eventfold::EventReader;
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let (house, tree) = (directory.path().join("house"), directory.path().join("tree"));
    /// let store = AggregateStore::open(&house).await?;
    /// store.send("hall", LampCommand::Switch, ()).await?;
    /// let report = store.export_streams(&tree).await?;
    /// assert_eq!((report.streams, report.events), (1, 1));
    ///
    /// let log = EventReader::new(tree.join("streams/lamp/hall"));
    /// for event in log.read_full()? {
    ///     let (event, _hash) = event?;
    ///     println!("{} {}", event.ts, event.event_type);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn export_streams(&self, to: impl AsRef<Path>) -> Result<ExportReport, ExportError> {
        let to = absolute(to.as_ref())?;
        let span = tracing::info_span!("export_streams", to = %to.display());
        let stop = StopOnDrop::default();
        let shared = Arc::clone(&self.shared);
        let exporting = stop.run("exporting the streams", move |is_stopped| {
            tree::export(
                &shared.files,
                &shared.base,
                &*shared.runtime.journal,
                &to,
                is_stopped,
            )
        });
        let report = exporting.instrument(span.clone()).await?;
        span.in_scope(|| {
            tracing::info!(
                position = report.position,
                streams = report.streams,
                events = report.events,
                bytes = report.bytes,
                "exported"
            );
        });
        Ok(report)
    }
}
