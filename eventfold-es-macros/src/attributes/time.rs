//! The values that are times, as a text with a unit.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::parse::ParseStream;
use syn::{Expr, ExprLit, Lit};

use super::Reported;
use super::grammar::Key;
use super::values::parse_expression;
use crate::diagnostics::Diagnostics;

/// The units, with their lengths in milliseconds.
const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// Other words for the units.
const OTHER_WORDS: [(&str, &[&str]); 4] = [
    (
        "ms",
        &["msec", "msecs", "millis", "millisecond", "milliseconds"],
    ),
    ("s", &["", "sec", "secs", "second", "seconds", "S"]),
    ("m", &["min", "mins", "minute", "minutes", "M"]),
    ("h", &["hr", "hrs", "hour", "hours", "H"]),
];

/// The value, for messages.
const TIME: &str =
    "a time above zero with its unit, `ms`, `s`, `m` or `h`, or the path of a `Duration` constant";

/// The time that an attempt of an event handler may take.
pub(crate) enum Timeout {
    Millis(u64),
    /// A constant, which the compiler checks.
    Constant(Expr),
}

impl Timeout {
    /// The constant, if it is one.
    pub(crate) fn constant(&self) -> Option<&Expr> {
        match self {
            Self::Millis(_) => None,
            Self::Constant(constant) => Some(constant),
        }
    }
}

impl ToTokens for Timeout {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        match self {
            Self::Millis(millis) => {
                tokens.extend(quote!(::std::time::Duration::from_millis(#millis)));
            }
            Self::Constant(constant) => constant.to_tokens(tokens),
        }
    }
}

pub(super) fn parse_timeout(
    input: ParseStream<'_>,
    diagnostics: &Diagnostics,
) -> Result<Timeout, Reported> {
    let key = Key::Timeout;
    let value = parse_expression(key, TIME, input, diagnostics)?;
    let written = match &value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(literal),
            ..
        }) => {
            let text = literal.value();
            if let Some(millis) = millis(&text) {
                return Ok(Timeout::Millis(millis));
            }
            text
        }
        Expr::Lit(ExprLit {
            lit: Lit::Int(literal),
            ..
        }) => literal.to_string(),
        Expr::Path(_) | Expr::Macro(_) => return Ok(Timeout::Constant(value)),
        _ => String::new(),
    };
    let instead = meant(&written)
        .map(|meant| format!("timeout = \"{meant}\""))
        .unwrap_or_else(|| key.example().to_owned());
    diagnostics.error(value, format!("`timeout` takes {TIME}: write `{instead}`"));
    Err(Reported)
}

/// The milliseconds of a text such as `30s`. `None` for zero, and for more than 64 bits of them.
fn millis(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let (_, length) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*length).filter(|millis| *millis > 0)
}

/// The text that was meant by one with another word for its unit, or without a unit.
fn meant(text: &str) -> Option<String> {
    let (number, unit) = split(text)?;
    let (meant, _) = OTHER_WORDS
        .iter()
        .find(|(_, words)| words.contains(&unit))?;
    let meant = format!("{number}{meant}");
    millis(&meant).map(|_| meant)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::{meant, millis};

    #[test]
    fn times_have_a_unit() {
        assert_eq!(millis("250ms"), Some(250));
        assert_eq!(millis("30s"), Some(30_000));
        assert_eq!(millis("5 m"), Some(300_000));
        assert_eq!(millis("2h"), Some(7_200_000));
        for wrong in [
            "",
            "30",
            "s",
            "0s",
            "-1s",
            "1.5s",
            "1m30s",
            "30sec",
            "5124095576031h",
            "99999999999999999999s",
        ] {
            assert_eq!(millis(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn other_words_are_understood() {
        assert_eq!(meant("30").as_deref(), Some("30s"));
        assert_eq!(meant("30 seconds").as_deref(), Some("30s"));
        assert_eq!(meant("2min").as_deref(), Some("2m"));
        assert_eq!(meant("10millis").as_deref(), Some("10ms"));
        assert_eq!(meant("0"), None);
        assert_eq!(meant("soon"), None);
    }
}
