//! Detects code that runs inside a reaction. If such code waited for the store, it would wait for itself.

use std::cell::Cell;

use crate::error::StoreError;

thread_local! {
    /// The process manager whose code this thread runs.
    static REACTING: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Runs code of a process manager. Its requests to the store on this thread are refused.
pub(super) fn inside_reaction<T>(process_manager: &'static str, run: impl FnOnce() -> T) -> T {
    struct Leave(Option<&'static str>);
    impl Drop for Leave {
        fn drop(&mut self) {
            REACTING.set(self.0);
        }
    }
    let _leave = Leave(REACTING.replace(Some(process_manager)));
    run()
}

/// Refuses a request that would wait for the reaction that makes it.
///
/// # Errors
///
/// [`StoreError::InsideReaction`] inside a reaction.
pub(crate) fn refuse_inside_reaction() -> Result<(), StoreError> {
    match REACTING.get() {
        None => Ok(()),
        Some(name) => Err(StoreError::InsideReaction {
            process_manager: name.to_owned(),
        }),
    }
}
