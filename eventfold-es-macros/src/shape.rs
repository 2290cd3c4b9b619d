//! The stored shape of a type, as far as its declaration shows it.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::ext::IdentExt;
use syn::{Attribute, Data, DeriveInput, Fields, LitStr, Meta, Type};

use crate::domain_event::serde_attributes::{self as serde, TwoWay};
use crate::named_types;
use crate::path::CratePath;
use crate::type_text::{tokens_text, type_text};

/// The shape of a type or a variant.
pub(crate) enum Shape {
    Unit,
    Tuple(Vec<Field>),
    Struct {
        fields: Vec<Field>,
        is_strict: bool,
    },
    Enum(Vec<Variant>),
    Custom(String),
    /// Another type is stored, or the result of a function.
    Converted(String),
}

/// A variant of an enum.
pub(crate) struct Variant {
    name: String,
    aliases: Vec<String>,
    shape: Shape,
    cfgs: Vec<Attribute>,
}

/// A field that is stored.
pub(crate) struct Field {
    name: String,
    aliases: Vec<String>,
    type_name: String,
    is_optional: bool,
    form: String,
    /// The types in its type whose stored shape may be known.
    types: Vec<Type>,
    cfgs: Vec<Attribute>,
}

/// The rules of serde for the fields of a type or a variant.
#[derive(Clone, Copy, Default)]
pub(crate) struct Rules<'a> {
    /// The case of the names.
    pub(crate) rename_all: Option<&'a LitStr>,
    /// Every field may be missing.
    pub(crate) is_default: bool,
    /// Unknown fields are refused.
    pub(crate) is_strict: bool,
}

/// serde's attributes of an enum that determine where the names of its variants are stored.
const REPRESENTATIONS: [&str; 3] = ["tag", "content", "untagged"];

/// serde's attributes of a whole type that replace it by another type.
const CONVERSIONS: [&str; 4] = ["from", "try_from", "into", "remote"];

/// serde's attributes of a variant that make a function determine its form.
const FUNCTIONS: [&str; 3] = ["with", "serialize_with", "deserialize_with"];

/// serde's attributes of a field that make its form differ from the form of its type.
const FORMS: [&str; 5] = [
    "with",
    "serialize_with",
    "deserialize_with",
    "flatten",
    "getter",
];

impl Shape {
    /// The shape of a state.
    pub(crate) fn of_item(item: &DeriveInput) -> Self {
        let container = serde::entries(&item.attrs);
        let conversion = given(&CONVERSIONS, &container);
        if !conversion.is_empty() {
            return Self::Converted(conversion);
        }
        let rename_all = TwoWay::of(&container, "rename_all");
        let rules = Rules {
            rename_all: rename_all.serialize.as_ref(),
            is_default: serde::find(&container, "default").is_some(),
            is_strict: serde::find(&container, "deny_unknown_fields").is_some(),
        };
        match &item.data {
            Data::Struct(data) if serde::find(&container, "transparent").is_some() => {
                Self::of_transparent(&data.fields)
            }
            Data::Struct(data) => Self::of_fields(&data.fields, rules),
            Data::Enum(data) => {
                let rename_all_fields = TwoWay::of(&container, "rename_all_fields");
                let variants = data.variants.iter().filter_map(|variant| {
                    let entries = serde::entries(&variant.attrs);
                    if serde::find(&entries, "skip").is_some() {
                        return None;
                    }
                    let own = TwoWay::of(&entries, "rename_all");
                    let names = TwoWay::of(&entries, "rename");
                    let rename = own
                        .serialize
                        .as_ref()
                        .or(rename_all_fields.serialize.as_ref());
                    Some(Variant {
                        name: names.serialize.map_or_else(
                            || serde::renamed(&variant.ident, rules.rename_all),
                            |name| name.value(),
                        ),
                        aliases: serde::aliases(&entries).iter().map(LitStr::value).collect(),
                        shape: Self::of_variant(
                            variant,
                            &entries,
                            Rules {
                                rename_all: rename,
                                is_default: false,
                                is_strict: rules.is_strict,
                            },
                        ),
                        cfgs: cfgs(&variant.attrs),
                    })
                });
                let variants = Self::Enum(variants.collect());
                let representation = given(&REPRESENTATIONS, &container);
                if representation.is_empty() {
                    variants
                } else {
                    // Not externally tagged: its variants are one text, which changes with any of them.
                    Self::Custom(format!("{representation}: {}", variants.text()))
                }
            }
            Data::Union(_) => Self::Unit,
        }
    }

