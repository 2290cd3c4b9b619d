//! `#[derive(DomainEvent)]`.

mod event_attribute;
mod expand;
pub(crate) mod model;
pub(crate) mod serde_attributes;
mod stored_types;

use proc_macro2::TokenStream;

use model::Model;

use crate::diagnostics::Diagnostics;
use crate::fallback;

/// The code that `#[derive(DomainEvent)]` generates.
pub(crate) fn domain_event(item: TokenStream) -> TokenStream {
    let diagnostics = Diagnostics::new();
    let model = Model::new(item, &diagnostics);
    match (diagnostics.finish(), model) {
        (None, Some(model)) => expand::expand(&model),
        (errors, model) => {
            let mut output = errors.unwrap_or_default();
            output.extend(model.as_ref().map(fallback::domain_event));
            output
        }
    }
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    /// Each enum has one mistake, and the error contains this message.
    #[test]
    fn what_cannot_be_stored_faithfully_is_rejected() {
        let variant = |variant: TokenStream| {
            quote! {
                #[serde(tag = "type", content = "data")]
                enum E { #variant }
            }
        };
        let cases = [
            (
                variant(quote!(A(Box<dyn std::error::Error>))),
                "what it is is not known when it is read",
            ),
            (
                quote!(
                    #[serde(content = "data")]
                    enum E {
                        A,
                    }
                ),
                "its type needs a key too",
            ),
            (
                quote!(
                    #[serde(tag = "type", content = "data", from = "X")]
                    enum E {
                        A,
                    }
                ),
                "`from` gives the enum another",
            ),
            (
                quote!(
                    #[serde(tag = "type", content = "data", into = "X")]
                    enum E {
                        A,
                    }
                ),
                "`into` gives the enum another",
            ),
            (
                quote!(
                    #[serde(tag = "type", content = "data", remote = "X")]
                    enum E {
                        A,
                    }
                ),
                "`remote` gives the enum",
            ),
            (
                quote!(
                    #[serde(tag = "type", content = "data", rename_all(serialize = "snake_case"))]
                    enum E {
                        Ab,
                    }
                ),
                "written as `ab` but read as `Ab`",
            ),
            (
                quote!(
                    #[serde(
                        tag = "type",
                        content = "data",
                        rename_all_fields(serialize = "UPPERCASE")
                    )]
                    enum E {
                        A,
                    }
                ),
                "fields must be read",
            ),
            (
                quote!(union E { a: u8 }),
                "events are the variants of an enum",
            ),
            (
                quote!(
                    #[serde(tag = "type", content = "data")]
                    enum E<'a> {
                        A(&'a str),
                    }
                ),
                "type with lifetimes",
            ),
            (
                quote!(
                    #[domain_event(crate = a, crate = b)]
                    #[serde(tag = "type", content = "data")]
                    enum E {}
                ),
                "given twice",
            ),
            (
                quote!(
                    #[domain_event(crate = "a")]
                    #[serde(tag = "type", content = "data")]
                    enum E {}
                ),
                "takes the path of a crate",
            ),
            (
                variant(quote!(
                    #[serde(skip_serializing)]
                    A
                )),
                "could not be stored",
            ),
            (
                variant(quote!(
                    #[serde(skip_deserializing)]
                    A
                )),
                "but not be read",
            ),
            (
                variant(quote!(
                    #[serde(flatten)]
                    A
                )),
                "no data of its own",
            ),
            (
                variant(quote!(A {
                    a: &'static str
                })),
                "write `String` for `&'static str`",
            ),
            (
                variant(quote!(A(Vec<(u8, &'static [u32])>))),
                "write `Vec<u32>` for",
            ),
            (
                variant(quote!(A(Option<*const u8>))),
                "a pointer means nothing",
            ),
            (
                variant(quote!(A([fn(u8); 2]))),
                "a function cannot be stored",
            ),
            (
                variant(quote!(A(HashMap<(u8, u8), bool>))),
                "write `Vec<((u8, u8), bool)>`",
            ),
            (
                variant(quote!(A(std::collections::BTreeMap<Vec<u8>, bool>))),
                "are strings or numbers",
            ),
            (
                quote!(
                    #[serde(tag = "type", content = "data", rename_all = "kebabcase")]
                    enum E {
                        A,
                    }
                ),
                "did you mean `kebab-case`",
            ),
            (
                variant(quote!(
                    #[serde(rename_all = "UPPER")]
                    A { a: u8 }
                )),
                "serde has no rule `UPPER`",
            ),
            (
                variant(quote!(
                    #[serde(untagged)]
                    A
                )),
                "without its type name",
            ),
            (
                variant(quote!(
                    #[serde(rename_all(deserialize = "UPPERCASE"))]
                    A { a: u8 }
                )),
                "in `rename_all` one rule",
            ),
            (
                variant(quote!(
                    #[serde(rename(deserialize = "b"))]
                    A
                )),
                "written as `A` but read as `b`",
            ),
            (
                variant(quote!(
                    #[serde(alias = "B")]
                    A,
                    B
                )),
                "would both be stored as `B`",
            ),
            (
                variant(quote!(A {
                    #[serde(skip_serializing)]
                    a: u8
                })),
                "`skip_serializing` loses this field",
            ),
            (
                variant(quote!(A {
                    #[serde(skip_deserializing)]
                    a: u8
                })),
                "`skip_deserializing` loses this field",
            ),
            (
                variant(quote!(A(
                    #[serde(skip)]
                    u8
                ))),
                "`skip` loses this field",
            ),
            (
                variant(quote!(A(
                    #[serde(default, skip_serializing_if = "f")]
                    u8,
                    u8
                ))),
                "moves the fields behind",
            ),
            (
                variant(
                    quote!(A { #[serde(skip_serializing_if = "f", with = "m")] a: Option<u8> }),
                ),
                "add `default`",
            ),
            (
                variant(quote!(A {
                    #[serde(rename(serialize = "b"))]
                    a: u8
                })),
                "written as `b` but not read",
            ),
        ];
        for (item, message) in cases {
            let output = domain_event(item.clone()).to_string();
            assert_eq!(
                output.matches("compile_error").count(),
                1,
                "{item}: {output}"
            );
            assert!(output.contains(message), "{item}: {output}");
        }
    }

    /// Each variant has one mistake in its `#[event(..)]`, and the error contains this message.
    #[test]
    fn steps_that_lead_nowhere_are_rejected() {
        let cases = [
            (quote!(version = 0), "from 1 on"),
            (quote!(version = 2u8), "from 1 on"),
            (quote!(version = "2"), "takes a whole number"),
            (quote!(version), "takes a whole number"),
            (quote!(version = 4294967296), "up to 32 bits"),
            (quote!(version = 2), "the shape of version 1 is missing"),
            (
                quote!(version = 4, upcast_from(2 => B)),
                "the shapes of versions 1, 3 are missing",
            ),
            (
                quote!(version = 3, upcast_from(1 => A)),
                "add `2 => PlacedV2`",
            ),
            (quote!(upcast_from(1 => A)), "write `version = 2`"),
            (
                quote!(version = 2, upcast_from(1 => A, 2 => B)),
                "remove `2 => B`",
            ),
            (
                quote!(version = 2, upcast_from(0 => A, 1 => B)),
                "from 1 on",
            ),
            (
                quote!(version = 2, upcast_from(1 => A, 1 => B)),
                "version 1 is given twice",
            ),
            (
                quote!(version = 3, upcast_from(1 => A, 2 => A)),
                "is the shape of version 1 already",
            ),
            (quote!(version = 2, upcast_from(1 => E)), "in a circle"),
            (quote!(version = 2, upcast_from(1 => Self)), "in a circle"),
            (quote!(version = 2, upcast_from()), "is empty"),
            (quote!(version = 2, upcast_from(A)), "expected a version"),
            (quote!(version = 2, upcast_from(1)), "is missing"),
            (quote!(version = 2, upcast_from = A), "their shapes"),
            (quote!(version = 2, version = 3), "given twice"),
            (quote!(retired = true), "takes no value"),
            (quote!(deprecated), "`#[event(retired)]`"),
            (quote!(alias = "X"), "serde(alias"),
            (quote!(upcast(1 => A)), "`upcast_from(1 => PlacedV1)`"),
            (quote!(since = 2), "`#[event]` takes"),
        ];
        for (arguments, message) in cases {
            let output = domain_event(quote! {
                #[serde(tag = "type", content = "data")]
                enum E { #[event(#arguments)] Placed { a: u8 } }
            })
            .to_string();
            assert_eq!(
                output.matches("compile_error").count(),
                1,
                "{arguments}: {output}"
            );
            assert!(output.contains(message), "{arguments}: {output}");
        }
        for (item, message) in [
            (
                quote!(
                    #[event(version = 2)]
                    enum E {
                        A,
                    }
                ),
                "goes on a variant",
            ),
            (
                quote!(
                    enum E {
                        #[event]
                        A,
                    }
                ),
                "takes arguments",
            ),
        ] {
            let output = domain_event(quote!(#[serde(tag = "type", content = "data")] #item));
            let output = output.to_string();
            assert_eq!(output.matches("compile_error").count(), 1, "{output}");
            assert!(output.contains(message), "{output}");
        }
    }

    #[test]
    fn what_can_be_stored_faithfully_is_accepted() {
        let fields = quote! {
            #[serde(tag = "type", content = "data", deny_unknown_fields, rename_all_fields = "camelCase")]
            #[serde(bound(serialize = "X: Y"), expecting = "an event")]
            enum E {
                A { #[serde(flatten)] a: Inner, #[serde(with = "m")] b: u8, #[serde(default)] c: u8 },
                B { #[serde(skip_serializing_if = "Option::is_none")] a: Option<u8> },
                C { #[serde(rename(serialize = "b"), alias = "b")] a: u8 },
                #[serde(rename_all = "UPPERCASE", serialize_with = "f", deserialize_with = "g")]
                D(u8),
                E(PhantomData<fn() -> &'static str>, #[serde(with = "m")] &'static str, HashMap<u8, Vec<(u8, u8)>>),
            }
        };
        let output = domain_event(fields).to_string();
        assert!(!output.contains("compile_error"), "{output}");
    }
}
