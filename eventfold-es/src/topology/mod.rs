//! The parts of a store and their connections: known at compile time, drawn without opening a store.

mod draw;
#[doc(hidden)]
pub mod listed;
#[doc(hidden)]
pub mod objection;

use crate::aggregate::Aggregate;
use crate::event::DomainEvent;
use crate::event_handler::EventHandler;
use crate::process_manager::ProcessManager;
use crate::projection::ReadModel;
use crate::schema::EventSchema;

/// The parts of a store, and their connections.
///
/// [`#[event_store]`](macro@crate::event_store) generates the topology of a store, `Shop::topology()`.
///
/// # Examples
///
/// ```
/// use eventfold_es::prelude::*;
/// # use std::convert::Infallible;
/// # #[derive(Debug, Clone, Serialize, Deserialize)]
/// # pub enum LampCommand { Switch }
/// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
/// # #[serde(tag = "type", content = "data")]
/// # pub enum LampEvent { Switched }
/// # #[aggregate(error = Infallible)]
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Lamp;
/// # impl Decider for Lamp {
/// #     fn decide(&self, _: LampCommand) -> Result<Vec<LampEvent>, Infallible> { Ok(vec![]) }
/// #     fn evolve(&mut self, _: &LampEvent) {}
/// # }
/// # #[projection(subscribes = [Lamp])]
/// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
/// # pub struct Usage;
/// # impl Project<Lamp> for Usage { fn project(&mut self, _: &LampEvent, _: &EventContext<'_>) {} }
///
/// #[event_store(aggregates = [Lamp], projections = [Usage])]
/// pub struct House;
///
/// let drawing = House::topology().to_mermaid();
/// assert!(drawing.starts_with("flowchart LR\n"));
/// assert!(drawing.contains("aggregate0 -.-> projection0"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Topology {
    /// The name of the store's type in the program.
    pub name: &'static str,
    /// In the order of their declaration.
    pub aggregates: &'static [AggregateNode],
    /// In the order of their declaration.
    pub process_managers: &'static [ProcessManagerNode],
    /// In the order of their declaration.
    pub projections: &'static [ProjectionNode],
    /// In the order of their declaration.
    pub event_handlers: &'static [EventHandlerNode],
}

/// An aggregate of a [`Topology`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct AggregateNode {
    /// The name of the type in the program.
    pub type_name: &'static str,
    /// Its stored name.
    pub name: &'static str,
    /// The name of the type of its commands in the program; empty if it is unknown.
    pub command_type: &'static str,
    /// Every stored name of its events that it reads: first the written names, then the aliases.
    pub events: &'static [&'static str],
    /// The stored shapes of its events; empty if they are unknown.
    pub schemas: &'static [EventSchema],
    /// The stored name of the aggregate of this type of commands; `None` if it is unknown, or if the type does not
    /// determine the aggregate.
    owner: Option<&'static str>,
    /// Whether it is a schedule.
    is_schedule: bool,
    /// Whether the store records its occurrences.
    is_scheduled: bool,
}

/// A process manager of a [`Topology`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessManagerNode {
    /// The name of the type in the program.
    pub type_name: &'static str,
    /// Its stored name.
    pub name: &'static str,
    /// The stored names of the subscribed aggregates; `None` for a hand-written type that does not set them.
    pub subscriptions: Option<&'static [&'static str]>,
    /// The stored names of the target aggregates; `None` as above.
    pub targets: Option<&'static [&'static str]>,
}

/// An event handler of a [`Topology`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventHandlerNode {
    /// The name of the type in the program.
    pub type_name: &'static str,
    /// Its stored name.
    pub name: &'static str,
    /// The stored names of the subscribed aggregates.
    pub subscriptions: &'static [&'static str],
    /// The stored names of the target aggregates; `None` for a hand-written type that does not set them.
    pub targets: Option<&'static [&'static str]>,
}

/// A projection of a [`Topology`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProjectionNode {
    /// The name of the type in the program.
    pub type_name: &'static str,
    /// Its stored name.
    pub name: &'static str,
    /// The stored names of the subscribed aggregates; `None` for a hand-written type that does not set them.
    pub subscriptions: Option<&'static [&'static str]>,
}

/// A connection of two parts of a [`Topology`], by their stored names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Edge {
    /// A process manager reacts to the events of an aggregate.
    Reacts {
        /// The aggregate.
        aggregate: &'static str,
        /// The process manager.
        process_manager: &'static str,
    },
    /// A process manager sends commands to an aggregate.
    Sends {
        /// The process manager.
        process_manager: &'static str,
        /// The aggregate.
        aggregate: &'static str,
    },
    /// An event handler handles the events of an aggregate.
    Handles {
        /// The aggregate.
        aggregate: &'static str,
        /// The event handler.
        event_handler: &'static str,
    },
    /// An event handler sends commands to an aggregate.
    Returns {
        /// The event handler.
        event_handler: &'static str,
        /// The aggregate.
        aggregate: &'static str,
    },
    /// A projection folds the events of an aggregate.
    Folds {
        /// The aggregate.
        aggregate: &'static str,
        /// The projection.
        projection: &'static str,
    },
}

