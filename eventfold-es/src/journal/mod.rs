//! The journal: the total order of all accepted commits, and the data that is derived from it.
//!
//! The modules above know only five small traits. The modules with files, offsets and batches are private, so that no module
//! outside can name them.

mod adoption;
mod answer;
mod audience;
mod backup;
mod block_cache;
mod damage;
mod directory;
mod durability;
mod event_chunk;
mod extent;
mod followers;
mod index;
mod inherited;
pub(crate) mod keyed;
#[cfg_attr(eventfold_memory_journal, allow(dead_code, unused_imports))]
mod local;
mod log;
mod maintenance;
#[cfg(any(test, eventfold_memory_journal))]
mod memory;
mod opening;
mod outcome;
mod past_reactions;
mod proposed;
mod recorded;
mod recorded_lines;
mod recovery_report;
mod redb_file;
mod row_store;
mod rows;
mod saved_projection;
mod saved_value;
mod segments;
mod snapshot;
mod snapshots;
mod standing;
mod stream_end;
mod stream_id;
mod stream_part;
mod stream_piece;
mod stream_reader;
mod streams;
mod varint;

pub use adoption::{AdoptedCheckpoint, AdoptionReport, QuarantinedStream, TornTail};
pub(crate) use answer::{Answer, KeyLookup};
pub(crate) use audience::{Audience, EarlyCommits, Seat, Waited};
pub use backup::{BackupError, BackupReport};
pub use damage::Damage;
pub(crate) use damage::JournalError;
pub(crate) use directory::Directory;
pub use durability::Durability;
pub(crate) use event_chunk::{EventChunk, EventPlace};
use extent::Extent;
pub(crate) use followers::{Followers, Types, Waiting};
pub(crate) use inherited::{Inherited, SeenBefore};
pub(crate) use keyed::KeyedLines;
pub(crate) use local::has_journal;
pub(crate) use log::{Cursor, Log, OnApplied, TextPlace};
pub(crate) use maintenance::{CheckState, Maintenance, StateChecked, Verified, Vitals};
pub(crate) use opening::{JournalOptions, OpenedJournal, open};
pub(crate) use outcome::{CommitError, Outcome, Receipt, Spent};
pub(crate) use past_reactions::{PastReaction, PastReactions};
pub(crate) use proposed::{OnDurable, ProposedAppend, ProposedCommit, ProposedReaction};
pub(crate) use recorded::{CommittedEvent, RecordedAppend, RecordedCommit};
pub(crate) use recorded_lines::RecordedLines;
pub use recovery_report::{IncompleteBatch, RecoveryReport};
pub(crate) use redb_file::{RedbFile, RedbOptions, sealed, sealed_with, unsealed};
pub(crate) use row_store::{Progress, RowStore, StoredLines};
pub(crate) use rows::{Row, RowChange, RowRange};
pub(crate) use saved_projection::{SavedProjection, SkippedEvent};
pub(crate) use saved_value::SavedValue;
pub(crate) use snapshot::Snapshot;
pub(crate) use snapshots::Snapshots;
pub(crate) use standing::{Changed, Room, Standing, Term};
pub(crate) use stream_end::{CommitPlace, StreamEnd};
pub(crate) use stream_id::{StreamId, StreamRef};
pub(crate) use stream_part::StreamPart;
pub(crate) use stream_piece::StreamPiece;
pub(crate) use stream_reader::{FindEvents, StreamReader};
pub(crate) use streams::Streams;

/// The storage of one store. Code takes the narrowest of its parts that suffices.
pub(crate) trait Journal: Log + Streams + RowStore + Snapshots + Maintenance {}
