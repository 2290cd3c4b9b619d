//! The enum of the commands that a process manager or an event handler sends, and the impls that address them.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::Visibility;
use syn::ext::IdentExt;

use crate::attributes::{Key, List};
use crate::diagnostics::Diagnostics;
use crate::lists;
use crate::path::{CratePath, Entry, parenthesized};

/// The targets of a declaration, and the enum of its commands.
pub(crate) struct Sender<'a> {
    pub(crate) macro_name: &'a str,
    /// The trait that marks each target.
    pub(crate) marker: &'a str,
    pub(crate) ident: &'a Ident,
    pub(crate) vis: &'a Visibility,
    pub(crate) envelope: &'a Ident,
    pub(crate) dispatches: &'a [Entry],
    pub(crate) krate: &'a CratePath,
}

/// The entries of `dispatches`. Repetitions, and entries with the same variant, are reported and left out.
pub(crate) fn checked(list: Option<List>, diagnostics: &Diagnostics) -> Vec<Entry> {
    let entries = list.map(|list| list.entries).unwrap_or_default();
    let entries = lists::without_duplicates(Key::Dispatches, entries, diagnostics);
    lists::with_distinct_variants(entries, "envelope enum", diagnostics)
}

/// The name of the enum: the given one, or `MailerEnvelope` beside `Mailer`.
pub(crate) fn name(given: Option<Ident>, ident: &Ident, diagnostics: &Diagnostics) -> Ident {
    let is_its_own = |envelope: &Ident| {
        let is_its_own = envelope == ident;
        if is_its_own {
            diagnostics.error(
                envelope,
                format!(
                    "`envelope` names the enum that is generated beside `{0}`: write another name, or remove it for \
                     `{0}Envelope`",
                    ident.unraw()
                ),
            );
        }
        is_its_own
    };
    let given = given.filter(|envelope| !is_its_own(envelope));
    given.unwrap_or_else(|| {
        format_ident!(
            "{}Envelope",
            ident.unraw(),
            span = Span::call_site().located_at(ident.span())
        )
    })
}

/// The generated code for a sender.
pub(crate) struct Parts {
    /// The enum, with `Clone` and `Debug`.
    pub(crate) envelope: TokenStream,
    /// `Dispatch`, and one marker for each target.
    pub(crate) targets: TokenStream,
}

