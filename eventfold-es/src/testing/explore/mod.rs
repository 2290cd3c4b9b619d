//! Exploration: every order in which events, deadlines, rejections and failures can reach a process manager, up to a bound.

mod handlers;
mod moment;
mod outside;
mod plan;
mod search;
mod state;

use std::any::type_name;
use std::hash::Hash;

pub use moment::Moment;
pub use outside::Outside;
pub use plan::Exploration;
use search::Search;
use state::Node;

use super::ProcessManagerTest;
use crate::process_manager::ProcessManager;

/// The result of an exploration.
#[derive(Debug)]
#[must_use = "a test says what it expects with `then_holds()` or `then_violated()`"]
pub struct Explored {
    /// The number of different states.
    pub states: usize,
    /// The number of steps between them.
    pub steps: usize,
    /// Whether every state was reached. Otherwise the limit of the plan ended the exploration.
    pub is_complete: bool,
    violation: Option<Violation>,
}

/// A state in which an invariant does not hold, and the shortest way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The reason that the invariant gives.
    pub reason: String,
    /// The steps, for [`ProcessManagerTest::follow`].
    pub steps: Vec<String>,
    /// A test of these steps.
    pub test: String,
}

impl<PM: ProcessManager> ProcessManagerTest<PM> {
    /// Explores every order in which the events, deadlines, rejections and failures of `plan` can reach the process manager.
    ///
    /// It searches breadth first and visits each state once, so that the first violation has the shortest way. A state consists of the
    /// stored data of the process manager, the commands that it has sent, and the events that are still to happen. The next steps from
    /// a state are:
    ///
    /// - the next event of a stream;
    /// - the armed deadline that is due first, before or after any event;
    /// - the retry that is due first;
    /// - a call of an event handler, its retry, or its repetition after a crash;
    /// - each of these with a failed reaction or call, and with each combination of rejected commands, as far as the plan has them.
    ///
    /// Every step begins with the stored data, as after a restart. So a crash between two steps makes no difference, and a crash in
    /// the middle of a step leaves the state before it. A store runs the same machine.
    ///
    /// # Panics
    ///
    /// If the test has events already: an exploration takes them from its plan.
    ///
    /// # Examples
    ///
    /// A payment that arrives after the cancellation is not paid back:
    ///
    /// ```
    /// use eventfold_es::prelude::*;
    /// use eventfold_es::testing::{self, Exploration};
    /// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    /// # pub enum PaymentCommand { Refund }
    /// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
    /// # #[serde(tag = "type", content = "data")]
    /// # pub enum PaymentEvent { Paid }
    /// # #[aggregate(error = std::convert::Infallible)]
    /// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    /// # pub struct Payment;
    /// # impl Decider for Payment {
    /// #     fn decide(&self, _: PaymentCommand) -> Result<Vec<PaymentEvent>, std::convert::Infallible> { Ok(vec![]) }
    /// #     fn evolve(&mut self, _: &PaymentEvent) {}
    /// # }
    /// # #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    /// # pub enum BookingCommand {}
    /// # #[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
    /// # #[serde(tag = "type", content = "data")]
    /// # pub enum BookingEvent { Requested, Cancelled }
    /// # #[aggregate(error = std::convert::Infallible)]
    /// # #[derive(Debug, Clone, Default, Serialize, Deserialize)]
    /// # pub struct Booking;
    /// # impl Decider for Booking {
    /// #     fn decide(&self, _: BookingCommand) -> Result<Vec<BookingEvent>, std::convert::Infallible> { Ok(vec![]) }
    /// #     fn evolve(&mut self, _: &BookingEvent) {}
    /// # }
    /// #[process_manager(subscribes = [Booking, Payment], dispatches = [Payment], key = String)]
    /// #[derive(Debug, Default, Serialize, Deserialize)]
    /// pub struct BookingSaga {
    ///     is_paid: bool,
    /// }
    ///
    /// impl Correlate<Booking> for BookingSaga {
    ///     fn correlate(event: &BookingEvent, cx: &EventContext<'_>) -> Correlation<String> {
    ///         match event {
    ///             BookingEvent::Requested => Correlation::starts(cx.stream_id().to_owned()),
    ///             BookingEvent::Cancelled => Correlation::continues(cx.stream_id().to_owned()),
    ///         }
    ///     }
    /// }
    ///
    /// impl Correlate<Payment> for BookingSaga {
    ///     fn correlate(_event: &PaymentEvent, cx: &EventContext<'_>) -> Correlation<String> {
    ///         Correlation::continues(cx.stream_id().to_owned())
    ///     }
    /// }
    ///
    /// impl React<Booking> for BookingSaga {
    ///     fn react(&mut self, event: &BookingEvent, cx: &mut Reaction<'_, Self>) {
    ///         if let BookingEvent::Cancelled = event {
    ///             if self.is_paid {
    ///                 cx.send(cx.key(), PaymentCommand::Refund);
    ///             }
    ///             cx.complete();
    ///         }
    ///     }
    /// }
    ///
    /// impl React<Payment> for BookingSaga {
    ///     fn react(&mut self, _event: &PaymentEvent, _cx: &mut Reaction<'_, Self>) {
    ///         self.is_paid = true;
    ///     }
    /// }
    ///
    /// fn paid_and_cancelled(plan: Exploration<BookingSaga>) -> Exploration<BookingSaga> {
    ///     plan.given::<Booking>("b-1", BookingEvent::Requested)
    ///         .event::<Booking>("b-1", BookingEvent::Cancelled)
    ///         .event::<Payment>("b-1", PaymentEvent::Paid)
    ///         .at_rest(|moment| match moment.sent::<Payment>().len() {
    ///             1 => Ok(()),
    ///             refunds => Err(format!("{refunds} refunds for one payment")),
    ///         })
    /// }
    ///
    /// let explored = testing::process_manager::<BookingSaga>().explore(paid_and_cancelled);
    /// let race = explored.then_violated();
    /// assert_eq!(race.reason, "0 refunds for one payment");
    /// assert_eq!(race.steps, ["Cancelled of booking `b-1`", "Paid of payment `b-1`"]);
    /// ```
    #[track_caller]
    pub fn explore<F, W>(self, plan: F) -> Explored
    where
        F: FnOnce(Exploration<PM>) -> Exploration<PM, W>,
        W: Clone + Hash,
    {
        self.refuse_events();
        let name = type_name::<F>();
        let plan = plan(Exploration::new());
        let mut search = Search::new(&plan);
        let found = search.run();
        let violation = found.map(|(reason, steps)| Violation {
            test: test_of::<PM>(name, &steps),
            reason,
            steps,
        });
        Explored {
            states: search.states(),
            steps: search.steps,
            is_complete: search.is_complete,
            violation,
        }
    }

