//! `#[schedule]`.

#[cfg(feature = "schedules")]
mod cron;
mod expand;
mod item;
pub(crate) mod model;
#[cfg(feature = "schedules")]
mod zones;

use proc_macro2::TokenStream;
use quote::quote;
use syn::LitStr;

use model::Model;

use crate::diagnostics::Diagnostics;

/// The annotated item with the field for its occurrences, followed by the code that `#[schedule]` generates.
pub(crate) fn schedule(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let diagnostics = Diagnostics::new();
    let model = Model::new(arguments, &item, &diagnostics);
    match (diagnostics.finish(), model) {
        (None, Some(model)) => expand::expand(&model),
        (errors, Some(model)) => expand::stubs(&model, errors),
        (errors, None) => quote!(#item #errors),
    }
}

/// The annotated item, and what is missing in the manifest. Without the feature there is nothing that stubs could use.
pub(crate) fn without_the_feature(item: &TokenStream) -> TokenStream {
    let diagnostics = Diagnostics::new();
    diagnostics.error_at_call(
        "`#[schedule]` needs the feature `schedules` of `eventfold-es`: write `eventfold-es = { version = \"0.3\", features = \
         [\"schedules\"] }` in Cargo.toml",
    );
    let errors = diagnostics.finish();
    quote!(#item #errors)
}

/// The mistake of a cron expression.
fn objection_to_cron(expression: &LitStr) -> Option<String> {
    #[cfg(feature = "schedules")]
    return cron::parse(&expression.value()).err();
    #[cfg(not(feature = "schedules"))]
    {
        let _ = expression;
        None
    }
}

/// The mistake of the name of a time zone.
fn objection_to_zone(name: &LitStr) -> Option<String> {
    #[cfg(feature = "schedules")]
    return zones::objection(&name.value());
    #[cfg(not(feature = "schedules"))]
    {
        let _ = name;
        None
    }
}
