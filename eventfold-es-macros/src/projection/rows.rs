//! The code that `#[projection]` generates for `key`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;

use super::index::Indexed;
use super::model::Model;
use super::parts;
use crate::path::parenthesized;
use crate::type_text::type_text;

pub(super) fn expand(model: &Model) -> TokenStream {
    let Model { ident, krate, .. } = model;
    let constants = parts::constants(model);
    let tx = quote!(#krate::contract::RowTx<'_, Self>);
    let error = quote!(#krate::contract::RowsError);
    let apply = parts::apply(model, &tx, &error, |entry| {
        // All tokens that mention the type of the entry have its span, so that rustc prints each error about it once.
        let at = entry.exact_span();
        let spanned = krate.exactly_at(at);
        let event = Ident::new("event", at);
        let handler = |of: &str, method: &str| {
            let (of, method) = (Ident::new(of, at), Ident::new(method, at));
            quote_spanned!(at=> <Self as #spanned::#of<#spanned::contract::Subscribed<#entry>>>::#method)
        };
        let locate = handler("Locate", "locate");
        let located = parenthesized(quote!(&#event, &context), at);
        let project = handler("Project", "project");
        let projected = parenthesized(quote!(row, &#event, context), at);
        quote! {
            let keys = #locate #located;
            tx.change(keys, &context, |row, context| #project #projected)
        }
    });
    let declared = parts::declared(model);
    let read_model = parts::read_model(
        model,
        &quote!(row_projection),
        Some(quote! {
            fn declare(schema: #krate::schema::Schema) -> #krate::schema::Schema {
                schema.rows::<Self>()
            }
        }),
    );
    let rows = impl_rows(model);
    let constants_of_indexes = index_constants(model);
    let key = key(model);
    quote! {
        #[automatically_derived]
        impl #krate::contract::SinkProjection for #ident {
            type Sink = #krate::contract::RowSink<Self>;
            #constants

            fn prepare(tx: &mut #tx) -> ::std::result::Result<(), #error> {
                tx.clear()
            }

            #apply
        }
        #rows
        #constants_of_indexes
        #declared
        #[automatically_derived]
        impl #krate::contract::DeclaredRows for #ident {
            type Declared = Self;
            type Key = #key;
        }
        #read_model
    }
}

fn impl_rows(model: &Model) -> TokenStream {
    let Model {
        ident,
        indexes,
        row,
        krate,
        ..
    } = model;
    let row = row.expand_alone(krate);
    let key_type = model
        .key
        .as_ref()
        .map(type_text)
        .map(|key| quote!(const KEY_TYPE: &'static str = #key;));
    let indexed = (!indexes.is_empty()).then(|| {
        let names = indexes.iter().map(|index| {
            let Indexed { name, ty, cfgs, .. } = index;
            // A type that cannot be stored in order is reported at its place.
            let at = ty.span();
            let krate = krate.exactly_at(at);
            let indexed = quote_spanned!(at=> #krate::__private::indexed::<#ty>);
            quote!(#(#cfgs)* #indexed(#name))
        });
        let types = indexes.iter().map(|index| {
            let (cfgs, text) = (&index.cfgs, type_text(&index.ty));
            quote!(#(#cfgs)* #text)
        });
        let added = indexes.iter().map(|index| {
            let Indexed { field, cfgs, .. } = index;
            quote!(#(#cfgs)* entries.add(&self.#field)?;)
        });
        quote! {
            const INDEXES: &'static [&'static str] = &[#(#names),*];
            const INDEX_TYPES: &'static [&'static str] = &[#(#types),*];

            fn index(
                &self,
                entries: &mut #krate::contract::IndexEntries<'_>,
            ) -> ::std::result::Result<(), #krate::contract::EncodeError> {
                #(#added)*
                ::std::result::Result::Ok(())
            }
        }
    });
    quote! {
        #[automatically_derived]
        impl #krate::contract::RowProjection for #ident {
            type Key = #krate::contract::RowKeyOf<Self>;
            const ROW: #krate::schema::Shape = #row;
            #key_type
            #indexed
        }
    }
}

/// The constants that name the indexes.
pub(crate) fn index_constants(model: &Model) -> Option<TokenStream> {
    let Model {
        ident,
        vis,
        indexes,
        krate,
        ..
    } = model;
    let constants = indexes.iter().map(|index| {
        let Indexed {
            field,
            ty,
            name,
            constant,
            cfgs,
        } = index;
        // A constant of the user with the same name is reported at the field.
        let at = Span::call_site().located_at(field.span());
        let (vis, krate) = (located(vis, at), krate.at(at));
        let about = format!(" The index of `{ident}` over the values of `{name}`.");
        quote_spanned! {at=>
            #(#cfgs)*
            #[doc = #about]
            #vis const #constant: #krate::Index<Self, #ty> = #krate::Index::new(#name);
        }
    });
    (!indexes.is_empty()).then(|| {
        quote! {
            #[allow(dead_code, private_interfaces, reason = "a program need not use all of it")]
            impl #ident {
                #(#constants)*
            }
        }
    })
}

/// The same tokens, whose errors rustc reports at `span`.
fn located(tokens: &impl ToTokens, span: Span) -> TokenStream {
    let tokens = tokens.to_token_stream().into_iter().map(|mut token| {
        token.set_span(token.span().located_at(span));
        token
    });
    tokens.collect()
}

/// The key. If rustc has reported that it cannot be a key, it reports nothing more about it. `None` after a mistake.
pub(crate) fn key(model: &Model) -> Option<TokenStream> {
    let key = model.key.as_ref()?;
    let krate = model.krate.at(Span::call_site().located_at(key.span()));
    Some(quote!(#krate::__private::Checked<#key, { #krate::__private::is_row_key::<#key>() }>))
}
