//! Gathering a batch: the waiting commits, those of the clients that were just answered, and the reactions that come within a moment.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::journal::Waited;
use crate::journal::local::batch::{Batch, OpenBatch};
use crate::journal::local::queue::Queued;
use crate::journal::local::writer::Writer;

/// The longest time for which a batch waits for reactions, however long a sync takes. For answered clients it waits twice as long at most.
const MAX_MOMENT: Duration = Duration::from_millis(20);
/// The number of commits up to which the writer spins for reactions before it parks. More of them take longer than a
/// wake-up.
const SPIN_COMMITS: usize = 4;

impl Writer {
    /// Assembles a batch. Process managers are shown its commits, and their reactions join it if they come within a moment
    /// that is shorter than a sync. `may_wait` is false if other stores wait for this thread.
    ///
    /// A batch with a command without subscribed process managers does not wait. If the reactions did not come in time,
    /// fewer batches wait. So many clients do not wait for a process manager that is busy anyway: it reacts while the batch
    /// is written.
    pub(super) fn gather(&mut self, queued: Vec<Queued>, may_wait: bool) -> Batch {
        let mut batch = OpenBatch::new(&self.tip, self.durability);
        let audience = Arc::clone(self.queue.audience());
        let mut next = queued;
        let mut until = None;
        let may_wait = may_wait && self.reactions.is_due();
        let (mut waited, mut has_reaction) = (Waited::ForNobody, false);
        loop {
            let is_plain = next.iter().any(|queued| audience.is_plain(&queued.commit));
            let is_reaction = |queued: &Queued| {
                queued.commit.reaction.is_some() && !queued.commit.appends.is_empty()
            };
            has_reaction |= next.iter().any(is_reaction);
            let version = |stream: &_, expected| self.streams.version(stream, expected);
            batch.add(next, &version, &self.dead_letters);
            if !self.is_waited_for() || batch.is_refusing() {
                break;
            }
            if batch.unseen().any(|commit| audience.concerns(commit)) {
                let (commits, outcome) = batch.show();
                audience.show(commits, &outcome);
            }
            let now = Instant::now();
            let until = *until.get_or_insert(now + self.moment());
            if is_plain || !may_wait || now >= until {
                break;
            }
            let (commits, bytes) = batch.size();
            let spins = commits <= SPIN_COMMITS;
            match audience.wait(until, spins, || self.queue.has_plain()) {
                Waited::ForNobody => {}
                other => waited = other,
            }
            next = self.queue.take_more(commits, bytes);
            if next.is_empty() {
                break;
            }
        }
        if waited != Waited::ForNobody {
            self.reactions.note(waited == Waited::UntilSeen);
        }
        if waited != Waited::ForNobody || has_reaction {
            audience.count(has_reaction);
        }
        batch.seal()
    }

    /// Waits for the next commands of the clients that the last batch has answered, if the journal is replicated. The wait ends when all of them
    /// have come, or when none has come for a moment.
    ///
    /// Without the wait, the clients are in two groups, and each waits for the sync of the other. Together, they get nearly twice as many
    /// syncs. The first commands of other nodes take longer than a sync. If the wait does not pay, fewer batches wait.
    pub(super) fn await_answered(&mut self) {
        let answered = std::mem::take(&mut self.answered);
        let may_wait = answered > 1 && self.held.is_none() && self.replica.is_some();
        if !may_wait || !self.returning.is_due() {
            return;
        }
        let begun = Instant::now();
        let sync = self.sync_time.min(MAX_MOMENT);
        let (before, after) = self.queue.await_more(answered, begun + sync * 2, sync / 4);
        let paid = pays(before, after - before, begun.elapsed(), self.sync_time);
        self.returning.note(paid);
    }

    /// The time for which a batch waits for reactions.
    fn moment(&self) -> Duration {
        (self.sync_time / 4 * 3).min(MAX_MOMENT)
    }

    /// Notes the time of a sync. A single slow sync changes little.
    pub(in crate::journal::local) fn note_sync(&mut self, took: Duration) {
        self.sync_time = match self.sync_time {
            Duration::ZERO => took,
            before => before / 8 * 7 + took.min(before * 2) / 8,
        };
    }
}

/// Whether the commits that came within `waited` save more than the others lose. Each of them saves a sync. Without waiting commits, the
/// first of them would have been written at once.
fn pays(before: usize, came: usize, waited: Duration, sync: Duration) -> bool {
    let (lose, save) = match before {
        0 => (1, came.saturating_sub(1)),
        _ => (before, came),
    };
    sync.as_nanos() * save as u128 > waited.as_nanos() * lose as u128
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::journal::ProposedCommit;
    use crate::journal::local::fixture;
    use crate::journal::local::replica::Errand;

    /// The writer waits for this time if nothing ends the wait.
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_wait_ends_with_the_last_command_or_another_task() {
        let queue = fixture::queue();
        let push = || fixture::push(&queue, ProposedCommit::default());
        let detach = || {
            let reason = "a reason".to_owned();
            queue.send(Errand::Detach { reason });
        };
        push();
        let both = || (0..2).for_each(|_| drop(push()));
        let ends: [&dyn Fn(); 2] = [&both, &detach];
        for (end, expected) in ends.into_iter().zip([(1, 3), (3, 3)]) {
            let until = Instant::now() + LONG;
            let found = thread::scope(|scope| {
                let waits = scope.spawn(|| queue.await_more(2, until, LONG));
                while !queue.is_awaiting_more() {
                    thread::yield_now();
                }
                end();
                waits.join().unwrap_or_default()
            });
            assert!(Instant::now() < until, "{expected:?}");
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_wait_ends_in_silence_behind_the_first_command() {
        let queue = fixture::queue();
        let moment = Duration::from_millis(20);
        // Before the first command it lasts, since clients of other nodes take longer.
        let until = Instant::now() + moment;
        let silence = moment / 20;
        assert_eq!(queue.await_more(2, until, silence), (0, 0));
        assert!(Instant::now() >= until);
        let until = Instant::now() + LONG;
        let found = thread::scope(|scope| {
            let waits = scope.spawn(|| queue.await_more(2, until, silence));
            while !queue.is_awaiting_more() {
                thread::yield_now();
            }
            fixture::push(&queue, ProposedCommit::default());
            waits.join().unwrap_or_default()
        });
        assert!(Instant::now() < until);
        assert_eq!(found, (0, 1));
    }

    #[test]
    fn a_wait_pays_if_it_saves_more_than_it_costs() {
        let pays = |before, came, waited| {
            let micros = Duration::from_micros;
            pays(before, came, micros(waited), micros(1000))
        };
        assert!(pays(32, 32, 500) && pays(0, 64, 500) && pays(2, 2, 500));
        // Nobody came, or a single client that was not answered with others.
        assert!(!pays(32, 0, 500) && !pays(0, 0, 500) && !pays(0, 1, 500));
        assert!(!pays(40, 10, 500) && pays(40, 10, 100));
    }
}
