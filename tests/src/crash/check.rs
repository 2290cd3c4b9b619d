use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use eventfold::Event;
use eventfold_es::disk::SystemDisk;
use eventfold_es::prelude::*;
use eventfold_es::store::ProcessManagerReport;
use eventfold_es::{DeadLetter, RunMode};
use serde_json::Value;

use super::audit::{Audit, audit, same};
use super::domain::{
    ALL, Chain, DESK, Fanout, Journalist, Ledger, LedgerCommand, LedgerEvent, REJECTED, Tally,
    TallyRow, Target, first_target, is_fanned_out, second_target,
};
use super::handlers::check_handlers;
use super::instances::check_instances;
use super::note::{Expected, TriedCommand};
use super::retry::retry;
use super::workload::{Members, builder};

/// How a directory is checked.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Whether the process managers of the domain are part of the workload.
    pub process_managers: bool,
    /// Whether it is the one with instances.
    pub instances: bool,
    /// Whether there is an event handler instead.
    pub handlers: bool,
    /// Whether there is a projection with rows.
    pub rows: bool,
    /// Whether a target may have been unreadable for a moment, so that a dead letter stands for an effect.
    pub unreadable_targets: bool,
}

impl Check {
    /// Without process managers.
    pub const AGGREGATES: Self = Self {
        process_managers: false,
        instances: false,
        handlers: false,
        rows: false,
        unreadable_targets: false,
    };
    /// With process managers.
    pub const PROCESS_MANAGERS: Self = Self {
        process_managers: true,
        instances: false,
        handlers: false,
        rows: false,
        unreadable_targets: false,
    };
    /// With process managers whose targets may have been unreadable.
    pub const UNREADABLE_TARGETS: Self = Self {
        process_managers: true,
        instances: false,
        handlers: false,
        rows: false,
        unreadable_targets: true,
    };
    /// With the process manager that has instances.
    pub const INSTANCES: Self = Self {
        process_managers: true,
        instances: true,
        handlers: false,
        rows: false,
        unreadable_targets: false,
    };

    /// With an event handler.
    pub const HANDLERS: Self = Self {
        process_managers: true,
        instances: false,
        handlers: true,
        rows: false,
        unreadable_targets: false,
    };

    /// With a projection with rows.
    pub const ROWS: Self = Self {
        process_managers: false,
        instances: false,
        handlers: false,
        rows: true,
        unreadable_targets: false,
    };

    /// The process managers of the store.
    #[must_use]
    pub fn members(self) -> Members {
        if self.rows {
            return Members::Rows;
        }
        if self.handlers {
            return Members::Handlers;
        }
        match self.instances {
            true => Members::Keyed,
            false => self.process_managers.into(),
        }
    }
}

pub(super) type Streams = BTreeMap<(String, String), Vec<Event>>;

