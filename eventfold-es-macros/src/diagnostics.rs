//! Collects the mistakes of a declaration, so that one build reports all of them.

use std::cell::RefCell;
use std::fmt::Display;
use std::thread;

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;

/// The errors of one macro call. It must be finished before it is dropped, so that no error is lost.
pub(crate) struct Diagnostics {
    /// `None` after `finish`.
    errors: RefCell<Option<Vec<syn::Error>>>,
}

impl Diagnostics {
    pub(crate) fn new() -> Self {
        Self {
            errors: RefCell::new(Some(Vec::new())),
        }
    }

    /// Reports an error at all of `tokens`, from the first to the last.
    pub(crate) fn error(&self, tokens: impl ToTokens, message: impl Display) {
        self.push(syn::Error::new_spanned(tokens, message));
    }

    /// Reports an error at one place.
    pub(crate) fn error_at(&self, span: Span, message: impl Display) {
        self.push(syn::Error::new(span, message));
    }

    /// Reports an error at the attribute as a whole, for a missing argument.
    pub(crate) fn error_at_call(&self, message: impl Display) {
        self.error_at(Span::call_site(), message);
    }

    /// Adds an error of the parser.
    pub(crate) fn push(&self, error: syn::Error) {
        if let Some(errors) = self.errors.borrow_mut().as_mut() {
            errors.push(error);
        }
    }

    /// Every error as a `compile_error!`, or `None` without errors.
    pub(crate) fn finish(self) -> Option<TokenStream> {
        let errors = self.errors.borrow_mut().take().unwrap_or_default();
        if errors.is_empty() {
            return None;
        }
        Some(errors.iter().map(syn::Error::to_compile_error).collect())
    }
}

impl Drop for Diagnostics {
    fn drop(&mut self) {
        assert!(
            thread::panicking() || self.errors.borrow().is_none(),
            "the diagnostics were dropped without being finished"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_is_reported() {
        let diagnostics = Diagnostics::new();
        diagnostics.error_at_call("one");
        diagnostics.error(quote::quote!(a b), "two");
        let output = diagnostics.finish().map(|tokens| tokens.to_string());
        let output = output.unwrap_or_default();
        assert!(
            output.contains("\"one\"") && output.contains("\"two\""),
            "{output}"
        );
    }

    #[test]
    #[should_panic(expected = "without being finished")]
    fn an_unfinished_collector_is_a_bug() {
        drop(Diagnostics::new());
    }
}
