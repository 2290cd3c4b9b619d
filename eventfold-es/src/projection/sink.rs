//! Projections whose state is outside memory: in the rows of the store, or in a database of the user.

use std::error::Error;
use std::time::Duration;

use super::{EventContext, ProjectError, UnknownEvents};
use crate::aggregate::Aggregate;
use crate::event::StoredEvent;
use crate::process_manager::SubscribesTo;

/// The default of [`Sink::timeout`].
pub(crate) const SINK_TIMEOUT: Duration = Duration::from_secs(120);

/// A database that projections write to.
///
/// The store saves the progress of a projection in the same transaction as its rows, so that each event is projected
/// exactly once, through every crash. `Sqlite` and `Postgres` are ready implementations, behind the features of these names.
///
/// All calls block, and happen on a thread of the projection.
///
/// # Calls that do not return
///
/// A call gives a sign of life when it connects, begins a transaction, has projected an event, or commits. After
/// [`timeout`](Self::timeout) without one, the store gives the call up: the database does not answer, or a handler never returns.
/// The health of the store reports it as the failure of the projection. The projection tries again on a new connection.
///
/// - Such a call keeps its thread and its connection until it returns. Then its transaction is rolled back, unless the call was
///   the commit.
/// - A projection with four such calls begins no other until one returns, or
///   [`resume_projection`](crate::AggregateStore::resume_projection) is called.
/// - [`close`](crate::AggregateStore::close) and [`cancel_rebuild`](crate::AggregateStore::cancel_rebuild) give a call up after four
///   seconds.
/// - [`rebuild_projection`](crate::AggregateStore::rebuild_projection) returns an error, and the old state goes on.
///
/// So an earlier call may still be under way when a transaction begins, and in a database of several nodes those of other programs. A
/// transaction has to exclude the others of its projection, by a lock that it takes before it reads the progress. Or its commit fails
/// if the progress has changed.
///
/// # Examples
///
/// A sink that keeps everything in memory, as in a test:
///
/// ```
/// use std::collections::HashMap;
/// use std::convert::Infallible;
/// use std::sync::{Arc, Mutex, PoisonError};
///
/// use eventfold_es::Sink;
///
/// /// Lines of text, and the progress of each projection.
/// #[derive(Clone, Default)]
/// pub struct Lines(Arc<Mutex<(Vec<String>, HashMap<String, String>)>>);
///
/// impl Sink for Lines {
///     type Connection = Self;
///     type Tx<'t> = Vec<String>;
///     type Error = Infallible;
///
///     fn connect(&self) -> Result<Self, Infallible> {
///         Ok(self.clone())
///     }
///
///     fn transact(
///         connection: &mut Self,
///         projection: &str,
///         work: &mut dyn FnMut(&mut Vec<String>, Option<&str>) -> Option<String>,
///     ) -> Result<(), Infallible> {
///         let mut content = connection.0.lock().unwrap_or_else(PoisonError::into_inner);
///         let (lines, progress) = &mut *content;
///         let mut changed = lines.clone();
///         if let Some(next) = work(&mut changed, progress.get(projection).map(String::as_str)) {
///             *lines = changed;
///             progress.insert(projection.to_owned(), next);
///         }
///         Ok(())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a sink",
    label = "not a sink",
    note = "write `sink = Sqlite` or `sink = Postgres`, or implement `Sink` for `{Self}`"
)]
pub trait Sink: Send + Sync + 'static {
    /// A connection to the database. Each projection has its own.
    type Connection: Send + 'static;

    /// A transaction, as the handlers of events receive it.
    type Tx<'t>;

    /// The error of the database.
    type Error: Error + Send + Sync + 'static;

    /// Whether it is in the directory of the store.
    #[doc(hidden)]
    const IS_IN_STORE: bool = false;

    /// The parts of the stored form that the program determines. With other parts, the state is rebuilt. Default: none.
    #[doc(hidden)]
    #[must_use]
    fn layout() -> Vec<String> {
        Vec::new()
    }

    /// The longest time between two signs of life of a call: for one event, for `prepare`, or for a commit. Default: two
    /// minutes.
    fn timeout(&self) -> Duration {
        SINK_TIMEOUT
    }

    /// Connects to the database. After an error of [`transact`](Self::transact) the store connects anew.
    ///
    /// # Errors
    ///
    /// The error of the database. The store tries again, at most every 30 seconds.
    fn connect(&self) -> Result<Self::Connection, Self::Error>;

    /// Begins a transaction, and calls `work` once with the transaction and the saved progress of `projection`.
    ///
    /// If `work` returns a text, it is saved as the progress, and the transaction is committed. With `None`, the transaction
    /// is rolled back. The text is one line of JSON, and is `None` before the first save.
    ///
    /// # Errors
    ///
    /// The error of the database. Nothing of the transaction is stored then, or all of it.
    #[expect(
        clippy::type_complexity,
        reason = "an alias would hide the signature that a sink has to have"
    )]
    fn transact(
        connection: &mut Self::Connection,
        projection: &str,
        work: &mut dyn FnMut(&mut Self::Tx<'_>, Option<&str>) -> Option<String>,
    ) -> Result<(), Self::Error>;

    /// As [`transact`](Self::transact), on the new state that a rebuild makes beside the old one. Readers do not see it.
    ///
    /// With this method, a rebuild is many transactions, each with its progress, and an interrupted rebuild continues after the
    /// last one. The sink has two places for its state: `transact` changes the first, which readers see, and `rebuild` the
    /// second. Each has its own progress. [`RebuildStep`] says how a transaction ends.
    ///
    /// `false`, without a call of `work`, if there is no second place. This is the default. Then a rebuild is one transaction of
    /// [`transact`](Self::transact), and an interrupted rebuild begins again.
    ///
    /// # Errors
    ///
    /// As [`transact`](Self::transact).
    #[expect(
        clippy::type_complexity,
        reason = "an alias would hide the signature that a sink has to have"
    )]
    fn rebuild(
        connection: &mut Self::Connection,
        projection: &str,
        work: &mut dyn FnMut(&mut Self::Tx<'_>, Option<&str>) -> Option<RebuildStep>,
    ) -> Result<bool, Self::Error> {
        let _ = (connection, projection, work);
        Ok(false)
    }

    /// Ends the part of a transaction that [`undo`](Self::undo) takes back, and begins the next part. `false` if there are
    /// no such parts, as by default.
    ///
    /// # Errors
    ///
    /// The error of the database.
    #[doc(hidden)]
    fn mark(tx: &mut Self::Tx<'_>) -> Result<bool, Self::Error> {
        let _ = tx;
        Ok(false)
    }

    /// Takes back the changes since the last [`mark`](Self::mark). `false` if they stay.
    ///
    /// # Errors
    ///
    /// The error of the database.
    #[doc(hidden)]
    fn undo(tx: &mut Self::Tx<'_>) -> Result<bool, Self::Error> {
        let _ = tx;
        Ok(false)
    }

    /// The cause of an error of a handler or of [`transact`](Self::transact). For example, a violated constraint is the fault of
    /// the event, and a full disk that of the database. The default is [`SinkFault::Unknown`].
    fn fault(error: &Self::Error) -> SinkFault {
        let _ = error;
        SinkFault::Unknown
    }
}

