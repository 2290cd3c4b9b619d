//! `#[projection]`.

mod expand;
pub(crate) mod model;

use proc_macro2::TokenStream;

use model::Model;

use crate::diagnostics::Diagnostics;
use crate::{fallback, not_derives};

/// The annotated item, followed by what `#[projection]` generates.
pub(crate) fn projection(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let diagnostics = Diagnostics::new();
    let item = not_derives::taken_from(item, "Projection", "projection", &diagnostics);
    let model = Model::new(arguments, &item, &diagnostics);
    let mut output = item;
    match (diagnostics.finish(), model) {
        (None, Some(model)) => output.extend(expand::expand(&model)),
        (errors, model) => {
            output.extend(errors);
            output.extend(model.as_ref().map(fallback::projection));
        }
    }
    output
}
