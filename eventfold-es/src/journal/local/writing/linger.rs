//! Spinning for the next command of a lone client, in place of a wake-up for each.

use std::time::Duration;

use crate::journal::local::queue::Queue;

/// The time for which the writer spins: that of a client which answers at once, its own wake-up included. Waking a parked thread
/// takes about half of this time.
const SPIN: Duration = Duration::from_micros(60);
/// The largest number of batches without spinning after spinning in vain.
const MAX_PAUSE: u32 = 64;

/// Decides whether the writer spins before it parks. It spins while that pays: after each spin in vain, it lets twice as many
/// batches pass before the next. So an idle store costs nothing, and a store with rare commands spins for a 64th of them.
#[derive(Debug, Default)]
pub(in crate::journal::local) struct Linger {
    /// The number of batches to let pass.
    left: u32,
    /// Their number after the next spin in vain.
    pause: u32,
}

impl Linger {
    /// Whether another commit came before the writer has to park.
    pub(super) fn for_next(&mut self, queue: &Queue) -> bool {
        if self.left > 0 {
            self.left -= 1;
            return false;
        }
        let has_work = queue.gets_work_within(SPIN);
        self.note(has_work);
        has_work
    }

    fn note(&mut self, has_work: bool) {
        self.pause = match has_work {
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
    fn in_vain_it_spins_less_and_less_until_it_pays_again() {
        let mut linger = Linger::default();
        let pauses = (0..9).map(|_| {
            linger.note(false);
            linger.left
        });
        assert!(pauses.eq([1, 2, 4, 8, 16, 32, 64, 64, 64]));
        linger.note(true);
        assert_eq!(linger.left, 0);
    }
}
