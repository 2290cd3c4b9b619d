//! The model: everything that happened, in one list, and what must follow from it.
//!
//! It is shown what the projection [`Log`](super::domain::Log) has seen and takes it only if every event is explained: as one
//! of the commands that were asked for and not answered yet, decided on the state at that place, or as the next reaction of a
//! process manager, computed from the same functions without a store. What cannot be explained happened twice, in the wrong
//! order, in part, or to somebody else.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use eventfold::Event;
use eventfold_es::prelude::*;
use eventfold_es::{DeadLetter, RecordedEvent};

use super::domain::{
    Account, AccountCommand, Auditor, AuditorEnvelope, Clerk, ClerkEnvelope, Seen, Till,
    TillCommand,
};

/// A stream, by type and id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stream {
    pub aggregate_type: String,
    pub id: String,
}

/// What is asked of a store, and under which idempotency key.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub asked: Asked,
    pub key: Option<String>,
}

/// What is asked of a store.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    Account(String, AccountCommand),
    Till(String, TillCommand),
    Inject(String, Event),
}

impl From<Asked> for Request {
    fn from(asked: Asked) -> Self {
        Self { asked, key: None }
    }
}

impl Request {
    pub fn stream(&self) -> Stream {
        let (aggregate_type, id) = match &self.asked {
            Asked::Account(id, _) | Asked::Inject(id, _) => (Account::AGGREGATE_TYPE, id),
            Asked::Till(id, _) => (Till::AGGREGATE_TYPE, id),
        };
        Stream {
            aggregate_type: aggregate_type.to_owned(),
            id: id.clone(),
        }
    }
}

/// A dead letter without its time.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    pub envelope: CommandEnvelope,
    pub error: String,
}

impl From<DeadLetter> for Letter {
    fn from(letter: DeadLetter) -> Self {
        Self {
            envelope: letter.envelope,
            error: letter.error,
        }
    }
}

/// The events of all streams.
#[derive(Debug, Clone, Default)]
struct Streams(BTreeMap<Stream, Arc<Vec<Event>>>);

impl Streams {
    fn events(&self, stream: &Stream) -> &[Event] {
        self.0.get(stream).map_or(&[], |events| events.as_slice())
    }

    fn push(&mut self, stream: Stream, event: Event) {
        Arc::make_mut(self.0.entry(stream).or_default()).push(event);
    }

    /// What a request comes to on the first `length` events of its stream.
    fn decide(&self, request: &Request, length: usize) -> Result<Vec<Event>, String> {
        let stream = request.stream();
        let events = self.events(&stream).get(..length).unwrap_or_default();
        match &request.asked {
            Asked::Account(_, command) => decided::<Account>(events, command.clone()),
            Asked::Till(_, command) => decided::<Till>(events, command.clone()),
            Asked::Inject(_, event) => {
                let is_known =
                    event.id.is_some() && events.iter().any(|known| known.id == event.id);
                Ok(if is_known {
                    Vec::new()
                } else {
                    vec![event.clone()]
                })
            }
        }
    }
}

fn fold<A: Aggregate>(state: A, event: &Event) -> A {
    let event = A::DomainEvent::from_event(event).expect("the store decoded it");
    state.apply(&event)
}

/// The states before, between and after these events.
pub fn fold_each<A: Aggregate>(events: &[Event]) -> Vec<A> {
    let mut states = vec![A::default()];
    for event in events {
        let last = states.last().cloned().unwrap_or_default();
        states.push(fold(last, event));
    }
    states
}

fn decided<A: Aggregate>(events: &[Event], command: A::Command) -> Result<Vec<Event>, String> {
    let decided = events.iter().fold(A::default(), fold).handle(command);
    let decided = decided.map_err(|error| error.to_string())?;
    let encoded = decided.iter().map(DomainEvent::to_event);
    Ok(encoded.map(|event| event.expect("plain values")).collect())
}

fn is_same(seen: &Event, expected: &Event) -> bool {
    let is_injected = expected.ts != 0;
    if is_injected {
        seen == expected
    } else {
        (&seen.event_type, &seen.data) == (&expected.event_type, &expected.data)
    }
}

trait Sends: ProcessManager + Clone {
    fn request(envelope: &Self::Envelope) -> (Request, CommandEnvelope);
}

impl Sends for Clerk {
    fn request(envelope: &ClerkEnvelope) -> (Request, CommandEnvelope) {
        let ClerkEnvelope::Till(envelope) = envelope;
        let request = Asked::Till(envelope.instance_id.clone(), envelope.command.clone());
        (request.into(), envelope.erase().expect("plain values"))
    }
}

impl Sends for Auditor {
    fn request(envelope: &AuditorEnvelope) -> (Request, CommandEnvelope) {
        let AuditorEnvelope::Account(envelope) = envelope;
        let request = Asked::Account(envelope.instance_id.clone(), envelope.command.clone());
        (request.into(), envelope.erase().expect("plain values"))
    }
}

