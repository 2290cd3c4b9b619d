//! Whether waiting before or after a batch pays: for the next command of a lone client, and for reactions.

use std::time::Duration;

use crate::journal::local::queue::Queue;

/// The time for which the writer spins for the next command: that of a client which answers at once, its own wake-up
/// included. Waking a parked thread takes about half of this time.
const SPIN: Duration = Duration::from_micros(60);
/// The largest number of batches without a wait after a wait in vain.
const MAX_PAUSE: u32 = 64;

/// Decides whether to wait, by whether it paid before. After each wait in vain, twice as many batches pass before the next
/// one. For example, a store with rare commands spins for a 64th of them.
#[derive(Debug, Default)]
pub(in crate::journal::local) struct Linger {
    /// The number of batches to let pass.
    left: u32,
    /// Their number after the next wait in vain.
    pause: u32,
}

impl Linger {
    /// Spins for the next commit, if that pays.
    pub(super) fn for_next(&mut self, queue: &Queue) {
        if self.is_due() {
            let has_work = queue.gets_work_within(SPIN);
            self.note(has_work);
        }
    }

    /// Whether to wait for this batch.
    pub(super) fn is_due(&mut self) -> bool {
        let is_due = self.left == 0;
        self.left = self.left.saturating_sub(1);
        is_due
    }

    /// Notes whether a wait paid.
    pub(super) fn note(&mut self, has_paid: bool) {
        self.pause = match has_paid {
            true => 0,
            false => (2 * self.pause).clamp(1, MAX_PAUSE),
        };
        self.left = self.pause;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_vain_it_waits_less_and_less_until_it_pays_again() {
        let mut linger = Linger::default();
        let pauses = (0..9).map(|_| {
            linger.note(false);
            linger.left
        });
        assert!(pauses.eq([1, 2, 4, 8, 16, 32, 64, 64, 64]));
        assert!((0..64).all(|_| !linger.is_due()));
        assert!(linger.is_due());
        linger.note(true);
        assert!(linger.is_due() && linger.is_due());
    }
}
