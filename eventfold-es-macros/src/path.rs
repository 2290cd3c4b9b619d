//! The paths in generated code.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{Attribute, Path, Type, TypePath};

use crate::diagnostics::Diagnostics;

/// The path of the `eventfold_es` crate: `::eventfold_es`, or the value of `crate = …`.
#[derive(Clone)]
pub(crate) struct CratePath {
    tokens: TokenStream,
    is_default: bool,
}

impl CratePath {
    pub(crate) fn new(path: Option<&Path>) -> Self {
        Self {
            tokens: path.map_or_else(|| quote!(::eventfold_es), ToTokens::to_token_stream),
            is_default: path.is_none(),
        }
    }

    /// The path in the helper attribute `#[helper(crate = path)]` of a derive.
    pub(crate) fn of_derive(
        helper: &str,
        attributes: &[Attribute],
        diagnostics: &Diagnostics,
    ) -> Self {
        let mut path = None;
        for attribute in attributes
            .iter()
            .filter(|attribute| attribute.path().is_ident(helper))
        {
            let parsed = attribute.parse_nested_meta(|meta| {
                if !meta.path.is_ident("crate") {
                    return Err(meta.error(format!(
                        "`#[{helper}(..)]` takes `crate = my_crate::eventfold_es` only"
                    )));
                }
                if path.is_some() {
                    return Err(meta.error("`crate` is given twice: remove one of them"));
                }
                let mistake = meta.error(
                    "`crate` takes the path of a crate: write `crate = my_crate::eventfold_es`",
                );
                path = Some(
                    meta.value()
                        .and_then(Path::parse_mod_style)
                        .map_err(|_| mistake)?,
                );
                Ok(())
            });
            if let Err(error) = parsed {
                diagnostics.push(error);
            }
        }
        Self::new(path.as_ref())
    }

    /// The same path. rustc reports errors in it at `span`.
    pub(crate) fn at(&self, span: Span) -> Self {
        self.respanned(|own| own.located_at(span))
    }

    /// The same path with `span` itself; see [`Entry::exact_span`].
    pub(crate) fn exactly_at(&self, span: Span) -> Self {
        if self.is_default {
            self.respanned(|_| span)
        } else {
            self.at(span)
        }
    }

    fn respanned(&self, respan: impl Fn(Span) -> Span) -> Self {
        let tokens = self.tokens.clone().into_iter().map(|mut token| {
            token.set_span(respan(token.span()));
            token
        });
        Self {
            tokens: tokens.collect(),
            is_default: self.is_default,
        }
    }
}

impl ToTokens for CratePath {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.tokens.to_tokens(tokens);
    }
}

/// An entry of a list, as the user wrote it.
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

    /// The path as text, without spaces. Messages quote it, and duplicates have the same text.
    pub(crate) fn text(&self) -> String {
        text(&self.path)
    }

    pub(crate) fn to_type(&self) -> Type {
        Type::Path(self.path.clone())
    }

    /// The span at which rustc reports an error about this entry. Names resolve at the call of the macro.
    pub(crate) fn span(&self) -> Span {
        Span::call_site().located_at(self.last.span())
    }
}

impl Entry {
    /// The span of the entry itself, as if the user had written the generated code. rustc prints errors with equal words
    /// and place once. The place includes the macro that a span comes from, so paths that name an entry use this span. Do
    /// not use it for variables: they would not be found inside `macro_rules!`.
    pub(crate) fn exact_span(&self) -> Span {
        self.last.span()
    }
}

impl ToTokens for Entry {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.path.to_tokens(tokens);
    }
}

/// `(arguments)`, with the parentheses at `span`: the place of a call reaches from its function to its last
/// parenthesis.
pub(crate) fn parenthesized(arguments: TokenStream, span: Span) -> Group {
    let mut group = Group::new(Delimiter::Parenthesis, arguments);
    group.set_span(span);
    group
}

/// `tokens` as a person writes them in a path: without the spaces between tokens.
pub(crate) fn text(tokens: &impl ToTokens) -> String {
    let spaced = tokens.to_token_stream().to_string();
    spaced
        .replace(" :: ", "::")
        .replace(":: ", "::")
        .replace(" < ", "<")
        .replace(" >", ">")
        .replace(" ,", ",")
        .replace("& ", "&")
}

/// The owned type for a reference to `ty`.
pub(crate) fn owned(ty: &Type) -> String {
    match ty {
        Type::Path(path) if path.path.is_ident("str") => "String".to_owned(),
        Type::Slice(slice) => format!("Vec<{}>", text(&slice.elem)),
        other => text(other),
    }
}
