//! The same parts, written by hand with the minimum that a store needs: no shapes for a lock, no constants for a
//! drawing, no checks.

use std::fmt::Write as _;

use super::{AGGREGATES, PROCESS_MANAGERS, PROJECTIONS};

pub(super) fn aggregate(index: usize) -> String {
    format!(
        r#"
use std::convert::Infallible;

use eventfold_es::{{Aggregate, Command, DomainEvent}};
use serde::{{Deserialize, Serialize}};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Account{index}Command {{
    Open {{ owner: String, limit: u64 }},
    Deposit {{ amount: u64 }},
    Withdraw {{ amount: u64, note: Option<String> }},
    Close,
}}

impl Command for Account{index}Command {{
    type Aggregate = Account{index};
}}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum Account{index}Event {{
    Opened {{ owner: String, limit: u64 }},
    Deposited {{ amount: u64 }},
    Withdrawn {{ amount: u64, note: Option<String> }},
    Closed,
}}

impl DomainEvent for Account{index}Event {{
    const EVENT_TYPES: &'static [&'static str] = &["Opened", "Deposited", "Withdrawn", "Closed"];

    fn event_type(&self) -> &'static str {{
        match self {{
            Self::Opened {{ .. }} => "Opened",
            Self::Deposited {{ .. }} => "Deposited",
            Self::Withdrawn {{ .. }} => "Withdrawn",
            Self::Closed => "Closed",
        }}
    }}
}}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Account{index} {{
    pub owner: String,
    pub limit: u64,
    pub balance: u64,
    pub notes: Vec<String>,
    pub is_closed: bool,
}}

impl Aggregate for Account{index} {{
    const AGGREGATE_TYPE: &'static str = "account{index}";
    type Command = Account{index}Command;
    type DomainEvent = Account{index}Event;
    type Error = Infallible;

    fn handle(&self, command: Account{index}Command) -> Result<Vec<Account{index}Event>, Infallible> {{
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

    fn apply(mut self, event: &Account{index}Event) -> Self {{
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
        self
    }}
}}
"#
    )
}

pub(super) fn process_manager(index: usize) -> String {
    let (first, second, third) = (2 * index, 2 * index + 1, (2 * index + 2) % AGGREGATES);
    format!(
        r#"
use eventfold_es::contract::{{Dispatch, ReactError, Router, TargetVisitor}};
use eventfold_es::{{CommandContext, DomainEvent, Envelope, ProcessManager, RecordedEvent}};
use serde::{{Deserialize, Serialize}};

use crate::account{first}::*;
use crate::account{second}::*;
use crate::account{third}::*;

#[derive(Debug, Clone)]
pub enum Transfer{index}Envelope {{
    Account{second}(Envelope<Account{second}>),
    Account{third}(Envelope<Account{third}>),
}}

impl Dispatch for Transfer{index}Envelope {{
    fn targets(targets: &mut impl TargetVisitor) {{
        targets.target::<Account{second}>();
        targets.target::<Account{third}>();
    }}

    fn route<R: Router>(self, router: R) -> R::Routed {{
        match self {{
            Self::Account{second}(envelope) => router.typed(envelope),
            Self::Account{third}(envelope) => router.typed(envelope),
        }}
    }}
}}

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Transfer{index} {{
    pub moved: u64,
    pub closed: u64,
}}

impl ProcessManager for Transfer{index} {{
    const NAME: &'static str = "transfer{index}";
    type Envelope = Transfer{index}Envelope;

    fn subscriptions(&self) -> &'static [&'static str] {{
        &["account{first}", "account{second}"]
    }}

    fn react(
        &mut self,
        aggregate_type: &str,
        stream_id: &str,
        event: &RecordedEvent,
    ) -> Result<Vec<Transfer{index}Envelope>, ReactError> {{
        let mut context = CommandContext::default();
        context.correlation_id = event.correlation_id().map(str::to_owned);
        let mut sent = Vec::new();
        match aggregate_type {{
            "account{first}" => {{
                if let Account{first}Event::Withdrawn {{ amount, .. }} = Account{first}Event::from_event(event)? {{
                    self.moved += amount;
                    let deposit = Account{second}Command::Deposit {{ amount }};
                    sent.push(Transfer{index}Envelope::Account{second}(Envelope::new(stream_id, deposit, context)));
                }}
            }}
            "account{second}" => {{
                if let Account{second}Event::Closed = Account{second}Event::from_event(event)? {{
                    self.closed += 1;
                    let close = Account{third}Command::Close;
                    sent.push(Transfer{index}Envelope::Account{third}(Envelope::new(stream_id, close, context)));
                }}
            }}
            _ => {{
                return Err(ReactError::UnexpectedAggregate {{
                    aggregate_type: aggregate_type.to_owned(),
                }});
            }}
        }}
        Ok(sent)
    }}
}}
"#
    )
}

pub(super) fn projection(index: usize) -> String {
    let (first, second) = (2 * index, 2 * index + 1);
    format!(
        r#"
use eventfold_es::contract::ProjectError;
use eventfold_es::{{DomainEvent, Projection, RecordedEvent}};
use serde::{{Deserialize, Serialize}};

use crate::account{first}::*;
use crate::account{second}::*;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Totals{index} {{
    pub deposited: u64,
    pub accounts: u64,
}}

impl Projection for Totals{index} {{
    const NAME: &'static str = "totals{index}";

    fn subscriptions(&self) -> &'static [&'static str] {{
        &["account{first}", "account{second}"]
    }}

    fn apply(&mut self, aggregate_type: &str, _stream_id: &str, event: &RecordedEvent) -> Result<(), ProjectError> {{
        match aggregate_type {{
            "account{first}" => {{
                if let Account{first}Event::Deposited {{ amount }} = Account{first}Event::from_event(event)? {{
                    self.deposited += amount;
                }}
            }}
            "account{second}" => {{
                if let Account{second}Event::Opened {{ .. }} = Account{second}Event::from_event(event)? {{
                    self.accounts += 1;
                }}
            }}
            _ => {{
                return Err(ProjectError::UnexpectedAggregate {{
                    aggregate_type: aggregate_type.to_owned(),
                }});
            }}
        }}
        Ok(())
    }}
}}
"#
    )
}

/// The hand-written minimum of `#[event_store]`: a builder with all parts.
pub(super) fn store() -> String {
    let mut calls = String::new();
    for index in 0..AGGREGATES {
        let _ = writeln!(
            calls,
            "            .aggregate_type::<account{index}::Account{index}>()"
        );
    }
    for index in 0..PROCESS_MANAGERS {
        let _ = writeln!(
            calls,
            "            .process_manager::<transfer{index}::Transfer{index}>()"
        );
    }
    for index in 0..PROJECTIONS {
        let _ = writeln!(
            calls,
            "            .projection::<totals{index}::Totals{index}>()"
        );
    }
    format!(
        r#"
use std::path::Path;

use eventfold_es::{{AggregateStore, AggregateStoreBuilder, OpenError}};

pub struct Bank;

impl Bank {{
    pub fn builder(base: impl AsRef<Path>) -> AggregateStoreBuilder {{
        AggregateStore::builder(base)
{calls}    }}

    pub async fn open(base: impl AsRef<Path>) -> Result<AggregateStore, OpenError> {{
        Self::builder(base).open().await
    }}
}}
"#
    )
}
