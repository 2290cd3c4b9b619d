//! The events between the last stored progress and the last read event, in the order of the journal.
//!
//! Events of one key are a lane: they are called one after the other. An event with commands, or whose call has failed, holds its lane until
//! it is taken, because the commit decides on its key.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

/// The number of events in the window.
const EVENTS: usize = 1024;
/// The number of bytes of their lines.
const BYTES: usize = 16 << 20;

/// An event in the window.
pub(super) struct Entry<T, O> {
    pub(super) event: T,
    /// The key that orders it. `None` if it cannot be determined.
    pub(super) key: Option<Arc<str>>,
    pub(super) call: Call<O>,
    bytes: usize,
}

/// The call of an event.
pub(super) enum Call<O> {
    NotBegun,
    Running(Instant),
    Ended(O),
}

#[derive(Default)]
struct Lane {
    /// The numbers of its events whose calls have not ended without commands.
    waiting: VecDeque<u64>,
    /// Whether a call for its key runs.
    is_running: bool,
    /// Whether the list of ready lanes has the lane.
    is_listed: bool,
}

/// See the [module](self).
pub(super) struct Window<T, O> {
    entries: VecDeque<Entry<T, O>>,
    /// The number of the first entry.
    first: u64,
    bytes: usize,
    lanes: HashMap<Arc<str>, Lane>,
    /// Lanes whose next event may be called.
    ready: VecDeque<Arc<str>>,
    /// The number of calls of the window that have ended, and whose events are not taken.
    ended: usize,
    /// The number of events without a key.
    keyless: usize,
}

impl<T, O> Default for Window<T, O> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            first: 0,
            bytes: 0,
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            ended: 0,
            keyless: 0,
        }
    }
}

