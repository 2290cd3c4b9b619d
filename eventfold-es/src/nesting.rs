//! The maximum depth of nested values: all readers of stored values must be able to read them, including eventfold.

/// The number of lists and objects that may be nested in a value of the user. Readers of JSON, including eventfold,
/// accept 127 in a whole line. The rest is for the levels that the store adds: ten in a commit.
pub(crate) const MAX_DEPTH: usize = 100;

/// The message for a value that nests deeper than [`MAX_DEPTH`].
pub(crate) const TOO_DEEP: &str = "it is nested more than 100 levels deep, and would come close to the recursion limit of JSON readers where it is stored";

/// Whether more than `levels` lists and objects are nested in a JSON text.
pub(crate) fn is_deeper(json: &str, levels: usize) -> bool {
    // Few texts have so many brackets at all, and counting them is fast.
    if memchr::memchr2_iter(b'[', b'{', json.as_bytes())
        .nth(levels)
        .is_none()
    {
        return false;
    }
    let (mut depth, mut is_text, mut bytes) = (0_usize, false, json.bytes());
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => is_text = !is_text,
            b'\\' if is_text => drop(bytes.next()),
            b'[' | b'{' if !is_text => {
                depth += 1;
                if depth > levels {
                    return true;
                }
            }
            b']' | b'}' if !is_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_depth_of_a_text_counts_what_is_no_string() {
        for (json, depth) in [
            ("1", 0),
            ("[]", 1),
            (r#"{"a":[1,{"b":{}}],"c":[]}"#, 4),
            (r#"["[[[[[{{{{"]"#, 1),
            (r#"["\"[[[[[{"]"#, 1),
            (r#"["\\",[[]],"]"]"#, 3),
        ] {
            for levels in 0..8 {
                assert_eq!(is_deeper(json, levels), depth > levels, "{json}, {levels}");
            }
        }
    }
}
