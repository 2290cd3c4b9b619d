//! Guards around code of the user, which may panic. They call this code, and drop its values.

use std::any::{Any, type_name};
use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use serde::{Deserialize, Deserializer};

use crate::error::StoreError;

/// Runs code of the user. A panic becomes an error that names the code.
///
/// The caller discards the value that the code was changing.
pub(crate) fn guard<T>(
    what: impl FnOnce() -> String,
    run: impl FnOnce() -> T,
) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| StoreError::Panicked {
        what: what(),
        message: message(payload),
    })
}

/// Runs a task. A panic that no other guard has caught becomes an error that names the task.
pub(crate) async fn guard_task<T>(
    what: impl Fn() -> String,
    task: impl Future<Output = T>,
) -> Result<T, StoreError> {
    let mut task = pin!(task);
    poll_fn(|cx| match guard(&what, || task.as_mut().poll(cx)) {
        Ok(polled) => polled.map(Ok),
        Err(error) => Poll::Ready(Err(error)),
    })
    .await
}

/// Runs blocking code, on the pool of the runtime.
///
/// A panic becomes an error that names the code. The end of the runtime is another error, since the result of the code
/// is then unknown.
pub(crate) async fn blocking<T: Send + 'static>(
    what: impl FnOnce() -> String,
    run: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let span = tracing::Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(run)).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(payload) => Err(StoreError::Panicked {
                what: what(),
                message: message(payload),
            }),
            Err(_) => Err(StoreError::RuntimeGone),
        },
    }
}

fn message(payload: Box<dyn Any + Send>) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    // The payload may be any value of the user.
    drop(Kept::new(payload));
    text
}

/// A value of the user, whose `Drop` may panic. Such a panic is caught and logged, even while another panic unwinds: no
/// command depends on it.
pub(crate) struct Kept<T>(Option<T>);

impl<T> Kept<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Some(value))
    }

    /// Wraps each value separately, since the drop of a list ends the process at its second panic.
    pub(crate) fn each<C: FromIterator<Self>>(values: impl IntoIterator<Item = T>) -> C {
        values.into_iter().map(Self::new).collect()
    }

    /// The value. The caller is responsible for dropping it.
    pub(crate) fn into_inner(mut self) -> T {
        match self.0.take() {
            Some(value) => value,
            None => unreachable!("{GONE}"),
        }
    }
}

const GONE: &str = "a kept value is there until it is dropped";

impl<T> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.0 {
            Some(value) => value,
            None => unreachable!("{GONE}"),
        }
    }
}

impl<T> DerefMut for Kept<T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.0 {
            Some(value) => value,
            None => unreachable!("{GONE}"),
        }
    }
}

impl<T: Default> Default for Kept<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Kept<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::new)
    }
}

impl<T: fmt::Debug> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T> Drop for Kept<T> {
    fn drop(&mut self) {
        let Some(value) = self.0.take() else {
            return;
        };
        if !std::mem::needs_drop::<T>() {
            return;
        }
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
            tracing::error!(
                value = type_name::<T>(),
                message = message(payload),
                "the drop of a value panicked"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Loud;

    impl Drop for Loud {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("loud"));
        }
    }

    #[test]
    fn a_drop_that_panics_ends_there_also_while_another_panic_unwinds() {
        drop(Kept::new(Loud));
        drop(Kept::<Loud>::each::<Vec<_>>([Loud, Loud, Loud]));
        let panicked = guard(
            || "it".to_owned(),
            || {
                let _kept = Kept::new(Loud);
                std::panic::resume_unwind(Box::new("first"));
            },
        );
        let panicked: Result<(), _> = panicked;
        assert!(
            matches!(&panicked, Err(StoreError::Panicked { message, .. }) if message == "first")
        );
    }

    #[test]
    fn what_a_panic_carries_may_panic_too() {
        let panicked: Result<(), _> = guard(
            || "it".to_owned(),
            || std::panic::resume_unwind(Box::new(Loud)),
        );
        assert!(
            matches!(panicked, Err(StoreError::Panicked { message, .. }) if message == "no message")
        );
    }
}
