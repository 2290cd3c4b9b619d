//! Schedules: recurring work, as aggregates whose events are their occurrences.

mod cron;
mod due;
mod occurrence;
mod occurrences;
mod rfc_3339;
mod timetable;

use std::time::SystemTime;

use jiff::Timestamp;

pub(crate) use due::{DueOccurrences, Portion};
pub use occurrence::Occurrence;
pub use occurrences::{Due, NotDue, Occurrences};
pub use timetable::{Missed, Timetable, TimetableError};

use crate::aggregate::Aggregate;

/// Recurring work: an aggregate whose events are its occurrences, by a [`Timetable`].
///
/// [`#[schedule]`](macro@crate::schedule) implements it. Process managers, event handlers and projections subscribe to it as to any other
/// aggregate. Its only stream has the id [`AGGREGATE_TYPE`](Aggregate::AGGREGATE_TYPE).
///
/// # Contract
///
/// - Each occurrence is recorded once, at its time or later, through restarts and crashes. [`Occurrences::decide`] refuses an occurrence that
///   is not after the last recorded occurrence.
/// - A schedule that is new to a store starts when the store is first opened with it. This time is durable when `open` returns. Earlier
///   occurrences do not exist. A stream that another store has recorded continues behind its last occurrence.
/// - The times of occurrences are those of the clock of the store, which [never goes back](crate::Deciding::now).
/// - Occurrences that became due while the store did not look at its clock are recorded as [`Missed`] says.
/// - Another timetable is effective from the last recorded occurrence on. So with [`Missed::All`], its occurrences since then are missed.
///
/// # Examples
///
/// A hand-written schedule, with a timetable from the environment:
///
/// ```
/// use eventfold_es::contract::{Due, NotDue, Occurrences};
/// use eventfold_es::prelude::*;
///
/// #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// struct Backup { occurrences: Occurrences }
///
/// impl Aggregate for Backup {
///     const AGGREGATE_TYPE: &'static str = "backup";
///     type Command = Due;
///     type DomainEvent = Occurrence;
///     type Error = NotDue;
///
///     fn handle(&self, due: Due) -> Result<Vec<Occurrence>, NotDue> {
///         self.occurrences.decide(due)
///     }
///
///     fn apply(mut self, event: &Occurrence) -> Self {
///         self.occurrences.evolve(event);
///         self
///     }
/// }
///
/// impl Schedule for Backup {
///     fn timetable() -> Result<Timetable, TimetableError> {
///         let cron = std::env::var("BACKUP_CRON").unwrap_or_else(|_| "0 3 * * SUN".to_owned());
///         Timetable::new(&cron)
///     }
///
///     fn occurrences(&self) -> &Occurrences {
///         &self.occurrences
///     }
/// }
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), eventfold_es::Error> {
/// # let directory = tempfile::tempdir().unwrap();
/// let store = AggregateStore::builder(directory.path()).schedule::<Backup>().open().await?;
/// assert_eq!(store.schedules()[0].cron, "0 3 * * SUN");
/// # Ok(())
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a schedule",
    label = "not a schedule",
    note = "put `#[schedule(cron = \"0 2 * * *\", time_zone = \"Europe/Berlin\")]` on `{Self}`, or implement `Schedule` by hand"
)]
pub trait Schedule: Aggregate<Command = Due, DomainEvent = Occurrence, Error = NotDue> {
    /// Its timetable. It is asked once, when the store is opened, unless the builder is given
    /// [another](crate::AggregateStoreBuilder::schedule_with).
    ///
    /// # Errors
    ///
    /// An expression or a time zone that has no meaning. The store is then not opened
    /// ([`OpenError::Timetable`](crate::OpenError::Timetable)).
    fn timetable() -> Result<Timetable, TimetableError>;

    /// Its recorded occurrences.
    fn occurrences(&self) -> &Occurrences;
}

/// A time as jiff has it. A time outside of its years is moved to the next of them.
pub(crate) fn instant(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or(match time < SystemTime::UNIX_EPOCH {
        true => Timestamp::MIN,
        false => Timestamp::MAX,
    })
}
