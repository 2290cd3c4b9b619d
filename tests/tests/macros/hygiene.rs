//! The macros work wherever a declaration may stand, and whatever else is in scope there.

use eventfold_es::contract::{Dispatch, DispatchTarget, TargetVisitor};
use eventfold_es::prelude::*;
use eventfold_es_tests_domain::{Inventory, InventoryCommand, Order, OrderEvent};

fn targets<E: Dispatch>() -> Vec<&'static str> {
    struct Names(Vec<&'static str>);
    impl TargetVisitor for Names {
        fn target<A: DispatchTarget>(&mut self) {
            self.0.push(A::AGGREGATE_TYPE);
        }
    }
    let mut names = Names(Vec::new());
    E::targets(&mut names);
    names.0
}

/// Without the prelude, and with types of the user's own under its names.
mod bare {
    #![no_implicit_prelude]
    #![allow(dead_code)]

    use ::eventfold_es::{
        DomainEvent, aggregate, event_handler, event_store, process_manager, projection, schedule,
    };
    use ::serde::{Deserialize, Serialize};
    use ::std::prelude::v1::derive;

    pub struct Result;
    pub struct Vec;
    pub struct String;
    pub struct Option;
    pub struct Some;
    pub struct None;
    pub struct Ok;
    pub struct Err;
    pub struct Box;
    pub struct Formatter;
    pub struct Shape;
    pub struct Field;
    pub struct NamedType;
    pub struct Recorded;
    pub struct NotRecorded;
    pub trait Clone {}
    pub trait From {}
    pub trait Into {}
    pub trait Debug {}
    pub trait Aggregate {}
    pub trait Decider {}
    pub trait ContextDecider {}
    pub struct Deciding;
    pub trait Envelope {}
    pub trait Handle {}
    pub trait EventHandler {}
    pub struct Handling;
    pub struct HandleError;
    pub struct Duration;
    pub struct Occurrence;
    pub struct Timetable;
    pub trait Schedule {}
    pub struct Missed;
    pub struct Due;
    pub mod eventfold_es {}
    pub mod core {}
    pub mod std {}

    #[derive(::std::fmt::Debug, ::std::clone::Clone, Serialize, Deserialize)]
    pub enum LampCommand {
        Switch,
    }

    #[derive(::std::fmt::Debug, ::std::clone::Clone, Serialize, Deserialize, DomainEvent)]
    #[serde(tag = "type", content = "data")]
    pub enum LampEvent {
        #[event(version = 3, upcast_from(1 => (), 2 => Switched))]
        Switched,
        #[event(retired)]
        Flickered {
            #[cfg(any())]
            never: TypeThatDoesNotExist,
            often: ::std::option::Option<::std::string::String>,
            how: ::std::vec::Vec<Manner>,
        },
    }

