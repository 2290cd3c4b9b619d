//! `#[aggregate]`.

mod expand;
pub(crate) mod model;

use proc_macro2::TokenStream;

use model::Model;

use crate::diagnostics::Diagnostics;
use crate::{declared, fallback, item, not_derives};

/// The annotated item, followed by the code that `#[aggregate]` generates.
pub(crate) fn aggregate(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let diagnostics = Diagnostics::new();
    let item = not_derives::taken_from(item, "Aggregate", "aggregate", &diagnostics);
    let scheduled = syn::parse2::<syn::DeriveInput>(item.clone()).ok();
    if let Some(scheduled) = scheduled.filter(|item| item::is_under(item, "schedule")) {
        // That macro generates the impls.
        diagnostics.error_at_call(format!(
            "`#[schedule]` makes `{}` an aggregate: remove `#[aggregate]`",
            scheduled.ident
        ));
        let errors = diagnostics.finish();
        return quote::quote!(#item #errors);
    }
    let model = Model::new(arguments, &item, &diagnostics);
    // An impl has no stubs if its type has them, or needs none.
    let model = model.filter(|model| declared::is_first("aggregate", &model.ident, &item));
    let errors = diagnostics.finish();
    fallback::declaration(
        item,
        errors,
        model,
        |model| (&model.generics, &model.krate),
        expand::expand,
        fallback::aggregate,
    )
}
