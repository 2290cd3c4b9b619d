//! How generated code uses the parts of a declared store.

use std::marker::PhantomData;

use super::{AggregateNode, ProcessManagerNode, ProjectionNode};
use crate::aggregate::Aggregate;
use crate::command::Command;
use crate::envelope::DispatchTarget;
use crate::error::ReadError;
use crate::process_manager::ProcessManager;
use crate::projection::Projection;
use crate::schema::Schema;
use crate::store::{AggregateStoreBuilder, RawRecorded};

/// How generated code uses an entry of `aggregates`: in one form only, so that rustc reports one that is
/// none once, and with the words and notes of [`Aggregate`].
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

    /// Its stored name.
    const NAME: &'static str;

    /// Its place in a drawing.
    const NODE: AggregateNode;

    /// Decodes an event of it.
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

    const NAME: &'static str = A::AGGREGATE_TYPE;

    fn decode(event: &RawRecorded) -> Result<Self::Event, ReadError> {
        event.decoded::<A>()
    }

    const NODE: AggregateNode = AggregateNode::of::<A>("");

    fn declare(schema: Schema) -> Schema {
        schema.aggregate::<A>()
    }
}

/// How generated code uses an entry of `process_managers`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a process manager",
    label = "not a process manager",
    note = "put `#[process_manager(subscribes = [..], dispatches = [..])]` on `{Self}`, or implement `ProcessManager` by hand"
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

/// How generated code uses an entry of `projections`.
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
}

#[diagnostic::do_not_recommend]
impl<P: Projection> ListedProjection for P {
    const NODE: ProjectionNode = ProjectionNode::of::<P>("");

    fn register(builder: AggregateStoreBuilder) -> AggregateStoreBuilder {
        builder.projection::<P>()
    }
}

/// `Commands::<Order>::accept(builder)` registers `Order` as a target of erased envelopes if it can be one, and does nothing
/// otherwise: the inherent function, which exists for targets only, goes before that of [`NotATarget`].
pub struct Commands<A>(PhantomData<A>);

impl<A: DispatchTarget> Commands<A> {
    /// Registers a target.
    pub fn accept(builder: AggregateStoreBuilder) -> AggregateStoreBuilder {
        builder.aggregate_type::<A>()
    }
}

/// See [`Commands`].
pub trait NotATarget {
    /// Registers nothing.
    fn accept(builder: AggregateStoreBuilder) -> AggregateStoreBuilder {
        builder
    }
}

impl<A> NotATarget for Commands<A> {}

/// `Commands::<Order>::OWNER` is the stored name of the aggregate that the commands of `Order` find by their type, as
/// [`Command`] says: that of `Order`, as a rule. As above, the constant of [`OfNobody`] stands in where they find none.
impl<A> Commands<A>
where
    A: Aggregate,
    A::Command: Command,
{
    /// Where they go.
    pub const OWNER: Option<&'static str> =
        Some(<<A::Command as Command>::Aggregate as Aggregate>::AGGREGATE_TYPE);
}

/// See [`Commands`].
pub trait OfNobody {
    /// They find none.
    const OWNER: Option<&'static str> = None;
}

impl<A> OfNobody for Commands<A> {}