    /// Follows the steps of an exploration, and checks the invariants of `plan` after each.
    ///
    /// # Panics
    ///
    /// If a step is not possible, or an invariant does not hold.
    #[track_caller]
    pub fn follow<W: Clone + Hash>(
        self,
        plan: impl FnOnce(Exploration<PM>) -> Exploration<PM, W>,
        steps: &[&str],
    ) {
        self.refuse_events();
        let plan = plan(Exploration::new());
        let search = Search::new(&plan);
        let mut state = search.start();
        let mut taken = String::new();
        let check = |state: &(Node, W), taken: &str| {
            if let Err(reason) = search.check(state) {
                panic!(
                    "an invariant of `{}` does not hold: {reason}{taken}",
                    PM::NAME
                );
            }
        };
        check(&state, &taken);
        for step in steps {
            let next = search.next(&state);
            let names: Vec<_> = next.iter().map(|(_, _, name)| name.clone()).collect();
            let found = next.into_iter().find(|(_, _, name)| name == step);
            let Some((_, next, _)) = found else {
                panic!("`{step}` is not possible{taken}\npossible are {names:#?}");
            };
            state = next;
            taken.push_str("\nafter ");
            taken.push_str(step);
            check(&state, &taken);
        }
    }
}

impl Explored {
    /// Expects that every invariant holds in every state.
    ///
    /// # Panics
    ///
    /// If an invariant does not hold: the message has the reason, and the shortest way as a test. Also if the exploration is
    /// incomplete: give its plan fewer events, or a higher limit with [`up_to`](Exploration::up_to).
    #[track_caller]
    pub fn then_holds(&self) {
        if let Some(Violation { reason, test, .. }) = &self.violation {
            panic!("an invariant does not hold: {reason}\n\n{test}");
        }
        assert!(
            self.is_complete,
            "the exploration ended after {} states, and there are more",
            self.states
        );
    }

    /// Expects that an invariant does not hold, and returns the shortest way to it.
    ///
    /// # Panics
    ///
    /// If all invariants hold.
    #[track_caller]
    pub fn then_violated(&self) -> &Violation {
        match &self.violation {
            Some(violation) => violation,
            None => panic!("all invariants hold in {} states", self.states),
        }
    }
}

/// The steps as a test, which needs the plan by its name.
fn test_of<PM>(plan: &str, steps: &[String]) -> String {
    let last = |path: &str| path.rsplit("::").next().unwrap_or_default().to_owned();
    let plan = match last(plan) {
        name if name.contains("closure") => "plan".to_owned(),
        name => name,
    };
    let process_manager = last(type_name::<PM>());
    let steps: String = steps
        .iter()
        .map(|step| format!("        {step:?},\n"))
        .collect();
    format!(
        "#[test]\nfn {plan}_in_this_order() {{\n    testing::process_manager::<{process_manager}>().follow({plan}, &[\n{steps}    ]);\n}}\n"
    )
}
