//! Deadlines: messages from a process manager to itself, for later.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use eventfold::Event;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{DeclaredProcessManager, ProcessManager, ReactError, Reaction};
use crate::__private::Given;
use crate::event::RecordedEvent;
use crate::finite;
use crate::runtime::check_text;
use crate::short;

/// The latest time that can be stored: the end of the year 9999.
const LATEST: Duration = Duration::from_secs(253_402_300_799);

/// The time of a deadline.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use eventfold_es::Deadline;
///
/// let now = SystemTime::now();
/// assert_eq!(Deadline::after(Duration::from_secs(60)).due(now), now + Duration::from_secs(60));
/// assert_eq!(Deadline::at(now).due(now + Duration::from_secs(1)), now);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "it is passed to `Reaction::schedule`"]
pub struct Deadline(When);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    At(SystemTime),
    After(Duration),
}

impl Deadline {
    /// At `time`; if that is in the past, as soon as the reaction is stored.
    pub const fn at(time: SystemTime) -> Self {
        Self(When::At(time))
    }

    /// At the time `duration` after the reaction.
    ///
    /// It counts from the reaction, not from the event, which may be old. To count from the event, use [`at`](Self::at)
    /// with a time in the event.
    pub const fn after(duration: Duration) -> Self {
        Self(When::After(duration))
    }

    /// The time in a reaction at `now`; never later than the end of the year 9999.
    #[must_use]
    pub fn due(self, now: SystemTime) -> SystemTime {
        let latest = UNIX_EPOCH + LATEST;
        let due = match self.0 {
            When::At(time) => Some(time),
            When::After(duration) => now.checked_add(duration),
        };
        due.map_or(latest, |due| due.min(latest))
    }
}

/// [`Deadline::after`].
impl From<Duration> for Deadline {
    fn from(duration: Duration) -> Self {
        Self::after(duration)
    }
}

/// [`Deadline::at`].
impl From<SystemTime> for Deadline {
    fn from(time: SystemTime) -> Self {
        Self::at(time)
    }
}

/// The name of a deadline with the message `M`, for [`Reaction::schedule`]: any type that becomes a `String`.
///
/// It depends on `M`. So rustc does not also report the name if the message is missing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the name of a deadline",
    label = "not a name",
    note = "the name comes first, then when, then the message, as in `cx.schedule(\"payment\", Duration::from_secs(60), PaymentDue)`"
)]
pub trait NameOf<M> {
    /// The name as text.
    fn into_name(self) -> String;
}

#[diagnostic::do_not_recommend]
impl<T, M: Given<T, String>> NameOf<M> for T {
    fn into_name(self) -> String {
        M::convert(self)
    }
}

/// The time of a deadline with the message `M`, for [`Reaction::schedule`]: a [`Deadline`], a `Duration` or a
/// `SystemTime`.
///
/// It depends on `M`. So rustc does not also report the time if the message is missing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the time of a deadline",
    label = "not a time",
    note = "a time is a `Duration` from now, a `SystemTime` or a `Deadline`",
    note = "the name comes first, then when, then the message, as in `cx.schedule(\"payment\", Duration::from_secs(60), PaymentDue)`"
)]
pub trait TimeOf<M> {
    /// The due time.
    fn into_deadline(self) -> Deadline;
}

#[diagnostic::do_not_recommend]
impl<T, M: Given<T, Deadline>> TimeOf<M> for T {
    fn into_deadline(self) -> Deadline {
        M::convert(self)
    }
}

/// The place of an event that caused a reaction, armed a deadline, or failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SourceEvent {
    /// The stored name of the aggregate type that the event belongs to.
    pub aggregate_type: String,
    /// The instance of the event.
    pub stream_id: String,
    /// The place in the total order over all streams, from 1.
    pub position: u64,
    /// The place in its stream, from 1.
    pub version: u64,
    /// The stored type name of the event.
    pub event_type: String,
    /// The id of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// The stored correlation id of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
}

