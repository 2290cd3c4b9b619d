//! The machine against a small model, over random sequences of events, deadlines, retries, releases and failures.

#![cfg(feature = "testing")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::definition::Definition;
use super::hold::Scope;
use super::offline::{Offline, Recorded, Work, World};
use super::rows::{self, CommandRow, InstanceRow, RetriedRow, Status};
use crate::command::CommandContext;
use crate::envelope::CommandEnvelope;
use crate::event::RecordedEvent;
use crate::journal::StreamId;
use crate::process_manager::{
    Backoff, Correlation, Deadline, Effects, Failure, FailureAction, FailureCause, ProcessManager,
    ReactError, ScheduledDeadline, StoredDeadline, TimerChange,
};

const HOUR: u64 = 3600;

thread_local! {
    /// Whether fragile code fails: a mistake of the program, which an operator mends.
    static IS_BROKEN: Cell<bool> = const { Cell::new(false) };
}

/// The saga. Each event names its reaction.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Puppet {
    count: u64,
}

fn text<'a>(event: &'a RecordedEvent, name: &str) -> &'a str {
    event.data.get(name).and_then(Value::as_str).unwrap_or("")
}

fn command(payload: String) -> CommandEnvelope {
    CommandEnvelope {
        aggregate_type: "target".to_owned(),
        instance_id: "t".to_owned(),
        command: Value::String(payload),
        context: CommandContext::default(),
    }
}

fn broken() -> ReactError {
    ReactError::Other("it is broken".to_owned())
}

impl ProcessManager for Puppet {
    const NAME: &'static str = "puppet";
    const IS_KEYED: bool = true;
    type Envelope = CommandEnvelope;

    fn react(
        &mut self,
        _: &str,
        _: &str,
        _: &RecordedEvent,
    ) -> Result<Vec<CommandEnvelope>, ReactError> {
        Err(ReactError::NoKey)
    }

    fn correlate(_: &str, _: &str, event: &RecordedEvent) -> Result<Correlation, ReactError> {
        let key = text(event, "key").to_owned();
        match text(event, "join") {
            "starts" => Ok(Correlation::starts(key)),
            "continues" => Ok(Correlation::continues(key)),
            "either" => Ok(Correlation::starts_or_continues(key)),
            _ if IS_BROKEN.get() => Err(broken()),
            _ => Ok(Correlation::continues(key)),
        }
    }

    fn react_in(
        &mut self,
        key: &str,
        _: &str,
        _: &str,
        event: &RecordedEvent,
    ) -> Result<Effects<CommandEnvelope>, ReactError> {
        self.count += 1;
        let mut effects = Effects::default();
        match text(event, "does") {
            "fragile" if IS_BROKEN.get() => return Err(broken()),
            "send" => effects.envelopes = vec![command(format!("{key}/{}", event.position))],
            "arm" => effects
                .timers
                .push(TimerChange::Schedule(ScheduledDeadline {
                    name: "d".to_owned(),
                    when: Deadline::after(Duration::from_secs(HOUR)),
                    message_type: "due",
                    message: serde_json::value::RawValue::NULL.to_owned(),
                })),
            "cancel" => effects.timers.push(TimerChange::Cancel("d".to_owned())),
            "complete" => effects.is_complete = true,
            _ => {}
        }
        Ok(effects)
    }

    fn on_deadline(
        &mut self,
        key: &str,
        deadline: &StoredDeadline,
    ) -> Result<Effects<CommandEnvelope>, ReactError> {
        self.count += 10;
        let source = deadline.source.position;
        Ok(vec![command(format!("{key}/deadline of {source}"))].into())
    }

    fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
        match failure.source.event_type.as_str() {
            "park" => FailureAction::Park,
            "skip" => FailureAction::Skip,
            "letter" => FailureAction::DeadLetter,
            "compensate" => {
                let position = failure.source.position;
                FailureAction::Compensate(vec![command(format!("instead of {position}"))])
            }
            _ => FailureAction::Retry(Backoff::exponential(Duration::from_secs(60)).attempts(2)),
        }
    }
}

/// An event of the model.
#[derive(Debug, Clone)]
struct Event {
    stream: &'static str,
    key: &'static str,
    join: &'static str,
    does: &'static str,
    policy: &'static str,
}