/// One process manager.
#[derive(Debug, Clone, Default)]
struct Manager<PM> {
    state: PM,
    /// The first entry of the log that it has not reacted to; those that it sends nothing for are skipped when they are met.
    next: usize,
    letters: Vec<Letter>,
}

/// What a process manager has to do next.
struct Due<PM> {
    state: PM,
    cause: usize,
    events: Vec<(Stream, Event)>,
    letters: Vec<Letter>,
}

impl<PM: Sends> Manager<PM> {
    fn due(&self, log: &[Seen], streams: &Streams) -> Option<Due<PM>> {
        let mut state = self.state.clone();
        for (cause, seen) in log.iter().enumerate().skip(self.next) {
            let envelopes = react(&mut state, seen);
            if envelopes.is_empty() {
                continue;
            }
            let mut scratch = streams.clone();
            let mut due = Due {
                state,
                cause,
                events: Vec::new(),
                letters: Vec::new(),
            };
            for envelope in &envelopes {
                let (request, envelope) = PM::request(envelope);
                let stream = request.stream();
                match scratch.decide(&request, scratch.events(&stream).len()) {
                    Ok(events) => {
                        for event in events {
                            scratch.push(stream.clone(), event.clone());
                            due.events.push((stream.clone(), event));
                        }
                    }
                    Err(error) => due.letters.push(Letter { envelope, error }),
                }
            }
            // A commit lists its events stream by stream.
            due.events.sort_by(|(one, _), (other, _)| one.cmp(other));
            return Some(due);
        }
        None
    }

    fn done(&mut self, due: Due<PM>) {
        self.state = due.state;
        self.next = due.cause + 1;
        self.letters.extend(due.letters);
    }
}

fn react<PM: Sends>(state: &mut PM, seen: &Seen) -> Vec<PM::Envelope> {
    if !state.subscriptions().contains(&&*seen.aggregate_type) {
        return Vec::new();
    }
    let recorded = RecordedEvent::new(seen.position, seen.version, seen.event.clone());
    let reacted = ProcessManager::react(state, &seen.aggregate_type, &seen.id, &recorded);
    reacted.expect("the store decoded it")
}

impl<PM> Due<PM> {
    fn explains(&self, seen: &[Seen]) -> bool {
        let Some(seen) = seen.get(..self.events.len()) else {
            return false;
        };
        let mut seen: Vec<_> = seen
            .iter()
            .map(|seen| (seen.stream(), &seen.event))
            .collect();
        seen.sort_by(|(one, _), (other, _)| one.cmp(other));
        seen.iter()
            .zip(&self.events)
            .all(|(seen, due)| seen.0 == due.0 && is_same(seen.1, &due.1))
    }
}

impl Seen {
    fn stream(&self) -> Stream {
        Stream {
            aggregate_type: self.aggregate_type.clone(),
            id: self.id.clone(),
        }
    }
}

/// One commit with events.
#[derive(Debug, Clone)]
struct Block {
    range: Range<usize>,
    origin: Origin,
}

#[derive(Debug, Clone)]
enum Origin {
    Client { request: Option<Request> },
    Clerk { cause: usize },
    Auditor { cause: usize },
}

/// See the [module](self).
#[derive(Debug, Clone, Default)]
pub struct Shadow {
    pub log: Vec<Seen>,
    streams: Streams,
    clerk: Manager<Clerk>,
    auditor: Manager<Auditor>,
    blocks: Vec<Block>,
    /// The entries of the log that each idempotency key of a stream stands for, and what was asked.
    answers: BTreeMap<(Stream, String), (Range<usize>, Asked)>,
}

impl Shadow {
    /// Takes what was seen behind the log. The requests that it explains are removed from `open`, and their entries in the
    /// log are returned, by their number.
    pub fn absorb(
        &mut self,
        seen: &[Seen],
        open: &mut BTreeMap<u64, Request>,
    ) -> Result<BTreeMap<u64, Range<usize>>, String> {
        let mut found = BTreeMap::new();
        let mut at = 0;
        while let Some(rest) = seen.get(at..).filter(|rest| !rest.is_empty()) {
            let clerk = self.clerk.due(&self.log, &self.streams);
            let auditor = self.auditor.due(&self.log, &self.streams);
            let start = self.log.len();
            if let Some(due) = clerk.filter(|due| due.explains(rest)) {
                let (count, cause) = (due.events.len(), due.cause);
                self.push(&rest[..count], Origin::Clerk { cause })?;
                self.clerk.done(due);
                at += count;
            } else if let Some(due) = auditor.filter(|due| due.explains(rest)) {
                let (count, cause) = (due.events.len(), due.cause);
                self.push(&rest[..count], Origin::Auditor { cause })?;
                self.auditor.done(due);
                at += count;
            } else if let Some((number, count)) = self.client(rest, open) {
                let request = open.remove(&number);
                self.push(&rest[..count], Origin::Client { request })?;
                found.insert(number, start..start + count);
                at += count;
            } else {
                return Err(format!(
                    "nothing explains {:#?}; open are {open:?}",
                    rest.iter().take(5).collect::<Vec<_>>()
                ));
            }
        }
        Ok(found)
    }