impl<T, O> Window<T, O> {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= EVENTS || self.bytes >= BYTES
    }

    /// Whether at least half of the window is free, so that a read of more events is worth its cost.
    pub(super) fn has_room(&self) -> bool {
        self.entries.len() <= EVENTS / 2 && self.bytes <= BYTES / 2
    }

    /// Whether a call has ended whose event waits for an older one.
    pub(super) fn has_ended(&self) -> bool {
        self.ended > 0
    }

    /// Whether an event may be called now.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Adds an event behind all others.
    pub(super) fn push(&mut self, event: T, key: Option<Arc<str>>, bytes: usize) {
        let number = self.first + self.entries.len() as u64;
        self.bytes += bytes;
        self.entries.push_back(Entry {
            event,
            key: key.clone(),
            call: Call::NotBegun,
            bytes,
        });
        self.keyless += usize::from(key.is_none());
        if let Some(key) = key {
            let lane = self.lanes.entry(Arc::clone(&key)).or_default();
            lane.waiting.push_back(number);
            self.list(&key);
        }
    }

    /// The next event that may be called, with its number. It is not offered again before [`recheck`](Self::recheck).
    pub(super) fn next_ready(&mut self) -> Option<(u64, &Entry<T, O>)> {
        let number = loop {
            let key = self.ready.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&key) else {
                continue;
            };
            lane.is_listed = false;
            match lane.waiting.front() {
                Some(number) => break *number,
                // Its events were taken without a call, because its key holds them.
                None => self.list(&key),
            }
        };
        self.get(number).map(|entry| (number, entry))
    }

    /// The call of an event begins.
    pub(super) fn begin(&mut self, number: u64, now: Instant) {
        if let Some(entry) = self.get_mut(number) {
            entry.call = Call::Running(now);
            if let Some(key) = entry.key.clone() {
                self.occupy(&key);
            }
        }
    }

    /// The call of an event has ended. `is_silent` says whether it has no commands and did not fail. Returns the outcome if the event is not
    /// in the window any more.
    pub(super) fn end(&mut self, number: u64, outcome: O, is_silent: bool) -> Option<O> {
        let Some(entry) = self.get_mut(number) else {
            return Some(outcome);
        };
        entry.call = Call::Ended(outcome);
        let key = entry.key.clone();
        self.ended += 1;
        if let Some(key) = key {
            if is_silent && let Some(lane) = self.lanes.get_mut(&key) {
                lane.waiting.pop_front();
            }
            self.free(&key);
        }
        None
    }

    /// Whether a call for this key runs.
    pub(super) fn is_busy(&self, key: &str) -> bool {
        self.lanes.get(key).is_some_and(|lane| lane.is_running)
    }

    /// A call for this key begins.
    pub(super) fn occupy(&mut self, key: &Arc<str>) {
        let lane = self.lanes.entry(Arc::clone(key)).or_default();
        lane.is_running = true;
    }

    /// The call for this key has ended.
    pub(super) fn free(&mut self, key: &Arc<str>) {
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.is_running = false;
        }
        self.list(key);
    }

    /// Offers every event again that may be called, because a hold has ended.
    pub(super) fn recheck(&mut self) {
        let keys: Vec<_> = self.lanes.keys().cloned().collect();
        keys.iter().for_each(|key| self.list(key));
    }

    /// The first event.
    pub(super) fn front(&self) -> Option<(u64, &Entry<T, O>)> {
        self.entries.front().map(|entry| (self.first, entry))
    }

    /// Takes the first event out. The call of an event that is taken while it runs continues, and its lane stays occupied.
    pub(super) fn take_front(&mut self) -> Option<Entry<T, O>> {
        let entry = self.entries.pop_front()?;
        let number = self.first;
        self.first += 1;
        self.bytes = self.bytes.saturating_sub(entry.bytes);
        if matches!(entry.call, Call::Ended(_)) {
            self.ended = self.ended.saturating_sub(1);
        }
        self.keyless -= usize::from(entry.key.is_none());
        if let Some(key) = &entry.key {
            if let Some(lane) = self.lanes.get_mut(key)
                && lane.waiting.front() == Some(&number)
            {
                lane.waiting.pop_front();
            }
            self.list(key);
        }
        Some(entry)
    }

    /// Whether there are events without a key.
    pub(super) fn has_keyless(&self) -> bool {
        self.keyless > 0
    }

    /// The events before the one with this number.
    pub(super) fn before(&self, number: u64) -> impl Iterator<Item = &Entry<T, O>> {
        let count = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.entries.iter().take(count)
    }

    fn get(&self, number: u64) -> Option<&Entry<T, O>> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.entries.get(index)
    }

    fn get_mut(&mut self, number: u64) -> Option<&mut Entry<T, O>> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.entries.get_mut(index)
    }

    /// Lists the lane of a key if its next event may be called, and removes a lane without events.
    fn list(&mut self, key: &Arc<str>) {
        let Some(lane) = self.lanes.get(key) else {
            return;
        };
        let next = lane.waiting.front().copied();
        let (is_running, is_listed) = (lane.is_running, lane.is_listed);
        match next {
            None if !is_running && !is_listed => drop(self.lanes.remove(key)),
            Some(number) if !is_running && !is_listed => {
                let entry = self.get(number);
                if entry.is_some_and(|entry| matches!(entry.call, Call::NotBegun)) {
                    self.ready.push_back(Arc::clone(key));
                    if let Some(lane) = self.lanes.get_mut(key) {
                        lane.is_listed = true;
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    fn window(keys: &[&str]) -> Window<usize, &'static str> {
        let mut window = Window::default();
        for (number, key) in keys.iter().enumerate() {
            window.push(number, Some((*key).into()), 1);
        }
        window
    }

    fn ready(window: &mut Window<usize, &'static str>) -> Vec<u64> {
        let mut ready = Vec::new();
        while let Some((number, _)) = window.next_ready() {
            window.begin(number, Instant::now());
            ready.push(number);
        }
        ready
    }

    #[test]
    fn a_lane_whose_events_were_taken_hides_no_other_lane() {
        let mut window = window(&["a", "b"]);
        window.take_front();
        assert_eq!(ready(&mut window), [1]);
        assert_eq!(window.lanes.len(), 1);
    }

    #[test]
    fn events_of_a_key_are_called_one_after_the_other() {
        let mut window = window(&["a", "b", "a", "a"]);
        assert_eq!(ready(&mut window), [0, 1]);
        assert!(window.end(0, "", true).is_none());
        assert_eq!(ready(&mut window), [2]);
        // An event with commands holds its key until it is taken.
        assert!(window.end(2, "commands", false).is_none());
        assert!(ready(&mut window).is_empty());
        assert!(window.has_ended());
        assert!(window.end(1, "", true).is_none());
        for _ in 0..2 {
            window.take_front().unwrap();
        }
        assert!(ready(&mut window).is_empty());
        window.take_front().unwrap();
        assert_eq!(ready(&mut window), [3]);
        assert!(!window.has_ended());
    }

    #[test]
    fn a_call_that_is_taken_while_it_runs_keeps_its_key_occupied() {
        let mut window = window(&["a", "a"]);
        assert_eq!(ready(&mut window), [0]);
        assert!(matches!(
            window.take_front().unwrap().call,
            Call::Running(_)
        ));
        assert!(ready(&mut window).is_empty());
        assert_eq!(window.end(0, "late", true), Some("late"));
        assert!(window.is_busy("a"));
        window.free(&"a".into());
        assert_eq!(ready(&mut window), [1]);
    }

    #[test]
    fn an_event_that_was_offered_is_offered_again_on_demand() {
        let mut window = window(&["a"]);
        assert!(window.next_ready().is_some());
        assert!(window.next_ready().is_none());
        window.recheck();
        assert!(window.next_ready().is_some());
        window.take_front().unwrap();
        assert!(window.lanes.is_empty(), "no lane stays");
    }

    #[test]
    fn the_window_is_bounded_by_events_and_by_bytes() {
        let mut events = Window::<usize, ()>::default();
        for number in 0..EVENTS {
            assert!(!events.is_full());
            events.push(number, None, 1);
        }
        assert!(events.is_full() && !events.has_room());
        let mut bytes = Window::<usize, ()>::default();
        bytes.push(0, None, BYTES);
        assert!(bytes.is_full());
        bytes.take_front().unwrap();
        assert!(!bytes.is_full() && bytes.has_room() && bytes.is_empty());
    }
}
