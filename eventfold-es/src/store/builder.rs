mod starting_points;

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::{mpsc, watch};

use starting_points::starting_points;

use super::closing::{OpenedJournal, Shutdown, Steps};
use super::{AggregateStore, RunMode, Shared};
use crate::clock::{Clock, SystemClock};
use crate::disk::{Disk, Files, SealedFile, SystemDisk};
use crate::envelope::{Dispatch, DispatchTarget, TargetVisitor};
use crate::error::{OpenError, StoreError};
use crate::journal::local::{JournalOptions, Layout};
use crate::journal::{Durability, Journal, Progress};
use crate::names;
use crate::process_manager::{ProcessManager, StartFrom};
use crate::projection::Projection;
use crate::runtime::{
    AggregateTypes, Member, ProcessManagerRunner, ProjectionRunner, ReactionHub, Routes,
    RunnerContext, Runtime, SnapshotPolicy, WaitingSnapshots, blocking, initial_progress, migrated,
    process_manager_rows::VersionRow,
};

const DEFAULT_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
const DEFAULT_MAX_LOG_SIZE: u64 = 64 << 20;
const DEFAULT_WRITE_BEHIND: Duration = Duration::from_millis(500);
const DEFAULT_SNAPSHOT_EVERY: u64 = 1000;
const DEFAULT_MAX_REACTION_DEPTH: u32 = 64;
const DEFAULT_REACTION_TIMEOUT: Duration = Duration::from_secs(30);

type RunnerTask = Pin<Box<dyn Future<Output = ()> + Send>>;

struct ProcessManagerPart {
    name: &'static str,
    type_id: TypeId,
    type_name: &'static str,
    subscriptions: &'static [&'static str],
    version: VersionRow,
    starts_now: bool,
    migrate: fn(u32, &str) -> Result<Box<RawValue>, String>,
    initial: fn() -> Result<Progress, serde_json::Error>,
    start: fn(RunnerContext, Progress) -> Result<RunnerTask, serde_json::Error>,
}

/// A projection runner behind a lock, and what saves it when the store closes.
type LoadedProjection = (Arc<dyn Any + Send + Sync>, super::closing::Saver);

struct ProjectionPart {
    name: &'static str,
    type_id: TypeId,
    type_name: &'static str,
    load: fn(Arc<dyn Journal>, SealedFile) -> Result<LoadedProjection, StoreError>,
}

struct TargetPart {
    name: &'static str,
    type_id: TypeId,
    type_name: &'static str,
}

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
#[must_use = "a builder does nothing before `open`"]
pub struct AggregateStoreBuilder {
    pub(super) base: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    process_managers: Vec<ProcessManagerPart>,
    projections: Vec<ProjectionPart>,
    targets: Targets,
    idle_timeout: Duration,
    snapshot_every: u64,
    run_mode: RunMode,
    reaction_timeout: Duration,
    max_reaction_depth: u32,
    clock: Arc<dyn Clock>,
    pub(super) journal: JournalOptions,
}

#[derive(Default)]
struct Targets {
    routes: Routes,
    parts: Vec<TargetPart>,
}

impl TargetVisitor for Targets {
    fn target<A: DispatchTarget>(&mut self) {
        self.routes.add::<A>();
        self.parts.push(TargetPart {
            name: A::AGGREGATE_TYPE,
            type_id: TypeId::of::<A>(),
            type_name: type_name::<A>(),
        });
    }
}

