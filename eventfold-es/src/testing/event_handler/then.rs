//! Expectations of an event handler.

use super::calls::Last;
use super::{EventHandlerTest, ExpectedCalls};
use crate::event_handler::EventHandler;
use crate::testing::diff::assert_same;
use crate::testing::expected::{Part, printed_all};

impl<H: EventHandler> EventHandlerTest<H> {
    /// Expects exactly the calls `expected`, each with its commands or its failure.
    ///
    /// # Panics
    ///
    /// If they differ; the message shows the difference.
    #[track_caller]
    pub fn then(self, expected: impl FnOnce(ExpectedCalls<H>) -> ExpectedCalls<H>) -> Self {
        let expected = expected(ExpectedCalls::new()).into_parts();
        let last = self.last();
        let with_names = expected.has_names() || last.parts.len() > 1;
        let mut expected = expected.into_vec();
        for (expected, part) in expected.iter_mut().zip(&last.parts) {
            // The expected reason is a part of the text.
            if let (Some(reason), Some(actual)) = (&mut expected.failure, &part.failure)
                && actual.contains(&**reason)
            {
                reason.clone_from(actual);
            }
        }
        // A call without effects is an expectation only if it has a name.
        let shown: Vec<&Part> = match with_names {
            true => last.parts.iter().collect(),
            false => last.parts.iter().filter(|part| !part.is_empty()).collect(),
        };
        assert_same(
            &format!("the calls of `{}` are not as expected", H::NAME),
            &printed_all(&expected, with_names),
            &printed_all(shown, with_names),
        );
        self
    }

    /// Expects that it is called and has no effects: it sends no command and does not fail.
    ///
    /// # Panics
    ///
    /// If it is not called, if it sends a command, or if it fails.
    #[track_caller]
    pub fn then_nothing(self) -> Self {
        let last = self.last();
        assert!(
            last.is_called(),
            "`{}` was expected to be called, and is not; held are {:?}",
            H::NAME,
            self.held_keys()
        );
        let with_effects = last.parts.iter().filter(|part| !part.is_empty());
        let actual = printed_all(with_effects, last.parts.len() > 1);
        let what = format!("`{}` was expected to send nothing", H::NAME);
        assert_same(&what, "", &actual);
        self
    }

    /// Expects that it is not called: no retry is due, or the key of the event holds it.
    ///
    /// # Panics
    ///
    /// If it is called.
    #[track_caller]
    pub fn then_not_called(self) -> Self {
        let last = self.last();
        let actual = printed_all(&last.parts, true);
        let what = format!("`{}` was expected not to be called", H::NAME);
        assert_same(&what, "", &actual);
        self
    }

    #[track_caller]
    fn last(&self) -> &Last {
        match &self.last {
            Some(last) => last,
            None => panic!("nothing was done yet: a test says what happens with `when(..)`"),
        }
    }
}

impl Last {
    fn is_called(&self) -> bool {
        self.works.iter().any(|work| !work.calls.is_empty())
    }
}
