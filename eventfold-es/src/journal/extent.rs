use serde::{Deserialize, Serialize};
use xxhash_rust::xxh64::xxh64;

/// The digest of a file of dead letters. Changing, adding or removing a line changes the digest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Extent {
    /// The number of lines.
    pub(crate) lines: u64,
    /// The length in bytes, newlines included.
    pub(super) bytes: u64,
    /// The hash of all lines: xxh64 of the last line, seeded with the hash of the lines before it.
    #[serde(with = "hexadecimal")]
    pub(super) hash: u64,
}

impl Extent {
    /// Adds one line, given without its newline.
    pub(super) fn push(&mut self, line: &str) {
        self.lines += 1;
        self.bytes += line.len() as u64 + 1;
        self.hash = xxh64(line.as_bytes(), self.hash);
    }

    /// Whether a text begins with exactly these lines.
    pub(super) fn is_prefix_of(self, text: &[u8]) -> bool {
        let length = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        let lines = text.split_at_checked(length).map(|(lines, _)| lines);
        let Some(Ok(lines)) = lines.map(std::str::from_utf8) else {
            return false;
        };
        let mut extent = Self::default();
        extent.push_text(lines);
        extent == self && (lines.is_empty() || lines.ends_with('\n'))
    }

    /// Adds all lines of a text. A last line without a newline counts like a line with one.
    pub(super) fn push_text(&mut self, text: &str) {
        for line in text.split_terminator('\n') {
            self.push(line);
        }
    }
}

mod hexadecimal {
    use std::borrow::Cow;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(hash: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{hash:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let Digits(digits) = Digits::deserialize(deserializer)?;
        u64::from_str_radix(&digits, 16).map_err(serde::de::Error::custom)
    }

    /// Unlike a plain `Cow`, it borrows if possible.
    #[derive(Deserialize)]
    struct Digits<'a>(#[serde(borrow)] Cow<'a, str>);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Extent {
        let mut extent = Extent::default();
        extent.push_text(text);
        extent
    }

    #[test]
    fn lines_count_one_by_one_or_together() {
        let mut extent = of("one\ntwo\n");
        assert_eq!((extent.lines, extent.bytes), (2, 8));
        extent.push("three");
        assert_eq!(extent, of("one\ntwo\nthree\n"));
    }

    #[test]
    fn every_change_gives_another_extent() {
        let text = "one\ntwo\nthree\n";
        let whole = of(text);
        for changed in [
            "one\ntwo\n",
            "one\ntwo\nthree\nfour\n",
            "two\none\nthree\n",
            "one\ntwo\nthrea\n",
            "one\ntw\nothree\n",
            "onetwo\n\nthree\n",
        ] {
            assert_ne!(of(changed), whole, "{changed:?}");
        }
    }

    #[test]
    fn it_reads_back() -> Result<(), serde_json::Error> {
        let extent = of("one\n");
        let written = serde_json::to_string(&extent)?;
        assert_eq!(serde_json::from_str::<Extent>(&written)?, extent);
        Ok(())
    }
}