/// The end of a transaction of [`Sink::rebuild`], which commits it. With `None` in its place, the transaction is rolled back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RebuildStep {
    /// Saves the text as the progress of the new state.
    Save(String),
    /// The new state replaces the old state, and the text is its progress for [`Sink::transact`]. There is no new state then.
    Exchange(String),
    /// Removes the new state and its progress. The old state stays.
    Discard,
}

/// The cause of an error of a [`Sink`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SinkFault {
    /// The event, if a handler returns the error; the database, if [`Sink::transact`] does.
    #[default]
    Unknown,
    /// The event. The `on_failure` policy decides. If [`Sink::transact`] returns the error for several events, the store finds
    /// the event in smaller transactions.
    Event,
    /// The database, which cannot be used now. The store always tries again.
    Database,
}

/// The action of a projection with rows or with a sink for an event that it cannot project.
///
/// Errors of the connection to a database are always retried, and all others with [`SinkFault::Database`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProjectionFailure {
    /// The event is retried without limit, at first after 50 ms and at most every 30 seconds.
    #[default]
    Retry,
    /// After three attempts, or after one in a rebuild, the event is skipped. Its position and the reason are saved with the progress.
    Skip,
    /// The projection stops before the event, until
    /// [`resume_projection`](crate::AggregateStore::resume_projection) is called or the store is opened again.
    Stop,
}

