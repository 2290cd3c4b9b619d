//! The macros of `eventfold-es`.

use proc_macro::TokenStream;

/// Declares an aggregate.
#[proc_macro_attribute]
pub fn aggregate(_arguments: TokenStream, item: TokenStream) -> TokenStream {
    item
}

/// Declares a process manager.
#[proc_macro_attribute]
pub fn process_manager(_arguments: TokenStream, item: TokenStream) -> TokenStream {
    item
}

/// Declares a projection.
#[proc_macro_attribute]
pub fn projection(_arguments: TokenStream, item: TokenStream) -> TokenStream {
    item
}

/// Implements `DomainEvent`.
#[proc_macro_derive(DomainEvent, attributes(serde))]
pub fn domain_event(_item: TokenStream) -> TokenStream {
    TokenStream::new()
}
