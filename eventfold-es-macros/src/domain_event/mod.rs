//! `#[derive(DomainEvent)]`.

mod expand;
mod model;
mod serde_attributes;

use proc_macro2::TokenStream;

pub(crate) use model::Model;

use crate::diagnostics::Diagnostics;
use crate::fallback;

/// What `#[derive(DomainEvent)]` generates.
pub(crate) fn domain_event(item: TokenStream) -> TokenStream {
    let diagnostics = Diagnostics::new();
    let model = Model::new(item, &diagnostics);
    match (diagnostics.finish(), model) {
        (None, Some(model)) => expand::expand(&model),
        (errors, model) => {
            let mut output = errors.unwrap_or_default();
            output.extend(model.as_ref().map(fallback::domain_event));
            output
        }
    }
}