impl std::fmt::Debug for AggregateStoreBuilder {
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
            targets: Targets::default(),
            idle_timeout: DEFAULT_IDLE_TIMEOUT,
            snapshot_every: DEFAULT_SNAPSHOT_EVERY,
            run_mode: RunMode::default(),
            reaction_timeout: DEFAULT_REACTION_TIMEOUT,
            max_reaction_depth: DEFAULT_MAX_REACTION_DEPTH,
            clock: Arc::new(SystemClock),
            journal: JournalOptions {
                max_log_size: DEFAULT_MAX_LOG_SIZE,
                durability: Durability::default(),
                write_behind: DEFAULT_WRITE_BEHIND,
                rebuild: false,
            },
        }
    }

    /// Registers a process manager, and the targets that it knows at compile time.
    ///
    /// One that this directory has not seen before starts from the first event; its starting point is durable when
    /// [`open`](Self::open) returns. One that is no longer registered keeps its place.
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
            subscriptions: PM::default().subscriptions(),
            version: VersionRow {
                state_version: PM::STATE_VERSION,
                is_keyed: PM::IS_KEYED,
            },
            starts_now: PM::START == StartFrom::Now,
            migrate: migrated::<PM>,
            initial: initial_progress::<PM>,
            start: |context, progress| {
                let runner = ProcessManagerRunner::<PM>::new(context, progress)?;
                Ok(Box::pin(runner.run()))
            },
        });
        self
    }

    /// Registers a projection.
    pub fn projection<P: Projection>(mut self) -> Self {
        if self
            .projections
            .iter()
            .any(|part| part.type_id == TypeId::of::<P>())
        {
            return self;
        }
        self.projections.push(ProjectionPart {
            name: P::NAME,
            type_id: TypeId::of::<P>(),
            type_name: type_name::<P>(),
            load: |journal, checkpoint| {
                let runner = ProjectionRunner::<P>::load(journal, checkpoint)?;
                let runner = Arc::new(tokio::sync::Mutex::new(runner));
                let saved = Arc::clone(&runner);
                let saver = Box::new(move || saved.blocking_lock().save_or_warn());
                Ok((runner as Arc<dyn Any + Send + Sync>, saver))
            },
        });
        self
    }

    /// Registers an aggregate type as a target of erased envelopes ([`CommandEnvelope`](crate::CommandEnvelope)), which name it
    /// by its stored name. The targets of macro-declared process managers need no registration.
    pub fn aggregate_type<A: DispatchTarget>(mut self) -> Self {
        self.targets.target::<A>();
        self
    }

    /// How long an aggregate stays in memory after its last use. Default: five minutes.
    ///
    /// No handle notices: an evicted aggregate is read again from its [snapshot](Self::snapshot_every), which is saved before
    /// if that is worth while, and its stream.
    pub fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// After how many events of a stream the state of its aggregate is saved, in the background. Default: 1,000; 0 means that
    /// no state is saved, and none that was saved is used.
    ///
    /// It is saved when an aggregate leaves memory, too, if 16 events or more (or `events`, if that is less) are not saved yet.
    /// Loading it then folds the events behind the snapshot only. Snapshots
    /// are derived: one that does not fit its stream is ignored, and all of them may be deleted while the store is closed. See
    /// [`Aggregate::SNAPSHOT_VERSION`](crate::Aggregate::SNAPSHOT_VERSION) for what to do when the fold changes.
    ///
    /// A small number costs a copy and a write of the whole state that often, a large one that many events to fold when it is
    /// loaded after a crash.
    pub fn snapshot_every(mut self, events: u64) -> Self {
        self.snapshot_every = events;
        self
    }

    /// When process managers run. Default: [`RunMode::Inline`].
    pub fn run_mode(mut self, mode: RunMode) -> Self {
        self.run_mode = mode;
        self
    }

    /// How long a command waits for reactions in [`RunMode::Inline`] before it answers
    /// [`Reactions::TimedOut`](crate::Reactions::TimedOut). Default: 30 seconds.
    pub fn reaction_timeout(mut self, timeout: Duration) -> Self {
        self.reaction_timeout = timeout;
        self
    }

    /// How long a chain of reactions may get, each caused by an event of the one before. Default: 64.
    ///
    /// What a reaction beyond it sends becomes dead letters, whose reason names the process managers of the chain: two that answer
    /// each other for ever are stopped, and told about. At 0, every command of a process manager becomes a dead letter.
    pub fn max_reaction_depth(mut self, reactions: u32) -> Self {
        self.max_reaction_depth = reactions;
        self
    }

    /// When a command counts as stored. Default: [`Durability::Sync`].
    pub fn durability(mut self, durability: Durability) -> Self {
        self.journal.durability = durability;
        self
    }

    /// How long durable events gather, up to 8 MiB of them, before they are written to the files of their streams, so that each file
    /// is opened and written once for many of them. Default: 500 ms.
    ///
    /// They are in the journal already: nothing that is acknowledged depends on it, and every reader of the store has them at
    /// once. Zero shows them sooner to other programs, which costs the rate of commands up to a third.
    pub fn write_behind(mut self, time: Duration) -> Self {
        self.journal.write_behind = time;
        self
    }

    /// From which size on, in bytes, the journal and the streams move what they hold to their archives
    /// (`archive.jsonl.zst`, which eventfold's `read_full` reads); 0 for never. Default: 64 MiB.
    ///
    /// It happens in the background, at checkpoints, so that a file may grow somewhat larger. Every reader sees the whole history
    /// across it.
    pub fn max_log_size(mut self, bytes: u64) -> Self {
        self.journal.max_log_size = bytes;
        self
    }

    /// Lets the deadlines of process managers, and their waits before a command is tried again, go by another clock than that of the
    /// system.
    #[cfg(feature = "testing")]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Puts the store on another disk than the file system.
    #[cfg(feature = "testing")]
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = disk;
        self
    }

    /// Opens the store, creating the directory if need be, and brings it to the state after its last durable commit.
    ///
    /// It must be called within a tokio runtime with its timer enabled (`enable_all` or `enable_time`), which must live as long as
    /// the store: process managers run on it. In [`RunMode::Inline`] and [`RunMode::Background`] they begin to catch up.
    ///
    /// A store on a read-only file system can be read, by any number of processes: recovery is done in memory, which takes as
    /// much as it would write (usually less than 16 MiB, and as much as all streams if the checkpoint is missing or cannot be
    /// used). [`RecoveryReport::read_only`](crate::RecoveryReport::read_only) tells so, everything that writes is refused with
    /// [`StoreError::ReadOnly`], and process managers do not run. The directory must not change meanwhile: that another process
    /// writes it by another mount is not noticed. A directory that this process may not write, on a file system that can be
    /// written, is an error.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; no event and no progress is lost or changed then. A store of this process that was dropped just before is
    /// waited for, and so is another call that is opening the directory.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, and in one without timer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the directory as it was or recovered, and releases it when recovery has ended; whoever opens it
    /// next in this process waits for that.
    pub async fn open(self) -> Result<AggregateStore, OpenError> {
        // Panics without a timer; the first command that waits would otherwise, when it is already stored.
        drop(tokio::time::sleep(Duration::ZERO));
        self.check_names()?;
        let base = std::path::absolute(&self.base)
            .map_err(|error| crate::disk::FileError::new("find", &self.base, error))?;
        let files = Files::new(Arc::clone(&self.disk));
        let (opened, recovery) = OpenedJournal::open(files, &base, self.journal).await?;
        // From here to `Shutdown`, which closes it, nothing waits.
        let journal = opened.keep();
        let files = journal.files().clone();
        let journal: Arc<dyn Journal> = journal;
        let (closing, closing_receiver) = watch::channel(false);
        let (alive, runners) = std::sync::mpsc::channel();
        let mut shutdown = Shutdown::new(Steps {
            path: base.clone(),
            journal: Arc::clone(&journal),
            closing,
            runners,
            savers: Vec::new(),
        });

        let layout = Layout::new(&base);
        let mut projections = HashMap::new();
        for part in self.projections {
            let checkpoint =
                SealedFile::new(files.clone(), layout.projection_checkpoint(part.name));
            let journal = Arc::clone(&journal);
            let what = || format!("loading the projection `{}`", part.name);
            let (runner, saver) = blocking(what, move || (part.load)(journal, checkpoint)).await?;
            shutdown.add_saver(saver);
            projections.insert(part.type_id, runner);
        }

        let progress = starting_points(&journal, &self.process_managers).await?;
        let read_only = journal.read_only();
        let members = self.process_managers.iter().zip(&progress);
        let reactions = Arc::new(ReactionHub::new(
            members
                .map(|(part, progress)| Member {
                    name: part.name,
                    subscriptions: part.subscriptions,
                    processed: progress.position,
                    parked: None,
                    is_paused: false,
                    ignored: 0,
                    ended: read_only
                        .clone()
                        .map(|reason| StoreError::ReadOnly { reason }),
                })
                .collect(),
        ));
        let (snapshots, waiting) = SnapshotPolicy::new(self.snapshot_every);
        let types = AggregateTypes::new(Arc::clone(&journal), snapshots);
        self.targets.routes.claim_names(&types)?;
        let runtime = Arc::new(Runtime {
            types,
            routes: self.targets.routes,
            journal,
            reactions,
        });
        let mut tasks = Vec::new();
        let mut requests = Vec::new();
        let mut received = Vec::new();
        for _ in &self.process_managers {
            let (sender, receiver) = mpsc::unbounded_channel();
            requests.push(sender);
            received.push(receiver);
        }
        // Where no reaction can be committed, none is tried.
        let running = self.process_managers.iter().filter(|_| read_only.is_none());
        let running = running.zip(progress).zip(received);
        for (member, ((part, progress), requests)) in running.enumerate() {
            let context = RunnerContext {
                runtime: Arc::clone(&runtime),
                member,
                max_depth: self.max_reaction_depth,
                clock: Arc::clone(&self.clock),
                fires: self.run_mode != RunMode::OnDemand,
                requests,
                target: match self.run_mode {
                    RunMode::Inline | RunMode::Background => runtime.journal.durable(),
                    RunMode::OnDemand => runtime.reactions.demand(),
                },
                closing: closing_receiver.clone(),
                _alive: alive.clone(),
            };
            let task = (part.start)(context, progress).map_err(|error| {
                OpenError::ProcessManagerState {
                    name: part.name.to_owned(),
                    reason: error.to_string(),
                }
            })?;
            tasks.push(task);
        }
        for task in tasks {
            tokio::spawn(task);
        }
        tokio::spawn(tend(
            Arc::clone(&runtime),
            self.idle_timeout,
            waiting,
            closing_receiver,
        ));
        Ok(AggregateStore {
            shared: Arc::new(Shared {
                runtime,
                run_mode: self.run_mode,
                reaction_timeout: self.reaction_timeout,
                recovery,
                projections,
                process_managers: self
                    .process_managers
                    .iter()
                    .enumerate()
                    .map(|(member, part)| (part.type_id, (member, part.name)))
                    .collect(),
                requests,
                shutdown: Mutex::new(shutdown),
            }),
        })
    }

    /// Refuses names that cannot be stored and names that two types share.
    fn check_names(&self) -> Result<(), OpenError> {
        let process_managers = self
            .process_managers
            .iter()
            .map(|part| (part.name, part.type_id, part.type_name));
        let projections = self
            .projections
            .iter()
            .map(|part| (part.name, part.type_id, part.type_name));
        let targets = self
            .targets
            .parts
            .iter()
            .map(|part| (part.name, part.type_id, part.type_name));
        check_kind(process_managers)?;
        check_kind(projections)?;
        check_kind(targets)
    }
}

