//! The difference between the expected and the actual text, line by line.

use std::fmt::Write as _;

/// The lines of both texts: `-` before an expected line that is missing, `+` before an unexpected line.
///
/// `None` if they are equal.
pub(super) fn diff(expected: &str, actual: &str) -> Option<String> {
    if expected == actual {
        return None;
    }
    let expected: Vec<&str> = expected.lines().collect();
    let actual: Vec<&str> = actual.lines().collect();
    let common = common_lines(&expected, &actual);
    let mut printed = String::new();
    let mut line = |sign: char, text: &str| {
        let _ = writeln!(printed, "{sign} {text}");
    };
    let (mut left, mut right) = (expected.iter(), actual.iter());
    for shared in common {
        for text in left.by_ref().take_while(|text| **text != shared) {
            line('-', text);
        }
        for text in right.by_ref().take_while(|text| **text != shared) {
            line('+', text);
        }
        line(' ', shared);
    }
    left.for_each(|text| line('-', text));
    right.for_each(|text| line('+', text));
    Some(printed)
}

/// A longest common sequence of lines, in order.
fn common_lines<'a>(left: &[&'a str], right: &[&'a str]) -> Vec<&'a str> {
    // Row by row from the end: the length of the longest common sequence of the following lines.
    let width = right.len() + 1;
    let mut lengths = vec![vec![0_usize; width]];
    for line in left.iter().rev() {
        let below = lengths.last().cloned().unwrap_or_default();
        let mut row = vec![0_usize];
        for (index, other) in right.iter().rev().enumerate() {
            let beside = row.last().copied().unwrap_or_default();
            let at = |index: usize| below.get(index).copied().unwrap_or_default();
            row.push(if line == other {
                at(index) + 1
            } else {
                beside.max(at(index + 1))
            });
        }
        lengths.push(row);
    }
    let length_behind = |left_rest: usize, right_rest: usize| {
        let row = lengths.get(left_rest);
        row.and_then(|row| row.get(right_rest))
            .copied()
            .unwrap_or_default()
    };
    let mut common = Vec::new();
    let (mut left_rest, mut right_rest) = (left, right);
    while let ([line, left_tail @ ..], [other, right_tail @ ..]) = (left_rest, right_rest) {
        if line == other {
            common.push(*line);
            (left_rest, right_rest) = (left_tail, right_tail);
        } else if length_behind(left_tail.len(), right_rest.len())
            >= length_behind(left_rest.len(), right_tail.len())
        {
            left_rest = left_tail;
        } else {
            right_rest = right_tail;
        }
    }
    common
}

/// Fails the test that calls this unless both texts are equal.
#[track_caller]
pub(super) fn assert_same(what: &str, expected: &str, actual: &str) {
    if let Some(diff) = diff(expected, actual) {
        panic!("{what}\n(`-` was expected, `+` is there)\n\n{diff}");
    }
}

#[cfg(test)]
mod tests {
    use super::diff;

    fn printed(expected: &str, actual: &str) -> String {
        diff(expected, actual).unwrap_or_default()
    }

    #[test]
    fn equal_texts_do_not_differ() {
        assert_eq!(diff("a\nb", "a\nb"), None);
        assert_eq!(diff("", ""), None);
    }

    #[test]
    fn what_both_have_is_kept_in_order() {
        assert_eq!(printed("a\nb\nc", "a\nx\nc"), "  a\n- b\n+ x\n  c\n");
        assert_eq!(printed("a\nb", "b\nc"), "- a\n  b\n+ c\n");
        assert_eq!(printed("a", ""), "- a\n");
        assert_eq!(printed("", "a"), "+ a\n");
        assert_eq!(printed("a\na\nb", "a\nb\na\nb"), "  a\n+ b\n  a\n  b\n");
        assert_eq!(printed("x", "y"), "- x\n+ y\n");
    }
}
