//! The code that `#[event_store]` generates.

use proc_macro2::{Ident, Literal, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;

use super::member::member;
use super::model::Model;
use super::{events, handlers};
use crate::path::{CratePath, Entry, parenthesized};

pub(crate) fn expand(model: &Model) -> TokenStream {
    let Model {
        aggregates,
        process_managers,
        event_handlers,
        projections,
        ..
    } = model;
    let (events, store) = (events::expand(model), impl_store(model));
    let fitting = [
        ("aggregate_fits", aggregates),
        ("process_manager_fits", process_managers),
        ("event_handler_fits", event_handlers),
        ("projection_fits", projections),
    ]
    .map(|(assertion, entries)| assert_fitting(model, assertion, entries));
    quote! {
        #events
        #store
        #(#fitting)*
    }
}

fn impl_store(model: &Model) -> TokenStream {
    let Model {
        ident,
        vis,
        aggregates,
        schedules,
        process_managers,
        event_handlers,
        projections,
        krate,
        ..
    } = model;
    let name = ident.unraw().to_string();
    let aggregate_nodes = nodes(aggregates, "ListedAggregate", "AggregateNode", krate)
        .zip(aggregates)
        .map(|(node, entry)| {
            let at = entry.exact_span();
            let krate = krate.exactly_at(at);
            let owner = quote_spanned!(at=> #krate::__private::Commands::<#entry>::OWNER);
            let is_schedule = schedules
                .iter()
                .any(|schedule| schedule.text() == entry.text());
            let scheduled = is_schedule.then(|| quote!(.scheduled()));
            quote!(#node.deciding_for(#owner)#scheduled)
        });
    let process_manager_nodes = nodes(
        process_managers,
        "ListedProcessManager",
        "ProcessManagerNode",
        krate,
    );
    let event_handler_nodes = nodes(
        event_handlers,
        "ListedEventHandler",
        "EventHandlerNode",
        krate,
    );
    let with_event_handlers = (!event_handlers.is_empty())
        .then(|| quote!(.with_event_handlers(&[#(#event_handler_nodes),*])));
    let projection_nodes = nodes(projections, "ListedProjection", "ProjectionNode", krate);
    let targets = aggregates.iter().map(|entry| {
        let at = entry.exact_span();
        let krate = krate.exactly_at(at);
        let builder = parenthesized(quote!(builder), at);
        let accept = quote_spanned!(at=> #krate::__private::Commands::<#entry>::accept);
        quote!(let builder = #accept #builder;)
    });
    let registered = [
        (schedules, "ListedSchedule"),
        (process_managers, "ListedProcessManager"),
        (projections, "ListedProjection"),
    ];
    let registered = registered.iter().flat_map(|(entries, listed)| {
        entries.iter().map(move |entry| {
            let registered = member(entry, listed, "register", krate);
            let builder = parenthesized(quote!(builder), entry.exact_span());
            quote!(let builder = #registered #builder;)
        })
    });
    let declared = [
        (aggregates, "ListedAggregate"),
        (process_managers, "ListedProcessManager"),
        (event_handlers, "ListedEventHandler"),
        (projections, "ListedProjection"),
    ];
    let declared = declared.iter().flat_map(|(entries, listed)| {
        entries.iter().map(move |entry| {
            let declared = member(entry, listed, "declare", krate);
            let schema = parenthesized(quote!(schema), entry.exact_span());
            quote!(let schema = #declared #schema;)
        })
    });
    let event = events::name(model);
    let about_events = format!(
        " The events of all aggregates of `{name}`, as `AggregateStore::subscribe` has those of one."
    );
    let about_schema =
        format!(" What the events, states and rows of `{name}` look like in storage.");
    let about_builder = handlers::about_builder(model, &name);
    let open = handlers::open(model, &name);
    let builder = handlers::builder_type(model);
    let awaiting = handlers::awaiting(model);
    let private = handlers::allow_private(model);
    let about_topology = format!(" What `{name}` is made of, and how its parts are connected.");
    quote! {
        #[allow(dead_code, reason = "a program need not use all of it")]
        impl #ident {
            #(#[doc = #about_builder])*
            #[allow(unused_imports, reason = "every aggregate may be a target")]
            #private
            #vis fn builder(base: impl ::std::convert::AsRef<::std::path::Path>) -> #builder {
                use #krate::__private::NotATarget as _;

                let builder = #krate::AggregateStore::builder(base);
                #(#targets)*
                #(#registered)*
                #awaiting
            }

            #open

            #[doc = #about_topology]
            #[must_use]
            #[allow(unused_imports, reason = "every type of commands may find its aggregate")]
            #vis const fn topology() -> &'static #krate::topology::Topology {
                use #krate::__private::OfNobody as _;

                const TOPOLOGY: #krate::topology::Topology = #krate::topology::Topology::new(
                    #name,
                    &[#(#aggregate_nodes),*],
                    &[#(#process_manager_nodes),*],
                    &[#(#projection_nodes),*],
                )#with_event_handlers;
                &TOPOLOGY
            }

            #[doc = #about_events]
            #[inline]
            #vis fn subscribe(store: &#krate::AggregateStore) -> #krate::Subscription<#krate::Recorded<#event>> {
                #krate::__private::subscribe(store)
            }

            #[doc = #about_schema]
            #[must_use]
            #vis fn schema() -> #krate::schema::Schema {
                let schema = #krate::schema::Schema::new(#name);
                #(#declared)*
                schema
            }
        }
    }
}

/// `AggregateNode::called(<Order as ListedAggregate>::NODE, "Order")` for each entry.
fn nodes(
    entries: &[Entry],
    listed: &'static str,
    node: &'static str,
    krate: &CratePath,
) -> impl Iterator<Item = TokenStream> {
    entries.iter().map(move |entry| {
        let (text, node) = (entry.text(), Ident::new(node, entry.span()));
        let listed = member(entry, listed, "NODE", krate);
        quote!(#krate::topology::#node::called(#listed, #text))
    })
}

/// One assertion per entry: that it fits the other entries. The message is built during its evaluation, since only the
/// compiler knows the stored names.
fn assert_fitting(model: &Model, assertion: &str, entries: &[Entry]) -> TokenStream {
    let Model { ident, krate, .. } = model;
    let assertions = entries.iter().enumerate().map(|(index, entry)| {
        let at = entry.span();
        let krate = krate.at(at);
        let assertion = Ident::new(assertion, at);
        let index = Literal::usize_unsuffixed(index);
        quote_spanned!(at=> const _: () = #krate::__private::#assertion(#ident::topology(), #index);)
    });
    assertions.collect()
}
