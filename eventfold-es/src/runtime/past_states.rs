//! The states that aggregates had, each folded when it is asked for.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::cells::AggregateCells;
use super::guarded::{Kept, blocking};
use crate::aggregate::Aggregate;
use crate::error::StoreError;
use crate::journal::{StreamId, StreamPart, Streams};

impl<A: Aggregate> AggregateCells<A> {
    /// The state at a version of the stream. Cancel safe.
    pub(crate) async fn state_at(&self, id: &Arc<str>, version: u64) -> Result<A, StoreError> {
        self.folded(id, move |_, _| Ok(version)).await
    }

    /// The state with the events up to a time. Cancel safe.
    pub(crate) async fn state_at_time(
        &self,
        id: &Arc<str>,
        time: SystemTime,
    ) -> Result<A, StoreError> {
        let since_1970 = time.duration_since(UNIX_EPOCH).ok();
        let find = move |streams: &dyn Streams, stream: &StreamId| match since_1970 {
            Some(time) => version_at(streams, stream, time.as_millis()),
            None => Ok(0),
        };
        self.folded(id, find).await
    }

    async fn folded(
        &self,
        id: &Arc<str>,
        find_version: impl FnOnce(&dyn Streams, &StreamId) -> Result<u64, StoreError> + Send + 'static,
    ) -> Result<A, StoreError> {
        let (streams, snapshots) = (Arc::clone(&self.streams), Arc::clone(&self.snapshots));
        let stream = self.stream(id);
        let what = || format!("folding `{id}` of `{}`", A::AGGREGATE_TYPE);
        let folded = blocking(what, move || {
            let version = find_version(&*streams, &stream)?;
            snapshots.state_at::<A>(&stream, version).map(Kept::new)
        });
        folded.await.map(Kept::into_inner)
    }
}

/// The version of a stream with its last event up to a time, in milliseconds since 1970. Blocks.
fn version_at(streams: &dyn Streams, stream: &StreamId, time: u128) -> Result<u64, StoreError> {
    // The last event of a part, which reading backwards begins with.
    let ends = |part: StreamPart| -> Result<_, StoreError> {
        let commits = streams.read_part(stream, &part)?;
        let found = commits.last().and_then(|commit| {
            let mut appends = commit.appends.iter();
            let append = appends.find(|append| append.stream == *stream)?;
            let last = append.first_version + append.lines.len() as u64 - 1;
            Some((append.first_version, last, commit.time))
        });
        Ok(found)
    };
    let mut part = StreamPart {
        is_backwards: true,
        limit: 1,
        ..StreamPart::ALL
    };
    // Most look for a time that is not long ago; after that, the rest is halved each time.
    let Some((first, last, latest)) = ends(part)? else {
        return Ok(0);
    };
    if u128::from(latest) <= time {
        return Ok(last);
    }
    let (mut version, mut beyond) = (0, first);
    while version + 1 < beyond {
        part.last = version + (beyond - version) / 2;
        match ends(part)? {
            Some((_, last, at)) if u128::from(at) <= time => version = last,
            Some((first, ..)) => beyond = first,
            None => break,
        }
    }
    Ok(version)
}
