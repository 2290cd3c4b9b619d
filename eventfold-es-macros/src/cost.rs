//! What the macros cost: a crate of many declarations, and the same crate with what they generate written out.
//!
//! `tests/cost/measure` runs this with a directory in `EVENTFOLD_COST`, and builds both. It is a test because only tests of
//! this crate can call the macros as functions.

#![allow(clippy::expect_used, reason = "a test that cannot go on may stop")]

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

/// The source of one aggregate, with its commands and events.
fn aggregate_source(index: usize) -> String {
    format!(
        r#"
use std::convert::Infallible;

use eventfold_es::{{Aggregate, Command, Decider, DomainEvent}};
use serde::{{Deserialize, Serialize}};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Account{index}Command {{
    Open {{ owner: String, limit: u64 }},
    Deposit {{ amount: u64 }},
    Withdraw {{ amount: u64, note: Option<String> }},
    Close,
}}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum Account{index}Event {{
    Opened {{ owner: String, limit: u64 }},
    Deposited {{ amount: u64 }},
    Withdrawn {{ amount: u64, note: Option<String> }},
    Closed,
}}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Account{index} {{
    pub owner: String,
    pub limit: u64,
    pub balance: u64,
    pub notes: Vec<String>,
    pub is_closed: bool,
}}

impl Decider for Account{index} {{
    fn decide(&self, command: Account{index}Command) -> Result<Vec<Account{index}Event>, Infallible> {{
        Ok(match command {{
            Account{index}Command::Open {{ owner, limit }} => vec![Account{index}Event::Opened {{ owner, limit }}],
            Account{index}Command::Deposit {{ amount }} => vec![Account{index}Event::Deposited {{ amount }}],
            Account{index}Command::Withdraw {{ amount, note }} if amount <= self.balance => {{
                vec![Account{index}Event::Withdrawn {{ amount, note }}]
            }}
            Account{index}Command::Withdraw {{ .. }} => vec![],
            Account{index}Command::Close => vec![Account{index}Event::Closed],
        }})
    }}

    fn evolve(&mut self, event: &Account{index}Event) {{
        match event {{
            Account{index}Event::Opened {{ owner, limit }} => {{
                self.owner.clone_from(owner);
                self.limit = *limit;
            }}
            Account{index}Event::Deposited {{ amount }} => self.balance += amount,
            Account{index}Event::Withdrawn {{ amount, note }} => {{
                self.balance -= amount;
                self.notes.extend(note.clone());
            }}
            Account{index}Event::Closed => self.is_closed = true,
        }}
    }}
}}
"#
    )
}

/// The source of a process manager from two aggregates to two.
fn process_manager_source(index: usize) -> String {
    let (first, second, third) = (2 * index, 2 * index + 1, (2 * index + 2) % AGGREGATES);
    format!(
        r#"
use eventfold_es::{{ProcessManager, React, Reaction}};
use serde::{{Deserialize, Serialize}};

use crate::account{first}::*;
use crate::account{second}::*;
use crate::account{third}::*;

#[process_manager(subscribes = [Account{first}, Account{second}], dispatches = [Account{second}, Account{third}])]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Transfer{index} {{
    pub moved: u64,
    pub closed: u64,
}}

impl React<Account{first}> for Transfer{index} {{
    fn react(&mut self, event: &Account{first}Event, cx: &mut Reaction<'_, Self>) {{
        if let Account{first}Event::Withdrawn {{ amount, .. }} = event {{
            self.moved += amount;
            cx.send(cx.stream_id(), Account{second}Command::Deposit {{ amount: *amount }});
        }}
    }}
}}

impl React<Account{second}> for Transfer{index} {{
    fn react(&mut self, event: &Account{second}Event, cx: &mut Reaction<'_, Self>) {{
        if let Account{second}Event::Closed = event {{
            self.closed += 1;
            cx.send(cx.stream_id(), Account{third}Command::Close);
        }}
    }}
}}
"#
    )
}

