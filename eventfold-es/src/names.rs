//! The stored names of types, and their rules.
//!
//! A stored name is the directory of a projection or of a process manager. In an export it is also the directory of an
//! aggregate type's streams. It is 1 to 100 bytes of `[A-Za-z0-9._-]`. It does not start with `.` or `-`, and does not
//! end with `.`. It is not a device name of Windows (`con`, `nul`, `com1`, … with or without an extension), so that a
//! store can be copied to any file system.

use std::path::{Component, Path};

/// The longest stored name, in bytes.
pub const MAX_NAME_BYTES: usize = 100;

/// Whether `name` can be stored; usable in constant expressions.
///
/// # Examples
///
/// ```
/// use eventfold_es::names::is_storable;
///
/// const _: () = assert!(is_storable("order"));
/// assert!(!is_storable("a/b"));
/// assert!(!is_storable("nul.txt"));
/// ```
#[must_use]
pub const fn is_storable(name: &str) -> bool {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() > MAX_NAME_BYTES {
        return false;
    }
    let mut rest = bytes;
    let mut last = 0;
    let mut index = 0;
    while let [byte, tail @ ..] = rest {
        let storable = byte.is_ascii_alphanumeric() || matches!(*byte, b'.' | b'_' | b'-');
        if !storable || (index == 0 && matches!(*byte, b'.' | b'-')) {
            return false;
        }
        last = *byte;
        rest = tail;
        index += 1;
    }
    last != b'.' && !is_reserved_device(bytes)
}

/// Whether a file of this name is a device on Windows, regardless of its extension and case.
pub(crate) const fn is_reserved_device(name: &[u8]) -> bool {
    let stem = stem(name);
    match stem {
        [a, b, c] => {
            let stem = [
                a.to_ascii_lowercase(),
                b.to_ascii_lowercase(),
                c.to_ascii_lowercase(),
            ];
            matches!(&stem, b"con" | b"prn" | b"aux" | b"nul")
        }
        [a, b, c, b'0'..=b'9'] => {
            let stem = [
                a.to_ascii_lowercase(),
                b.to_ascii_lowercase(),
                c.to_ascii_lowercase(),
            ];
            matches!(&stem, b"com" | b"lpt")
        }
        _ => false,
    }
}

const fn stem(name: &[u8]) -> &[u8] {
    let mut rest = name;
    let mut length = 0;
    while let [byte, tail @ ..] = rest {
        if *byte == b'.' {
            break;
        }
        length += 1;
        rest = tail;
    }
    name.split_at(length).0
}

/// Whether two names are equal; usable in constant expressions.
#[must_use]
pub const fn equal(left: &str, right: &str) -> bool {
    let (mut left, mut right) = (left.as_bytes(), right.as_bytes());
    if left.len() != right.len() {
        return false;
    }
    while let ([a, left_tail @ ..], [b, right_tail @ ..]) = (left, right) {
        if *a != *b {
            return false;
        }
        left = left_tail;
        right = right_tail;
    }
    true
}

/// Whether the name at `index` also occurs in `names` before that index; usable in constant expressions.
#[must_use]
pub const fn is_repeated(names: &[&str], index: usize) -> bool {
    let Some((before, [name, ..])) = names.split_at_checked(index) else {
        return false;
    };
    let mut before = before;
    while let [earlier, tail @ ..] = before {
        if equal(earlier, name) {
            return true;
        }
        before = tail;
    }
    false
}

/// Whether two names are the same directory on a file system that ignores case.
pub(crate) const fn is_same_directory(left: &str, right: &str) -> bool {
    left.eq_ignore_ascii_case(right)
}

/// The path of a name, if it stays below its directory.
pub(crate) fn inside(name: &str) -> Option<String> {
    let mut levels = Vec::new();
    for component in Path::new(name).components() {
        match component {
            Component::Normal(level) => levels.push(level.to_str()?),
            Component::CurDir => {}
            _ => return None,
        }
    }
    (!levels.is_empty()).then(|| levels.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_stay_inside() {
        for (name, path) in [
            ("a", "a"),
            ("a/b", "a/b"),
            ("a//b/", "a/b"),
            ("./a", "a"),
            ("a b", "a b"),
        ] {
            assert_eq!(inside(name).as_deref(), Some(path), "{name}");
        }
        for name in ["", ".", "..", "../a", "a/../b", "/etc", "/"] {
            assert_eq!(inside(name), None, "{name}");
        }
    }

    #[test]
    fn names_that_can_be_stored() {
        for name in [
            "order", "Order", "a", "a.b", "x_y-z", "com10", "console", "nul-x",
        ] {
            assert!(is_storable(name), "{name}");
        }
        for name in [
            "", ".", "..", ".a", "-a", "a.", "a/b", "a b", "Ä", "con", "NUL", "nul.txt", "Com1",
            "lpt9.log", "a\n",
        ] {
            assert!(!is_storable(name), "{name}");
        }
        assert!(is_storable(&"a".repeat(MAX_NAME_BYTES)));
        assert!(!is_storable(&"a".repeat(MAX_NAME_BYTES + 1)));
    }

    #[test]
    fn repeated_names() {
        let names = ["a", "b", "a", "c"];
        let repeated: Vec<bool> = (0..5).map(|index| is_repeated(&names, index)).collect();
        assert_eq!(repeated, [false, false, true, false, false]);
    }

    #[test]
    fn equality_of_names() {
        assert!(equal("order", "order"));
        assert!(!equal("order", "Order"));
        assert!(!equal("order", "orders"));
    }
}
