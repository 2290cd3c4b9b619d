//! The checked attributes of `#[derive(DomainEvent)]`.

use proc_macro2::{Ident, TokenStream};
use syn::{Data, DataEnum, DeriveInput, Field, Fields, Generics, LitStr, Meta, Variant};

use super::event_attribute::Evolution;
use super::serde_attributes::{self as serde, Level, TwoWay};
use super::stored_types::{self, Verdict};
use crate::diagnostics::Diagnostics;
use crate::item;
use crate::path::CratePath;
use crate::shape::{self, Rules, Shape, reads_as_none};

const REPRESENTATION: &str = "#[serde(tag = \"type\", content = \"data\")]";

/// Attributes for which serde's derives do not implement their traits for an enum.
const REFUSED_ON_ENUMS: [&str; 4] = [
    "transparent",
    "remote",
    "variant_identifier",
    "field_identifier",
];

/// An enum of events.
pub(crate) struct Model {
    pub(crate) ident: Ident,
    pub(crate) generics: Generics,
    pub(crate) variants: Vec<Event>,
    pub(crate) krate: CratePath,
    /// The result of serde's derives for the enum.
    pub(crate) serde: Serde,
}

/// Whether serde's derives implement their traits for the enum. It only matters after a mistake.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Serde {
    Implemented,
    /// They report a mistake of their own, and implement nothing.
    Refused,
    /// They implement `Deserialize` for some lifetimes only, or not at all.
    NotOwned,
}

/// A variant of the enum.
pub(crate) struct Event {
    pub(crate) ident: Ident,
    /// The name under which it is written.
    pub(crate) stored: LitStr,
    /// Other names under which it is read.
    pub(crate) aliases: Vec<LitStr>,
    /// The stored shape of its data.
    pub(crate) shape: Shape,
    pub(crate) evolution: Evolution,
}

impl Model {
    pub(crate) fn new(item: TokenStream, diagnostics: &Diagnostics) -> Option<Self> {
        let item: DeriveInput = match syn::parse2(item.clone()) {
            Ok(item) => item,
            Err(error) => {
                diagnostics.push(error);
                return Some(Self {
                    ident: item::name_of(&item)?,
                    generics: Generics::default(),
                    variants: Vec::new(),
                    krate: CratePath::new(None),
                    // serde's derives do not parse the enum either.
                    serde: Serde::Refused,
                });
            }
        };
        let krate = CratePath::of_derive("domain_event", &item.attrs, diagnostics);
        let enum_ = match item.data {
            Data::Enum(ref enum_) => enum_,
            Data::Struct(_) | Data::Union(_) => {
                diagnostics.error(
                    &item.ident,
                    format!("events are the variants of an enum: write `{REPRESENTATION} enum {} {{ .. }}`", item.ident),
                );
                // serde's derives refuse a struct with the attributes of an enum.
                let container = serde::entries(&item.attrs);
                let is_refused = ["content", "untagged"]
                    .iter()
                    .any(|key| serde::find(&container, key).is_some());
                let serde = match item.data {
                    Data::Union(_) => Serde::NotOwned,
                    _ if is_refused => Serde::Refused,
                    _ => Serde::Implemented,
                };
                return Some(Self {
                    ident: item.ident,
                    generics: item.generics,
                    variants: Vec::new(),
                    krate,
                    serde,
                });
            }
        };
        item::reject_generics(&item, "`#[derive(DomainEvent)]`", diagnostics);
        let container = serde::entries(&item.attrs);
        check_representation(&item.ident, &container, diagnostics);
        let rename_all = TwoWay::of(&container, "rename_all");
        let enum_rules = EnumRules {
            ident: &item.ident,
            rename_all,
            fields_agree: check_field_cases(&container, "rename_all_fields", diagnostics),
            rename_all_fields: TwoWay::of(&container, "rename_all_fields").serialize,
            is_strict: serde::find(&container, "deny_unknown_fields").is_some(),
        };
        if let Some(misplaced) = item
            .attrs
            .iter()
            .find(|attribute| attribute.path().is_ident("event"))
        {
            diagnostics.error(
                misplaced,
                "`#[event(..)]` goes on a variant; what holds for the whole enum is `#[domain_event(..)]`",
            );
        }
        let fields = enum_.variants.iter().flat_map(|variant| &variant.fields);
        for field in fields {
            let own = |attribute: &&syn::Attribute| attribute.path().is_ident("event");
            if let Some(misplaced) = field.attrs.iter().find(own) {
                diagnostics.error(
                    misplaced,
                    "`#[event(..)]` goes on a variant, since an event has a version as a whole: put it above the variant",
                );
            }
        }
        item::reject_inner_helper(&item, "domain_event", diagnostics);
        let variants: Vec<Event> = enum_
            .variants
            .iter()
            .map(|variant| Event::new(variant, &enum_rules, diagnostics))
            .collect();
        check_collisions(&variants, diagnostics);
        let serde = serde_verdict(&item, enum_, diagnostics);
        Some(Self {
            ident: item.ident,
            generics: item.generics,
            variants,
            krate,
            serde,
        })
    }
}

