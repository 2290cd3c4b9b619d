//! One reaction: an instance handles an event or a deadline, and its effects are planned.

use std::sync::Arc;

use tracing::{Span, debug_span};

use super::super::guarded::{Kept, guard};
use super::super::inside_reaction::inside_reaction;
use super::super::origin::Cause;
use super::correlation::{Part, joins, part};
use super::draft::{Draft, Source};
use super::failed_reaction::Unclaimed;
use super::instances::Instance;
use super::rows::{self, FiredRow, HeldRow, TimerRow, held_key, put, remove, timer_key};
use super::{Halt, MAX_DIRTY, ProcessManagerRunner, Shown, cause_of};
use crate::clock::millis_since_1970;
use crate::event::RecordedEvent;
use crate::journal::{CommittedEvent, RowChange, StreamId};
use crate::process_manager::{
    Effects, FailureCause, Join, ProcessManager, SourceEvent, TimerChange,
};

/// The delay, in milliseconds, from which a deadline starts a new chain of reactions. A loop with such a delay is harmless. For example, a
/// process manager may arm a deadline every month without end.
const NEW_CHAIN_MS: u64 = 1000;

/// The input of a reaction.
#[derive(Clone, Copy)]
pub(super) enum Input<'a> {
    Event(&'a StreamId, &'a RecordedEvent),
    Deadline(&'a TimerRow),
}

impl Input<'_> {
    pub(super) fn source(&self) -> SourceEvent {
        match self {
            Self::Event(stream, event) => {
                SourceEvent::of(&stream.aggregate_type, &stream.instance_id, event)
            }
            Self::Deadline(timer) => timer.deadline.source.clone(),
        }
    }

    /// The span of the reaction.
    fn span(&self, process_manager: &str, instance: &str) -> Span {
        match self {
            Self::Event(stream, event) => debug_span!(
                "react",
                process_manager,
                instance,
                position = event.position,
                event = event.event_type,
                aggregate = &*stream.aggregate_type,
                stream = &*stream.instance_id
            ),
            Self::Deadline(timer) => debug_span!(
                "react",
                process_manager,
                instance,
                position = timer.deadline.source.position,
                deadline = timer.deadline.name
            ),
        }
    }

    /// A key that identifies the input over all of its deliveries.
    pub(super) fn what(&self, key: &str) -> Box<str> {
        match self {
            Self::Event(_, event) => held_key(key, event.position, 0, ""),
            Self::Deadline(timer) => timer_key(timer.deadline.due_ms, key, &timer.deadline.name),
        }
    }
}

impl<PM: ProcessManager> ProcessManagerRunner<PM> {
    /// Without `key`: delivers an event to the only instance.
    pub(super) async fn react_to(&mut self, event: CommittedEvent<'_>) -> Result<(), Halt> {
        let CommittedEvent {
            position, stream, ..
        } = event;
        let parked = |reason: String| Halt::Parked { position, reason };
        let event = event
            .read()
            .map_err(|error| parked(format!("the stored event does not decode: {error}")))?;
        let event = Arc::new((stream.clone(), event));
        self.settle()?;
        if self.skipped == Some(position) {
            return self.skip(position, &event).await;
        }
        if !self.begins(|| format!("event {position}")).await? {
            return Err(parked(self.starts.cause().to_string()));
        }
        if self.cautious == Some(position)
            && let Some(instance) = self.instances.get("")
        {
            instance.encode().map_err(|cause| parked(cause.reason()))?;
        }
        let source = Source::Event(Arc::clone(&event));
        let mut draft = Draft::new(position, position, Cause::of(&event.1), source);
        self.show_to("", Input::Event(&event.0, &event.1), &mut draft)?;
        if draft.planned.is_empty() && self.dirty.is_empty() {
            return Ok(());
        }
        self.commit(draft).await.map(drop)
    }

    /// Skips an event that an operator discarded.
    async fn skip(
        &mut self,
        position: u64,
        event: &Arc<(StreamId, RecordedEvent)>,
    ) -> Result<(), Halt> {
        let key = rows::passed_key(position, "");
        let source = SourceEvent::of(&event.0.aggregate_type, &event.0.instance_id, &event.1);
        self.dirty.push(put(key, &source), position);
        self.end_retry(position);
        let source = Source::Event(Arc::clone(event));
        let draft = Draft::new(position, position, Cause::of(&event.1), source);
        self.commit(draft).await.map(drop)
    }

    /// Decodes and correlates an event.
    pub(super) fn show(&self, event: CommittedEvent<'_>) -> Shown {
        let CommittedEvent {
            position,
            stream,
            version,
            ..
        } = event;
        let event = match event.read() {
            Ok(event) => event,
            Err(error) => {
                let event = eventfold::Event {
                    event_type: String::new(),
                    data: serde_json::Value::Null,
                    ts: 0,
                    id: None,
                    actor: None,
                    meta: None,
                };
                let event = RecordedEvent::new(position, version, event);
                return Shown {
                    event: Arc::new((stream.clone(), event)),
                    correlation: Err(FailureCause::Undecodable {
                        reason: format!("the stored event does not decode: {error}"),
                    }),
                };
            }
        };
        if let Some(cause) = &self.given_up {
            return Shown {
                event: Arc::new((stream.clone(), event)),
                correlation: Err(cause.clone()),
            };
        }
        let correlation = joins::<PM>(stream, &event);
        Shown {
            event: Arc::new((stream.clone(), event)),
            correlation,
        }
    }

