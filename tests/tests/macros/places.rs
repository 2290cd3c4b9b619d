//! Declarations work in every place and with every visibility: in nested modules, under `#[cfg]`, out of macros that macros
//! wrote, by the full paths of the macros.

#![allow(dead_code, reason = "most of it is declared, and not used")]

use std::convert::Infallible;

use eventfold_es::contract::{Dispatch, DispatchTarget, TargetVisitor};
use eventfold_es::prelude::*;

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

/// Declares an aggregate, a process manager and a projection with attributes and a visibility that are given.
macro_rules! declare {
    (
        $(#[$attribute:meta])*
        $visibility:vis $aggregate:ident, $command:ident, $event:ident, $saga:ident, $view:ident
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Serialize, Deserialize)]
        $visibility enum $command {
            Do,
        }

        $(#[$attribute])*
        #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
        #[serde(tag = "type", content = "data")]
        $visibility enum $event {
            Done,
        }

        $(#[$attribute])*
        #[aggregate(command = $command, event = $event, error = Infallible)]
        #[derive(Debug, Clone, Default, Serialize, Deserialize)]
        $visibility struct $aggregate;

        impl Decider for $aggregate {
            fn decide(&self, _command: $command) -> Result<Vec<$event>, Infallible> {
                Ok(vec![$event::Done])
            }

            fn evolve(&mut self, _event: &$event) {}
        }

        $(#[$attribute])*
        #[process_manager(subscribes = [$aggregate], dispatches = [$aggregate])]
        #[derive(Debug, Default, Serialize, Deserialize)]
        $visibility struct $saga;

        impl React<$aggregate> for $saga {
            fn react(&mut self, _event: &$event, cx: &mut Reaction<'_, Self>) {
                cx.send("x", $command::Do);
            }
        }

        $(#[$attribute])*
        #[projection(subscribes = [$aggregate])]
        #[derive(Debug, Clone, Default, Serialize, Deserialize)]
        $visibility struct $view;

        impl Project<$aggregate> for $view {
            fn project(&mut self, _event: &$event, _cx: &EventContext<'_>) {}
        }
    };
}

mod outer {
    use super::*;

    declare!(pub Public, PublicCommand, PublicEvent, PublicSaga, PublicView);
    declare!(pub(crate) Crate, CrateCommand, CrateEvent, CrateSaga, CrateView);
    declare!(pub(super) Super, SuperCommand, SuperEvent, SuperSaga, SuperView);
    declare!(
        Private,
        PrivateCommand,
        PrivateEvent,
        PrivateSaga,
        PrivateView
    );

    pub mod inner {
        use super::*;

        declare!(pub(in crate::places::outer) In, InCommand, InEvent, InSaga, InView);

        /// Aggregates by every kind of path, of every visibility.
        #[process_manager(
            subscribes = [super::Private, self::In, crate::places::outer::Crate],
            dispatches = [super::super::outer::Public, super::Private, self::In]
        )]
        #[derive(Debug, Default, Serialize, Deserialize)]
        pub struct Everywhere;

        impl React<super::Private> for Everywhere {
            fn react(&mut self, _event: &PrivateEvent, cx: &mut Reaction<'_, Self>) {
                cx.send("x", PublicCommand::Do);
            }
        }

        impl React<In> for Everywhere {
            fn react(&mut self, _event: &InEvent, cx: &mut Reaction<'_, Self>) {
                cx.send("x", PrivateCommand::Do);
            }
        }

        impl React<Crate> for Everywhere {
            fn react(&mut self, _event: &CrateEvent, cx: &mut Reaction<'_, Self>) {
                cx.send("x", InCommand::Do);
            }
        }
    }

    pub fn private_targets() -> Vec<&'static str> {
        targets::<PrivateSagaEnvelope>()
    }

    pub fn restricted_targets() -> Vec<&'static str> {
        targets::<inner::InSagaEnvelope>()
    }
}

#[test]
fn an_envelope_is_as_visible_as_its_process_manager() {
    assert_eq!(targets::<outer::PublicSagaEnvelope>(), ["public"]);
    assert_eq!(targets::<outer::CrateSagaEnvelope>(), ["crate"]);
    assert_eq!(targets::<outer::SuperSagaEnvelope>(), ["super"]);
    assert_eq!(outer::private_targets(), ["private"]);
    assert_eq!(outer::restricted_targets(), ["in"]);
    assert_eq!(outer::SuperView.subscriptions(), ["super"]);
}

#[test]
fn aggregates_are_found_by_every_kind_of_path() {
    use outer::inner::{Everywhere, EverywhereEnvelope};

    assert_eq!(Everywhere.subscriptions(), ["private", "in", "crate"]);
    assert_eq!(targets::<EverywhereEnvelope>(), ["public", "private", "in"]);
}

macro_rules! a_macro_that_writes {
    ($name:ident => $($declaration:tt)*) => {
        macro_rules! $name {
            () => { declare!($($declaration)*); };
        }
    };
}