impl SourceEvent {
    /// The place of `event` in the stream `stream_id`.
    #[must_use]
    pub fn of(aggregate_type: &str, stream_id: &str, event: &RecordedEvent) -> Self {
        Self {
            aggregate_type: aggregate_type.to_owned(),
            stream_id: stream_id.to_owned(),
            position: event.position,
            version: event.version,
            event_type: event.event_type.clone(),
            event_id: event.id.clone(),
            correlation_id: event.correlation_id().map(str::to_owned),
        }
    }

    /// The place of an unknown or missing event.
    pub(crate) fn none() -> Self {
        Self {
            aggregate_type: String::new(),
            stream_id: String::new(),
            position: 0,
            version: 0,
            event_type: String::new(),
            event_id: None,
            correlation_id: None,
        }
    }
}

/// A deadline as a reaction requested it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ScheduledDeadline {
    /// The name, one per instance: a later deadline of the same name replaces this one.
    pub name: String,
    /// The due time.
    pub when: Deadline,
    /// The stored name of the message's type.
    pub message_type: &'static str,
    /// The message as JSON.
    pub message: Box<RawValue>,
}

impl ScheduledDeadline {
    /// # Errors
    ///
    /// [`ReactError::Deadline`] if the name is empty, has more than 512 bytes or control characters, or if the message
    /// was not encoded.
    pub(super) fn new(
        name: String,
        when: Deadline,
        message_type: &'static str,
        message: Result<Box<RawValue>, String>,
    ) -> Result<Self, ReactError> {
        let refused = |reason: String| ReactError::Deadline {
            name: short::id(&name),
            message_type: message_type.to_owned(),
            reason,
        };
        check_name(&name)
            .map_err(|reason| refused(format!("its name cannot be used: {reason}")))?;
        let message = message.map_err(refused)?;
        Ok(Self {
            name,
            when,
            message_type,
            message,
        })
    }

    /// The stored form, for a reaction to `source` at `now`.
    #[must_use]
    pub fn store(self, now: SystemTime, source: SourceEvent) -> StoredDeadline {
        let since_1970 = self.when.due(now).duration_since(UNIX_EPOCH);
        let millis = since_1970
            .unwrap_or_default()
            .as_nanos()
            .div_ceil(1_000_000);
        StoredDeadline {
            name: self.name,
            due_ms: u64::try_from(millis).unwrap_or(u64::MAX),
            message_type: self.message_type.to_owned(),
            message: self.message,
            source,
        }
    }
}

/// The problem of a deadline's name.
pub(super) fn check_name(name: &str) -> Result<(), &'static str> {
    check_text(name)
}

/// A stored deadline.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StoredDeadline {
    /// The name, one per instance.
    pub name: String,
    /// The due time, in milliseconds since 1970; never earlier than requested.
    pub due_ms: u64,
    /// The stored name of the message's type.
    pub message_type: String,
    /// The message as JSON.
    pub message: Box<RawValue>,
    /// The event whose reaction armed it. For a deadline that another deadline armed, the source event of that
    /// deadline.
    pub source: SourceEvent,
}

impl StoredDeadline {
    /// The due time.
    #[must_use]
    pub fn due(&self) -> SystemTime {
        let since_1970 = Duration::from_millis(self.due_ms).min(LATEST);
        UNIX_EPOCH + since_1970
    }

    /// The value of [`Reaction::event`] while the deadline is handled. It is the deadline in the form of an event, at
    /// the place of the event whose reaction armed it.
    #[must_use]
    pub fn as_event(&self) -> RecordedEvent {
        let meta = self
            .source
            .correlation_id
            .as_ref()
            .map(|id| serde_json::json!({ "correlation_id": id }));
        let event = Event {
            event_type: self.message_type.clone(),
            data: serde_json::from_str(self.message.get()).unwrap_or_default(),
            ts: self.due_ms / 1000,
            id: None,
            actor: None,
            meta,
        };
        RecordedEvent::new(self.source.position, self.source.version, event)
    }
}

