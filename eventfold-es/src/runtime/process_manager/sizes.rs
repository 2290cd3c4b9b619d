//! Commits that are larger than an entry of the replicated log. The work that makes one is found, and fails by the policy.
//!
//! The journal says of a commit in flight that it is too large. By then, other commits are behind it, and it may have the rows of several
//! pieces of work. So the driver goes back, and for a while commits each piece alone and waits for it. The piece whose own commit is too large
//! fails in its next delivery, without a call of user code.

use crate::process_manager::FailureCause;

/// The pieces of work that are committed alone.
#[derive(Debug)]
pub(super) struct Sizes {
    /// The position up to which they are.
    until: u64,
    /// The piece that began last.
    begun: Option<String>,
    /// The piece whose commit is too large, and the cause of its failure.
    denied: Option<(String, FailureCause)>,
}

/// The next step after a commit that is too large.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Deliver again. More is known now.
    Again,
    /// Wait, and deliver again: no piece of work made the commit.
    Later,
    /// Its failure is too large as well.
    Halt,
}

impl Sizes {
    /// Takes the refusal of a commit at a position. `sizes` is there from the first refusal on.
    pub(super) fn too_large(sizes: &mut Option<Self>, position: u64, reason: &str) -> Next {
        let Some(sizes) = sizes else {
            *sizes = Some(Self {
                until: position,
                begun: None,
                denied: None,
            });
            return Next::Again;
        };
        sizes.until = sizes.until.max(position);
        let Some(what) = sizes.begun.take() else {
            return Next::Later;
        };
        if matches!(&sizes.denied, Some((denied, _)) if *denied == what) {
            return Next::Halt;
        }
        let reason = reason.to_owned();
        sizes.denied = Some((what, FailureCause::TooLarge { reason }));
        Next::Again
    }

    /// Notes the beginning of a piece of work.
    pub(super) fn begins(&mut self, what: &str) {
        self.begun = Some(what.to_owned());
    }

    /// The commit of the piece is stored.
    pub(super) fn ends(&mut self) {
        self.begun = None;
    }

    /// The cause of the failure of a piece of work, if its commit is too large.
    pub(super) fn denied(&self, what: &str) -> Option<FailureCause> {
        let denied = self.denied.as_ref().filter(|(denied, _)| denied == what);
        denied.map(|(_, cause)| cause.clone())
    }

    /// Whether all pieces up to this durable position have passed.
    pub(super) fn have_passed(&self, position: u64) -> bool {
        position > self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_piece_of_a_large_commit_is_found() {
        let mut sizes = None;
        let too_large = |sizes: &mut Option<Sizes>| Sizes::too_large(sizes, 7, "9 bytes");
        let begins = |sizes: &mut Option<Sizes>, what| {
            let sizes = sizes.as_mut()?;
            sizes.begins(what);
            sizes.denied(what)
        };
        assert_eq!(too_large(&mut sizes), Next::Again);
        assert_eq!(too_large(&mut sizes), Next::Later);
        assert!(begins(&mut sizes, "a").is_none());
        assert!(begins(&mut sizes, "b").is_none());
        assert_eq!(too_large(&mut sizes), Next::Again);
        assert!(begins(&mut sizes, "a").is_none());
        let denied = begins(&mut sizes, "b");
        assert!(denied.is_some_and(|cause| cause.to_string().contains("9 bytes")));
        assert_eq!(too_large(&mut sizes), Next::Halt);
        assert!(begins(&mut sizes, "a").is_none());
        sizes.iter_mut().for_each(Sizes::ends);
        assert_eq!(too_large(&mut sizes), Next::Later);
        assert!(sizes.is_some_and(|sizes| !sizes.have_passed(7) && sizes.have_passed(8)));
    }
}
