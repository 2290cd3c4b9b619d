//! Stored names: the default for a type, and the rules. These are the rules of `eventfold_es::names`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote_spanned;
use syn::LitStr;
use syn::ext::IdentExt;
use syn::spanned::Spanned;

use crate::attributes::StoredName;
use crate::diagnostics::Diagnostics;
use crate::path::CratePath;

const MAX_NAME_BYTES: usize = 100;
const ALLOWED: &str = "a stored name is 1 to 100 of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-`, does not start with `.` or `-`, \
                       does not end with `.`, and is no device name of Windows";

/// The reason why `name` cannot be stored, or `None`.
pub(crate) fn objection(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > MAX_NAME_BYTES {
        return Some("it is longer than 100 bytes");
    }
    if !name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    {
        return Some("it has characters other than `A-Z`, `a-z`, `0-9`, `.`, `_` and `-`");
    }
    if name.starts_with(['.', '-']) {
        return Some("it starts with `.` or `-`");
    }
    if name.ends_with('.') {
        return Some("it ends with `.`");
    }
    is_device(name).then_some("it is the name of a device on Windows")
}

/// A name like `name` that can be stored, if any.
fn storable(name: &str) -> Option<String> {
    let mut storable = String::with_capacity(name.len());
    for character in name.chars() {
        if character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-') {
            storable.push(character);
        } else if character.is_alphanumeric() {
            // Without some of its letters, the rest of a word is not a meaningful name.
            return None;
        } else if !storable.ends_with('-') {
            storable.push('-');
        }
    }
    let storable = storable
        .trim_start_matches(['.', '-'])
        .trim_end_matches(['.', '-']);
    objection(storable).is_none().then(|| storable.to_owned())
}

fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).to_ascii_lowercase();
    let numbered = |prefix| {
        stem.strip_prefix(prefix).is_some_and(|rest: &str| {
            rest.len() == 1 && rest.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    matches!(stem.as_str(), "con" | "prn" | "aux" | "nul") || numbered("com") || numbered("lpt")
}

/// The kebab-case of a type's name: `OrderV2Saga` is stored as `order-v2-saga`, `HTTPServer` as `http-server`.
pub(crate) fn kebab_case(ident: &Ident) -> String {
    let name = ident.unraw().to_string();
    let mut kebab = String::with_capacity(name.len() + 4);
    let mut previous = None;
    let mut characters = name.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '_' {
            previous = None;
            continue;
        }
        let starts_word = character.is_uppercase()
            && previous.is_some_and(|previous: char| {
                !previous.is_uppercase()
                    || characters.peek().is_some_and(|next| next.is_lowercase())
            });
        if (starts_word || previous.is_none()) && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.extend(character.to_lowercase());
        previous = Some(character);
    }
    kebab
}

/// The stored name of `ident`: the given name, or the default. It is checked if it is already known.
pub(crate) fn resolve(
    given: Option<StoredName>,
    ident: &Ident,
    macro_name: &str,
    diagnostics: &Diagnostics,
) -> StoredName {
    match given {
        Some(StoredName::Literal(literal)) => {
            let name = literal.value();
            if let Some(objection) = objection(&name) {
                let instead = storable(&name)
                    .map(|instead| format!("write `name = \"{instead}\"`: "))
                    .unwrap_or_default();
                let what = match name.as_str() {
                    "" => "this name".to_owned(),
                    _ => format!("`{name}`"),
                };
                diagnostics.error(
                    &literal,
                    format!("{what} cannot be stored: {objection}; {instead}{ALLOWED}"),
                );
            }
            StoredName::Literal(literal)
        }
        Some(constant) => constant,
        None => {
            let name = kebab_case(ident);
            if let Some(objection) = objection(&name) {
                diagnostics.error(
                    ident,
                    format!(
                        "the default name `{name}` cannot be stored: {objection}; write `#[{macro_name}(name = \"..\")]`: {ALLOWED}"
                    ),
                );
            }
            StoredName::Literal(LitStr::new(&name, Span::call_site()))
        }
    }
}

/// An assertion that a name which only the compiler knows can be stored. `stored` is the constant with the name.
pub(crate) fn assert_storable(
    name: &StoredName,
    stored: &TokenStream,
    krate: &CratePath,
) -> TokenStream {
    match name {
        StoredName::Literal(_) => TokenStream::new(),
        StoredName::Constant(constant) => {
            let at = Span::call_site().located_at(constant.span());
            let message = format!("this name cannot be stored: {ALLOWED}");
            quote_spanned! {at=>
                const _: () = ::std::assert!(#krate::names::is_storable(#stored), #message);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_are_those_of_the_library() {
        let long = "a".repeat(100);
        let longer = "a".repeat(101);
        for name in [
            "order", "Order", "a", "a.b", "x_y-z", "com10", "console", "nul-x", "com", "0", "-",
            "_", "", ".", "..", ".a", "-a", "a.", "a-", "a/b", "a b", "Ä", "con", "NUL", "nul.txt",
            "Com1", "lpt9.log", "com0", "a\n", "a\0", "prn", "aux.", &long, &longer,
        ] {
            assert_eq!(
                objection(name).is_none(),
                eventfold_es::names::is_storable(name),
                "{name:?}: {:?}",
                objection(name)
            );
        }
    }

    #[test]
    fn names_that_are_proposed_can_be_stored() {
        for (name, proposed) in [
            ("sagas/reservation", Some("sagas-reservation")),
            ("../order", Some("order")),
            (".order.", Some("order")),
            ("order item", Some("order-item")),
            ("a :: b", Some("a-b")),
            ("con", None),
            ("", None),
            ("Ä", None),
            ("größe", None),
        ] {
            assert_eq!(storable(name).as_deref(), proposed, "{name:?}");
        }
    }

    #[test]
    fn default_names() {
        let span = Span::call_site();
        for (ident, expected) in [
            ("Order", "order"),
            ("ReservationSaga", "reservation-saga"),
            ("OrderV2", "order-v2"),
            ("OrderV2Saga", "order-v2-saga"),
            ("HTTPServer", "http-server"),
            ("ABC", "abc"),
            ("A", "a"),
            ("Order_Item", "order-item"),
            ("_Order", "order"),
            ("order", "order"),
        ] {
            assert_eq!(kebab_case(&Ident::new(ident, span)), expected);
        }
        assert_eq!(kebab_case(&Ident::new_raw("type", span)), "type");
    }
}
