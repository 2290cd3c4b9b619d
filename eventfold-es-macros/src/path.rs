//! The paths that generated code names.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{Path, TypePath};

/// The path of the `eventfold_es` crate: `::eventfold_es`, unless `crate = …` says otherwise.
#[derive(Clone)]
pub(crate) struct CratePath(TokenStream);

impl CratePath {
    pub(crate) fn new(path: Option<&Path>) -> Self {
        Self(path.map_or_else(|| quote!(::eventfold_es), ToTokens::to_token_stream))
    }

    /// The same path, which rustc reports at `span`.
    pub(crate) fn at(&self, span: Span) -> Self {
        let respanned = self.0.clone().into_iter().map(|mut token| {
            if !matches!(token, TokenTree::Group(_)) {
                token.set_span(token.span().located_at(span));
            }
            token
        });
        Self(respanned.collect())
    }
}

impl ToTokens for CratePath {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.0.to_tokens(tokens);
    }
}

/// An aggregate in a list, as the user wrote it.
#[derive(Clone)]
pub(crate) struct Entry {
    path: TypePath,
    last: Ident,
}

impl Entry {
    /// `None` for a path without segments, which no parser returns.
    pub(crate) fn new(path: TypePath) -> Option<Self> {
        let last = path.path.segments.last()?.ident.clone();
        Some(Self { path, last })
    }

    /// The last segment of the path: the name of its variant in the envelope enum.
    pub(crate) fn last(&self) -> &Ident {
        &self.last
    }

    /// The path as text, without spaces: what messages quote, and what duplicates have in common.
    pub(crate) fn text(&self) -> String {
        text(&self.path)
    }

    /// Where rustc reports what is wrong with this entry; names resolve where the macro is called.
    pub(crate) fn span(&self) -> Span {
        Span::call_site().located_at(self.last.span())
    }
}

impl ToTokens for Entry {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.path.to_tokens(tokens);
    }
}

/// `tokens` as one writes them in a path: without the spaces between tokens.
pub(crate) fn text(tokens: &impl ToTokens) -> String {
    let spaced = tokens.to_token_stream().to_string();
    spaced
        .replace(" :: ", "::")
        .replace(":: ", "::")
        .replace(" < ", "<")
        .replace(" >", ">")
        .replace(" ,", ",")
}
