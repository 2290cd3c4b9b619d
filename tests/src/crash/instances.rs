//! A process manager with an instance for each ledger, and what must be there of it after a crash.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use eventfold_es::prelude::*;
use eventfold_es::store::{InstanceStatus, ProcessManagerReport};
use eventfold_es::{Correlate, Correlation, Deadline, EventContext, OnDeadline};

use super::audit::same;
use super::check::{Check, check_ledgers, open, read_streams, text};
use super::domain::{
    LOCKED, Ledger, LedgerCommand, LedgerEvent, REJECTED, Refused, Target, TargetCommand,
};
use super::enumerate::RESUMED_LEDGER;
use super::note::{Expected, TriedCommand};

/// The ledger whose instance ends with every fifth command.
pub const ENDS: &str = "ends";

/// The ledger whose instance is parked by every third command, until its target is opened.
pub const PARKS: &str = "parks";

/// The slot of a note that a deadline makes.
const DUE: u8 = 3;

/// Something is due.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Due {
    tag: u64,
    part: u32,
}

/// Notes each entry once, and once more when a deadline is reached; of every third command a note is rejected.
#[process_manager(subscribes = [Ledger], dispatches = [Target], key = String, deadlines = [Due], on_failure)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Watcher {
    /// How many entries it has reacted to.
    pub entries: u64,
    /// How many deadlines were reached.
    pub fired: u64,
}

impl Correlate<Ledger> for Watcher {
    fn correlate(_event: &LedgerEvent, cx: &EventContext<'_>) -> Correlation<String> {
        Correlation::starts_or_continues(cx.stream_id().to_owned())
    }
}

impl HandleFailure for Watcher {
    fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
        let slot = failure.envelope.map(|sent| &sent.command["Note"]["slot"]);
        match (slot, failure.rejection::<Refused>()) {
            (Some(slot), Some(Refused)) if *slot == LOCKED => FailureAction::Park,
            _ => FailureAction::default_for(failure),
        }
    }
}

/// What [`Heavy`] counts instead of 1.
const WEIGHT: u64 = 1000;

/// [`Watcher`], in a later version of the program: its states are others.
#[process_manager(name = "watcher", subscribes = [Ledger], dispatches = [Target], key = String, deadlines = [Due])]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Heavy {
    entries: u64,
    fired: u64,
}

impl Correlate<Ledger> for Heavy {
    fn correlate(_event: &LedgerEvent, cx: &EventContext<'_>) -> Correlation<String> {
        Correlation::starts_or_continues(cx.stream_id().to_owned())
    }
}

impl React<Ledger> for Heavy {
    fn react(&mut self, event: &LedgerEvent, cx: &mut Reaction<'_, Self>) {
        let LedgerEvent::Entry { tag, part, .. } = event;
        self.entries += WEIGHT;
        // Were it stored, it would show.
        let note = TargetCommand::Note {
            tag: *tag,
            part: *part,
            slot: DUE + 1,
        };
        cx.send(format!("t-{}", cx.key()), note);
        if ends(cx.key(), *tag) {
            cx.complete();
        }
    }
}

impl OnDeadline<Due> for Heavy {
    fn on_deadline(&mut self, _message: Due, _cx: &mut Reaction<'_, Self>) {
        self.fired += WEIGHT;
    }
}

fn ends(id: &str, tag: u64) -> bool {
    id == ENDS && tag.is_multiple_of(5)
}

fn has_deadline(id: &str, tag: u64) -> bool {
    id != ENDS && tag.is_multiple_of(2)
}

fn is_locked(id: &str, tag: u64) -> bool {
    id == PARKS && tag.is_multiple_of(3)
}

fn is_rejected(tag: u64) -> bool {
    tag.is_multiple_of(3)
}

impl React<Ledger> for Watcher {
    fn react(&mut self, event: &LedgerEvent, cx: &mut Reaction<'_, Self>) {
        let LedgerEvent::Entry { tag, part, .. } = event;
        let (tag, part) = (*tag, *part);
        let key = cx.key().clone();
        self.entries += 1;
        let note = |slot| TargetCommand::Note { tag, part, slot };
        cx.send(format!("t-{key}"), note(0));
        if is_rejected(tag) {
            cx.send(format!("t-{key}"), note(REJECTED));
        }
        if is_locked(&key, tag) {
            cx.send(format!("t-{key}"), note(LOCKED));
        }
        if has_deadline(&key, tag) {
            let due = Deadline::at(SystemTime::UNIX_EPOCH);
            cx.schedule(format!("{tag}.{part}"), due, Due { tag, part });
        }
        if ends(&key, tag) {
            cx.complete();
        }
    }
}

