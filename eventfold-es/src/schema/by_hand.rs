//! Detecting mistakes that only a person, or a merge, can have written into a lock.

use super::read::Malformed;

/// The marks of a merge, in a file that both sides have changed.
const MARKS: [&str; 4] = ["<<<<<<<", "|||||||", "=======", ">>>>>>>"];

/// Refuses the marks of an unresolved merge.
pub(super) fn refuse_marks_of_a_merge(text: &str) -> Result<(), Malformed> {
    let marked = text
        .lines()
        .position(|line| MARKS.iter().any(|mark| line.starts_with(mark)));
    match marked {
        None => Ok(()),
        Some(index) => Err(Malformed {
            line: index + 1,
            reason: "this is a mark of a merge that was not resolved: take the lock of one side, and the test tells what the other \
                     side has added"
                .to_owned(),
        }),
    }
}

/// Refuses a second occurrence of a name that must be unique. For example, a merge that keeps both sides writes it
/// twice.
pub(super) fn refuse_second<'a>(
    name: &str,
    mut earlier: impl Iterator<Item = &'a String>,
    what: &str,
    line: usize,
) -> Result<(), Malformed> {
    if earlier.all(|earlier| earlier != name) {
        return Ok(());
    }
    Err(Malformed {
        line,
        reason: format!(
            "the {what} `{name}` stands here twice, as after a merge that kept both sides"
        ),
    })
}
