//! The parts of a store, and their names.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::AggregateStoreBuilder;
use crate::envelope::{DispatchTarget, TargetVisitor};
use crate::error::{OpenError, StoreError};
use crate::journal::Journal;
use crate::names;
use crate::projection::{Projection, RowProjection, Sink, SinkProjection};
use crate::rows::{RowSink, RowTable};
use crate::runtime::process_manager_rows::VersionRow;
use crate::runtime::{
    AnyHandler, Definition, Follower, FollowerContext, Kept, ProjectionGauge, ProjectionRunner,
    Routes, RunnerTask, guard,
};
use crate::store::closing::{Saver, Staged};
use crate::store::forwarding::ForwardRoutes;
use crate::store::projections::ProjectionControl;

pub(super) struct ProcessManagerPart {
    pub(super) name: &'static str,
    pub(super) type_id: TypeId,
    pub(super) type_name: &'static str,
    pub(super) subscriptions: fn() -> Result<&'static [&'static str], OpenError>,
    pub(super) definition: &'static Definition,
    pub(super) starts_now: bool,
    /// The value, if the part is an event handler. No command waits for an event handler.
    pub(super) handler: Option<Arc<dyn AnyHandler>>,
}

impl ProcessManagerPart {
    /// The version of its state, as it is stored.
    pub(super) fn version(&self) -> VersionRow {
        VersionRow {
            state_version: self.definition.state_version,
            is_keyed: self.definition.is_keyed,
        }
    }
}

/// A projection that is ready to run.
pub(super) struct LoadedProjection {
    /// The state, for readers: a runner behind a lock, or a table of rows.
    pub(super) state: Option<Arc<dyn Any + Send + Sync>>,
    pub(super) control: ProjectionControl,
    pub(super) gauge: Arc<ProjectionGauge>,
    /// Saves or closes the state when the store closes.
    pub(super) saver: Option<Saver>,
    /// Follows the events until the store closes.
    pub(super) task: Option<RunnerTask>,
}

/// The parts of a store that a projection is loaded with.
#[derive(Clone)]
pub(super) struct LoadContext {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) sinks: Arc<Sinks>,
    pub(super) staged: Staged,
}

