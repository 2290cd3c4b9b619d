//! Whether a type reads the stored values of another type, as far as their names determine it.

/// Whether serde_json reads as `new` everything that it wrote as `old`, with the same meaning.
pub(super) fn reads(old: &str, new: &str) -> bool {
    let (old, new) = (bare(old), bare(new));
    if old == new {
        return true;
    }
    if let Some(new) = argument(new, "Option") {
        // `Option<Option<T>>` does not distinguish its two kinds of `None`.
        return reads(argument(old, "Option").unwrap_or(old), new);
    }
    if let (Some(old), Some(new)) = (argument(old, "Vec"), argument(new, "Vec")) {
        return reads(old, new);
    }
    widens(old, new)
}

/// The type without wrappers that serde ignores.
fn bare(mut name: &str) -> &str {
    loop {
        name = name.trim();
        let prefixes = [
            "::std::",
            "std::",
            "::core::",
            "core::",
            "::alloc::",
            "alloc::",
        ];
        if prefixes.iter().any(|prefix| name.starts_with(prefix)) {
            let head = name.split('<').next().unwrap_or(name);
            let Some(at) = head.rfind("::") else {
                return name;
            };
            name = name.get(at + 2..).unwrap_or(name);
            continue;
        }
        let inner = ["Box", "Arc", "Rc"]
            .iter()
            .find_map(|wrapper| argument(name, wrapper));
        match inner {
            Some("str") => return "String",
            Some(inner) => name = inner,
            None => return name,
        }
    }
}

/// `T` of `Wrapper<T>`.
fn argument<'a>(name: &'a str, wrapper: &str) -> Option<&'a str> {
    let inner = name.strip_prefix(wrapper)?.trim_start().strip_prefix('<')?;
    inner.strip_suffix('>').map(str::trim)
}

/// Whether every number of `old` is a number of `new`.
fn widens(old: &str, new: &str) -> bool {
    match (integer(old), integer(new)) {
        (Some((was_signed, old)), Some((is_signed, new))) => match (was_signed, is_signed) {
            (false, true) => new > old,
            (true, false) => false,
            _ => new >= old,
        },
        // An integer of up to 32 bits is exact as an `f64`.
        (Some((_, bits)), None) => new == "f64" && bits <= 32,
        (None, _) => old == "f32" && new == "f64",
    }
}

/// Whether an integer type is signed, and its number of bits.
fn integer(name: &str) -> Option<(bool, u32)> {
    Some(match name {
        "u8" => (false, 8),
        "u16" => (false, 16),
        "u32" => (false, 32),
        "u64" | "usize" => (false, 64),
        "u128" => (false, 128),
        "i8" => (true, 8),
        "i16" => (true, 16),
        "i32" => (true, 32),
        "i64" | "isize" => (true, 64),
        "i128" => (true, 128),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::reads;

    #[test]
    fn a_type_reads_what_fits_into_it() {
        for (old, new) in [
            ("u32", "u32"),
            ("u32", "u64"),
            ("u32", "i64"),
            ("i8", "i16"),
            ("u32", "f64"),
            ("f32", "f64"),
            ("u32", "Option<u32>"),
            ("u32", "Option<u64>"),
            ("Option<u8>", "Option<u16>"),
            ("Vec<u8>", "Vec<u16>"),
            ("Box<Line>", "Line"),
            ("String", "Box<str>"),
            ("std::string::String", "String"),
            ("::std::option::Option<u8>", "Option<u8>"),
            ("String", "Option<Arc<str>>"),
        ] {
            assert!(reads(old, new), "{old} -> {new}");
        }
        for (old, new) in [
            ("u64", "u32"),
            ("i32", "u64"),
            ("u32", "i32"),
            ("u64", "f64"),
            ("f64", "f32"),
            ("f64", "u32"),
            ("Option<u32>", "u32"),
            ("u32", "String"),
            ("a::Money", "b::Money"),
            ("Vec<u16>", "Vec<u8>"),
            ("Vec<u8>", "Option<u8>"),
            ("bool", "u8"),
        ] {
            assert!(!reads(old, new), "{old} -> {new}");
        }
    }
}
