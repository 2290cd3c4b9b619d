//! Texts for errors that quote data of any length, within a bound.

use std::fmt::Display;

/// The longest quoted id, in characters.
const ID_CHARS: usize = 64;
/// The parts of a long reason that stay, in characters: serde names the expected type and the place at the end.
const BEGIN_CHARS: usize = 600;
const END_CHARS: usize = 399;

/// An id, a key or a name for an error. Behind its first 64 characters there is `…`.
pub(crate) fn id(text: &str) -> String {
    match text.char_indices().nth(ID_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The text of an error that may quote a value, in at most 1,000 characters: its begin, `…` and its end.
pub(crate) fn reason(error: impl Display) -> String {
    let text = error.to_string();
    if text.chars().nth(BEGIN_CHARS + END_CHARS + 1).is_none() {
        return text;
    }
    let begin: String = text.chars().take(BEGIN_CHARS).collect();
    let end = text.char_indices().nth_back(END_CHARS - 1);
    let end = end.and_then(|(at, _)| text.get(at..)).unwrap_or_default();
    format!("{begin}…{end}")
}

#[cfg(test)]
mod tests {
    use super::{id, reason};

    #[test]
    fn an_id_is_cut_visibly() {
        assert_eq!(id(&"日".repeat(64)), "日".repeat(64));
        assert_eq!(id(&"日".repeat(65)), format!("{}…", "日".repeat(64)));
    }

    #[test]
    fn a_reason_keeps_its_begin_and_its_end() {
        for length in [0, 999, 1_000] {
            assert_eq!(reason("日".repeat(length)), "日".repeat(length));
        }
        for length in [1_001, 4 << 20] {
            let long = format!("begin{}end", "日".repeat(length - 8));
            let cut = reason(&*long);
            assert_eq!(cut.chars().count(), 1_000);
            assert!(cut.starts_with("begin日") && cut.ends_with("日end") && cut.contains('…'));
        }
    }
}
