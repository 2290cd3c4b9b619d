//! The public items of a crate, as a text: the paths that lead to each, and its declaration without what only the crate sees.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::{
    Attribute, Block, Expr, Fields, FnArg, GenericParam, ImplItem, Item, ItemImpl, Signature,
    TraitItem, Type, Visibility,
};

use super::sources::{Names, Place, Sources, Target, is_hidden, uses};

/// The public items of the crate in this directory.
pub fn public_items(directory: &Path, name: &str) -> String {
    let sources = Sources::read(directory);
    let mut public = Public::default();
    public.walk(&sources, &Names::new(), name, 0);
    let mut text = String::new();
    for path in &public.elsewhere {
        text.push_str(&format!("pub use {path};\n"));
    }
    let mut impls = impls(&sources, &public.paths);
    let mut by_path: Vec<_> = public.paths.iter().collect();
    by_path.sort_by_key(|(place, paths)| (paths.first(), *place));
    for (place, paths) in by_path {
        let Some(item) = sources.item(place) else {
            continue;
        };
        text.push('\n');
        for path in paths {
            text.push_str(&format!("// {path}\n"));
        }
        text.push_str(&print(declared(item.clone())));
        let of_item = impls.remove(place).unwrap_or_default();
        for declared in of_item {
            text.push_str(&declared);
        }
    }
    text
}

/// The public items with the paths that lead to them.
#[derive(Default)]
struct Public {
    paths: BTreeMap<Place, BTreeSet<String>>,
    /// Those of other crates.
    elsewhere: BTreeSet<String>,
}

impl Public {
    fn walk(&mut self, sources: &Sources, module: &Names, path: &str, depth: usize) {
        assert!(depth < 16, "`{path}` leads to itself");
        for item in sources.modules.get(module).into_iter().flatten() {
            let (vis, attributes, name) = match item {
                Item::Const(item) => (&item.vis, &item.attrs, Some(&item.ident)),
                Item::Enum(item) => (&item.vis, &item.attrs, Some(&item.ident)),
                Item::Fn(item) => (&item.vis, &item.attrs, Some(&item.sig.ident)),
                Item::Mod(item) => (&item.vis, &item.attrs, Some(&item.ident)),
                Item::Static(item) => (&item.vis, &item.attrs, Some(&item.ident)),
                Item::Struct(item) => (&item.vis, &item.attrs, Some(&item.ident)),
                Item::Trait(item) => (&item.vis, &item.attrs, Some(&item.ident)),
                Item::Type(item) => (&item.vis, &item.attrs, Some(&item.ident)),
                Item::Use(item) => (&item.vis, &item.attrs, None),
                _ => continue,
            };
            if !is_public(vis) || is_hidden(attributes) {
                continue;
            }
            match (item, name) {
                (Item::Use(item), _) => {
                    for used in uses(&item.tree) {
                        let target = sources.resolve(module, &used.path);
                        let path = format!("{path}::{}", used.name);
                        self.add(sources, target, &path, &used.path, depth);
                    }
                }
                (_, Some(name)) => {
                    let name = name.to_string();
                    let target = sources.resolve(module, std::slice::from_ref(&name));
                    let path = format!("{path}::{name}");
                    self.add(sources, target, &path, &[], depth);
                }
                _ => {}
            }
        }
    }

    fn add(
        &mut self,
        sources: &Sources,
        target: Target,
        path: &str,
        used: &[String],
        depth: usize,
    ) {
        match target {
            Target::Item(place) => {
                self.paths.entry(place).or_default().insert(path.to_owned());
            }
            Target::Module(module) => self.walk(sources, &module, path, depth + 1),
            Target::Elsewhere => {
                self.elsewhere
                    .insert(format!("{} as {path}", used.join("::")));
            }
        }
    }
}

/// The methods and the traits of each public item, in order.
fn impls(
    sources: &Sources,
    public: &BTreeMap<Place, BTreeSet<String>>,
) -> BTreeMap<Place, Vec<String>> {
    let mut found: BTreeMap<Place, (BTreeSet<String>, BTreeSet<String>)> = BTreeMap::new();
    for (module, items) in &sources.modules {
        for item in items {
            let Item::Impl(item) = item else { continue };
            let of_type = place_of_type(sources, module, item);
            let of_trait = item.trait_.as_ref().map(|(path, _)| {
                let names: Vec<_> = path
                    .segments
                    .iter()
                    .map(|one| one.ident.to_string())
                    .collect();
                sources.resolve(module, &names)
            });
            let place = match (of_type, &of_trait) {
                // A trait that nobody else knows.
                (_, Some(Target::Item(place))) if !public.contains_key(place) => continue,
                (Some(place), _) if public.contains_key(&place) => place,
                (_, Some(Target::Item(place))) => place.clone(),
                _ => continue,
            };
            let (methods, traits) = found.entry(place).or_default();
            if of_trait.is_some() {
                traits.insert(print(Item::Impl(without_items(item.clone()))));
            } else if let Some(item) = public_methods(item.clone()) {
                methods.insert(print(Item::Impl(item)));
            }
        }
    }
    let sorted = found.into_iter().map(|(place, (methods, traits))| {
        let all = methods.into_iter().chain(traits);
        (place, all.collect())
    });
    sorted.collect()
}

