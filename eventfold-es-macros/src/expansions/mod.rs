//! What the macros generate, compared with files that are checked in: `BLESS=1 cargo test -p eventfold-es-macros`
//! writes them anew. They are to read as if they had been written by hand.

#![allow(clippy::expect_used, reason = "a test that cannot go on may stop")]

mod event_handlers;
mod options;
mod schedules;

use std::path::Path;

use proc_macro2::TokenStream;
use quote::quote;

use crate::aggregate::aggregate;
use crate::domain_event::domain_event;
use crate::event_handler::event_handler;
use crate::event_store::event_store;
use crate::process_manager::process_manager;
use crate::projection::projection;
use crate::schedule::schedule;
use crate::stored_shape::stored_shape;

fn print(tokens: TokenStream) -> String {
    let file = syn::parse2(tokens).expect("the expansion parses");
    prettyplease::unparse(&file)
}

fn check(name: &str, tokens: TokenStream) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/expansions")
        .join(format!("{name}.expanded.rs"));
    let expansion = print(tokens);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, expansion).expect("the expansion is written");
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        expansion,
        golden,
        "{name} differs from {}; BLESS=1 writes it anew",
        path.display()
    );
}

fn order() -> TokenStream {
    quote! {
        #[derive(Debug, Clone, Default, Serialize, Deserialize)]
        pub struct Order {
            pub qty: u32,
        }
    }
}

fn saga() -> TokenStream {
    quote! {
        #[derive(Debug, Default, Serialize, Deserialize)]
        pub(crate) struct ReservationSaga {
            placed: u64,
        }
    }
}

fn sales() -> TokenStream {
    quote! {
        #[derive(Debug, Clone, Default, Serialize, Deserialize)]
        pub struct Sales {
            pub units: u64,
        }
    }
}

fn events(helper: TokenStream) -> TokenStream {
    quote! {
        #[serde(tag = "type", content = "data", rename_all = "snake_case")]
        #helper
        pub enum OrderEvent {
            Placed { sku: String, qty: u32 },
            #[serde(alias = "order_confirmed", alias = "approved")]
            Confirmed,
            #[serde(rename = "refused")]
            Rejected(String),
        }
    }
}

#[test]
fn aggregate_by_default() {
    check("aggregate", aggregate(quote!(), order()));
}

#[test]
fn aggregate_with_every_argument() {
    let arguments = quote!(name = "sales.order", command = Order, event = events::Happened, error = Box<OrderError>, snapshot_version = 2, fingerprint = events::intent, context, crate = my::es);
    check("aggregate_arguments", aggregate(arguments, order()));
}

#[test]
fn aggregate_with_a_constant_name() {
    check(
        "aggregate_constant_name",
        aggregate(quote!(name = names::ORDER), order()),
    );
}

#[test]
fn process_manager_by_default() {
    let arguments = quote!(
        subscribes = [Order, stock::Inventory],
        dispatches = [stock::Inventory, Order]
    );
    check("process_manager", process_manager(arguments, saga()));
}

#[test]
fn process_manager_with_every_argument() {
    let arguments = quote!(
        subscribes = [Order],
        dispatches = [Inventory, Shipment],
        name = "reservations",
        envelope = ReservationCommand,
        crate = my::es
    );
    check(
        "process_manager_arguments",
        process_manager(arguments, saga()),
    );
}

#[test]
fn process_manager_that_sends_nothing() {
    check(
        "process_manager_silent",
        process_manager(quote!(subscribes = [Order]), saga()),
    );
}

#[test]
fn process_manager_with_instances() {
    let arguments = quote!(
        subscribes = [Order, stock::Inventory],
        dispatches = [stock::Inventory],
        key = OrderId,
        deadlines = [PaymentDue, stock::Expired],
        on_failure,
        state_version = 3,
        start = "now"
    );
    check(
        "process_manager_instances",
        process_manager(arguments, saga()),
    );
}

#[test]
fn process_manager_with_deadlines_and_one_instance() {
    let arguments = quote!(
        subscribes = [Order],
        deadlines = [Due],
        state_version = VERSION,
        crate = my::es
    );
    check(
        "process_manager_deadlines",
        process_manager(arguments, saga()),
    );
}

#[test]
fn projection_by_default() {
    check(
        "projection",
        projection(quote!(subscribes = [Order, stock::Inventory]), sales()),
    );
}

#[test]
fn projection_with_every_argument() {
    let arguments = quote!(
        subscribes = [Order],
        name = "sales-per-country",
        unknown_events = "skip",
        crate = my::es
    );
    check("projection_arguments", projection(arguments, sales()));
}

#[test]
fn domain_event_by_default() {
    check("domain_event", domain_event(events(quote!())));
}