a_macro_that_writes!(written => #[doc(hidden)] pub(crate) Written, WrittenCommand, WrittenEvent, WrittenSaga, WrittenView);
written!();

#[test]
fn macros_may_write_macros_that_declare() {
    assert_eq!(targets::<WrittenSagaEnvelope>(), ["written"]);
    assert_eq!(WrittenView.subscriptions(), ["written"]);
    assert_eq!(WrittenEvent::EVENT_TYPES, ["Done"]);
}

/// What `cfg` takes away was never declared.
#[allow(clippy::non_minimal_cfg, reason = "it is to hold always")]
mod conditional {
    use super::*;

    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub enum DoorCommand {
        Open,
        #[cfg(any())]
        Nothing(NoSuchType),
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
    #[serde(tag = "type", content = "data")]
    #[cfg_attr(all(), serde(rename_all = "snake_case"))]
    pub enum DoorEvent {
        #[cfg(all())]
        WasOpened {
            #[cfg(any())]
            by: NoSuchType,
            #[cfg(all())]
            times: u32,
        },
        #[cfg(any())]
        #[serde(skip)]
        Vanished(NoSuchType),
        #[cfg_attr(all(), serde(rename = "shut"))]
        #[cfg_attr(any(), serde(untagged))]
        WasClosed,
    }

    #[cfg_attr(all(), aggregate(error = Infallible))]
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
    pub enum Door {
        #[default]
        Closed,
        Open,
        #[cfg(any())]
        Ajar(NoSuchType),
    }

    impl Decider for Door {
        fn decide(&self, DoorCommand::Open: DoorCommand) -> Result<Vec<DoorEvent>, Infallible> {
            Ok(vec![DoorEvent::WasOpened { times: 1 }])
        }

        fn evolve(&mut self, event: &DoorEvent) {
            *self = match event {
                DoorEvent::WasOpened { .. } => Self::Open,
                DoorEvent::WasClosed => Self::Closed,
            };
        }
    }

    #[cfg(any())]
    #[process_manager(nonsense)]
    struct Never;
}

#[test]
fn variants_and_attributes_may_be_conditional() {
    use conditional::{Door, DoorCommand, DoorEvent};

    assert_eq!(DoorEvent::EVENT_TYPES, ["was_opened", "shut"]);
    let events = Door::default().handle(DoorCommand::Open).unwrap();
    assert_eq!(events, [DoorEvent::WasOpened { times: 1 }]);
    let stored = DoorEvent::WasClosed.to_event().unwrap();
    assert_eq!(stored.event_type, "shut");
    let door = Door::default().apply(&events[0]);
    assert_eq!(door, Door::Open);
    assert_eq!(door.apply(&DoorEvent::WasClosed), Door::Closed);
}

/// Nothing is imported.
#[allow(non_camel_case_types, reason = "keywords are written so")]
mod unimported {
    #[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
    pub enum r#Command {
        r#Do,
    }

    #[derive(Debug, Clone, serde::Serialize, serde::Deserialize, eventfold_es::DomainEvent)]
    #[serde(tag = "type", content = "data")]
    pub enum r#Event {
        r#type { r#fn: u8 },
    }

    #[eventfold_es::aggregate(
        command = r#Command,
        event = self::r#Event,
        error = std::convert::Infallible,
        crate = eventfold_es
    )]
    #[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
    pub struct r#move {
        pub r#in: u8,
    }

    impl eventfold_es::Decider for r#move {
        fn decide(&self, _: Command) -> Result<Vec<Event>, std::convert::Infallible> {
            Ok(vec![Event::r#type { r#fn: 1 }])
        }

        fn evolve(&mut self, Event::r#type { r#fn }: &Event) {
            self.r#in += r#fn;
        }
    }

    #[eventfold_es::process_manager(subscribes = [self::r#move], dispatches = [r#move], envelope = r#ref)]
    #[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
    pub struct r#async;

    impl eventfold_es::React<r#move> for r#async {
        fn react(&mut self, _: &Event, cx: &mut eventfold_es::Reaction<'_, Self>) {
            cx.send("x", Command::Do);
        }
    }

    #[eventfold_es::projection(subscribes = [r#move])]
    #[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
    pub struct r#dyn;

    impl eventfold_es::Project<r#move> for r#dyn {
        fn project(&mut self, _: &Event, _: &eventfold_es::EventContext<'_>) {}
    }
}

#[test]
fn nothing_has_to_be_imported_and_names_may_be_keywords() {
    assert_eq!(unimported::r#move::AGGREGATE_TYPE, "move");
    assert_eq!(unimported::r#async::NAME, "async");
    assert_eq!(unimported::r#dyn::NAME, "dyn");
    assert_eq!(targets::<unimported::r#ref>(), ["move"]);
    assert_eq!(unimported::Event::EVENT_TYPES, ["type"]);
}
