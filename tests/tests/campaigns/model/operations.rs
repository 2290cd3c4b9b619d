//! What can be done to a store, as the values that a case is made of. A failing case is printed as a list of them.

use proptest::prelude::*;
use proptest::sample::select;

use eventfold_es::RunMode;

/// One step of a case.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Something that stores events, and waits for the answer.
    Do(Action),
    /// Several of them at once.
    AtOnce(Vec<Action>),
    /// Dropped after so many polls, unless it is done before.
    Abandon(Action, usize),
    /// Reads, and compares with the model.
    Read(Reading),
    /// `run_process_managers`.
    React,
    /// Lets idle aggregates be evicted, if the store evicts at all.
    Evict,
    /// Closes the store and opens it.
    Reopen(Setup),
    /// Kills the process `back` operations on files before the end of what it did since the last crash, within a write if
    /// there is one, or behind the write to the journal before that, which is not synced; and opens what is left.
    Kill {
        back: usize,
        torn: u8,
        before_a_sync: bool,
        setup: Setup,
    },
    /// Lets the power fail there.
    PowerLoss {
        back: usize,
        survival: Lost,
        setup: Setup,
    },
}

/// Something that stores events.
#[derive(Debug, Clone)]
pub enum Action {
    /// Zero coins are nothing to do.
    Deposit {
        account: usize,
        coins: u32,
        key: Option<u8>,
    },
    /// Rejected if there are not so many.
    Withdraw {
        account: usize,
        coins: u32,
        key: Option<u8>,
    },
    /// Nothing to do if the till is empty.
    Empty { till: usize, key: Option<u8> },
    /// Stored once per id, or always without one.
    Inject {
        account: usize,
        id: Option<u8>,
        runs_process_managers: bool,
    },
}

/// What is read.
#[derive(Debug, Clone)]
pub enum Reading {
    /// The state and the events of an account.
    Account(usize),
    /// The state and the events of a till.
    Till(usize),
    /// The dead letters of both process managers.
    DeadLetters,
    /// The projection, after building it anew.
    RebuiltProjection,
}

/// How a store is opened.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub mode: RunMode,
    /// Whether aggregates are evicted as soon as nobody uses them.
    pub evicts: bool,
    /// Whether journal and streams are archived as soon as they have a few commits.
    pub archives: bool,
    /// Whether aggregates are saved every other event.
    pub saves: bool,
}

/// What a power loss leaves of what was not synced.
#[derive(Debug, Clone, Copy)]
pub enum Lost {
    Everything,
    Bytes,
    Names,
    Some(u64),
}

/// A whole case.
pub fn case() -> impl Strategy<Value = (Setup, Vec<Operation>)> {
    (setup(), prop::collection::vec(operation(), 1..=25))
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => action().prop_map(Operation::Do),
        4 => prop::collection::vec(action(), 2..6).prop_map(Operation::AtOnce),
        4 => (action(), polls()).prop_map(|(action, polls)| Operation::Abandon(action, polls)),
        4 => reading().prop_map(Operation::Read),
        2 => Just(Operation::React),
        2 => Just(Operation::Evict),
        2 => setup().prop_map(Operation::Reopen),
        2 => (back(), any::<u8>(), any::<bool>(), setup())
            .prop_map(|(back, torn, before_a_sync, setup)| Operation::Kill { back, torn, before_a_sync, setup }),
        2 => (back(), lost(), setup())
            .prop_map(|(back, survival, setup)| Operation::PowerLoss { back, survival, setup }),
    ]
}

/// An idempotency key or an id, one of few, so that most of them are used again: for the same, for something else, at once and
/// later.
fn name() -> impl Strategy<Value = Option<u8>> {
    prop_oneof![Just(None), (0..3_u8).prop_map(Some)]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        5 => (0..4_usize, 0..5_u32, name())
            .prop_map(|(account, coins, key)| Action::Deposit { account, coins, key }),
        3 => (0..4_usize, 1..4_u32, name())
            .prop_map(|(account, coins, key)| Action::Withdraw { account, coins, key }),
        2 => (0..2_usize, name()).prop_map(|(till, key)| Action::Empty { till, key }),
        2 => (0..4_usize, name(), any::<bool>()).prop_map(|(account, id, runs_process_managers)| {
            Action::Inject { account, id, runs_process_managers }
        }),
    ]
}

fn reading() -> impl Strategy<Value = Reading> {
    prop_oneof![
        2 => (0..4_usize).prop_map(Reading::Account),
        2 => (0..2_usize).prop_map(Reading::Till),
        1 => Just(Reading::DeadLetters),
        1 => Just(Reading::RebuiltProjection),
    ]
}

fn setup() -> impl Strategy<Value = Setup> {
    const MODES: [RunMode; 3] = [RunMode::Inline, RunMode::Background, RunMode::OnDemand];
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (select(&MODES[..]), flags).prop_map(|(mode, (evicts, archives, saves))| Setup {
        mode,
        evicts,
        archives,
        saves,
    })
}

fn polls() -> impl Strategy<Value = usize> {
    prop_oneof![0..4_usize, 0..40_usize]
}

fn back() -> impl Strategy<Value = usize> {
    prop_oneof![0..6_usize, 0..40_usize, 0..400_usize]
}

fn lost() -> impl Strategy<Value = Lost> {
    prop_oneof![
        2 => Just(Lost::Everything),
        1 => Just(Lost::Bytes),
        1 => Just(Lost::Names),
        4 => any::<u64>().prop_map(Lost::Some),
    ]
}
