//! What is generated for a declaration that has errors: enough that nothing but the mistake itself is reported.
//!
//! A generic type is such a mistake, so these are the only impls with parameters; they hold for those uses of the type
//! that have the supertraits.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{GenericParam, Generics, WherePredicate, parse_quote};

use crate::aggregate::model as aggregate;
use crate::domain_event::model::{self as domain_event, Serde};
use crate::event_store::model as event_store;
use crate::path::{CratePath, Entry};
use crate::process_manager::model as process_manager;
use crate::projection::model as projection;

/// A type that may be generic.
struct Stub<'a> {
    ident: &'a Ident,
    generics: &'a Generics,
    krate: &'a CratePath,
    /// The supertraits of what is implemented, besides those that all have.
    supertraits: TokenStream,
}

/// Of which types with parameters a stub holds.
#[derive(Clone, Copy, PartialEq)]
enum Holds {
    /// Of those that have the supertraits.
    WhereStored,
    /// Of all.
    Always,
}

impl Stub<'_> {
    /// `impl<…> Trait for Type<…> where Self: …`
    fn header(&self, implemented: &TokenStream) -> TokenStream {
        self.header_with(None, implemented, Holds::WhereStored)
    }

    /// `impl<…> Trait for Type<…>`, of a trait without supertraits.
    fn header_always(&self, implemented: &TokenStream) -> TokenStream {
        self.header_with(None, implemented, Holds::Always)
    }

    /// `impl<…, A: Aggregate> Trait<A> for Type<…> where Self: …`
    fn header_for_any(&self, implemented: &TokenStream, holds: Holds) -> TokenStream {
        let krate = self.krate;
        self.header_with(
            Some(parse_quote!(A: #krate::Aggregate)),
            &quote!(#implemented<A>),
            holds,
        )
    }

    /// `impl<…, M> Trait<M> for Type<…> where Self: …`
    fn header_for_any_message(&self, implemented: &TokenStream) -> TokenStream {
        self.header_with(
            Some(parse_quote!(M)),
            &quote!(#implemented<M>),
            Holds::WhereStored,
        )
    }

    fn header_with(
        &self,
        parameter: Option<GenericParam>,
        implemented: &TokenStream,
        holds: Holds,
    ) -> TokenStream {
        let Self {
            ident,
            generics,
            krate,
            supertraits,
        } = self;
        let mut bounded = (*generics).clone();
        if !generics.params.is_empty() && holds == Holds::WhereStored {
            let bounds: WherePredicate =
                parse_quote!(Self: #supertraits + #krate::__private::Stored);
            bounded.make_where_clause().predicates.push(bounds);
        }
        bounded.params.extend(parameter);
        let (parameters, _, conditions) = bounded.split_for_impl();
        let (_, arguments, _) = generics.split_for_impl();
        quote! {
            #[automatically_derived]
            impl #parameters #implemented for #ident #arguments #conditions
        }
    }
}

/// Names the listed aggregates, so that their imports do not count as unused.
fn mention<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> TokenStream {
    let entries = entries.into_iter();
    quote!(const _: ::std::marker::PhantomData<(#(#entries,)*)> = ::std::marker::PhantomData;)
}

pub(crate) fn aggregate(model: &aggregate::Model) -> TokenStream {
    let aggregate::Model {
        ident,
        generics,
        command,
        event,
        error,
        krate,
        ..
    } = model;
    let supertraits = quote!(::std::default::Default + ::std::clone::Clone);
    let stub = Stub {
        ident,
        generics,
        krate,
        supertraits,
    };
    if !generics.params.is_empty() {
        // What the deciders ask for, which is all that can be said of a type whose parameters have no bounds.
        let header = stub.header_always(&quote!(#krate::DeclaredAggregate));
        let with_context = stub.header_always(&quote!(#krate::DecidesWithContext));
        return quote! {
            #header {
                type Command = #command;
                type DomainEvent = #event;
                type Error = #error;
            }

            #with_context {}
        };
    }
    let header = stub.header(&quote!(#krate::Aggregate));
    // `context` may be in what was not understood.
    let with_context = stub.header(&quote!(#krate::DecidesWithContext));
    quote! {
        #header {
            const AGGREGATE_TYPE: &'static str = "";
            type Command = #command;
            type DomainEvent = #event;
            type Error = #error;

            fn handle(&self, _: #command) -> ::std::result::Result<::std::vec::Vec<#event>, #error> {
                ::std::unreachable!()
            }

            fn apply(self, _: &#event) -> Self {
                ::std::unreachable!()
            }
        }

        #with_context {}

        #[automatically_derived]
        impl #krate::DecidedBy for #command {
            type Aggregate = #ident;
        }
    }
}

pub(crate) fn process_manager(model: &process_manager::Model) -> TokenStream {
    let process_manager::Model {
        ident,
        generics,
        vis,
        envelope,
        subscribes,
        dispatches,
        key,
        deadlines,
        krate,
        ..
    } = model;
    let stub = Stub {
        ident,
        generics,
        krate,
        supertraits: quote!(::std::default::Default),
    };
    let keyed = stub.header(&quote!(#krate::Keyed));
    let key = key.as_ref().map_or_else(
        || quote!(::std::string::String),
        quote::ToTokens::to_token_stream,
    );
    let schedules = stub.header_for_any_message(&quote!(#krate::Schedules));
    let policy = stub.header(&quote!(#krate::FailurePolicy));
    let versioned = stub.header(&quote!(#krate::StateVersioned));
    let messages = mention(deadlines.iter().map(|(entry, _)| entry));
    let process_manager = stub.header(&quote!(#krate::ProcessManager));
    let subscribes_to = stub.header_for_any(&quote!(#krate::SubscribesTo), Holds::WhereStored);
    let dispatches_to = stub.header_for_any(&quote!(#krate::DispatchesTo), Holds::WhereStored);
    let mentioned = mention(subscribes);
    let variants = dispatches.iter().map(|entry| {
        let variant = entry.last();
        quote!(#variant(#krate::Envelope<#entry>),)
    });
    quote! {
           #mentioned
           #messages

           #process_manager {
               const NAME: &'static str = "";
               type Envelope = #envelope;
               fn react(
                   &mut self,
                   _: &str,
                   _: &str,
                   _: &#krate::RecordedEvent,
               ) -> ::std::result::Result<::std::vec::Vec<#envelope>, #krate::ReactError> {
                   ::std::unreachable!()
               }
           }

           #subscribes_to {}

           #dispatches_to {
               fn envelope(_: #krate::Envelope<A>) -> <Self as #krate::ProcessManager>::Envelope
    {
                   ::std::unreachable!()
               }
           }

           #keyed {
               type Key = #key;
           }

           #schedules {
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

           #policy {}

           #versioned {}

           #[allow(dead_code, missing_docs, reason = "it stands in until the mistake is mended")]
           #vis enum #envelope {
               #(#variants)*
           }

           #[automatically_derived]
           impl #krate::Dispatch for #envelope {
               fn targets(_: &mut impl #krate::TargetVisitor) {}

               fn route<R: #krate::Router>(self, _: R) -> R::Routed {
                   ::std::unreachable!()
               }
           }
       }
}

pub(crate) fn projection(model: &projection::Model) -> TokenStream {
    let projection::Model {
        ident,
        generics,
        subscribes,
        krate,
        ..
    } = model;
    let supertraits = quote!(::std::default::Default + ::std::clone::Clone);
    let stub = Stub {
        ident,
        generics,
        krate,
        supertraits,
    };
    let projection = stub.header(&quote!(#krate::Projection));
    let declared = stub.header_always(&quote!(#krate::DeclaredProjection));
    let subscribes_to = stub.header_for_any(&quote!(#krate::SubscribesTo), Holds::Always);
    let mentioned = mention(subscribes);
    quote! {
        #mentioned

        #declared {
            type Declared = Self;
        }

        #projection {
            const NAME: &'static str = "";
            fn apply(
                &mut self,
                _: &str,
                _: &str,
                _: &#krate::RecordedEvent,
            ) -> ::std::result::Result<(), #krate::ProjectError> {
                ::std::unreachable!()
            }
        }

        #subscribes_to {}
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
        // rustc would say so in other words.
        Serde::NotOwned => return TokenStream::new(),
    };
    let stub = Stub {
        ident,
        generics,
        krate,
        supertraits: quote!(::std::clone::Clone),
    };
    let domain_event = stub.header(&quote!(#krate::DomainEvent));
    quote! {
        #refused

        #domain_event {
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
        projections,
        krate,
        ..
    } = model;
    let mentioned =
        [aggregates, process_managers, projections].map(|entries| mention(entries.as_slice()));
    let (parameters, arguments, conditions) = generics.split_for_impl();
    quote! {
        #(#mentioned)*

        #[allow(dead_code, missing_docs, reason = "it stands in until the mistake is mended")]
        impl #parameters #ident #arguments #conditions {
            #vis fn builder(_: impl ::std::convert::AsRef<::std::path::Path>) -> #krate::AggregateStoreBuilder {
                ::std::unreachable!()
            }

            #vis async fn open(
                _: impl ::std::convert::AsRef<::std::path::Path>,
            ) -> ::std::result::Result<#krate::AggregateStore, #krate::OpenError> {
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

/// What serde's derives leave out when they report a mistake of their own.
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
