//! The configuration of a store.

mod awaits;
mod nodes;
mod opening;
mod parts;
#[cfg(feature = "schedules")]
mod schedules;
mod starting_points;
mod terms;

use std::any::{TypeId, type_name};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use awaits::{Awaits, Given};
use nodes::NodeSettings;
use parts::{ProcessManagerPart, ProjectionPart, Sinks, Targets, given};
#[cfg(feature = "schedules")]
pub(super) use schedules::started;

use super::RunMode;
#[cfg(feature = "schedules")]
use super::timekeeper::SchedulePart;
use crate::clock::{Clock, GuardedClock, SystemClock};
use crate::disk::{Disk, SystemDisk};
use crate::envelope::{Dispatch, DispatchTarget, TargetVisitor};
use crate::event_handler::{EventHandler, Handled};
use crate::journal::{Durability, JournalOptions};
use crate::process_manager::{ProcessManager, StartFrom};
use crate::projection::{Projection, ReadModel, RowProjection, Sink, SinkProjection};
use crate::runtime::{Definition, Kept, Waits, guard};
#[cfg(feature = "schedules")]
use crate::schedule::{Schedule, Timetable};
use crate::threads::StoreRuntime;

const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
const DEFAULT_MAX_LOG_SIZE: u64 = 64 << 20;
const DEFAULT_SNAPSHOT_EVERY: u64 = 100;
const DEFAULT_MAX_REACTION_DEPTH: u32 = 64;
const DEFAULT_MAX_STARTS: u32 = 5;
const DEFAULT_HANDLER_PATIENCE: Duration = Duration::from_secs(10);
const DEFAULT_REACTION_TIMEOUT: Duration = Duration::from_secs(30);
const DEFAULT_LEADER_PATIENCE: Duration = Duration::from_secs(5);
const DEFAULT_OUTCOME_PATIENCE: Duration = Duration::from_secs(10);

/// Configures a store and opens it.
///
/// # Examples
///
/// ```no_run
/// use eventfold_es::{AggregateStore, RunMode};
///
/// # async fn example() -> Result<(), eventfold_es::Error> {
/// let store = AggregateStore::builder("data")
///     // .process_manager::<ReservationSaga>()
///     // .projection::<Sales>()
///     .run_mode(RunMode::Background)
///     .open()
///     .await?;
/// # Ok(())
/// # }
/// ```
///
/// `Handlers` is `()`, except for a declared store with `event_handlers` until they are given: see [`Awaits`].
#[must_use = "a builder does nothing before `open`"]
pub struct AggregateStoreBuilder<Handlers = ()> {
    pub(super) base: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    process_managers: Vec<ProcessManagerPart>,
    projections: Vec<ProjectionPart>,
    sinks: Sinks,
    #[cfg(feature = "schedules")]
    schedules: Vec<SchedulePart>,
    targets: Targets,
    idle_timeout: Duration,
    snapshot_every: u64,
    run_mode: RunMode,
    handler_patience: Duration,
    reaction_timeout: Duration,
    waits: Waits,
    max_reaction_depth: u32,
    max_starts: u32,
    parks_unreadable: bool,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) journal: JournalOptions,
    node: NodeSettings,
    pub(super) threads: StoreRuntime,
    handlers: PhantomData<fn() -> Handlers>,
}

impl<Handlers> std::fmt::Debug for AggregateStoreBuilder<Handlers> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let process_managers: Vec<_> = self.process_managers.iter().map(|part| part.name).collect();
        let projections: Vec<_> = self.projections.iter().map(|part| part.name).collect();
        f.debug_struct("AggregateStoreBuilder")
            .field("base", &self.base)
            .field("process_managers", &process_managers)
            .field("projections", &projections)
            .field("idle_timeout", &self.idle_timeout)
            .field("snapshot_every", &self.snapshot_every)
            .field("run_mode", &self.run_mode)
            .finish_non_exhaustive()
    }
}

impl AggregateStoreBuilder {
    pub(super) fn new(base: &Path) -> Self {
        Self {
            base: base.to_owned(),
            disk: Arc::new(SystemDisk),
            process_managers: Vec::new(),
            projections: Vec::new(),
            sinks: Sinks::default(),
            #[cfg(feature = "schedules")]
            schedules: Vec::new(),
            targets: Targets::default(),
            idle_timeout: DEFAULT_IDLE_TIMEOUT,
            snapshot_every: DEFAULT_SNAPSHOT_EVERY,
            run_mode: RunMode::default(),
            handler_patience: DEFAULT_HANDLER_PATIENCE,
            reaction_timeout: DEFAULT_REACTION_TIMEOUT,
            waits: Waits {
                leader: DEFAULT_LEADER_PATIENCE,
                outcome: DEFAULT_OUTCOME_PATIENCE,
            },
            max_reaction_depth: DEFAULT_MAX_REACTION_DEPTH,
            max_starts: DEFAULT_MAX_STARTS,
            parks_unreadable: false,
            clock: Arc::new(SystemClock),
            journal: JournalOptions {
                max_log_size: DEFAULT_MAX_LOG_SIZE,
                durability: Durability::default(),
                rebuild: false,
            },
            node: NodeSettings::default(),
            threads: StoreRuntime::new(),
            handlers: PhantomData,
        }
    }
}

