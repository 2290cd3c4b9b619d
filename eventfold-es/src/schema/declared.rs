//! The declarations of all parts of a program.

use super::{EventSchema, NamedType, Shape, Variant};
use crate::aggregate::Aggregate;
use crate::event::DomainEvent;
use crate::event_handler::EventHandler;
use crate::process_manager::ProcessManager;
use crate::projection::RowProjection;

/// The stored shapes of a store's parts: its events, the states of its aggregates and process managers, and the rows of its
/// projections. An event handler has no stored state, so it has its subscriptions and its key here.
///
/// [`#[event_store]`](macro@crate::event_store) generates a schema, `Shop::schema()`; without it, name the parts here.
/// One line in a test compares them with a file that is checked in; see [`check`](Self::check).
///
/// # Examples
///
/// ```
/// use eventfold_es::prelude::*;
/// use eventfold_es::schema::Schema;
/// # #[derive(Debug, Clone, Serialize, Deserialize)]
/// # pub enum LampCommand { Switch }
/// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
/// # #[serde(tag = "type", content = "data")]
/// # pub enum LampEvent { Switched { by: String } }
/// # #[aggregate(error = std::convert::Infallible)]
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Lamp { on: bool }
/// # impl Decider for Lamp {
/// #     fn decide(&self, _: LampCommand) -> Result<Vec<LampEvent>, std::convert::Infallible> { Ok(vec![]) }
/// #     fn evolve(&mut self, _: &LampEvent) {}
/// # }
///
/// let schema = Schema::new("House").aggregate::<Lamp>();
/// assert_eq!(schema.to_lock(), "\
/// ## The stored shapes of House. A test compares them with the program; with EVENTFOLD_BLESS=1 it writes them anew.
/// format 1
///
/// aggregate lamp
///   event Switched
///     struct
///       by: String
///   state version 0
///     struct
///       on: bool
/// ");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    pub(super) name: String,
    pub(super) parts: Parts,
}

