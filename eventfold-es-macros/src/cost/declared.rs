//! The parts, declared with the macros.

use super::{AGGREGATES, PROCESS_MANAGERS, PROJECTIONS};

/// The source of one aggregate, with its commands and events.
pub(super) fn aggregate(index: usize) -> String {
    format!(
        r#"
use std::convert::Infallible;

use eventfold_es::{{Aggregate, Command, Decider, DomainEvent}};
use serde::{{Deserialize, Serialize}};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Account{index}Command {{
    Open {{ owner: String, limit: u64 }},
    Deposit {{ amount: u64 }},
    Withdraw {{ amount: u64, note: Option<String> }},
    Close,
}}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum Account{index}Event {{
    Opened {{ owner: String, limit: u64 }},
    Deposited {{ amount: u64 }},
    Withdrawn {{ amount: u64, note: Option<String> }},
    Closed,
}}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Account{index} {{
    pub owner: String,
    pub limit: u64,
    pub balance: u64,
    pub notes: Vec<String>,
    pub is_closed: bool,
}}

impl Decider for Account{index} {{
    fn decide(&self, command: Account{index}Command) -> Result<Vec<Account{index}Event>, Infallible> {{
        Ok(match command {{
            Account{index}Command::Open {{ owner, limit }} => vec![Account{index}Event::Opened {{ owner, limit }}],
            Account{index}Command::Deposit {{ amount }} => vec![Account{index}Event::Deposited {{ amount }}],
            Account{index}Command::Withdraw {{ amount, note }} if amount <= self.balance => {{
                vec![Account{index}Event::Withdrawn {{ amount, note }}]
            }}
            Account{index}Command::Withdraw {{ .. }} => vec![],
            Account{index}Command::Close => vec![Account{index}Event::Closed],
        }})
    }}

    fn evolve(&mut self, event: &Account{index}Event) {{
        match event {{
            Account{index}Event::Opened {{ owner, limit }} => {{
                self.owner.clone_from(owner);
                self.limit = *limit;
            }}
            Account{index}Event::Deposited {{ amount }} => self.balance += amount,
            Account{index}Event::Withdrawn {{ amount, note }} => {{
                self.balance -= amount;
                self.notes.extend(note.clone());
            }}
            Account{index}Event::Closed => self.is_closed = true,
        }}
    }}
}}
"#
    )
}

/// The source of a process manager from two aggregates to two.
pub(super) fn process_manager(index: usize) -> String {
    let (first, second, third) = (2 * index, 2 * index + 1, (2 * index + 2) % AGGREGATES);
    format!(
        r#"
use eventfold_es::{{ProcessManager, React, Reaction}};
use serde::{{Deserialize, Serialize}};

use crate::account{first}::*;
use crate::account{second}::*;
use crate::account{third}::*;

#[process_manager(subscribes = [Account{first}, Account{second}], dispatches = [Account{second}, Account{third}])]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Transfer{index} {{
    pub moved: u64,
    pub closed: u64,
}}

impl React<Account{first}> for Transfer{index} {{
    fn react(&mut self, event: &Account{first}Event, cx: &mut Reaction<'_, Self>) {{
        if let Account{first}Event::Withdrawn {{ amount, .. }} = event {{
            self.moved += amount;
            cx.send(cx.stream_id(), Account{second}Command::Deposit {{ amount: *amount }});
        }}
    }}
}}

impl React<Account{second}> for Transfer{index} {{
    fn react(&mut self, event: &Account{second}Event, cx: &mut Reaction<'_, Self>) {{
        if let Account{second}Event::Closed = event {{
            self.closed += 1;
            cx.send(cx.stream_id(), Account{third}Command::Close);
        }}
    }}
}}
"#
    )
}

/// The source of a projection of two aggregates.
pub(super) fn projection(index: usize) -> String {
    let (first, second) = (2 * index, 2 * index + 1);
    format!(
        r#"
use eventfold_es::{{EventContext, Project, Projection}};
use serde::{{Deserialize, Serialize}};

use crate::account{first}::*;
use crate::account{second}::*;

#[projection(subscribes = [Account{first}, Account{second}])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Totals{index} {{
    pub deposited: u64,
    pub accounts: u64,
}}

impl Project<Account{first}> for Totals{index} {{
    fn project(&mut self, event: &Account{first}Event, _cx: &EventContext<'_>) {{
        if let Account{first}Event::Deposited {{ amount }} = event {{
            self.deposited += amount;
        }}
    }}
}}

impl Project<Account{second}> for Totals{index} {{
    fn project(&mut self, event: &Account{second}Event, _cx: &EventContext<'_>) {{
        if let Account{second}Event::Opened {{ .. }} = event {{
            self.accounts += 1;
        }}
    }}
}}
"#
    )
}

pub(super) fn store() -> String {
    let list = |name: &str, count: usize| {
        let entries: Vec<String> = (0..count)
            .map(|index| format!("{}{index}::{name}{index}", name.to_ascii_lowercase()))
            .collect();
        entries.join(", ")
    };
    format!(
        "#[event_store(aggregates = [{}], process_managers = [{}], projections = [{}])]\npub struct Bank;\n",
        list("Account", AGGREGATES),
        list("Transfer", PROCESS_MANAGERS),
        list("Totals", PROJECTIONS),
    )
}