fn check_kind(
    parts: impl Iterator<Item = (&'static str, TypeId, &'static str)>,
) -> Result<(), OpenError> {
    // Directories that differ in case only are one directory on some file systems.
    let mut seen: HashMap<String, (TypeId, &'static str)> = HashMap::new();
    for (name, type_id, type_name) in parts {
        if !names::is_storable(name) {
            return Err(OpenError::InvalidName {
                name: name.to_owned(),
                type_name,
            });
        }
        let (first_id, first) = *seen
            .entry(name.to_ascii_lowercase())
            .or_insert((type_id, type_name));
        if first_id != type_id {
            return Err(OpenError::NameTaken {
                name: name.to_owned(),
                first,
                second: type_name,
            });
        }
    }
    Ok(())
}

/// Evicts idle aggregates, and saves the snapshots of others, until the store closes.
async fn tend(
    runtime: Arc<Runtime>,
    timeout: Duration,
    waiting: WaitingSnapshots,
    mut closing: watch::Receiver<bool>,
) {
    let period = (timeout / 4).clamp(Duration::from_millis(1), Duration::from_secs(10));
    let sweeping = async {
        loop {
            tokio::time::sleep(period).await;
            runtime.types.sweep(timeout).await;
        }
    };
    // What is being saved when this is dropped goes on; the journal waits for it before it releases the directory.
    tokio::select! {
        _ = closing.wait_for(|closing| *closing) => {}
        () = sweeping => {}
        () = waiting.save() => {}
    }
}
