//! Which types have been declared so far.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use proc_macro2::{Ident, TokenStream};

use crate::item;

/// The attribute and the name of each type.
static DECLARED: Mutex<BTreeSet<(&str, String)>> = Mutex::new(BTreeSet::new());

/// Whether `item` needs stubs: an impl under an attribute needs none if the attribute is on its type too, which stands before it as a rule.
///
/// Nothing but stubs may depend on this: whoever expands a program twice in one process finds everything declared.
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
