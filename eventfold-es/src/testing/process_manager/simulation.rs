//! The reactions of instances in a test: as in a store, and each twice.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use super::{MAX_AT_ONCE, ProcessManagerTest};
use crate::aggregate::Aggregate;
use crate::clock::millis_since_1970;
use crate::envelope::CommandEnvelope;
use crate::event::RecordedEvent;
use crate::process_manager::{
    Effects, ProcessManager, ReactError, SourceEvent, StoredDeadline, TimerChange,
};
use crate::runtime::correlation::{self, Found, part};
use crate::testing::diff::assert_same;
use crate::testing::expected::{Part, printed};
use crate::testing::print::{printed_value, read_back, recorded};

/// The stored data of an open instance.
#[derive(Debug, Clone, Default)]
pub(super) struct Instance {
    pub(super) state: String,
    pub(super) deadlines: BTreeMap<String, StoredDeadline>,
}

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

/// The input of a reaction.
#[derive(Clone, Copy)]
enum Input<'a> {
    Event(&'a str, &'a str, &'a RecordedEvent),
    Deadline(&'a StoredDeadline),
}

impl Input<'_> {
    fn react<PM: ProcessManager>(
        self,
        state: &mut PM,
        key: &str,
    ) -> Result<Effects<PM::Envelope>, ReactError> {
        match self {
            Self::Event(aggregate_type, stream_id, event) => {
                state.react_in(key, aggregate_type, stream_id, event)
            }
            Self::Deadline(deadline) => ProcessManager::on_deadline(state, key, deadline),
        }
    }

    fn source(self) -> SourceEvent {
        match self {
            Self::Event(aggregate_type, stream_id, event) => {
                SourceEvent::of(aggregate_type, stream_id, event)
            }
            Self::Deadline(deadline) => deadline.source.clone(),
        }
    }
}

impl<PM: ProcessManager> ProcessManagerTest<PM> {
    pub(super) fn next_due(&self) -> Option<(SystemTime, String, String)> {
        let armed = self.instances.iter().flat_map(|(key, instance)| {
            let deadlines = instance.deadlines.values();
            deadlines.map(|deadline| (deadline.due(), key.clone(), deadline.name.clone()))
        });
        armed.min()
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
        self.position += 1;
        let stream = (A::AGGREGATE_TYPE, stream_id.to_owned());
        let version = self.versions.entry(stream).or_default();
        *version += 1;
        let mut event = recorded(event, self.position, *version);
        event.event.id = Some(format!("event-{}", self.position));
        let since_1970 = self.now.duration_since(UNIX_EPOCH);
        event.event.ts = since_1970.unwrap_or_default().as_secs();

        let correlation = match PM::correlate(A::AGGREGATE_TYPE, stream_id, &event) {
            Ok(correlation) => correlation,
            Err(error) => {
                last.failed.push(error.to_string());
                return last;
            }
        };
        for join in correlation.into_joins() {
            let found = match self.instances.contains_key(&join.key) {
                true => Found::Open,
                false => Found::Nothing,
            };
            if part(join.kind, found) != correlation::Part::Ignored {
                let input = Input::Event(A::AGGREGATE_TYPE, stream_id, &event);
                self.react(&join.key, input, &mut last);
            }
        }
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
        self.fire(key, name, last);
    }

    #[track_caller]
    fn fire(&mut self, key: &str, name: &str, last: &mut Last) {
        let instance = self.instances.get_mut(key);
        let deadline = instance.and_then(|instance| instance.deadlines.remove(name));
        if let Some(deadline) = deadline {
            self.react(key, Input::Deadline(&deadline), last);
        }
    }

    #[track_caller]
    fn react(&mut self, key: &str, input: Input<'_>, last: &mut Last) {
        let open = self.instances.get(key).cloned();
        let mut instance = open.unwrap_or_else(|| Instance {
            state: printed_value(&PM::default()),
            ..Instance::default()
        });
        let before = instance.state.clone();
        let mut state: PM = stored_state(&before);
        let effects = match input.react(&mut state, key) {
            Ok(effects) => effects,
            Err(error) => {
                last.failed.push(error.to_string());
                return;
            }
        };
        for change in &effects.timers {
            match change {
                TimerChange::Schedule(scheduled) => {
                    let stored = scheduled.clone().store(self.now, input.source());
                    instance.deadlines.insert(stored.name.clone(), stored);
                }
                TimerChange::Cancel(name) => {
                    instance.deadlines.remove(name);
                }
            }
        }
        let is_complete = effects.is_complete;
        let (part, commands) = Part::of(key, effects, self.now);
        self.repeat(key, input, &before, &part);
        if let Some(envelope) = commands.into_iter().next_back() {
            last.sent = Some(Sent {
                key: key.to_owned(),
                state: before,
                envelope,
                source: input.source(),
            });
        }
        last.parts.push(part);
        if is_complete {
            self.instances.remove(key);
        } else {
            instance.state = printed_value(&read_back(PM::NAME, &state));
            self.instances.insert(key.to_owned(), instance);
        }
    }

    /// Reacts again: after a crash, a store may deliver an event again, to the state before it.
    #[track_caller]
    fn repeat(&self, key: &str, input: Input<'_>, before: &str, first: &Part) {
        let mut state: PM = stored_state(before);
        let again = input.react(&mut state, key);
        let again = match again {
            Ok(effects) => Part::of(key, effects, self.now).0,
            Err(error) => panic!(
                "`{}` is not deterministic: reacting again from the same state fails: {error}",
                PM::NAME
            ),
        };
        assert_same(
            &format!(
                "`{}` is not deterministic: it has other effects when it reacts again from the same state",
                PM::NAME
            ),
            &printed(std::slice::from_ref(first), false),
            &printed(std::slice::from_ref(&again), false),
        );
    }
}

#[track_caller]
pub(super) fn stored_state<PM: ProcessManager>(json: &str) -> PM {
    match serde_json::from_str(json) {
        Ok(state) => state,
        Err(error) => panic!("the state of `{}` does not read back: {error}", PM::NAME),
    }
}
