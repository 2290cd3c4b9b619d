//! Reading `#[serde(..)]`.
//!
//! serde's derives report their own mistakes. So an attribute that does not parse is skipped here, and nothing is
//! reported twice.

use proc_macro2::Ident;
use syn::ext::IdentExt;
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprLit, Lit, LitStr, Meta, Token};

use crate::attributes::distance::distance;
use crate::diagnostics::Diagnostics;

/// Every entry of the `#[serde(..)]` attributes.
pub(crate) fn entries(attributes: &[Attribute]) -> Vec<Meta> {
    let serde = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("serde"));
    serde
        .flat_map(|attribute| nested(&attribute.meta))
        .collect()
}

/// The entries between the parentheses of `meta`.
pub(crate) fn nested(meta: &Meta) -> Vec<Meta> {
    let Meta::List(list) = meta else {
        return Vec::new();
    };
    let parsed = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
    parsed
        .map(|entries| entries.into_iter().collect())
        .unwrap_or_default()
}

/// The string of `key = "…"`.
pub(crate) fn string(meta: &Meta) -> Option<LitStr> {
    let Meta::NameValue(pair) = meta else {
        return None;
    };
    let mut value = &pair.value;
    while let Expr::Group(group) = value {
        value = &group.expr;
    }
    match value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(literal),
            ..
        }) => Some(literal.clone()),
        _ => None,
    }
}

/// The first entry with this key.
pub(crate) fn find<'a>(entries: &'a [Meta], key: &str) -> Option<&'a Meta> {
    entries.iter().find(|entry| entry.path().is_ident(key))
}

/// `key = "…"`, or `key(serialize = "…", deserialize = "…")` with either or both parts.
#[derive(Default)]
pub(crate) struct TwoWay {
    pub(crate) serialize: Option<LitStr>,
    /// The first entry is the name. serde takes the other entries as aliases.
    pub(crate) deserialize: Vec<LitStr>,
}

impl TwoWay {
    pub(crate) fn of(entries: &[Meta], key: &str) -> Self {
        let mut both = Self::default();
        for entry in entries.iter().filter(|entry| entry.path().is_ident(key)) {
            if let Some(literal) = string(entry) {
                both.serialize.get_or_insert(literal.clone());
                both.deserialize.push(literal);
            }
            for direction in nested(entry) {
                let Some(literal) = string(&direction) else {
                    continue;
                };
                if direction.path().is_ident("serialize") {
                    both.serialize.get_or_insert(literal);
                } else if direction.path().is_ident("deserialize") {
                    both.deserialize.push(literal);
                }
            }
        }
        both
    }

    /// Whether both directions are given and equal, or neither is given.
    pub(crate) fn agrees(&self) -> bool {
        match (&self.serialize, self.deserialize.first()) {
            (None, None) => true,
            (Some(serialize), Some(deserialize)) => serialize.value() == deserialize.value(),
            _ => false,
        }
    }
}

/// The rules of `rename_all` and similar attributes, for variants and fields.
const RULES: &[&str] = &[
    "lowercase",
    "UPPERCASE",
    "PascalCase",
    "camelCase",
    "snake_case",
    "SCREAMING_SNAKE_CASE",
    "kebab-case",
    "SCREAMING-KEBAB-CASE",
];

/// Reports an unknown rule of names. serde's derives then implement nothing. Returns whether all rules are known.
pub(crate) fn check_rules(entries: &[Meta], diagnostics: &Diagnostics) -> bool {
    let mut are_known = true;
    for key in ["rename_all", "rename_all_fields"] {
        let both = TwoWay::of(entries, key);
        let mut seen: Vec<String> = Vec::new();
        for rule in both.serialize.iter().chain(&both.deserialize) {
            let given = rule.value();
            if RULES.contains(&given.as_str()) || seen.contains(&given) {
                continue;
            }
            are_known = false;
            let plain = |rule: &str| rule.replace(['_', '-', ' '], "").to_ascii_lowercase();
            let meant = RULES.iter().find(|known| plain(known) == plain(&given));
            let remedy = meant.map_or_else(
                || format!("write one of `{}`", RULES.join("`, `")),
                |meant| format!("did you mean `{meant}`?"),
            );
            diagnostics.error(rule, format!("serde has no rule `{given}`: {remedy}"));
            seen.push(given);
        }
    }
    are_known
}

