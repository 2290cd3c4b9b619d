//! What process managers add: commands with a reaction each, against plain ones, and catching up.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use eventfold_es::prelude::*;
use eventfold_es::{AggregateStore, Reactions, RunMode};
use tokio::runtime::Runtime;

use crate::clients::{Reached, id, make_live, run_for};
use crate::counter::{Counter, CounterCommand, CounterEvent};
use crate::raw::Raw;
use crate::report::{Limit, Report};
use crate::scratch::{Scratch, copy_directory, fill};
use crate::{Failure, ROUNDS, runtime};

pub(crate) const INLINE: &[&str] = &["inline_ratio"];
pub(crate) const INLINE_64: &[&str] = &["inline_c64_ratio"];
pub(crate) const BACKGROUND: &[&str] = &["background_ratio"];
pub(crate) const CATCHING_UP: &[&str] = &["reactions_per_s"];

/// How long plain commands and those with reactions are measured by turns.
const TURN: Duration = Duration::from_millis(200);
const TURNS: usize = 5;
const CLIENTS: usize = 64;
/// How many events wait for a process manager that catches up.
const PENDING: usize = 100_000;
const PENDING_STREAMS: usize = 1000;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum LedgerCommand {
    Book { amount: u64 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub(crate) enum LedgerEvent {
    Booked { amount: u64 },
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ledger {
    booked: u64,
}

impl Decider for Ledger {
    fn decide(&self, command: LedgerCommand) -> Result<Vec<LedgerEvent>, Infallible> {
        let LedgerCommand::Book { amount } = command;
        Ok(vec![LedgerEvent::Booked { amount }])
    }

    fn evolve(&mut self, event: &LedgerEvent) {
        let LedgerEvent::Booked { amount } = event;
        self.booked += amount;
    }
}

/// Books what each counter adds in the ledger of the same name.
#[process_manager(subscribes = [Counter], dispatches = [Ledger])]
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Bookkeeper {
    booked: u64,
}

impl React<Counter> for Bookkeeper {
    fn react(&mut self, event: &CounterEvent, cx: &mut Reaction<'_, Self>) {
        let CounterEvent::Added { amount, .. } = event;
        self.booked += amount;
        cx.send(cx.stream_id(), LedgerCommand::Book { amount: *amount });
    }
}

pub(crate) fn measure_inline(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let inline = by_turns(scratch, &runtime()?, RunMode::Inline, 1)?;
    report.median("inline_ratio", inline.ratios, Limit::AtLeast(0.8));
    report.median("inline_per_s", inline.per_second, Limit::None);
    report.latencies("inline", inline.latencies);
    Ok(())
}

pub(crate) fn measure_inline_64(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let inline = by_turns(scratch, &runtime()?, RunMode::Inline, CLIENTS)?;
    report.median("inline_c64_ratio", inline.ratios, Limit::AtLeast(0.6));
    report.median("inline_c64_per_s", inline.per_second, Limit::None);
    report.latencies("inline_c64", inline.latencies);
    Ok(())
}

pub(crate) fn measure_background(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let background = by_turns(scratch, &runtime()?, RunMode::Background, CLIENTS)?;
    report.median("background_ratio", background.ratios, Limit::AtLeast(0.7));
    report.median("background_per_s", background.per_second, Limit::None);
    Ok(())
}

#[derive(Default)]
struct ByTurns {
    ratios: Vec<f64>,
    per_second: Vec<f64>,
    latencies: Vec<Duration>,
}

/// Commands whose events are reacted to, until the last reaction is durable, against commands in a store without process
/// managers.
fn by_turns(
    scratch: &Scratch,
    runtime: &Runtime,
    mode: RunMode,
    clients: usize,
) -> Result<ByTurns, Failure> {
    let mut all = ByTurns::default();
    for round in 0..ROUNDS {
        let plain = scratch.join(&format!("plain-{mode:?}-{clients}-{round}"));
        let reacting = scratch.join(&format!("reacting-{mode:?}-{clients}-{round}"));
        runtime.block_on(async {
            let plain = AggregateStore::open(&plain).await?;
            let reacting = AggregateStore::builder(&reacting)
                .process_manager::<Bookkeeper>()
                .run_mode(mode)
                .open()
                .await?;
            for store in [&plain, &reacting] {
                make_live(store, 0..clients).await?;
            }
            let mut reached = [Reached::default(), Reached::default()];
            for _ in 0..TURNS {
                for (store, reached) in [&plain, &reacting].into_iter().zip(&mut reached) {
                    let begun = Instant::now();
                    let mut turn = run_for(store, clients, 0..clients, 0, TURN).await?;
                    store.run_process_managers().await?;
                    turn.lasted(begun.elapsed());
                    reached.add(turn);
                }
            }
            let [without, with] = reached;
            check(&reacting, with.latencies.len()).await?;
            all.ratios.push(with.per_second() / without.per_second());
            all.per_second.push(with.per_second());
            all.latencies.extend(with.latencies);
            plain.close().await?;
            reacting.close().await?;
            Ok::<_, Failure>(())
        })?;
    }
    Ok(all)
}

/// That each command was booked once, and that a command says so where it waits for that.
async fn check(store: &AggregateStore, commands: usize) -> Result<(), Failure> {
    let mut booked = 0;
    for ledger in store.list::<Ledger>().await? {
        booked += store.get::<Ledger>(&ledger).await?.state().await?.booked;
    }
    let last = store.get::<Counter>(&id(0)).await?;
    let executed = last.execute(CounterCommand::add_one(), ()).await?;
    let is_awaited = matches!(executed.reactions, Reactions::Done | Reactions::NotAwaited);
    if booked != commands as u64 || !is_awaited {
        return Err(format!("{commands} commands, but {booked} were booked").into());
    }
    Ok(())
}

/// A process manager that has many events before it, of a store that was just opened.
pub(crate) fn measure_catching_up(scratch: &Scratch, report: &mut Report) -> Result<(), Failure> {
    let runtime = runtime()?;
    let pending = scratch.join("pending");
    fill(&pending, PENDING_STREAMS, PENDING / PENDING_STREAMS)?;
    let mut rates = Vec::new();
    let mut raws = Raw::default();
    for round in 0..ROUNDS {
        let path = scratch.join(&format!("pending-{round}"));
        copy_directory(&pending, &path)?;
        raws.add(Raw::measure(scratch.path(), TURN)?);
        let elapsed = runtime.block_on(async {
            let store = AggregateStore::builder(&path)
                .process_manager::<Bookkeeper>()
                .run_mode(RunMode::OnDemand)
                .open()
                .await?;
            let begun = Instant::now();
            let done = store.run_process_managers().await?;
            let elapsed = begun.elapsed();
            if done.dispatched != PENDING {
                return Err(Failure::from(format!(
                    "{} of {PENDING} were dispatched",
                    done.dispatched
                )));
            }
            store.close().await?;
            Ok(elapsed)
        })?;
        std::fs::remove_dir_all(path)?;
        rates.push(PENDING as f64 / elapsed.as_secs_f64());
    }
    let least = (8.0 * raws.per_second()).min(60_000.0);
    report.median("reactions_per_s", rates, Limit::AtLeast(least));
    Ok(())
}
