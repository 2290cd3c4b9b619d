//! A registered schedule, without its type.

use std::any::{TypeId, type_name};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use crate::error::{ExecuteError, OpenError, StoreError};
use crate::runtime::{Runtime, guard};
use crate::schedule::{Due, Occurrence, Schedule, Timetable, TimetableError};
use crate::store::handle::Target;

/// A schedule of a builder.
pub(in crate::store) struct SchedulePart {
    pub(in crate::store) name: &'static str,
    pub(in crate::store) type_id: TypeId,
    pub(in crate::store) type_name: &'static str,
    pub(in crate::store) calls: Calls,
    timetable: Source,
}

/// The origin of a timetable.
enum Source {
    /// The schedule itself.
    Declared(fn() -> Result<Timetable, TimetableError>),
    /// The builder.
    Given(Timetable),
}

type Called<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// The calls of the aggregate.
#[derive(Clone, Copy)]
pub(in crate::store) struct Calls {
    /// The time of the last recorded occurrence.
    pub(super) last: fn(Arc<Runtime>) -> Called<Option<SystemTime>>,
    pub(super) record: fn(Arc<Runtime>, Vec<Occurrence>) -> Called<Answer>,
}

/// The answer of the aggregate.
pub(super) enum Answer {
    Recorded,
    /// An occurrence of this time is recorded, which is not earlier.
    NotDue(SystemTime),
}

impl SchedulePart {
    pub(in crate::store) fn of<S: Schedule>(given: Option<Timetable>) -> Self {
        Self {
            name: S::AGGREGATE_TYPE,
            type_id: TypeId::of::<S>(),
            type_name: type_name::<S>(),
            calls: Calls {
                last: |runtime| Box::pin(last::<S>(runtime)),
                record: |runtime, occurrences| Box::pin(record::<S>(runtime, occurrences)),
            },
            timetable: given.map_or(Source::Declared(S::timetable), Source::Given),
        }
    }

    pub(in crate::store) fn timetable(&self) -> Result<Timetable, OpenError> {
        let timetable = match &self.timetable {
            Source::Given(timetable) => Ok(timetable.clone()),
            Source::Declared(timetable) => {
                guard(|| format!("the timetable of `{}`", self.name), timetable)?
            }
        };
        timetable.map_err(|source| OpenError::Timetable {
            name: self.name,
            source,
        })
    }
}

async fn last<S: Schedule>(runtime: Arc<Runtime>) -> Result<Option<SystemTime>, StoreError> {
    let cells = runtime.types.cells::<S>()?;
    let id = Arc::from(S::AGGREGATE_TYPE);
    let target = Target::new(&runtime, &cells, &id);
    let schedule = target.load().await?.state;
    let what = || format!("the occurrences of `{}`", S::AGGREGATE_TYPE);
    guard(what, || schedule.occurrences().last())
}

async fn record<S: Schedule>(
    runtime: Arc<Runtime>,
    occurrences: Vec<Occurrence>,
) -> Result<Answer, StoreError> {
    let cells = runtime.types.cells::<S>()?;
    let id = Arc::from(S::AGGREGATE_TYPE);
    let target = Target::new(&runtime, &cells, &id);
    match target.execute_unawaited(Due::from(occurrences)).await {
        Ok(()) => Ok(Answer::Recorded),
        Err(ExecuteError::Domain(refused)) => Ok(Answer::NotDue(refused.last())),
        Err(ExecuteError::Conflict { expected, actual }) => {
            Err(StoreError::Conflict { expected, actual })
        }
        Err(ExecuteError::KeyReused { key }) => Err(StoreError::KeyReused { key }),
        Err(ExecuteError::OutcomeUnknown { reason }) => Err(StoreError::OutcomeUnknown { reason }),
        Err(ExecuteError::NotLeader { leader }) => Err(StoreError::NotLeader { leader }),
        Err(ExecuteError::Unavailable { reason }) => Err(StoreError::Unavailable { reason }),
        Err(ExecuteError::Store(error)) => Err(error),
    }
}