impl Topology {
    /// The topology of the store whose type is `name`.
    #[must_use]
    pub const fn new(
        name: &'static str,
        aggregates: &'static [AggregateNode],
        process_managers: &'static [ProcessManagerNode],
        projections: &'static [ProjectionNode],
    ) -> Self {
        Self {
            name,
            aggregates,
            process_managers,
            projections,
            event_handlers: &[],
        }
    }

    /// The same topology, with these event handlers.
    #[must_use]
    pub const fn with_event_handlers(
        mut self,
        event_handlers: &'static [EventHandlerNode],
    ) -> Self {
        self.event_handlers = event_handlers;
        self
    }

    /// The connections: of each process manager the subscriptions and then the targets, of each event handler likewise, then
    /// of each projection the subscriptions.
    pub fn edges(&self) -> impl Iterator<Item = Edge> + use<> {
        let process_managers = self.process_managers.iter().flat_map(|part| {
            let process_manager = part.name;
            let reacts = known(part.subscriptions).map(move |aggregate| Edge::Reacts {
                aggregate,
                process_manager,
            });
            let sends = known(part.targets).map(move |aggregate| Edge::Sends {
                process_manager,
                aggregate,
            });
            reacts.chain(sends)
        });
        let event_handlers = self.event_handlers.iter().flat_map(|part| {
            let event_handler = part.name;
            let handles = part
                .subscriptions
                .iter()
                .map(move |aggregate| Edge::Handles {
                    aggregate,
                    event_handler,
                });
            let returns = known(part.targets).map(move |aggregate| Edge::Returns {
                event_handler,
                aggregate,
            });
            handles.chain(returns)
        });
        let projections = self.projections.iter().flat_map(|part| {
            known(part.subscriptions).map(|aggregate| Edge::Folds {
                aggregate,
                projection: part.name,
            })
        });
        process_managers.chain(event_handlers).chain(projections)
    }
}

fn known(names: Option<&'static [&'static str]>) -> impl Iterator<Item = &'static str> {
    names.unwrap_or_default().iter().copied()
}

impl AggregateNode {
    /// The aggregate `A`, whose type is `type_name` in the program.
    #[must_use]
    pub const fn of<A: Aggregate>(type_name: &'static str) -> Self {
        Self {
            type_name,
            name: A::AGGREGATE_TYPE,
            command_type: A::COMMAND_TYPE,
            events: <A::DomainEvent as DomainEvent>::EVENT_TYPES,
            schemas: <A::DomainEvent as DomainEvent>::SCHEMAS,
            owner: None,
            is_schedule: A::IS_SCHEDULE,
            is_scheduled: false,
        }
    }

    /// The same node, of a schedule whose occurrences the store records.
    #[doc(hidden)]
    #[must_use]
    pub const fn scheduled(mut self) -> Self {
        self.is_scheduled = true;
        self
    }

    /// The same node, with commands that belong to the aggregate with the stored name `owner`.
    #[doc(hidden)]
    #[must_use]
    pub const fn deciding_for(mut self, owner: Option<&'static str>) -> Self {
        self.owner = owner;
        self
    }

    /// The stored names of the written events: without aliases, and without retired events.
    pub fn written_events(&self) -> impl Iterator<Item = &'static str> + use<> {
        let written = self.schemas.iter().filter(|schema| !schema.is_retired);
        let unknown = if self.schemas.is_empty() {
            self.events
        } else {
            &[]
        };
        written
            .map(|schema| schema.name)
            .chain(unknown.iter().copied())
    }

    /// The same node, of the type `type_name` in the program.
    #[must_use]
    pub const fn called(mut self, type_name: &'static str) -> Self {
        self.type_name = type_name;
        self
    }
}

impl ProcessManagerNode {
    /// The process manager `PM`, whose type is `type_name` in the program.
    #[must_use]
    pub const fn of<PM: ProcessManager>(type_name: &'static str) -> Self {
        Self {
            type_name,
            name: PM::NAME,
            subscriptions: PM::SUBSCRIPTIONS,
            targets: PM::TARGETS,
        }
    }

    /// The same node, of the type `type_name` in the program.
    #[must_use]
    pub const fn called(mut self, type_name: &'static str) -> Self {
        self.type_name = type_name;
        self
    }
}

impl EventHandlerNode {
    /// The event handler `H`, whose type is `type_name` in the program.
    #[must_use]
    pub const fn of<H: EventHandler>(type_name: &'static str) -> Self {
        Self {
            type_name,
            name: H::NAME,
            subscriptions: H::SUBSCRIPTIONS,
            targets: H::TARGETS,
        }
    }

    /// The same node, of the type `type_name` in the program.
    #[must_use]
    pub const fn called(mut self, type_name: &'static str) -> Self {
        self.type_name = type_name;
        self
    }
}

impl ProjectionNode {
    /// The projection `P`, whose type is `type_name` in the program.
    #[must_use]
    pub const fn of<P: ReadModel>(type_name: &'static str) -> Self {
        Self {
            type_name,
            name: P::NAME,
            subscriptions: P::SUBSCRIPTIONS,
        }
    }

    /// The same node, of the type `type_name` in the program.
    #[must_use]
    pub const fn called(mut self, type_name: &'static str) -> Self {
        self.type_name = type_name;
        self
    }
}