/// The type of this crate that an impl is for.
fn place_of_type(sources: &Sources, module: &Names, item: &ItemImpl) -> Option<Place> {
    let mut of = &*item.self_ty;
    while let Type::Reference(inner) = of {
        of = &inner.elem;
    }
    let Type::Path(path) = of else { return None };
    let names: Vec<_> = path
        .path
        .segments
        .iter()
        .map(|one| one.ident.to_string())
        .collect();
    let is_parameter = item.generics.params.iter().any(|param| match param {
        GenericParam::Type(param) => names.first().is_some_and(|first| param.ident == first),
        _ => false,
    });
    match sources.resolve(module, &names) {
        Target::Item(place) if !is_parameter => Some(place),
        _ => None,
    }
}

fn without_items(mut item: ItemImpl) -> ItemImpl {
    item.attrs.clear();
    item.items.clear();
    item
}

fn public_methods(mut item: ItemImpl) -> Option<ItemImpl> {
    item.attrs.clear();
    item.items.retain(|item| match item {
        ImplItem::Fn(item) => is_public(&item.vis) && !is_hidden(&item.attrs),
        ImplItem::Const(item) => is_public(&item.vis) && !is_hidden(&item.attrs),
        _ => false,
    });
    for item in &mut item.items {
        match item {
            ImplItem::Fn(item) => {
                item.attrs.clear();
                item.block = nothing();
                without_patterns(&mut item.sig);
            }
            ImplItem::Const(item) => {
                item.attrs.clear();
                item.expr = any();
            }
            _ => {}
        }
    }
    (!item.items.is_empty()).then_some(item)
}

/// An item without what only the crate sees.
fn declared(mut item: Item) -> Item {
    match &mut item {
        Item::Const(item) => {
            item.attrs.clear();
            *item.expr = any();
        }
        Item::Static(item) => {
            item.attrs.clear();
            *item.expr = any();
        }
        Item::Enum(item) => {
            keep_telling(&mut item.attrs);
            for variant in &mut item.variants {
                keep_telling(&mut variant.attrs);
                for field in &mut variant.fields {
                    field.attrs.clear();
                }
            }
        }
        Item::Fn(item) => {
            item.attrs.clear();
            *item.block = nothing();
            without_patterns(&mut item.sig);
        }
        Item::Struct(item) => {
            keep_telling(&mut item.attrs);
            public_fields(&mut item.fields);
        }
        Item::Trait(item) => {
            item.attrs.clear();
            for item in &mut item.items {
                match item {
                    TraitItem::Const(item) => {
                        item.attrs.clear();
                        if let Some((_, default)) = &mut item.default {
                            *default = any();
                        }
                    }
                    TraitItem::Fn(item) => {
                        item.attrs.clear();
                        if let Some(default) = &mut item.default {
                            *default = nothing();
                        }
                        without_patterns(&mut item.sig);
                    }
                    TraitItem::Type(item) => item.attrs.clear(),
                    _ => {}
                }
            }
        }
        Item::Type(item) => item.attrs.clear(),
        _ => {}
    }
    item
}

/// Leaves the attributes on which users depend.
fn keep_telling(attributes: &mut Vec<Attribute>) {
    attributes.retain(|attribute| {
        let path = attribute.path();
        path.is_ident("derive") || path.is_ident("non_exhaustive") || path.is_ident("default")
    });
}

/// Leaves the public fields; one of the others stands for all of them.
fn public_fields(fields: &mut Fields) {
    for field in fields.iter_mut() {
        field.attrs.clear();
        if !is_public(&field.vis) {
            field.vis = Visibility::Inherited;
            field.ty = syn::parse_quote!(_);
        }
    }
    if let Fields::Named(fields) = fields {
        let all = std::mem::take(&mut fields.named);
        let (public, mut private): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|field| is_public(&field.vis));
        private.truncate(1);
        for field in &mut private {
            field.ident = Some(syn::parse_quote!(private));
        }
        fields.named = public.into_iter().chain(private).collect();
    }
}

/// Without the `mut` of its parameters.
fn without_patterns(signature: &mut Signature) {
    for input in &mut signature.inputs {
        match input {
            FnArg::Receiver(receiver) => receiver.mutability = None,
            FnArg::Typed(typed) => {
                if let syn::Pat::Ident(pattern) = &mut *typed.pat {
                    pattern.mutability = None;
                }
            }
        }
    }
}

fn is_public(vis: &Visibility) -> bool {
    matches!(vis, Visibility::Public(_))
}

fn nothing() -> Block {
    syn::parse_quote!({})
}

fn any() -> Expr {
    syn::parse_quote!(_)
}

fn print(item: Item) -> String {
    prettyplease::unparse(&syn::File {
        shebang: None,
        frontmatter: None,
        attrs: Vec::new(),
        items: vec![item],
    })
}