/// The rules of the enum for its variants.
struct EnumRules<'a> {
    ident: &'a Ident,
    rename_all: TwoWay,
    /// The field names are written and read under one rule.
    fields_agree: bool,
    rename_all_fields: Option<LitStr>,
    /// Unknown fields are refused.
    is_strict: bool,
}

impl Event {
    fn new(variant: &Variant, of: &EnumRules<'_>, diagnostics: &Diagnostics) -> Self {
        let EnumRules {
            rename_all,
            fields_agree,
            ..
        } = of;
        let entries = serde::entries(&variant.attrs);
        for (key, why) in [
            (
                "skip",
                "it could not be stored; remove the attribute, or the variant",
            ),
            (
                "skip_serializing",
                "it could not be stored; remove the attribute, or the variant",
            ),
            (
                "skip_deserializing",
                "it could be stored, but not be read; remove the attribute, or the variant",
            ),
            (
                "other",
                "it would stand for any event, whose data would be lost; remove the attribute",
            ),
            (
                "untagged",
                "it would be stored without its type name; remove the attribute",
            ),
            (
                "flatten",
                "it would have no data of its own; remove the attribute, or put it on a field",
            ),
        ] {
            if let Some(entry) = serde::find(&entries, key) {
                diagnostics.error(
                    entry,
                    format!("an event must be read as it was written, but with `{key}` {why}"),
                );
            }
        }
        if *fields_agree {
            check_field_cases(&entries, "rename_all", diagnostics);
        }
        for field in &variant.fields {
            check_field(field, diagnostics);
        }
        let rename = TwoWay::of(&entries, "rename");
        let default = |rule: Option<&LitStr>| {
            LitStr::new(&serde::renamed(&variant.ident, rule), variant.ident.span())
        };
        let stored = rename
            .serialize
            .clone()
            .unwrap_or_else(|| default(rename_all.serialize.as_ref()));
        let mut read = rename.deserialize;
        if read.is_empty() {
            read.push(default(rename_all.deserialize.first()));
        }
        read.extend(serde::aliases(&entries));
        let name = stored.value();
        if !read.iter().any(|read| read.value() == name) {
            diagnostics.error(
                &variant.ident,
                format!(
                    "`{}` is written as `{name}` but read as `{}`: add `#[serde(alias = \"{name}\")]`, or give both one name",
                    variant.ident,
                    read.first().map(LitStr::value).unwrap_or_default(),
                ),
            );
        }
        if name.is_empty() {
            diagnostics.error(
                &stored,
                format!("`{}` would be stored under no name at all: write one in `rename`, or remove it", variant.ident),
            );
        }
        let mut aliases: Vec<LitStr> = Vec::new();
        for alias in read {
            if alias.value() != name && !aliases.iter().any(|known| known.value() == alias.value())
            {
                aliases.push(alias);
            }
        }
        let rename_fields = TwoWay::of(&entries, "rename_all").serialize;
        let rules = Rules {
            rename_all: rename_fields.as_ref().or(of.rename_all_fields.as_ref()),
            is_default: false,
            is_strict: of.is_strict,
        };
        check_field_collisions(&variant.fields, rules.rename_all, diagnostics);
        let shape = Shape::of_variant(variant, &entries, rules);
        Self {
            ident: variant.ident.clone(),
            stored,
            aliases,
            shape,
            evolution: Evolution::new(&variant.attrs, of.ident, &variant.ident, diagnostics),
        }
    }
}

