//! The queue between the thread that reads text of the journal and the thread that handles the events.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::journal::JournalError;

/// The maximum number of waiting chunks, apart from the handled chunk and the chunk that is being read.
const WAITING_CHUNKS: usize = 4;

/// The time to poll for the next chunk before blocking. It is more than the time of reading a chunk.
const PATIENCE: Duration = Duration::from_millis(1);

/// Chunks of text, in order. The reading thread finds the events of waiting chunks when there are enough of them. The
/// handling thread does it for a chunk that comes before that. So both threads have work, whichever is faster.
pub(super) struct ChunkQueue<'a, C> {
    find_events: &'a (dyn Fn(&mut C) + Sync),
    state: Mutex<State<C>>,
    /// Wakes either thread. At most one of them waits.
    changed: Condvar,
}

struct State<C> {
    waiting: VecDeque<Slot<C>>,
    /// Used chunks, whose memory serves for the next chunks.
    used: Vec<C>,
    /// Whether the reading thread has ended.
    has_ended: bool,
    /// Whether no more chunks are wanted.
    is_closed: bool,
}

enum Slot<C> {
    /// The events were not found yet.
    Text(C),
    /// The reading thread finds the events.
    Taken,
    Events(C),
    Failed(JournalError),
}

impl<'a, C: Default + Send> ChunkQueue<'a, C> {
    /// `find_events` finds the events in the text of a chunk.
    pub(super) fn new(find_events: &'a (dyn Fn(&mut C) + Sync)) -> Self {
        Self {
            find_events,
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                used: Vec::new(),
                has_ended: false,
                is_closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Calls `work` while another thread reads. The result is `None`, without a call, if that thread does not start. Blocks.
    pub(super) fn work<T>(
        &self,
        read: &mut (dyn FnMut(C) -> Result<Option<C>, JournalError> + Send),
        work: impl FnOnce() -> T,
    ) -> Option<T> {
        thread::scope(|scope| {
            let thread = thread::Builder::new().name("eventfold-es-read".to_owned());
            thread.spawn_scoped(scope, || self.fill(read)).ok()?;
            // The thread ends with the work, also after a panic.
            let _close = OnDrop(|| self.change(|state| state.is_closed = true));
            Some(work())
        })
    }

    /// Reads the text up to its end, unless the queue is closed. Blocks.
    fn fill(&self, read: &mut dyn FnMut(C) -> Result<Option<C>, JournalError>) {
        let _end = OnDrop(|| self.change(|state| state.has_ended = true));
        let mut is_read = false;
        loop {
            let mut state = self.state();
            if state.is_closed {
                return;
            }
            if !is_read && state.waiting.len() < WAITING_CHUNKS {
                let used = state.used.pop().unwrap_or_default();
                drop(state);
                let slot = match read(used) {
                    Ok(Some(chunk)) => Some(Slot::Text(chunk)),
                    Ok(None) => None,
                    Err(error) => Some(Slot::Failed(error)),
                };
                is_read = !matches!(slot, Some(Slot::Text(_)));
                self.change(|state| state.waiting.extend(slot));
                continue;
            }
            // The first chunk is about to be taken.
            let mut later = state.waiting.iter().enumerate().skip(1);
            let found = later.find(|(_, slot)| matches!(slot, Slot::Text(_)));
            let found = found.map(|(index, _)| state.waiting.len() - index);
            match found {
                Some(from_end) => self.find_events(state, from_end),
                None if is_read => return,
                None => drop(self.changed.wait(state)),
            }
        }
    }

    /// Finds the events of a waiting chunk, counted from the end of the queue. Only this thread adds chunks, so that the
    /// number stays.
    fn find_events(&self, mut state: MutexGuard<'_, State<C>>, from_end: usize) {
        let Some(slot) = slot(&mut state, from_end) else {
            return;
        };
        if let Slot::Text(mut chunk) = std::mem::replace(slot, Slot::Taken) {
            drop(state);
            (self.find_events)(&mut chunk);
            self.change(|state| {
                if let Some(slot) = self::slot(state, from_end) {
                    *slot = Slot::Events(chunk);
                }
            });
        }
    }

    /// The next chunk; `None` at the end of the text. Blocks.
    pub(super) fn next(&self) -> Result<Option<C>, JournalError> {
        let begun = Instant::now();
        let mut state = self.state();
        loop {
            match state.waiting.front() {
                None | Some(Slot::Taken) if state.has_ended => return Ok(None),
                None | Some(Slot::Taken) => {}
                Some(_) => break,
            }
            // The chunk comes soon. A wake-up would cost the reader more than reading a part of the next chunk.
            state = match begun.elapsed() < PATIENCE {
                true => {
                    drop(state);
                    thread::yield_now();
                    self.state()
                }
                false => {
                    let waited = self.changed.wait(state);
                    waited.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
        let slot = state.waiting.pop_front();
        drop(state);
        self.changed.notify_all();
        match slot {
            Some(Slot::Text(mut chunk)) => {
                (self.find_events)(&mut chunk);
                Ok(Some(chunk))
            }
            Some(Slot::Events(chunk)) => Ok(Some(chunk)),
            Some(Slot::Failed(error)) => Err(error),
            Some(Slot::Taken) | None => Ok(None),
        }
    }

    /// Takes a chunk back, for its memory.
    pub(super) fn give_back(&self, chunk: C) {
        self.state().used.push(chunk);
    }

    fn change(&self, change: impl FnOnce(&mut State<C>)) {
        change(&mut self.state());
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State<C>> {
        // Every critical section leaves its data whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn slot<C>(state: &mut State<C>, from_end: usize) -> Option<&mut Slot<C>> {
    let index = state.waiting.len().checked_sub(from_end)?;
    state.waiting.get_mut(index)
}

/// Runs code when it is dropped, also by a panic.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
