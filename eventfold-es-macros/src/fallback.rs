//! The generated code for a declaration with errors: enough that rustc reports only the mistake itself.
//!
//! A generic type is such a mistake; see [`generic`](crate::generic).

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::{Generics, Visibility, WherePredicate, parse_quote};

use crate::aggregate::model as aggregate;
use crate::domain_event::model::{self as domain_event, Serde};
use crate::event_handler::model as event_handler;
use crate::event_store::{handlers, model as event_store};
use crate::path::{CratePath, Entry};
use crate::process_manager::model as process_manager;
use crate::projection::model as projection;
use crate::projection::{rows, sink};
use crate::{generic, item};

/// The item with the code that its declaration generates, or with its errors and its stubs.
pub(crate) fn declaration<M>(
    item: TokenStream,
    errors: Option<TokenStream>,
    model: Option<M>,
    parts: fn(&M) -> (&Generics, &CratePath),
    expand: fn(&M) -> TokenStream,
    stubs: fn(&M, Option<TokenStream>) -> TokenStream,
) -> TokenStream {
    let Some(model) = model else {
        return quote!(#item #errors);
    };
    if errors.is_none() {
        let expanded = expand(&model);
        return quote!(#item #expanded);
    }
    let (generics, krate) = parts(&model);
    // serde's derives fail on an unfinished struct or enum.
    let unfinished = (!item::is_whole(&item))
        .then(|| item::name_of(&item))
        .flatten();
    let serde = unfinished.map(|ident| unreachable_serde(&ident, krate));
    let erring = (!generics.params.is_empty())
        .then(|| generic::erring(&item, errors.as_ref(), krate))
        .flatten();
    let (item, errors) = match erring {
        Some(erring) => (erring, None),
        None => (item, errors),
    };
    let stubs = stubs(&model, errors);
    quote!(#item #stubs #serde)
}

/// Names the listed aggregates, so that their imports do not count as unused.
fn mention<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> TokenStream {
    let entries = entries.into_iter();
    quote!(const _: ::std::marker::PhantomData<(#(#entries,)*)> = ::std::marker::PhantomData;)
}

/// The errors are in the error type, which may be the mistake. It is then no type at all, so that rustc reports nothing
/// more about it.
pub(crate) fn aggregate(model: &aggregate::Model, errors: Option<TokenStream>) -> TokenStream {
    let aggregate::Model {
        ident,
        generics,
        command,
        event,
        krate,
        ..
    } = model;
    let is_generic = !generics.params.is_empty();
    let named = if is_generic {
        generic::named(ident, generics)
    } else {
        quote!(#ident)
    };
    let aggregate = (!is_generic).then(|| {
        // `context` may be among the arguments that could not be read.
        quote! {
            #[automatically_derived]
            impl #krate::Aggregate for #ident {
                const AGGREGATE_TYPE: &'static str = "";
                type Command = #command;
                type DomainEvent = #event;
                type Error = #krate::__private::Checked<(), { #errors true }>;

                fn handle(&self, _: #command) -> ::std::result::Result<::std::vec::Vec<#event>, ()> {
                    ::std::unreachable!()
                }

                fn apply(self, _: &#event) -> Self {
                    ::std::unreachable!()
                }
            }

            #[automatically_derived]
            impl #krate::contract::DecidesWithContext for #ident {}
        }
    });
    quote! {
        #aggregate

        #[automatically_derived]
        impl #krate::contract::DecidedBy for #command {
            type Aggregate = #named;
        }
    }
}

pub(crate) fn process_manager(
    model: &process_manager::Model,
    errors: Option<TokenStream>,
) -> TokenStream {
    let process_manager::Model {
        generics,
        vis,
        envelope,
        subscribes,
        dispatches,
        deadlines,
        krate,
        ..
    } = model;
    let mentioned = mention(subscribes);
    let messages = mention(deadlines.iter().map(|(entry, _)| entry));
    let implemented = generics
        .params
        .is_empty()
        .then(|| implemented_process_manager(model));
    let envelope = unreachable_envelope(vis, envelope, dispatches, krate);
    quote! {
        #errors
        #mentioned
        #messages
        #implemented
        #envelope
    }
}

/// The enum of the commands, which is never routed.
fn unreachable_envelope(
    vis: &Visibility,
    envelope: &Ident,
    dispatches: &[Entry],
    krate: &CratePath,
) -> TokenStream {
    let variants = dispatches.iter().map(|entry| {
        let variant = entry.last();
        quote!(#variant(#krate::Envelope<#entry>),)
    });
    quote! {
        #[allow(dead_code, missing_docs, reason = "it stands in until the mistake is mended")]
        #vis enum #envelope {
            #(#variants)*
        }

        #[automatically_derived]
        impl #krate::contract::Dispatch for #envelope {
            fn targets(_: &mut impl #krate::contract::TargetVisitor) {}

            fn route<R: #krate::contract::Router>(self, _: R) -> R::Routed {
                ::std::unreachable!()
            }
        }
    }
}

fn implemented_process_manager(model: &process_manager::Model) -> TokenStream {
    let process_manager::Model {
        ident,
        envelope,
        key,
        krate,
        ..
    } = model;
    let key = key.as_ref().map_or_else(
        || quote!(::std::string::String),
        quote::ToTokens::to_token_stream,
    );
    quote! {
        #[automatically_derived]
        impl #krate::ProcessManager for #ident {
            const NAME: &'static str = "";
            type Envelope = #envelope;
            fn react(
                &mut self,
                _: &str,
                _: &str,
                _: &#krate::RecordedEvent,
            ) -> ::std::result::Result<::std::vec::Vec<#envelope>, #krate::contract::ReactError> {
                ::std::unreachable!()
            }
        }

        #[automatically_derived]
        impl<A: #krate::Aggregate> #krate::__private::Subscribes<A> for #ident {}

        #[automatically_derived]
        impl<A: #krate::Aggregate> #krate::contract::DispatchesTo<A> for #ident {
            fn envelope(_: #krate::Envelope<A>) -> <Self as #krate::ProcessManager>::Envelope {
                ::std::unreachable!()
            }
        }

        #[automatically_derived]
        impl #krate::contract::Keyed for #ident {
            type Key = #key;
        }

        #[automatically_derived]
        impl<M> #krate::contract::Schedules<M> for #ident {
            const MESSAGE_TYPE: &'static str = "";

            fn encode(
                _: &M,
            ) -> ::std::result::Result<
                ::std::boxed::Box<#krate::__private::RawValue>,
                ::std::string::String,
            > {
                ::std::unreachable!()
            }
        }

        #[automatically_derived]
        impl #krate::FailurePolicy for #ident {}

        #[automatically_derived]
        impl #krate::contract::StateVersioned for #ident {}
    }
}