    /// The shape of a type that is stored as its only field: a single value stands for itself.
    fn of_transparent(fields: &Fields) -> Self {
        let is_held = |field: &&syn::Field| !is_phantom(&field.ty);
        let held = fields.iter().filter(is_held).filter_map(|field| {
            let held = Field::new(0, field, Rules::default())?;
            Some(Field {
                name: "0".to_owned(),
                aliases: Vec::new(),
                is_optional: false,
                ..held
            })
        });
        Self::Tuple(held.collect())
    }

    /// The shape of a variant with these attributes.
    pub(crate) fn of_variant(variant: &syn::Variant, entries: &[Meta], rules: Rules<'_>) -> Self {
        let conversion = given(&FUNCTIONS, entries);
        if conversion.is_empty() {
            Self::of_fields(&variant.fields, rules)
        } else {
            Self::Converted(conversion)
        }
    }

    /// The shape of a struct or a variant.
    fn of_fields(fields: &Fields, rules: Rules<'_>) -> Self {
        let stored = |(index, field): (usize, &syn::Field)| Field::new(index, field, rules);
        match fields {
            Fields::Unit => Self::Unit,
            Fields::Unnamed(fields) => Self::Tuple(
                fields
                    .unnamed
                    .iter()
                    .enumerate()
                    .filter_map(stored)
                    .collect(),
            ),
            Fields::Named(fields) => Self::Struct {
                fields: fields.named.iter().enumerate().filter_map(stored).collect(),
                is_strict: rules.is_strict,
            },
        }
    }

    /// The shape as one line.
    fn text(&self) -> String {
        let fields = |fields: &[Field]| -> String {
            let fields: Vec<String> = fields
                .iter()
                .map(|field| {
                    let optional = if field.is_optional { "?" } else { "" };
                    format!("{}{optional}: {}", field.name, field.type_name)
                })
                .collect();
            fields.join(", ")
        };
        match self {
            Self::Unit => "()".to_owned(),
            Self::Tuple(values) => format!("({})", fields(values)),
            Self::Struct { fields: values, .. } => format!("{{ {} }}", fields(values)),
            Self::Enum(variants) => {
                let variants: Vec<String> = variants
                    .iter()
                    .map(|variant| format!("{} {}", variant.name, variant.shape.text()))
                    .collect();
                variants.join(" | ")
            }
            Self::Custom(text) | Self::Converted(text) => text.clone(),
        }
    }

    /// [`expand`](Self::expand) as the value of a constant.
    pub(crate) fn expand_alone(&self, krate: &CratePath) -> TokenStream {
        let value = self.expand(krate);
        if self.names_types() {
            named_types::in_scope(&value, krate)
        } else {
            value
        }
    }

    /// Keeps only the types whose shape is known at the declaration.
    pub(crate) fn retain_types(&mut self, tells: &impl Fn(&Type) -> bool) {
        match self {
            Self::Unit | Self::Custom(_) | Self::Converted(_) => {}
            Self::Tuple(fields) | Self::Struct { fields, .. } => {
                for field in fields {
                    field.types.retain(tells);
                }
            }
            Self::Enum(variants) => {
                for variant in variants {
                    variant.shape.retain_types(tells);
                }
            }
        }
    }

    /// Whether it names types whose stored shape may be known.
    pub(crate) fn names_types(&self) -> bool {
        match self {
            Self::Unit | Self::Custom(_) | Self::Converted(_) => false,
            Self::Tuple(fields) | Self::Struct { fields, .. } => {
                fields.iter().any(|field| !field.types.is_empty())
            }
            Self::Enum(variants) => variants.iter().any(|variant| variant.shape.names_types()),
        }
    }

