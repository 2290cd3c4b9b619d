//! Guards around code of the user, which may panic. They call this code, and drop its values.

use std::any::{Any, type_name};
use std::fmt;
use std::future::{Future, poll_fn};
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use serde::{Deserialize, Deserializer};
use tokio::task::{JoinError, JoinHandle};

use crate::error::StoreError;

/// Runs code of the user. A panic becomes an error that names the code.
///
/// The caller discards the value that the code was changing.
pub(crate) fn guard<T>(
    what: impl FnOnce() -> String,
    run: impl FnOnce() -> T,
) -> Result<T, StoreError> {
    let (mut run, mut done) = (Some(run), None);
    let payload = caught(&mut || {
        if let Some(run) = run.take() {
            done = Some(run());
        }
    });
    match done {
        Some(done) => Ok(done),
        None => Err(panicked(what(), payload)),
    }
}

fn panicked(what: String, payload: Option<Box<dyn Any + Send>>) -> StoreError {
    let message = payload.map_or_else(String::new, message);
    StoreError::Panicked { what, message }
}

/// Runs code, and returns the payload if it panics. It is no generic function, so that it is compiled once.
fn caught(run: &mut dyn FnMut()) -> Option<Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(run)).err()
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
    match pooled(run).await {
        Ok(done) => done,
        Err(Lost::Panicked(payload)) => Err(panicked(what(), Some(payload))),
        Err(Lost::RuntimeGone) => Err(StoreError::RuntimeGone),
    }
}

/// The reason why code on the pool has no result.
pub(crate) enum Lost {
    Panicked(Box<dyn Any + Send>),
    RuntimeGone,
}

/// Runs blocking code, on the pool of the runtime.
pub(crate) async fn pooled<T: Send + 'static>(
    run: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Lost> {
    let result = Arc::new(Mutex::new(None));
    let place = Arc::clone(&result);
    let done = on_pool(Box::new(move || *lock(&place) = Some(run()))).await;
    done.map_err(Lost::from)?;
    lock(&result).take().ok_or(Lost::RuntimeGone)
}

/// The task of [`pooled`]. It is no generic function, so that the tasks of the runtime are compiled once.
fn on_pool(run: Box<dyn FnOnce() + Send>) -> JoinHandle<()> {
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(run))
}

impl From<JoinError> for Lost {
    fn from(error: JoinError) -> Self {
        match error.try_into_panic() {
            Ok(payload) => Self::Panicked(payload),
            Err(_) => Self::RuntimeGone,
        }
    }
}

fn lock<T>(place: &Mutex<Option<T>>) -> MutexGuard<'_, Option<T>> {
    place.lock().unwrap_or_else(PoisonError::into_inner)
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
        if !std::mem::needs_drop::<T>() || self.0.is_none() {
            return;
        }
        if let Some(payload) = caught(&mut || drop(self.0.take())) {
            lost(type_name::<T>(), payload);
        }
    }
}

/// Reports a panic in the drop of a value.
fn lost(value: &str, payload: Box<dyn Any + Send>) {
    let message = message(payload);
    tracing::error!(value, message, "the drop of a value panicked");
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

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

    #[tokio::test]
    async fn blocking_code_returns_its_result_or_the_reason_why_there_is_none() {
        let what = || "it".to_owned();
        let done = blocking(what, || Ok(7)).await;
        assert!(matches!(done, Ok(7)));
        let refused: Result<(), _> = blocking(what, || Err(StoreError::Closed)).await;
        assert!(matches!(refused, Err(StoreError::Closed)));
        let panicked: Result<(), _> =
            blocking(what, || std::panic::resume_unwind(Box::new("no"))).await;
        assert!(
            matches!(&panicked, Err(StoreError::Panicked { what, message }) if what == "it" && message == "no")
        );
    }

    #[test]
    fn blocking_code_has_no_result_if_the_runtime_has_ended() {
        let builder = tokio::runtime::Builder::new_current_thread().build();
        let Ok(handle) = builder.map(|runtime| runtime.handle().clone()) else {
            unreachable!("a runtime without drivers is built");
        };
        let _entered = handle.enter();
        let mut context = Context::from_waker(Waker::noop());
        let lost = pin!(blocking(|| "it".to_owned(), || Ok(7))).poll(&mut context);
        assert!(matches!(lost, Poll::Ready(Err(StoreError::RuntimeGone))));
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