/// The result of serde for the enum, as far as the tokens show it. Reports impossible name rules and types of fields.
fn serde_verdict(item: &DeriveInput, enum_: &DataEnum, diagnostics: &Diagnostics) -> Serde {
    let container = serde::entries(&item.attrs);
    let mut are_known = serde::check_rules(&container, diagnostics);
    are_known &= serde::check_keys(&item.attrs, Level::Container, diagnostics);
    are_known &= REFUSED_ON_ENUMS
        .iter()
        .all(|key| serde::find(&container, key).is_none());
    are_known &=
        serde::find(&container, "content").is_none() || serde::find(&container, "tag").is_some();
    let mut verdict = Verdict::Storable;
    for variant in &enum_.variants {
        let entries = serde::entries(&variant.attrs);
        are_known &= serde::check_rules(&entries, diagnostics);
        are_known &= serde::check_keys(&variant.attrs, Level::Variant, diagnostics);
        for field in &variant.fields {
            are_known &= serde::check_keys(&field.attrs, Level::Field, diagnostics);
        }
        // A type with lifetimes is reported as a whole.
        if item.generics.params.is_empty() {
            for field in &variant.fields {
                if stored_types::check(field, diagnostics) == Verdict::Unreadable {
                    verdict = Verdict::Unreadable;
                }
            }
        }
    }
    match (are_known, verdict) {
        (false, _) => Serde::Refused,
        (true, Verdict::Unreadable) => Serde::NotOwned,
        (true, Verdict::Storable) => Serde::Implemented,
    }
}

/// Events are stored as `{"type": …, "data": …}`.
fn check_representation(ident: &Ident, container: &[Meta], diagnostics: &Diagnostics) {
    for key in [
        "from",
        "try_from",
        "into",
        "remote",
        "transparent",
        "variant_identifier",
        "field_identifier",
    ] {
        if let Some(entry) = serde::find(container, key) {
            diagnostics.error(
                entry,
                format!("`{key}` gives the enum another representation; an event is stored as `{{type, data}}`: remove it"),
            );
        }
    }
    if let Some(untagged) = serde::find(container, "untagged") {
        diagnostics.error(
            untagged,
            format!("an event is stored with its type name, which `untagged` leaves out: write `{REPRESENTATION}`"),
        );
        return;
    }
    let (tag, content) = (
        serde::find(container, "tag"),
        serde::find(container, "content"),
    );
    match (tag, content) {
        (None, None) => diagnostics.error(
            ident,
            format!("an event is stored as `{{type, data}}`: write `{REPRESENTATION}` on `{ident}`"),
        ),
        (Some(tag), None) => diagnostics.error(
            tag,
            format!("an event is stored as `{{type, data}}`, so its data needs a key too: write `{REPRESENTATION}`"),
        ),
        (None, Some(content)) => diagnostics.error(
            content,
            format!("an event is stored as `{{type, data}}`, so its type needs a key too: write `{REPRESENTATION}`"),
        ),
        (Some(tag), Some(content)) => {
            for (entry, key, word) in [(tag, "tag", "type"), (content, "content", "data")] {
                let Some(literal) = serde::string(entry) else { continue };
                if literal.value() != word {
                    diagnostics.error(
                        literal,
                        format!("an event is stored as `{{type, data}}`: write `{key} = \"{word}\"`"),
                    );
                }
            }
        }
    }
}

