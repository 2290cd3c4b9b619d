//! `#[event_store]`.

pub(crate) mod events;
mod expand;
pub(crate) mod handlers;
mod member;
pub(crate) mod model;

use proc_macro2::TokenStream;

use model::Model;

use crate::diagnostics::Diagnostics;
use crate::fallback;

/// The annotated item, followed by the code that `#[event_store]` generates.
pub(crate) fn event_store(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let diagnostics = Diagnostics::new();
    let model = Model::new(arguments, &item, &diagnostics);
    let mut output = item;
    match (diagnostics.finish(), model) {
        (None, Some(model)) => output.extend(expand::expand(&model)),
        (errors, model) => {
            output.extend(errors);
            output.extend(model.as_ref().map(fallback::event_store));
        }
    }
    output
}