pub(crate) fn event_handler(
    model: &event_handler::Model,
    errors: Option<TokenStream>,
) -> TokenStream {
    let event_handler::Model {
        generics,
        vis,
        envelope,
        subscribes,
        dispatches,
        krate,
        ..
    } = model;
    let mentioned = mention(subscribes);
    let implemented = generics
        .params
        .is_empty()
        .then(|| implemented_event_handler(model));
    let envelope = unreachable_envelope(vis, envelope, dispatches, krate);
    quote! {
        #errors
        #mentioned
        #implemented
        #envelope
    }
}

fn implemented_event_handler(model: &event_handler::Model) -> TokenStream {
    let event_handler::Model {
        ident,
        envelope,
        key,
        krate,
        ..
    } = model;
    let key = key.as_ref().map_or_else(
        || quote!(::std::string::String),
        quote::ToTokens::to_token_stream,
    );
    quote! {
        #[automatically_derived]
        impl #krate::EventHandler for #ident {
            const NAME: &'static str = "";
            const SUBSCRIPTIONS: &'static [&'static str] = &[];
            type Envelope = #envelope;

            async fn handle_event(
                &self,
                _: &mut #krate::Handling<'_, Self>,
            ) -> ::std::result::Result<(), #krate::HandleError> {
                ::std::unreachable!()
            }
        }

        #[automatically_derived]
        impl<A: #krate::Aggregate> #krate::__private::Subscribes<A> for #ident {}

        #[automatically_derived]
        impl<A: #krate::Aggregate> #krate::contract::HandlerDispatchesTo<A> for #ident {
            fn envelope(_: #krate::Envelope<A>) -> <Self as #krate::EventHandler>::Envelope {
                ::std::unreachable!()
            }
        }

        #[automatically_derived]
        impl #krate::contract::HandlerKeyed for #ident {
            type Key = #key;
        }

        #[automatically_derived]
        impl #krate::FailurePolicy for #ident {}
    }
}

