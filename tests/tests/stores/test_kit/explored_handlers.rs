//! Exploration of a saga together with event handlers, and of the world outside.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::time::Duration;

use eventfold_es::HandleError;
use eventfold_es::prelude::*;
use eventfold_es::testing::{self, Exploration, Outside};

use super::{assert_says, failure};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TripCommand {
    Note(String),
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum TripEvent {
    Wanted,
    GivenUp,
    Noted(String),
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Trip;

impl Decider for Trip {
    fn decide(&self, TripCommand::Note(text): TripCommand) -> Result<Vec<TripEvent>, Infallible> {
        Ok(vec![TripEvent::Noted(text)])
    }

    fn evolve(&mut self, _: &TripEvent) {}
}

#[derive(Serialize, Deserialize)]
pub struct Late;

/// Notes that a trip that is not noted for an hour is late.
#[process_manager(subscribes = [Trip], dispatches = [Trip], key = String, deadlines = [Late])]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Clerk {
    is_over: bool,
}

impl Correlate<Trip> for Clerk {
    fn correlate(event: &TripEvent, cx: &EventContext<'_>) -> Correlation<String> {
        match event {
            TripEvent::Wanted => Correlation::starts(cx.stream_id().to_owned()),
            _ => Correlation::continues(cx.stream_id().to_owned()),
        }
    }
}

impl React<Trip> for Clerk {
    fn react(&mut self, event: &TripEvent, cx: &mut Reaction<'_, Self>) {
        match event {
            TripEvent::Wanted => {
                cx.schedule("late", Duration::from_secs(3600), Late);
            }
            TripEvent::GivenUp => {
                self.is_over = true;
                cx.cancel("late");
            }
            TripEvent::Noted(_) => {
                cx.cancel("late");
            }
        }
    }
}

impl OnDeadline<Late> for Clerk {
    fn on_deadline(&mut self, _: Late, cx: &mut Reaction<'_, Self>) {
        cx.send(cx.key(), TripCommand::Note("late".to_owned()));
    }
}

/// The seats of each trip, and the calls in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Airline {
    seats: BTreeMap<String, u32>,
    keys: BTreeSet<String>,
    calls: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    WithKeys,
    WithoutKeys,
    /// The first call for each trip fails after it has reserved a seat.
    Parking,
    Random,
}

/// Reserves a seat for each wanted trip, and gives it back for a trip that is given up.
#[event_handler(subscribes = [Trip], dispatches = [Trip], on_failure)]
pub struct Agent {
    airline: Outside<Airline>,
    way: Way,
}

impl Handle<Trip> for Agent {
    type Error = HandleError;

    async fn handle(
        &self,
        event: &TripEvent,
        cx: &mut Handling<'_, Self>,
    ) -> Result<(), HandleError> {
        let (key, trip) = (cx.idempotency_key().to_owned(), cx.stream_id().to_owned());
        let way = self.way;
        // On the virtual clock this takes no time.
        tokio::time::sleep(Duration::from_secs(10)).await;
        let is_new = self.airline.with(|airline| {
            airline.calls.push(format!("{key} {}", cx.attempt()));
            if way == Way::Random {
                let random = std::collections::hash_map::RandomState::new();
                let random = std::hash::BuildHasher::hash_one(&random, 1);
                airline.calls.push(random.to_string());
            }
            airline.keys.insert(key)
        });
        if !is_new && way != Way::WithoutKeys {
            return Ok(());
        }
        self.airline.with(|airline| {
            let seats = airline.seats.entry(trip.clone()).or_default();
            match event {
                TripEvent::Wanted => *seats += 1,
                TripEvent::GivenUp => *seats = seats.saturating_sub(1),
                TripEvent::Noted(_) => {}
            }
        });
        if way == Way::Parking {
            return Err(HandleError::failed("the line is broken"));
        }
        if let TripEvent::Wanted = event {
            cx.send(trip, TripCommand::Note("reserved".to_owned()));
        }
        Ok(())
    }
}

impl HandlerPolicy for Agent {
    fn on_failure(&self, failure: &Failure<'_>) -> HandlerAction<Self> {
        match self.way {
            Way::Parking => FailureAction::Park,
            _ => FailureAction::default_for(failure),
        }
    }
}

fn agent(plan: Exploration<Clerk>, way: Way) -> Exploration<Clerk, Airline> {
    plan.outside(Airline::default())
        .event_handler(move |airline| Agent { airline, way })
}

/// A trip that is wanted and given up.
fn trip(plan: Exploration<Clerk>) -> Exploration<Clerk> {
    plan.given::<Trip>("t", TripEvent::Wanted)
        .event::<Trip>("t", TripEvent::GivenUp)
}

fn no_seat_is_left(plan: Exploration<Clerk, Airline>) -> Exploration<Clerk, Airline> {
    plan.at_rest(|moment| match moment.outside().seats.get("t") {
        None | Some(0) => Ok(()),
        Some(seats) => Err(format!("{seats} seats are left")),
    })
}

fn without_keys(plan: Exploration<Clerk>) -> Exploration<Clerk, Airline> {
    no_seat_is_left(agent(trip(plan), Way::WithoutKeys).crashes(1))
}

fn with_keys(plan: Exploration<Clerk>) -> Exploration<Clerk, Airline> {
    no_seat_is_left(agent(trip(plan), Way::WithKeys).crashes(2).timeouts(2))
}

fn clerk() -> testing::ProcessManagerTest<Clerk> {
    testing::process_manager::<Clerk>()
}

