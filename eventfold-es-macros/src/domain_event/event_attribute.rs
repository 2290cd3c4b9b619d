//! The helper attribute `#[event(version = 2, upcast_from(1 => PlacedV1), retired)]` of a variant.

use std::collections::BTreeMap;

use proc_macro2::{Ident, Span};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::spanned::Spanned;
use syn::{Attribute, LitInt, Token, Type, parenthesized, token};

use crate::diagnostics::Diagnostics;
use crate::path::text;

const VERSION_EXAMPLE: &str = "version = 2";
const STEPS_EXAMPLE: &str = "upcast_from(1 => PlacedV1)";

/// The evolution of an event.
pub(crate) struct Evolution {
    /// The version of its shape, from 1.
    pub(crate) version: u32,
    /// The earlier shapes, in the order of their versions, from 1 on without gaps.
    pub(crate) past: Vec<Type>,
    pub(crate) is_retired: bool,
}

/// The given entries, as far as they could be read.
#[derive(Default)]
struct Given {
    version: Option<LitInt>,
    steps: Option<(Ident, Vec<(LitInt, Type)>)>,
    retired: Option<Ident>,
    /// A mistake was reported. Missing entries may be part of it.
    is_broken: bool,
}

impl Evolution {
    /// An event that has never changed.
    fn none() -> Self {
        Self {
            version: 1,
            past: Vec::new(),
            is_retired: false,
        }
    }

    /// Reads the attributes of the variant `variant` of the enum `of`.
    pub(crate) fn new(
        attributes: &[Attribute],
        of: &Ident,
        variant: &Ident,
        diagnostics: &Diagnostics,
    ) -> Self {
        let mut given = Given::default();
        for attribute in attributes
            .iter()
            .filter(|attribute| attribute.path().is_ident("event"))
        {
            let parser = |input: ParseStream<'_>| given.parse(input, variant);
            let parsed = match &attribute.meta {
                syn::Meta::List(list) => parser.parse2(list.tokens.clone()),
                meta => Err(syn::Error::new_spanned(
                    meta,
                    format!(
                        "`event` takes arguments: write `#[event({VERSION_EXAMPLE}, {STEPS_EXAMPLE})]`, or remove it"
                    ),
                )),
            };
            if let Err(error) = parsed {
                given.is_broken = true;
                diagnostics.push(error);
            }
        }
        if given.is_broken {
            return Self::none();
        }
        given.check(of, variant, diagnostics)
    }
}

impl Given {
    fn parse(&mut self, input: ParseStream<'_>, variant: &Ident) -> syn::Result<()> {
        while !input.is_empty() {
            let key = input.call(Ident::parse_any)?;
            match key.unraw().to_string().as_str() {
                "version" => {
                    refuse_second(self.version.is_some(), &key)?;
                    self.version = Some(parse_version(&key, input)?);
                }
                "upcast_from" => {
                    refuse_second(self.steps.is_some(), &key)?;
                    let steps = parse_steps(&key, input, variant)?;
                    self.steps = Some((key, steps));
                }
                "retired" => {
                    refuse_second(self.retired.is_some(), &key)?;
                    if input.peek(Token![=]) || input.peek(token::Paren) {
                        return Err(syn::Error::new_spanned(
                            key,
                            "`retired` takes no value: write `#[event(retired)]`",
                        ));
                    }
                    self.retired = Some(key);
                }
                other => return Err(syn::Error::new_spanned(&key, unknown(other))),
            }
            if input.is_empty() {
                break;
            }
            if !input.peek(Token![,]) {
                return Err(input.error("expected `,` between arguments"));
            }
            input.parse::<Token![,]>()?;
        }
        Ok(())
    }

