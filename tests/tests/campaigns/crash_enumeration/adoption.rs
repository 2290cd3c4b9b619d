//! A directory that a program of eventfold-es 0.2.0 left, with the domain of the crash tests, to be adopted.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use eventfold_es::RunMode;
use eventfold_es::disk::{Recording, RecordingDisk};
use eventfold_es::prelude::*;
use eventfold_es_020 as old;
use eventfold_es_tests::crash::domain::{
    DESK, Journalist, JournalistCommand, Ledger, LedgerCommand, REJECTED, Target, TargetCommand,
    first_target, is_fanned_out, second_target,
};
use eventfold_es_tests::crash::{Client, Note, open_on};
use serde_json::json;

/// An aggregate of the domain in a program of 0.2.0.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
struct Old<A>(A);

macro_rules! aggregate_of_0_2_0 {
    ($($aggregate:ident)*) => {$(
        impl old::Aggregate for Old<$aggregate> {
            const AGGREGATE_TYPE: &'static str = <$aggregate as Aggregate>::AGGREGATE_TYPE;
            type Command = <$aggregate as Aggregate>::Command;
            type DomainEvent = <$aggregate as Aggregate>::DomainEvent;
            type Error = <$aggregate as Aggregate>::Error;

            fn handle(&self, command: Self::Command) -> Result<Vec<Self::DomainEvent>, Self::Error> {
                self.0.decide(command)
            }

            fn apply(mut self, event: &Self::DomainEvent) -> Self {
                self.0.evolve(event);
                self
            }
        }
    )*};
}

aggregate_of_0_2_0!(Ledger Target Journalist);

fn envelope(aggregate_type: &str, id: &str, command: impl Serialize) -> old::CommandEnvelope {
    old::CommandEnvelope {
        aggregate_type: aggregate_type.to_owned(),
        instance_id: id.to_owned(),
        command: json!(command),
        context: old::CommandContext::default(),
    }
}

/// The process manager `fanout` of the domain.
#[derive(Default, Serialize, Deserialize)]
struct Fanout {
    seen: u64,
}

impl old::ProcessManager for Fanout {
    const NAME: &'static str = "fanout";

    fn subscriptions(&self) -> &'static [&'static str] {
        &["ledger"]
    }

    fn react(&mut self, _: &str, _: &str, event: &eventfold::Event) -> Vec<old::CommandEnvelope> {
        self.seen += 1;
        let number = |name: &str| event.data[name].as_u64().unwrap();
        let (tag, part) = (number("tag"), number("part") as u32);
        let notes = [
            (first_target(tag), 0),
            (second_target(tag), 1),
            (second_target(tag), 2),
            (first_target(tag), REJECTED),
        ];
        let notes = notes.into_iter().filter(|_| is_fanned_out(tag));
        notes
            .map(|(id, slot)| envelope("target", &id, TargetCommand::Note { tag, part, slot }))
            .collect()
    }
}

/// The process manager `chain` of the domain.
#[derive(Default, Serialize, Deserialize)]
struct Chain {
    seen: u64,
}

impl old::ProcessManager for Chain {
    const NAME: &'static str = "chain";

    fn subscriptions(&self) -> &'static [&'static str] {
        &["target"]
    }

    fn react(&mut self, _: &str, _: &str, event: &eventfold::Event) -> Vec<old::CommandEnvelope> {
        self.seen += 1;
        let number = |name: &str| event.data[name].as_u64().unwrap();
        let (tag, part) = (number("tag"), number("part") as u32);
        let record = JournalistCommand::Record { tag, part };
        let records = (number("slot") == 1).then(|| envelope("journalist", DESK, record));
        records.into_iter().collect()
    }
}

async fn put(store: &old::AggregateStore, id: &str, tag: u64, parts: u32) -> [Note; 2] {
    let ledger = store.get::<Old<Ledger>>(id).await.unwrap();
    let command = LedgerCommand::Put { tag, parts };
    let done = ledger.execute(command, old::CommandContext::default());
    done.await.unwrap();
    let id = id.to_owned();
    [Note::Tried { tag, id, parts }, Note::Acknowledged { tag }]
}

/// What 0.2.0 was told: its process managers have reacted to some of it, and to the rest not.
async fn write(store: &Path) -> Vec<Note> {
    let opened = old::AggregateStore::builder(store)
        .process_manager::<Fanout>()
        .process_manager::<Chain>()
        .aggregate_type::<Old<Target>>()
        .aggregate_type::<Old<Journalist>>()
        .open()
        .await
        .unwrap();
    let mut notes = Vec::new();
    for (tag, id) in [(1, "a"), (2, "b"), (4, "a/b")] {
        notes.extend(put(&opened, id, tag, 2).await);
    }
    opened.run_process_managers().await.unwrap();
    for (tag, id) in [(5, "b"), (6, "a"), (8, "c")] {
        notes.extend(put(&opened, id, tag, 3).await);
    }
    drop(opened);
    // Its threads give their locks back a moment later.
    for log in files(&store.join("streams")) {
        while fs::File::open(&log).unwrap().try_lock().is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    notes
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false => files.push(path),
        }
    }
    files
}

/// Records how a directory of 0.2.0 is adopted and worked on. The files of its streams must stay as they are.
pub async fn record(root: &Path) -> Recording {
    let store = root.join("store");
    let notes = write(&store).await;
    let disk = RecordingDisk::new(root).expect("a directory");
    for path in [
        files(&store.join("streams")),
        vec![store.join("meta/streams.jsonl")],
    ]
    .concat()
    {
        let name = path.strip_prefix(&store).expect("it is in the store");
        let text = fs::read_to_string(&path).expect("text");
        let name = name.to_str().expect("a name").to_owned();
        disk.mark(Note::Untouched { name, text }.label());
    }
    for note in notes {
        disk.mark(note.label());
    }
    let adopted = open_on(&disk, &store, true, RunMode::OnDemand).await;
    let client = Client::recorded(&adopted, &disk);
    client.put("a", 9, 2).await.expect("the disk works");
    adopted
        .run_process_managers()
        .await
        .expect("the disk works");
    client.put("d", 10, 2).await.expect("the disk works");
    drop(client);
    adopted.close().await.expect("the disk works");
    disk.check().expect("everything goes through the disk");
    disk.recording()
}
