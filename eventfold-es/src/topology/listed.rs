//! The use of the parts of a declared store by generated code.

use std::marker::PhantomData;

use super::{AggregateNode, EventHandlerNode, ProcessManagerNode, ProjectionNode};
use crate::aggregate::Aggregate;
use crate::command::Command;
use crate::envelope::DispatchTarget;
use crate::error::ReadError;
use crate::event_handler::EventHandler;
use crate::process_manager::ProcessManager;
use crate::projection::ReadModel;
use crate::schema::Schema;
use crate::store::{AggregateStoreBuilder, RawRecorded};

/// The use of an entry of `aggregates` by generated code. There is one form only, so that rustc reports an entry that
/// is not an aggregate once, with the words of [`Aggregate`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an aggregate",
    label = "not an aggregate",
    note = "put `#[aggregate]` on `{Self}` and implement `Decider` for it, or implement `Aggregate` by hand",
    note = "where an aggregate is asked for, its own type is meant (`Order`), not its command or its event",
    note = "in `subscribes`, list the aggregate (`Order`, and not `OrderEvent`), and match on its events in the handler; a deadline is handled by `impl OnDeadline<..>`"
)]
pub trait ListedAggregate {
    /// Its events.
    type Event;

    /// Its place in a drawing.
    const NODE: AggregateNode;

    /// Decodes an event of the aggregate.
    ///
    /// # Errors
    ///
    /// [`ReadError::Event`] if the event does not decode.
    fn decode(event: &RawRecorded) -> Result<Self::Event, ReadError>;

    /// Adds its events and its state.
    fn declare(schema: Schema) -> Schema;
}

#[diagnostic::do_not_recommend]
impl<A: Aggregate> ListedAggregate for A {
    type Event = A::DomainEvent;

    fn decode(event: &RawRecorded) -> Result<Self::Event, ReadError> {
        event.decoded::<A>()
    }

    const NODE: AggregateNode = AggregateNode::of::<A>("");

    fn declare(schema: Schema) -> Schema {
        schema.aggregate::<A>()
    }
}

/// The use of an entry of `schedules` by generated code.
#[cfg(feature = "schedules")]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a schedule",
    label = "not a schedule",
    note = "put `#[schedule(cron = \"0 2 * * *\", time_zone = \"Europe/Berlin\")]` on `{Self}`, or implement `Schedule` by hand"
)]
pub trait ListedSchedule {
    /// Registers it.
    fn register(builder: AggregateStoreBuilder) -> AggregateStoreBuilder;
}

#[cfg(feature = "schedules")]
#[diagnostic::do_not_recommend]
impl<S: crate::schedule::Schedule> ListedSchedule for S {
    fn register(builder: AggregateStoreBuilder) -> AggregateStoreBuilder {
        builder.schedule::<S>()
    }
}

/// The use of an entry of `process_managers` by generated code.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a process manager",
    label = "not a process manager",
    note = "put `#[process_manager(subscribes = [..], dispatches = [..])]` on `{Self}`, or implement `ProcessManager` by hand",
    note = "an event handler is listed in `event_handlers = [..]`"
)]
pub trait ListedProcessManager {
    /// Its place in a drawing.
    const NODE: ProcessManagerNode;

    /// Registers it.
    fn register(builder: AggregateStoreBuilder) -> AggregateStoreBuilder;

    /// Adds its state.
    fn declare(schema: Schema) -> Schema;
}

#[diagnostic::do_not_recommend]
impl<PM: ProcessManager> ListedProcessManager for PM {
    const NODE: ProcessManagerNode = ProcessManagerNode::of::<PM>("");

    fn register(builder: AggregateStoreBuilder) -> AggregateStoreBuilder {
        builder.process_manager::<PM>()
    }

    fn declare(schema: Schema) -> Schema {
        schema.process_manager::<PM>()
    }
}

/// The use of an entry of `event_handlers` by generated code.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event handler",
    label = "not an event handler",
    note = "put `#[event_handler(subscribes = [..], dispatches = [..])]` on `{Self}`, or implement `EventHandler` by hand"
)]
pub trait ListedEventHandler: Sized {
    /// Its place in a drawing.
    const NODE: EventHandlerNode;

    /// Gives its value to the builder.
    fn register(builder: AggregateStoreBuilder, handler: Self) -> AggregateStoreBuilder;

    /// Adds its subscriptions and its key.
    fn declare(schema: Schema) -> Schema;
}

#[diagnostic::do_not_recommend]
impl<H: EventHandler> ListedEventHandler for H {
    const NODE: EventHandlerNode = EventHandlerNode::of::<H>("");

    fn register(builder: AggregateStoreBuilder, handler: Self) -> AggregateStoreBuilder {
        builder.event_handler(handler)
    }

    fn declare(schema: Schema) -> Schema {
        schema.event_handler::<H>()
    }
}

/// The use of an entry of `projections` by generated code.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a projection",
    label = "not a projection",
    note = "put `#[projection(subscribes = [..])]` on `{Self}`, or implement `Projection` by hand"
)]
pub trait ListedProjection {
    /// Its place in a drawing.
    const NODE: ProjectionNode;

    /// Registers it.
    fn register(builder: AggregateStoreBuilder) -> AggregateStoreBuilder;

    /// Adds its rows, if it has rows.
    fn declare(schema: Schema) -> Schema;
}

#[diagnostic::do_not_recommend]
impl<P: ReadModel> ListedProjection for P {
    const NODE: ProjectionNode = ProjectionNode::of::<P>("");

    fn register(builder: AggregateStoreBuilder) -> AggregateStoreBuilder {
        builder.projection::<P>()
    }

    fn declare(schema: Schema) -> Schema {
        P::declare(schema)
    }
}

/// `Commands::<Order>::accept(builder)` registers `Order` as a target of erased envelopes if possible. Otherwise the builder only
/// notes that it does not know all aggregates. The inherent function exists for targets only. It takes precedence over the function of [`NotATarget`].
pub struct Commands<A>(PhantomData<A>);

impl<A: DispatchTarget> Commands<A> {
    /// Registers a target.
    pub fn accept(builder: AggregateStoreBuilder) -> AggregateStoreBuilder {
        let builder = builder.aggregate_type::<A>();
        builder.declares(true)
    }
}

/// See [`Commands`].
pub trait NotATarget {
    /// Registers nothing.
    fn accept(builder: AggregateStoreBuilder) -> AggregateStoreBuilder {
        builder.declares(false)
    }
}

impl<A> NotATarget for Commands<A> {}

/// `Commands::<Order>::OWNER` is the stored name of the aggregate that [`Command`] assigns to the commands of `Order`,
/// usually that of `Order` itself. The inherent constant takes precedence over the constant of [`OfNobody`], which
/// stands for commands without an aggregate.
impl<A> Commands<A>
where
    A: Aggregate,
    A::Command: Command,
{
    /// The stored name of their aggregate.
    pub const OWNER: Option<&'static str> =
        Some(<<A::Command as Command>::Aggregate as Aggregate>::AGGREGATE_TYPE);
}

/// See [`Commands`].
pub trait OfNobody {
    /// They have no aggregate.
    const OWNER: Option<&'static str> = None;
}

impl<A> OfNobody for Commands<A> {}
