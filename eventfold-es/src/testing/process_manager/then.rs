//! Expectations of a process manager.

use std::fmt::Display;

use super::ProcessManagerTest;
use super::simulation::{Last, stored_state};
use crate::process_manager::ProcessManager;
use crate::testing::diff::assert_same;
use crate::testing::expected::{Expected, printed};
use crate::testing::print::printed_value;

impl<PM: ProcessManager> ProcessManagerTest<PM> {
    /// Expects exactly the effects `expected`.
    ///
    /// # Panics
    ///
    /// If its effects differ, or it fails to react; the message shows the difference.
    #[track_caller]
    pub fn then(self, expected: impl FnOnce(Expected<PM>) -> Expected<PM>) -> Self {
        let expected = expected(Expected::new(self.now)).into_parts();
        let last = self.last();
        if let Some(reason) = last.failed.first() {
            panic!("`{}` fails to react: {reason}", PM::NAME);
        }
        let with_keys = expected.has_names() || last.parts.len() > 1;
        assert_same(
            &format!("`{}` does not do what is expected", PM::NAME),
            &printed(&expected.into_vec(), with_keys),
            &printed(&last.parts, with_keys),
        );
        self
    }

    /// Expects no effects.
    ///
    /// # Panics
    ///
    /// As [`then`](Self::then).
    #[track_caller]
    pub fn then_nothing(self) -> Self {
        self.then(|expected| expected)
    }

    /// Expects that the event or deadline is ignored, because it belongs to no instance.
    ///
    /// # Panics
    ///
    /// If an instance reacted to it.
    #[track_caller]
    pub fn then_ignored(self) -> Self {
        let last = self.last();
        let is_ignored = last.parts.is_empty() && last.failed.is_empty();
        assert!(
            is_ignored,
            "`{}` was expected to ignore it, but reacts\n{}{}",
            PM::NAME,
            printed(&last.parts, true),
            last.failed.join("\n")
        );
        self
    }

    /// Expects that the process manager cannot react, for a reason that contains `reason`.
    ///
    /// # Panics
    ///
    /// If it can react, or fails for another reason.
    #[track_caller]
    pub fn then_fails(self, reason: &str) -> Self {
        let last = self.last();
        match last.failed.first() {
            Some(failed) => assert!(
                failed.contains(reason),
                "`{}` fails to react for another reason than expected\n- {reason}\n+ {failed}",
                PM::NAME
            ),
            None => panic!(
                "`{}` was expected to fail with `{reason}`, but reacts\n{}",
                PM::NAME,
                printed(&last.parts, true)
            ),
        }
        self
    }

    /// Expects `state` as the state of the only open instance. It compares the stored form of both.
    ///
    /// # Panics
    ///
    /// If the state differs, or if there is no open instance, or more than one.
    #[track_caller]
    pub fn then_state(self, state: &PM) -> Self {
        let keys = self.open_instances();
        match keys.as_slice() {
            [key] => {
                let key = (*key).to_owned();
                self.then_state_of(key, state)
            }
            [] => panic!("`{}` has no instance that is open", PM::NAME),
            _ => panic!(
                "`{}` has several instances: say which with `then_state_of`; open are {keys:?}",
                PM::NAME
            ),
        }
    }

    /// Expects `state` as the state of the instance `key`. It compares the stored form of both.
    ///
    /// # Panics
    ///
    /// If the state differs, or if that instance is not open.
    #[track_caller]
    pub fn then_state_of(self, key: impl Display, state: &PM) -> Self {
        let key = key.to_string();
        let mut instances = self.offline.instances();
        let found = instances.find(|(found, _)| *found == key);
        let Some(found) = found.and_then(|(_, state)| state) else {
            panic!("`{}` has no open instance `{key}`", PM::NAME);
        };
        drop(instances);
        let found: PM = stored_state(found.get());
        assert_same(
            &format!("the state of `{}` is not as expected", PM::NAME),
            &printed_value(state),
            &printed_value(&found),
        );
        self
    }

    /// The keys of the open instances, in order.
    #[must_use]
    pub fn open_instances(&self) -> Vec<&str> {
        let instances = self.offline.instances();
        let open = instances.filter(|(_, state)| state.is_some());
        open.map(|(key, _)| key).collect()
    }

    #[track_caller]
    fn last(&self) -> &Last {
        match &self.last {
            Some(last) => last,
            None => panic!("nothing was done yet: a test says what happens with `when(..)`"),
        }
    }
}
