//! Checks that a state is the same after it is written and read back.
//!
//! A comparison of a state with its decoded copy is not enough, because the JSON of both lacks a field that `Serialize` leaves out. So the
//! check folds the events twice. One state stays in memory, and a copy is written and read back on the way. If `apply` uses a lost field,
//! the two states differ later. For example, a counter that `#[serde(skip)]` resets to zero leads to another total. If only decisions read
//! the field, the difference shows where the state is `PartialEq`.

use serde_json::{Map, Value};

use super::cell;
use super::guarded::{Kept, guard};
use crate::aggregate::Aggregate;
use crate::error::StoreError;
use crate::fingerprint::fingerprint;
use crate::finite;
use crate::journal::{StreamEnd, StreamId, StreamPiece, Streams};

/// The number of times that the copy is read back.
const PLACES: u64 = 16;

/// The number of further folds that must agree before a difference is believed.
const FOLDS: u32 = 4;

/// The place at which the fold of the first `count` events of a stream differs from its copy. `None` also if no comparison is possible.
/// Blocks.
pub(super) fn difference<A: Aggregate>(
    streams: &dyn Streams,
    stream: &StreamId,
    count: u64,
) -> Option<String> {
    let what = || format!("the comparison of states of `{}`", A::AGGREGATE_TYPE);
    match guard(what, || compare::<A>(streams, stream, count)).flatten() {
        Ok(difference) => difference,
        Err(error) => {
            tracing::debug!(
                %error, aggregate = A::AGGREGATE_TYPE, instance = %stream.instance_id, "states cannot be compared"
            );
            None
        }
    }
}

fn compare<A: Aggregate>(
    streams: &dyn Streams,
    stream: &StreamId,
    count: u64,
) -> Result<Option<String>, StoreError> {
    let (mut kept, mut copy) = (Kept::<A>::default(), Kept::<A>::default());
    let step = count.div_ceil(PLACES).max(1);
    let mut events = streams.read_stream(stream, StreamEnd::default())?;
    let mut piece = StreamPiece::default();
    while events.end().version < count && events.next(&mut piece)? {
        let events = piece.events();
        for (version, line) in events.take_while(|(version, _)| *version <= count) {
            let event = Kept::new(cell::decode::<A>(stream, version, line)?);
            kept = apply::<A>(kept, &event)?;
            copy = match apply::<A>(copy, &event) {
                Ok(copy) => copy,
                Err(error) => return Ok(Some(format!("{error}, after it was read back"))),
            };
            if version % step != 0 && version != count {
                continue;
            }
            // A state that cannot be saved here is not compared here.
            let Some(read) = read_back::<A>(&copy)? else {
                continue;
            };
            copy = read;
            if let Some(difference) = differ::<A>(&kept, &copy)? {
                // If the fold or the JSON differs each time, the difference proves nothing about the read.
                for _ in 0..FOLDS {
                    let again = fold_again::<A>(streams, stream, version)?;
                    if differ::<A>(&kept, &again)?.is_some() {
                        return Ok(None);
                    }
                }
                return Ok(Some(difference));
            }
        }
    }
    Ok(None)
}

fn apply<A: Aggregate>(state: Kept<A>, event: &A::DomainEvent) -> Result<Kept<A>, StoreError> {
    guard(
        || format!("the fold of `{}`", A::AGGREGATE_TYPE),
        || Kept::new(state.into_inner().apply(event)),
    )
}

fn fold_again<A: Aggregate>(
    streams: &dyn Streams,
    stream: &StreamId,
    count: u64,
) -> Result<Kept<A>, StoreError> {
    let mut events = streams.read_stream(stream, StreamEnd::default())?;
    let folded = cell::fold(stream, A::default(), &mut *events, count)?;
    folded.map(Kept::new)
}

/// The state as it reads back, if it can be written.
fn read_back<A: Aggregate>(state: &A) -> Result<Option<Kept<A>>, StoreError> {
    guard(
        || format!("the reading back of `{}`", A::AGGREGATE_TYPE),
        || {
            let written = finite::to_raw_value(state).ok()?;
            serde_json::from_str(written.get()).ok()
        },
    )
}

/// The difference between two states, in words.
fn differ<A: Aggregate>(kept: &A, copy: &A) -> Result<Option<String>, StoreError> {
    let what = || format!("the comparison of two states of `{}`", A::AGGREGATE_TYPE);
    guard(what, || {
        let json = |state: &A| serde_json::to_value(state).ok();
        if let (Some(kept), Some(copy)) = (json(kept), json(copy))
            && let Some(place) = difference_of_json(&kept, &copy)
        {
            let place = Some(place).filter(|place| !place.is_empty());
            let place = place.map_or_else(|| "the state".to_owned(), |place| format!("`{place}`"));
            return Some(format!(
                "{place} has another value after the state was read back"
            ));
        }
        let is_unequal = A::is_same(kept, copy) == Some(false);
        (is_unequal && A::is_same(kept, kept) == Some(true)).then(|| {
            "the state that was read back has the same JSON as the saved state, but they differ by `PartialEq`: a field is not in \
             the JSON"
                .to_owned()
        })
    })
}

/// The place at which two values differ, apart from the order of lists. Sets and maps have a different order in each copy. The place is
/// empty if the values themselves differ.
pub(super) fn difference_of_json(left: &Value, right: &Value) -> Option<String> {
    // The fingerprint treats a `null` field as a missing field, as serde does.
    if left == right || fingerprint(left) == fingerprint(right) {
        return None;
    }
    let within = match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            let mut names = left.keys().chain(right.keys());
            names.find_map(|name| {
                let value = |fields: &Map<String, Value>| fields.get(name).cloned();
                let (left, right) = (value(left), value(right));
                let inner =
                    difference_of_json(&left.unwrap_or_default(), &right.unwrap_or_default())?;
                Some(format!(".{name}{inner}"))
            })
        }
        (Value::Array(left), Value::Array(right)) => {
            let mut entries = left.iter().zip(right).enumerate();
            entries.find_map(|(index, (left, right))| {
                let inner = difference_of_json(left, right)?;
                Some(format!("[{index}]{inner}"))
            })
        }
        _ => None,
    };
    Some(within.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_has_a_place_and_the_order_of_a_list_is_none() {
        let state = json!({ "a": [{ "b": 1 }, { "b": 2, "c": [1, 2] }], "n": null });
        for (other, place) in [
            (json!({ "a": [{ "b": 2, "c": [2, 1] }, { "b": 1 }] }), None),
            (
                json!({ "a": [{ "b": 1 }, { "b": 2, "c": [1, 3] }] }),
                Some(".a[1].c[1]"),
            ),
            (
                json!({ "a": [{ "b": 1 }, { "b": 2, "c": [1] }] }),
                Some(".a[1].c"),
            ),
            (json!({ "a": [{ "b": 1 }, { "b": 2 }] }), Some(".a[1].c")),
            (json!({ "a": [] }), Some(".a")),
            (json!({}), Some(".a")),
            (json!(7), Some("")),
        ] {
            assert_eq!(
                difference_of_json(&state, &other).as_deref(),
                place,
                "{other}"
            );
        }
    }
}