/// Opens what a crash left behind and compares it with what was acknowledged; goes on working there, and opens it again.
///
/// # Errors
///
/// The first thing that is not as it should be.
pub async fn check(store: &Path, expected: &Expected, how: Check) -> Result<(), String> {
    if how.instances {
        return check_instances(store, expected).await;
    }
    if how.handlers {
        return check_handlers(store, expected).await;
    }
    let mut expected = expected.clone();
    check_files(store, &expected)?;
    let opened = open(store, how).await?;
    let streams = read_streams(&opened).await?;
    check_ledgers(&streams, &expected)?;
    if how.process_managers {
        let reacted = expected.reacted.iter().filter(|_| !how.unreadable_targets);
        for tag in reacted {
            let parts = expected.tried.get(tag).map_or(0, |tried| tried.parts);
            for part in (0..parts).filter(|_| is_fanned_out(*tag)) {
                let effects = effects(&streams).remove(&(*tag, part)).unwrap_or_default();
                same(
                    &format!("the effects of {tag}.{part} before a run"),
                    effects,
                    [1, 1, 1, 1],
                )?;
            }
        }
        run(&opened).await?;
    }
    retry(&opened, &mut expected).await?;
    // What was there before does not answer twice.
    retry(&opened, &mut expected).await?;

    // It works on: a command of four events where there is a ledger, and the reactions to them.
    let last = expected.tried.keys().max().copied().unwrap_or_default();
    let ledgers = opened.list::<Ledger>().await.map_err(text)?;
    let ids = [ledgers.first().cloned(), Some("after-the-crash".to_owned())];
    for (tag, id) in ((last / 2 + 1) * 2..)
        .step_by(2)
        .zip(ids.into_iter().flatten())
    {
        let command = LedgerCommand::Put { tag, parts: 4 };
        let done = opened.send(&id, command, CommandContext::default()).await;
        same("the number of events", done.map_err(text)?.events.len(), 4)?;
        expected.tried.insert(
            tag,
            TriedCommand {
                id,
                parts: 4,
                chances: 1,
            },
        );
        expected.kept.insert(tag);
    }
    if how.process_managers {
        run(&opened).await?;
    }
    let tally = opened.projection::<Tally>().await.map_err(text)?;
    if how.rows {
        check_rows(&opened, &tally).await?;
    }
    let letters = dead_letters(&opened, how).await?;
    let streams = read_streams(&opened).await?;
    let states = states(&opened).await?;
    opened.close().await.map_err(text)?;

    check_files(store, &expected)?;
    let audited = audit(store)?;
    same("what the store read", &streams, &audited.streams)?;
    check_ledgers(&audited.streams, &expected)?;
    check_reactions(store, &audited, &letters, how)?;
    same("the projection", &*tally, &model(&audited)?)?;
    for (id, state) in states {
        let events = audited.streams.get(&("ledger".to_owned(), id.clone()));
        let mut folded = Ledger::default();
        for event in events.into_iter().flatten() {
            folded.evolve(&LedgerEvent::from_event(event).map_err(text)?);
        }
        same(&format!("the state of {id}"), state, folded)?;
    }

    let again = open(store, how).await?;
    same(
        "the commits to redo after a close",
        again.recovery().redone_commits,
        0,
    )?;
    same(
        "the streams after a close",
        &read_streams(&again).await?,
        &streams,
    )?;
    same(
        "the projection after a close",
        &again.projection::<Tally>().await.map_err(text)?,
        &tally,
    )?;
    if how.rows {
        check_rows(&again, &tally).await?;
    }
    if how.process_managers {
        let report = again.run_process_managers().await.map_err(text)?;
        same(
            "the report after a close",
            report,
            ProcessManagerReport::default(),
        )?;
        same(
            "the dead letters after a close",
            &dead_letters(&again, how).await?,
            &letters,
        )?;
    }
    again.close().await.map_err(text)
}

pub(super) async fn open(store: &Path, how: Check) -> Result<AggregateStore, String> {
    let builder = builder(store, Arc::new(SystemDisk), how.members());
    builder
        .run_mode(RunMode::OnDemand)
        .open()
        .await
        .map_err(|error| format!("opening: {error}"))
}

/// Compares the rows, and the entries of their index, with the projection in memory.
async fn check_rows(store: &AggregateStore, tally: &Tally) -> Result<(), String> {
    let position = store.health().await.position;
    let reached = store.wait_for::<TallyRow>(position, Duration::from_secs(20));
    reached.await.map_err(text)?;
    let rows = store.rows::<TallyRow>().map_err(text)?;
    let found = rows.all().collect().await.map_err(text)?;
    let indexed = rows
        .by_range(TallyRow::EVENTS, ..)
        .collect()
        .await
        .map_err(text)?;
    let mut by_index: Vec<_> = indexed.iter().map(|(key, row)| (row.events, key)).collect();
    same("the order of the index", by_index.is_sorted(), true)?;
    by_index.sort_by_key(|(_, key)| *key);
    let mut counts = BTreeMap::new();
    for (key, row) in &found {
        match key.as_str() {
            ALL => same("the row of all", &row.tally, tally)?,
            stream => drop(counts.insert(stream.to_owned(), row.events)),
        }
    }
    let by_key: Vec<_> = found.iter().map(|(key, row)| (row.events, key)).collect();
    same("the rows of the index", by_index, by_key)?;
    same("the rows", &counts, &tally.counts)
}

pub(super) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

async fn run(store: &AggregateStore) -> Result<(), String> {
    store.run_process_managers().await.map_err(text)?;
    let second = store.run_process_managers().await.map_err(text)?;
    same("the second report", second, ProcessManagerReport::default())?;
    for status in store.health().await.process_managers {
        let waiting = (status.parked_at, status.retrying);
        same("what a process manager waits for", waiting, (None, 0))?;
    }
    Ok(())
}

