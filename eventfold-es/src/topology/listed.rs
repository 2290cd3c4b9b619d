//! How generated code uses the parts of a declared store.

use std::marker::PhantomData;

use super::{AggregateNode, ProcessManagerNode, ProjectionNode};
use crate::aggregate::Aggregate;
use crate::envelope::DispatchTarget;
use crate::process_manager::ProcessManager;
use crate::projection::Projection;
use crate::schema::Schema;
use crate::store::AggregateStoreBuilder;

/// How generated code uses an entry of `aggregates`: in one form only, so that rustc reports one that is
/// none once, and with the words of [`Aggregate`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an aggregate",
    label = "not an aggregate",
    note = "put `#[aggregate]` on `{Self}` and implement `Decider` for it, or implement `Aggregate` by hand",
    note = "where an aggregate is asked for, its own type is meant (`Order`), not its command or its event"
)]
pub trait ListedAggregate {
    /// Its place in a drawing.
    const NODE: AggregateNode;

    /// What it decides.
    type Command;

    /// Adds its events and its state.
    fn declare(schema: Schema) -> Schema;
}

#[diagnostic::do_not_recommend]
impl<A: Aggregate> ListedAggregate for A {
    const NODE: AggregateNode = AggregateNode::of::<A>("");

    type Command = A::Command;

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

/// `Pair::<A, B>::ARE_ONE` tells whether two types are one: the inherent constant, which exists for equal types only, goes
/// before that of [`Different`].
pub struct Pair<A, B>(PhantomData<(A, B)>);

impl<T> Pair<T, T> {
    /// They are.
    pub const ARE_ONE: bool = true;
}

/// See [`Pair`].
pub trait Different {
    /// They are not.
    const ARE_ONE: bool = false;
}

impl<A, B> Different for Pair<A, B> {}
