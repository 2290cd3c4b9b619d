//! `#[event_handler]`.

mod expand;
pub(crate) mod model;
mod stored;

use proc_macro2::TokenStream;

use model::Model;

use crate::diagnostics::Diagnostics;
use crate::{declared, fallback, not_derives};

/// The annotated item, followed by the code that `#[event_handler]` generates.
pub(crate) fn event_handler(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let diagnostics = Diagnostics::new();
    let item = not_derives::taken_from(item, "EventHandler", "event_handler", &diagnostics);
    let item = stored::taken_from(item, &diagnostics);
    let model = Model::new(arguments, &item, &diagnostics);
    // An impl has no stubs if its type has them, or needs none.
    let model = model.filter(|model| declared::is_first("event_handler", &model.ident, &item));
    let errors = diagnostics.finish();
    fallback::declaration(
        item,
        errors,
        model,
        |model| (&model.generics, &model.krate),
        expand::expand,
        fallback::event_handler,
    )
}
