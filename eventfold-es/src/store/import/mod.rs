//! Importing events from a tree of eventfold logs of another store or another program.

mod check;
mod feed;
mod line;
mod reader;
mod survey;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use tracing::Instrument as _;

use self::check::{Checked, check};
use self::feed::Feed;
use super::AggregateStore;
use super::stop_on_drop::StopOnDrop;
use crate::aggregate::Aggregate;
use crate::disk::{FileError, absolute};
use crate::error::{Damage, StoreError};
use crate::journal::JournalError;
use crate::runtime::{AggregateTypes, refuse_inside_reaction};

/// Options of [`AggregateStore::import_streams`]. By default nothing reacts, every aggregate type is accepted, and new events
/// are stored.
///
/// # Examples
///
/// ```
/// use eventfold_es::store::ImportOptions;
///
/// let options = ImportOptions::default().dry_run();
/// assert!(!options.reacts());
/// assert!(options.with_reactions().reacts());
/// ```
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    reacts: bool,
    is_dry_run: bool,
    declared: Vec<Declared>,
}

#[derive(Debug, Clone, Copy)]
struct Declared {
    name: &'static str,
    declare: fn(&AggregateTypes) -> Result<(), StoreError>,
}

impl ImportOptions {
    /// Lets process managers react to the imported events as to any other event, according to their run mode. They send
    /// the commands of the other store again, so use this only for events without earlier reactions.
    #[must_use]
    pub fn with_reactions(mut self) -> Self {
        self.reacts = true;
        self
    }

    /// Compares and counts, and stores nothing. If it succeeds, an import of the same directory right after it also
    /// succeeds.
    #[must_use]
    pub fn dry_run(mut self) -> Self {
        self.is_dry_run = true;
        self
    }

    /// Expects streams of `A`. The import decodes each event before it stores anything, and refuses streams of other
    /// types. Without a call of this method it accepts every type. It then decodes only events of types that the
    /// program has used since it opened the store.
    #[must_use]
    pub fn with_aggregate<A: Aggregate>(mut self) -> Self {
        self.declared.push(Declared {
            name: A::AGGREGATE_TYPE,
            declare: |types| types.cells::<A>().map(drop),
        });
        self
    }

    /// Whether process managers react to the imported events.
    #[must_use]
    pub fn reacts(&self) -> bool {
        self.reacts
    }

    fn declare(&self, types: &AggregateTypes) -> Result<(), StoreError> {
        let mut declared = self.declared.iter();
        declared.try_for_each(|declared| (declared.declare)(types))
    }

    fn accepts(&self, aggregate_type: &str) -> bool {
        let mut declared = self.declared.iter();
        self.declared.is_empty() || declared.any(|declared| declared.name == aggregate_type)
    }
}

/// The result of [`AggregateStore::import_streams`].
///
/// # JSON
///
/// ```json
/// {"streams":310,"events":1204,"skipped":0,"torn":0,"position":1204}
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ImportReport {
    /// The number of streams that received events.
    pub streams: u64,
    /// The number of imported events.
    pub events: u64,
    /// The number of events that the store already has, or that a log repeats.
    pub skipped: u64,
    /// The number of logs with an ignored last line, which is not a whole event. A program that was killed during a
    /// write leaves such a line.
    pub torn: u64,
    /// The position of the last imported event; `None` if there is none, and after a dry run.
    pub position: Option<u64>,
}

