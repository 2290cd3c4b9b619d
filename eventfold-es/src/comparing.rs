//! The fingerprint and the equality of values whose type may lack `Serialize` or `PartialEq`, for generated code.
//!
//! Rust prefers an inherent method to a trait method, and finds it only if its bound holds.

use serde::Serialize;

use crate::fingerprint::fingerprint;

/// A value to fingerprint or to compare.
pub struct Comparing<'a, C>(pub &'a C);

impl<C: Serialize> Comparing<'_, C> {
    /// [`fingerprint`] of a command that is `Serialize`.
    #[must_use]
    pub fn fingerprint_if_serialize(self) -> Option<u64> {
        fingerprint(self.0)
    }
}

/// The result for a command that is not `Serialize`: it has no fingerprint.
pub trait NotComparable: Sized {
    /// `None`.
    #[must_use]
    fn fingerprint_if_serialize(self) -> Option<u64> {
        None
    }
}

impl<C> NotComparable for Comparing<'_, C> {}

impl<C: PartialEq> Comparing<'_, C> {
    /// Whether two `PartialEq` values are equal.
    #[must_use]
    pub fn same_if_partial_eq(self, other: &C) -> Option<bool> {
        Some(self.0 == other)
    }
}

/// The result for values that are not `PartialEq`: they cannot be compared.
pub trait NotEquatable<C>: Sized {
    /// `None`.
    #[must_use]
    fn same_if_partial_eq(self, other: &C) -> Option<bool> {
        let _ = other;
        None
    }
}

impl<C> NotEquatable<C> for Comparing<'_, C> {}

/// Whether two values are equal, if their type is `PartialEq`.
#[doc(hidden)]
#[macro_export]
macro_rules! __is_same {
    ($left:expr, $right:expr) => {{
        #[allow(unused_imports, reason = "a type that is `PartialEq` does not need it")]
        use $crate::__private::NotEquatable as _;
        $crate::__private::Comparing($left).same_if_partial_eq($right)
    }};
}

/// The fingerprint of a command, if its type is `Serialize`.
#[doc(hidden)]
#[macro_export]
macro_rules! __fingerprint {
    ($command:expr) => {{
        #[allow(unused_imports, reason = "a type that is `Serialize` does not need it")]
        use $crate::__private::NotComparable as _;
        $crate::__private::Comparing($command).fingerprint_if_serialize()
    }};
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_value_that_does_not_serialize_has_no_fingerprint() {
        struct Plain;
        assert_eq!(__fingerprint!(&Plain), None);
        assert_eq!(__fingerprint!(&7), fingerprint(&7));
        let map = HashMap::from([((1, 2), 3)]);
        assert_eq!(__fingerprint!(&map), None);
    }

    #[test]
    fn values_that_are_not_partial_eq_are_not_compared() {
        struct Plain;
        assert_eq!(__is_same!(&Plain, &Plain), None);
        assert_eq!(__is_same!(&7, &7), Some(true));
        assert_eq!(__is_same!(&7, &8), Some(false));
    }
}
