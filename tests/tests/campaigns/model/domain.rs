//! Accounts, tills with little room, and two process managers that keep both busy. Every decision depends on the state, every
//! reaction on what was reacted to before, so that an event too many, too few or in the wrong place shows.

use eventfold_es::prelude::*;

/// What can be asked of an [`Account`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum AccountCommand {
    /// Pays in as many coins, one event each; none is nothing to do.
    Deposit { tag: u64, coins: u32 },
    /// Pays out, if there are so many coins.
    Withdraw { tag: u64, coins: u32 },
    /// Notes that a till took a coin.
    Settle { tag: u64, coin: u32, nth: u64 },
}

/// What happened to an [`Account`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum AccountEvent {
    Deposited { tag: u64, coin: u32 },
    Withdrawn { tag: u64, coins: u32 },
    Settled { tag: u64, coin: u32, nth: u64 },
}

/// Why an [`Account`] rejects a command.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{wanted} coins are wanted, {there} are there")]
pub struct Short {
    wanted: u32,
    there: u32,
}

/// An account.
#[aggregate(error = Short)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Account {
    coins: u32,
    settled: u64,
    /// How many events were folded.
    pub folded: u64,
}

impl Decider for Account {
    fn decide(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, Short> {
        Ok(match command {
            AccountCommand::Deposit { tag, coins } => (0..coins)
                .map(|coin| AccountEvent::Deposited { tag, coin })
                .collect(),
            AccountCommand::Withdraw { coins, .. } if coins > self.coins => {
                return Err(Short {
                    wanted: coins,
                    there: self.coins,
                });
            }
            AccountCommand::Withdraw { tag, coins } => {
                vec![AccountEvent::Withdrawn { tag, coins }]
            }
            AccountCommand::Settle { tag, coin, nth } => {
                vec![AccountEvent::Settled { tag, coin, nth }]
            }
        })
    }

    fn evolve(&mut self, event: &AccountEvent) {
        self.folded += 1;
        match event {
            AccountEvent::Deposited { .. } => self.coins += 1,
            AccountEvent::Withdrawn { coins, .. } => self.coins -= coins,
            AccountEvent::Settled { .. } => self.settled += 1,
        }
    }
}

/// How many coins a [`Till`] has room for.
const ROOM: u32 = 4;

/// What can be asked of a [`Till`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum TillCommand {
    /// Notes what was seen on an account.
    Note { tag: u64, coin: u32, nth: u64 },
    /// Takes a coin, if there is room.
    Take {
        account: String,
        tag: u64,
        coin: u32,
    },
    /// Takes all coins out, if there are any.
    Empty { tag: u64 },
}

/// What happened to a [`Till`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum TillEvent {
    Noted {
        tag: u64,
        coin: u32,
        nth: u64,
    },
    Taken {
        account: String,
        tag: u64,
        coin: u32,
    },
    Emptied {
        tag: u64,
    },
}

/// Why a [`Till`] rejects a coin.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("the till is full, after {folded} events")]
pub struct Full {
    folded: u64,
}

/// A till.
#[aggregate(error = Full)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Till {
    coins: u32,
    /// How many events were folded.
    pub folded: u64,
}

impl Decider for Till {
    fn decide(&self, command: TillCommand) -> Result<Vec<TillEvent>, Full> {
        Ok(match command {
            TillCommand::Note { tag, coin, nth } => vec![TillEvent::Noted { tag, coin, nth }],
            TillCommand::Take { .. } if self.coins == ROOM => {
                return Err(Full {
                    folded: self.folded,
                });
            }
            TillCommand::Take { account, tag, coin } => {
                vec![TillEvent::Taken { account, tag, coin }]
            }
            TillCommand::Empty { .. } if self.coins == 0 => Vec::new(),
            TillCommand::Empty { tag } => vec![TillEvent::Emptied { tag }],
        })
    }

    fn evolve(&mut self, event: &TillEvent) {
        self.folded += 1;
        match event {
            TillEvent::Noted { .. } => {}
            TillEvent::Taken { .. } => self.coins += 1,
            TillEvent::Emptied { .. } => self.coins = 0,
        }
    }
}

/// The ids of accounts: twins that differ in case, one that leads out of its directory, one that is no file name.
pub const ACCOUNTS: [&str; 4] = ["7d", "7D", "..", "ä/b "];
/// The ids of tills.
pub const TILLS: [&str; 2] = ["till", "TILL"];

fn till(tag: u64) -> &'static str {
    if tag.is_multiple_of(2) {
        TILLS[0]
    } else {
        TILLS[1]
    }
}

/// Sends each coin to two tills, the first coin of a deposit twice, and notes odd withdrawals; even ones cause nothing.
///
/// The note is never rejected: every reaction that sends anything has an event by which it is seen.
#[process_manager(subscribes = [Account], dispatches = [Till])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Clerk {
    /// How many events it has reacted to.
    seen: u64,
}

impl React<Account> for Clerk {
    fn react(&mut self, event: &AccountEvent, cx: &mut Reaction<'_, Self>) {
        self.seen += 1;
        let nth = self.seen;
        match event {
            AccountEvent::Deposited { tag, coin } => {
                let (tag, coin) = (*tag, *coin);
                let take = || TillCommand::Take {
                    account: cx.stream_id().to_owned(),
                    tag,
                    coin,
                };
                let (first, second) = (take(), take());
                cx.send(till(tag), TillCommand::Note { tag, coin, nth });
                cx.send(till(tag + 1), first);
                if coin == 0 {
                    cx.send(till(tag), second);
                }
            }
            AccountEvent::Withdrawn { tag, coins } if coins % 2 == 1 => {
                let (tag, coin) = (*tag, u32::MAX);
                cx.send(till(tag), TillCommand::Note { tag, coin, nth });
            }
            AccountEvent::Withdrawn { .. } | AccountEvent::Settled { .. } => {}
        }
    }
}

/// Tells the account, in whose stream everything began, that a till took its coin.
#[process_manager(subscribes = [Till], dispatches = [Account])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Auditor {
    /// How many events it has reacted to.
    seen: u64,
}

impl React<Till> for Auditor {
    fn react(&mut self, event: &TillEvent, cx: &mut Reaction<'_, Self>) {
        self.seen += 1;
        if let TillEvent::Taken { account, tag, coin } = event {
            let (tag, coin, nth) = (*tag, *coin, self.seen);
            cx.send(account, AccountCommand::Settle { tag, coin, nth });
        }
    }
}

/// One event, as a projection is shown it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    pub aggregate_type: String,
    pub id: String,
    pub position: u64,
    pub version: u64,
    pub event: eventfold::Event,
}

/// Everything that happened, in order.
#[projection(subscribes = [Account, Till])]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Log {
    pub seen: Vec<Seen>,
}

impl Log {
    fn take(&mut self, cx: &EventContext<'_>) {
        self.seen.push(Seen {
            aggregate_type: cx.aggregate_type().to_owned(),
            id: cx.stream_id().to_owned(),
            position: cx.position(),
            version: cx.version(),
            event: cx.event().event.clone(),
        });
    }
}

impl Project<Account> for Log {
    fn project(&mut self, _: &AccountEvent, cx: &EventContext<'_>) {
        self.take(cx);
    }
}

impl Project<Till> for Log {
    fn project(&mut self, _: &TillEvent, cx: &EventContext<'_>) {
        self.take(cx);
    }
}