/// An import that failed or was not finished. Unless a variant says otherwise, nothing was imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The directory is the store's, or inside it, or contains it.
    #[error("{} and the store are inside each other; import from a directory of its own", path.display())]
    Overlapping {
        /// The directory.
        path: PathBuf,
    },
    /// The directory has no tree of logs.
    #[error("{} has no directory `streams`; import from the directory that holds `streams/<aggregate type>/<id>/app.jsonl`", path.display())]
    NoStreams {
        /// The directory.
        path: PathBuf,
    },
    /// The directory holds an export that was interrupted.
    #[error("{} holds an export that was interrupted; export again to another directory", path.display())]
    Unfinished {
        /// The directory.
        path: PathBuf,
    },
    /// The directory is a store of this version, whose events are in its journal.
    #[error("{} is a store; open it, and import from a directory that `export_streams` writes", path.display())]
    IsStore {
        /// The directory.
        path: PathBuf,
    },
    /// A directory belongs to no possible stream, or to the stream of another directory.
    #[error("{} is no log of a stream: {reason}", path.display())]
    InvalidStream {
        /// The directory of the log, or the file that names it.
        path: PathBuf,
        /// The mistake.
        reason: String,
    },
    /// A stream of an aggregate type that the [options](ImportOptions::with_aggregate) do not name.
    #[error("{} is of the aggregate type `{aggregate_type}`, which is not expected: add `.with_aggregate::<..>()` for it", path.display())]
    Undeclared {
        /// The stored name of the aggregate type.
        aggregate_type: String,
        /// The log.
        path: PathBuf,
    },
    /// A line of a log is no event, or an archive cannot be decompressed.
    #[error(transparent)]
    Damaged(Damage),
    /// An event that its aggregate type does not decode, or that nests too deeply.
    #[error("the event at byte {offset} of {} cannot be imported: {reason}", path.display())]
    Unusable {
        /// The log, or its archive.
        path: PathBuf,
        /// The beginning of the event there; in an archive, in the decompressed text.
        offset: u64,
        /// The reason.
        reason: String,
    },
    /// A log does not continue its stream in the store. Nothing of this stream was imported, and nothing of any other, unless a
    /// command was executed on the stream during the import.
    #[error(
        "{} does not continue the stream `{instance_id}` of `{aggregate_type}`: at byte {offset}, {reason}",
        path.display()
    )]
    Diverged {
        /// The stored name of the aggregate type.
        aggregate_type: String,
        /// The instance.
        instance_id: String,
        /// The log, or its archive.
        path: PathBuf,
        /// The beginning of the event there that does not fit; in an archive, in the decompressed text.
        offset: u64,
        /// The difference from the store.
        reason: String,
    },
    /// A file cannot be read, or the store could not write. In the latter case a part may have been imported; import
    /// again to continue.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<FileError> for ImportError {
    fn from(error: FileError) -> Self {
        Self::Store(error.into())
    }
}

impl From<JournalError> for ImportError {
    fn from(error: JournalError) -> Self {
        Self::Store(error.into())
    }
}