impl<Handlers> AggregateStoreBuilder<Handlers> {
    /// Registers a process manager, and the targets that it knows at compile time.
    ///
    /// A process manager that is new in this directory starts from the first event. Its starting point is durable when
    /// [`open`](Self::open) returns. A process manager that is no longer registered keeps its progress.
    pub fn process_manager<PM: ProcessManager>(mut self) -> Self {
        if self
            .process_managers
            .iter()
            .any(|part| part.type_id == TypeId::of::<PM>())
        {
            return self;
        }
        PM::Envelope::targets(&mut self.targets);
        self.process_managers.push(ProcessManagerPart {
            name: PM::NAME,
            type_id: TypeId::of::<PM>(),
            type_name: type_name::<PM>(),
            subscriptions: || {
                let subscriptions = guard(
                    || format!("the default of `{}`", PM::NAME),
                    || Kept::<PM>::default().subscriptions(),
                );
                given::<PM>(PM::NAME, PM::SUBSCRIPTIONS, subscriptions?)
            },
            definition: Definition::of::<PM>(),
            starts_now: PM::START == StartFrom::Now,
            handler: None,
        });
        self
    }
}

impl AggregateStoreBuilder {
    /// Registers an [event handler](EventHandler): a value with the resources that it calls, such as an HTTP client. It also
    /// registers the targets that the handler knows at compile time.
    ///
    /// A second value of the same type replaces the first. A handler that is new in this directory starts at
    /// [`EventHandler::START`]. Commands do not wait for handlers, in any [`RunMode`].
    ///
    /// # Examples
    ///
    /// A handler for the events of the aggregate type `order`:
    ///
    /// ```
    /// use eventfold_es::{AggregateStore, CommandEnvelope, EventHandler, HandleError, Handling};
    ///
    /// struct Printer { prefix: String }
    ///
    /// impl EventHandler for Printer {
    ///     const NAME: &'static str = "printer";
    ///     const SUBSCRIPTIONS: &'static [&'static str] = &["order"];
    ///     type Envelope = CommandEnvelope;
    ///
    ///     async fn handle_event(&self, cx: &mut Handling<'_, Self>) -> Result<(), HandleError> {
    ///         println!("{} {}", self.prefix, cx.event().event_type);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), eventfold_es::Error> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// let printer = Printer { prefix: "order:".to_owned() };
    /// let store = AggregateStore::builder(directory.path()).event_handler(printer).open().await?;
    /// let status = store.event_handler::<Printer>()?.status().await?;
    /// assert!(!status.is_paused);
    /// # Ok(())
    /// # }
    /// ```
    pub fn event_handler<H: EventHandler>(mut self, handler: H) -> Self {
        H::Envelope::targets(&mut self.targets);
        let part = ProcessManagerPart {
            name: H::NAME,
            type_id: TypeId::of::<Handled<H>>(),
            type_name: type_name::<H>(),
            subscriptions: || Ok(H::SUBSCRIPTIONS),
            definition: Definition::of::<Handled<H>>(),
            starts_now: H::START == StartFrom::Now,
            handler: Some(Arc::new(Kept::new(handler))),
        };
        let mut parts = self.process_managers.iter_mut();
        match parts.find(|known| known.type_id == part.type_id) {
            Some(known) => *known = part,
            None => self.process_managers.push(part),
        }
        self
    }
}

impl<Handlers> AggregateStoreBuilder<Handlers> {
    /// Registers a projection of any kind: a value in memory, rows (`key = ..`) or a database (`sink = ..`).
    pub fn projection<P: ReadModel>(self) -> Self {
        P::register(self.awaiting()).awaiting()
    }

    /// Registers a projection that is a value in memory.
    #[doc(hidden)]
    pub fn folded_projection<P: Projection>(self) -> Self {
        self.projection_part(ProjectionPart::folded::<P>())
    }

    /// Registers a projection with rows.
    #[doc(hidden)]
    pub fn row_projection<P: RowProjection>(self) -> Self {
        self.projection_part(ProjectionPart::rows::<P>())
    }

    /// Registers a projection into a database.
    #[doc(hidden)]
    pub fn sink_projection<P: SinkProjection>(self) -> Self {
        self.projection_part(ProjectionPart::sink::<P>())
    }