/// A projection that writes its state to a [`Sink`], and follows the events by itself. `#[projection(.., key = ..)]` and
/// `#[projection(.., sink = ..)]` implement it.
pub trait SinkProjection: Sized + Send + Sync + 'static {
    /// The sink.
    type Sink: Sink;

    /// The stored name of this projection. See [`crate::names`].
    const NAME: &'static str;

    /// The stored names of the aggregate types of the projected events.
    const SUBSCRIPTIONS: &'static [&'static str];

    /// The version of the projection. A projection that was made with another version is rebuilt. Default: 1.
    const VERSION: u32 = 1;

    /// The policy for an event of a newer program. Default: [`UnknownEvents::Stop`], which fails at the event.
    const UNKNOWN_EVENTS: UnknownEvents = UnknownEvents::Stop;

    /// The action for an event that cannot be projected. Default: [`ProjectionFailure::Retry`].
    const ON_FAILURE: ProjectionFailure = ProjectionFailure::Retry;

    /// Empties the state, before the first event.
    ///
    /// # Errors
    ///
    /// The error of the sink.
    fn prepare(tx: &mut <Self::Sink as Sink>::Tx<'_>) -> Result<(), <Self::Sink as Sink>::Error>;

    /// Projects one event of a subscribed stream.
    ///
    /// # Errors
    ///
    /// [`SinkError`], if the event does not decode or the sink refuses it.
    fn apply(
        aggregate_type: &str,
        stream_id: &str,
        event: &StoredEvent<'_>,
        tx: &mut <Self::Sink as Sink>::Tx<'_>,
    ) -> Result<(), SinkError<<Self::Sink as Sink>::Error>>;
}

/// An event that a [`SinkProjection`] cannot project.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError<E> {
    /// The stored event does not decode.
    #[error(transparent)]
    Event(#[from] ProjectError),
    /// The sink, or the handler, refuses it.
    #[error("{0}")]
    Sink(E),
}

/// A type with `#[projection(.., sink = ..)]`, which implements this trait. [`ProjectInto`] and [`Prepare`] require it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a projection into a sink",
    label = "not a projection into a sink",
    note = "put `#[projection(subscribes = [..], sink = Sqlite)]` on `{Self}`; without `sink`, the handlers are `impl Project<..>`"
)]
pub trait DeclaredSink {
    /// The type itself.
    type Declared;

    /// Its sink.
    type Sink: Sink;
}

/// The transaction of a declared projection into a sink.
pub type TxOf<'t, P> = <<P as DeclaredSink>::Sink as Sink>::Tx<'t>;

/// The error of the sink of a declared projection.
pub type SinkErrorOf<P> = <<P as DeclaredSink>::Sink as Sink>::Error;

/// Writes the events of one aggregate to a database, in a transaction that also saves the progress. Written by the user of
/// `#[projection(.., sink = ..)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` subscribes to `{A}` but does not project its events",
    label = "`impl ProjectInto<{A}> for {Self}` is missing",
    note = "write `impl ProjectInto<{A}> for {Self} {{ fn project(event: &.., cx: &EventContext<'_>, tx: &mut ..) -> Result<(), ..> {{ .. }} }}`, or remove `{A}` from `subscribes`"
)]
pub trait ProjectInto<A: Aggregate>: DeclaredSink<Declared: SubscribesTo<A>> {
    /// Writes one event.
    ///
    /// # Errors
    ///
    /// The error of the database. The transaction is rolled back, and the policy of `on_failure` decides.
    fn project(
        event: &<A as Aggregate>::DomainEvent,
        cx: &EventContext<'_>,
        tx: &mut TxOf<'_, Self>,
    ) -> Result<(), SinkErrorOf<Self>>;
}

/// Empties and creates the tables of a projection into a sink. Written by the user of `#[projection(.., sink = ..)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not create its tables",
    label = "`impl Prepare for {Self}` is missing",
    note = "write `impl Prepare for {Self} {{ fn prepare(tx: &mut ..) -> Result<(), ..> {{ .. }} }}`, which removes old tables and creates new ones"
)]
pub trait Prepare: DeclaredSink {
    /// Removes old tables and creates empty tables. It is called when the database has no progress of the projection yet, and
    /// at the begin of each rebuild, in the transaction of the rebuild.
    ///
    /// # Errors
    ///
    /// The error of the database.
    fn prepare(tx: &mut TxOf<'_, Self>) -> Result<(), SinkErrorOf<Self>>;
}
