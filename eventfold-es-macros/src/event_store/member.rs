//! The only use of an entry in the generated code.

use proc_macro2::{Ident, TokenStream};
use quote::quote_spanned;

use crate::path::{CratePath, Entry};

/// `<Order as ListedAggregate>::member`. This is the only form in which an entry is used. So rustc reports an entry of
/// another kind once, at the entry.
pub(super) fn member(entry: &Entry, listed: &str, member: &str, krate: &CratePath) -> TokenStream {
    let at = entry.exact_span();
    let krate = krate.exactly_at(at);
    let (listed, member) = (Ident::new(listed, at), Ident::new(member, at));
    quote_spanned!(at=> <#entry as #krate::__private::#listed>::#member)
}