#[test]
fn a_call_that_a_crash_repeats_is_found_and_a_key_mends_it() {
    let explored = clerk().explore(without_keys);
    let found = explored.then_violated();
    assert_eq!(found.reason, "1 seats are left");
    let steps = [
        "GivenUp of trip `t`",
        "`agent` handles Wanted of trip `t`, and a crash before its commit",
        "`agent` handles Wanted of trip `t`",
        "`agent` handles GivenUp of trip `t`",
    ];
    assert_eq!(found.steps, steps);
    assert!(
        found.test.contains("fn without_keys_in_this_order()")
            && found.test.contains("follow(without_keys, &["),
        "{}",
        found.test
    );
    let said = failure(|| clerk().follow(without_keys, &steps));
    assert_says(
        &said,
        &["1 seats are left", "after `agent` handles GivenUp"],
    );

    clerk().explore(with_keys).then_holds();
}

#[test]
fn a_call_that_times_out_has_changed_the_world_and_is_retried() {
    let explored =
        clerk().explore(|plan| no_seat_is_left(agent(trip(plan), Way::WithoutKeys).timeouts(1)));
    let found = explored.then_violated();
    assert_eq!(
        found.steps,
        [
            "GivenUp of trip `t`",
            "`agent` handles Wanted of trip `t`, and times out",
            // It makes the call for `GivenUp`, too, which has waited for it.
            "the next retry of `agent`",
        ]
    );
    // Without crashes and time-outs each event is handled once.
    let explored = clerk().explore(|plan| no_seat_is_left(agent(trip(plan), Way::WithoutKeys)));
    explored.then_holds();
}

#[test]
fn calls_of_a_key_are_in_order_and_beside_deadlines_and_other_keys() {
    let explored = clerk().explore(|plan| {
        let plan = trip(plan)
            .given::<Trip>("u", TripEvent::Wanted)
            .answers::<Trip>(|_, TripCommand::Note(text)| vec![TripEvent::Noted(text.clone())]);
        agent(plan, Way::WithKeys).crashes(1).always(|moment| {
            let calls = moment.outside().calls.iter();
            let of_t = calls.filter(|call| call.starts_with("agent:trip/t/"));
            match of_t.is_sorted() {
                true => Ok(()),
                false => Err("the calls are not in order".to_owned()),
            }
        })
    });
    explored.then_holds();
    // Each of these happens in some order.
    for (what, happens) in [
        ("u before t", ["agent:trip/u/1 1", "agent:trip/t/1 1"]),
        ("t before u", ["agent:trip/t/1 1", "agent:trip/u/1 1"]),
    ] {
        let explored = clerk().explore(|plan| {
            let plan = trip(plan).given::<Trip>("u", TripEvent::Wanted);
            agent(plan, Way::WithKeys).always(move |moment| {
                match moment
                    .outside()
                    .calls
                    .starts_with(&happens.map(str::to_owned))
                {
                    true => Err(what.to_owned()),
                    false => Ok(()),
                }
            })
        });
        assert_eq!(explored.then_violated().reason, what);
    }
    // A trip is late although its seat is reserved: the call comes after the deadline.
    let explored = clerk().explore(|plan| {
        agent(trip(plan), Way::WithKeys).always(|moment| {
            let sent = moment
                .sent::<Trip>()
                .into_iter()
                .map(|(_, command)| command);
            let notes: Vec<_> = sent.map(|TripCommand::Note(text)| text).collect();
            match notes == ["late", "reserved"] {
                true => Err("late, and reserved".to_owned()),
                false => Ok(()),
            }
        })
    });
    assert_eq!(
        explored.then_violated().steps,
        [
            "deadline `late` of `t`",
            "`agent` handles Wanted of trip `t`"
        ]
    );
}

#[test]
fn a_parked_key_holds_its_events_and_a_crash_interrupts_a_retry() {
    let explored = clerk().explore(|plan| {
        agent(trip(plan), Way::Parking).at_rest(|moment| {
            let calls = moment.outside().calls.len();
            match (moment.parked(), calls) {
                (1, 1) => Ok(()),
                found => Err(format!("{found:?}")),
            }
        })
    });
    explored.then_holds();
    // The second call of the retry is the one that crashes: the first is committed.
    let plan = |plan| no_seat_is_left(agent(trip(plan), Way::WithKeys).timeouts(1).crashes(1));
    clerk().follow(
        plan,
        &[
            "GivenUp of trip `t`",
            "`agent` handles Wanted of trip `t`, and times out",
            "the next retry of `agent`, and a crash before commit 2",
            "`agent` goes on with `trip/t`",
        ],
    );
    let said = failure(|| clerk().follow(plan, &["the next retry of `agent`"]));
    assert_says(
        &said,
        &["is not possible", "`agent` handles Wanted of trip `t`"],
    );
}

#[test]
fn a_fake_that_is_not_deterministic_fails_the_test() {
    let said = failure(|| {
        let _ = clerk().explore(|plan| agent(trip(plan), Way::Random).up_to(1000));
    });
    assert_says(&said, &["`agent` or its fake is not deterministic"]);
}

/// What comes before the world in a plan is true in it, too.
#[test]
fn a_plan_may_say_its_world_last() {
    let plan = |plan: Exploration<Clerk>| {
        trip(plan)
            .always(|moment| match moment.sent::<Trip>().len() {
                0 => Ok(()),
                _ => Err("it is noted".to_owned()),
            })
            .event_handler(|_: Outside<()>| Agent {
                airline: Outside::new(Airline::default()),
                way: Way::WithoutKeys,
            })
            .outside(Airline::default())
    };
    let explored = clerk().explore(plan);
    assert_eq!(explored.then_violated().reason, "it is noted");
}