/// Held work, in the order of its key: the position, what is behind the event there, and the time of a deadline.
#[derive(Debug, Clone)]
enum Held {
    Event { failed: u32 },
    Deadline { generation: u64, source: u64 },
    Command(Command),
}
type Place = (u64, u8, u64, u8);

#[derive(Debug, Clone)]
struct Command {
    payload: String,
    policy: &'static str,
    key: String,
    failed: u32,
}

#[derive(Debug, Clone, Default)]
struct Instance {
    generation: u64,
    is_open: bool,
    has_reacted: bool,
    count: u64,
    /// The armed deadline: when it is due, and its source.
    deadline: Option<(u64, u64)>,
    parked: bool,
    /// Whether a retry ends the hold.
    retries: bool,
    is_releasing: bool,
    held: BTreeMap<Place, Held>,
}

#[derive(Default)]
struct Model {
    events: Vec<Event>,
    instances: BTreeMap<String, Instance>,
    /// Held streams: the event that failed and the number of its failures, and the held positions.
    streams: BTreeMap<&'static str, ((u64, u32), Vec<u64>)>,
    pending: BTreeMap<String, Command>,
    sent: Vec<String>,
    letters: usize,
    now: u64,
    is_broken: bool,
    rejects: bool,
}

impl Model {
    fn position(&self) -> u64 {
        self.events.len() as u64
    }

    fn event_at(&self, position: u64) -> Event {
        self.events[position as usize - 1].clone()
    }

    fn deliver(&mut self, event: Event) {
        let stream = event.stream;
        self.events.push(event);
        let position = self.position();
        match self.streams.get_mut(stream) {
            Some((_, held)) => held.push(position),
            None => drop(self.correlate(position, 0)),
        }
    }

    /// Returns whether its stream is held.
    fn correlate(&mut self, position: u64, failed: u32) -> bool {
        let event = self.event_at(position);
        if event.join != "odd" || !self.is_broken {
            self.join(position);
            return false;
        }
        match event.policy {
            "skip" => {}
            "letter" => self.letters += 1,
            "compensate" => self.sent.push(format!("instead of {position}")),
            "retry" if failed > 0 => self.letters += 1,
            _ => {
                let (failures, held) = self.streams.entry(event.stream).or_default();
                *failures = (position, failed + 1);
                if !held.contains(&position) {
                    held.push(position);
                    held.sort_unstable();
                }
                return true;
            }
        }
        false
    }

    fn join(&mut self, position: u64) {
        let event = self.event_at(position);
        let found = self.instances.entry(event.key.to_owned()).or_default();
        if found.parked {
            found
                .held
                .insert((position, 0, 0, 0), Held::Event { failed: 0 });
            return;
        }
        match (event.join, found.is_open) {
            ("starts", true) | ("continues" | "odd", false) => {}
            (_, false) => {
                let before = found.clone();
                *found = Instance {
                    generation: before.generation + 1,
                    is_open: true,
                    held: before.held.clone(),
                    ..Instance::default()
                };
                if !self.react(position, 0) {
                    // The event did not start it.
                    self.instances.insert(event.key.to_owned(), before);
                }
            }
            (_, true) => drop(self.react(position, 0)),
        }
    }

    /// Returns whether the instance exists after it.
    fn react(&mut self, position: u64, failed: u32) -> bool {
        let event = self.event_at(position);
        let (now, is_broken) = (self.now, self.is_broken);
        let found = self.instances.get_mut(event.key).unwrap();
        if event.does == "fragile" && is_broken {
            match event.policy {
                "skip" => return found.has_reacted,
                "compensate" => {
                    found.has_reacted = true;
                    self.sent.push(format!("instead of {position}"));
                    return true;
                }
                "letter" => {
                    self.letters += 1;
                    return found.has_reacted;
                }
                "retry" if failed > 0 => {
                    self.letters += 1;
                    return found.has_reacted;
                }
                policy => {
                    found
                        .held
                        .insert((position, 0, 0, 0), Held::Event { failed: failed + 1 });
                    found.parked = true;
                    found.is_releasing = false;
                    found.retries = policy == "retry";
                    return true;
                }
            }
        }
        found.count += 1;
        found.has_reacted = true;
        match event.does {
            "arm" => found.deadline = Some((now + HOUR, position)),
            "cancel" => found.deadline = None,
            "complete" => {
                found.is_open = false;
                found.is_releasing = false;
                found.deadline = None;
            }
            "send" => {
                let command = Command {
                    payload: format!("{}/{position}", event.key),
                    policy: event.policy,
                    key: event.key.to_owned(),
                    failed: 0,
                };
                self.execute(command, (position, 1, 0, 0));
            }
            _ => {}
        }
        true
    }

