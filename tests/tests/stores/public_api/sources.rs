//! The modules of a crate as they are written, and where a name in one of them leads.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use syn::{Attribute, Item, UseTree};

/// The names of the modules that lead to a place, from the root of the crate on.
pub type Names = Vec<String>;

/// A module, and the name of an item in it.
pub type Place = (Names, String);

/// The items of each module.
#[derive(Default)]
pub struct Sources {
    pub modules: BTreeMap<Names, Vec<Item>>,
}

/// One name that a `use` brings into a module.
pub struct Use {
    pub name: String,
    pub path: Names,
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Item(Place),
    Module(Names),
    /// Another crate.
    Elsewhere,
}

impl Sources {
    /// Reads the crate whose root is `lib.rs` in this directory, with all its features and without its tests.
    pub fn read(directory: &Path) -> Self {
        let mut sources = Self::default();
        sources.read_file(&Names::new(), &directory.join("lib.rs"), directory);
        sources
    }

    /// `below` is the directory with the files of its modules.
    fn read_file(&mut self, module: &Names, file: &Path, below: &Path) {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        self.add(module, parsed.items, below);
    }

    fn add(&mut self, module: &Names, mut items: Vec<Item>, below: &Path) {
        items.retain(|item| !is_left_out(attributes(item)));
        for item in &mut items {
            let Item::Mod(inner) = item else { continue };
            let name = inner.ident.to_string();
            let mut path = module.clone();
            path.push(name.clone());
            let inside = below.join(&name);
            match inner.content.take() {
                Some((_, items)) => self.add(&path, items, &inside),
                None => {
                    let file = below.join(format!("{name}.rs"));
                    let file = match file.exists() {
                        true => file,
                        false => inside.join("mod.rs"),
                    };
                    self.read_file(&path, &file, &inside);
                }
            }
        }
        self.modules.insert(module.clone(), items);
    }

    /// Where a path in a module leads.
    pub fn resolve(&self, module: &Names, path: &[String]) -> Target {
        self.follow(module, path, 0)
    }

    fn follow(&self, module: &Names, path: &[String], depth: usize) -> Target {
        if depth > 32 {
            return Target::Elsewhere;
        }
        let mut at = module.clone();
        for (index, name) in path.iter().enumerate() {
            let found = match name.as_str() {
                "crate" => Target::Module(Names::new()),
                "self" => Target::Module(at),
                "super" => {
                    at.pop();
                    Target::Module(at)
                }
                _ => self.named(&at, name, depth),
            };
            match found {
                Target::Module(module) => at = module,
                Target::Item(place) if index + 1 == path.len() => return Target::Item(place),
                // A variant, or something of another crate.
                _ => return Target::Elsewhere,
            }
        }
        Target::Module(at)
    }

    fn named(&self, module: &Names, name: &str, depth: usize) -> Target {
        let items = self.modules.get(module).map_or(&[][..], Vec::as_slice);
        for item in items {
            if name_of(item).is_some_and(|own| own == name) {
                if matches!(item, Item::Mod(_)) {
                    let mut path = module.clone();
                    path.push(name.to_owned());
                    return Target::Module(path);
                }
                return Target::Item((module.clone(), name.to_owned()));
            }
        }
        let uses = items.iter().filter_map(|item| match item {
            Item::Use(item) => Some(uses(&item.tree)),
            _ => None,
        });
        let uses: Vec<Use> = uses.flatten().collect();
        for found in uses.iter().filter(|found| found.name == name) {
            // A path that begins with its own name is one of another crate.
            if found.path.first().is_some_and(|first| first != name) {
                let target = self.follow(module, &found.path, depth + 1);
                if target != Target::Elsewhere {
                    return target;
                }
            }
        }
        for glob in uses.iter().filter(|found| found.name == "*") {
            if let Target::Module(inside) = self.follow(module, &glob.path, depth + 1)
                && inside != *module
            {
                let found = self.named(&inside, name, depth + 1);
                if found != Target::Elsewhere {
                    return found;
                }
            }
        }
        Target::Elsewhere
    }

    /// The item at a place.
    pub fn item(&self, (module, name): &Place) -> Option<&Item> {
        let mut items = self.modules.get(module)?.iter();
        items.find(|item| name_of(item).is_some_and(|own| own == *name))
    }
}

/// The names that a `use` brings; `*` for all of a module.
pub fn uses(tree: &UseTree) -> Vec<Use> {
    let mut found = Vec::new();
    collect(tree, &mut Names::new(), &mut found);
    found
}

fn collect(tree: &UseTree, path: &mut Names, found: &mut Vec<Use>) {
    let of = |name: String, path: &Names, last: Option<String>| Use {
        name,
        path: path.iter().cloned().chain(last).collect(),
    };
    match tree {
        UseTree::Path(inner) => {
            path.push(inner.ident.to_string());
            collect(&inner.tree, path, found);
            path.pop();
        }
        UseTree::Name(name) if name.ident == "self" => {
            let name = path.last().cloned().unwrap_or_default();
            found.push(of(name, path, None));
        }
        UseTree::Name(name) => {
            let name = name.ident.to_string();
            found.push(of(name.clone(), path, Some(name)));
        }
        UseTree::Rename(rename) => {
            let last = rename.ident.to_string();
            let last = (last != "self").then_some(last);
            found.push(of(rename.rename.to_string(), path, last));
        }
        UseTree::Glob(_) => found.push(of("*".to_owned(), path, None)),
        UseTree::Group(group) => {
            for tree in &group.items {
                collect(tree, path, found);
            }
        }
    }
}

/// The name that an item declares.
fn name_of(item: &Item) -> Option<String> {
    let ident = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Mod(item) => &item.ident,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        _ => return None,
    };
    Some(ident.to_string())
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether this is for tests, for builds without a feature, or for the documentation alone.
fn is_left_out(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else {
            return false;
        };
        let condition = list.tokens.to_string();
        list.path.is_ident("cfg")
            && (condition == "test" || condition == "doctest" || condition.starts_with("not"))
    })
}

/// Whether rustdoc leaves this out.
pub fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) => list.path.is_ident("doc") && list.tokens.to_string() == "hidden",
        _ => false,
    })
}
