//! What only a person, or a merge, can have written into a lock.

use super::read::Malformed;

/// What a merge leaves in a file that both sides have changed.
const MARKS: [&str; 4] = ["<<<<<<<", "|||||||", "=======", ">>>>>>>"];

/// Refuses the marks of a merge that was not resolved.
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

/// Refuses a name that stands twice where there is one of each, as after a merge that kept both sides.
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
