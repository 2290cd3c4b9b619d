//! The search: breadth first, each state once.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use xxhash_rust::xxh3::Xxh3;

use super::{Exploration, Moment, Scripted, text};
use crate::envelope::CommandEnvelope;
use crate::event::RecordedEvent;
use crate::journal::StreamId;
use crate::process_manager::{FailureCause, ProcessManager};
use crate::runtime::offline::{Offline, Recorded, Work, World};

/// The time at the beginning: 2000-01-01, 00:00 UTC.
const BEGIN: Duration = Duration::from_secs(946_684_800);

/// A state: of the process manager, and of the world around it.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) stored: Offline,
    /// The events that are still to happen, per stream, as numbers in the pool.
    waiting: Vec<(StreamId, VecDeque<u32>)>,
    /// The events that have happened, in order.
    pub(super) delivered: Vec<u32>,
    /// The executed commands, in order.
    pub(super) sent: Vec<u32>,
    failures: u32,
    now: SystemTime,
}

impl Node {
    pub(super) fn is_at_rest(&self) -> bool {
        let is_idle = self.waiting.iter().all(|(_, events)| events.is_empty());
        let stored = &self.stored;
        is_idle && !stored.has_deadlines() && stored.next_retry().is_none()
            || stored.halted.is_some()
    }

    /// The identity of the state. Positions count as far as rows name them.
    fn hash(&self) -> u128 {
        let mut hash = Xxh3::new();
        let mut holds = false;
        for (key, value) in &self.stored.rows {
            holds |= key.starts_with(['h', 's']);
            for part in [key, value] {
                hash.update(&(part.len() as u64).to_le_bytes());
                hash.update(part.as_bytes());
            }
        }
        hash.update(b"\n");
        hash.update(self.stored.state.get().as_bytes());
        hash.update(&[u8::from(self.stored.halted.is_some())]);
        for (_, events) in &self.waiting {
            hash.update(&(events.len() as u64).to_le_bytes());
            for event in events {
                hash.update(&event.to_le_bytes());
            }
        }
        for sent in &self.sent {
            hash.update(&sent.to_le_bytes());
        }
        if holds {
            hash.update(b"\n");
            for event in &self.delivered {
                hash.update(&event.to_le_bytes());
            }
        }
        hash.update(&self.failures.to_le_bytes());
        hash.digest128()
    }
}

/// One step from a state.
#[derive(Clone)]
pub(super) struct Step {
    kind: Kind,
    fails: bool,
    /// For each command that may be rejected, whether it is.
    rejected: Vec<bool>,
}

#[derive(Clone, Copy)]
enum Kind {
    /// The next event of the stream with this index.
    Event(usize),
    Deadline,
    Retry,
}

/// See the [module](self).
pub(super) struct Search<'a, PM> {
    plan: &'a Exploration<PM>,
    subscriptions: &'static [&'static str],
    pool: RefCell<Pool>,
    seen: HashSet<u128>,
    /// The number of steps that were taken.
    pub(super) steps: usize,
    pub(super) is_complete: bool,
}

/// Events and commands, each once.
#[derive(Default)]
struct Pool {
    events: Vec<Scripted>,
    commands: Vec<Arc<CommandEnvelope>>,
    known: HashMap<String, u32>,
}

impl Pool {
    fn event(&mut self, scripted: Scripted) -> u32 {
        let name = format!(
            "e{}\n{}\n{}\n{}",
            scripted.stream.aggregate_type,
            scripted.stream.instance_id,
            scripted.event.event_type,
            text(&scripted.event.data)
        );
        let events = &mut self.events;
        *self.known.entry(name).or_insert_with(|| {
            events.push(scripted);
            events.len() as u32 - 1
        })
    }

    fn command(&mut self, command: CommandEnvelope) -> u32 {
        let name = format!(
            "c{}\n{}\n{}",
            command.aggregate_type,
            command.instance_id,
            text(&command.command)
        );
        let commands = &mut self.commands;
        *self.known.entry(name).or_insert_with(|| {
            commands.push(Arc::new(command));
            commands.len() as u32 - 1
        })
    }
}

/// The world of one step.
struct Around<'a, PM> {
    search: &'a Search<'a, PM>,
    delivered: &'a [u32],
    now: SystemTime,
    /// The decisions so far, and those that are prescribed.
    rejected: Vec<bool>,
    decided: usize,
    executed: Vec<CommandEnvelope>,
}

impl<PM: ProcessManager> World for Around<'_, PM> {
    fn now(&self) -> SystemTime {
        self.now
    }

    fn event(&self, position: u64) -> Option<Recorded> {
        self.search.recorded(self.delivered, position)
    }

    fn decide(&mut self, command: &CommandEnvelope) -> Option<FailureCause> {
        let mut rejections = self.search.plan.rejections.iter();
        let cause = rejections.find_map(|(aggregate_type, rejects)| {
            let is_of_type = *aggregate_type == command.aggregate_type;
            is_of_type.then(|| rejects(command)).flatten()
        })?;
        let nth = self.decided;
        self.decided += 1;
        if nth == self.rejected.len() {
            self.rejected.push(false);
        }
        self.rejected.get(nth)?.then_some(cause)
    }

    fn executed(&mut self, command: CommandEnvelope) {
        self.executed.push(command);
    }
}

