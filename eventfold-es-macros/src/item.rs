//! The item under an attribute macro.

use proc_macro2::TokenStream;
use syn::{Data, DeriveInput};

use crate::diagnostics::Diagnostics;

/// Reads the annotated item, which must be a struct or an enum without generics.
///
/// Returns `None` if it is something else altogether; the rest of what is wrong is only reported.
pub(crate) fn parse(
    item: &TokenStream,
    macro_name: &str,
    diagnostics: &Diagnostics,
) -> Option<DeriveInput> {
    let parsed = match syn::parse2::<DeriveInput>(item.clone()) {
        Ok(parsed) => parsed,
        Err(error) => {
            diagnostics.push(syn::Error::new(
                error.span(),
                format!("`#[{macro_name}]` goes on a struct or an enum"),
            ));
            return None;
        }
    };
    if let Data::Union(data) = &parsed.data {
        diagnostics.error(
            data.union_token,
            format!("`#[{macro_name}]` goes on a struct or an enum"),
        );
        return None;
    }
    reject_generics(&parsed, &format!("`#[{macro_name}]`"), diagnostics);
    Some(parsed)
}

/// Reports the generics of an item: one stored name cannot mean several types.
pub(crate) fn reject_generics(item: &DeriveInput, what: &str, diagnostics: &Diagnostics) {
    if !item.generics.params.is_empty() {
        diagnostics.error(
            &item.generics,
            format!(
                "{what} does not go on a generic type: its stored name cannot mean several types; \
                 remove the parameters, and declare one type for each use"
            ),
        );
    }
}
