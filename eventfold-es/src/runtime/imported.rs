//! The mark of an imported event, which process managers skip.

use serde::Deserialize;

/// The field that [`mark`] adds to a line. The readers of eventfold ignore it.
pub(crate) const IMPORTED: &str = "imported";

/// Marks the line of an event, an object with at least one field.
pub(crate) fn mark(line: &str) -> String {
    let open = line.strip_suffix('}').unwrap_or(line);
    format!("{open},\"{IMPORTED}\":true}}")
}

/// Whether the line has the mark.
pub(crate) fn is_imported(line: &str) -> bool {
    #[derive(Deserialize)]
    struct Fields {
        imported: Option<bool>,
    }
    // Few lines contain this text. Parsing decides whether it is the mark, or a part of the event.
    line.contains("\"imported\":true")
        && serde_json::from_str(line).is_ok_and(|Fields { imported }| imported == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_seen_and_changes_no_event() -> Result<(), serde_json::Error> {
        let line = r#"{"type":"A","data":{"imported":true},"ts":1,"meta":{"imported":true}}"#;
        assert!(!is_imported(line));
        let marked = mark(line);
        assert!(is_imported(&marked));
        let (read, plain): (eventfold::Event, eventfold::Event) =
            (serde_json::from_str(&marked)?, serde_json::from_str(line)?);
        assert_eq!(read, plain);
        for other in [
            r#"{"type":"A","data":"\"imported\":true","ts":1}"#,
            r#"{"type":"A","data":1,"ts":1,"imported":"\"imported\":true"}"#,
            r#"{"type":"A","data":1,"ts":1,"imported":false}"#,
            "\"imported\":true",
        ] {
            assert!(!is_imported(other), "{other}");
        }
        Ok(())
    }
}