impl<'a, PM: ProcessManager> Search<'a, PM> {
    pub(super) fn new(plan: &'a Exploration<PM>) -> Self {
        Self {
            plan,
            subscriptions: PM::default().subscriptions(),
            pool: RefCell::default(),
            seen: HashSet::new(),
            steps: 0,
            is_complete: true,
        }
    }

    pub(super) fn states(&self) -> usize {
        self.seen.len()
    }

    pub(super) fn command(&self, number: u32) -> Option<Arc<CommandEnvelope>> {
        self.pool.borrow().commands.get(number as usize).cloned()
    }

    /// The state after the given events.
    #[track_caller]
    pub(super) fn start(&self) -> Node {
        let stored = match Offline::new::<PM>() {
            Ok(stored) => stored,
            Err(reason) => panic!("`{}` cannot be stored: {reason}", PM::NAME),
        };
        let mut node = Node {
            stored,
            waiting: Vec::new(),
            delivered: Vec::new(),
            sent: Vec::new(),
            failures: self.plan.failures,
            now: UNIX_EPOCH + BEGIN,
        };
        for given in &self.plan.given {
            let stream = self.wait(&mut node, given.clone());
            let step = Step {
                kind: Kind::Event(stream),
                fails: false,
                rejected: Vec::new(),
            };
            node = self.take(&node, &step).0;
        }
        for event in &self.plan.events {
            self.wait(&mut node, event.clone());
        }
        node
    }

    /// Adds an event to those that are still to happen. Returns the index of its stream.
    fn wait(&self, node: &mut Node, event: Scripted) -> usize {
        let found = node
            .waiting
            .iter()
            .position(|(stream, _)| *stream == event.stream);
        let index = found.unwrap_or_else(|| {
            node.waiting.push((event.stream.clone(), VecDeque::new()));
            node.waiting.len() - 1
        });
        let number = self.pool.borrow_mut().event(event);
        if let Some((_, events)) = node.waiting.get_mut(index) {
            events.push_back(number);
        }
        index
    }

    /// The event at a position.
    pub(super) fn recorded(&self, delivered: &[u32], position: u64) -> Option<Recorded> {
        let index = usize::try_from(position).ok()?.checked_sub(1)?;
        let number = *delivered.get(index)?;
        let pool = self.pool.borrow();
        let Scripted { stream, event } = pool.events.get(number as usize)?;
        let before = delivered.iter().take(index);
        let of_stream = |number: &&u32| {
            let event = pool.events.get(**number as usize);
            event.is_some_and(|event| event.stream == *stream)
        };
        let version = before.filter(of_stream).count() as u64 + 1;
        let mut event = RecordedEvent::new(position, version, (**event).clone());
        event.event.id = Some(format!("event-{position}"));
        event.event.ts = BEGIN.as_secs();
        Some(Arc::new((stream.clone(), event)))
    }

    /// The state after a step, and the step with all of its decisions.
    fn take(&self, before: &Node, step: &Step) -> (Node, Step) {
        let mut node = before.clone();
        let fails = step.fails.then(|| FailureCause::Panicked {
            message: "it panicked: a failure of the exploration".to_owned(),
        });
        node.failures -= u32::from(step.fails);
        let mut row = Box::<str>::default();
        let mut event = None;
        match step.kind {
            Kind::Event(index) => {
                let waiting = node.waiting.get_mut(index);
                if let Some(number) = waiting.and_then(|(_, events)| events.pop_front()) {
                    node.delivered.push(number);
                    event = self.recorded(&node.delivered, node.delivered.len() as u64);
                }
            }
            Kind::Deadline => {
                if let Some((key, timer)) = node.stored.next_deadline() {
                    row = key.into();
                    node.now = node.now.max(timer.deadline.due());
                }
            }
            Kind::Retry => {
                if let Some((key, due)) = node.stored.next_retry() {
                    row = key.into();
                    node.now = node.now.max(UNIX_EPOCH + Duration::from_millis(due));
                }
            }
        }
        let mut around = Around {
            search: self,
            delivered: &node.delivered,
            now: node.now,
            rejected: step.rejected.clone(),
            decided: 0,
            executed: Vec::new(),
        };
        let work = match (step.kind, &event) {
            (Kind::Event(_), Some(event)) => Work::Event(event, fails),
            (Kind::Deadline, _) => Work::Deadline(&row, fails),
            (Kind::Event(_) | Kind::Retry, _) => Work::Retry(&row),
        };
        node.stored.work::<PM>(work, &mut around);
        let Around {
            mut rejected,
            executed,
            decided,
            ..
        } = around;
        rejected.truncate(decided);
        for command in executed {
            for (aggregate_type, answers) in &self.plan.answers {
                let is_shown = self.subscriptions.contains(aggregate_type);
                if is_shown && *aggregate_type == command.aggregate_type {
                    for event in answers(&command) {
                        self.wait(&mut node, event);
                    }
                }
            }
            node.sent.push(self.pool.borrow_mut().command(command));
        }
        let step = Step {
            rejected,
            ..step.clone()
        };
        (node, step)
    }

