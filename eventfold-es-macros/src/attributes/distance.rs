//! The distance of a word from the intended word.

/// The Levenshtein distance between two keys.
pub(crate) fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (row_index, a) in left.chars().enumerate() {
        let mut diagonal = row_index;
        let mut beside = row_index + 1;
        let mut next = vec![beside];
        for (above, b) in row.iter().skip(1).zip(right.chars()) {
            beside = (diagonal + usize::from(a != b))
                .min(above + 1)
                .min(beside + 1);
            diagonal = *above;
            next.push(beside);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn distances() {
        assert_eq!(distance("name", "name"), 0);
        assert_eq!(distance("name", "nmae"), 2);
        assert_eq!(distance("subscribes", "subscribs"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
    }
}