/// The place of a serde attribute.
#[derive(Clone, Copy)]
pub(crate) enum Level {
    Container,
    Variant,
    Field,
}

impl Level {
    /// The name in serde's messages.
    fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Variant => "variant",
            Self::Field => "field",
        }
    }

    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Container => &[
                "rename",
                "rename_all",
                "rename_all_fields",
                "transparent",
                "deny_unknown_fields",
                "default",
                "bound",
                "tag",
                "content",
                "untagged",
                "from",
                "try_from",
                "into",
                "remote",
                "variant_identifier",
                "field_identifier",
                "crate",
                "expecting",
            ],
            Self::Variant => &[
                "rename",
                "alias",
                "rename_all",
                "skip",
                "skip_serializing",
                "skip_deserializing",
                "other",
                "bound",
                "with",
                "serialize_with",
                "deserialize_with",
                "borrow",
                "untagged",
            ],
            Self::Field => &[
                "rename",
                "alias",
                "default",
                "skip",
                "skip_serializing",
                "skip_deserializing",
                "skip_serializing_if",
                "with",
                "serialize_with",
                "deserialize_with",
                "bound",
                "borrow",
                "getter",
                "flatten",
            ],
        }
    }
}

/// Reports a key that serde does not accept here. It uses the words of serde's derives, so that rustc prints the
/// message once.
///
/// It only reports a key that is clearly meant to be another key: a later version of serde may accept any other key.
/// Returns whether serde accepts all keys. Otherwise its derives implement nothing.
pub(crate) fn check_keys(
    attributes: &[Attribute],
    level: Level,
    diagnostics: &Diagnostics,
) -> bool {
    let mut are_known = true;
    for attribute in attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("serde"))
    {
        let Meta::List(list) = &attribute.meta else {
            are_known = false;
            continue;
        };
        let parsed = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
        let Ok(entries) = parsed else {
            are_known = false;
            continue;
        };
        let unknown = entries
            .iter()
            .find(|entry| !level.keys().iter().any(|key| entry.path().is_ident(key)));
        let Some(entry) = unknown else { continue };
        are_known = false;
        let Some(key) = entry.path().get_ident().map(Ident::to_string) else {
            continue;
        };
        let is_elsewhere = ["tag", "content"].contains(&key.as_str());
        let is_guess = ["name", "type", "kind", "id"].contains(&key.as_str());
        let is_misspelt = level
            .keys()
            .iter()
            .any(|known| known.len() > 2 && distance(known, &key) <= 2);
        if is_elsewhere || is_guess || is_misspelt {
            // serde stops at the first unknown key.
            diagnostics.error(
                entry.path(),
                format!("unknown serde {} attribute `{key}`", level.name()),
            );
        }
    }
    are_known
}

/// The strings of every `alias = "…"`.
pub(crate) fn aliases(entries: &[Meta]) -> Vec<LitStr> {
    entries
        .iter()
        .filter(|entry| entry.path().is_ident("alias"))
        .filter_map(string)
        .collect()
}

/// The name of `ident` under a `rename_all` rule, as serde computes it for variants.
pub(crate) fn renamed(ident: &Ident, rule: Option<&LitStr>) -> String {
    let name = ident.unraw().to_string();
    let rule = rule.map(LitStr::value).unwrap_or_default();
    match rule.as_str() {
        "lowercase" => name.to_ascii_lowercase(),
        "UPPERCASE" => name.to_ascii_uppercase(),
        "camelCase" => {
            let mut characters = name.chars();
            let first = characters.next().map(|first| first.to_ascii_lowercase());
            first.into_iter().chain(characters).collect()
        }
        "snake_case" => separated(&name, '_'),
        "SCREAMING_SNAKE_CASE" => separated(&name, '_').to_ascii_uppercase(),
        "kebab-case" => separated(&name, '_').replace('_', "-"),
        "SCREAMING-KEBAB-CASE" => separated(&name, '_').to_ascii_uppercase().replace('_', "-"),
        _ => name,
    }
}

fn separated(name: &str, separator: char) -> String {
    let mut separated = String::with_capacity(name.len() + 4);
    for (index, character) in name.char_indices() {
        if index > 0 && character.is_uppercase() {
            separated.push(separator);
        }
        separated.push(character.to_ascii_lowercase());
    }
    separated
}