    #[derive(
        ::std::fmt::Debug, ::std::clone::Clone, Serialize, Deserialize, ::eventfold_es::StoredShape,
    )]
    pub enum Manner {
        Slow,
        Fast(::std::boxed::Box<Manner>),
    }

    #[derive(Deserialize, ::eventfold_es::StoredShape)]
    pub struct Switched;

    impl ::eventfold_es::Upcast<Switched> for () {
        fn upcast(self) -> Switched {
            Switched
        }
    }

    impl ::eventfold_es::Upcast<LampEvent> for Switched {
        fn upcast(self) -> LampEvent {
            LampEvent::Switched
        }
    }

    #[event_store(
        aggregates = [Lamp],
        process_managers = [Echo, Listener, Timer],
        event_handlers = [Bell, Chime],
        projections = [Switches],
        schedules = [Sunset]
    )]
    pub struct House;

    #[schedule(cron = "0 20 * * *", time_zone = "Europe/Berlin", missed = "all")]
    pub struct Sunset;

    #[event_handler(
        subscribes = [Lamp],
        dispatches = [Lamp],
        key = ::std::string::String,
        concurrency = 2,
        timeout = "5s",
        on_failure,
        start = "now"
    )]
    pub struct Bell {
        pub loud: bool,
    }

    impl ::eventfold_es::Handle<Lamp> for Bell {
        type Error = ::std::convert::Infallible;

        async fn handle(
            &self,
            _: &LampEvent,
            cx: &mut ::eventfold_es::Handling<'_, Self>,
        ) -> ::std::result::Result<(), ::std::convert::Infallible> {
            cx.send(cx.stream_id(), LampCommand::Switch);
            ::std::result::Result::Ok(())
        }
    }

    impl ::eventfold_es::HandleKey<Lamp> for Bell {
        fn key(_: &LampEvent, cx: &::eventfold_es::EventContext<'_>) -> ::std::string::String {
            ::std::borrow::ToOwned::to_owned(cx.stream_id())
        }
    }

    impl ::eventfold_es::HandlerPolicy for Bell {
        fn on_failure(
            &self,
            _: &::eventfold_es::Failure<'_>,
        ) -> ::eventfold_es::HandlerAction<Self> {
            ::eventfold_es::FailureAction::Park
        }
    }

    #[event_handler(subscribes = [Lamp])]
    pub struct Chime;

    impl ::eventfold_es::Handle<Lamp> for Chime {
        type Error = ::std::convert::Infallible;

        async fn handle(
            &self,
            _: &LampEvent,
            _: &mut ::eventfold_es::Handling<'_, Self>,
        ) -> ::std::result::Result<(), ::std::convert::Infallible> {
            ::std::result::Result::Ok(())
        }
    }

    #[aggregate(error = ::std::convert::Infallible)]
    #[derive(::std::clone::Clone, ::std::default::Default, Serialize, Deserialize)]
    pub struct Lamp {
        on: bool,
    }

    impl ::eventfold_es::Decider for Lamp {
        fn decide(
            &self,
            _: LampCommand,
        ) -> ::std::result::Result<::std::vec::Vec<LampEvent>, ::std::convert::Infallible> {
            ::std::result::Result::Ok(::std::vec![LampEvent::Switched])
        }

        fn evolve(&mut self, _: &LampEvent) {
            self.on = !self.on;
        }
    }

    #[derive(::std::fmt::Debug, ::std::clone::Clone, Serialize, Deserialize)]
    pub struct Burn;

    #[aggregate(context, command = Burn, event = LampEvent, error = ::std::convert::Infallible)]
    #[derive(::std::clone::Clone, ::std::default::Default, Serialize, Deserialize)]
    pub struct Candle;

    impl ::eventfold_es::ContextDecider for Candle {
        fn decide(
            &self,
            _: Burn,
            _: &::eventfold_es::Deciding<'_>,
        ) -> ::std::result::Result<::std::vec::Vec<LampEvent>, ::std::convert::Infallible> {
            ::std::result::Result::Ok(::std::vec![LampEvent::Switched])
        }

        fn evolve(&mut self, _: &LampEvent) {}
    }

    #[process_manager(subscribes = [Lamp], dispatches = [Lamp])]
    #[derive(::std::default::Default, Serialize, Deserialize)]
    pub struct Echo;

    impl ::eventfold_es::React<Lamp> for Echo {
        fn react(&mut self, _: &LampEvent, cx: &mut ::eventfold_es::Reaction<'_, Self>) {
            cx.send("kitchen", LampCommand::Switch);
        }
    }

    #[process_manager(subscribes = [Lamp])]
    #[derive(::std::default::Default, Serialize, Deserialize)]
    pub struct Listener;

    impl ::eventfold_es::React<Lamp> for Listener {
        fn react(&mut self, _: &LampEvent, _: &mut ::eventfold_es::Reaction<'_, Self>) {}
    }

    #[derive(Serialize, Deserialize, ::eventfold_es::StoredShape)]
    pub struct Dusk;

    #[process_manager(
        subscribes = [Lamp],
        dispatches = [Lamp],
        key = ::std::string::String,
        deadlines = [Dusk],
        on_failure,
        state_version = 2,
        start = "now"
    )]
    #[derive(::std::default::Default, Serialize, Deserialize)]
    pub struct Timer;

    impl ::eventfold_es::Correlate<Lamp> for Timer {
        fn correlate(
            _: &LampEvent,
            cx: &::eventfold_es::EventContext<'_>,
        ) -> ::eventfold_es::Correlation<::std::string::String> {
            ::eventfold_es::Correlation::starts(::std::borrow::ToOwned::to_owned(cx.stream_id()))
        }
    }

    impl ::eventfold_es::React<Lamp> for Timer {
        fn react(&mut self, _: &LampEvent, cx: &mut ::eventfold_es::Reaction<'_, Self>) {
            let night = ::std::time::Duration::from_secs(1);
            cx.schedule("dusk", ::eventfold_es::Deadline::after(night), Dusk);
        }
    }

    impl ::eventfold_es::OnDeadline<Dusk> for Timer {
        fn on_deadline(&mut self, _: Dusk, cx: &mut ::eventfold_es::Reaction<'_, Self>) {
            cx.send(::std::clone::Clone::clone(cx.key()), LampCommand::Switch);
            cx.complete();
        }
    }

    impl ::eventfold_es::HandleFailure for Timer {
        fn on_failure(
            &self,
            _: &::eventfold_es::Failure<'_>,
        ) -> ::eventfold_es::FailureAction<Self> {
            ::eventfold_es::FailureAction::Park
        }
    }

    impl ::eventfold_es::MigrateState for Timer {
        fn migrate(
            _: ::eventfold_es::StoredState<'_>,
        ) -> ::std::result::Result<Self, ::eventfold_es::MigrationError> {
            ::std::result::Result::Ok(Self)
        }
    }

    #[projection(subscribes = [Lamp])]
    #[derive(::std::clone::Clone, ::std::default::Default, Serialize, Deserialize)]
    pub struct Switches {
        count: u64,
    }

    impl ::eventfold_es::Project<Lamp> for Switches {
        fn project(&mut self, _: &LampEvent, _: &::eventfold_es::EventContext<'_>) {
            self.count += 1;
        }
    }
}