/// The compared parts, in the order of the stored names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) aggregates: Vec<AggregateShapes>,
    pub(super) process_managers: Vec<ProcessManagerShapes>,
    pub(super) event_handlers: Vec<HandlerShape>,
    /// The projections with rows.
    pub(super) projections: Vec<RowShapes>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AggregateShapes {
    pub(super) name: String,
    pub(super) events: Vec<EventShape>,
    pub(super) state: StateShape,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProcessManagerShapes {
    pub(super) name: String,
    /// The name of its key's type; empty if it is unknown, or without a key.
    pub(super) key: String,
    pub(super) state: StateShape,
    /// The messages of its deadlines, by their stored names.
    pub(super) deadlines: Vec<TypeShape>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HandlerShape {
    pub(super) name: String,
    /// The name of its key's type; empty if its events are in order per stream, or if it is unknown.
    pub(super) key: String,
    /// The stored names of the subscribed aggregates, in their order.
    pub(super) subscriptions: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RowShapes {
    pub(super) name: String,
    /// The name of its key's type; empty if it is unknown.
    pub(super) key: String,
    /// In the order of their names.
    pub(super) indexes: Vec<IndexShape>,
    pub(super) row: StateShape,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IndexShape {
    pub(super) name: String,
    /// The name of the type of its values; empty if it is unknown.
    pub(super) type_name: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventShape {
    pub(super) name: String,
    pub(super) aliases: Vec<String>,
    pub(super) version: u32,
    pub(super) is_retired: bool,
    pub(super) data: Data,
    /// The types in it with a known shape.
    pub(super) types: Vec<TypeShape>,
    /// The types of its older versions, from version 1 on.
    pub(super) past: Vec<TypeShape>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StateShape {
    pub(super) version: u32,
    pub(super) data: Data,
    pub(super) types: Vec<TypeShape>,
}

/// A type by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TypeShape {
    pub(super) name: String,
    pub(super) data: Data,
    /// The types in it with a known shape. For a type in such a list it is empty: that list has these types, too.
    pub(super) types: Vec<TypeShape>,
}

/// A [`Shape`] with owned names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Data {
    Unknown,
    Unit,
    Tuple(Vec<Value>),
    Struct { fields: Vec<Value>, is_strict: bool },
    Enum(Vec<Case>),
    Custom(String),
    Converted(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) aliases: Vec<String>,
    pub(super) data: Data,
}

/// A [`Field`](super::Field) with owned names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) name: String,
    pub(super) aliases: Vec<String>,
    pub(super) type_name: String,
    pub(super) is_optional: bool,
    pub(super) form: String,
}

impl Value {
    /// Whether its type determines the stored shape: a function may store anything.
    pub(super) fn is_checked(&self) -> bool {
        matches!(self.form.as_str(), "" | "flatten")
    }
}

impl Schema {
    /// A schema without parts, of the store `name`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            parts: Parts::default(),
        }
    }

    /// Adds the events and the state of the aggregate `A`.
    #[must_use]
    pub fn aggregate<A: Aggregate>(mut self) -> Self {
        let state = StateShape::of(A::SNAPSHOT_VERSION, &A::STATE);
        let events = events(A::DomainEvent::SCHEMAS, A::DomainEvent::EVENT_TYPES);
        self.parts.add_aggregate(A::AGGREGATE_TYPE, events, state);
        self
    }

    /// Adds the state of the process manager `PM`, and the messages of its deadlines.
    #[must_use]
    pub fn process_manager<PM: ProcessManager>(mut self) -> Self {
        let state = StateShape::of(PM::STATE_VERSION, &PM::STATE);
        let deadlines = deadlines(PM::DEADLINE_MESSAGES, PM::DEADLINES);
        let parts = &mut self.parts;
        parts.add_process_manager(PM::NAME, PM::KEY_TYPE, state, deadlines);
        self
    }

    /// Adds the subscriptions of the event handler `H`, and the type of its key. It has no stored state.
    #[must_use]
    pub fn event_handler<H: EventHandler>(mut self) -> Self {
        let parts = &mut self.parts;
        parts.add_event_handler(H::NAME, H::KEY_TYPE, H::SUBSCRIPTIONS);
        self
    }

    /// Adds the rows of the projection `P`, with its key and its indexes.
    #[must_use]
    pub fn rows<P: RowProjection>(mut self) -> Self {
        let row = StateShape::of(P::VERSION, &P::ROW);
        let indexes = indexes(P::INDEXES, P::INDEX_TYPES);
        self.parts.add_rows(P::NAME, P::KEY_TYPE, indexes, row);
        self
    }
}

// Nothing below is generic: it would be compiled again for each part of a program.

impl Parts {
    fn add_aggregate(&mut self, name: &str, events: Vec<EventShape>, state: StateShape) {
        self.aggregates.push(AggregateShapes {
            name: name.to_owned(),
            events,
            state,
        });
        self.sort();
    }

    fn add_process_manager(
        &mut self,
        name: &str,
        key: &str,
        state: StateShape,
        deadlines: Vec<TypeShape>,
    ) {
        self.process_managers.push(ProcessManagerShapes {
            name: name.to_owned(),
            key: key.to_owned(),
            state,
            deadlines,
        });
        self.sort();
    }

    fn add_event_handler(&mut self, name: &str, key: &str, subscriptions: &[&str]) {
        let mut subscriptions = owned(subscriptions);
        subscriptions.sort();
        self.event_handlers.push(HandlerShape {
            name: name.to_owned(),
            key: key.to_owned(),
            subscriptions,
        });
        self.sort();
    }

    fn add_rows(&mut self, name: &str, key: &str, indexes: Vec<IndexShape>, row: StateShape) {
        self.projections.push(RowShapes {
            name: name.to_owned(),
            key: key.to_owned(),
            indexes,
            row,
        });
        self.sort();
    }

    /// Sorts the parts into an order that does not depend on their declaration, and removes repetitions.
    fn sort(&mut self) {
        self.aggregates
            .sort_by(|left, right| left.name.cmp(&right.name));
        self.aggregates.dedup();
        self.process_managers
            .sort_by(|left, right| left.name.cmp(&right.name));
        self.process_managers.dedup();
        self.event_handlers
            .sort_by(|left, right| left.name.cmp(&right.name));
        self.event_handlers.dedup();
        self.projections
            .sort_by(|left, right| left.name.cmp(&right.name));
        self.projections.dedup();
    }
}

impl StateShape {
    fn of(version: u32, shape: &Shape) -> Self {
        Self {
            version,
            data: Data::from(shape),
            types: types_in(shape),
        }
    }
}

/// The events with these schemas. Without schemas, the events with these names, whose shapes are unknown.
fn events(schemas: &[EventSchema], names: &[&'static str]) -> Vec<EventShape> {
    let unknown = |name: &&'static str| EventShape::from(&EventSchema::new(name, Shape::Unknown));
    match schemas {
        [] => names.iter().map(unknown).collect(),
        _ => schemas.iter().map(EventShape::from).collect(),
    }
}

impl From<&EventSchema> for EventShape {
    fn from(schema: &EventSchema) -> Self {
        Self {
            name: schema.name.to_owned(),
            aliases: owned(schema.aliases),
            version: schema.version,
            is_retired: schema.is_retired,
            data: Data::from(&schema.shape),
            types: types_in(&schema.shape),
            past: schema.past.iter().map(TypeShape::of).collect(),
        }
    }
}

impl TypeShape {
    fn of(named: &NamedType) -> Self {
        let shape = named.shape();
        Self {
            name: named.name.to_owned(),
            data: Data::from(&shape),
            types: types_in(&shape),
        }
    }
}

/// The messages of deadlines, in the order of their names. The shapes of a hand-written type are unknown.
fn deadlines(messages: &[NamedType], names: &[&'static str]) -> Vec<TypeShape> {
    let mut deadlines: Vec<TypeShape> = messages.iter().map(TypeShape::of).collect();
    for name in names {
        if deadlines.iter().all(|known| known.name != *name) {
            deadlines.push(TypeShape::of(&NamedType::new(name, None)));
        }
    }
    deadlines.sort_by(|left, right| left.name.cmp(&right.name));
    deadlines
}

/// The indexes with these names, in the order of their names. A missing type is unknown.
fn indexes(names: &[&str], types: &[&str]) -> Vec<IndexShape> {
    let types = types.iter().copied().chain(std::iter::repeat(""));
    let mut indexes: Vec<IndexShape> = names
        .iter()
        .zip(types)
        .map(|(name, type_name)| IndexShape {
            name: (*name).to_owned(),
            type_name: type_name.to_owned(),
        })
        .collect();
    indexes.sort_by(|left, right| left.name.cmp(&right.name));
    indexes
}

/// The types in `shape` with a known shape, and the types in them, in the order of their names. A recursive type appears once.
fn types_in(shape: &Shape) -> Vec<TypeShape> {
    let mut found: Vec<TypeShape> = Vec::new();
    let mut rest = named_in(shape);
    while let Some(named) = rest.pop() {
        let shape = named.shape();
        let known = TypeShape {
            name: named.name.to_owned(),
            data: Data::from(&shape),
            types: Vec::new(),
        };
        if shape != Shape::Unknown && !found.contains(&known) {
            rest.extend(named_in(&shape));
            found.push(known);
        }
    }
    found.sort_by(|left, right| left.name.cmp(&right.name));
    found
}

fn named_in(shape: &Shape) -> Vec<NamedType> {
    match shape {
        Shape::Unknown | Shape::Unit | Shape::Custom(_) | Shape::Converted(_) => Vec::new(),
        Shape::Tuple(fields) | Shape::Struct(fields) | Shape::StrictStruct(fields) => fields
            .iter()
            .flat_map(|field| field.types)
            .copied()
            .collect(),
        Shape::Enum(variants) => variants
            .iter()
            .flat_map(|variant| named_in(&variant.shape))
            .collect(),
    }
}

impl From<&Shape> for Data {
    fn from(shape: &Shape) -> Self {
        let values = |fields: &[super::Field]| -> Vec<Value> {
            fields
                .iter()
                .map(|field| Value {
                    name: field.name.to_owned(),
                    aliases: owned(field.aliases),
                    type_name: field.type_name.to_owned(),
                    is_optional: field.is_optional,
                    form: field.form.to_owned(),
                })
                .collect()
        };
        match shape {
            Shape::Unknown => Self::Unknown,
            Shape::Unit => Self::Unit,
            Shape::Tuple(fields) => Self::Tuple(values(fields)),
            Shape::Struct(fields) => Self::Struct {
                fields: values(fields),
                is_strict: false,
            },
            Shape::StrictStruct(fields) => Self::Struct {
                fields: values(fields),
                is_strict: true,
            },
            Shape::Enum(variants) => Self::Enum(
                variants
                    .iter()
                    .map(
                        |Variant {
                             name,
                             aliases,
                             shape,
                         }| Case {
                            name: (*name).to_owned(),
                            aliases: owned(aliases),
                            data: Self::from(shape),
                        },
                    )
                    .collect(),
            ),
            Shape::Custom(text) => Self::Custom((*text).to_owned()),
            Shape::Converted(text) => Self::Converted((*text).to_owned()),
        }
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}
