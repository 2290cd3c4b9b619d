//! How long the tests are that look for a mistake in many places; `docs/internals/testing.md` lists them.

use std::env;

/// The number in a variable of the environment, if that is set.
///
/// # Panics
///
/// If it is no number.
#[must_use]
pub fn number(name: &str) -> Option<u64> {
    let value = env::var(name).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is no number: {value}")))
}

/// The number of crashes that a test of crashes has at least.
#[must_use]
pub fn fewest() -> usize {
    size(20, 50)
}

/// The size of a campaign: `full` with `EVENTFOLD_FULL=1` in the environment, otherwise `ordinary`.
#[must_use]
pub fn size<T>(ordinary: T, full: T) -> T {
    match number("EVENTFOLD_FULL") {
        Some(1..) => full,
        _ => ordinary,
    }
}