#[test]
fn the_prelude_is_not_needed_and_may_be_shadowed() {
    assert_eq!(bare::Lamp::AGGREGATE_TYPE, "lamp");
    assert_eq!(targets::<bare::EchoEnvelope>(), ["lamp"]);
    assert_eq!(bare::Listener.subscriptions(), ["lamp"]);
    assert_eq!(bare::Timer::DEADLINES, ["dusk"]);
    let switched = RecordedEvent::new(1, 1, bare::LampEvent::Switched.to_event().unwrap());
    let effects = bare::Timer.react_in("hall", "lamp", "hall", &switched);
    assert_eq!(effects.unwrap().timers.len(), 1);
    assert_eq!(bare::Switches::default().subscriptions(), ["lamp"]);
    assert_eq!(bare::House::topology().edges().count(), 9);
    let house = bare::House::builder("house");
    drop(
        house
            .event_handler(bare::Bell { loud: true })
            .event_handler(bare::Chime),
    );
    let lock = bare::House::schema().to_lock();
    for known in [
        "type Manner\n      enum",
        "past Switched\n  event",
        "deadline dusk\n  state",
    ] {
        assert!(lock.contains(known), "{known} is not in\n{lock}");
    }
    let stored = bare::LampEvent::Switched.to_event().unwrap();
    assert_eq!(
        stored.meta,
        Some(serde_json::json!({ "schema_version": 3 }))
    );
}

