//! The code that `#[schedule]` generates.

use proc_macro2::TokenStream;
use quote::quote;

use super::model::Model;
use crate::attributes::Missed;
use crate::names;

pub(super) fn expand(model: &Model) -> TokenStream {
    let Model {
        ident,
        cron,
        time_zone,
        missed,
        krate,
        ..
    } = model;
    let in_time_zone = time_zone
        .as_ref()
        .map(|name| quote!(let timetable = #krate::Timetable::in_time_zone(timetable, #name)?;));
    let missed = match missed {
        Missed::Once => quote!(Once),
        Missed::All => quote!(All),
        Missed::None => quote!(None),
    };
    let timetable = quote! {
        let timetable = #krate::Timetable::new(#cron)?;
        #in_time_zone
        ::std::result::Result::Ok(#krate::Timetable::missed(timetable, #krate::Missed::#missed))
    };
    let stored = quote!(<#ident as #krate::Aggregate>::AGGREGATE_TYPE);
    let storable = names::assert_storable(&model.name, &stored, krate);
    let item = item(model);
    let name = &model.name;
    let schedule = impl_schedule(model, &quote!(#name), &timetable);
    quote! {
        #item
        #schedule
        #storable
    }
}

/// The type with its impls, so that rustc reports only the mistake itself.
pub(super) fn stubs(model: &Model, errors: Option<TokenStream>) -> TokenStream {
    let item = item(model);
    let schedule = impl_schedule(model, &quote!(""), &quote!(::std::unreachable!()));
    quote! {
        #item
        #errors
        #schedule
    }
}

fn item(model: &Model) -> TokenStream {
    let Model {
        ident,
        vis,
        attrs,
        krate,
        ..
    } = model;
    quote! {
        #(#attrs)*
        #vis struct #ident {
            occurrences: #krate::contract::Occurrences,
        }
    }
}

fn impl_schedule(model: &Model, name: &TokenStream, timetable: &TokenStream) -> TokenStream {
    let Model { ident, krate, .. } = model;
    let result = quote! {
        ::std::result::Result<::std::vec::Vec<#krate::Occurrence>, #krate::contract::NotDue>
    };
    quote! {
        #[automatically_derived]
        impl ::std::clone::Clone for #ident {
            fn clone(&self) -> Self {
                Self { occurrences: ::std::clone::Clone::clone(&self.occurrences) }
            }
        }

        #[automatically_derived]
        impl ::std::default::Default for #ident {
            fn default() -> Self {
                Self { occurrences: ::std::default::Default::default() }
            }
        }

        #[automatically_derived]
        impl #krate::prelude::Serialize for #ident {
            fn serialize<S: #krate::__private::Serializer>(
                &self,
                serializer: S,
            ) -> ::std::result::Result<S::Ok, S::Error> {
                #krate::prelude::Serialize::serialize(&self.occurrences, serializer)
            }
        }

        #[automatically_derived]
        impl<'de> #krate::prelude::Deserialize<'de> for #ident {
            fn deserialize<D: #krate::__private::Deserializer<'de>>(
                deserializer: D,
            ) -> ::std::result::Result<Self, D::Error> {
                let occurrences = #krate::prelude::Deserialize::deserialize(deserializer)?;
                ::std::result::Result::Ok(Self { occurrences })
            }
        }

        #[automatically_derived]
        impl #krate::Aggregate for #ident {
            const AGGREGATE_TYPE: &'static str = #name;
            const STATE: #krate::schema::Shape = #krate::contract::Occurrences::SHAPE;
            const IS_SCHEDULE: bool = true;
            type Command = #krate::contract::Due;
            type DomainEvent = #krate::Occurrence;
            type Error = #krate::contract::NotDue;

            fn handle(&self, command: #krate::contract::Due) -> #result {
                #krate::contract::Occurrences::decide(&self.occurrences, command)
            }

            fn apply(mut self, event: &#krate::Occurrence) -> Self {
                #krate::contract::Occurrences::evolve(&mut self.occurrences, event);
                self
            }

            fn is_same(&self, other: &Self) -> ::std::option::Option<bool> {
                ::std::option::Option::Some(self.occurrences == other.occurrences)
            }
        }

        #[automatically_derived]
        impl #krate::Schedule for #ident {
            fn timetable() -> ::std::result::Result<#krate::Timetable, #krate::TimetableError> {
                #timetable
            }

            fn occurrences(&self) -> &#krate::contract::Occurrences {
                &self.occurrences
            }
        }
    }
}
