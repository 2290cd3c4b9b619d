//! The comparison of commands under one idempotency key.

use serde::Serialize;
use serde_json::Value;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// A digest of a command by its JSON; `None` if it does not serialize, or is nested more than 127 levels deep.
///
/// The order of fields and of list entries does not count: maps and sets in a command may have another order in each
/// copy of it. A field that is `None` does not count either: a later version of the program may have added it. Commands
/// that differ only in these ways have the same digest.
///
/// `#[aggregate]` calls it for `Serialize` commands, and `#[aggregate(fingerprint = ..)]` for the value that the
/// function returns. A hand-written aggregate calls it in [`Aggregate::fingerprint`](crate::Aggregate::fingerprint).
///
/// # Examples
///
/// ```
/// use eventfold_es::fingerprint;
///
/// assert_eq!(fingerprint(&("deposit", 10)), fingerprint(&("deposit", 10)));
/// assert_ne!(fingerprint(&("deposit", 10)), fingerprint(&("deposit", 11)));
/// ```
#[must_use]
pub fn fingerprint<C: Serialize + ?Sized>(command: &C) -> Option<u64> {
    // Goes through text. A process manager writes its commands as text anyway, and code of serde for a second form
    // would double the time to compile a command enum.
    digest_of(serde_json::to_string(command))
}

fn digest_of(json: serde_json::Result<String>) -> Option<u64> {
    let value = serde_json::from_str(&json.ok()?).ok()?;
    Some(digest(&value))
}

fn digest(value: &Value) -> u64 {
    match value {
        Value::Array(entries) => of_parts(b'a', entries.iter().map(digest).collect()),
        Value::Object(entries) => {
            // A field that a later version adds is missing in the command of an earlier version, and `null` in the
            // command of the later version.
            let entries = entries.iter().filter(|(_, value)| !value.is_null());
            let entries = entries.map(|(name, value)| {
                let mut hash = Xxh3::new();
                hash.update(&xxh3_64(name.as_bytes()).to_le_bytes());
                hash.update(&digest(value).to_le_bytes());
                hash.digest()
            });
            of_parts(b'o', entries.collect())
        }
        // A string keeps its quotes, so that it differs from a number.
        plain => xxh3_64(plain.to_string().as_bytes()),
    }
}

fn of_parts(kind: u8, mut parts: Vec<u64>) -> u64 {
    parts.sort_unstable();
    let mut hash = Xxh3::new();
    hash.update(&[kind]);
    for part in parts {
        hash.update(&part.to_le_bytes());
    }
    hash.digest()
}

/// A function that returns the compared part of a command `C`, for `#[aggregate(fingerprint = ..)]`.
#[diagnostic::on_unimplemented(
    message = "`fingerprint` takes a function from a reference to a command to a `Serialize` value",
    label = "not such a function of `{C}`",
    note = "write `fn intent(command: &{C}) -> impl Serialize {{ .. }}`"
)]
pub trait TellsIntent<'a, C> {
    /// The fingerprint of the value that the function returns.
    fn fingerprint(self, command: &'a C) -> Option<u64>;
}

#[diagnostic::do_not_recommend]
impl<'a, C: 'a, F: FnOnce(&'a C) -> R, R: Serialize> TellsIntent<'a, C> for F {
    fn fingerprint(self, command: &'a C) -> Option<u64> {
        fingerprint(&self(command))
    }
}

/// The fingerprint of the value that `tells` returns for a command.
pub fn fingerprint_by<'a, C>(tells: impl TellsIntent<'a, C>, command: &'a C) -> Option<u64> {
    tells.fingerprint(command)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap, HashSet};

    use super::*;

    #[test]
    fn commands_that_are_equal_have_one_fingerprint_in_whatever_order_they_are_stored() {
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        for _ in 0..20 {
            let map: HashMap<_, _> = names.iter().zip(1..).collect();
            let sorted: BTreeMap<_, _> = names.iter().zip(1..).collect();
            assert_eq!(fingerprint(&map), fingerprint(&sorted));
            let set: HashSet<_> = names.iter().collect();
            assert_eq!(fingerprint(&set), fingerprint(&names));
        }
    }

    #[test]
    fn a_field_that_is_none_may_be_missing() {
        let before = serde_json::json!({ "Deposit": { "amount": 1 } });
        let after = serde_json::json!({ "Deposit": { "amount": 1, "note": null } });
        assert_eq!(fingerprint(&before), fingerprint(&after));
    }

    #[test]
    fn commands_that_differ_have_others() {
        let values = [
            serde_json::json!(null),
            serde_json::json!(1),
            serde_json::json!("1"),
            serde_json::json!([]),
            serde_json::json!({}),
            serde_json::json!([1]),
            serde_json::json!([1, 1]),
            serde_json::json!([[1], 1]),
            serde_json::json!({ "a": 1 }),
            serde_json::json!({ "a": 2 }),
            serde_json::json!({ "b": 1 }),
            serde_json::json!({ "a": 1, "b": 2 }),
            serde_json::json!({ "a": 2, "b": 1 }),
            serde_json::json!("a"),
        ];
        let found: HashSet<_> = values.iter().map(fingerprint).collect();
        assert_eq!(found.len(), values.len());
    }
}
