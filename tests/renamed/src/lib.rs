//! Declarations in a crate that depends on eventfold-es as `es`, and has no other crate of that name: generated code that
//! named `eventfold_es` would not compile.

use std::convert::Infallible;

use es::prelude::*;

/// What can be asked of a [`Lamp`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum LampCommand {
    /// Turns it on or off.
    Switch,
}

/// What happened to a [`Lamp`].
#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
#[domain_event(crate = es)]
pub enum LampEvent {
    /// It was turned on or off.
    Switched,
}

/// A lamp.
#[aggregate(error = Infallible, crate = es)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Lamp {
    on: bool,
}

impl Decider for Lamp {
    fn decide(&self, LampCommand::Switch: LampCommand) -> Result<Vec<LampEvent>, Infallible> {
        Ok(vec![LampEvent::Switched])
    }

    fn evolve(&mut self, _event: &LampEvent) {
        self.on = !self.on;
    }
}

/// It is dark.
#[derive(Debug, Serialize, Deserialize)]
pub struct Dusk;

/// Switches a lamp at dusk.
#[process_manager(
    subscribes = [Lamp],
    dispatches = [Lamp],
    key = String,
    deadlines = [Dusk],
    on_failure,
    state_version = 2,
    start = "now",
    crate = ::es
)]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Twilight;

impl Correlate<Lamp> for Twilight {
    fn correlate(_event: &LampEvent, cx: &EventContext<'_>) -> Correlation<String> {
        Correlation::starts(cx.stream_id().to_owned())
    }
}

impl React<Lamp> for Twilight {
    fn react(&mut self, _event: &LampEvent, cx: &mut Reaction<'_, Self>) {
        cx.send("hall", LampCommand::Switch);
    }
}

impl OnDeadline<Dusk> for Twilight {
    fn on_deadline(&mut self, _message: Dusk, cx: &mut Reaction<'_, Self>) {
        cx.complete();
    }
}

impl HandleFailure for Twilight {
    fn on_failure(&self, _failure: &Failure<'_>) -> FailureAction<Self> {
        FailureAction::Park
    }
}

impl MigrateState for Twilight {
    fn migrate(_state: es::StoredState<'_>) -> Result<Self, es::MigrationError> {
        Ok(Self)
    }
}

/// Rings when a lamp is switched.
#[event_handler(
    subscribes = [Lamp],
    dispatches = [Lamp],
    key = String,
    concurrency = 2,
    timeout = "5s",
    on_failure,
    start = "now",
    crate = ::es
)]
#[derive(Debug)]
pub struct Bell {
    /// Whether the neighbours hear it.
    pub is_loud: bool,
}

impl Handle<Lamp> for Bell {
    type Error = Infallible;

    async fn handle(
        &self,
        _event: &LampEvent,
        cx: &mut Handling<'_, Self>,
    ) -> Result<(), Infallible> {
        if self.is_loud {
            cx.send("hall", LampCommand::Switch);
        }
        Ok(())
    }
}

impl HandleKey<Lamp> for Bell {
    fn key(_event: &LampEvent, cx: &EventContext<'_>) -> String {
        cx.stream_id().to_owned()
    }
}

impl HandlerPolicy for Bell {
    fn on_failure(&self, _failure: &Failure<'_>) -> HandlerAction<Self> {
        FailureAction::Park
    }
}

/// When lamps are switched on.
#[schedule(cron = "0 20 * * *", time_zone = "Europe/Berlin", crate = es)]
#[derive(Debug)]
pub struct Evening;

/// How often lamps were switched.
#[projection(subscribes = [Lamp], crate = es)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Switches {
    count: u64,
}

impl Project<Lamp> for Switches {
    fn project(&mut self, _event: &LampEvent, _cx: &EventContext<'_>) {
        self.count += 1;
    }
}

/// The lamps by their rooms.
#[projection(subscribes = [Lamp], key = String, crate = es)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Rooms {
    #[index]
    count: u64,
}

impl es::Locate<Lamp> for Rooms {
    fn locate(_event: &LampEvent, cx: &EventContext<'_>) -> es::Keys<String> {
        es::Keys::one(cx.stream_id().to_owned())
    }
}

impl Project<Lamp> for Rooms {
    fn project(&mut self, _event: &LampEvent, _cx: &EventContext<'_>) {
        self.count += 1;
    }
}

/// Everything there is.
#[event_store(
    aggregates = [Lamp],
    process_managers = [Twilight],
    event_handlers = [Bell],
    projections = [Switches, Rooms],
    schedules = [Evening],
    crate = es
)]
pub struct House;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_work_under_another_name_of_the_crate() {
        let recorded = RecordedEvent::new(1, 1, LampEvent::Switched.to_event().unwrap());
        assert!(Lamp::default().apply(&LampEvent::Switched).on);
        let mut switches = Switches::default();
        Projection::apply(&mut switches, "lamp", "hall", &recorded).unwrap();
        assert_eq!(switches.count, 1);
        assert_eq!(Rooms::COUNT.name(), "count");
        assert_eq!(Bell::key_of("lamp", "hall", &recorded).unwrap(), "hall");
        assert_eq!(House::topology().edges().count(), 6);
        drop(House::builder("house").event_handler(Bell { is_loud: true }));
        let effects = Twilight
            .react_in("hall", "lamp", "hall", &recorded)
            .unwrap();
        assert!(matches!(
            effects.envelopes.as_slice(),
            [TwilightEnvelope::Lamp(envelope)] if envelope.command == LampCommand::Switch
        ));
    }
}
