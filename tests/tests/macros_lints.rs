//! What the macros generate passes the lints that a careful user denies: rustc's here, clippy's under `cargo clippy`.

#![deny(
    warnings,
    missing_docs,
    absolute_paths_not_starting_with_crate,
    ambiguous_negative_literals,
    deprecated_in_future,
    elided_lifetimes_in_paths,
    explicit_outlives_requirements,
    keyword_idents,
    let_underscore_drop,
    macro_use_extern_crate,
    meta_variable_misuse,
    missing_copy_implementations,
    missing_debug_implementations,
    non_ascii_idents,
    non_local_definitions,
    redundant_imports,
    redundant_lifetimes,
    single_use_lifetimes,
    trivial_casts,
    trivial_numeric_casts,
    unit_bindings,
    unnameable_types,
    unreachable_pub,
    unsafe_code,
    unused_extern_crates,
    unused_import_braces,
    unused_lifetimes,
    unused_macro_rules,
    unused_qualifications,
    unused_results,
    variant_size_differences,
    clippy::all,
    clippy::nursery,
    clippy::pedantic,
    clippy::absolute_paths,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    clippy::arbitrary_source_item_ordering,
    clippy::else_if_without_else,
    clippy::exhaustive_enums,
    clippy::expect_used,
    clippy::implicit_return,
    clippy::indexing_slicing,
    clippy::min_ident_chars,
    clippy::missing_docs_in_private_items,
    clippy::missing_inline_in_public_items,
    clippy::panic,
    clippy::question_mark_used,
    clippy::self_named_module_files,
    clippy::shadow_reuse,
    clippy::shadow_unrelated,
    clippy::unwrap_used
)]
// What the user of the macros writes, not what they generate.
#![allow(
    clippy::absolute_paths,
    clippy::arbitrary_source_item_ordering,
    clippy::exhaustive_enums
)]
#![allow(
    clippy::implicit_return,
    clippy::missing_inline_in_public_items,
    clippy::min_ident_chars
)]
#![allow(clippy::allow_attributes, clippy::allow_attributes_without_reason)]

/// A domain whose process manager is more visible than what it sends to.
pub mod domain {
    use std::convert::Infallible;

    use eventfold_es::MigrationError;
    use eventfold_es::StoredState;
    use eventfold_es::prelude::*;
    use eventfold_es_tests_domain::Lines;

    /// What can be asked of a [`Lamp`].
    #[derive(Debug, Clone, Copy, Serialize, Deserialize)]
    pub enum LampCommand {
        /// Turns it on or off.
        Switch,
    }

    /// What happened to a [`Lamp`].
    #[derive(Debug, Clone, Copy, Serialize, Deserialize, DomainEvent)]
    #[serde(tag = "type", content = "data")]
    pub enum LampEvent {
        /// It was turned on or off.
        Switched,
        /// No longer written.
        #[deprecated]
        #[event(retired, version = 3, upcast_from(1 => FlickeredV1, 2 => FlickeredV2))]
        Flickered,
    }

    /// What was stored first.
    #[derive(Debug, Clone, Copy, Deserialize)]
    pub(crate) struct FlickeredV1;

    /// What was stored then.
    #[derive(Debug, Clone, Copy, Deserialize)]
    pub(crate) struct FlickeredV2;

    impl Upcast<FlickeredV2> for FlickeredV1 {
        fn upcast(self) -> FlickeredV2 {
            FlickeredV2
        }
    }

    impl Upcast<LampEvent> for FlickeredV2 {
        fn upcast(self) -> LampEvent {
            LampEvent::Switched
        }
    }