    fn execute(&mut self, mut command: Command, place: Place) {
        if !self.rejects {
            self.sent.push(command.payload);
            return;
        }
        command.failed += 1;
        match command.policy {
            "skip" => {}
            "letter" => self.letters += 1,
            "compensate" => {
                let (_, position) = command.payload.rsplit_once(['/', ' ']).unwrap();
                self.sent.push(format!("instead of {position}"));
            }
            "retry" if command.failed > 1 => self.letters += 1,
            "retry" => drop(self.pending.insert(command.payload.clone(), command)),
            _ => {
                let found = self.instances.get_mut(&command.key).unwrap();
                found.held.insert(place, Held::Command(command));
                found.is_releasing = false;
                if !found.parked {
                    (found.parked, found.retries) = (true, false);
                }
            }
        }
    }

    fn fire(&mut self, key: &str, due: u64, source: u64) {
        self.now = self.now.max(due);
        let position = self.position();
        let found = self.instances.get_mut(key).unwrap();
        if found.parked {
            let (generation, place) = (found.generation, (position, 2, due, 0));
            found
                .held
                .insert(place, Held::Deadline { generation, source });
            return;
        }
        found.deadline = None;
        self.on_deadline(key, source, (position, 1, 0, 0));
    }

    fn on_deadline(&mut self, key: &str, source: u64, place: Place) {
        let policy = self.event_at(source).policy;
        let found = self.instances.get_mut(key).unwrap();
        found.count += 10;
        let command = Command {
            payload: format!("{key}/deadline of {source}"),
            policy,
            key: key.to_owned(),
            failed: 0,
        };
        self.execute(command, place);
    }

    fn release(&mut self, key: &str) {
        let found = self.instances.entry(key.to_owned()).or_default();
        if !found.parked {
            return;
        }
        (found.parked, found.retries) = (false, false);
        found.is_releasing = found.is_open;
        loop {
            let found = self.instances.get_mut(key).unwrap();
            if found.parked {
                return;
            }
            let Some((place, held)) = found.held.pop_first() else {
                found.is_releasing = false;
                return;
            };
            let (is_releasing, deadline) = (found.is_releasing, found.deadline);
            match held {
                Held::Event { failed } if is_releasing => {
                    let position = place.0;
                    let is_start = self.event_at(position).join == "starts";
                    if (!is_start || failed > 0) && !self.react(position, failed) {
                        // It has never reacted to anything, so it ends.
                        let found = self.instances.get_mut(key).unwrap();
                        (found.is_open, found.is_releasing) = (false, false);
                    }
                }
                Held::Event { .. } => {
                    // Its instance has ended. It waits in its stream, if that holds an earlier event or the event has no instance.
                    let event = self.event_at(place.0);
                    let is_odd = event.join == "odd" && self.is_broken;
                    match self.streams.get_mut(event.stream) {
                        Some((_, held)) if is_odd || held[0] < place.0 => {
                            held.push(place.0);
                            held.sort_unstable();
                        }
                        _ => drop(self.correlate(place.0, 0)),
                    }
                }
                // A deadline is held under the name that it was armed with.
                Held::Deadline { generation, source } => {
                    let found = self.instances.get_mut(key).unwrap();
                    if found.generation == generation && deadline == Some((place.2, source)) {
                        found.deadline = None;
                        self.on_deadline(key, source, (place.0, 2, place.2, 1));
                    }
                }
                Held::Command(command) => self.execute(command, place),
            }
        }
    }