impl OnDeadline<Due> for Watcher {
    fn on_deadline(&mut self, message: Due, cx: &mut Reaction<'_, Self>) {
        self.fired += 1;
        let Due { tag, part } = message;
        let note = TargetCommand::Note {
            tag,
            part,
            slot: DUE,
        };
        cx.send(format!("t-{}", cx.key().clone()), note);
    }
}

/// Opens what a crash left behind, lets it catch up, and compares it with what the ledgers hold; works there, and opens it again.
pub(super) async fn check_instances(store: &Path, expected: &Expected) -> Result<(), String> {
    let mut expected = expected.clone();
    let opened = open(store, Check::INSTANCES).await?;
    check_ledgers(&read_streams(&opened).await?, &expected)?;
    run(&opened).await?;
    release(&opened).await?;
    // Either all states are those of the later version, or none.
    let weight = weight(&opened).await?;
    compare(&opened, weight).await?;
    if weight != 1 {
        let handle = opened.process_manager::<Watcher>().map_err(text)?;
        handle.rebuild_state().await.map_err(text)?;
        compare(&opened, 1).await?;
    }
    let last = expected.tried.keys().max().copied().unwrap_or_default();
    for (tag, id) in ((last / 30 + 1) * 30..)
        .step_by(30)
        .zip(["a", "after", ENDS])
    {
        let command = LedgerCommand::Put { tag, parts: 2 };
        let done = opened.send(id, command, CommandContext::default()).await;
        same("the number of events", done.map_err(text)?.events.len(), 2)?;
        let tried = TriedCommand {
            id: id.to_owned(),
            parts: 2,
            chances: 1,
        };
        expected.tried.insert(tag, tried);
        expected.kept.insert(tag);
    }
    run(&opened).await?;
    compare(&opened, 1).await?;
    let handle = opened.process_manager::<Watcher>().map_err(text)?;
    let letters = handle.dead_letters().await.map_err(text)?.len();
    let redriven = handle.redrive_all().await.map_err(text)?;
    same(
        "the dead letters that failed again",
        redriven.failed,
        letters,
    )?;
    compare(&opened, 1).await?;
    let verified = opened.verify().await.map_err(text)?;
    same("the differences", &*verified.differences, &[])?;
    drop(handle);
    let streams = read_streams(&opened).await?;
    opened.close().await.map_err(text)?;

    let again = open(store, Check::INSTANCES).await?;
    same(
        "the commits to redo after a close",
        again.recovery().redone_commits,
        0,
    )?;
    let report = again.run_process_managers().await.map_err(text)?;
    same(
        "the report after a close",
        report,
        ProcessManagerReport::default(),
    )?;
    compare(&again, 1).await?;
    check_ledgers(&read_streams(&again).await?, &expected)?;
    same(
        "the streams after a close",
        &read_streams(&again).await?,
        &streams,
    )?;
    again.close().await.map_err(text)
}

/// Opens the target of what is parked, and releases it: nothing of it is lost, and nothing happens twice.
pub async fn release(store: &AggregateStore) -> Result<(), String> {
    let handle = store.process_manager::<Watcher>().map_err(text)?;
    for parked in handle.parked().await.map_err(text)? {
        let key = parked.instance.ok_or("a stream is held")?;
        let target = format!("t-{key}");
        let open = store.send(&target, TargetCommand::Open, CommandContext::default());
        open.await.map_err(text)?;
        let done = handle.release(&key).await.map_err(text)?;
        same("what was released", done.done as u64, parked.held)?;
    }
    run(store).await
}

async fn run(store: &AggregateStore) -> Result<(), String> {
    store.run_process_managers().await.map_err(text)?;
    let second = store.run_process_managers().await.map_err(text)?;
    same("the second report", second, ProcessManagerReport::default())
}

/// What the ledgers say of one instance.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    generation: u64,
    is_open: bool,
    entries: u64,
    fired: u64,
    /// The notes of each entry, by slot, with the rejected ones.
    notes: BTreeMap<(u64, u32, u8), u32>,
    /// The entries in the order in which they were noted.
    order: Vec<(u64, u32)>,
}

