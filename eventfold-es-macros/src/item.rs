//! The item under an attribute macro.

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, GenericParam, parse_quote};

use crate::diagnostics::Diagnostics;

/// Reads the annotated item, which must be a struct or an enum without generics.
///
/// Returns `None` for any other item, and for an item that another call of the macro handles. Other mistakes are only
/// reported.
pub(crate) fn parse(
    item: &TokenStream,
    macro_name: &str,
    diagnostics: &Diagnostics,
) -> Option<DeriveInput> {
    let parsed = match syn::parse2::<DeriveInput>(item.clone()) {
        Ok(parsed) => parsed,
        Err(error) => {
            let meant = match Kind::of(item) {
                Some(kind) => {
                    diagnostics.error(&kind.keyword, kind.objection(macro_name));
                    kind.implementor
                }
                None => {
                    let name = name_of(item);
                    // For an unfinished struct, rustc reports the same.
                    let message = name.as_ref().map(|_| error.to_string());
                    let message = message.unwrap_or_else(|| goes_on(macro_name));
                    diagnostics.push(syn::Error::new(error.span(), message));
                    name
                }
            };
            // The stubs are then for the intended type.
            return meant.map(|meant| parse_quote!(struct #meant;));
        }
    };
    if let Data::Union(data) = &parsed.data {
        diagnostics.error(
            data.union_token,
            format!("{}, and this is a union", goes_on(macro_name)),
        );
        return None;
    }
    let again = parsed
        .attrs
        .iter()
        .find(|attribute| is_named(attribute.path(), macro_name));
    if let Some(again) = again {
        diagnostics.error(
            again.path(),
            format!("`#[{macro_name}]` is there twice: remove one of them"),
        );
        return None;
    }
    if let Some(meant) = whose_events(&parsed) {
        diagnostics.error(
            &parsed.ident,
            format!(
                "`{}` are events, on which `#[{macro_name}]` does not go: put it on the type itself, above `struct {meant}`",
                parsed.ident
            ),
        );
        // The stubs are then for the intended type.
        return Some(parse_quote!(struct #meant;));
    }
    reject_generics(&parsed, &format!("`#[{macro_name}]`"), diagnostics);
    Some(parsed)
}

/// Whether the item can be parsed.
pub(crate) fn is_whole(item: &TokenStream) -> bool {
    syn::parse2::<DeriveInput>(item.clone()).is_ok()
}

pub(crate) fn is_impl(item: &TokenStream) -> bool {
    !is_whole(item) && Kind::of(item).is_some_and(|kind| kind.name == "an impl")
}

/// The name of a struct or an enum, even if the rest does not parse. The stubs of such an item use it.
pub(crate) fn name_of(item: &TokenStream) -> Option<Ident> {
    let mut tokens = item.clone().into_iter();
    tokens.find(
        |token| matches!(token, TokenTree::Ident(word) if word == "struct" || word == "enum"),
    )?;
    match tokens.next()? {
        TokenTree::Ident(name) => Some(name),
        _ => None,
    }
}

/// The aggregate of the events in `item`, if `item` is an enum that is named after it and derives `DomainEvent`.
fn whose_events(item: &DeriveInput) -> Option<Ident> {
    enum_of(item, "Event").filter(|_| derives(item, "DomainEvent"))
}

/// The aggregate of the commands in `item`, if `item` is an enum that is named after it. An enum that derives `Default`
/// may be an aggregate itself, and does not count.
pub(crate) fn whose_commands(item: &DeriveInput) -> Option<Ident> {
    enum_of(item, "Command").filter(|_| !derives(item, "Default"))
}

/// The type that gives an enum its name.
fn enum_of(item: &DeriveInput, suffix: &str) -> Option<Ident> {
    if !matches!(item.data, Data::Enum(_)) {
        return None;
    }
    let name = item.ident.unraw().to_string();
    // For `Event` no name remains, and for `SelfEvent` it is `Self`.
    let mut meant: Ident = syn::parse_str(name.strip_suffix(suffix)?).ok()?;
    meant.set_span(item.ident.span());
    Some(meant)
}

fn derives(item: &DeriveInput, derive: &str) -> bool {
    item.attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("derive"))
        .filter_map(|attribute| attribute.meta.require_list().ok())
        .flat_map(|list| list.tokens.clone())
        .any(|token| matches!(token, TokenTree::Ident(ident) if ident == derive))
}

fn goes_on(macro_name: &str) -> String {
    let what = match macro_name {
        "schedule" => "a struct without fields, in which it stores the last occurrence",
        "event_store" => "a struct without fields, which only names the store",
        _ => "a struct or an enum",
    };
    format!("`#[{macro_name}]` goes on {what}")
}

/// Whether the attribute macro `macro_name` on `item` is still unexpanded.
pub(crate) fn is_under(item: &DeriveInput, macro_name: &str) -> bool {
    item.attrs
        .iter()
        .any(|attribute| is_named(attribute.path(), macro_name))
}

fn is_named(path: &syn::Path, name: &str) -> bool {
    path.segments.last().is_some_and(|last| last.ident == name)
}

/// The macro whose types are values of the program, and are not stored.
const EVENT_HANDLER: &str = "`#[event_handler]`";

/// Reports the generics of an item: one stored name cannot mean several types.
pub(crate) fn reject_generics(item: &DeriveInput, what: &str, diagnostics: &Diagnostics) {
    let parameters = &item.generics.params;
    if parameters.is_empty() {
        return;
    }
    let has_types = parameters
        .iter()
        .any(|parameter| !matches!(parameter, GenericParam::Lifetime(_)));
    let why = match (has_types, what) {
        (true, EVENT_HANDLER) => {
            "does not go on a generic type: its stored name cannot mean several types; \
             remove the parameters, and hold the part that differs as a trait object, such as `Arc<dyn Mail>`"
        }
        (true, _) => {
            "does not go on a generic type: its stored name cannot mean several types; \
             remove the parameters, and declare one type for each use"
        }
        (false, EVENT_HANDLER) => {
            "does not go on a type with lifetimes: it lives as long as its store, so it owns what it holds; \
             remove the lifetimes, and write `String` for `&str` and `Arc<T>` for `&T`"
        }
        (false, _) => {
            "does not go on a type with lifetimes: it is read from storage, so it owns what it holds; \
             remove the lifetimes, and write `String` for `&str` and `Vec<T>` for `&[T]`"
        }
    };
    diagnostics.error(&item.generics, format!("{what} {why}"));
}

/// Reports a helper attribute of a derive that is inside the item instead of above it.
pub(crate) fn reject_inner_helper(item: &DeriveInput, helper: &str, diagnostics: &Diagnostics) {
    let fields: Vec<&syn::Field> = match &item.data {
        Data::Struct(data) => data.fields.iter().collect(),
        Data::Enum(data) => data
            .variants
            .iter()
            .flat_map(|variant| &variant.fields)
            .collect(),
        Data::Union(_) => Vec::new(),
    };
    let variants: Vec<&syn::Variant> = match &item.data {
        Data::Enum(data) => data.variants.iter().collect(),
        _ => Vec::new(),
    };
    let attributes = variants
        .iter()
        .flat_map(|variant| &variant.attrs)
        .chain(fields.iter().flat_map(|field| &field.attrs));
    for attribute in attributes.filter(|attribute| attribute.path().is_ident(helper)) {
        diagnostics.error(
            attribute,
            format!(
                "`#[{helper}(..)]` holds for the whole type: put it above `{}`",
                item.ident
            ),
        );
    }
}

/// An item that is neither a struct nor an enum.
struct Kind {
    keyword: Ident,
    name: &'static str,
    /// The type of an `impl`.
    implementor: Option<Ident>,
}

impl Kind {
    fn of(item: &TokenStream) -> Option<Self> {
        let mut tokens = item.clone().into_iter().peekable();
        while let Some(token) = tokens.next() {
            let TokenTree::Ident(keyword) = token else {
                continue;
            };
            let name = match keyword.to_string().as_str() {
                "fn" => "a function",
                "trait" => "a trait",
                "impl" => "an impl",
                "mod" => "a module",
                "const" if is_function(&mut tokens) => "a function",
                "const" => "a constant",
                "static" => "a static",
                "type" => "a type alias",
                "use" => "an import",
                "macro_rules" => "a macro",
                "extern" if is_function(&mut tokens) => "a function",
                "extern" => "an extern block",
                "let" => "a statement",
                _ => continue,
            };
            let implementor = (name == "an impl").then(|| implementor(tokens)).flatten();
            return Some(Self {
                keyword,
                name,
                implementor,
            });
        }
        None
    }

    fn objection(&self, macro_name: &str) -> String {
        let what = format!("{}, and this is {}", goes_on(macro_name), self.name);
        match &self.implementor {
            Some(implementor) => {
                format!("{what}: put it on the type itself, above `struct {implementor}`")
            }
            None => what,
        }
    }
}

/// Whether a `const` or an `extern` begins a function.
fn is_function(tokens: &mut std::iter::Peekable<impl Iterator<Item = TokenTree>>) -> bool {
    match tokens.peek() {
        Some(TokenTree::Ident(next)) => {
            matches!(
                next.to_string().as_str(),
                "fn" | "unsafe" | "async" | "extern"
            )
        }
        _ => false,
    }
}

/// The last name before the braces of an `impl`, outside of angle brackets.
fn implementor(tokens: impl Iterator<Item = TokenTree>) -> Option<Ident> {
    let mut depth = 0_usize;
    let mut last = None;
    for token in tokens {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '<' => depth += 1,
            TokenTree::Punct(punct) if punct.as_char() == '>' => depth = depth.saturating_sub(1),
            TokenTree::Ident(ident) if ident == "where" => break,
            TokenTree::Ident(ident) if depth == 0 => last = Some(ident),
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => break,
            _ => {}
        }
    }
    last
}