pub(crate) fn expand(sender: &Sender<'_>) -> Parts {
    let envelope = envelope_enum(sender);
    let clone_and_debug = impl_clone_and_debug(sender);
    let dispatch = impl_dispatch(sender);
    let targets = sender
        .dispatches
        .iter()
        .map(|entry| impl_dispatches_to(sender, entry));
    Parts {
        envelope: quote!(#envelope #clone_and_debug),
        targets: quote!(#dispatch #(#targets)*),
    }
}

/// The `dispatches` list as a constant, for `#[event_store]`.
pub(crate) fn const_targets(entries: &[Entry], krate: &CratePath) -> TokenStream {
    let targets = entries.iter().map(|entry| target(entry, krate));
    quote! {
        const TARGETS: ::std::option::Option<&'static [&'static str]> = ::std::option::Option::Some(&[#(#targets),*]);
    }
}

/// Assertions that no entry of `dispatches` has the stored name of an earlier entry. Entries that are all among the
/// `subscribed` are left to the assertions of these.
pub(crate) fn assert_distinct(
    dispatches: &[Entry],
    subscribed: &[Entry],
    krate: &CratePath,
) -> TokenStream {
    lists::assert_distinct(Key::Dispatches, dispatches, subscribed, target, krate)
}

fn envelope_enum(sender: &Sender<'_>) -> TokenStream {
    let Sender {
        ident,
        vis,
        envelope,
        dispatches,
        krate,
        macro_name,
        ..
    } = sender;
    let (about, origin) = if dispatches.is_empty() {
        (
            format!(" What `{ident}` sends: nothing, since it declares no `dispatches`."),
            None,
        )
    } else {
        (
            format!(" A command that `{ident}` sends, with the address that it goes to."),
            Some(format!(
                " `#[{macro_name}]` generates a variant for each aggregate in `dispatches`."
            )),
        )
    };
    let origin = origin.map(|origin| quote!(#[doc = ""] #[doc = #origin]));
    // A target may be less visible than the process manager.
    let private = (!matches!(vis, Visibility::Inherited)).then(|| {
        quote!(#[allow(private_interfaces, reason = "a target may be more private than what sends to it")])
    });
    let variants = dispatches.iter().map(|entry| {
        let variant = entry.last();
        let envelope = envelope_of(entry, krate);
        let about = format!(
            " A command for an instance of the aggregate `{}`.",
            entry.text()
        );
        quote! {
            #[doc = #about]
            #variant(#envelope),
        }
    });
    quote! {
        #[doc = #about]
        #origin
        #private
        #vis enum #envelope {
            #(#variants)*
        }
    }
}

/// The impls of `Clone` and `Debug`, in the only form in which an entry is used as a target.
fn impl_clone_and_debug(sender: &Sender<'_>) -> TokenStream {
    let Sender {
        envelope,
        dispatches,
        krate,
        ..
    } = sender;
    let is_empty = dispatches.is_empty();
    let cloned = each_variant(sender, |variant, content, entry| {
        let copy = variant_of(entry, call(entry, "cloned", &quote!(#content), krate));
        quote!(#variant => #copy,)
    });
    let printed = each_variant(sender, |variant, content, entry| {
        let name = entry.last().unraw().to_string();
        let printed = call(entry, "print", &quote!(#content, #name, f), krate);
        quote!(#variant => #printed,)
    });
    let (matched, f) = if is_empty {
        (quote!(*self), Ident::new("_", Span::call_site()))
    } else {
        (quote!(self), Ident::new("f", Span::call_site()))
    };
    let unreachable = (!is_empty).then(allow_unreachable);
    quote! {
        #[automatically_derived]
        impl ::std::clone::Clone for #envelope {
            #unreachable
            fn clone(&self) -> Self {
                match #matched { #cloned }
            }
        }

        #[automatically_derived]
        impl ::std::fmt::Debug for #envelope {
            #unreachable
            fn fmt(&self, #f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                match #matched { #printed }
            }
        }
    }
}

fn impl_dispatch(sender: &Sender<'_>) -> TokenStream {
    let Sender {
        envelope,
        dispatches,
        krate,
        ..
    } = sender;
    let visits = dispatches
        .iter()
        .map(|entry| call(entry, "visit", &quote!(targets), krate));
    let route = each_variant(sender, |variant, envelope, entry| {
        let route = call(entry, "route", &quote!(#envelope, router), krate);
        quote!(#variant => #route,)
    });
    let is_empty = dispatches.is_empty();
    let named = |name: &str| Ident::new(if is_empty { "_" } else { name }, Span::call_site());
    let unreachable = (!is_empty).then(allow_unreachable);
    let (targets, router) = (named("targets"), named("router"));
    quote! {
        #[automatically_derived]
        impl #krate::contract::Dispatch for #envelope {
            fn targets(#targets: &mut impl #krate::contract::TargetVisitor) {
                #(#visits;)*
            }

            #unreachable
            fn route<R: #krate::contract::Router>(self, #router: R) -> R::Routed {
                match self { #route }
            }
        }
    }
}

/// One arm per variant, made from its pattern, the variable for the envelope in it, and its target.
fn each_variant(
    sender: &Sender<'_>,
    arm: impl Fn(TokenStream, Ident, &Entry) -> TokenStream,
) -> TokenStream {
    let arms = sender.dispatches.iter().map(|entry| {
        let envelope = Ident::new("envelope", entry.exact_span());
        arm(variant_of(entry, quote!(#envelope)), envelope, entry)
    });
    arms.collect()
}

/// `Self::Inventory(content)`, with the span of the entry.
fn variant_of(entry: &Entry, content: TokenStream) -> TokenStream {
    let at = entry.exact_span();
    let (variant, content) = (entry.last(), parenthesized(content, at));
    quote_spanned!(at=> Self::#variant #content)
}

/// `<Envelope<Inventory> as Addressed>::function(arguments)`. This is the only form in which an entry is used as a
/// target. So rustc reports an entry that is not a target once, at the entry.
fn call(entry: &Entry, function: &str, arguments: &TokenStream, krate: &CratePath) -> TokenStream {
    let at = entry.exact_span();
    let (function, envelope) = (Ident::new(function, at), envelope_of(entry, krate));
    let krate = krate.exactly_at(at);
    let arguments = parenthesized(arguments.clone(), at);
    quote_spanned!(at=> <#envelope as #krate::__private::Addressed>::#function #arguments)
}

/// `Envelope<Inventory>`, also in one form.
fn envelope_of(entry: &Entry, krate: &CratePath) -> TokenStream {
    let at = entry.exact_span();
    let krate = krate.exactly_at(at);
    quote_spanned!(at=> #krate::Envelope<#entry>)
}

/// `<Envelope<Inventory> as Addressed>::TARGET`
fn target(entry: &Entry, krate: &CratePath) -> TokenStream {
    let at = entry.exact_span();
    let (envelope, krate) = (envelope_of(entry, krate), krate.exactly_at(at));
    quote_spanned!(at=> <#envelope as #krate::__private::Addressed>::TARGET)
}

fn impl_dispatches_to(sender: &Sender<'_>, entry: &Entry) -> TokenStream {
    let Sender {
        ident,
        envelope,
        krate,
        ..
    } = sender;
    let at = entry.exact_span();
    let parameter = Ident::new("envelope", at);
    let (variant, content) = (entry.last(), parenthesized(quote!(#parameter), at));
    let mut enum_ = (*envelope).clone();
    enum_.set_span(at);
    let wrapped = quote_spanned!(at=> #enum_::#variant #content);
    let addressed = envelope_of(entry, krate);
    let at = entry.span();
    let krate = krate.at(at);
    let marker = Ident::new(sender.marker, at);
    let unreachable = allow_unreachable();
    quote_spanned! {at=>
        #[automatically_derived]
        impl #krate::contract::#marker<#entry> for #ident {
            #unreachable
            fn envelope(#parameter: #addressed) -> #envelope {
                #wrapped
            }
        }
    }
}

fn allow_unreachable() -> TokenStream {
    quote!(#[allow(unreachable_code, reason = "a command may be an enum without variants")])
}
