//! The expansions of `#[event_handler]`.

use proc_macro2::TokenStream;
use quote::quote;

use super::{check, shop};
use crate::event_handler::event_handler;
use crate::event_store::event_store;

pub(super) fn mailer() -> TokenStream {
    quote! {
        pub(crate) struct Mailer {
            smtp: SmtpClient,
        }
    }
}

#[test]
fn event_handler_by_default() {
    let arguments = quote!(
        subscribes = [Order, stock::Inventory],
        dispatches = [stock::Inventory, Order]
    );
    check("event_handler", event_handler(arguments, mailer()));
}

#[test]
fn event_handler_with_every_argument() {
    let arguments = quote!(
        subscribes = [Order],
        dispatches = [Inventory, Shipment],
        key = CustomerId,
        concurrency = 64,
        timeout = "500ms",
        on_failure,
        start = "now",
        name = "mails",
        envelope = MailCommand,
        crate = my::es
    );
    check(
        "event_handler_arguments",
        event_handler(arguments, mailer()),
    );
}

#[test]
fn event_handler_that_sends_nothing() {
    check(
        "event_handler_silent",
        event_handler(quote!(subscribes = [Order]), mailer()),
    );
}

#[test]
fn event_handler_with_one_argument() {
    for (name, argument) in [
        ("event_handler_name", quote!(name = "mails")),
        ("event_handler_constant_name", quote!(name = names::MAILER)),
        ("event_handler_dispatches", quote!(dispatches = [Order])),
        ("event_handler_envelope", quote!(envelope = MailCommand)),
        ("event_handler_key", quote!(key = CustomerId)),
        ("event_handler_concurrency", quote!(concurrency = 64)),
        (
            "event_handler_concurrency_constant",
            quote!(concurrency = limits::MAILS),
        ),
        ("event_handler_timeout", quote!(timeout = "5m")),
        (
            "event_handler_timeout_constant",
            quote!(timeout = limits::MAIL),
        ),
        ("event_handler_on_failure", quote!(on_failure)),
        ("event_handler_start", quote!(start = "now")),
        // The default, which is not written out.
        ("event_handler_silent", quote!(start = "origin")),
        ("event_handler_silent", quote!(start = "beginning")),
        ("event_handler_crate", quote!(crate = my::es)),
    ] {
        let arguments = quote!(subscribes = [Order], #argument);
        check(name, event_handler(arguments, mailer()));
    }
}

/// What stands in for a declaration with a mistake.
#[test]
fn event_handler_fallbacks() {
    check(
        "event_handler_fallback",
        event_handler(
            quote!(subscribes = [Order, Order], dispatches = [Inventory]),
            mailer(),
        ),
    );
    let stored = quote! {
        #[derive(Debug, Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Mailer {
            #[serde(skip)]
            smtp: SmtpClient,
        }
    };
    check(
        "event_handler_fallback_of_a_stored_type",
        event_handler(quote!(subscribes = [Order]), stored),
    );
}

/// As other items, except that it derives nothing of serde.
#[test]
fn the_item_survives() {
    let function = quote!(
        fn f() {}
    );
    for item in [mailer(), function] {
        for arguments in [
            quote!(),
            quote!(subscribes = [Order]),
            quote!(nonsense!),
            quote!(subscribes = [Order, Order]),
        ] {
            let output = event_handler(arguments, item.clone()).to_string();
            assert!(output.starts_with(&item.to_string()), "{output}");
        }
    }
}

#[test]
fn event_store_with_event_handlers() {
    let arguments = quote!(
        aggregates = [Order],
        event_handlers = [Mailer, audit::Auditor]
    );
    check("event_store_event_handlers", event_store(arguments, shop()));
}
