//! Each option of each macro on its own, and what is generated for a mistake.

use quote::quote;

use super::*;

#[test]
fn aggregate_with_one_argument() {
    for (name, arguments) in [
        ("aggregate_name", quote!(name = "sales.order")),
        ("aggregate_command", quote!(command = Change)),
        ("aggregate_event", quote!(event = events::Happened)),
        ("aggregate_error", quote!(error = std::convert::Infallible)),
        ("aggregate_snapshot_version", quote!(snapshot_version = 2)),
        (
            "aggregate_snapshot_version_constant",
            quote!(snapshot_version = versions::ORDER),
        ),
        (
            "aggregate_fingerprint",
            quote!(fingerprint = OrderCommand::intent),
        ),
        ("aggregate_context", quote!(context)),
        ("aggregate_crate", quote!(crate = my::es)),
    ] {
        check(name, aggregate(arguments, order()));
    }
}

/// Fields that are not saved, and such that only look like it.
#[test]
fn aggregate_with_fields_that_are_skipped() {
    let item = quote! {
        #[derive(Debug, Clone, Default, Serialize, Deserialize)]
        pub enum Order {
            #[default]
            Open,
            Placed {
                qty: u32,
                #[serde(skip)]
                seen: u32,
                #[serde(default, skip_serializing_if = "Option::is_none")]
                by: Option<String>,
            },
            #[cfg(feature = "returns")]
            Returned(u32, #[serde(default, skip_serializing)] u32),
            Shipped {
                #[cfg_attr(feature = "small", serde(skip_deserializing, default))]
                route: Vec<String>,
                #[serde(skip)]
                marker: std::marker::PhantomData<u8>,
                #[serde(skip)]
                nothing: (),
            },
        }
    };
    check("aggregate_skipped", aggregate(quote!(), item));
    let converted = quote! {
        #[derive(Debug, Clone, Default, Serialize, Deserialize)]
        #[serde(from = "SavedOrder", into = "SavedOrder")]
        pub struct Order {
            #[serde(skip)]
            seen: u32,
        }
    };
    let expanded = aggregate(quote!(), converted).to_string();
    assert!(!expanded.contains("NOT_SAVED"), "{expanded}");
}

#[test]
fn process_manager_with_one_argument() {
    for (name, argument) in [
        ("process_manager_name", quote!(name = "reservations")),
        ("process_manager_constant_name", quote!(name = names::SAGA)),
        (
            "process_manager_dispatches",
            quote!(dispatches = [Inventory]),
        ),
        (
            "process_manager_envelope",
            quote!(envelope = ReservationCommand),
        ),
        ("process_manager_key", quote!(key = OrderId)),
        ("process_manager_on_failure", quote!(on_failure)),
        ("process_manager_state_version", quote!(state_version = 2)),
        (
            "process_manager_state_version_constant",
            quote!(state_version = versions::SAGA),
        ),
        ("process_manager_start", quote!(start = "now")),
        ("process_manager_crate", quote!(crate = my::es)),
    ] {
        let arguments = quote!(subscribes = [Order], #argument);
        check(name, process_manager(arguments, saga()));
    }
}

#[test]
fn projection_with_one_argument() {
    check(
        "projection_subscribes",
        projection(quote!(subscribes = [Order]), sales()),
    );
    for (name, argument) in [
        ("projection_name", quote!(name = "sales-per-country")),
        ("projection_constant_name", quote!(name = names::SALES)),
        ("projection_unknown_events", quote!(unknown_events = "skip")),
        // The default, which is not written out.
        ("projection_subscribes", quote!(unknown_events = "stop")),
        ("projection_crate", quote!(crate = my::es)),
    ] {
        let arguments = quote!(subscribes = [Order], #argument);
        check(name, projection(arguments, sales()));
    }
}

#[test]
fn projection_with_rows_or_with_a_sink_and_one_argument() {
    for (name, argument) in [
        ("projection_key", quote!(key = CustomerId)),
        ("projection_sink", quote!(sink = Sqlite)),
        ("projection_version", quote!(sink = Sqlite, version = 2)),
        (
            "projection_version_constant",
            quote!(sink = Sqlite, version = versions::SALES),
        ),
        (
            "projection_on_failure",
            quote!(sink = Sqlite, on_failure = "skip"),
        ),
        (
            "projection_on_failure_stop",
            quote!(key = CustomerId, on_failure = "stop"),
        ),
        // The default, which is not written out.
        (
            "projection_key",
            quote!(key = CustomerId, on_failure = "retry"),
        ),
    ] {
        let arguments = quote!(subscribes = [Order], #argument);
        check(name, projection(arguments, sales()));
    }
}

#[test]
fn projection_with_indexes() {
    let row = quote! {
        #[derive(Debug, Clone, Default, Serialize, Deserialize)]
        pub(crate) struct CustomerOrders {
            pub name: String,
            /// Where the customer lives.
            #[index]
            pub city: String,
            #[cfg(feature = "kinds")]
            #[serde(default)]
            #[index]
            r#type: u8,
        }
    };
    let arguments = quote!(subscribes = [Order, stock::Inventory], key = String);
    check("projection_index", projection(arguments, row));
}

#[test]
fn domain_event_with_one_attribute() {
    for (name, on_enum, on_variant) in [
        ("domain_event_plain", quote!(), quote!()),
        (
            "domain_event_rename_all",
            quote!(#[serde(rename_all = "SCREAMING-KEBAB-CASE")]),
            quote!(),
        ),
        (
            "domain_event_rename",
            quote!(),
            quote!(#[serde(rename = "order.placed")]),
        ),
        (
            "domain_event_alias",
            quote!(),
            quote!(#[serde(alias = "Ordered", alias = "Bought")]),
        ),
        (
            "domain_event_version",
            quote!(),
            quote!(#[event(version = 2, upcast_from(1 => PlacedV1))]),
        ),
        ("domain_event_retired", quote!(), quote!(#[event(retired)])),
        (
            "domain_event_two_names",
            quote!(),
            quote!(#[serde(rename(serialize = "placed", deserialize = "Placed"), alias = "placed")]),
        ),
    ] {
        let events = quote! {
            #[serde(tag = "type", content = "data")]
            #on_enum
            pub enum OrderEvent {
                #on_variant
                OrderPlaced { qty: u32 },
                Confirmed,
            }
        };
        check(name, domain_event(events));
    }
}

#[test]
fn stored_shapes() {
    let line = quote! {
        #[serde(rename_all = "camelCase")]
        pub struct Line<T> {
            sku: String,
            unit_price: Option<Money>,
            labels: Vec<T>,
        }
    };
    check("stored_shape", stored_shape(line));
    let money = quote! {
        #[stored_shape(crate = my::es)]
        enum Money {
            #[serde(alias = "Amount")]
            Cents(u64),
            Free,
        }
    };
    check("stored_shape_crate", stored_shape(money));
    let union_ = quote! {
        union Bits {
            whole: u32,
        }
    };
    check("stored_shape_fallback", stored_shape(union_));
}

/// What stands in for a declaration with a mistake.
#[test]
fn fallbacks() {
    check("aggregate_fallback", aggregate(quote!(colour), order()));
    check(
        "aggregate_fallback_generic",
        aggregate(
            quote!(),
            quote!(
                pub struct Order<T> {
                    qty: T,
                }
            ),
        ),
    );
    check(
        "process_manager_fallback_of_an_impl",
        process_manager(
            quote!(subscribes = [Order]),
            quote!(
                impl React<Order> for ReservationSaga {}
            ),
        ),
    );
    check(
        "projection_fallback",
        projection(quote!(subscribes = []), sales()),
    );
    check(
        "projection_fallback_with_rows",
        projection(
            quote!(subscribes = [Order, Order], key = CustomerId),
            quote!(
                pub struct Sales {
                    #[index]
                    units: u64,
                }
            ),
        ),
    );
    check(
        "projection_fallback_with_a_sink",
        projection(quote!(subscribes = [Order], sink = "sqlite"), sales()),
    );
    let untagged = quote! {
        pub enum OrderEvent {
            Placed,
        }
    };
    check("domain_event_fallback", domain_event(untagged));
    let refused = quote! {
        #[serde(tag = "type", content = "data", rename_all = "snake")]
        pub enum OrderEvent {
            Placed,
        }
    };
    check("domain_event_fallback_refused", domain_event(refused));
}