impl AggregateStore {
    /// Imports the events of a tree of [eventfold](https://docs.rs/eventfold/0.2) logs: an [export](Self::export_streams) of
    /// another store, a directory of eventfold-es 0.2.0, or a tree that another program has written in this form.
    ///
    /// ```text
    /// <directory>/streams/<aggregate type>/<id>/app.jsonl           one event per line: {"type":..,"data":..,"ts":..,"id":..}
    /// <directory>/streams/<aggregate type>/<id>/archive.jsonl.zst   the events before those, if eventfold has archived some
    /// <directory>/meta/streams.jsonl                                {"type","id","dir"} for each directory that is not the id
    /// ```
    ///
    /// - **The import first compares all logs with the store**, and after an error it imports nothing. It then stores
    ///   the events in the order of their times (`ts`), and each log in its own order. Within a second they are in the
    ///   order of their ids, if these are UUIDs of version 7.
    /// - **It skips stored events**, so you can repeat an import, and another call finishes an interrupted import. An
    ///   event with an `id` is the same if the stream has an event with that id. An event without an id is the same if
    ///   the stream has an equal event at the same place.
    /// - **A log has to continue its stream**: no new event may come before an event that the store has. Otherwise it
    ///   is [`ImportError::Diverged`].
    /// - **No process manager reacts to an imported event**, now or later. This includes process managers that are
    ///   registered afterwards, and [`rebuild_state`](crate::ProcessManagerHandle::rebuild_state). The stored line has
    ///   `"imported":true`. With [`with_reactions`](ImportOptions::with_reactions), process managers react as to any
    ///   other event. Projections get all events.
    /// - It imports idempotency keys: a command that the other store has executed gets its answer from there.
    ///
    /// Each event keeps its bytes. Types and ids need no declaration, but an event that its aggregate cannot decode can
    /// never be removed. To decode each event before the import, name the aggregates with
    /// [`with_aggregate`](ImportOptions::with_aggregate).
    ///
    /// Do not use a stream during its import: a command on it may fail with [`StoreError::Conflict`], or end the
    /// import. Memory holds about 64 MiB of events, the events of one stream during its comparison, and some bytes per
    /// stream.
    ///
    /// # Errors
    ///
    /// [`ImportError`], which names the file.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the import after some event. Call it again to continue.
    ///
    /// # Examples
    ///
    /// Moving the data of another program:
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
    /// use eventfold_es::store::ImportOptions;
    /// use eventfold_es::eventfold::{Event, EventWriter};
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let (house, tree) = (directory.path().join("house"), directory.path().join("tree"));
    /// let mut log = EventWriter::open(tree.join("streams/lamp/hall"))?;
    /// log.append(&Event::new("Switched", serde_json::Value::Null).with_id("lamp-log-1"))?;
    /// drop(log);
    ///
    /// let store = AggregateStore::open(&house).await?;
    /// let options = ImportOptions::default().with_aggregate::<Lamp>();
    /// let report = store.import_streams(&tree, options.clone()).await?;
    /// assert_eq!((report.events, report.skipped), (1, 0));
    /// assert!(store.get::<Lamp>("hall").await?.state().await?.on);
    ///
    /// let again = store.import_streams(&tree, options).await?;
    /// assert_eq!((again.events, again.skipped), (0, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn import_streams(
        &self,
        from: impl AsRef<Path>,
        options: ImportOptions,
    ) -> Result<ImportReport, ImportError> {
        let from = absolute(from.as_ref())?;
        let span = tracing::info_span!("import_streams", from = %from.display());
        let importing = self.import_in_span(from, options);
        let report = importing.instrument(span.clone()).await?;
        span.in_scope(|| {
            tracing::info!(
                streams = report.streams,
                events = report.events,
                skipped = report.skipped,
                torn = report.torn,
                position = report.position,
                "imported"
            );
        });
        Ok(report)
    }

    async fn import_in_span(
        &self,
        from: PathBuf,
        options: ImportOptions,
    ) -> Result<ImportReport, ImportError> {
        refuse_inside_reaction()?;
        let runtime = Arc::clone(&self.shared.runtime);
        if let Some(reason) = runtime.journal.read_only() {
            return Err(StoreError::ReadOnly { reason }.into());
        }
        let (is_dry_run, is_marked) = (options.is_dry_run, !options.reacts);
        let term = match is_dry_run {
            true => None,
            false => Some(runtime.leadership.term().await?),
        };
        let stop = StopOnDrop::default();
        let shared = Arc::clone(&self.shared);
        let checked = stop.run("comparing logs with the store", move |is_stopped| {
            let (files, base) = (&shared.files, &shared.base);
            check(files, &shared.runtime, base, &from, &options, is_stopped)
        });
        let Checked { plans, mut report } = checked.await?;
        let Some(term) = term.filter(|_| !plans.is_empty()) else {
            return Ok(report);
        };
        let feed = Feed::new(self.shared.files.clone(), plans, is_marked, term);
        // The task continues without the caller until submitted events are durable and their aggregates are read again.
        let feeding = feed
            .run(runtime, report.events, stop.flag())
            .in_current_span();
        let fed = tokio::spawn(feeding).await;
        report.position = fed.map_err(|_| StoreError::RuntimeGone)??;
        Ok(report)
    }
}
