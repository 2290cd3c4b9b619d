//! The types declared so far.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use proc_macro2::{Ident, TokenStream};

use crate::item;

/// The attribute and the name of each type.
static DECLARED: Mutex<BTreeSet<(&str, String)>> = Mutex::new(BTreeSet::new());

/// Whether `item` needs stubs. An impl under an attribute needs no stubs if the attribute is also on its type, which
/// usually comes first.
///
/// Only stubs may depend on this: if a process expands a program twice, every type is declared at the second time.
pub(crate) fn is_first(macro_name: &'static str, ident: &Ident, item: &TokenStream) -> bool {
    if !proc_macro::is_available() {
        return true;
    }
    let declaration = (macro_name, ident.to_string());
    let mut declared = DECLARED.lock().unwrap_or_else(PoisonError::into_inner);
    if item::is_impl(item) {
        return !declared.contains(&declaration);
    }
    declared.insert(declaration);
    true
}