/// The source of a projection of two aggregates.
fn projection_source(index: usize) -> String {
    let (first, second) = (2 * index, 2 * index + 1);
    format!(
        r#"
use eventfold_es::{{EventContext, Project, Projection}};
use serde::{{Deserialize, Serialize}};

use crate::account{first}::*;
use crate::account{second}::*;

#[projection(subscribes = [Account{first}, Account{second}])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Totals{index} {{
    pub deposited: u64,
    pub accounts: u64,
}}

impl Project<Account{first}> for Totals{index} {{
    fn project(&mut self, event: &Account{first}Event, _cx: &EventContext<'_>) {{
        if let Account{first}Event::Deposited {{ amount }} = event {{
            self.deposited += amount;
        }}
    }}
}}

impl Project<Account{second}> for Totals{index} {{
    fn project(&mut self, event: &Account{second}Event, _cx: &EventContext<'_>) {{
        if let Account{second}Event::Opened {{ .. }} = event {{
            self.accounts += 1;
        }}
    }}
}}
"#
    )
}

fn store_source() -> String {
    let list = |name: &str, count: usize| {
        let entries: Vec<String> = (0..count)
            .map(|index| format!("{}{index}::{name}{index}", name.to_ascii_lowercase()))
            .collect();
        entries.join(", ")
    };
    format!(
        "#[event_store(aggregates = [{}], process_managers = [{}], projections = [{}])]\npub struct Bank;\n",
        list("Account", AGGREGATES),
        list("Transfer", PROCESS_MANAGERS),
        list("Totals", PROJECTIONS),
    )
}

/// Every module, and the root.
fn sources() -> BTreeMap<String, String> {
    let mut sources = BTreeMap::new();
    for index in 0..AGGREGATES {
        sources.insert(format!("account{index}"), aggregate_source(index));
    }
    for index in 0..PROCESS_MANAGERS {
        sources.insert(format!("transfer{index}"), process_manager_source(index));
    }
    for index in 0..PROJECTIONS {
        sources.insert(format!("totals{index}"), projection_source(index));
    }
    let mut root = String::new();
    for module in sources.keys() {
        let _ = writeln!(root, "pub mod {module};");
    }
    root.push_str(&store_source());
    sources.insert("lib".to_owned(), root);
    sources
}

/// The same module, with what the macros generate in their place; and how many lines each of them came to.
fn written_out(source: &str, lines: &mut BTreeMap<&'static str, usize>) -> String {
    let file = syn::parse_file(source).expect("the source parses");
    let mut output = TokenStream::new();
    for item in file.items {
        output.extend(expanded(item, lines));
    }
    prettyplease::unparse(&syn::parse2(output).expect("the expansion parses"))
}

fn expanded(mut item: Item, lines: &mut BTreeMap<&'static str, usize>) -> TokenStream {
    let attributes = match &mut item {
        Item::Struct(item) => &mut item.attrs,
        Item::Enum(item) => &mut item.attrs,
        _ => return item.into_token_stream(),
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
        lines.insert(name, count(output.clone()) - before);
        return output;
    }
    if !without_derive(attributes, "DomainEvent") {
        return item.into_token_stream();
    }
    let generated = domain_event(item.to_token_stream());
    lines.insert("DomainEvent", count(generated.clone()));
    let mut output = item.into_token_stream();
    output.extend(generated);
    output
}

/// Removes a derive, if it is there.
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
    let mut lines = BTreeMap::new();
    for (name, features) in [("declared", "\"macros\""), ("by_hand", "")] {
        let root = directory.join(name);
        std::fs::create_dir_all(root.join("src")).expect("the directory is made");
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n[dependencies]\n\
             eventfold-es = {{ path = {library:?}, default-features = false, features = [{features}] }}\n\
             serde = {{ version = \"1\", features = [\"derive\"] }}\n"
        );
        std::fs::write(root.join("Cargo.toml"), manifest).expect("the manifest is written");
        for (module, source) in sources() {
            let allowed = if module == "lib" {
                "#![allow(unused_imports)]\n"
            } else {
                ""
            };
            let source = if name == "declared" {
                let imports =
                    "use eventfold_es::{aggregate, event_store, process_manager, projection};\n";
                format!("{allowed}{imports}{source}")
            } else {
                format!("{allowed}{}", written_out(&source, &mut lines))
            };
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