/// How much an entry counts in the states.
async fn weight(store: &AggregateStore) -> Result<u64, String> {
    let handle = store.process_manager::<Watcher>().map_err(text)?;
    let mut heaviest = 0;
    for instance in handle.instances(None, 1000).await.map_err(text)? {
        let state = instance.state.as_deref().map(serde_json::from_str);
        let state: Option<Watcher> = state.transpose().map_err(text)?;
        heaviest = state.map_or(0, |state| state.entries).max(heaviest);
    }
    Ok(if heaviest < WEIGHT { 1 } else { WEIGHT })
}

async fn compare(store: &AggregateStore, weight: u64) -> Result<(), String> {
    let mut due: BTreeMap<String, Seen> = BTreeMap::new();
    let mut found: BTreeMap<String, Seen> = BTreeMap::new();
    for ((aggregate_type, id), events) in read_streams(store).await? {
        let number = |value: &serde_json::Value| value.as_u64().unwrap_or(u64::MAX);
        for event in events.iter().filter(|event| event.event_type != "Opened") {
            let (tag, part) = (
                number(&event.data["tag"]),
                number(&event.data["part"]) as u32,
            );
            if aggregate_type == Target::AGGREGATE_TYPE {
                let slot = number(&event.data["slot"]) as u8;
                let key = id.strip_prefix("t-").unwrap_or_default();
                let seen = found.entry(key.to_owned()).or_default();
                *seen.notes.entry((tag, part, slot)).or_default() += 1;
                if slot == 0 {
                    seen.order.push((tag, part));
                }
                let meta = event.meta.as_ref().ok_or("no meta")?;
                same("a command id", meta["command_id"].is_string(), true)?;
                continue;
            }
            let seen = due.entry(id.clone()).or_default();
            // What comes after a first crash comes to this version of the program.
            let weight = if id == RESUMED_LEDGER { 1 } else { weight };
            if !seen.is_open {
                let generation = seen.generation + 1;
                (seen.generation, seen.entries, seen.is_open) = (generation, 0, true);
            }
            seen.entries += weight;
            seen.notes.insert((tag, part, 0), 1);
            seen.order.push((tag, part));
            if is_rejected(tag) {
                seen.notes.insert((tag, part, REJECTED), 1);
            }
            if is_locked(&id, tag) {
                seen.notes.insert((tag, part, LOCKED), 1);
            }
            if has_deadline(&id, tag) {
                seen.notes.insert((tag, part, DUE), 1);
                seen.fired += weight;
            }
            seen.is_open = !ends(&id, tag);
            if !seen.is_open {
                seen.entries = 0;
            }
        }
    }
    let handle = store.process_manager::<Watcher>().map_err(text)?;
    for letter in handle.dead_letters().await.map_err(text)? {
        let envelope = letter
            .envelope
            .as_ref()
            .ok_or("a dead letter without its command")?;
        let note = &envelope.command["Note"];
        let seen = found.entry(letter.instance.clone()).or_default();
        let tag = note["tag"].as_u64().unwrap_or_default();
        let part = note["part"].as_u64().unwrap_or_default() as u32;
        *seen.notes.entry((tag, part, REJECTED)).or_default() += 1;
        same("the error of a dead letter", letter.error(), "refused")?;
        same(
            "the source of a dead letter",
            &letter.source.stream_id,
            &letter.instance,
        )?;
    }
    for instance in handle.instances(None, 1000).await.map_err(text)? {
        let seen = found.entry(instance.key).or_default();
        seen.generation = instance.generation;
        seen.is_open = instance.status == InstanceStatus::Open;
        let state: Watcher = match &instance.state {
            Some(state) => serde_json::from_str(state).map_err(text)?,
            None => Watcher::default(),
        };
        (seen.entries, seen.fired) = (state.entries, state.fired);
        same("the deadlines that are left", &*instance.deadlines, &[])?;
    }
    same("the instances and what they did", found, due)?;
    let lines = store.dead_letters::<Watcher>().await.map_err(text)?.len();
    let letters = handle.dead_letters().await.map_err(text)?.len();
    same("the lines of dead letters", lines, letters)?;
    let status = handle.status().await.map_err(text)?;
    same("what is due", (status.deadlines, status.retrying), (0, 0))?;
    same("what is parked", status.instances.parked, 0)
}
