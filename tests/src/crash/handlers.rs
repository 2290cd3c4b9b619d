//! An event handler whose calls are noted, and what must be there of it after a crash.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use eventfold::Event;
use eventfold_es::disk::{RecordingDisk, SystemDisk};
use eventfold_es::prelude::*;
use eventfold_es::store::ProcessManagerReport;
use eventfold_es::{HandleError, RunMode};

use super::audit::same;
use super::check::{Check, Streams, check_ledgers, read_streams, text};
use super::domain::{Ledger, LedgerCommand, LedgerEvent, Target, TargetCommand};
use super::note::{Expected, Note, TriedCommand};
use super::workload::builder;

/// Notes every entry outside, and those with an even part on a target, too.
pub struct Post {
    tell: Box<dyn Fn(Note) + Send + Sync>,
    /// Whether some calls fail once, or take long.
    is_flaky: bool,
}

impl Post {
    /// A handler whose calls are among the operations of a recording.
    #[must_use]
    pub fn recorded(disk: &RecordingDisk) -> Self {
        let disk = disk.clone();
        Self {
            tell: Box::new(move |note| disk.mark(note.label())),
            is_flaky: true,
        }
    }
}

fn is_silent(part: u32) -> bool {
    !part.is_multiple_of(2)
}

impl EventHandler for Post {
    const NAME: &'static str = "post";
    const SUBSCRIPTIONS: &'static [&'static str] = &[Ledger::AGGREGATE_TYPE];
    const CONCURRENCY: usize = 3;
    type Envelope = CommandEnvelope;

    async fn handle_event(&self, cx: &mut Handling<'_, Self>) -> Result<(), HandleError> {
        let LedgerEvent::Entry { tag, part, .. } = LedgerEvent::from_event(cx.event())?;
        let key = cx.idempotency_key().to_owned();
        (self.tell)(Note::Called { tag, part, key });
        if self.is_flaky && tag.is_multiple_of(3) && cx.attempt() == 1 {
            return Err(HandleError::failed("no network"));
        }
        if self.is_flaky && tag.is_multiple_of(5) {
            tokio::time::sleep(Duration::from_millis(120)).await;
        }
        if is_silent(part) {
            return Ok(());
        }
        let note = TargetCommand::Note { tag, part, slot: 0 };
        cx.send_envelope(CommandEnvelope {
            aggregate_type: Target::AGGREGATE_TYPE.to_owned(),
            instance_id: format!("h-{}", cx.stream_id()),
            command: serde_json::to_value(note).map_err(HandleError::failed)?,
            context: CommandContext::default(),
        });
        Ok(())
    }

    fn on_failure(&self, failure: &Failure<'_>) -> HandlerAction<Self> {
        match failure.envelope {
            Some(_) => FailureAction::default_for(failure),
            None => FailureAction::Retry(Backoff::exponential(Duration::from_millis(1)).forever()),
        }
    }
}

/// The calls of one run, in order.
type Calls = Arc<Mutex<Vec<(u64, u32, String)>>>;

async fn open(store: &Path, calls: &Calls) -> Result<AggregateStore, String> {
    let calls = Arc::clone(calls);
    let tell = move |note| {
        if let Note::Called { tag, part, key } = note {
            let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
            calls.push((tag, part, key));
        }
    };
    let post = Post {
        tell: Box::new(tell),
        is_flaky: false,
    };
    builder(store, Arc::new(SystemDisk), Check::HANDLERS.members())
        .event_handler(post)
        .run_mode(RunMode::OnDemand)
        .open()
        .await
        .map_err(|error| format!("opening: {error}"))
}

/// The effects inside, by command and entry.
fn effects(streams: &Streams) -> BTreeMap<(u64, u32), u32> {
    let mut effects = BTreeMap::new();
    let targets = streams
        .iter()
        .filter(|((aggregate_type, _), _)| *aggregate_type == Target::AGGREGATE_TYPE);
    for event in targets.flat_map(|(_, events)| events) {
        let number = |name: &str| event.data[name].as_u64().unwrap_or(u64::MAX);
        *effects
            .entry((number("tag"), number("part") as u32))
            .or_default() += 1;
    }
    effects
}