/// Reports a rule for the names of fields that differs between writing and reading.
fn check_field_cases(entries: &[Meta], key: &str, diagnostics: &Diagnostics) -> bool {
    let agrees = TwoWay::of(entries, key).agrees();
    if let Some(entry) = serde::find(entries, key).filter(|_| !agrees) {
        diagnostics.error(
            entry,
            format!("fields must be read as they were written: give `serialize` and `deserialize` in `{key}` one rule"),
        );
    }
    agrees
}

/// The stored data must equal the data in the event. Otherwise the state after a restart is another state.
fn check_field(field: &Field, diagnostics: &Diagnostics) {
    let entries = serde::entries(&field.attrs);
    for key in ["skip", "skip_serializing", "skip_deserializing"] {
        if let Some(entry) = serde::find(&entries, key) {
            diagnostics.error(
                entry,
                format!("an event must be read as it was written, but `{key}` loses this field: remove the attribute, or the field"),
            );
        }
    }
    if let Some(entry) = serde::find(&entries, "skip_serializing_if") {
        if field.ident.is_none() {
            diagnostics.error(
                entry,
                "`skip_serializing_if` moves the fields behind this one to other places: remove it, or give the fields names",
            );
        } else if serde::find(&entries, "default").is_none() && !reads_as_none(&field.ty, &entries)
        {
            diagnostics.error(
                entry,
                "an event without this field could not be read: add `default`, as in `#[serde(default, skip_serializing_if = \"..\")]`",
            );
        }
    }
    let rename = TwoWay::of(&entries, "rename");
    if let (Some(entry), Some(ident), false) = (
        serde::find(&entries, "rename"),
        &field.ident,
        rename.agrees(),
    ) {
        let ident = LitStr::new(&ident.to_string(), ident.span());
        let stored = rename.serialize.unwrap_or_else(|| ident.clone()).value();
        let mut read = rename.deserialize;
        if read.is_empty() {
            read.push(ident);
        }
        read.extend(serde::aliases(&entries));
        if !read.iter().any(|read| read.value() == stored) {
            diagnostics.error(
                entry,
                format!("this field is written as `{stored}` but not read as that: add `alias = \"{stored}\"`, or give both one name"),
            );
        }
    }
}

/// Reports a stored name of two variants.
fn check_collisions(variants: &[Event], diagnostics: &Diagnostics) {
    let mut taken: Vec<(String, &Ident)> = Vec::new();
    for variant in variants {
        let aliases = variant
            .aliases
            .iter()
            .map(|alias| (alias, "remove the alias"));
        let stored = (
            &variant.stored,
            "give one of them another with `#[serde(rename = \"..\")]`",
        );
        for (name, remedy) in std::iter::once(stored).chain(aliases) {
            let value = name.value();
            if let Some((_, other)) = taken.iter().find(|(known, _)| *known == value) {
                let variant = &variant.ident;
                diagnostics.error(
                    name,
                    format!("the events `{other}` and `{variant}` would both be stored as `{value}`: {remedy}"),
                );
            } else {
                taken.push((value, &variant.ident));
            }
        }
    }
}

/// Reports a stored name of two fields of one variant: one of the values would be lost.
fn check_field_collisions(fields: &Fields, rule: Option<&LitStr>, diagnostics: &Diagnostics) {
    let mut taken: Vec<(String, &Ident)> = Vec::new();
    for field in fields {
        let Some(ident) = &field.ident else { continue };
        let entries = serde::entries(&field.attrs);
        let stored = TwoWay::of(&entries, "rename")
            .serialize
            .unwrap_or_else(|| LitStr::new(&shape::renamed(ident, rule), ident.span()));
        let remedy = "give one of them another with `#[serde(rename = \"..\")]`";
        let aliases = serde::aliases(&entries)
            .into_iter()
            .map(|alias| (alias, "remove the alias"));
        for (name, remedy) in std::iter::once((stored, remedy)).chain(aliases) {
            let value = name.value();
            match taken.iter().find(|(known, _)| *known == value) {
                Some((_, other)) if *other != ident => diagnostics.error(
                    &name,
                    format!("the fields `{other}` and `{ident}` would both be stored as `{value}`: {remedy}"),
                ),
                _ => taken.push((value, ident)),
            }
        }
    }
}
