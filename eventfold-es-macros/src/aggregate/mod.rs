//! `#[aggregate]`.

mod expand;
pub(crate) mod model;

use proc_macro2::TokenStream;

use model::Model;

use crate::diagnostics::Diagnostics;
use crate::{declared, fallback, not_derives};

/// The annotated item, followed by what `#[aggregate]` generates.
pub(crate) fn aggregate(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let diagnostics = Diagnostics::new();
    let item = not_derives::taken_from(item, "Aggregate", "aggregate", &diagnostics);
    let model = Model::new(arguments, &item, &diagnostics);
    // An impl has no stubs if its type has them, or needs none.
    let model = model.filter(|model| declared::is_first("aggregate", &model.ident, &item));
    match (diagnostics.finish(), model) {
        (None, Some(model)) => {
            let mut output = item;
            output.extend(expand::expand(&model));
            output
        }
        (errors, None) => {
            let mut output = item;
            output.extend(errors);
            output
        }
        (errors, Some(model)) => {
            let stubs = |errors| fallback::aggregate(&model, errors);
            fallback::declaration(item, errors, &model.generics, &model.krate, stubs)
        }
    }
}
