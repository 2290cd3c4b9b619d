//! The search: breadth first, each state once.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::hash::Hash;
use std::marker::PhantomData;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Moment;
use super::handlers::{CallPlan, Task};
use super::plan::{Exploration, Scripted};
use super::state::{Node, Pool};
use crate::envelope::CommandEnvelope;
use crate::journal::StreamId;
use crate::process_manager::{FailureCause, ProcessManager};
use crate::runtime::offline::{Definition, Offline, Recorded, Work, World};
use crate::testing::history::BEGIN;
use crate::testing::virtual_time::VirtualTime;

/// One step from a state.
#[derive(Clone)]
pub(super) struct Step {
    kind: Kind,
    fails: bool,
    /// The number of the call, from 0, at which the process crashes before its commit.
    crashes_at: Option<usize>,
    /// For each command that may be rejected, whether it is.
    rejected: Vec<bool>,
}

impl Step {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            fails: false,
            crashes_at: None,
            rejected: Vec::new(),
        }
    }
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// The next event of the stream with this index.
    Event(usize),
    Deadline,
    Retry,
    /// A step of the event handler with this index.
    Handler(usize, Task),
}

/// See the [module](self).
pub(super) struct Search<'a, PM, W> {
    plan: &'a Exploration<PM, W>,
    subscriptions: &'static [&'static str],
    pool: RefCell<Pool>,
    /// The time of the calls of event handlers.
    time: VirtualTime,
    seen: HashSet<u128>,
    /// The number of steps that were taken.
    pub(super) steps: usize,
    pub(super) is_complete: bool,
}

/// The world of one step.
struct Around<'a, PM, W> {
    plan: &'a Exploration<PM, W>,
    pool: &'a RefCell<Pool>,
    delivered: &'a [u32],
    now: SystemTime,
    /// The decisions so far, and those that are prescribed.
    rejected: Vec<bool>,
    decided: usize,
    executed: Vec<CommandEnvelope>,
}

