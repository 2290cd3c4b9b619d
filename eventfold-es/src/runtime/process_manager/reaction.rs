//! One reaction: an instance handles an event or a deadline, and its effects are planned.

use tracing::{Span, debug_span};

use super::super::guarded::{Kept, guard};
use super::super::inside_reaction::inside_reaction;
use super::definition::{Definition, Sent, State};
use super::instances::Instance;
use super::machine::Machine;
use super::plan::{Draft, Post};
use super::rows::{self, FiredRow, TimerRow, held_key, put, remove, timer_key};
use super::{Halt, cause_of};
use crate::clock::millis_since_1970;
use crate::event::RecordedEvent;
use crate::journal::{RowChange, StreamId};
use crate::process_manager::{Effects, FailureCause, SourceEvent, TimerChange};
use crate::short;

/// The delay, in milliseconds, from which a deadline starts a new chain of reactions. A loop with such a delay is harmless. For example, a
/// process manager may arm a deadline every month without end.
const NEW_CHAIN_MS: u64 = 1000;

/// The input of a reaction.
#[derive(Clone, Copy)]
pub(super) enum Delivery<'a> {
    Event(&'a StreamId, &'a RecordedEvent),
    Deadline(&'a TimerRow),
}

impl Delivery<'_> {
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

    /// Calls the user's code.
    ///
    /// # Errors
    ///
    /// The cause of the failure.
    pub(super) fn react(
        &self,
        definition: &Definition,
        state: &mut State,
        key: &str,
    ) -> Result<Effects<Sent>, FailureCause> {
        let reacted = guard(
            || format!("the reaction of `{}`", definition.name),
            || {
                inside_reaction(definition.name, || match self {
                    Self::Event(stream, event) => state.react(key, stream, event),
                    Self::Deadline(timer) => state.on_deadline(key, &timer.deadline),
                })
            },
        );
        match reacted {
            Ok(Ok(effects)) => Ok(effects),
            Ok(Err(error)) => Err(FailureCause::Undecodable {
                reason: short::reason(error),
            }),
            Err(error) => Err(cause_of(&error)),
        }
    }
}

impl<P: Post> Machine<P> {
    /// Delivers an input to a cached instance, and plans the effects.
    pub(super) fn deliver(
        &mut self,
        key: &str,
        input: Delivery<'_>,
        draft: &mut Draft<P::Letter>,
    ) -> Result<(), Halt> {
        if let Some(cause) = self.given_up.take() {
            return self.reaction_failed(key, input, &cause, draft);
        }
        let span = input.span(self.definition.name, key);
        let _entered = span.enter();
        let Some(instance) = self.instances.get(key) else {
            return Ok(());
        };
        match self.called.take() {
            Some(Ok(letters)) => {
                draft.plan(self.definition.name, key, instance.generation, letters);
                return Ok(());
            }
            Some(Err(cause)) => {
                // The drop of the error is user code.
                let cause = Kept::new(cause);
                return self.reaction_failed(key, input, &cause, draft);
            }
            None => {}
        }
        let reacted = match instance.current() {
            Ok(Some(state)) => input.react(self.definition, state, key),
            Ok(None) => return Ok(()),
            Err(cause) => Err(cause),
        };
        let taken = reacted.and_then(|effects| self.take_effects(key, input, effects, draft));
        match taken {
            Ok(()) => Ok(()),
            Err(cause) => self.reaction_failed(key, input, &cause, draft),
        }
    }

    /// Plans the effects of a reaction.
    ///
    /// # Errors
    ///
    /// The cause, if the state cannot be stored, or if an instance without `key` completes.
    fn take_effects(
        &mut self,
        key: &str,
        input: Delivery<'_>,
        effects: Effects<Sent>,
        draft: &mut Draft<P::Letter>,
    ) -> Result<(), FailureCause> {
        self.post.reacted(key, &effects);
        let Effects {
            envelopes,
            timers,
            is_complete,
            ..
        } = effects;
        let (position, now) = (draft.position, self.now.stored);
        let Some(instance) = self.instances.get(key) else {
            return Ok(());
        };
        let is_fired = matches!(input, Delivery::Deadline(_));
        let mut is_changed = !timers.is_empty() || is_complete || is_fired;
        let definition = self.definition;
        if definition.is_keyed && definition.has_state && !is_complete {
            is_changed |= instance.encode()?;
        }
        if !definition.is_keyed && is_complete {
            let reason = "without `key` there is no instance that could complete".to_owned();
            return Err(FailureCause::Undecodable { reason });
        }
        is_changed |= instance.ends_retry_of(|| input.what(key));
        let generation = instance.generation;
        let mut changes = Vec::new();
        if let Delivery::Deadline(timer) = input {
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
                        Delivery::Event(..) => None,
                        Delivery::Deadline(timer) => Some(timer.id(definition.name)),
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
        for change in changes {
            self.put(change, position);
        }
        // Without `key`, the progress contains the state.
        if is_changed {
            self.store(key, position);
        }
        let letters = envelopes
            .into_iter()
            .map(|envelope| self.post.typed(envelope));
        draft.plan(self.definition.name, key, generation, letters);
        Ok(())
    }
}

/// Ends a completed instance. Only its row remains, without a state.
fn complete(instance: &mut Instance, key: &str, changes: &mut Vec<RowChange>) {
    for (name, due) in std::mem::take(&mut instance.timers) {
        changes.push(remove(timer_key(due, key, &name)));
    }
    instance.end();
}