pub(super) async fn read_streams(store: &AggregateStore) -> Result<Streams, String> {
    let mut streams = Streams::new();
    for (aggregate_type, id) in store.list_streams(None).await.map_err(text)? {
        let events = store
            .read_events(&aggregate_type, &id)
            .await
            .map_err(text)?;
        streams.insert((aggregate_type, id), events);
    }
    Ok(streams)
}

async fn states(store: &AggregateStore) -> Result<Vec<(String, Ledger)>, String> {
    let mut states = Vec::new();
    for id in store.list::<Ledger>().await.map_err(text)? {
        let handle = store.get::<Ledger>(&id).await.map_err(text)?;
        states.push((id, handle.state().await.map_err(text)?));
    }
    Ok(states)
}

async fn dead_letters(store: &AggregateStore, how: Check) -> Result<Vec<DeadLetter>, String> {
    let mut letters = Vec::new();
    if how.process_managers {
        letters.extend(store.dead_letters::<Fanout>().await.map_err(text)?);
        letters.extend(store.dead_letters::<Chain>().await.map_err(text)?);
    }
    Ok(letters)
}

/// Whether the files that must stay are as they were. Otherwise there are no files of streams: only 0.2.0 has such.
fn check_files(store: &Path, expected: &Expected) -> Result<(), String> {
    for (name, text) in &expected.untouched {
        let found = std::fs::read_to_string(store.join(name)).map_err(self::text)?;
        same(name, &found, text)?;
    }
    for name in ["streams", "meta/streams.jsonl"] {
        let is_expected = !expected.untouched.is_empty();
        same(
            &format!("that there is `{name}`"),
            store.join(name).exists(),
            is_expected,
        )?;
    }
    Ok(())
}

/// Whether each command is there as a whole or not at all, once, and as it was acknowledged.
pub(super) fn check_ledgers(streams: &Streams, expected: &Expected) -> Result<(), String> {
    let mut found = BTreeMap::new();
    for ((aggregate_type, id), events) in streams {
        if aggregate_type != Ledger::AGGREGATE_TYPE {
            continue;
        }
        let mut last_of_client: BTreeMap<u64, u64> = BTreeMap::new();
        let mut next = None;
        for event in events {
            let LedgerEvent::Entry { tag, part, of, .. } =
                LedgerEvent::from_event(event).map_err(text)?;
            let due = next.unwrap_or((tag, 0, of));
            same(&format!("an entry of `{id}`"), (tag, part, of), due)?;
            next = (part + 1 < of).then_some((tag, part + 1, of));
            if part > 0 {
                continue;
            }
            if found.insert(tag, (id.clone(), of)).is_some() {
                return Err(format!("the command {tag} is there twice"));
            }
            let last = last_of_client.insert(tag / 1000, tag);
            if last.is_some_and(|last| last > tag) {
                return Err(format!(
                    "the command {tag} stands behind {last:?} in `{id}`"
                ));
            }
        }
        same(&format!("what is missing at the end of `{id}`"), next, None)?;
    }
    for (tag, place) in &found {
        let tried = expected
            .tried
            .get(tag)
            .map(|tried| (tried.id.clone(), tried.parts));
        same(&format!("the command {tag}"), Some(place.clone()), tried)?;
        if expected.tried[tag].chances == 0 {
            return Err(format!("the command {tag} was refused and is there"));
        }
    }
    for tags in &expected.together {
        let count = tags.iter().filter(|tag| found.contains_key(tag)).count();
        if count > 0 && count < tags.len() {
            return Err(format!("{count} of the commands {tags:?} are there"));
        }
    }
    match expected.kept.iter().find(|tag| !found.contains_key(tag)) {
        Some(tag) => Err(format!(
            "the command {tag} was acknowledged and is not there"
        )),
        None => Ok(()),
    }
}

/// How often each entry was noted in each of its slots, and recorded.
fn effects(streams: &Streams) -> BTreeMap<(u64, u32), [u32; 4]> {
    let mut effects: BTreeMap<(u64, u32), [u32; 4]> = BTreeMap::new();
    let number = |value: &Value| value.as_u64().unwrap_or(u64::MAX);
    for ((aggregate_type, id), events) in streams {
        for event in events {
            let (tag, part) = (
                number(&event.data["tag"]),
                number(&event.data["part"]) as u32,
            );
            let slot = match aggregate_type.as_str() {
                Target::AGGREGATE_TYPE => match number(&event.data["slot"]) {
                    0 if *id == first_target(tag) => 0,
                    1 if *id == second_target(tag) => 1,
                    2 if *id == second_target(tag) => 2,
                    // Never the expected number.
                    _ => return BTreeMap::new(),
                },
                Journalist::AGGREGATE_TYPE if id == DESK => 3,
                _ => continue,
            };
            effects.entry((tag, part)).or_default()[slot] += 1;
        }
    }
    effects
}