    /// The next steps from a state, with the states after them and their names.
    pub(super) fn next(&self, node: &Node) -> Vec<(Step, Node, String)> {
        let mut next = Vec::new();
        self.each_next(node, |step, after| {
            let name = self.name(node, &step);
            next.push((step, after, name));
        });
        next
    }

    fn each_next(&self, node: &Node, mut show: impl FnMut(Step, Node)) {
        if node.stored.halted.is_some() {
            return;
        }
        let waiting = node.waiting.iter().enumerate();
        let events = waiting.filter(|(_, (_, events))| !events.is_empty());
        let mut kinds: Vec<_> = events.map(|(index, _)| Kind::Event(index)).collect();
        kinds.extend(node.stored.has_deadlines().then_some(Kind::Deadline));
        kinds.extend(node.stored.next_retry().map(|_| Kind::Retry));
        for kind in kinds {
            let may_fail = node.failures > 0 && !matches!(kind, Kind::Retry);
            for fails in [false, true].into_iter().take(1 + usize::from(may_fail)) {
                let mut rejected = Vec::new();
                loop {
                    let step = Step {
                        kind,
                        fails,
                        rejected,
                    };
                    let (after, taken) = self.take(node, &step);
                    rejected = taken.rejected.clone();
                    show(taken, after);
                    // The next combination: the last command that was executed is rejected.
                    while rejected.pop_if(|last| *last).is_some() {}
                    match rejected.last_mut() {
                        Some(last) => *last = true,
                        None => break,
                    }
                }
            }
        }
    }

    fn name(&self, node: &Node, step: &Step) -> String {
        let mut name = match step.kind {
            Kind::Event(index) => {
                let pool = self.pool.borrow();
                let (stream, events) = match node.waiting.get(index) {
                    Some((stream, events)) => (stream, events.front()),
                    None => return String::new(),
                };
                let event = events.and_then(|number| pool.events.get(*number as usize));
                let event_type = event.map_or("", |event| &event.event.event_type);
                let StreamId {
                    aggregate_type,
                    instance_id,
                } = stream;
                format!("{event_type} of {aggregate_type} `{instance_id}`")
            }
            Kind::Deadline => match node.stored.next_deadline() {
                Some((_, timer)) if timer.key.is_empty() => {
                    format!("deadline `{}`", timer.deadline.name)
                }
                Some((_, timer)) => {
                    format!("deadline `{}` of `{}`", timer.deadline.name, timer.key)
                }
                None => String::new(),
            },
            Kind::Retry => "the next retry".to_owned(),
        };
        if step.fails {
            name.push_str(", which fails");
        }
        let rejected = step.rejected.iter().enumerate();
        for (nth, _) in rejected.filter(|(_, is_rejected)| **is_rejected) {
            name.push_str(&format!(", command {} rejected", nth + 1));
        }
        name
    }

    /// Checks the invariants.
    pub(super) fn check(&self, node: &Node) -> Result<(), String> {
        let moment = Moment {
            search: self,
            node,
            process_manager: PhantomData,
        };
        let is_at_rest = node.is_at_rest();
        let mut invariants = self.plan.invariants.iter();
        invariants.try_for_each(|invariant| match invariant.is_at_rest && !is_at_rest {
            true => Ok(()),
            false => (invariant.holds)(&moment),
        })
    }

    /// Visits all states. Returns the reason and the steps of the first violation.
    #[track_caller]
    pub(super) fn run(&mut self) -> Option<(String, Vec<String>)> {
        let start = self.start();
        let mut ways: Vec<(usize, Step)> = Vec::new();
        self.seen.insert(start.hash());
        if let Err(reason) = self.check(&start) {
            return Some((reason, Vec::new()));
        }
        // A state, and the number of the step that led to it, from 1.
        let mut front = VecDeque::from([(start, 0)]);
        while let Some((node, way)) = front.pop_front() {
            let mut found = Vec::new();
            self.each_next(&node, |step, after| found.push((step, after)));
            for (step, after) in found {
                self.steps += 1;
                if !self.seen.insert(after.hash()) {
                    continue;
                }
                ways.push((way, step));
                if let Err(reason) = self.check(&after) {
                    return Some((reason, self.steps_to(&ways, ways.len())));
                }
                if self.seen.len() >= self.plan.states {
                    self.is_complete = false;
                    return None;
                }
                front.push_back((after, ways.len()));
            }
        }
        None
    }

    /// The names of the steps to a state.
    fn steps_to(&self, ways: &[(usize, Step)], mut way: usize) -> Vec<String> {
        let mut steps = Vec::new();
        while let Some((before, step)) = way.checked_sub(1).and_then(|way| ways.get(way)) {
            steps.push(step.clone());
            way = *before;
        }
        let mut node = self.start();
        let mut names = Vec::new();
        for step in steps.iter().rev() {
            names.push(self.name(&node, step));
            node = self.take(&node, step).0;
        }
        names
    }
}
