//! Tokens as a person writes them, regardless of how the compiler prints them.

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use quote::ToTokens;
use syn::Type;

/// A type as a person writes it, regardless of how the compiler prints tokens.
pub(crate) fn type_text(ty: &Type) -> String {
    tokens_text(ty)
}

pub(crate) fn tokens_text(tokens: impl ToTokens) -> String {
    let mut text = String::new();
    write_tokens(tokens.to_token_stream(), &mut text);
    text
}

fn write_tokens(tokens: TokenStream, text: &mut String) {
    let mut follows_word = false;
    for token in tokens {
        let is_word = matches!(token, TokenTree::Ident(_) | TokenTree::Literal(_));
        if is_word && follows_word {
            text.push(' ');
        }
        follows_word = is_word;
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::None => ("", ""),
                };
                text.push_str(open);
                write_tokens(group.stream(), text);
                text.push_str(close);
            }
            TokenTree::Punct(punct) => match punct.as_char() {
                character @ (',' | ';') => {
                    text.push(character);
                    text.push(' ');
                }
                character @ ('=' | '+') => {
                    text.push(' ');
                    text.push(character);
                    text.push(' ');
                }
                character => text.push(character),
            },
            word => text.push_str(&word.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn types_are_written_as_one_writes_them() {
        let cases: [(Type, &str); 5] = [
            (parse_quote!(Vec<String>), "Vec<String>"),
            (
                parse_quote!(BTreeMap<String, (u8, Vec<u8>)>),
                "BTreeMap<String, (u8, Vec<u8>)>",
            ),
            (parse_quote!([u8; 4]), "[u8; 4]"),
            (parse_quote!(&'static str), "&'static str"),
            (
                parse_quote!(::std::option::Option<a::B>),
                "::std::option::Option<a::B>",
            ),
        ];
        for (ty, expected) in cases {
            assert_eq!(type_text(&ty), expected);
        }
    }
}