#[test]
fn domain_event_with_a_crate_path() {
    check(
        "domain_event_crate",
        domain_event(events(quote!(#[domain_event(crate = my::es)]))),
    );
}

#[test]
fn domain_event_that_has_evolved() {
    let evolved = quote! {
        #[serde(tag = "type", content = "data", rename_all_fields = "camelCase", deny_unknown_fields)]
        pub enum OrderEvent {
            #[serde(rename = "placed", alias = "OrderPlaced")]
            #[event(version = 3, upcast_from(1 => past::PlacedV1, 2 => past::PlacedV2))]
            Placed { unit_price: u32, #[serde(default)] note: String, by: Option<UserId> },
            #[event(retired)]
            Flagged,
            #[event(version = 2, upcast_from(1 => ()))]
            Noted(#[serde(with = "text")] Text),
        }
    };
    check("domain_event_evolved", domain_event(evolved));
}

#[test]
fn domain_event_without_variants() {
    let never = quote! {
        #[serde(tag = "type", content = "data")]
        enum Never {}
    };
    check("domain_event_empty", domain_event(never));
}

fn shop() -> TokenStream {
    quote! {
        /// Everything there is.
        pub struct Shop;
    }
}

#[test]
fn event_store_of_every_kind_of_part() {
    let arguments = quote!(
        aggregates = [Order, stock::Inventory],
        process_managers = [ReservationSaga],
        projections = [Sales]
    );
    check("event_store", event_store(arguments, shop()));
}

#[test]
fn event_store_of_one_aggregate() {
    check(
        "event_store_small",
        event_store(quote!(aggregates = [Order], crate = my::es), shop()),
    );
}

/// A store with a mistake.
#[test]
fn event_store_fallback() {
    check(
        "event_store_fallback",
        event_store(quote!(aggregates = [Order], sagas = [Saga]), shop()),
    );
}

/// A declaration with a mistake: the item, the message, and stubs.
#[test]
fn fallback() {
    check(
        "fallback",
        process_manager(
            quote!(subscribes = [Order, Order], dispatches = [Inventory]),
            saga(),
        ),
    );
}

#[test]
fn nothing_but_the_given_crate_is_named() {
    let expansions = [
        aggregate(quote!(crate = my::es, name = NAME), order()),
        process_manager(
            quote!(subscribes = [A, B], dispatches = [C, D], crate = my::es),
            saga(),
        ),
        process_manager(
            quote!(
                subscribes = [A, B],
                dispatches = [C, D],
                key = K,
                deadlines = [E, F],
                state_version = 2,
                start = "now",
                on_failure,
                crate = my::es
            ),
            saga(),
        ),
        event_handler(
            quote!(
                subscribes = [A, B],
                dispatches = [C, D],
                key = K,
                concurrency = N,
                timeout = T,
                start = "now",
                on_failure,
                crate = my::es
            ),
            event_handlers::mailer(),
        ),
        event_handler(
            quote!(subscribes = [A, A], dispatches = [C], crate = my::es),
            event_handlers::mailer(),
        ),
        projection(quote!(subscribes = [A, B], crate = my::es), sales()),
        projection(
            quote!(
                subscribes = [A, B],
                key = K,
                version = V,
                on_failure = "stop",
                crate = my::es
            ),
            quote!(
                struct Rows {
                    #[index]
                    city: String,
                }
            ),
        ),
        projection(
            quote!(subscribes = [A, B], sink = S, crate = my::es),
            sales(),
        ),
        domain_event(events(quote!(#[domain_event(crate = my::es)]))),
        event_store(
            quote!(
                aggregates = [A, B],
                process_managers = [C],
                event_handlers = [E],
                projections = [D],
                schedules = [S],
                crate = my::es
            ),
            shop(),
        ),
        schedule(
            quote!(cron = CRON, time_zone = ZONE, crate = my::es),
            schedules::nightly(),
        ),
        schedule(quote!(cron = 2, crate = my::es), schedules::nightly()),
        event_store(quote!(aggregates = [A, A], crate = my::es), shop()),
        aggregate(quote!(crate = my::es, what), order()),
        process_manager(
            quote!(subscribes = [A, A], dispatches = [C, D], crate = my::es),
            saga(),
        ),
        projection(quote!(subscribes = [A, A], crate = my::es), sales()),
        projection(
            quote!(subscribes = [A, A], key = K, crate = my::es),
            sales(),
        ),
        projection(
            quote!(subscribes = [A, A], sink = S, crate = my::es),
            sales(),
        ),
        domain_event(quote!(
            #[domain_event(crate = my::es)]
            enum Untagged {}
        )),
    ];
    for expansion in expansions {
        let printed = expansion.to_string();
        assert!(!printed.contains("eventfold_es"), "{printed}");
    }
}

/// The item comes first and as it was written, whatever else is wrong, unless it is generic.
#[test]
fn the_item_survives() {
    for item in [
        order(),
        quote!(
            fn f() {}
        ),
        quote!(
            pub(super) union U {
                a: u8,
            }
        ),
    ] {
        for arguments in [
            quote!(),
            quote!(subscribes = [Order]),
            quote!(nonsense!),
            quote!(subscribes = [Order, Order]),
        ] {
            for expand in [aggregate, process_manager, projection, event_store] {
                let output = expand(arguments.clone(), item.clone()).to_string();
                assert!(output.starts_with(&item.to_string()), "{output}");
            }
        }
    }
}