/// A projection of all three kinds, since the argument that says the kind may be the mistake. A missing key or sink is no type
/// at all, as the error type of [`aggregate`].
pub(crate) fn projection(model: &projection::Model, errors: Option<TokenStream>) -> TokenStream {
    let mentioned = mention(&model.subscribes);
    if !model.generics.params.is_empty() {
        return quote!(#errors #mentioned);
    }
    let projection::Model { ident, krate, .. } = model;
    let is_declared = format_ident!("__{}_is_declared", ident.unraw());
    let unknown = quote!(#krate::__private::Checked<(), { #is_declared }>);
    let key = rows::key(model).unwrap_or_else(|| unknown.clone());
    let sink = sink::sink(model).unwrap_or(unknown);
    let constants = rows::index_constants(model);
    let read = match model.place {
        projection::Place::Memory => read_from_memory(model),
        projection::Place::Rows => {
            let read = sink_projection(
                model,
                &quote!(#krate::contract::RowSink<Self>),
                &quote!(#krate::contract::RowTx<'_, Self>),
                &quote!(#krate::contract::RowsError),
            );
            quote! {
                #read

                #[automatically_derived]
                impl #krate::contract::RowProjection for #ident {
                    type Key = #krate::contract::RowKeyOf<Self>;
                }
            }
        }
        projection::Place::Sink => sink_projection(
            model,
            &quote!(<Self as #krate::contract::DeclaredSink>::Sink),
            &quote!(#krate::contract::TxOf<'_, Self>),
            &quote!(#krate::contract::SinkErrorOf<Self>),
        ),
    };
    quote! {
        #[allow(non_upper_case_globals, reason = "it stands in until the mistake is mended")]
        const #is_declared: bool = {
            #errors
            true
        };
        #mentioned

        #[automatically_derived]
        impl #krate::contract::DeclaredProjection for #ident {
            type Declared = Self;
        }

        #[automatically_derived]
        impl #krate::contract::DeclaredRows for #ident {
            type Declared = Self;
            type Key = #key;
        }

        #[automatically_derived]
        impl #krate::contract::DeclaredSink for #ident {
            type Declared = Self;
            type Sink = #sink;
        }

        #[automatically_derived]
        impl<A: #krate::Aggregate> #krate::__private::Subscribes<A> for #ident {}

        #read
        #constants
    }
}

fn read_from_memory(model: &projection::Model) -> TokenStream {
    let projection::Model { ident, krate, .. } = model;
    quote! {
        #[automatically_derived]
        impl #krate::Projection for #ident {
            const NAME: &'static str = "";
            fn apply(
                &mut self,
                _: &str,
                _: &str,
                _: &#krate::RecordedEvent,
            ) -> ::std::result::Result<(), #krate::contract::ProjectError> {
                ::std::unreachable!()
            }
        }
    }
}

fn sink_projection(
    model: &projection::Model,
    sink: &TokenStream,
    tx: &TokenStream,
    error: &TokenStream,
) -> TokenStream {
    let projection::Model { ident, krate, .. } = model;
    quote! {
        #[automatically_derived]
        impl #krate::contract::SinkProjection for #ident {
            type Sink = #sink;
            const NAME: &'static str = "";
            const SUBSCRIPTIONS: &'static [&'static str] = &[];

            fn prepare(_: &mut #tx) -> ::std::result::Result<(), #error> {
                ::std::unreachable!()
            }

            fn apply(
                _: &str,
                _: &str,
                _: &#krate::__private::StoredEvent<'_>,
                _: &mut #tx,
            ) -> ::std::result::Result<(), #krate::contract::SinkError<#error>> {
                ::std::unreachable!()
            }
        }
    }
}