    /// Checks that the steps lead from version 1 to the current version, one after the other.
    fn check(self, of: &Ident, variant: &Ident, diagnostics: &Diagnostics) -> Evolution {
        let is_retired = self.retired.is_some();
        let (key, steps) = match self.steps {
            Some((key, steps)) => (Some(key), steps),
            None => (None, Vec::new()),
        };
        let Some(literal) = self.version else {
            if let Some(key) = key {
                let next = steps.len() + 1;
                diagnostics.error(
                    key,
                    format!("the shapes of older versions are given, but not the current version: write `version = {next}` before them"),
                );
            }
            return Evolution {
                is_retired,
                ..Evolution::none()
            };
        };
        let version = match literal.base10_parse::<u32>() {
            Ok(version) if version > 0 && literal.suffix().is_empty() => version,
            _ => {
                diagnostics.error(
                    literal,
                    format!("`version` takes a whole number from 1 on, of up to 32 bits: write `{VERSION_EXAMPLE}`"),
                );
                return Evolution::none();
            }
        };
        let mut past: BTreeMap<u32, Type> = BTreeMap::new();
        let mut is_sound = true;
        for (number, shape) in steps {
            let mut mistake = |span: Span, message: String| {
                is_sound = false;
                diagnostics.error_at(span, message);
            };
            let from = match number.base10_parse::<u32>() {
                Ok(from) if from > 0 && number.suffix().is_empty() => from,
                _ => {
                    mistake(
                        number.span(),
                        format!("versions are whole numbers from 1 on: write `{STEPS_EXAMPLE}`"),
                    );
                    continue;
                }
            };
            if from >= version {
                mistake(
                    number.span(),
                    format!(
                        "`{variant}` is version {version}, so that it comes from versions below: remove `{from} => {}`, or raise `version`",
                        text(&shape)
                    ),
                );
                continue;
            }
            if past.contains_key(&from) {
                mistake(
                    number.span(),
                    format!("version {from} is given twice: remove one of them"),
                );
                continue;
            }
            let is_the_enum = text(&shape) == "Self" || *of == text(&shape);
            let earlier = past.iter().find(|(_, other)| text(*other) == text(&shape));
            if is_the_enum {
                mistake(
                    shape.span(),
                    format!(
                        "the steps would lead in a circle: `{}` is what the event becomes at last; declare a struct with the fields that version {from} had",
                        text(&shape)
                    ),
                );
                continue;
            }
            if let Some((other, _)) = earlier {
                mistake(
                    shape.span(),
                    format!(
                        "the steps would lead in a circle: `{}` is the shape of version {other} already; declare a struct with the fields that version {from} had",
                        text(&shape)
                    ),
                );
                continue;
            }
            past.insert(from, shape);
        }
        if is_sound {
            let missing: Vec<u32> = (1..version)
                .filter(|from| !past.contains_key(from))
                .take(4)
                .collect();
            if let [first, ..] = missing.as_slice() {
                let listed: Vec<String> = missing.iter().map(u32::to_string).collect();
                let which = match missing.as_slice() {
                    [_] => format!("the shape of version {first} is missing"),
                    _ => format!("the shapes of versions {} are missing", listed.join(", ")),
                };
                let message = format!(
                    "{which}, so that events which were stored then could not be read: add \
                     `{first} => {variant}V{first}` to `upcast_from(..)`, where `{variant}V{first}` is a struct with the fields that \
                     `{variant}` had then"
                );
                match &key {
                    Some(key) => diagnostics.error(key, message),
                    None => diagnostics.error(&literal, message),
                }
                is_sound = false;
            }
        }
        if !is_sound {
            return Evolution::none();
        }
        Evolution {
            version,
            past: past.into_values().collect(),
            is_retired,
        }
    }
}

fn refuse_second(is_given: bool, key: &Ident) -> syn::Result<()> {
    if is_given {
        return Err(syn::Error::new_spanned(
            key,
            format!("`{key}` is given twice: remove one of them"),
        ));
    }
    Ok(())
}

fn parse_version(key: &Ident, input: ParseStream<'_>) -> syn::Result<LitInt> {
    let mistake = syn::Error::new_spanned(
        key,
        format!("`version` takes a whole number: write `{VERSION_EXAMPLE}`"),
    );
    let is_given = input.parse::<Token![=]>().is_ok() && input.peek(LitInt);
    if is_given {
        input.parse()
    } else {
        Err(mistake)
    }
}

fn parse_steps(
    key: &Ident,
    input: ParseStream<'_>,
    variant: &Ident,
) -> syn::Result<Vec<(LitInt, Type)>> {
    let example = format!("write `upcast_from(1 => {variant}V1)`");
    if !input.peek(token::Paren) {
        return Err(syn::Error::new_spanned(
            key,
            format!("`upcast_from` takes the versions before this one and their shapes: {example}"),
        ));
    }
    let steps;
    parenthesized!(steps in input);
    let mut found = Vec::new();
    while !steps.is_empty() {
        if !steps.peek(LitInt) {
            return Err(steps.error(format!(
                "expected a version and the shape that it had: {example}"
            )));
        }
        let version: LitInt = steps.parse()?;
        if steps.parse::<Token![=>]>().is_err() {
            return Err(syn::Error::new_spanned(
                version,
                format!("the shape of this version is missing: {example}"),
            ));
        }
        found.push((version, steps.parse()?));
        if steps.is_empty() {
            break;
        }
        steps
            .parse::<Token![,]>()
            .map_err(|_| steps.error("expected `,` between versions"))?;
    }
    if found.is_empty() {
        return Err(syn::Error::new_spanned(
            key,
            format!("`upcast_from` is empty: {example}"),
        ));
    }
    Ok(found)
}

/// The remedy for an unknown key.
fn unknown(key: &str) -> String {
    let meant = match key {
        "schema_version" | "v" | "revision" | "vers" => {
            "the version of its shape is given as `version = 2`"
        }
        "upcast" | "upcasts" | "upcast_with" | "upcasts_from" | "from" | "migrate"
        | "migrate_from" | "previous" | "old" => {
            "the shapes of older versions are given as `upcast_from(1 => PlacedV1)`"
        }
        "retire" | "deprecated" | "obsolete" | "removed" | "readonly" => {
            "an event that is read and no longer written is `#[event(retired)]`"
        }
        "rename" | "renamed" | "renamed_from" | "alias" | "name" | "type" => {
            "an old name is kept with `#[serde(alias = \"..\")]`, the stored one set with `#[serde(rename = \"..\")]`"
        }
        _ => "`#[event]` takes `version`, `upcast_from`, `retired`",
    };
    format!("unknown argument `{key}`: {meant}")
}