/// The reaction of a process manager to a deadline, written by the user of `#[process_manager(.., deadlines = [PaymentDue])]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has the deadline `{M}` but does not handle it",
    label = "`impl OnDeadline<{M}> for {Self}` is missing",
    note = "write `impl OnDeadline<{M}> for {Self} {{ fn on_deadline(&mut self, message: {M}, cx: &mut Reaction<'_, Self>) {{ .. }} }}`, or remove `{M}` from `deadlines`"
)]
pub trait OnDeadline<M>: DeclaredProcessManager<Declared: Schedules<M>> {
    /// Reacts to a deadline that is due and was not cancelled.
    ///
    /// `cx` has the place of the event whose reaction armed it, and [`Reaction::event`] is the deadline itself.
    // The trait has the same bound. rustc assumes it here when it compares an impl, so that a missing attribute is
    // reported once.
    fn on_deadline(&mut self, message: M, cx: &mut Reaction<'_, Self>)
    where
        Self: DeclaredProcessManager;
}

/// The message of a deadline: a value that is stored until the deadline is due.
///
/// Implemented for every type that is `Serialize` and `Deserialize`. New fields need `#[serde(default)]`, since an earlier
/// version of the program may have armed a deadline.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the message of a deadline",
    label = "cannot be stored until the deadline is reached",
    note = "put `#[derive(Serialize, Deserialize)]` on `{Self}`"
)]
pub trait DeadlineMessage: Sized {
    /// Encodes this message.
    ///
    /// # Errors
    ///
    /// The problem, if it does not serialize or does not read back.
    fn encode(&self) -> Result<Box<RawValue>, String>;

    /// The message of a stored deadline.
    ///
    /// # Errors
    ///
    /// [`ReactError::Deadline`] if it does not decode.
    fn from_deadline(deadline: &StoredDeadline) -> Result<Self, ReactError>;
}

#[diagnostic::do_not_recommend]
impl<M: Serialize + DeserializeOwned> DeadlineMessage for M {
    fn encode(&self) -> Result<Box<RawValue>, String> {
        let encoded = finite::to_raw_value(self)
            .map_err(|error| format!("the message does not serialize: {error}"))?;
        match serde_json::from_str::<M>(encoded.get()) {
            Ok(_) => Ok(encoded),
            Err(error) => Err(format!("the message does not read back: {error}")),
        }
    }

    fn from_deadline(deadline: &StoredDeadline) -> Result<Self, ReactError> {
        serde_json::from_str(deadline.message.get()).map_err(|error| ReactError::Deadline {
            name: deadline.name.clone(),
            message_type: deadline.message_type.clone(),
            reason: format!(
                "the message does not decode: {}. Give new fields `#[serde(default)]`",
                short::reason(error)
            ),
        })
    }
}

/// Marks the messages in the `deadlines` list of a process manager. The attribute generates it.
#[diagnostic::on_unimplemented(
    message = "`{M}` is no deadline of `{Self}`",
    label = "handles `{M}`, which is not in `deadlines`",
    note = "add `{M}` to `deadlines = [..]` of `{Self}`, or remove this impl"
)]
pub trait Schedules<M> {
    /// The stored name of the message's type.
    const MESSAGE_TYPE: &'static str;

    /// Encodes a message; see [`DeadlineMessage::encode`].
    ///
    /// # Errors
    ///
    /// The problem of the message.
    fn encode(message: &M) -> Result<Box<RawValue>, String>;
}

