//! `#[projection]`.

mod expand;
mod index;
mod memory;
pub(crate) mod model;
mod parts;
pub(crate) mod rows;
pub(crate) mod sink;

use proc_macro2::TokenStream;

use model::Model;

use crate::diagnostics::Diagnostics;
use crate::{declared, fallback, not_derives};

/// The annotated item, followed by the code that `#[projection]` generates.
pub(crate) fn projection(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let diagnostics = Diagnostics::new();
    let item = not_derives::taken_from(item, "Projection", "projection", &diagnostics);
    let (model, item) = Model::new(arguments, item, &diagnostics);
    // An impl has no stubs if its type has them, or needs none.
    let model = model.filter(|model| declared::is_first("projection", &model.ident, &item));
    let errors = diagnostics.finish();
    fallback::declaration(
        item,
        errors,
        model,
        |model| (&model.generics, &model.krate),
        expand::expand,
        fallback::projection,
    )
}
