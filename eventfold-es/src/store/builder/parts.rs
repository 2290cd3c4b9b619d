//! The parts of a store, and their names.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::AggregateStoreBuilder;
use crate::envelope::{DispatchTarget, TargetVisitor};
use crate::error::{OpenError, StoreError};
use crate::journal::{Journal, Progress};
use crate::names;
use crate::runtime::process_manager_rows::VersionRow;
use crate::runtime::{ProjectionGauge, Routes, RunnerContext};
use crate::store::closing::Saver;

pub(super) type RunnerTask = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(super) struct ProcessManagerPart {
    pub(super) name: &'static str,
    pub(super) type_id: TypeId,
    pub(super) type_name: &'static str,
    pub(super) subscriptions: fn() -> Result<&'static [&'static str], OpenError>,
    pub(super) version: VersionRow,
    pub(super) starts_now: bool,
    pub(super) migrate: fn(u32, &str) -> Result<Box<RawValue>, String>,
    pub(super) initial: fn() -> Result<Progress, String>,
    pub(super) start: fn(RunnerContext, Progress) -> Result<RunnerTask, String>,
}

/// A projection runner behind a lock, with its closing save and its progress.
pub(super) type LoadedProjection = (Arc<dyn Any + Send + Sync>, Saver, Arc<ProjectionGauge>);

pub(super) struct ProjectionPart {
    pub(super) name: &'static str,
    pub(super) type_id: TypeId,
    pub(super) type_name: &'static str,
    pub(super) check_subscriptions: fn() -> Result<(), OpenError>,
    pub(super) load: fn(Arc<dyn Journal>) -> Result<LoadedProjection, StoreError>,
}

pub(super) struct TargetPart {
    pub(super) name: &'static str,
    pub(super) type_id: TypeId,
    pub(super) type_name: &'static str,
}

#[derive(Default)]
pub(super) struct Targets {
    pub(super) routes: Routes,
    pub(super) parts: Vec<TargetPart>,
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
