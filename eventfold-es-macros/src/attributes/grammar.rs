//! The accepted keys of each macro, and the intended keys behind wrong keys.

use proc_macro2::Ident;
use syn::ext::IdentExt;

use super::Reported;
use super::distance::distance;
use crate::diagnostics::Diagnostics;

/// The accepted keys of one macro.
pub(crate) struct Grammar {
    pub(crate) macro_name: &'static str,
    pub(crate) keys: &'static [Key],
    pub(crate) guesses: &'static [Guess],
}

/// Plausible wrong keys.
pub(crate) struct Guess {
    pub(crate) words: &'static [&'static str],
    /// The intended key, if the macro has it.
    pub(crate) key: Option<Key>,
    /// The remedy.
    pub(crate) answer: &'static str,
}

/// An argument of a macro.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Name,
    Command,
    Event,
    Error,
    SnapshotVersion,
    Fingerprint,
    Context,
    Subscribes,
    Dispatches,
    Envelope,
    Aggregates,
    ProcessManagers,
    EventHandlers,
    Schedules,
    Cron,
    TimeZone,
    Missed,
    Projections,
    UnknownEvents,
    Sink,
    Version,
    OnFailedEvent,
    Keyed,
    Deadlines,
    Concurrency,
    Timeout,
    StateVersion,
    Start,
    OnFailure,
    OnFailedCall,
    Crate,
}

impl Key {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Command => "command",
            Self::Event => "event",
            Self::Error => "error",
            Self::SnapshotVersion => "snapshot_version",
            Self::Fingerprint => "fingerprint",
            Self::Context => "context",
            Self::Subscribes => "subscribes",
            Self::Dispatches => "dispatches",
            Self::Envelope => "envelope",
            Self::Aggregates => "aggregates",
            Self::ProcessManagers => "process_managers",
            Self::EventHandlers => "event_handlers",
            Self::Schedules => "schedules",
            Self::Cron => "cron",
            Self::TimeZone => "time_zone",
            Self::Missed => "missed",
            Self::Projections => "projections",
            Self::UnknownEvents => "unknown_events",
            Self::Sink => "sink",
            Self::Version => "version",
            Self::Keyed => "key",
            Self::Deadlines => "deadlines",
            Self::Concurrency => "concurrency",
            Self::Timeout => "timeout",
            Self::StateVersion => "state_version",
            Self::Start => "start",
            Self::OnFailure => "on_failure",
            Self::OnFailedCall => "on_failure",
            Self::OnFailedEvent => "on_failure",
            Self::Crate => "crate",
        }
    }

    /// An example of the argument.
    pub(crate) fn example(self) -> &'static str {
        match self {
            Self::Name => "name = \"order\"",
            Self::Command => "command = OrderCommand",
            Self::Event => "event = OrderEvent",
            Self::Error => "error = OrderError",
            Self::SnapshotVersion => "snapshot_version = 2",
            Self::Fingerprint => "fingerprint = OrderCommand::intent",
            Self::Context => "context",
            Self::Subscribes => "subscribes = [Order]",
            Self::Dispatches => "dispatches = [Inventory]",
            Self::Envelope => "envelope = SagaCommand",
            Self::Aggregates => "aggregates = [Order]",
            Self::ProcessManagers => "process_managers = [ReservationSaga]",
            Self::EventHandlers => "event_handlers = [Mailer]",
            Self::Schedules => "schedules = [Nightly]",
            Self::Cron => "cron = \"0 2 * * *\"",
            Self::TimeZone => "time_zone = \"Europe/Berlin\"",
            Self::Missed => "missed = \"once\"",
            Self::Projections => "projections = [Sales]",
            Self::UnknownEvents => "unknown_events = \"skip\"",
            Self::Sink => "sink = Sqlite",
            Self::Version => "version = 2",
            Self::OnFailedEvent => "on_failure = \"skip\"",
            Self::Keyed => "key = OrderId",
            Self::Deadlines => "deadlines = [PaymentDue]",
            Self::Concurrency => "concurrency = 16",
            Self::Timeout => "timeout = \"30s\"",
            Self::StateVersion => "state_version = 2",
            Self::Start => "start = \"now\"",
            Self::OnFailure | Self::OnFailedCall => "on_failure",
            Self::Crate => "crate = my_crate::eventfold_es",
        }
    }

    /// The name of the entries of its list.
    pub(super) fn listed(self) -> &'static str {
        match self {
            Self::ProcessManagers => "process managers",
            Self::EventHandlers => "event handlers",
            Self::Schedules => "schedules",
            Self::Projections => "projections",
            Self::Deadlines => "messages",
            _ => "aggregates",
        }
    }
}

impl Grammar {
    pub(super) fn lists_aggregates(&self) -> bool {
        self.keys.contains(&Key::Subscribes)
    }

    /// The key that `ident` is, or is meant to be. A misspelled key is reported and taken as the right key.
    pub(super) fn key(&self, ident: &Ident, diagnostics: &Diagnostics) -> Result<Key, Reported> {
        let given = ident.unraw().to_string();
        if let Some(key) = self.keys.iter().find(|key| key.name() == given) {
            return Ok(*key);
        }
        let guess = self
            .guesses
            .iter()
            .find(|guess| guess.words.contains(&given.as_str()));
        if let Some(Guess { key, answer, .. }) = guess {
            diagnostics.error(ident, format!("unknown argument `{given}`: {answer}"));
            return key.ok_or(Reported);
        }
        let nearest = self
            .keys
            .iter()
            .min_by_key(|key| distance(key.name(), &given));
        // A wrong path to this crate causes further errors, so a guess must be close.
        let tolerated = |key: Key| match key {
            Key::Crate => 1,
            key => 1 + key.name().len() / 4,
        };
        if let Some(key) = nearest.filter(|key| distance(key.name(), &given) <= tolerated(**key)) {
            diagnostics.error(
                ident,
                format!(
                    "unknown argument `{given}`: did you mean `{}`?",
                    key.example()
                ),
            );
            return Ok(*key);
        }
        let keys = listed(self.keys);
        let instead = if !is_type(&given) {
            String::new()
        } else if self.lists_aggregates() {
            format!("aggregates are listed, as in `subscribes = [{given}]`; ")
        } else if self.keys.contains(&Key::Command) {
            "a type is given with what it is, as in `command = OrderCommand`; ".to_owned()
        } else {
            String::new()
        };
        diagnostics.error(
            ident,
            format!(
                "unknown argument `{given}`: {instead}`#[{}]` takes {keys}",
                self.macro_name
            ),
        );
        Err(Reported)
    }
}

/// Whether a word looks like the name of a type.
pub(super) fn is_type(word: &str) -> bool {
    word.starts_with(char::is_uppercase)
}

pub(super) fn listed(keys: &[Key]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("`{}`", key.name())).collect();
    keys.join(", ")
}
