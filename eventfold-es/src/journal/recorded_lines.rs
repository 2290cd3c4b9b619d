use std::ops::Range;
use std::sync::Arc;

/// The lines of the events that a durable commit appended to one stream: one eventfold event each, as JSON without a newline.
#[derive(Debug, Clone)]
pub(crate) enum RecordedLines {
    /// The lines are not part of a text yet.
    Own(Vec<Box<str>>),
    /// The lines are parts of a text that was written or read at once, and that many commits share.
    Shared {
        text: Arc<String>,
        first: Range<usize>,
        more: Box<[Range<usize>]>,
    },
}

impl RecordedLines {
    /// Lines that are slices of `text`.
    pub(super) fn shared(text: &Arc<String>, lines: &[&str]) -> Self {
        Self::at(text, lines.iter().map(|line| place_in(text, line)))
    }

    /// Lines at these ranges of `text`.
    pub(super) fn at(text: &Arc<String>, mut places: impl Iterator<Item = Range<usize>>) -> Self {
        match places.next() {
            None => Self::Own(Vec::new()),
            Some(first) => Self::Shared {
                text: Arc::clone(text),
                first,
                more: places.collect(),
            },
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Own(lines) => lines.len(),
            Self::Shared { more, .. } => 1 + more.len(),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|index| self.get(index).unwrap_or_default())
    }

    pub(crate) fn get(&self, index: usize) -> Option<&str> {
        match self {
            Self::Own(lines) => lines.get(index).map(|line| &**line),
            Self::Shared { text, first, more } => {
                let place = match index.checked_sub(1) {
                    None => first,
                    Some(index) => more.get(index)?,
                };
                text.get(place.clone())
            }
        }
    }
}

/// The range of a slice of a text. It is beyond the text for any other string.
pub(super) fn place_in(text: &str, part: &str) -> Range<usize> {
    let place = part.as_ptr().addr().wrapping_sub(text.as_ptr().addr());
    place..place.wrapping_add(part.len())
}

impl From<Vec<Box<str>>> for RecordedLines {
    fn from(lines: Vec<Box<str>>) -> Self {
        Self::Own(lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_lines_are_those_of_the_text() {
        let text = Arc::new("[{},{\"ö\":1},[]]".to_owned());
        for expected in [&[][..], &["{}"], &["{\"ö\":1}", "[]", "{}"]] {
            let found = |line: &&str| text.find(line).and_then(|at| text.get(at..at + line.len()));
            let lines: Vec<_> = expected.iter().filter_map(found).collect();
            let shared = RecordedLines::shared(&text, &lines);
            assert_eq!(shared.iter().collect::<Vec<_>>(), expected);
            assert_eq!(shared.len(), expected.len());
        }
    }
}