    /// Delivers events, each with the time of its commit, to their instances.
    pub(super) async fn react_to_chunk(&mut self, chunk: Vec<(u64, Shown)>) -> Result<(), Halt> {
        let joins = chunk
            .iter()
            .flat_map(|(_, shown)| shown.correlation.iter().flatten());
        self.learn(joins.map(|join| join.key.clone()).collect())
            .await?;
        for (time, shown) in chunk {
            let position = shown.event.1.position;
            if self.timers.is_due_before(time) {
                self.fire_before(time).await?;
            }
            self.settle()?;
            self.react_to_shown(shown, position).await?;
            self.position = position;
            if self.dirty.rows.len() >= MAX_DIRTY {
                self.flush().await?;
            }
        }
        self.instances.evict(self.durable_commit);
        Ok(())
    }

    /// Loads the instances that are not cached.
    pub(super) async fn learn(&mut self, mut keys: Vec<String>) -> Result<(), Halt> {
        keys.retain(|key| !self.instances.knows(key));
        keys.sort();
        keys.dedup();
        if keys.is_empty() {
            return Ok(());
        }
        let wanted = keys.iter().map(|key| self.instances.table().key(key));
        let found = self.read_rows(wanted.collect()).await?;
        for (key, row) in keys.iter().zip(found) {
            let learnt = self.instances.learn(key, row.as_deref(), self.position);
            learnt.map_err(|reason| Halt::Parked {
                position: self.position + 1,
                reason,
            })?;
        }
        Ok(())
    }

    /// Delivers an event to its cached instances, and commits their commands with the progress up to `at`. Without commands, the row
    /// changes wait for the next commit.
    pub(super) async fn react_to_shown(&mut self, shown: Shown, at: u64) -> Result<(), Halt> {
        let Shown { event, correlation } = shown;
        let (stream, recorded) = &*event;
        let position = recorded.position;
        if let Some(outcome) = self.held_streams.get(stream).copied() {
            let key = rows::stream_held_key(stream, position);
            self.dirty.push(put(key, &HeldRow::Event(position)), at);
            self.dirty.set_back(Some(position), outcome);
            return Ok(());
        }
        let joins = match correlation {
            Ok(joins) => joins,
            Err(cause) => {
                if let Unclaimed::Passed(Some(draft)) =
                    self.correlation_failed(&event, &cause, None, at)?
                {
                    self.commit(*draft).await?;
                }
                return Ok(());
            }
        };
        let source = Source::Event(Arc::clone(&event));
        let mut draft = Draft::new(at, position, Cause::of(recorded), source);
        // The commands of several instances are decided together, so an abort is not attributed to one instance.
        let is_for_several = joins.len() > 1;
        let together = || format!("commands {position}");
        let is_given_up = self.starts.is_careful() && self.starts.is_given_up(&together());
        for (nth, join) in joins.iter().enumerate() {
            let name = || format!("event {position} of {}", join.key);
            if is_given_up || !self.begins(name).await? {
                self.given_up = Some(self.starts.cause());
            }
            let joined = self.join(nth, join, &event, &mut draft);
            self.given_up = None;
            joined?;
        }
        if draft.planned.is_empty() {
            return Ok(());
        }
        if is_for_several {
            self.begins(together).await?;
        }
        self.commit(draft).await.map(drop)
    }

    /// Delivers an event to the instance of its `nth` join.
    pub(super) fn join(
        &mut self,
        nth: usize,
        Join { key, kind, .. }: &Join,
        event: &(StreamId, RecordedEvent),
        draft: &mut Draft,
    ) -> Result<(), Halt> {
        let (stream, event) = event;
        match part(*kind, self.instances.found(key)) {
            Part::Waits => {
                let held = held_key(key, event.position, 0, "");
                let row = put(held, &HeldRow::Event(event.position));
                self.dirty.push(row, draft.position);
                let outcome = self.outcome_of_held(key);
                self.dirty.set_back(Some(event.position), outcome);
                self.store_parked(key, draft.position);
                return Ok(());
            }
            Part::Ignored => return self.ignore(event.position, nth),
            Part::Starts => drop(self.instances.begin(key)),
            Part::Continues => {}
        }
        self.show_to(key, Input::Event(stream, event), draft)
    }

    /// Counts an event without an open instance. It counts once, even if an earlier failure leads to another delivery.
    pub(super) fn ignore(&mut self, position: u64, nth: usize) -> Result<(), Halt> {
        if position <= self.position {
            // The event was held, so the commit of its release counts it.
            self.dirty.counts.ignored += 1;
        } else if (position, nth + 1) > self.ignored_to {
            self.ignored_to = (position, nth + 1);
            let hub = &self.context.runtime.reactions;
            hub.ignored(self.context.member);
        }
        Ok(())
    }

