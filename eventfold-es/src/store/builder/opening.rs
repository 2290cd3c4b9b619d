//! Opening a store: recovery first, then every part continues at its progress.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tracing::Instrument as _;

use super::AggregateStoreBuilder;
use super::parts::LoadContext;
#[cfg(feature = "schedules")]
use super::schedules::{beginnings, entries, timetables};
use super::starting_points::starting_points;
use super::terms::{Common, Requests, Station};
use crate::disk::{Files, absolute};
use crate::error::{OpenError, StoreError};
use crate::journal;
use crate::runtime::{
    AggregateTypes, Leadership, Member, Presence, ReactionHub, Runtime, SnapshotPolicy, Tally,
    WaitingSnapshots, blocking,
};
#[cfg(feature = "schedules")]
use crate::store::RunMode;
use crate::store::closing::{Shutdown, Stage, Staged, Stages, Steps, millis};
use crate::store::forwarding::{Desk, Forwarding, Outcomes};
use crate::store::projections::RegisteredProjection;
#[cfg(feature = "schedules")]
use crate::store::timekeeper::{Schedules, Timekeeper};
use crate::store::{AggregateStore, Shared};

impl AggregateStoreBuilder {
    /// Opens the store, creating the directory if necessary, and recovers the state of its last durable commit.
    ///
    /// It must be called within a tokio runtime with its timer enabled (`enable_all` or `enable_time`), which must live as long as
    /// the store: process managers run on it. In [`RunMode::Inline`](crate::RunMode::Inline) and [`RunMode::Background`](crate::RunMode::Background) they begin to catch up.
    ///
    /// Any number of processes can read a store on a read-only file system. Recovery then happens in memory. It takes
    /// as much memory as it would write: usually less than 16 MiB, and as much as all streams if the checkpoint is
    /// missing or unusable. [`RecoveryReport::read_only`](crate::RecoveryReport::read_only) reports it, every write is
    /// refused with [`StoreError::ReadOnly`], and process managers do not run. The directory must not change meanwhile:
    /// a writer on another mount is not noticed. A directory that this process may not write, on a writable file
    /// system, is an error.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; it neither loses nor changes an event or progress. It waits for a store of this process that was
    /// dropped just before, and for another call that is opening the directory.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, and in one without timer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the directory as it was, or recovered, and releases it after recovery. The next call
    /// that opens it in this process waits for the release.
    pub async fn open(self) -> Result<AggregateStore, OpenError> {
        let span = tracing::info_span!("open", path = %self.base.display());
        let begun = Instant::now();
        let store = self.open_in_span().instrument(span.clone()).await?;
        let _entered = span.enter();
        let Shared {
            recovery,
            process_managers,
            projections,
            runtime,
            ..
        } = &*store.shared;
        if recovery.redone_commits > 0 {
            tracing::info!(
                commits = recovery.redone_commits,
                "commits redone, because the last program did not close the store"
            );
        }
        tracing::info!(
            position = *runtime.journal.durable().borrow(),
            process_managers = process_managers.len(),
            projections = projections.len(),
            read_only = recovery.read_only,
            ms = millis(begun.elapsed()),
            "the store is open"
        );
        Ok(store)
    }

