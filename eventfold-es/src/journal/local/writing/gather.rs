//! Gathering a batch: the waiting commits, and the reactions to them that come within a moment.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::journal::Waited;
use crate::journal::local::batch::{Batch, OpenBatch};
use crate::journal::local::queue::Queued;
use crate::journal::local::writer::Writer;

/// The longest time for which a batch waits for reactions, however long a sync takes.
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