    /// Delivers an input to a cached instance, and plans the effects.
    pub(super) fn show_to(
        &mut self,
        key: &str,
        input: Input<'_>,
        draft: &mut Draft,
    ) -> Result<(), Halt> {
        if let Some(cause) = self.given_up.take() {
            return self.reaction_failed(key, input, &cause, draft);
        }
        let span = input.span(PM::NAME, key);
        let _entered = span.enter();
        let Some(instance) = self.instances.get(key) else {
            return Ok(());
        };
        let state = match instance.current() {
            Ok(Some(state)) => state,
            Ok(None) => return Ok(()),
            Err(cause) => return self.reaction_failed(key, input, &cause, draft),
        };
        let reacted = guard(
            || format!("the reaction of `{}`", PM::NAME),
            || {
                inside_reaction(PM::NAME, || match input {
                    Input::Event(stream, event) => {
                        state.react_in(key, &stream.aggregate_type, &stream.instance_id, event)
                    }
                    Input::Deadline(timer) => state.on_deadline(key, &timer.deadline),
                })
            },
        );
        let cause = match reacted {
            Ok(Ok(effects)) => match self.take_effects(key, input, effects, draft) {
                Ok(()) => return Ok(()),
                Err(cause) => cause,
            },
            Ok(Err(error)) => FailureCause::Undecodable {
                reason: error.to_string(),
            },
            Err(error) => cause_of(&error),
        };
        self.reaction_failed(key, input, &cause, draft)
    }

    /// Plans the effects of a reaction.
    ///
    /// # Errors
    ///
    /// The cause, if the state cannot be stored, or if an instance without `key` completes.
    fn take_effects(
        &mut self,
        key: &str,
        input: Input<'_>,
        effects: Effects<PM::Envelope>,
        draft: &mut Draft,
    ) -> Result<(), FailureCause> {
        let Effects {
            envelopes,
            timers,
            is_complete,
            ..
        } = effects;
        let envelopes = Kept::each(envelopes);
        let position = draft.position;
        let clock = self.context.runtime.journal.clock();
        // Most reactions arm no deadline, so the time is read on demand.
        let mut now = None;
        let Some(instance) = self.instances.get(key) else {
            return Ok(());
        };
        let what = input.what(key);
        let is_fired = matches!(input, Input::Deadline(_));
        let mut is_changed = !timers.is_empty() || is_complete || is_fired;
        if PM::IS_KEYED && !is_complete {
            is_changed |= instance.encode()?;
        }
        if !PM::IS_KEYED && is_complete {
            let reason = "without `key` there is no instance that could complete".to_owned();
            return Err(FailureCause::Undecodable { reason });
        }
        // Without `key`, this ends the retry of the input.
        is_changed |= !PM::IS_KEYED
            && instance
                .parked
                .take_if(|parked| parked.tries(&what))
                .is_some();
        let generation = instance.generation;
        let mut changes = Vec::new();
        if let Input::Deadline(timer) = input {
            let held = draft.held.as_deref().and_then(rows::held_of);
            let at = held.map_or(position, |(_, at)| at);
            let timer = timer.clone();
            changes.push(put(rows::FIRED.into(), &FiredRow { at, timer }));
        }
        for timer in timers {
            let name = match &timer {
                TimerChange::Schedule(scheduled) => scheduled.name.clone(),
                TimerChange::Cancel(name) => name.clone(),
            };
            if let Some(due) = instance.timers.remove(&name) {
                changes.push(remove(timer_key(due, key, &name)));
            }
            if let TimerChange::Schedule(scheduled) = timer {
                let now = *now.get_or_insert_with(|| clock.now());
                let new_chain = millis_since_1970(now).saturating_add(NEW_CHAIN_MS);
                let deadline = scheduled.store(now, input.source());
                let due = deadline.due_ms;
                let row = TimerRow {
                    key: key.to_owned(),
                    generation,
                    depth: match due >= new_chain {
                        true => 1,
                        false => draft.cause.depth,
                    },
                    armed_by: match input {
                        Input::Event(..) => None,
                        Input::Deadline(timer) => Some(timer.id(PM::NAME)),
                    },
                    deadline,
                };
                changes.push(put(timer_key(due, key, &name), &row));
                instance.timers.insert(name, due);
            }
        }
        if is_complete {
            complete(instance, key, &mut changes);
        }
        // Without `key`, the progress contains the state.
        if is_changed {
            changes.push(instance.row(key));
            self.instances.changed(key, self.next_commit);
        }
        for change in changes {
            self.notice(&change);
            self.dirty.push(change, position);
        }
        self.plan(draft, &key.into(), generation, envelopes);
        Ok(())
    }
}

/// Ends a completed instance. Only its row remains, without a state.
fn complete<PM: ProcessManager>(
    instance: &mut Instance<PM>,
    key: &str,
    changes: &mut Vec<RowChange>,
) {
    for (name, due) in std::mem::take(&mut instance.timers) {
        changes.push(remove(timer_key(due, key, &name)));
    }
    instance.end();
}
