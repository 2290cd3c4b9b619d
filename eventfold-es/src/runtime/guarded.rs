use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use crate::error::StoreError;

/// Runs code of the user; a panic becomes an error that names it.
///
/// The caller discards whatever the code was changing.
pub(crate) fn guard<T>(
    what: impl FnOnce() -> String,
    run: impl FnOnce() -> T,
) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| StoreError::Panicked {
        what: what(),
        message: message(&*payload),
    })
}

/// Runs a task; a panic that no other guard has caught becomes an error that names it.
pub(super) async fn guard_task(
    what: impl Fn() -> String,
    task: impl Future<Output = ()>,
) -> Result<(), StoreError> {
    let mut task = pin!(task);
    poll_fn(|cx| match guard(&what, || task.as_mut().poll(cx)) {
        Ok(polled) => polled.map(Ok),
        Err(error) => Poll::Ready(Err(error)),
    })
    .await
}

/// Runs code that blocks, on the pool of the runtime.
///
/// A panic becomes an error that names it; the end of the runtime is another one, since nothing is known of the code then.
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
                message: message(&*payload),
            }),
            Err(_) => Err(StoreError::RuntimeGone),
        },
    }
}

fn message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
