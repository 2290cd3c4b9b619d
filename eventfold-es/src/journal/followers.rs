//! Readers that wait for the next event of their aggregate types. A batch wakes only those whose types it has.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::RecordedCommit;

/// The readers that wait.
pub(crate) struct Followers {
    durable: watch::Sender<u64>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next_id: u64,
    /// By the types that they wait for; none waits for all types.
    waiting: HashMap<Option<Arc<str>>, HashMap<u64, Arc<Waiter>>>,
    /// The types of the batch that is not announced yet, each with the position of its first event.
    types: Vec<(Arc<str>, u64)>,
}

#[derive(Default)]
struct Waiter {
    /// The position of the first event that it was woken for; 0 before.
    position: AtomicU64,
    woken: Notify,
}

impl Waiter {
    fn wake(&self, position: u64) {
        let (order, failed) = (Ordering::AcqRel, Ordering::Acquire);
        // Whoever was woken before has read nothing yet.
        let _ = self.position.compare_exchange(0, position, order, failed);
        self.woken.notify_one();
    }
}

/// A reader that waits until it is dropped.
pub(crate) struct Waiting {
    followers: Arc<Followers>,
    types: Types,
    id: u64,
    waiter: Arc<Waiter>,
}

/// The aggregate types of a reader; none reads all.
pub(crate) type Types = Option<Arc<[Arc<str>]>>;

impl Followers {
    pub(crate) fn new(durable: u64) -> Arc<Self> {
        Arc::new(Self {
            durable: watch::Sender::new(durable),
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every critical section leaves its data whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The position of the last durable event, as it moves on.
    pub(crate) fn durable(&self) -> watch::Receiver<u64> {
        self.durable.subscribe()
    }

    /// The same, now.
    pub(crate) fn position(&self) -> u64 {
        *self.durable.borrow()
    }

    /// Notes the types of a durable commit, which is announced with its batch.
    pub(crate) fn note(&self, commit: &RecordedCommit) {
        let types = &mut self.state().types;
        let mut position = commit.first_position;
        for append in &commit.appends {
            let aggregate_type = &append.stream.aggregate_type;
            if !types.iter().any(|(noted, _)| noted == aggregate_type) {
                types.push((Arc::clone(aggregate_type), position));
            }
            position += append.lines.len() as u64;
        }
    }

    /// Announces everything that was noted, up to the event at `position`.
    pub(crate) fn announce(&self, position: u64) {
        // Whoever does not see it is found below.
        self.durable.send_if_modified(|durable| {
            let moved = *durable != position;
            *durable = position;
            moved
        });
        let mut woken = Vec::new();
        {
            let State { waiting, types, .. } = &mut *self.state();
            let first = types.first().map(|(_, position)| (None, *position));
            let types = types
                .drain(..)
                .map(|(name, position)| (Some(name), position));
            for (of, position) in first.into_iter().chain(types) {
                let alike = waiting.get(&of).into_iter().flat_map(HashMap::values);
                woken.extend(alike.map(|waiter| (Arc::clone(waiter), position)));
            }
        }
        // A waker may drop another reader.
        for (waiter, position) in woken {
            waiter.wake(position);
        }
    }

    /// Waits for the first event of one of these types behind a position up to which everything was read; `None` if there may be one.
    pub(crate) fn wait_behind(self: &Arc<Self>, position: u64, types: &Types) -> Option<Waiting> {
        let mut state = self.state();
        if self.position() > position {
            return None;
        }
        let id = state.next_id;
        state.next_id += 1;
        let waiting = Waiting {
            followers: Arc::clone(self),
            types: types.clone(),
            id,
            waiter: Arc::default(),
        };
        for key in keys(types) {
            let alike = state.waiting.entry(key).or_default();
            alike.insert(id, Arc::clone(&waiting.waiter));
        }
        Some(waiting)
    }
}

fn keys(types: &Types) -> impl Iterator<Item = Option<Arc<str>>> {
    let all = types.is_none().then_some(None);
    let named = types.iter().flat_map(|types| types.iter());
    all.into_iter().chain(named.cloned().map(Some))
}

impl Waiting {
    /// Completes when there is an event of the types, and gives the position of the first of them. Cancel safe.
    pub(crate) async fn woken(&self) -> u64 {
        self.waiter.woken.notified().await;
        self.waiter.position.load(Ordering::Acquire)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.followers.state();
        for key in keys(&self.types) {
            if let Some(alike) = state.waiting.get_mut(&key) {
                alike.remove(&self.id);
                if alike.is_empty() {
                    state.waiting.remove(&key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::journal::{RecordedAppend, StreamId};

    fn commit(first_position: u64, types: &[&str]) -> RecordedCommit {
        let appends = types.iter().map(|name| RecordedAppend {
            stream: StreamId::new(name, "1"),
            first_version: 1,
            lines: vec!["{}".into(), "{}".into()].into(),
        });
        RecordedCommit {
            first_position,
            time: 0,
            reaction: None,
            appends: appends.collect(),
        }
    }

    fn woken(waiting: &Waiting) -> Option<u64> {
        let woken = pin!(waiting.woken());
        match woken.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(position) => Some(position),
            Poll::Pending => None,
        }
    }

    fn types(names: &[&str]) -> Types {
        Some(names.iter().map(|name| Arc::from(*name)).collect())
    }

    #[test]
    fn those_of_a_type_are_woken_with_the_place_of_its_first_event() {
        let followers = Followers::new(10);
        assert!(followers.wait_behind(9, &None).is_none());
        let wait = |types: Types| followers.wait_behind(10, &types);
        let [Some(all), Some(a), Some(b), Some(both), Some(other)] = [
            wait(None),
            wait(types(&["a"])),
            wait(types(&["b"])),
            wait(types(&["c", "b", "a"])),
            wait(types(&["c"])),
        ] else {
            unreachable!()
        };
        followers.note(&commit(11, &["b"]));
        followers.note(&commit(13, &["b", "a"]));
        assert_eq!(woken(&all), None);
        followers.announce(16);
        followers.note(&commit(17, &["a"]));
        followers.announce(18);
        let found = [&all, &a, &b, &both, &other].map(woken);
        assert_eq!(found, [Some(11), Some(15), Some(11), Some(11), None]);
        assert_eq!(*followers.durable().borrow(), 18);
    }

    #[test]
    fn nothing_is_left_of_those_who_are_gone() {
        let followers = Followers::new(0);
        for round in 0..1_000 {
            let waiting = [
                followers.wait_behind(round, &None),
                followers.wait_behind(round, &types(&["a", "b"])),
                followers.wait_behind(round, &types(&["a"])),
            ];
            assert_eq!(followers.state().waiting.len(), 3);
            if round % 2 == 0 {
                drop(waiting);
                assert!(followers.state().waiting.is_empty());
            } else {
                followers.note(&commit(round + 1, &["a"]));
                followers.announce(round + 1);
                drop(waiting);
            }
        }
        let state = followers.state();
        assert!(state.waiting.is_empty() && state.types.is_empty());
    }
}