    fn projection_part(mut self, part: ProjectionPart) -> Self {
        let mut parts = self.projections.iter();
        if !parts.any(|known| known.type_id == part.type_id) {
            self.projections.push(part);
        }
        self
    }

    /// Registers a [schedule](Schedule), whose occurrences the store then records when they are due.
    ///
    /// A schedule that is new in this directory starts when it is opened; this time is durable when [`open`](Self::open) returns. While
    /// a schedule is not registered, its occurrences are [missed](crate::Missed).
    ///
    /// In [`RunMode::Inline`] and [`RunMode::Background`] a task of the store sleeps until the next occurrence, on the
    /// [clock](Self::clock) of the store. In [`RunMode::OnDemand`] the occurrences are recorded when
    /// [`run_process_managers`](crate::AggregateStore::run_process_managers) is called. No command waits for an occurrence.
    ///
    /// # Examples
    ///
    /// ```
    /// use eventfold_es::prelude::*;
    ///
    /// /// Two in the morning in Berlin.
    /// #[schedule(cron = "0 2 * * *", time_zone = "Europe/Berlin")]
    /// struct Nightly;
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), eventfold_es::Error> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// let store = AggregateStore::builder(directory.path()).schedule::<Nightly>().open().await?;
    /// let status = &store.schedules()[0];
    /// assert_eq!((status.name.as_str(), status.last), ("nightly", None));
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "schedules")]
    pub fn schedule<S: Schedule>(self) -> Self {
        let is_known = self
            .schedules
            .iter()
            .any(|part| part.type_id == TypeId::of::<S>());
        match is_known {
            true => self,
            false => self.schedule_part(SchedulePart::of::<S>(None)),
        }
    }

    /// Registers a schedule with a timetable from a configuration, in place of its own. It may be registered before.
    ///
    /// # Examples
    ///
    /// ```
    /// use eventfold_es::Timetable;
    /// use eventfold_es::prelude::*;
    ///
    /// #[schedule(cron = "0 2 * * *", time_zone = "Europe/Berlin")]
    /// struct Nightly;
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), eventfold_es::Error> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// let configured = Timetable::new("30 4 * * *")?.in_time_zone("America/New_York")?;
    /// let store = AggregateStore::builder(directory.path())
    ///     .schedule_with::<Nightly>(configured)
    ///     .open()
    ///     .await?;
    /// assert_eq!(store.schedules()[0].cron, "30 4 * * *");
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "schedules")]
    pub fn schedule_with<S: Schedule>(self, timetable: Timetable) -> Self {
        self.schedule_part(SchedulePart::of::<S>(Some(timetable)))
    }

    #[cfg(feature = "schedules")]
    fn schedule_part(mut self, part: SchedulePart) -> Self {
        let mut parts = self.schedules.iter_mut();
        match parts.find(|known| known.type_id == part.type_id) {
            Some(known) => *known = part,
            None => self.schedules.push(part),
        }
        self
    }

    /// The database of the projections with `sink = S`. A second database of the same type replaces the first: for two
    /// databases of one kind, wrap one of them in a type of your own that implements [`Sink`].
    pub fn sink<S: Sink>(mut self, sink: S) -> Self {
        self.sinks.insert(sink);
        self
    }

    /// Registers an aggregate type as a target of commands as JSON: erased envelopes
    /// ([`CommandEnvelope`](crate::CommandEnvelope)), which name it by its stored name, and commands that other nodes
    /// [forward](Self::replicated). The aggregates of `#[event_store]`, and the targets of macro-declared process managers, need no
    /// registration.
    pub fn aggregate_type<A: DispatchTarget>(mut self) -> Self {
        self.targets.target::<A>();
        self
    }

    /// The time that an aggregate stays in memory after its last use. Default: five minutes.
    ///
    /// Handles stay usable: an evicted aggregate is loaded again from its [snapshot](Self::snapshot_every) and its stream.
    /// Eviction takes a snapshot first if that is worthwhile.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// The time that closing waits for running calls of event handlers. Default: 10 seconds.
    ///
    /// No call begins meanwhile. Then the remaining calls are dropped, and made again at the next start, with the same
    /// [`idempotency_key`](crate::Handling::idempotency_key).
    pub fn handler_patience(mut self, patience: Duration) -> Self {
        self.handler_patience = patience;
        self
    }

    /// The number of events of a stream between two snapshots of its aggregate. Default: 100. The store takes them in
    /// the background. At 0 it neither takes nor uses snapshots.
    ///
    /// A snapshot is also taken when an aggregate leaves memory with 16 or more unsaved events (or `events`, if that is less).
    /// Loading then folds only the events behind the snapshot. Snapshots are derived: a snapshot that does not fit its stream
    /// is ignored, and all of them may be deleted while the store is closed. After a change of the fold, raise
    /// [`Aggregate::SNAPSHOT_VERSION`](crate::Aggregate::SNAPSHOT_VERSION).
    ///
    /// Before the first, second, fourth, eighth and so on snapshot of a type, the store folds the stream twice. It writes and
    /// reads back one of the two states on the way. If they differ, the type has no snapshots until the store is
    /// closed, and a warning names the difference. A type with fields that are [not saved](crate::Aggregate::NOT_SAVED) has no
    /// snapshots at all.
    ///
    /// A small number costs a copy and a write of the whole state that often. A large number makes a load read that many
    /// events, most of them from different places of the journal.
    pub fn snapshot_every(mut self, events: u64) -> Self {
        self.snapshot_every = events;
        self
    }

    /// The mode in which process managers run. Default: [`RunMode::Inline`].
    pub fn run_mode(mut self, mode: RunMode) -> Self {
        self.run_mode = mode;
        self
    }

    /// The time that a command, or a call of an operator, waits for reactions in [`RunMode::Inline`]. After it the outcome is
    /// [`Reactions::TimedOut`](crate::Reactions::TimedOut). Default: 30 seconds.
    pub fn reaction_timeout(mut self, timeout: Duration) -> Self {
        self.reaction_timeout = timeout;
        self
    }

    /// The longest chain of reactions, each caused by an event of the previous reaction. Default: 64.
    ///
    /// The commands of a reaction beyond it become dead letters, whose reason names the process managers of the chain. So two
    /// process managers that answer each other are stopped. A deadline that is armed for a second later or more begins a new
    /// chain. At 0, every command of a process manager becomes a dead letter.
    pub fn max_reaction_depth(mut self, reactions: u32) -> Self {
        self.max_reaction_depth = reactions;
        self
    }

    /// The number of program starts that an event or a deadline may end, for example by an abort, before it is
    /// [parked](crate::FailureCause::Aborted). Default: 5; 0 for no limit.
    ///
    /// Starts count from the first start that finds no progress since the start before, so a few more happen. From then on each
    /// reaction is noted durably before it begins, until the waiting work is done. A note takes two syncs of the disk;
    /// otherwise there is no cost. A program that is killed from outside again and again in the middle of one reaction looks
    /// the same.
    pub fn max_starts(mut self, starts: u32) -> Self {
        self.max_starts = starts;
        self
    }

    /// Whether the store opens although the state of a process manager without `key` cannot be read: it does not decode, or is
    /// older and is not migrated. Default: `false`, which refuses to open
    /// ([`OpenError::ProcessManagerState`](crate::OpenError::ProcessManagerState)), so that a program that can read it
    /// continues.
    ///
    /// With `true` that process manager is parked as a whole, with a reason ([`status`](crate::ProcessManagerHandle::status)).
    /// Its stored state stays as it is, and everything else runs. [`rebuild_state`](crate::ProcessManagerHandle::rebuild_state)
    /// makes the state again from the history, and lets it continue. Until then it can only be paused and resumed, and its dead
    /// letters discarded. With `key` nothing changes: an instance with an unreadable state is parked. A state of a newer
    /// program keeps the store from opening in any case.
    pub fn park_unreadable_states(mut self, is_parked: bool) -> Self {
        self.parks_unreadable = is_parked;
        self
    }

    /// The condition under which a command counts as stored. Default: [`Durability::Sync`].
    pub fn durability(mut self, durability: Durability) -> Self {
        self.journal.durability = durability;
        self
    }

    /// The size in bytes above which the active file of the journal moves its older lines to an archive; 0 for never. Default:
    /// 64 MiB. The archive is the files `meta/journal/*.zst`, each of which is written once.
    ///
    /// Archiving happens in the background, at checkpoints, so the file may grow somewhat larger. Every reader sees the whole
    /// history, archived or not.
    pub fn max_log_size(mut self, bytes: u64) -> Self {
        self.journal.max_log_size = bytes;
        self
    }

    /// The clock of the store. It gives the times of commits and events, the deadlines and retries of process managers, and
    /// [`Deciding::now`](crate::Deciding::now). Default: [`SystemClock`](crate::clock::SystemClock).
    ///
    /// In a test it is a `ManualClock` (feature `testing`); keep a clone to move it.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(GuardedClock::new(clock));
        self
    }

    /// Shares the threads of this runtime with the other stores that are opened with it. Default: a runtime of its own, which
    /// takes two threads while the store is idle.
    ///
    /// It is for programs with many stores. [`StoreRuntime`] has an example, the bounds and the fairness.
    pub fn runtime(mut self, runtime: &StoreRuntime) -> Self {
        self.threads = runtime.clone();
        self
    }

    /// Opens the store on another disk than the file system.
    #[cfg(feature = "testing")]
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = disk;
        self
    }
}