macro_rules! declare {
    ($saga:ident, $sales:ident, $name:literal, $aggregate:ident, $path:path, $ty:ty, $event:ty, $command:expr) => {
        #[process_manager(subscribes = [$ty], dispatches = [$path, $aggregate], name = $name)]
        #[derive(Debug, Default, Serialize, Deserialize)]
        struct $saga {
            event: u64,
        }

        impl React<$aggregate> for $saga {
            fn react(&mut self, _event: &$event, cx: &mut Reaction<'_, Self>) {
                self.event += 1;
                cx.send("x", $command);
            }
        }

        #[projection(subscribes = [$path, $ty], name = $name)]
        #[derive(Debug, Clone, Default, Serialize, Deserialize)]
        struct $sales;

        impl Project<$ty> for $sales {
            fn project(&mut self, _event: &$event, _cx: &EventContext<'_>) {}
        }
    };
    (aggregate $aggregate:ident, $command:ident, $event:ident, $variant:ident) => {
        #[derive(Debug, Clone, Serialize, Deserialize)]
        enum $command {
            $variant,
        }

        #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
        #[serde(tag = "type", content = "data", rename_all = "kebab-case")]
        enum $event {
            $variant,
        }

        #[aggregate(command = $command, event = $event, error = std::convert::Infallible)]
        #[derive(Debug, Clone, Default, Serialize, Deserialize)]
        struct $aggregate;

        impl Decider for $aggregate {
            fn decide(&self, command: $command) -> Result<Vec<$event>, std::convert::Infallible> {
                match command {
                    $command::$variant => Ok(vec![$event::$variant]),
                }
            }

            fn evolve(&mut self, event: &$event) {
                match event {
                    $event::$variant => {}
                }
            }
        }
    };
}

declare!(aggregate Door, Push, Moved, WasOpened);

#[test]
fn declarations_can_come_from_macros() {
    use eventfold_es_tests_domain as domain;
    declare!(
        Saga,
        Sales,
        "from-a-macro",
        Inventory,
        domain::Order,
        Inventory,
        domain::InventoryEvent,
        InventoryCommand::Reserve { qty: 1 }
    );
    impl Project<Order> for Sales {
        fn project(&mut self, _event: &OrderEvent, _cx: &EventContext<'_>) {}
    }
    assert_eq!((Saga::NAME, Sales::NAME), ("from-a-macro", "from-a-macro"));
    assert_eq!(targets::<SagaEnvelope>(), ["order", "inventory"]);
    assert_eq!(Moved::EVENT_TYPES, ["was-opened"]);
    assert_eq!(Door.handle(Push::WasOpened).unwrap().len(), 1);
    let recorded = RecordedEvent::new(
        1,
        1,
        domain::InventoryEvent::Reserved { qty: 1 }
            .to_event()
            .unwrap(),
    );
    let mut saga = Saga::default();
    assert_eq!(
        ProcessManager::react(&mut saga, "inventory", "i", &recorded)
            .unwrap()
            .len(),
        1
    );
    assert_eq!(saga.event, 1);
}

#[test]
fn declarations_can_stand_in_functions() {
    declare!(aggregate Gate, GateCommand, GateEvent, Open);

    #[process_manager(subscribes = [Gate], dispatches = [Gate])]
    #[derive(Debug, Default, Serialize, Deserialize)]
    struct Keeper;

    impl React<Gate> for Keeper {
        fn react(&mut self, _event: &GateEvent, cx: &mut Reaction<'_, Self>) {
            cx.send("north", GateCommand::Open);
        }
    }

    let recorded = RecordedEvent::new(1, 1, GateEvent::Open.to_event().unwrap());
    let sent = ProcessManager::react(&mut Keeper, "gate", "south", &recorded).unwrap();
    assert!(
        matches!(sent.as_slice(), [KeeperEnvelope::Gate(envelope)] if envelope.instance_id == "north")
    );
}

#[allow(non_camel_case_types)]
#[test]
fn raw_identifiers_are_names_like_others() {
    declare!(aggregate r#type, r#enum, r#struct, r#match);

    #[process_manager(subscribes = [r#type], dispatches = [r#type])]
    #[derive(Debug, Default, Serialize, Deserialize)]
    struct r#loop;

    impl React<r#type> for r#loop {
        fn react(&mut self, _event: &r#struct, cx: &mut Reaction<'_, Self>) {
            cx.send("x", r#enum::r#match);
        }
    }

    assert_eq!(r#type::AGGREGATE_TYPE, "type");
    assert_eq!(r#loop::NAME, "loop");
    assert_eq!(r#struct::EVENT_TYPES, ["match"]);
    assert_eq!(targets::<loopEnvelope>(), ["type"]);
}

mod facade {
    pub use eventfold_es as es;
    pub const LIGHT: &str = "facade.light";
}

#[test]
fn the_crate_can_have_another_path() {
    #[derive(Debug, Clone, Serialize, Deserialize)]
    enum LightCommand {}

    #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
    #[serde(tag = "type", content = "data")]
    #[domain_event(crate = facade::es)]
    enum LightEvent {}

    #[aggregate(error = std::convert::Infallible, name = facade::LIGHT, crate = facade::es)]
    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    struct Light;

    impl Decider for Light {
        fn decide(
            &self,
            command: LightCommand,
        ) -> Result<Vec<LightEvent>, std::convert::Infallible> {
            match command {}
        }

        fn evolve(&mut self, event: &LightEvent) {
            match *event {}
        }
    }

    #[process_manager(subscribes = [Light], dispatches = [Light], crate = facade::es, envelope = LightMessage)]
    #[derive(Debug, Default, Serialize, Deserialize)]
    struct Watcher;

    impl React<Light> for Watcher {
        fn react(&mut self, event: &LightEvent, _cx: &mut Reaction<'_, Self>) {
            match *event {}
        }
    }

    #[event_handler(subscribes = [Light], dispatches = [Light], crate = facade::es, envelope = BellMessage)]
    struct LightBell;

    impl Handle<Light> for LightBell {
        type Error = std::convert::Infallible;

        async fn handle(
            &self,
            event: &LightEvent,
            _cx: &mut Handling<'_, Self>,
        ) -> Result<(), std::convert::Infallible> {
            match *event {}
        }
    }

    #[schedule(cron = concat!("@", "daily"), time_zone = concat!("U", "TC"), crate = facade::es)]
    struct Daily;

    assert_eq!(Daily::timetable().unwrap().time_zone(), "UTC");

    #[projection(subscribes = [Light, Order], crate = facade::es, name = concat!("li", "ghts"))]
    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    struct Lights;

    impl Project<Light> for Lights {
        fn project(&mut self, event: &LightEvent, _cx: &EventContext<'_>) {
            match *event {}
        }
    }

    impl Project<Order> for Lights {
        fn project(&mut self, _event: &OrderEvent, _cx: &EventContext<'_>) {}
    }

    #[event_store(aggregates = [Light, self::Order], process_managers = [Watcher], event_handlers = [LightBell], projections = [Lights], schedules = [Daily], crate = facade::es)]
    struct Lamps;

    assert_eq!(Lamps::topology().edges().count(), 6);
    assert_eq!(Lights::NAME, "lights");
    assert_eq!(Lights.subscriptions(), ["facade.light", "order"]);
    assert_eq!(Watcher.subscriptions(), ["facade.light"]);
    assert_eq!(targets::<LightMessage>(), ["facade.light"]);
    assert_eq!(LightBell::SUBSCRIPTIONS, ["facade.light"]);
    assert_eq!(targets::<BellMessage>(), ["facade.light"]);
}

/// Fields that depend on the configuration are recorded as they are compiled.
#[test]
fn shapes_depend_on_the_configuration() {
    #[derive(Debug, Clone, Serialize, Deserialize)]
    enum BellCommand {}

    #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
    #[serde(tag = "type", content = "data")]
    enum BellEvent {
        Rung {
            #[cfg(any())]
            never: TypeThatDoesNotExist,
            often: u8,
        },
    }

    #[aggregate(error = std::convert::Infallible)]
    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    struct Bell {
        #[cfg(any())]
        never: TypeThatDoesNotExist,
        #[cfg(test)]
        rung: u8,
    }

    impl Decider for Bell {
        fn decide(&self, command: BellCommand) -> Result<Vec<BellEvent>, std::convert::Infallible> {
            match command {}
        }

        fn evolve(&mut self, _event: &BellEvent) {}
    }

    #[event_store(aggregates = [Bell])]
    struct Church;

    let lock = Church::schema().to_lock();
    assert!(
        lock.contains("rung: u8") && lock.contains("often: u8"),
        "{lock}"
    );
    assert!(!lock.contains("never"), "{lock}");
}

/// An aggregate that was written by hand, and is generic.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Tally<const WEIGHT: u8>;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Count;

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
enum Counted {
    Counted(u8),
}

impl Aggregate for Tally<2> {
    const AGGREGATE_TYPE: &'static str = "tally";
    type Command = Count;
    type DomainEvent = Counted;
    type Error = std::convert::Infallible;

    fn handle(&self, Count: Count) -> Result<Vec<Counted>, Self::Error> {
        Ok(vec![Counted::Counted(2)])
    }

    fn apply(self, Counted::Counted(_): &Counted) -> Self {
        self
    }
}

impl Command for Count {
    type Aggregate = Tally<2>;
}

#[test]
fn aggregates_written_by_hand_are_aggregates() {
    #[process_manager(subscribes = [Tally<2>], dispatches = [Tally<2>, self::Inventory])]
    #[derive(Debug, Default, Serialize, Deserialize)]
    struct Counter;

    impl React<Tally<2>> for Counter {
        fn react(&mut self, _event: &Counted, cx: &mut Reaction<'_, Self>) {
            cx.send("x", Count);
            cx.send("y", InventoryCommand::Reserve { qty: 1 });
        }
    }

    assert_eq!(targets::<CounterEnvelope>(), ["tally", "inventory"]);
    let recorded = RecordedEvent::new(1, 1, Counted::Counted(1).to_event().unwrap());
    let sent = ProcessManager::react(&mut Counter, "tally", "x", &recorded).unwrap();
    assert!(matches!(
        sent.as_slice(),
        [CounterEnvelope::Tally(_), CounterEnvelope::Inventory(_)]
    ));
}

/// An aggregate, a process manager and a projection may be enums and tuples, with attributes of their own.
#[test]
fn any_shape_of_type_is_kept() {
    #[derive(Debug, Clone, Serialize, Deserialize)]
    enum ValveCommand {
        Turn,
    }

    #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
    #[serde(tag = "type", content = "data")]
    enum ValveEvent {
        Turned,
    }

    /// Documented, and renamed for serde.
    #[aggregate(error = std::convert::Infallible)]
    #[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Valve {
        #[default]
        Shut,
        Open,
    }

    impl Decider for Valve {
        fn decide(
            &self,
            _command: ValveCommand,
        ) -> Result<Vec<ValveEvent>, std::convert::Infallible> {
            Ok(vec![ValveEvent::Turned])
        }

        fn evolve(&mut self, _event: &ValveEvent) {
            *self = Valve::Open;
        }
    }

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[process_manager(subscribes = [Valve])]
    enum Plumber {
        #[default]
        Idle,
    }

    impl React<Valve> for Plumber {
        fn react(&mut self, _event: &ValveEvent, _cx: &mut Reaction<'_, Self>) {
            *self = Self::Idle;
        }
    }

    #[projection(subscribes = [Valve])]
    #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    struct Turns(#[serde(default)] u64);

    impl Project<Valve> for Turns {
        fn project(&mut self, _event: &ValveEvent, _cx: &EventContext<'_>) {
            self.0 += 1;
        }
    }

    assert_eq!(Valve::Shut.apply(&ValveEvent::Turned), Valve::Open);
    assert_eq!(serde_json::to_string(&Valve::Open).unwrap(), "\"open\"");
    assert_eq!(Plumber::Idle.subscriptions(), ["valve"]);
    assert_eq!(Turns(0).subscriptions(), ["valve"]);
}