    fn release_stream(&mut self, stream: &'static str) {
        let Some(((first, failed), held)) = self.streams.remove(stream) else {
            return;
        };
        for (nth, position) in held.iter().enumerate() {
            let failed = if *position == first { failed } else { 0 };
            if self.correlate(*position, failed) {
                let (_, rest) = self.streams.get_mut(stream).unwrap();
                *rest = held[nth..].to_vec();
                return;
            }
        }
    }
}

/// The world of the machine: it has the same events, and the same target.
struct Outside<'a> {
    now: SystemTime,
    events: &'a [Recorded],
    rejects: bool,
    sent: &'a mut Vec<String>,
}

impl World for Outside<'_> {
    fn now(&self) -> SystemTime {
        self.now
    }

    fn event(&self, position: u64) -> Option<Recorded> {
        self.events.get(position as usize - 1).cloned()
    }

    fn decide(&mut self, command: &CommandEnvelope) -> Option<FailureCause> {
        let is_compensation = command.command.as_str().unwrap().starts_with("instead");
        (self.rejects && !is_compensation).then(|| FailureCause::Rejected {
            error: Arc::new(std::fmt::Error),
        })
    }

    fn executed(&mut self, command: CommandEnvelope) {
        self.sent.push(command.command.as_str().unwrap().to_owned());
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    fn of(&mut self, values: &[&'static str]) -> &'static str {
        values[self.below(values.len() as u64) as usize]
    }
}

/// One random sequence. Returns its steps.
fn sequence(seed: u64) -> Result<(), String> {
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let (mut model, mut offline) = (
        Model::default(),
        Offline::new(Definition::of::<Puppet>()).unwrap(),
    );
    let (mut events, mut sent): (Vec<Recorded>, _) = (Vec::new(), Vec::new());
    let mut steps = Vec::new();
    for _ in 0..5 + random.below(20) {
        let row: Box<str>;
        let work = match random.below(14) {
            0..7 => {
                let event = Event {
                    stream: random.of(&["s", "t"]),
                    key: random.of(&["a", "b"]),
                    join: random.of(&["starts", "continues", "either", "either", "odd"]),
                    does: random.of(&[
                        "count", "send", "send", "arm", "cancel", "complete", "fragile", "fragile",
                    ]),
                    policy: random.of(&["park", "skip", "letter", "compensate", "retry"]),
                };
                steps.push(format!("{event:?}"));
                let data = json!({ "key": event.key, "join": event.join, "does": event.does });
                let position = model.position() + 1;
                let stored = eventfold::Event::new(event.policy, data);
                let recorded = RecordedEvent::new(position, position, stored);
                events.push(Arc::new((StreamId::new("puppet", event.stream), recorded)));
                model.deliver(event);
                None
            }
            7..9 => {
                let next = offline.next_deadline();
                let Some((key, timer)) = next.map(|(key, timer)| (Box::from(key), timer)) else {
                    continue;
                };
                steps.push(format!("deadline of {}", timer.key));
                row = key;
                let due = timer.deadline.due_ms / 1000;
                model.fire(&timer.key, due, timer.deadline.source.position);
                Some(Work::Deadline(&row, None))
            }
            9..11 => {
                let Some((key, due)) = offline.next_retry() else {
                    continue;
                };
                row = key.into();
                model.now = model.now.max(due.div_ceil(1000));
                let value = &offline.rows[&*row];
                match rows::read::<RetriedRow>(&row, value).map(Scope::from) {
                    Ok(Scope::Stream(stream)) => {
                        let stream = if &*stream.instance_id == "s" {
                            "s"
                        } else {
                            "t"
                        };
                        model.release_stream(stream);
                    }
                    Ok(Scope::Instance(key)) => model.release(&key),
                    _ => {
                        let command: CommandRow = rows::read(&row, value).unwrap();
                        let payload = command.envelope.command.as_str().unwrap().to_owned();
                        let command = model.pending.remove(&payload).unwrap();
                        model.execute(command, (0, 0, 0, 0));
                    }
                }
                steps.push(format!("retry {row}"));
                Some(Work::Retry(&row))
            }
            11 => {
                let key = random.of(&["a", "b"]);
                steps.push(format!("release {key}"));
                model.release(key);
                Some(Work::Release(Scope::Instance(key.to_owned())))
            }
            12 => {
                let stream = random.of(&["s", "t"]);
                steps.push(format!("release stream {stream}"));
                model.release_stream(stream);
                Some(Work::Release(Scope::Stream(StreamId::new(
                    "puppet", stream,
                ))))
            }
            _ => {
                model.is_broken = random.below(2) == 0;
                model.rejects = random.below(2) == 0;
                IS_BROKEN.set(model.is_broken);
                steps.push(format!(
                    "broken {}, rejects {}",
                    model.is_broken, model.rejects
                ));
                continue;
            }
        };
        let last = events.last().cloned();
        let mut world = Outside {
            now: UNIX_EPOCH + Duration::from_secs(model.now),
            events: &events,
            rejects: model.rejects,
            sent: &mut sent,
        };
        let _ = match (work, &last) {
            (Some(work), _) => offline.work(work, &mut world),
            (None, Some(event)) => offline.work(Work::Event(event, None), &mut world),
            (None, None) => Vec::new(),
        };
        let (found, expected) = (printed(&offline, &sent), printed_model(&model));
        if found != expected {
            let steps = steps.join("\n");
            return Err(format!(
                "seed {seed}\n{steps}\n\nmachine\n{found}\nmodel\n{expected}\n{:#?}",
                offline.rows
            ));
        }
    }
    Ok(())
}

fn printed(offline: &Offline, sent: &[String]) -> String {
    let mut lines = vec![format!("halted {:?}", offline.halted)];
    for (key, value) in offline.of_kind("i") {
        let row: InstanceRow = rows::read(key, value).unwrap();
        let key = &key[1..];
        let held = offline
            .of_kind("h")
            .filter(|(held, _)| held.starts_with(&rows::held_prefix(key)));
        let held = held.count();
        let state = row.state.as_ref().map(|state| state.get().to_owned());
        let state: Option<Puppet> = state.map(|state| serde_json::from_str(&state).unwrap());
        let count = state.map_or(0, |state| state.count);
        let is_open = row.status != Status::Completed && !row.is_complete;
        let deadline = row.timers.get("d").map(|due| due / 1000);
        if is_open || held > 0 {
            let parked = row.status == Status::Parked;
            lines.push(format!("{key}: open {is_open}, count {count}, deadline {deadline:?}, parked {parked}, held {held}"));
        }
    }
    for stream in ["s", "t"] {
        let stream = StreamId::new("puppet", stream);
        let prefix = rows::stream_held_prefix(&stream);
        let held = offline
            .of_kind("s")
            .filter(|(held, _)| held.starts_with(&prefix));
        lines.push(format!("{}: held {}", stream.instance_id, held.count()));
    }
    lines.push(format!("letters {}", offline.of_kind("d").count()));
    lines.push(format!("sent {sent:?}"));
    lines.join("\n")
}

fn printed_model(model: &Model) -> String {
    let mut lines = vec!["halted None".to_owned()];
    for (key, found) in &model.instances {
        let Instance {
            is_open,
            count,
            deadline,
            parked,
            held,
            ..
        } = found;
        if *is_open || !held.is_empty() {
            let count = if *is_open { *count } else { 0 };
            let (deadline, held) = (deadline.map(|(due, _)| due), held.len());
            lines.push(format!("{key}: open {is_open}, count {count}, deadline {deadline:?}, parked {parked}, held {held}"));
        }
    }
    for stream in ["s", "t"] {
        let held = model.streams.get(stream).map_or(0, |(_, held)| held.len());
        lines.push(format!("{stream}: held {held}"));
    }
    lines.push(format!("letters {}", model.letters));
    lines.push(format!("sent {:?}", model.sent));
    lines.join("\n")
}

#[test]
fn the_machine_does_what_the_model_does() {
    let number = |name: &str, default: u64| {
        let set = std::env::var(name).ok();
        set.and_then(|set| set.parse().ok()).unwrap_or(default)
    };
    let first = number("EVENTFOLD_ENGINE_SEED", 1);
    let sequences = number("EVENTFOLD_ENGINE_SEQUENCES", 10_000);
    for seed in first..first + sequences {
        IS_BROKEN.set(false);
        if let Err(difference) = sequence(seed) {
            panic!("{difference}");
        }
    }
}