/// Opens what a crash left behind, lets it catch up, and compares the effects inside with the calls outside; works there, and opens
/// it again.
pub(super) async fn check_handlers(store: &Path, expected: &Expected) -> Result<(), String> {
    let mut expected = expected.clone();
    // A handler continues interrupted work as soon as the store is open, so its absence shows what the crash has left.
    let left = super::check::open(store, Check::HANDLERS).await?;
    let streams = read_streams(&left).await?;
    left.close().await.map_err(text)?;
    check_ledgers(&streams, &expected)?;
    let before = effects(&streams);
    for effect in before.keys() {
        same(
            &format!("whether {effect:?}, whose effect is there, was called"),
            expected.called.contains_key(effect),
            true,
        )?;
    }
    for (tag, part) in expected.called.keys() {
        let mut ledgers = streams
            .iter()
            .filter(|((of, _), _)| of == Ledger::AGGREGATE_TYPE);
        let is_there = ledgers.any(|(_, events)| {
            let is_it = |event: &Event| event.data["tag"] == *tag && event.data["part"] == *part;
            events.iter().any(is_it)
        });
        same(
            &format!("whether {tag}.{part}, which was called, is stored"),
            is_there,
            true,
        )?;
    }
    for tag in &expected.reacted {
        let parts = expected.tried.get(tag).map_or(0, |tried| tried.parts);
        for part in (0..parts).filter(|part| !is_silent(*part)) {
            let effects = before.get(&(*tag, part)).copied();
            same(
                &format!("the effects of {tag}.{part} before a run"),
                effects,
                Some(1),
            )?;
        }
    }
    let calls = Calls::default();
    let opened = open(store, &calls).await?;
    run(&opened).await?;
    // What has an effect is not called again.
    for (tag, part, _) in taken(&calls).iter() {
        let is_there = before.contains_key(&(*tag, *part));
        same(
            &format!("whether {tag}.{part} is called after its effect"),
            is_there,
            false,
        )?;
    }
    compare(&opened, &mut expected, &calls).await?;
    let last = expected.tried.keys().max().copied().unwrap_or_default();
    for (tag, id) in (last + 1..).zip(["a", "after"]) {
        let command = LedgerCommand::Put { tag, parts: 3 };
        let done = opened.send(id, command, CommandContext::default()).await;
        same("the number of events", done.map_err(text)?.events.len(), 3)?;
        let tried = TriedCommand {
            id: id.to_owned(),
            parts: 3,
            chances: 1,
        };
        expected.tried.insert(tag, tried);
        expected.kept.insert(tag);
    }
    run(&opened).await?;
    same("the calls for six new entries", taken(&calls).len(), 6)?;
    compare(&opened, &mut expected, &calls).await?;
    let handle = opened.event_handler::<Post>().map_err(text)?;
    same(
        "what is held",
        handle.instances(None, 10).await.map_err(text)?.len(),
        0,
    )?;
    same(
        "the dead letters",
        handle.dead_letters().await.map_err(text)?.len(),
        0,
    )?;
    opened.close().await.map_err(text)?;
    let again = open(store, &calls).await?;
    run(&again).await?;
    same("the calls after a close", taken(&calls).len(), 0)?;
    again.close().await.map_err(text)
}

/// The calls since the last look that were not compared yet.
fn taken(calls: &Calls) -> Vec<(u64, u32, String)> {
    calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

async fn run(store: &AggregateStore) -> Result<(), String> {
    store.run_process_managers().await.map_err(text)?;
    let second = store.run_process_managers().await.map_err(text)?;
    same("the second report", second, ProcessManagerReport::default())
}

/// Each entry was called with one key, in the order of its ledger, and has its effect once.
async fn compare(
    store: &AggregateStore,
    expected: &mut Expected,
    calls: &Calls,
) -> Result<(), String> {
    for (tag, part, key) in
        std::mem::take(&mut *calls.lock().unwrap_or_else(PoisonError::into_inner))
    {
        expected.called.entry((tag, part)).or_default().push(key);
    }
    let streams = read_streams(store).await?;
    let mut due = BTreeMap::new();
    for ((aggregate_type, id), events) in &streams {
        if aggregate_type != Ledger::AGGREGATE_TYPE {
            continue;
        }
        let mut order = Vec::new();
        for (version, event) in (1..).zip(events) {
            let number = |name: &str| event.data[name].as_u64().unwrap_or(u64::MAX);
            let (tag, part) = (number("tag"), number("part") as u32);
            let keys = expected
                .called
                .get(&(tag, part))
                .cloned()
                .unwrap_or_default();
            same(
                &format!("whether {tag}.{part} was called"),
                keys.is_empty(),
                false,
            )?;
            let key = format!("post:{aggregate_type}/{}/{version}", id.replace('/', "%2F"));
            let others = keys.iter().filter(|other| **other != key).count();
            same(&format!("the other keys of {tag}.{part}"), others, 0)?;
            if !is_silent(part) {
                due.insert((tag, part), 1);
                order.push((tag, part));
            }
        }
        let target = (Target::AGGREGATE_TYPE.to_owned(), format!("h-{id}"));
        let noted = streams.get(&target).into_iter().flatten().map(|event| {
            let number = |name: &str| event.data[name].as_u64().unwrap_or(u64::MAX);
            (number("tag"), number("part") as u32)
        });
        same(
            &format!("the effects of {id}, in order"),
            noted.collect(),
            order,
        )?;
    }
    same("the effects inside", effects(&streams), due)
}
