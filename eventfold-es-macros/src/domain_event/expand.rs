//! The code that `#[derive(DomainEvent)]` generates.

use proc_macro2::{Literal, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::Type;
use syn::spanned::Spanned;

use super::model::{Event, Model};
use crate::named_types;
use crate::path::parenthesized;

pub(crate) fn expand(model: &Model) -> TokenStream {
    let Model {
        ident,
        variants,
        krate,
        ..
    } = model;
    let written = variants.iter().map(|variant| &variant.stored);
    let aliases = variants.iter().flat_map(|variant| &variant.aliases);
    let value = if variants.is_empty() {
        quote!(match *self {})
    } else {
        let arms = variants.iter().map(|variant| {
            let (ident, stored) = (&variant.ident, &variant.stored);
            quote!(Self::#ident { .. } => #stored,)
        });
        quote! {
            match self {
                #(#arms)*
            }
        }
    };
    let schemas = schemas(model);
    let upcasters = upcasters(model);
    let chains = variants.iter().map(|variant| assert_chain(model, variant));
    quote! {
        #[automatically_derived]
        impl #krate::DomainEvent for #ident {
            const EVENT_TYPES: &'static [&'static str] = &[#(#written,)* #(#aliases),*];
            #schemas
            #upcasters

            fn event_type(&self) -> &'static str {
                #value
            }

            fn from_stored(
                event: &#krate::__private::StoredEvent<'_>,
            ) -> ::std::result::Result<Self, #krate::EventError> {
                #krate::__private::StoredEvent::decode(event)
            }
        }

        #(#chains)*
    }
}

/// The stored names, versions and shapes of each variant.
fn schemas(model: &Model) -> Option<TokenStream> {
    let Model {
        variants, krate, ..
    } = model;
    if variants.is_empty() {
        return None;
    }
    let schema = quote!(#krate::schema::EventSchema);
    let schemas = variants.iter().map(|variant| {
        let Event {
            stored,
            aliases,
            shape,
            evolution,
            ..
        } = variant;
        let shape = shape.expand(krate);
        let mut value = quote!(#schema::new(#stored, #shape));
        if !aliases.is_empty() {
            value = quote!(#value.also_named(&[#(#aliases),*]));
        }
        if evolution.version > 1 {
            let version = Literal::u32_unsuffixed(evolution.version);
            value = quote!(#value.version(#version));
        }
        if evolution.is_retired {
            value = quote!(#value.retired());
        }
        if !evolution.past.is_empty() {
            let past = evolution
                .past
                .iter()
                .map(|ty| named_types::named(ty, krate));
            value = quote!(#value.upcast_from(&[#(#past),*]));
        }
        value
    });
    let mut schemas = quote!(&[#(#schemas),*]);
    let names_types = variants
        .iter()
        .any(|variant| variant.shape.names_types() || !variant.evolution.past.is_empty());
    if names_types {
        schemas = named_types::in_scope(&schemas, krate);
    }
    Some(quote! {
        const SCHEMAS: &'static [#schema] = #schemas;
    })
}

/// The readers of older versions: the shape of each version, and the steps from it to the event.
fn upcasters(model: &Model) -> Option<TokenStream> {
    let Model {
        ident,
        variants,
        krate,
        ..
    } = model;
    let upcaster = quote!(#krate::evolution::Upcaster);
    let upcasters = variants.iter().flat_map(|variant| {
        let Event {
            stored,
            aliases,
            evolution,
            ..
        } = variant;
        let upcaster = &upcaster;
        (1..).zip(&evolution.past).map(move |(version, shape)| {
            let behind = evolution
                .past
                .iter()
                .skip_while(|other| !std::ptr::eq(*other, shape));
            let nexts = behind
                .clone()
                .skip(1)
                .map(ToTokens::to_token_stream)
                .chain([ident.to_token_stream()]);
            let steps = behind.zip(nexts).map(|(from, next)| {
                let at = shape_span(from);
                let krate = krate.exactly_at(at);
                let event = parenthesized(quote!(event), at);
                let step = quote_spanned!(at=> <#from as #krate::evolution::Upcast<#next>>::upcast);
                quote!(let event = #step #event;)
            });
            let at = shape_span(shape);
            let spanned = krate.exactly_at(at);
            let data = parenthesized(quote!(data), at);
            let read = quote_spanned!(at=> <#shape as #spanned::evolution::PastShape>::read);
            let version = Literal::u32_unsuffixed(version);
            quote! {
                #upcaster::new(&[#stored, #(#aliases),*], #version, |data| {
                    let event = #read #data?;
                    #(#steps)*
                    ::std::result::Result::Ok(event)
                })
            }
        })
    });
    let upcasters: Vec<TokenStream> = upcasters.collect();
    (!upcasters.is_empty()).then(|| {
        quote! {
            const UPCASTERS: &'static [#upcaster<Self>] = &[#(#upcasters),*];
        }
    })
}

/// Asserts that no two versions have the same shape, under any name: the steps between them would form a circle. The
/// error is an E0119 at the second version.
fn assert_chain(model: &Model, variant: &Event) -> Option<TokenStream> {
    let ident = &model.ident;
    let past = &variant.evolution.past;
    if past.is_empty() {
        return None;
    }
    let impls = past.iter().map(|shape| {
        let at = Span::call_site().located_at(shape_span(shape));
        quote_spanned!(at=> impl ShapeOfOneVersion for #shape {})
    });
    Some(quote! {
        const _: () = {
            /// Implemented once for the shape of each version.
            #[allow(dead_code, reason = "it is there to be implemented once per type")]
            trait ShapeOfOneVersion {}
            impl ShapeOfOneVersion for #ident {}
            #(#impls)*
        };
    })
}

/// The span at which rustc reports an error about a shape.
fn shape_span(shape: &Type) -> Span {
    match shape {
        Type::Path(path) => path
            .path
            .segments
            .last()
            .map_or_else(|| shape.span(), |last| last.ident.span()),
        _ => shape.span(),
    }
}