    /// `Shape::Struct(&[Field::new("qty", "u32")])`
    pub(crate) fn expand(&self, krate: &CratePath) -> TokenStream {
        let fields = |fields: &[Field]| -> TokenStream {
            let fields = fields.iter().map(|field| field.expand(krate));
            quote!(#(#fields),*)
        };
        match self {
            Self::Unit => quote!(#krate::schema::Shape::Unit),
            Self::Tuple(values) => {
                let values = fields(values);
                quote!(#krate::schema::Shape::Tuple(&[#values]))
            }
            Self::Struct {
                fields: values,
                is_strict,
            } => {
                let values = fields(values);
                if *is_strict {
                    quote!(#krate::schema::Shape::StrictStruct(&[#values]))
                } else {
                    quote!(#krate::schema::Shape::Struct(&[#values]))
                }
            }
            Self::Enum(variants) => {
                let variants = variants.iter().map(|variant| {
                    let Variant {
                        name,
                        aliases,
                        shape,
                        cfgs,
                    } = variant;
                    let shape = shape.expand(krate);
                    let variant = quote!(#krate::schema::Variant::new(#name, #shape));
                    let variant = also_named(variant, aliases);
                    quote!(#(#cfgs)* #variant)
                });
                quote!(#krate::schema::Shape::Enum(&[#(#variants),*]))
            }
            Self::Custom(text) => quote!(#krate::schema::Shape::Custom(#text)),
            Self::Converted(text) => quote!(#krate::schema::Shape::Converted(#text)),
        }
    }
}

impl Field {
    /// `None` if it is not stored.
    fn new(index: usize, field: &syn::Field, rules: Rules<'_>) -> Option<Self> {
        let entries = serde::entries(&field.attrs);
        if serde::find(&entries, "skip").is_some()
            || serde::find(&entries, "skip_serializing").is_some()
        {
            return None;
        }
        let name = match &field.ident {
            None => index.to_string(),
            Some(ident) => TwoWay::of(&entries, "rename")
                .serialize
                .map_or_else(|| renamed(ident, rules.rename_all), |name| name.value()),
        };
        let form = given(&FORMS, &entries);
        // Under another form, the type does not determine the stored shape.
        let types = if form.is_empty() || serde::find(&entries, "flatten").is_some() {
            let types = named_types::in_type(&field.ty).into_iter();
            types.map(Type::Path).collect()
        } else {
            Vec::new()
        };
        let is_optional = rules.is_default
            || serde::find(&entries, "default").is_some()
            || (field.ident.is_some() && reads_as_none(&field.ty, &entries));
        Some(Self {
            name,
            aliases: serde::aliases(&entries).iter().map(LitStr::value).collect(),
            type_name: type_text(&field.ty),
            is_optional,
            form,
            types,
            cfgs: cfgs(&field.attrs),
        })
    }

    fn expand(&self, krate: &CratePath) -> TokenStream {
        let Self {
            name,
            aliases,
            type_name,
            is_optional,
            form,
            types,
            cfgs,
        } = self;
        let value = quote!(#krate::schema::Field::new(#name, #type_name));
        let mut value = also_named(value, aliases);
        if *is_optional {
            value = quote!(#value.optional());
        }
        if !form.is_empty() {
            value = quote!(#value.in_form(#form));
        }
        if !types.is_empty() {
            let types = types.iter().map(|ty| named_types::named(ty, krate));
            value = quote!(#value.containing(&[#(#types),*]));
        }
        quote!(#(#cfgs)* #value)
    }
}

/// The attributes with one of these keys, as the user wrote them.
fn given(keys: &[&str], entries: &[Meta]) -> String {
    let given = keys.iter().filter_map(|key| serde::find(entries, key));
    given.map(tokens_text).collect::<Vec<_>>().join(", ")
}

/// Whether serde skips a field of this type when it looks for the field of a transparent type.
fn is_phantom(ty: &Type) -> bool {
    let Type::Path(path) = ty else {
        return false;
    };
    let last = path.path.segments.last();
    last.is_some_and(|last| last.ident == "PhantomData")
}

fn also_named(value: TokenStream, aliases: &[String]) -> TokenStream {
    if aliases.is_empty() {
        value
    } else {
        quote!(#value.also_named(&[#(#aliases),*]))
    }
}

/// Whether serde reads a missing field of this type as `None`.
pub(crate) fn reads_as_none(ty: &Type, entries: &[Meta]) -> bool {
    let is_option = match ty {
        Type::Path(path) => path
            .path
            .segments
            .last()
            .is_some_and(|last| last.ident == "Option"),
        _ => false,
    };
    is_option
        && serde::find(entries, "with").is_none()
        && serde::find(entries, "deserialize_with").is_none()
}

/// The `cfg` attributes: an attribute macro sees them before the configuration is applied.
fn cfgs(attributes: &[Attribute]) -> Vec<Attribute> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
        .cloned()
        .collect()
}

/// The name of a field under a `rename_all` rule, as serde computes it.
pub(crate) fn renamed(ident: &Ident, rule: Option<&LitStr>) -> String {
    let name = ident.unraw().to_string();
    let rule = rule.map(LitStr::value).unwrap_or_default();
    let pascal = || -> String {
        let words = name.split('_').map(|word| {
            let mut characters = word.chars();
            let first = characters.next().map(|first| first.to_ascii_uppercase());
            first.into_iter().chain(characters).collect::<String>()
        });
        words.collect()
    };
    match rule.as_str() {
        "UPPERCASE" | "SCREAMING_SNAKE_CASE" => name.to_ascii_uppercase(),
        "PascalCase" => pascal(),
        "camelCase" => {
            let pascal = pascal();
            let mut characters = pascal.chars();
            let first = characters.next().map(|first| first.to_ascii_lowercase());
            first.into_iter().chain(characters).collect()
        }
        "kebab-case" => name.replace('_', "-"),
        "SCREAMING-KEBAB-CASE" => name.to_ascii_uppercase().replace('_', "-"),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn fields_are_renamed_as_serde_does() {
        let ident = Ident::new("unit_price", proc_macro2::Span::call_site());
        for (rule, expected) in [
            ("lowercase", "unit_price"),
            ("UPPERCASE", "UNIT_PRICE"),
            ("PascalCase", "UnitPrice"),
            ("camelCase", "unitPrice"),
            ("snake_case", "unit_price"),
            ("SCREAMING_SNAKE_CASE", "UNIT_PRICE"),
            ("kebab-case", "unit-price"),
            ("SCREAMING-KEBAB-CASE", "UNIT-PRICE"),
        ] {
            let rule = LitStr::new(rule, proc_macro2::Span::call_site());
            assert_eq!(renamed(&ident, Some(&rule)), expected);
        }
    }

    #[test]
    fn a_state_is_what_is_stored_of_it() {
        let item: DeriveInput = parse_quote! {
            #[serde(rename_all = "camelCase", default)]
            struct Order {
                unit_price: u32,
                #[serde(skip)]
                cache: Cache,
                #[serde(rename = "n", with = "count")]
                count: u64,
            }
        };
        assert_eq!(Shape::of_item(&item).text(), "{ unitPrice?: u32, n?: u64 }");
        let item: DeriveInput = parse_quote! {
            #[serde(tag = "kind")]
            enum Status { Open, Shipped { at: u64 }, #[serde(skip)] Unknown }
        };
        assert_eq!(
            Shape::of_item(&item).text(),
            "tag = \"kind\": Open () | Shipped { at: u64 }"
        );
    }

    #[test]
    fn a_transparent_type_is_what_it_holds() {
        let items: [DeriveInput; 3] = [
            parse_quote!(
                struct Id(String);
            ),
            parse_quote! {
                #[serde(transparent)]
                struct Id(String);
            },
            parse_quote! {
                #[serde(transparent)]
                struct Id<T> {
                    of: PhantomData<T>,
                    #[serde(skip)]
                    cache: Cache,
                    text: String,
                }
            },
        ];
        for item in items {
            assert_eq!(Shape::of_item(&item).text(), "(0: String)");
        }
    }

    #[test]
    fn what_is_converted_says_so() {
        let items: [(DeriveInput, &str); 3] = [
            (
                parse_quote! {
                    #[serde(try_from = "Raw", into = "Raw")]
                    struct Id(String);
                },
                "try_from = \"Raw\", into = \"Raw\"",
            ),
            (
                parse_quote! {
                    #[serde(remote = "Duration")]
                    struct DurationDef { secs: u64 }
                },
                "remote = \"Duration\"",
            ),
            (
                parse_quote!(
                    enum Status {
                        Open,
                        #[serde(with = "m")]
                        Shipped(u8),
                    }
                ),
                "Open () | Shipped with = \"m\"",
            ),
        ];
        for (item, expected) in items {
            assert_eq!(Shape::of_item(&item).text(), expected);
        }
    }
}