/// A message that the process manager `PM` may schedule for itself: an entry of its `deadlines` list.
#[diagnostic::on_unimplemented(
    message = "`{PM}` has no deadline `{Self}`",
    label = "`{Self}` is not in `deadlines`",
    note = "add `{Self}` to `deadlines = [..]` of `{PM}`, and write `impl OnDeadline<{Self}> for {PM}`"
)]
pub trait DeadlineOf<PM: ProcessManager> {
    /// The stored name of the message's type.
    const MESSAGE_TYPE: &'static str;

    /// Encodes this message; see [`DeadlineMessage::encode`].
    ///
    /// # Errors
    ///
    /// The problem of the message.
    fn encode(&self) -> Result<Box<RawValue>, String>;
}

#[diagnostic::do_not_recommend]
impl<PM: ProcessManager + Schedules<M>, M> DeadlineOf<PM> for M {
    const MESSAGE_TYPE: &'static str = <PM as Schedules<M>>::MESSAGE_TYPE;

    fn encode(&self) -> Result<Box<RawValue>, String> {
        <PM as Schedules<M>>::encode(self)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    fn source() -> SourceEvent {
        let event = Event {
            event_type: "Placed".to_owned(),
            data: serde_json::Value::Null,
            ts: 5,
            id: Some("e-1".to_owned()),
            actor: None,
            meta: Some(serde_json::json!({ "correlation_id": "c-1" })),
        };
        SourceEvent::of("order", "ord-1", &RecordedEvent::new(7, 3, event))
    }

    fn at(duration: Duration) -> SystemTime {
        UNIX_EPOCH + duration
    }

    #[test]
    fn a_deadline_is_stored_with_where_it_comes_from_and_never_fires_early() {
        let now = at(Duration::from_nanos(1_000_000_001));
        let scheduled = ScheduledDeadline::new(
            "pay".to_owned(),
            Deadline::after(Duration::ZERO),
            "due",
            DeadlineMessage::encode(&7),
        );
        let stored = scheduled.unwrap().store(now, source());
        assert_eq!(stored.due_ms, 1001);
        assert!(stored.due() >= now);
        let text = serde_json::to_string(&stored).unwrap();
        let read: StoredDeadline = serde_json::from_str(&text).unwrap();
        assert_eq!((read.name.as_str(), read.due_ms), ("pay", 1001));
        assert_eq!(read.source, source());
        assert_eq!(u32::from_deadline(&read).unwrap(), 7);
        let error = String::from_deadline(&read).unwrap_err().to_string();
        assert!(
            error.contains("`pay`") && error.contains("does not decode"),
            "{error}"
        );

        let event = read.as_event();
        assert_eq!((event.position, event.version, event.ts), (7, 3, 1));
        assert_eq!(event.event_type, "due");
        assert_eq!(event.data, serde_json::json!(7));
        assert_eq!(event.correlation_id(), Some("c-1"));
    }

    #[test]
    fn times_that_cannot_be_stored_are_moved_to_where_they_can() {
        let store = |when: Deadline| {
            let scheduled =
                ScheduledDeadline::new("a".to_owned(), when, "due", DeadlineMessage::encode(&()))
                    .unwrap();
            scheduled.store(SystemTime::now(), source())
        };
        let never = store(Deadline::after(Duration::MAX));
        assert_eq!(never.due(), at(LATEST));
        let before_1970 = UNIX_EPOCH - Duration::from_secs(10);
        assert_eq!(store(Deadline::at(before_1970)).due_ms, 0);
    }

    #[test]
    fn what_cannot_be_stored_is_refused() {
        let refused = |name: &str, message: f64| {
            let when = Deadline::at(UNIX_EPOCH);
            let refused = ScheduledDeadline::new(
                name.to_owned(),
                when,
                "due",
                DeadlineMessage::encode(&message),
            );
            refused.unwrap_err().to_string()
        };
        assert!(refused("", 1.0).contains("its name cannot be used: it is empty"));
        assert!(refused("a\0", 1.0).contains("control characters"));
        assert!(refused("pay", f64::NAN).contains("the message does not serialize"));
    }
}