    async fn open_in_span(self) -> Result<AggregateStore, OpenError> {
        // Panics without a timer. Otherwise the first waiting command would panic, after it is stored.
        drop(tokio::time::sleep(Duration::ZERO));
        self.check_names()?;
        let subscriptions = self.process_managers.iter();
        let subscriptions = subscriptions.map(|part| (part.subscriptions)());
        let subscriptions = subscriptions.collect::<Result<Vec<_>, _>>()?;
        for projection in &self.projections {
            (projection.check_subscriptions)()?;
            (projection.check_sink)(&self.sinks)?;
        }
        #[cfg(feature = "schedules")]
        let timetables = timetables(&self.schedules)?;
        let base = absolute(&self.base)?;
        let files = Files::new(Arc::clone(&self.disk));
        let disk = files.clone();
        let threads = self.threads;
        // Started first: an error here leaves nothing to close.
        let closer = threads.upkeep_worker(&base)?;
        let clock = Arc::clone(&self.clock);
        let node = self.node.log();
        let registered = self.targets.parts.iter().map(|part| part.name);
        #[cfg(feature = "schedules")]
        let registered = registered.chain(self.schedules.iter().map(|part| part.name));
        let membership = self.node.membership(registered)?;
        let opening = journal::open(files, &base, self.journal, membership, clock, &threads);
        let (opened, recovery) = opening.await?;
        // No await until `Shutdown` exists, which closes the store: a dropped future must not leave it open.
        let (journal, directory) = opened.keep();
        journal.clock().warn_if_it_stands();
        let mut parts = self.process_managers.iter();
        let handler_patience = match parts.any(|part| part.handler.is_some()) {
            true => self.handler_patience,
            false => Duration::ZERO,
        };
        let (handlers, handling) = Stage::new(handler_patience);
        let (runners, running) = Stage::new(Duration::ZERO);
        let (followers, following) = Stage::new(Duration::ZERO);
        let mut shutdown = Shutdown::new(Steps {
            directory,
            journal: Arc::clone(&journal),
            stages: Stages {
                handlers,
                runners,
                followers,
            },
            savers: Vec::new(),
            closer,
        });

        let mut projections = HashMap::new();
        let mut gauges = Vec::new();
        let mut tasks = Vec::new();
        let loading = LoadContext {
            journal: Arc::clone(&journal),
            sinks: Arc::new(self.sinks),
            staged: following,
        };
        for part in self.projections {
            let context = loading.clone();
            let what = || format!("loading the projection `{}`", part.name);
            let loaded = blocking(what, move || (part.load)(context)).await?;
            if let Some(saver) = loaded.saver {
                shutdown.add_saver(saver);
            }
            tasks.extend(loaded.task);
            gauges.push((part.name, Arc::clone(&loaded.gauge)));
            let registered = RegisteredProjection {
                state: loaded.state,
                control: loaded.control,
                gauge: loaded.gauge,
            };
            projections.insert(part.type_id, registered);
        }
        drop(loading);

        let parks_unreadable = self.parks_unreadable;
        // A term that is lost meanwhile refuses the commits of the starting points. Then the next term begins with them.
        let (term, points) = loop {
            let standing = journal.standing();
            let term = standing.term();
            let parts = &self.process_managers;
            match starting_points(&journal, parts, parks_unreadable, term).await {
                Err(_) if term != standing.term() => {}
                points => break (term, points?),
            }
        };
        let (progress, unreadable): (Vec<_>, Vec<_>) = points.into_iter().unzip();
        let read_only = journal.read_only();
        let names: Vec<_> = self.process_managers.iter().map(|part| part.name).collect();
        let counted = Arc::clone(&journal);
        let what = || "counting dead letters and parked work".to_owned();
        let tallies = blocking(what, move || {
            let tallies = names.iter().map(|name| Tally::read(&*counted, name));
            Ok(tallies.collect::<Result<Vec<_>, _>>()?)
        });
        let tallies = tallies.await?;
        #[cfg(feature = "schedules")]
        let (schedule_term, beginnings) = loop {
            let standing = journal.standing();
            let term = standing.term();
            match beginnings(&journal, &self.schedules, term).await {
                Err(_) if term != standing.term() => {}
                begun => break (term, begun?),
            }
        };
        #[cfg(feature = "schedules")]
        let entries = entries(self.schedules, timetables, beginnings);
        let parts = self.process_managers.iter().zip(&subscriptions);
        let members = parts.zip(&progress);
        let reactions = Arc::new(ReactionHub::new(
            members
                .map(|((part, subscriptions), progress)| Member {
                    name: part.name,
                    subscriptions,
                    is_awaited: part.handler.is_none(),
                    processed: progress.position,
                    stays: None,
                    is_paused: false,
                    ignored: 0,
                    skipped: 0,
                    presence: match (&read_only, term) {
                        (Some(reason), _) => Presence::Ended(StoreError::ReadOnly {
                            reason: Arc::clone(reason),
                        }),
                        (None, Some(_)) => Presence::Here,
                        (None, None) => Presence::Elsewhere(journal.standing().role()),
                    },
                })
                .collect(),
            tallies,
        ));
        let (snapshots, waiting) = SnapshotPolicy::new(self.snapshot_every);
        let types = AggregateTypes::new(Arc::clone(&journal), snapshots, threads);
        self.targets.routes.claim_names(&types)?;
        let runtime = Arc::new(Runtime {
            types,
            routes: self.targets.routes,
            leadership: Leadership::new(Arc::clone(&journal), self.waits, running.closing.clone()),
            journal,
            reactions,
        });
        let weak = Arc::downgrade(&runtime);
        runtime
            .journal
            .standing()
            .on_applied(Box::new(move |stream| {
                // Without it, no aggregate is live.
                if let Some(runtime) = weak.upgrade() {
                    runtime.types.let_go(stream);
                }
            }));
        let process_managers = self.process_managers.iter().enumerate();
        let process_managers =
            process_managers.map(|(member, part)| (part.type_id, (member, part.name)));
        let process_managers = process_managers.collect();
        let common = Arc::new(Common {
            runtime: Arc::clone(&runtime),
            run_mode: self.run_mode,
            max_depth: self.max_reaction_depth,
            max_starts: self.max_starts,
            parks_unreadable,
            handler_patience: self.handler_patience,
            clock: Arc::clone(&self.clock),
        });
        let mut requests = Vec::new();
        // On a read-only file system no reaction can be committed, so no process manager runs.
        let points = progress.into_iter().zip(unreadable);
        let parts = self.process_managers.into_iter().zip(points);
        for (member, (part, (progress, unreadable))) in parts.enumerate() {
            let (sender, received) = Requests::new();
            requests.push(sender);
            if read_only.is_some() {
                continue;
            }
            let name = part.name;
            let staged = match part.handler {
                Some(_) => &handling,
                None => &running,
            };
            let station = Station {
                common: Arc::clone(&common),
                staged: staged.clone(),
                part,
                member,
                subscriptions: subscriptions.get(member).copied().unwrap_or_default(),
                requests: received,
            };
            let task = match term {
                Some(term) => {
                    let task = station.task(term, progress, unreadable).await;
                    let task = task.map_err(|reason| OpenError::ProcessManagerState {
                        name: name.to_owned(),
                        reason,
                    })?;
                    Some((term, task))
                }
                None => None,
            };
            match (runtime.journal.standing().is_replicated(), task) {
                (true, task) => tasks.push(Box::pin(station.keep(task))),
                (false, task) => tasks.extend(task.map(|(_, task)| task)),
            }
        }
        drop((common, handling));
        let Staged { closing, alive } = running;
        for task in tasks {
            tokio::spawn(task);
        }
        tokio::spawn(tend(
            Arc::clone(&runtime),
            self.idle_timeout,
            waiting,
            closing.clone(),
        ));
        #[cfg(feature = "schedules")]
        let (schedules, looks) = Schedules::of(&entries, read_only.is_none());
        let to_others = node
            .as_ref()
            .and_then(|(log, name)| Some((log.messenger()?, name.clone())));
        let questions = to_others
            .as_ref()
            .map(|(messenger, name)| messenger.questions(name));
        let routes = self.targets.forward_routes;
        let forwarding = to_others.map(|(messenger, node)| Forwarding {
            messenger,
            node,
            routes,
            sent: Outcomes::default(),
            taken: Outcomes::default(),
            alive: alive.downgrade(),
        });
        let store = AggregateStore {
            shared: Arc::new(Shared {
                node,
                forwarding,
                runtime,
                files: disk,
                base,
                run_mode: self.run_mode,
                reaction_timeout: self.reaction_timeout,
                recovery,
                projections,
                gauges,
                process_managers,
                requests,
                shutdown: Mutex::new(shutdown),
                closing: closing.clone(),
                #[cfg(feature = "schedules")]
                schedules,
            }),
        };
        if let Some(questions) = questions {
            let desk = Desk::new(questions, closing.clone(), alive.clone());
            tokio::spawn(desk.run(Arc::downgrade(&store.shared)));
        }
        #[cfg(feature = "schedules")]
        if !entries.is_empty() {
            let looks_by_itself = self.run_mode != RunMode::OnDemand;
            let mut timekeeper = Timekeeper::new(
                &store.shared.runtime,
                entries,
                self.clock,
                looks_by_itself,
                alive,
            );
            if schedule_term.is_some() {
                timekeeper.read().await;
            }
            if let Some(looks) = looks {
                tokio::spawn(timekeeper.run(looks, closing, schedule_term));
            }
        }
        Ok(store)
    }
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
    // When this is dropped, saves in progress continue. The journal waits for them before it releases the directory.
    tokio::select! {
        _ = closing.wait_for(|closing| *closing) => {}
        () = sweeping => {}
        () = waiting.save() => {}
    }
}
