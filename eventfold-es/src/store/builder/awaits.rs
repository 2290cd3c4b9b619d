//! The builder of a declared store, until it has the event handlers of that store.

use std::future::{Pending, pending};
use std::marker::PhantomData;

use super::AggregateStoreBuilder;
use crate::error::OpenError;
use crate::event_handler::EventHandler;
use crate::store::AggregateStore;

/// The state of a builder that awaits the event handler `H`, and then the handlers of `Rest`.
///
/// An [`#[event_store]`](macro@crate::event_store) with `event_handlers = [Mailer, Auditor]` begins with
/// `AggregateStoreBuilder<Awaits<Mailer, Awaits<Auditor>>>`. It takes the handlers in the order of the list, and has an `open` when none is
/// missing.
pub struct Awaits<H, Rest = ()>(PhantomData<fn() -> (H, Rest)>);

/// No type implements it: the bound of an `open` that does not exist yet.
#[diagnostic::on_unimplemented(
    message = "the event handler `{Self}` of this store is not given to the builder",
    label = "`{Self}` is missing",
    note = "write `.event_handler({Self} {{ .. }})` before `.open()`; several handlers are given in the order of `event_handlers = [..]`"
)]
pub trait Given {}

impl<H: EventHandler, Rest> AggregateStoreBuilder<Awaits<H, Rest>> {
    /// Gives the builder of a declared store its next event handler.
    pub fn event_handler(self, handler: H) -> AggregateStoreBuilder<Rest> {
        let builder: AggregateStoreBuilder = self.awaiting();
        builder.event_handler(handler).awaiting()
    }
}

impl<H, Rest> AggregateStoreBuilder<Awaits<H, Rest>> {
    /// Not there yet: an event handler is missing. The error names it.
    #[doc(hidden)]
    pub fn open(self) -> Pending<Result<AggregateStore, OpenError>>
    where
        H: Given,
    {
        pending()
    }
}

impl<Handlers> AggregateStoreBuilder<Handlers> {
    /// The same builder in another state.
    #[doc(hidden)]
    pub fn awaiting<Others>(self) -> AggregateStoreBuilder<Others> {
        let Self {
            base,
            disk,
            process_managers,
            projections,
            sinks,
            #[cfg(feature = "schedules")]
            schedules,
            targets,
            idle_timeout,
            snapshot_every,
            run_mode,
            handler_patience,
            reaction_timeout,
            waits,
            max_reaction_depth,
            max_starts,
            parks_unreadable,
            clock,
            journal,
            node,
            threads,
            handlers: PhantomData,
        } = self;
        AggregateStoreBuilder {
            base,
            disk,
            process_managers,
            projections,
            sinks,
            #[cfg(feature = "schedules")]
            schedules,
            targets,
            idle_timeout,
            snapshot_every,
            run_mode,
            handler_patience,
            reaction_timeout,
            waits,
            max_reaction_depth,
            max_starts,
            parks_unreadable,
            clock,
            journal,
            node,
            threads,
            handlers: PhantomData,
        }
    }
}
