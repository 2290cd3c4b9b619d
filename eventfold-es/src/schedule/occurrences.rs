//! The state of a schedule, and its decision.

use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::occurrence::Occurrence;
use crate::schema::{Field, Shape};

/// The recorded occurrences of a schedule: the state of its aggregate.
///
/// `#[schedule]` stores it in the type that it is on. A hand-written [`Schedule`](crate::Schedule) has it as a field, and delegates its
/// [`Aggregate`](crate::Aggregate) to [`decide`](Self::decide) and [`evolve`](Self::evolve).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occurrences {
    #[serde(with = "super::rfc_3339::optional")]
    last: Option<Timestamp>,
}

/// The command of a schedule: some occurrences are due. The store gives it to the aggregate when their time has come.
///
/// A program gives it for an occurrence that is not in the timetable:
///
/// ```
/// # use std::time::SystemTime;
/// # use eventfold_es::prelude::*;
/// # use eventfold_es::contract::Due;
/// # #[schedule(cron = "0 2 * * *")]
/// # struct Nightly;
/// # #[tokio::main]
/// # async fn main() -> Result<(), eventfold_es::Error> {
/// # let directory = tempfile::tempdir().unwrap();
/// let store = AggregateStore::builder(directory.path()).schedule::<Nightly>().open().await?;
/// let nightly = store.get::<Nightly>("nightly").await?;
/// let now = Occurrence::at(SystemTime::now());
/// let done = nightly.execute(Due::from(now.clone()), ()).await?;
/// assert_eq!(done.events, [now]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    occurrences: Vec<Occurrence>,
}

impl From<Occurrence> for Due {
    fn from(occurrence: Occurrence) -> Self {
        Self::from(vec![occurrence])
    }
}

impl From<Vec<Occurrence>> for Due {
    /// Several occurrences, which become one commit.
    fn from(occurrences: Vec<Occurrence>) -> Self {
        Self { occurrences }
    }
}

/// The rejection of an occurrence that is not after the last recorded occurrence. Nothing is recorded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the occurrence of {due} is not after {last}, the last recorded occurrence")]
pub struct NotDue {
    due: Timestamp,
    last: Timestamp,
}

impl NotDue {
    /// The time of the last recorded occurrence.
    #[must_use]
    pub fn last(&self) -> SystemTime {
        self.last.into()
    }
}

impl Occurrences {
    /// Its stored shape.
    pub const SHAPE: Shape = Shape::Struct(&[Field::new("last", "Option<String>")]);

    /// The time of the last recorded occurrence; `None` before the first.
    #[must_use]
    pub fn last(&self) -> Option<SystemTime> {
        self.last.map(SystemTime::from)
    }

    /// Records occurrences: those of the command, each of which is after the occurrence before it.
    ///
    /// # Errors
    ///
    /// [`NotDue`] for an occurrence that is not, so that no occurrence is recorded twice.
    pub fn decide(&self, command: Due) -> Result<Vec<Occurrence>, NotDue> {
        let mut before = self.last;
        for occurrence in &command.occurrences {
            let due = occurrence.timestamp();
            if let Some(last) = before.filter(|last| due <= *last) {
                return Err(NotDue { due, last });
            }
            before = Some(due);
        }
        Ok(command.occurrences)
    }

    /// Notes a recorded occurrence.
    pub fn evolve(&mut self, event: &Occurrence) {
        self.last = self.last.max(Some(event.timestamp()));
    }
}
