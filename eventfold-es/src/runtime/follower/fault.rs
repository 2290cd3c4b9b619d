//! The errors of a sink, which are values of the user.

use crate::error::StoreError;
use crate::guarded::guard;
use crate::projection::{Sink, SinkFault, SinkProjection};

/// The database has not done its work.
pub(super) fn unreachable<P: SinkProjection>(error: &<P::Sink as Sink>::Error) -> StoreError {
    StoreError::Sink {
        name: P::NAME,
        reason: text(error).into(),
    }
}

/// The cause that the sink names.
pub(super) fn fault<P: SinkProjection>(error: &<P::Sink as Sink>::Error) -> SinkFault {
    let what = || format!("the fault of an error of the projection `{}`", P::NAME);
    guard(what, || P::Sink::fault(error)).unwrap_or_default()
}

/// The text of an error of the user.
pub(super) fn text(error: &dyn std::error::Error) -> String {
    let what = || "the text of an error".to_owned();
    let written = guard(what, || {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            let cause = error.to_string();
            if !text.contains(&cause) {
                text = format!("{text}: {cause}");
            }
            source = error.source();
        }
        text
    });
    written.unwrap_or_else(|error| error.to_string())
}
