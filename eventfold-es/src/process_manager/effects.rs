//! The effects of a reaction, for the store.

use super::{ReactError, ScheduledDeadline};

/// All effects of one reaction of one instance. One commit stores all of them, or none.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[must_use = "it is what the reaction asks for"]
pub struct Effects<E> {
    /// Its commands, in order.
    pub envelopes: Vec<E>,
    /// Its changes of deadlines, in order.
    pub timers: Vec<TimerChange>,
    /// Whether the instance completes.
    pub is_complete: bool,
}

impl<E> Effects<E> {
    /// Whether the reaction has no effects.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.envelopes.is_empty() && self.timers.is_empty() && !self.is_complete
    }
}

impl<E> Default for Effects<E> {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl<E> From<Vec<E>> for Effects<E> {
    fn from(envelopes: Vec<E>) -> Self {
        Self {
            envelopes,
            timers: Vec::new(),
            is_complete: false,
        }
    }
}

/// A change to the deadlines of an instance.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TimerChange {
    /// Arms a deadline. It replaces a deadline of the same name.
    Schedule(ScheduledDeadline),
    /// Disarms the deadline of this name, if any.
    Cancel(String),
}

/// The effects collected so far, with the first mistake.
pub(super) struct Collected<E> {
    pub(super) effects: Effects<E>,
    pub(super) mistake: Option<ReactError>,
}

impl<E> Collected<E> {
    pub(super) fn timer(&mut self, change: Result<TimerChange, ReactError>) {
        match change {
            Ok(change) => self.effects.timers.push(change),
            Err(mistake) => {
                self.mistake.get_or_insert(mistake);
            }
        }
    }

    pub(super) fn finish(self) -> Result<Effects<E>, ReactError> {
        match self.mistake {
            None => Ok(self.effects),
            Some(mistake) => Err(mistake),
        }
    }
}

impl<E> Default for Collected<E> {
    fn default() -> Self {
        Self {
            effects: Effects::default(),
            mistake: None,
        }
    }
}