    /// A store, of which not everything is used.
    #[event_store(
        aggregates = [Lamp, Switch],
        process_managers = [Echo, Listener, Timer, Alarm],
        event_handlers = [Bell, Chime],
        projections = [Switches, LampRow, LampReport],
        schedules = [Sunset],
    )]
    #[derive(Debug, Clone, Copy)]
    pub struct House;

    /// A store that nobody uses.
    #[event_store(aggregates = [Lamp])]
    #[derive(Debug, Clone, Copy)]
    pub(crate) struct Empty;

    /// A lamp.
    #[aggregate(error = Infallible)]
    #[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
    pub struct Lamp {
        /// Whether it shines.
        pub on: bool,
    }

    impl Decider for Lamp {
        fn decide(&self, LampCommand::Switch: LampCommand) -> Result<Vec<LampEvent>, Infallible> {
            Ok(vec![LampEvent::Switched])
        }

        fn evolve(&mut self, _event: &LampEvent) {
            self.on = !self.on;
        }
    }

    /// A command that nobody can give.
    #[derive(Debug, Clone, Copy, Serialize, Deserialize)]
    pub(crate) enum SwitchCommand {}

    /// Nothing happens.
    #[derive(Debug, Clone, Copy, Serialize, Deserialize, DomainEvent)]
    #[serde(tag = "type", content = "data")]
    pub(crate) enum SwitchEvent {}

    /// A switch, which is nobody else's business.
    #[aggregate(error = Infallible)]
    #[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
    pub(crate) struct Switch;

    impl Decider for Switch {
        fn decide(&self, command: SwitchCommand) -> Result<Vec<SwitchEvent>, Infallible> {
            match command {}
        }

        fn evolve(&mut self, _event: &SwitchEvent) {}
    }

    /// A process manager.
    #[process_manager(subscribes = [Lamp, Switch], dispatches = [Lamp, Switch])]
    #[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
    pub struct Echo;

    impl React<Lamp> for Echo {
        fn react(&mut self, _event: &LampEvent, cx: &mut Reaction<'_, Self>) {
            cx.send("kitchen", LampCommand::Switch);
        }
    }

    impl React<Switch> for Echo {
        fn react(&mut self, _event: &SwitchEvent, _cx: &mut Reaction<'_, Self>) {}
    }

    /// A process manager that sends nothing.
    #[process_manager(subscribes = [Lamp], name = "listener")]
    #[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
    pub struct Listener;

    impl React<Lamp> for Listener {
        fn react(&mut self, _event: &LampEvent, _cx: &mut Reaction<'_, Self>) {}
    }

    /// A schedule.
    #[schedule(cron = "0 20 * * *", time_zone = "Europe/Berlin", missed = "none")]
    #[derive(Debug, PartialEq, Eq)]
    pub struct Sunset;

    /// An event handler with everything.
    #[event_handler(
        subscribes = [Lamp, Switch],
        dispatches = [Lamp],
        key = u64,
        concurrency = 4,
        timeout = "5s",
        on_failure,
        start = "now"
    )]
    #[derive(Debug, Clone, Copy)]
    pub struct Bell;

    impl Handle<Lamp> for Bell {
        type Error = Infallible;

        async fn handle(
            &self,
            _event: &LampEvent,
            cx: &mut Handling<'_, Self>,
        ) -> Result<(), Infallible> {
            cx.send("kitchen", LampCommand::Switch);
            Ok(())
        }
    }

    impl Handle<Switch> for Bell {
        type Error = Infallible;

        async fn handle(
            &self,
            _event: &SwitchEvent,
            _cx: &mut Handling<'_, Self>,
        ) -> Result<(), Infallible> {
            Ok(())
        }
    }

    impl HandleKey<Lamp> for Bell {
        fn key(_event: &LampEvent, _cx: &EventContext<'_>) -> u64 {
            1
        }
    }

    impl HandleKey<Switch> for Bell {
        fn key(_event: &SwitchEvent, _cx: &EventContext<'_>) -> u64 {
            2
        }
    }

    impl HandlerPolicy for Bell {
        fn on_failure(&self, failure: &Failure<'_>) -> HandlerAction<Self> {
            HandlerAction::<Self>::default_for(failure)
        }
    }

    /// An event handler that sends nothing.
    #[event_handler(subscribes = [Lamp], name = "chime")]
    #[derive(Debug, Clone, Copy)]
    pub struct Chime;

    impl Handle<Lamp> for Chime {
        type Error = Infallible;

        async fn handle(
            &self,
            _event: &LampEvent,
            _cx: &mut Handling<'_, Self>,
        ) -> Result<(), Infallible> {
            Ok(())
        }
    }

    /// A message to itself.
    #[derive(Debug, Clone, Copy, Serialize, Deserialize)]
    pub struct Dusk;

    /// A process manager with everything.
    #[process_manager(
        subscribes = [Lamp, Switch],
        dispatches = [Lamp],
        key = u64,
        deadlines = [Dusk],
        on_failure,
        state_version = 2,
        start = "now"
    )]
    #[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
    pub struct Timer;

    impl Correlate<Lamp> for Timer {
        fn correlate(_event: &LampEvent, _cx: &EventContext<'_>) -> Correlation<u64> {
            Correlation::starts(1)
        }
    }

    impl Correlate<Switch> for Timer {
        fn correlate(_event: &SwitchEvent, _cx: &EventContext<'_>) -> Correlation<u64> {
            Correlation::none()
        }
    }

    impl React<Lamp> for Timer {
        fn react(&mut self, _event: &LampEvent, cx: &mut Reaction<'_, Self>) {
            cx.schedule("dusk", Deadline::after(std::time::Duration::ZERO), Dusk);
        }
    }

    impl React<Switch> for Timer {
        fn react(&mut self, _event: &SwitchEvent, _cx: &mut Reaction<'_, Self>) {}
    }

    impl OnDeadline<Dusk> for Timer {
        fn on_deadline(&mut self, _message: Dusk, cx: &mut Reaction<'_, Self>) {
            cx.complete();
        }
    }

    impl HandleFailure for Timer {
        fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
            FailureAction::default_for(failure)
        }
    }

    impl MigrateState for Timer {
        fn migrate(_state: StoredState<'_>) -> Result<Self, MigrationError> {
            Ok(Self)
        }
    }

    /// A process manager with deadlines and one instance.
    #[process_manager(subscribes = [Lamp], deadlines = [Dusk], name = "alarm")]
    #[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
    pub struct Alarm;

    impl React<Lamp> for Alarm {
        fn react(&mut self, _event: &LampEvent, _cx: &mut Reaction<'_, Self>) {}
    }

    impl OnDeadline<Dusk> for Alarm {
        fn on_deadline(&mut self, _message: Dusk, _cx: &mut Reaction<'_, Self>) {}
    }

    /// A projection.
    #[projection(subscribes = [Lamp, Switch])]
    #[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
    pub struct Switches {
        /// How often.
        pub count: u64,
    }

    impl Project<Lamp> for Switches {
        fn project(&mut self, _event: &LampEvent, _cx: &EventContext<'_>) {
            self.count += 1;
        }
    }

    impl Project<Switch> for Switches {
        fn project(&mut self, _event: &SwitchEvent, _cx: &EventContext<'_>) {}
    }

    /// A projection with rows.
    #[projection(subscribes = [Lamp], key = String, version = 2, on_failure = "skip")]
    #[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
    pub struct LampRow {
        /// How often.
        #[index]
        pub count: u64,
        #[index]
        private: u64,
    }

    impl Locate<Lamp> for LampRow {
        fn locate(_event: &LampEvent, cx: &EventContext<'_>) -> Keys<String> {
            Keys::one(cx.stream_id().to_owned())
        }
    }

    impl Project<Lamp> for LampRow {
        fn project(&mut self, _event: &LampEvent, _cx: &EventContext<'_>) {
            self.count += self.private;
        }
    }

    /// A projection into a database.
    #[projection(subscribes = [Lamp, Switch], sink = Lines, on_failure = "stop")]
    #[derive(Debug, Clone, Copy)]
    pub struct LampReport;

    impl Prepare for LampReport {
        fn prepare(tx: &mut Vec<String>) -> Result<(), Infallible> {
            tx.clear();
            Ok(())
        }
    }

    impl ProjectInto<Lamp> for LampReport {
        fn project(
            _event: &LampEvent,
            _cx: &EventContext<'_>,
            _tx: &mut Vec<String>,
        ) -> Result<(), Infallible> {
            Ok(())
        }
    }

    impl ProjectInto<Switch> for LampReport {
        fn project(
            _event: &SwitchEvent,
            _cx: &EventContext<'_>,
            _tx: &mut Vec<String>,
        ) -> Result<(), Infallible> {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::domain::{Alarm, Echo, Lamp, LampEvent, LampRow, Listener, Switches, Timer};
    use eventfold_es::prelude::*;

    #[test]
    fn declarations_pass_the_lints() {
        assert_eq!(Lamp::AGGREGATE_TYPE, "lamp");
        assert_eq!(Echo.subscriptions(), Switches::default().subscriptions());
        assert_eq!(Listener::NAME, "listener");
        assert_eq!(Timer::DEADLINES, Alarm::DEADLINES);
        assert_eq!(LampEvent::EVENT_TYPES, ["Switched", "Flickered"]);
        assert_eq!(LampRow::COUNT.name(), "count");
    }
}
