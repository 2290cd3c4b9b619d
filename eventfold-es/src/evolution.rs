//! The conversion of events from older shapes to the current shape.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::event::{DomainEvent, EventError};

/// The entry of an event's `meta` for the version of its shape. It is present if the version is above 1.
pub const SCHEMA_VERSION: &str = "schema_version";

/// One step in the evolution of an event: from the shape of one version to the shape of the next version, or to the
/// event itself.
///
/// `#[event(version = 3, upcast_from(1 => PlacedV1, 2 => PlacedV2))]` lists the steps of a variant. An event of version
/// 1 then takes the steps from `PlacedV1` to `PlacedV2` and from there to the event. A step is total and deterministic:
/// a stored event always reads the same.
///
/// # Examples
///
/// ```
/// use eventfold_es::prelude::*;
///
/// #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
/// #[serde(tag = "type", content = "data")]
/// enum OrderEvent {
///     #[event(version = 3, upcast_from(1 => PlacedV1, 2 => PlacedV2))]
///     Placed { sku: String, qty: u32, currency: String },
/// }
///
/// /// What was stored first: one unit per order.
/// #[derive(Deserialize)]
/// struct PlacedV1 { sku: String }
///
/// #[derive(Deserialize)]
/// struct PlacedV2 { sku: String, qty: u32 }
///
/// impl Upcast<PlacedV2> for PlacedV1 {
///     fn upcast(self) -> PlacedV2 {
///         PlacedV2 { sku: self.sku, qty: 1 }
///     }
/// }
///
/// impl Upcast<OrderEvent> for PlacedV2 {
///     fn upcast(self) -> OrderEvent {
///         OrderEvent::Placed { sku: self.sku, qty: self.qty, currency: "EUR".to_owned() }
///     }
/// }
///
/// let now = OrderEvent::Placed { sku: "W-1".to_owned(), qty: 1, currency: "EUR".to_owned() };
/// let mut stored = now.to_event()?;
/// assert_eq!(stored.meta, Some(serde_json::json!({ "schema_version": 3 })));
///
/// // As the first version stored it.
/// stored.meta = None;
/// stored.data = serde_json::json!({ "sku": "W-1" });
/// assert_eq!(OrderEvent::from_event(&stored)?, now);
/// # Ok::<(), eventfold_es::EventError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "there is no step from `{Self}` to `{Next}`",
    label = "does not become `{Next}`",
    note = "write `impl Upcast<{Next}> for {Self} {{ fn upcast(self) -> {Next} {{ .. }} }}`"
)]
pub trait Upcast<Next> {
    /// Takes the step.
    fn upcast(self) -> Next;
}

/// The stored shape of an event: any type that serde can read.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no shape that a stored event can be read in",
    label = "cannot be read",
    note = "put `#[derive(Deserialize)]` on `{Self}`"
)]
pub trait PastShape: Sized {
    /// Reads the data of a stored event.
    ///
    /// # Errors
    ///
    /// The error of serde.
    fn read(data: &Value) -> Result<Self, serde_json::Error>;
}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned> PastShape for T {
    fn read(data: &Value) -> Result<Self, serde_json::Error> {
        T::deserialize(data)
    }
}

/// The reader of the events of one older version, which converts them to the current version.
pub struct Upcaster<E: 'static> {
    /// The names under which the event was stored.
    pub names: &'static [&'static str],
    /// The stored version of the event.
    pub version: u32,
    /// Reads its data, and takes every step.
    pub upcast: fn(&Value) -> Result<E, serde_json::Error>,
}

impl<E> Upcaster<E> {
    /// The reader of events of the stored version `version` under one of `names`.
    #[must_use]
    pub const fn new(
        names: &'static [&'static str],
        version: u32,
        upcast: fn(&Value) -> Result<E, serde_json::Error>,
    ) -> Self {
        Self {
            names,
            version,
            upcast,
        }
    }
}

impl<E> Clone for Upcaster<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Upcaster<E> {}

impl<E> fmt::Debug for Upcaster<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upcaster")
            .field("names", &self.names)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// A summary of the versions of an enum of events.
struct Versions<E>(std::marker::PhantomData<E>);

impl<E: DomainEvent> Versions<E> {
    /// Whether any event of the enum is above version 1, or retired. Most enums have no such event, and need no
    /// look-up.
    const ARE_LOOKED_UP: bool = {
        let mut schemas = E::SCHEMAS;
        let mut found = false;
        while let [schema, tail @ ..] = schemas {
            found |= schema.version > 1 || schema.is_retired;
            schemas = tail;
        }
        found
    };
}

/// The current version of the event of `E` with this name, which may be an alias.
pub(crate) fn current_version<E: DomainEvent>(name: &str) -> u32 {
    if !Versions::<E>::ARE_LOOKED_UP {
        return 1;
    }
    let mut schemas = E::SCHEMAS.iter();
    schemas
        .find(|schema| schema.is_named(name))
        .map_or(1, |schema| schema.version)
}

/// The version to store with an event, if any: only versions above 1 are stored.
pub(crate) fn written_version<E: DomainEvent>(name: &str) -> Option<u32> {
    Some(current_version::<E>(name)).filter(|version| *version > 1)
}

pub(crate) fn is_retired<E: DomainEvent>(name: &str) -> bool {
    Versions::<E>::ARE_LOOKED_UP
        && E::SCHEMAS
            .iter()
            .any(|schema| schema.is_retired && schema.is_named(name))
}

/// The stored version of an event. A value other than a whole number above 0 was not written by this crate.
pub(crate) fn stored_version(event: &eventfold::Event) -> u64 {
    let entry = event
        .meta
        .as_ref()
        .and_then(|meta| meta.get(SCHEMA_VERSION));
    entry
        .and_then(Value::as_u64)
        .map_or(1, |version| version.max(1))
}

/// Converts an event with an older stored version; `None` if it has the current version.
///
/// # Errors
///
/// [`EventError::Newer`], [`EventError::NoUpcast`], or [`EventError::Malformed`] if its data does not fit its version.
pub(crate) fn upcast<E: DomainEvent>(event: &eventfold::Event) -> Result<Option<E>, EventError> {
    let stored = stored_version(event);
    let current = current_version::<E>(&event.event_type);
    if stored == u64::from(current) {
        return Ok(None);
    }
    if stored > u64::from(current) {
        return Err(EventError::Newer {
            event_type: event.event_type.clone(),
            version: stored,
            current,
        });
    }
    let mut upcasters = E::UPCASTERS.iter();
    let found = upcasters.find(|upcaster| {
        u64::from(upcaster.version) == stored && upcaster.names.contains(&event.event_type.as_str())
    });
    let Some(upcaster) = found else {
        return Err(EventError::NoUpcast {
            event_type: event.event_type.clone(),
            version: stored,
            current,
        });
    };
    let upcast = (upcaster.upcast)(&event.data);
    upcast.map(Some).map_err(|error| EventError::Malformed {
        event_type: event.event_type.clone(),
        reason: format!("it was stored as version {stored}, and {error}"),
    })
}