/// The databases of the projections, by their types.
#[derive(Default)]
pub(super) struct Sinks(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl Sinks {
    pub(super) fn insert<S: Sink>(&mut self, sink: S) {
        self.0.insert(TypeId::of::<S>(), Arc::new(sink));
    }

    fn of<P: SinkProjection>(&self) -> Result<Arc<P::Sink>, OpenError> {
        let sink = self.0.get(&TypeId::of::<P::Sink>());
        let sink = sink.and_then(|sink| Arc::clone(sink).downcast().ok());
        sink.ok_or(OpenError::NoSink {
            name: P::NAME,
            type_name: without_path(type_name::<P::Sink>()),
        })
    }
}

/// The name of a type as a program writes it. The path of a type of a library may be private.
fn without_path(type_name: &'static str) -> &'static str {
    let path = type_name.find('<').and_then(|end| type_name.get(..end));
    let path = path.unwrap_or(type_name);
    path.rsplit("::").next().unwrap_or(path)
}

pub(super) struct ProjectionPart {
    pub(super) name: &'static str,
    pub(super) type_id: TypeId,
    pub(super) type_name: &'static str,
    pub(super) check_subscriptions: fn() -> Result<(), OpenError>,
    pub(super) check_sink: fn(&Sinks) -> Result<(), OpenError>,
    pub(super) load: fn(LoadContext) -> Result<LoadedProjection, StoreError>,
}

impl ProjectionPart {
    pub(super) fn folded<P: Projection>() -> Self {
        Self {
            name: P::NAME,
            type_id: TypeId::of::<P>(),
            type_name: type_name::<P>(),
            check_subscriptions: || {
                let subscriptions = guard(
                    || format!("the default of `{}`", P::NAME),
                    || Kept::<P>::default().subscriptions(),
                );
                given::<P>(P::NAME, P::SUBSCRIPTIONS, subscriptions?).map(drop)
            },
            check_sink: |_| Ok(()),
            load: |context| {
                let runner = ProjectionRunner::<P>::load(context.journal)?;
                let gauge = runner.gauge();
                let runner = Arc::new(tokio::sync::Mutex::new(runner));
                let saved = Arc::clone(&runner);
                Ok(LoadedProjection {
                    state: Some(Arc::clone(&runner) as Arc<dyn Any + Send + Sync>),
                    control: ProjectionControl::Folded(runner),
                    gauge,
                    saver: Some(Box::pin(async move {
                        saved.lock_owned().await.save_or_warn();
                    })),
                    task: None,
                })
            },
        }
    }

    pub(super) fn rows<P: RowProjection>() -> Self {
        Self {
            load: |context| {
                if context.journal.read_only().is_some() {
                    return Ok(follow::<P>(context, None));
                }
                let table = Arc::new(RowTable::<P>::open(&*context.journal)?);
                let sink = Arc::new(RowSink::new(Arc::clone(&table)));
                let closed = Arc::clone(&table);
                Ok(LoadedProjection {
                    state: Some(table),
                    saver: Some(Box::pin(async move { closed.close() })),
                    ..follow::<P>(context, Some(sink))
                })
            },
            check_sink: |_| Ok(()),
            ..Self::sink::<P>()
        }
    }

    pub(super) fn sink<P: SinkProjection>() -> Self {
        Self {
            name: P::NAME,
            type_id: TypeId::of::<P>(),
            type_name: type_name::<P>(),
            check_subscriptions: || Ok(()),
            check_sink: |sinks| sinks.of::<P>().map(drop),
            load: |context| {
                let sink = context.sinks.of::<P>().ok();
                Ok(follow::<P>(context, sink))
            },
        }
    }
}

/// A projection that follows the events. On a read-only file system it does not run, as process managers.
fn follow<P: SinkProjection>(context: LoadContext, sink: Option<Arc<P::Sink>>) -> LoadedProjection {
    let (requests, received) = mpsc::unbounded_channel();
    let gauge = Arc::<ProjectionGauge>::default();
    let is_read_only = context.journal.read_only().is_some();
    let follower = FollowerContext {
        journal: context.journal,
        gauge: Arc::clone(&gauge),
        closing: context.staged.closing,
        requests: received,
        _alive: context.staged.alive,
    };
    LoadedProjection {
        state: None,
        control: ProjectionControl::Followed(requests),
        gauge,
        saver: None,
        task: sink
            .filter(|_| !is_read_only)
            .map(|sink| Box::pin(Follower::<P>::run(follower, sink)) as RunnerTask),
    }
}

pub(super) struct TargetPart {
    pub(super) name: &'static str,
    pub(super) type_id: TypeId,
    pub(super) type_name: &'static str,
}

#[derive(Default)]
pub(super) struct Targets {
    pub(super) routes: Routes,
    pub(super) forward_routes: ForwardRoutes,
    pub(super) parts: Vec<TargetPart>,
}

impl TargetVisitor for Targets {
    fn target<A: DispatchTarget>(&mut self) {
        self.routes.add::<A>();
        self.forward_routes.add::<A>();
        self.parts.push(TargetPart {
            name: A::AGGREGATE_TYPE,
            type_id: TypeId::of::<A>(),
            type_name: type_name::<A>(),
        });
    }
}

impl AggregateStoreBuilder {
    /// Refuses names that cannot be stored, and names that two types share.
    pub(super) fn check_names(&self) -> Result<(), OpenError> {
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
        #[cfg(feature = "schedules")]
        let targets = targets.chain(
            self.schedules
                .iter()
                .map(|part| (part.name, part.type_id, part.type_name)),
        );
        check_kind(process_managers)?;
        check_kind(projections)?;
        check_kind(targets)
    }
}

/// The subscriptions of `T`. Without declared subscriptions it is an error: the default methods return none, which
/// would go unnoticed.
pub(super) fn given<T>(
    name: &'static str,
    declared: Option<&'static [&'static str]>,
    subscriptions: &'static [&'static str],
) -> Result<&'static [&'static str], OpenError> {
    if subscriptions.is_empty() && declared.is_none() {
        return Err(OpenError::NoSubscriptions {
            name,
            type_name: type_name::<T>(),
        });
    }
    Ok(subscriptions)
}

fn check_kind(
    parts: impl Iterator<Item = (&'static str, TypeId, &'static str)>,
) -> Result<(), OpenError> {
    // On some file systems, directories that differ only in case are one directory.
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
