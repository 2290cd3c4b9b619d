//! The reactions of instances in a test: the machine of a store, on rows in memory. Each reaction happens twice.

use std::time::SystemTime;

use super::ProcessManagerTest;
use crate::aggregate::Aggregate;
use crate::clock::millis_since_1970;
use crate::envelope::CommandEnvelope;
use crate::process_manager::{ProcessManager, SourceEvent};
use crate::runtime::offline::{Happened, Work};
use crate::testing::diff::assert_same;
use crate::testing::expected::{Part, printed};
use crate::testing::history::{Around, MAX_AT_ONCE};
use crate::testing::print::printed_value;

/// The result of the last `when`.
#[derive(Debug, Default)]
pub(super) struct Last {
    pub(super) parts: Vec<Part>,
    pub(super) failed: Vec<String>,
    /// The number of deadlines that fired while time stood still.
    pub(super) at_once: u32,
    /// The last command.
    pub(super) sent: Option<Sent>,
}

#[derive(Debug)]
pub(super) struct Sent {
    pub(super) key: String,
    /// The state before that command.
    pub(super) state: String,
    pub(super) envelope: CommandEnvelope,
    pub(super) source: SourceEvent,
}

impl<PM: ProcessManager> ProcessManagerTest<PM> {
    /// The deadline that is due first: its time, its instance and its name.
    pub(super) fn next_due(&self) -> Option<(SystemTime, String, String)> {
        let (_, timer) = self.offline.next_deadline()?;
        let due = timer.deadline.due();
        Some((due, timer.key, timer.deadline.name))
    }

    #[track_caller]
    pub(super) fn deliver<A: Aggregate>(
        &mut self,
        stream_id: &str,
        event: &A::DomainEvent,
    ) -> Last {
        assert!(
            PM::default().subscriptions().contains(&A::AGGREGATE_TYPE),
            "the process manager `{}` does not subscribe to `{}`",
            PM::NAME,
            A::AGGREGATE_TYPE
        );
        let mut last = Last::default();
        // A deadline that is due at the time of the event is handled after it.
        let time = millis_since_1970(self.now);
        let is_before = |due: &SystemTime| millis_since_1970(*due) < time;
        while let Some((due, key, name)) = self.next_due().filter(|(due, ..)| is_before(due)) {
            self.reach(due, &key, &name, &mut last);
        }
        let event = self.history.add::<A>(stream_id, event, self.now);
        let source = SourceEvent::of(A::AGGREGATE_TYPE, stream_id, &event.1);
        self.work(|| Work::Event(&event, None), &source, &mut last);
        last
    }

    /// Fires a deadline, at its time or now.
    #[track_caller]
    pub(super) fn reach(&mut self, due: SystemTime, key: &str, name: &str, last: &mut Last) {
        last.at_once = if due > self.now { 1 } else { last.at_once + 1 };
        assert!(
            last.at_once <= MAX_AT_ONCE,
            "`{}` never comes to an end: its deadline `{name}` is armed again and again for a time that has come",
            PM::NAME
        );
        self.now = self.now.max(due);
        let mut armed = self.offline.deadlines();
        let found = armed.find(|(_, timer)| timer.key == key && timer.deadline.name == name);
        if let Some((row, timer)) = found.map(|(row, timer)| (row.to_owned(), timer)) {
            drop(armed);
            self.work(|| Work::Deadline(&row, None), &timer.deadline.source, last);
        }
    }

    /// Does one piece of work twice: after a crash, a store may deliver an event again, to the state before it.
    #[track_caller]
    fn work<'w>(&mut self, work: impl Fn() -> Work<'w>, source: &SourceEvent, last: &mut Last) {
        let before = self.offline.clone();
        let mut again = before.clone();
        let now = self.now;
        let mut world = Around {
            now: || now,
            history: &self.history,
            rejected: None,
            decided: Vec::new(),
        };
        let first = self.offline.work(work(), &mut world);
        let second = again.work(work(), &mut world);
        let mut parts = Vec::new();
        let name = PM::NAME;
        for happened in &first {
            let failed = match happened {
                Happened::Reacted(reacted) => {
                    parts.push(Part::of(reacted, self.now));
                    continue;
                }
                Happened::Judged(judged) if judged.is_of_command => continue,
                Happened::Judged(judged) => judged.cause.to_string(),
                Happened::Halted(reason) => reason.clone(),
                Happened::Called(_) => continue,
            };
            let of_name = format!("the state of `{name}` does");
            last.failed.push(failed.replace("the state does", &of_name));
        }
        let repeated: Vec<_> = second
            .iter()
            .filter_map(|happened| match happened {
                Happened::Reacted(reacted) => Some(Part::of(reacted, self.now)),
                _ => None,
            })
            .collect();
        assert_same(
            &format!(
                "`{}` is not deterministic: it has other effects when it reacts again from the same state",
                PM::NAME
            ),
            &printed(&parts, parts.len() > 1),
            &printed(&repeated, parts.len() > 1),
        );
        let sent = first.into_iter().filter_map(|happened| match happened {
            Happened::Reacted(mut reacted) => {
                let envelope = reacted.commands.pop()?;
                Some((reacted.key, envelope))
            }
            _ => None,
        });
        if let Some((key, envelope)) = sent.last() {
            let mut instances = before.instances();
            let found = instances.find(|(found, _)| *found == key);
            let state = found.and_then(|(_, state)| state);
            last.sent = Some(Sent {
                key,
                state: match state {
                    Some(state) => state.get().to_owned(),
                    None => printed_value(&PM::default()),
                },
                envelope,
                source: source.clone(),
            });
        }
        last.parts.extend(parts);
    }
}

#[track_caller]
pub(super) fn stored_state<PM: ProcessManager>(json: &str) -> PM {
    match serde_json::from_str(json) {
        Ok(state) => state,
        Err(error) => panic!("the state of `{}` does not read back: {error}", PM::NAME),
    }
}
