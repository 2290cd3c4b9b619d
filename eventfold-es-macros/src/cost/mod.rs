//! Measures the cost of the macros, with a crate of many declarations and the same crate written by hand. There are two
//! versions of each, with and without the declaration of the store.
//!
//! `tests/cost/measure` runs this with a directory in `EVENTFOLD_COST`, and builds them. It is a test because only tests of
//! this crate can call the macros as functions.

#![allow(clippy::expect_used, reason = "a test that cannot go on may stop")]

mod by_hand;
mod declared;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::punctuated::Punctuated;
use syn::{Attribute, Item, Meta, Token};

use crate::aggregate::aggregate;
use crate::domain_event::domain_event;
use crate::event_store::event_store;
use crate::process_manager::process_manager;
use crate::projection::projection;

const AGGREGATES: usize = 100;
const PROCESS_MANAGERS: usize = 50;
const PROJECTIONS: usize = 50;

type Expand = fn(TokenStream, TokenStream) -> TokenStream;

const MACROS: [(&str, Expand); 4] = [
    ("aggregate", aggregate),
    ("process_manager", process_manager),
    ("projection", projection),
    ("event_store", event_store),
];

/// The modules of a crate and its root, from the source of each part.
fn sources(
    aggregate: fn(usize) -> String,
    process_manager: fn(usize) -> String,
    projection: fn(usize) -> String,
    store: Option<fn() -> String>,
) -> BTreeMap<String, String> {
    let mut sources = BTreeMap::new();
    for index in 0..AGGREGATES {
        sources.insert(format!("account{index}"), aggregate(index));
    }
    for index in 0..PROCESS_MANAGERS {
        sources.insert(format!("transfer{index}"), process_manager(index));
    }
    for index in 0..PROJECTIONS {
        sources.insert(format!("totals{index}"), projection(index));
    }
    let mut root = String::new();
    for module in sources.keys() {
        let _ = writeln!(root, "pub mod {module};");
    }
    root.push_str(&store.map(|store| store()).unwrap_or_default());
    sources.insert("lib".to_owned(), root);
    sources
}

fn declared_sources(store: Option<fn() -> String>) -> BTreeMap<String, String> {
    let mut sources = sources(
        declared::aggregate,
        declared::process_manager,
        declared::projection,
        store,
    );
    for source in sources.values_mut() {
        let imports = "use eventfold_es::{aggregate, event_store, process_manager, projection};\n";
        *source = format!(
            "#![allow(unused_imports, reason = \"each crate gets the imports of all\")]\n{imports}{source}"
        );
    }
    sources
}

/// Counts the lines that each macro in a module generates.
fn count_expansions(source: &str, lines: &mut BTreeMap<&'static str, usize>) {
    let file = syn::parse_file(source).expect("the source parses");
    for item in file.items {
        count_expansion(item, lines);
    }
}

fn count_expansion(mut item: Item, lines: &mut BTreeMap<&'static str, usize>) {
    let attributes = match &mut item {
        Item::Struct(item) => &mut item.attrs,
        Item::Enum(item) => &mut item.attrs,
        _ => return,
    };
    let found = attributes.iter().position(|attribute| {
        let mut macros = MACROS.iter();
        macros.any(|(name, _)| attribute.path().is_ident(name))
    });
    if let Some(found) = found {
        let attribute = attributes.remove(found);
        let arguments = match &attribute.meta {
            Meta::List(list) => list.tokens.clone(),
            _ => TokenStream::new(),
        };
        let macro_ = MACROS
            .iter()
            .find(|(name, _)| attribute.path().is_ident(name));
        let (name, expand) = macro_.expect("it was found above");
        let before = count(item.to_token_stream());
        let output = expand(arguments, item.into_token_stream());
        lines.insert(name, count(output) - before);
    } else if without_derive(attributes, "DomainEvent") {
        lines.insert("DomainEvent", count(domain_event(item.into_token_stream())));
    }
}

/// Removes a derive, if present.
fn without_derive(attributes: &mut [Attribute], derive: &str) -> bool {
    let mut found = false;
    for attribute in attributes {
        if !attribute.path().is_ident("derive") {
            continue;
        }
        let derives = attribute
            .parse_args_with(Punctuated::<syn::Path, Token![,]>::parse_terminated)
            .expect("the derives parse");
        let kept: Vec<_> = derives
            .iter()
            .filter(|path| !path.is_ident(derive))
            .collect();
        found |= kept.len() < derives.len();
        *attribute = syn::parse_quote!(#[derive(#(#kept),*)]);
    }
    found
}

fn count(tokens: TokenStream) -> usize {
    let file = syn::parse2(tokens).expect("the expansion parses");
    prettyplease::unparse(&file).lines().count()
}

#[test]
#[ignore = "it writes crates, which tests/cost/measure builds"]
fn crates_to_measure() {
    let directory = std::env::var_os("EVENTFOLD_COST").expect("EVENTFOLD_COST names a directory");
    let directory = Path::new(&directory);
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../eventfold-es");
    let by_hand = |store| {
        sources(
            by_hand::aggregate,
            by_hand::process_manager,
            by_hand::projection,
            store,
        )
    };
    let crates = [
        ("declared", "\"macros\"", declared_sources(None)),
        ("by_hand", "", by_hand(None)),
        (
            "declared_store",
            "\"macros\"",
            declared_sources(Some(declared::store)),
        ),
        ("by_hand_store", "", by_hand(Some(by_hand::store))),
    ];
    let mut lines = BTreeMap::new();
    for (name, features, sources) in crates {
        let root = directory.join(name);
        std::fs::create_dir_all(root.join("src")).expect("the directory is made");
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
             eventfold-es = {{ path = {library:?}, default-features = false, features = [{features}] }}\n\
             serde = {{ version = \"1\", features = [\"derive\"] }}\n"
        );
        std::fs::write(root.join("Cargo.toml"), manifest).expect("the manifest is written");
        for (module, source) in sources {
            if name == "declared_store" {
                count_expansions(&source, &mut lines);
            }
            let path = root.join("src").join(format!("{module}.rs"));
            std::fs::write(path, source).expect("the module is written");
        }
    }
    let report: String = lines
        .iter()
        .map(|(name, lines)| format!("{name} {lines}\n"))
        .collect();
    std::fs::write(directory.join("lines"), report).expect("the report is written");
}
