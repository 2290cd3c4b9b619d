//! The macros of `eventfold-es`, which exports them: depend on that crate, not on this one.

mod aggregate;
mod attributes;
mod diagnostics;
mod domain_event;
#[cfg(test)]
mod expansions;
mod fallback;
mod item;
mod lists;
mod names;
mod path;
mod process_manager;
mod projection;

use proc_macro::TokenStream;

/// Declares an aggregate.
#[proc_macro_attribute]
pub fn aggregate(arguments: TokenStream, item: TokenStream) -> TokenStream {
    aggregate::aggregate(arguments.into(), item.into()).into()
}

/// Declares a process manager.
#[proc_macro_attribute]
pub fn process_manager(arguments: TokenStream, item: TokenStream) -> TokenStream {
    process_manager::process_manager(arguments.into(), item.into()).into()
}

/// Declares a projection.
#[proc_macro_attribute]
pub fn projection(arguments: TokenStream, item: TokenStream) -> TokenStream {
    projection::projection(arguments.into(), item.into()).into()
}

/// Implements `DomainEvent`.
#[proc_macro_derive(DomainEvent, attributes(serde, domain_event))]
pub fn domain_event(item: TokenStream) -> TokenStream {
    domain_event::domain_event(item.into()).into()
}