    /// The open request that explains the next events, and how many.
    fn client(&self, seen: &[Seen], open: &BTreeMap<u64, Request>) -> Option<(u64, usize)> {
        // A key stands for one command.
        let mut fresh = open
            .iter()
            .filter(|(_, request)| self.answer(request).is_none());
        fresh.find_map(|(number, request)| {
            let stream = request.stream();
            let events = self.streams.decide(request, self.length(&stream)).ok()?;
            let seen = seen.get(..events.len()).filter(|seen| !seen.is_empty())?;
            let mut pairs = seen.iter().zip(&events);
            pairs
                .all(|(seen, event)| seen.stream() == stream && is_same(&seen.event, event))
                .then_some((*number, events.len()))
        })
    }

    fn push(&mut self, seen: &[Seen], origin: Origin) -> Result<(), String> {
        let range = self.log.len()..self.log.len() + seen.len();
        if let (
            Origin::Client {
                request: Some(request),
            },
            Some(first),
        ) = (&origin, seen.first())
            && let Some(key) = &request.key
        {
            let key = (first.stream(), key.clone());
            let answer = (range.clone(), request.asked.clone());
            self.answers.insert(key, answer);
        }
        for seen in seen {
            let stream = seen.stream();
            let place = (self.log.len() as u64 + 1, self.length(&stream) as u64 + 1);
            if (seen.position, seen.version) != place {
                return Err(format!("{seen:?} stands at position and version {place:?}"));
            }
            self.streams.push(stream, seen.event.clone());
            self.log.push(seen.clone());
        }
        self.blocks.push(Block { range, origin });
        Ok(())
    }

    /// The model when the log had this length.
    pub fn back_to(&self, length: usize) -> Result<Self, String> {
        let mut past = Self::default();
        for block in &self.blocks {
            let Range { start, end } = block.range;
            if start >= length {
                break;
            }
            if end > length {
                return Err(format!(
                    "of {:?}, only {} events are there",
                    &self.log[start..end],
                    length - start
                ));
            }
            match block.origin {
                Origin::Client { .. } => {}
                Origin::Clerk { .. } => {
                    let due = past.clerk.due(&past.log, &past.streams);
                    past.clerk.done(due.ok_or("the model contradicts itself")?);
                }
                Origin::Auditor { .. } => {
                    let due = past.auditor.due(&past.log, &past.streams);
                    past.auditor
                        .done(due.ok_or("the model contradicts itself")?);
                }
            }
            past.push(&self.log[start..end], block.origin.clone())?;
        }
        Ok(past)
    }

    /// The reaction that is missing, if not all have happened to these entries of the log, and to what they caused.
    pub fn owed_for(&self, entries: Range<usize>) -> Option<String> {
        let mut covered: Vec<bool> = (0..self.log.len())
            .map(|index| entries.contains(&index))
            .collect();
        for block in &self.blocks {
            if let Origin::Clerk { cause } | Origin::Auditor { cause } = block.origin
                && covered[cause]
            {
                covered[block.range.clone()].fill(true);
            }
        }
        let owed = |next: usize, sends: &dyn Fn(&Seen) -> bool| {
            let rest = self.log.iter().zip(&covered).skip(next);
            let mut rest = rest.filter(|(seen, is_covered)| **is_covered && sends(seen));
            rest.next().map(|(seen, _)| format!("{seen:?}"))
        };
        let by_clerk = owed(self.clerk.next, &|seen| {
            !react(&mut Clerk::default(), seen).is_empty()
        });
        let by_auditor = owed(self.auditor.next, &|seen| {
            !react(&mut Auditor::default(), seen).is_empty()
        });
        by_clerk.or(by_auditor)
    }

    pub fn events(&self, stream: &Stream) -> &[Event] {
        self.streams.events(stream)
    }

    pub fn length(&self, stream: &Stream) -> usize {
        self.events(stream).len()
    }

    pub fn streams(&self) -> impl Iterator<Item = (&Stream, &[Event])> {
        let streams = self.streams.0.iter();
        streams.map(|(stream, events)| (stream, events.as_slice()))
    }

    /// What a request comes to on the first `length` events of its stream.
    pub fn decide_request(&self, request: &Request, length: usize) -> Result<Vec<Event>, String> {
        self.streams.decide(request, length)
    }

    /// The entries of the log that answer the request, because its key was used before.
    pub fn answer(&self, request: &Request) -> Option<&Range<usize>> {
        let key = request.key.clone()?;
        let (entries, _) = self.answers.get(&(request.stream(), key))?;
        Some(entries)
    }

    /// Whether its key was used for the same before.
    pub fn is_answer_to(&self, request: &Request) -> bool {
        let key = request.key.clone().map(|key| (request.stream(), key));
        let answer = key.and_then(|key| self.answers.get(&key));
        answer.is_some_and(|(_, asked)| *asked == request.asked)
    }

    /// The dead letters of the clerk and of the auditor.
    pub fn letters(&self) -> [&[Letter]; 2] {
        [&self.clerk.letters, &self.auditor.letters]
    }
}