/// Whether each entry had each of its effects once.
pub(super) fn check_reactions(
    store: &Path,
    audited: &Audit,
    letters: &[DeadLetter],
    how: Check,
) -> Result<(), String> {
    if !how.process_managers {
        return Ok(());
    }
    let (mut due, mut entries, mut notes) = (BTreeMap::new(), 0_u64, 0_u64);
    for ((aggregate_type, id), events) in &audited.streams {
        if aggregate_type == Target::AGGREGATE_TYPE {
            notes += events.len() as u64;
        }
        if aggregate_type != Ledger::AGGREGATE_TYPE {
            continue;
        }
        for event in events {
            let LedgerEvent::Entry { tag, part, .. } = LedgerEvent::from_event(event)
                .map_err(|error| format!("an event of `{id}`: {error}"))?;
            entries += 1;
            if is_fanned_out(tag) {
                due.insert((tag, part), [1; 4]);
            }
        }
    }
    let mut effects = effects(&audited.streams);
    let mut dead = BTreeMap::new();
    for letter in letters {
        let command = &letter.envelope.command;
        let note = command.get("Note").or(command.get("Record"));
        let note = note.unwrap_or(&Value::Null);
        let part = note["part"].as_u64().unwrap_or_default() as u32;
        let entry = (note["tag"].as_u64().unwrap_or_default(), part);
        let slot = note["slot"].as_u64();
        if slot == Some(REJECTED.into()) {
            *dead.entry(entry).or_insert(0) += 1;
        }
        // As 0.2.0 wrote it, or as it is.
        let prefix = "command execution failed: ";
        let error = letter.error.strip_prefix(prefix).unwrap_or(&letter.error);
        if error != "refused" && how.unreadable_targets {
            let effects = effects.entry(entry).or_default();
            match slot {
                Some(1) => [effects[1], effects[3]] = [effects[1] + 1, effects[3] + 1],
                Some(slot @ (0 | 2)) => effects[slot as usize] += 1,
                Some(_) => {}
                None => effects[3] += 1,
            }
        } else {
            same("the slot of a dead letter", slot, Some(REJECTED.into()))?;
            same("the error of a dead letter", error, "refused")?;
        }
    }
    same("the effects of the entries", effects, due.clone())?;
    let once: BTreeMap<_, _> = due.keys().map(|key| (*key, 1)).collect();
    same("the dead letters", dead, once)?;
    let lines: usize = audited.dead_letters.values().map(Vec::len).sum();
    same(
        "the number of lines in dead_letters.jsonl",
        lines,
        letters.len(),
    )?;
    same(
        "the entries that `Fanout` has seen",
        seen(store, Fanout::NAME)?,
        entries,
    )?;
    same(
        "the notes that `Chain` has seen",
        seen(store, Chain::NAME)?,
        notes,
    )
}

/// The counter in the saved state of a process manager.
fn seen(store: &Path, name: &str) -> Result<u64, String> {
    let path = store.join(format!("process_managers/{name}/checkpoint.json"));
    let saved = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let saved: Value = serde_json::from_slice(&saved).map_err(text)?;
    saved["content"]["state"]["seen"]
        .as_u64()
        .ok_or_else(|| format!("no counter in {saved}"))
}

/// The projection as a fold over the journal.
fn model(audited: &Audit) -> Result<Tally, String> {
    let mut tally = Tally::default();
    for (stream, index) in &audited.order {
        let (aggregate_type, id) = stream;
        let event = audited
            .streams
            .get(stream)
            .and_then(|events| events.get(*index));
        let data = &event.ok_or("an event is missing")?.data;
        if aggregate_type != Journalist::AGGREGATE_TYPE {
            let part = data["part"].as_u64().ok_or("no part")? as u32;
            tally.take(
                aggregate_type,
                id,
                data["tag"].as_u64().ok_or("no tag")?,
                part,
            );
        }
    }
    Ok(tally)
}