pub(crate) fn domain_event(model: &domain_event::Model) -> TokenStream {
    let domain_event::Model {
        ident,
        generics,
        krate,
        serde,
        ..
    } = model;
    let refused = match serde {
        Serde::Implemented => None,
        Serde::Refused => generics
            .params
            .is_empty()
            .then(|| unreachable_serde(ident, krate)),
        // rustc would report the same in other words.
        Serde::NotOwned => return TokenStream::new(),
    };
    let mut bounded = generics.clone();
    if !generics.params.is_empty() {
        let bounds: WherePredicate =
            parse_quote!(Self: ::std::clone::Clone + #krate::__private::Stored);
        bounded.make_where_clause().predicates.push(bounds);
    }
    let (parameters, arguments, conditions) = bounded.split_for_impl();
    quote! {
        #refused

        #[automatically_derived]
        impl #parameters #krate::DomainEvent for #ident #arguments #conditions {
            const EVENT_TYPES: &'static [&'static str] = &[];

            fn event_type(&self) -> &'static str {
                ::std::unreachable!()
            }
        }
    }
}

pub(crate) fn event_store(model: &event_store::Model) -> TokenStream {
    let event_store::Model {
        ident,
        generics,
        vis,
        aggregates,
        process_managers,
        event_handlers,
        projections,
        krate,
        ..
    } = model;
    let mentioned = [aggregates, process_managers, event_handlers, projections];
    let mentioned = mentioned.map(|entries| mention(entries.as_slice()));
    let builder = handlers::builder_type(model);
    let (parameters, arguments, conditions) = generics.split_for_impl();
    let event = crate::event_store::events::name(model);
    quote! {
        #(#mentioned)*

        #[allow(dead_code, missing_docs, reason = "it stands in until the mistake is mended")]
        #vis enum #event {}

        #[allow(dead_code, missing_docs, reason = "it stands in until the mistake is mended")]
        impl #parameters #ident #arguments #conditions {
            #vis fn builder(_: impl ::std::convert::AsRef<::std::path::Path>) -> #builder {
                ::std::unreachable!()
            }

            #vis async fn open(
                _: impl ::std::convert::AsRef<::std::path::Path>
                #(, _: #event_handlers)*
            ) -> ::std::result::Result<#krate::AggregateStore, #krate::OpenError> {
                ::std::unreachable!()
            }

            #vis fn subscribe(_: &#krate::AggregateStore) -> #krate::Subscription<#krate::Recorded<#event>> {
                ::std::unreachable!()
            }

            #vis fn topology() -> &'static #krate::topology::Topology {
                ::std::unreachable!()
            }

            #vis fn schema() -> #krate::schema::Schema {
                ::std::unreachable!()
            }
        }
    }
}

/// The impls of serde's derives, which are missing after a mistake that these derives report.
fn unreachable_serde(ident: &Ident, krate: &CratePath) -> TokenStream {
    quote! {
        #[automatically_derived]
        impl #krate::prelude::Serialize for #ident {
            fn serialize<S: #krate::__private::Serializer>(
                &self,
                _: S,
            ) -> ::std::result::Result<S::Ok, S::Error> {
                ::std::unreachable!()
            }
        }

        #[automatically_derived]
        impl<'de> #krate::prelude::Deserialize<'de> for #ident {
            fn deserialize<D: #krate::__private::Deserializer<'de>>(
                _: D,
            ) -> ::std::result::Result<Self, D::Error> {
                ::std::unreachable!()
            }
        }
    }
}