impl<PM, W> World for Around<'_, PM, W> {
    fn now(&self) -> SystemTime {
        self.now
    }

    fn event(&self, position: u64) -> Option<Recorded> {
        self.pool.borrow().recorded(self.delivered, position)
    }

    fn decide(&mut self, command: &CommandEnvelope) -> Option<FailureCause> {
        let mut rejections = self.plan.rejections.iter();
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

impl<'a, PM: ProcessManager, W: Clone + Hash> Search<'a, PM, W> {
    #[track_caller]
    pub(super) fn new(plan: &'a Exploration<PM, W>) -> Self {
        Self {
            plan,
            subscriptions: PM::default().subscriptions(),
            pool: RefCell::default(),
            time: VirtualTime::default(),
            seen: HashSet::new(),
            steps: 0,
            is_complete: true,
        }
    }

    pub(super) fn states(&self) -> usize {
        self.seen.len()
    }

    /// The state after the given events.
    #[track_caller]
    pub(super) fn start(&self) -> (Node, W) {
        let stored = match Offline::new(Definition::of::<PM>()) {
            Ok(stored) => stored,
            Err(reason) => panic!("`{}` cannot be stored: {reason}", PM::NAME),
        };
        let handlers = self.plan.handlers.iter();
        let node = Node {
            stored,
            waiting: Vec::new(),
            delivered: Vec::new(),
            sent: Vec::new(),
            failures: self.plan.failures,
            timeouts: self.plan.timeouts,
            crashes: self.plan.crashes,
            now: UNIX_EPOCH + BEGIN,
            handlers: handlers.map(|handler| handler.begin()).collect(),
        };
        let mut state = (node, self.plan.outside.clone());
        for given in &self.plan.given {
            let stream = self.wait(&mut state.0, given.clone());
            let step = Step::new(Kind::Event(stream));
            state = self.take(&state, &step).0;
        }
        for event in &self.plan.events {
            self.wait(&mut state.0, event.clone());
        }
        state
    }

    /// Whether the process manager or an event handler subscribes to an aggregate type.
    fn is_shown(&self, aggregate_type: &str) -> bool {
        let mut handlers = self.plan.handlers.iter();
        self.subscriptions.contains(&aggregate_type)
            || handlers.any(|handler| handler.subscriptions().contains(&aggregate_type))
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

    /// The state after a step, the step with all of its decisions, and the number of its calls.
    #[track_caller]
    fn take(&self, (before, outside): &(Node, W), step: &Step) -> ((Node, W), Step, usize) {
        let (mut node, mut outside) = (before.clone(), outside.clone());
        if step.fails {
            match step.kind {
                Kind::Handler(..) => node.timeouts -= 1,
                _ => node.failures -= 1,
            }
        }
        let mut event = None;
        if let Kind::Event(index) = step.kind
            && let Some((_, events)) = node.waiting.get_mut(index)
            && let Some(number) = events.pop_front()
        {
            node.delivered.push(number);
            let position = node.delivered.len() as u64;
            event = self.pool.borrow().recorded(&node.delivered, position);
        }
        node.now = node.now.max(node.due(step.kind).unwrap_or(node.now));
        let mut around = Around {
            plan: self.plan,
            pool: &self.pool,
            delivered: &node.delivered,
            now: node.now,
            rejected: step.rejected.clone(),
            decided: 0,
            executed: Vec::new(),
        };
        let mut call_plan = CallPlan {
            time: &self.time,
            outside: &mut outside,
            fails: step.fails,
            crashes_at: step.crashes_at,
            calls: 0,
            has_crashed: false,
        };
        match (step.kind, &event) {
            (Kind::Handler(index, task), _) => {
                let handler = self.plan.handlers.get(index);
                if let Some((handler, station)) = handler.zip(node.handlers.get_mut(index)) {
                    station.work(&**handler, task, &mut around, &mut call_plan);
                }
            }
            (kind, Some(event)) => {
                let is_own = self.subscriptions.contains(&&*event.0.aggregate_type);
                // A plan without event handlers shows every event.
                if is_own || self.plan.handlers.is_empty() {
                    self.react(&mut node.stored, kind, Some(event), step.fails, &mut around);
                }
                for (handler, station) in self.plan.handlers.iter().zip(&mut node.handlers) {
                    if handler.subscriptions().contains(&&*event.0.aggregate_type) {
                        station.show(&**handler, event.clone(), &mut around, &mut call_plan);
                    }
                }
            }
            (kind, None) => self.react(&mut node.stored, kind, None, step.fails, &mut around),
        }
        let (calls, has_crashed) = (call_plan.calls, call_plan.has_crashed);
        let Around {
            mut rejected,
            executed,
            decided,
            ..
        } = around;
        node.crashes -= u32::from(has_crashed);
        rejected.truncate(decided);
        for command in executed {
            for (aggregate_type, answers) in &self.plan.answers {
                if *aggregate_type == command.aggregate_type && self.is_shown(aggregate_type) {
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
        ((node, outside), step, calls)
    }

    /// A step of the process manager.
    fn react(
        &self,
        stored: &mut Offline,
        kind: Kind,
        event: Option<&Recorded>,
        fails: bool,
        around: &mut Around<'_, PM, W>,
    ) {
        let fails = fails.then(|| FailureCause::Panicked {
            message: "it panicked: a failure of the exploration".to_owned(),
        });
        let row = match kind {
            Kind::Deadline => stored.next_deadline_row().map(Box::from),
            Kind::Event(_) | Kind::Retry | Kind::Handler(..) => {
                stored.next_retry().map(|(row, _)| Box::from(row))
            }
        };
        let row: Box<str> = row.unwrap_or_default();
        let work = match (kind, event) {
            (_, Some(event)) => Work::Event(event, fails),
            (Kind::Deadline, None) => Work::Deadline(&row, fails),
            (_, None) => Work::Retry(&row),
        };
        stored.work(work, around);
    }

    /// The next steps from a state, with the states after them and their names.
    #[track_caller]
    pub(super) fn next(&self, state: &(Node, W)) -> Vec<(Step, (Node, W), String)> {
        let mut next = Vec::new();
        self.each_next(state, |step, after| {
            let name = self.name(&state.0, &step);
            next.push((step, after, name));
        });
        next
    }

    #[track_caller]
    fn each_next(&self, state: &(Node, W), mut show: impl FnMut(Step, (Node, W))) {
        let (node, _) = state;
        if node.stored.halted.is_some() {
            return;
        }
        let waiting = node.waiting.iter().enumerate();
        let events = waiting.filter(|(_, (_, events))| !events.is_empty());
        let mut kinds: Vec<_> = events.map(|(index, _)| Kind::Event(index)).collect();
        kinds.extend(node.stored.has_deadlines().then_some(Kind::Deadline));
        kinds.extend(node.stored.next_retry().map(|_| Kind::Retry));
        for (index, station) in node.handlers.iter().enumerate() {
            let tasks = station.tasks().into_iter();
            kinds.extend(tasks.map(|task| Kind::Handler(index, task)));
        }
        for kind in kinds {
            let calls = self.decide(state, Step::new(kind), &mut show);
            let may_fail = match kind {
                Kind::Event(_) | Kind::Deadline => node.failures > 0,
                Kind::Retry => false,
                Kind::Handler(..) => node.timeouts > 0 && calls > 0,
            };
            if may_fail {
                let step = Step {
                    fails: true,
                    ..Step::new(kind)
                };
                self.decide(state, step, &mut show);
            }
            for call in (0..calls).take_while(|_| node.crashes > 0) {
                let step = Step {
                    crashes_at: Some(call),
                    ..Step::new(kind)
                };
                self.decide(state, step, &mut show);
            }
        }
    }

    /// Takes a step with each combination of rejected commands. Returns the largest number of its calls.
    #[track_caller]
    fn decide(
        &self,
        state: &(Node, W),
        mut step: Step,
        show: &mut impl FnMut(Step, (Node, W)),
    ) -> usize {
        let mut most = 0;
        loop {
            let (after, taken, calls) = self.take(state, &step);
            most = most.max(calls);
            step.rejected = taken.rejected.clone();
            show(taken, after);
            // The next combination: the last command that was executed is rejected.
            while step.rejected.pop_if(|last| *last).is_some() {}
            match step.rejected.last_mut() {
                Some(last) => *last = true,
                None => return most,
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
            Kind::Handler(index, task) => {
                match (node.handlers.get(index), self.plan.handlers.get(index)) {
                    (Some(station), Some(handler)) => station.name(handler.name(), task),
                    _ => String::new(),
                }
            }
        };
        match step.kind {
            Kind::Handler(..) if step.fails => name.push_str(", and times out"),
            _ if step.fails => name.push_str(", which fails"),
            _ => {}
        }
        match step.crashes_at {
            None => {}
            Some(0) => name.push_str(", and a crash before its commit"),
            Some(nth) => name.push_str(&format!(", and a crash before commit {}", nth + 1)),
        }
        let rejected = step.rejected.iter().enumerate();
        for (nth, _) in rejected.filter(|(_, is_rejected)| **is_rejected) {
            name.push_str(&format!(", command {} rejected", nth + 1));
        }
        name
    }

    /// Checks the invariants.
    pub(super) fn check(&self, (node, outside): &(Node, W)) -> Result<(), String> {
        let moment = Moment {
            pool: &self.pool,
            node,
            outside,
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
        self.seen.insert(start.0.hash(&start.1));
        if let Err(reason) = self.check(&start) {
            return Some((reason, Vec::new()));
        }
        // A state, and the number of the step that led to it, from 1.
        let mut front = VecDeque::from([(start, 0)]);
        while let Some((state, way)) = front.pop_front() {
            let mut found = Vec::new();
            self.each_next(&state, |step, after| found.push((step, after)));
            for (step, after) in found {
                self.steps += 1;
                if !self.seen.insert(after.0.hash(&after.1)) {
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
        let mut state = self.start();
        let mut names = Vec::new();
        for step in steps.iter().rev() {
            names.push(self.name(&state.0, step));
            state = self.take(&state, step).0;
        }
        names
    }
}
