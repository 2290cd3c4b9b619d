//! What the events of deadlines, retries, redrives and compensations say about their cause, and that each of these happens once.

use std::collections::BTreeSet;

use eventfold_es::RunMode;
use eventfold_es::prelude::*;
use eventfold_es::store::InjectOptions;
use eventfold_es::testing::MemoryDisk;
use eventfold_es_tests::campaign::fewest;

use crate::process_managers::domain::{LogCommand, log_of};
use crate::process_managers::interrupted::interrupt;
use crate::process_managers::operator::{opened, verified};
use crate::process_managers::worker::{
    Broken, Mended, Post, PostEvent, TIME, beginning, clock, said, say, with,
};

/// An event that came from elsewhere, in the middle of a chain.
async fn inject(store: &AggregateStore, id: &str, words: &str) {
    let mut event = PostEvent::Said(words.to_owned()).to_event().unwrap();
    event.id = Some(id.to_owned());
    event.meta = Some(serde_json::json!({ "correlation_id": "talk", "depth": 3 }));
    let options = InjectOptions::default();
    store
        .inject_event::<Post>("a", event, options)
        .await
        .unwrap();
}

#[tokio::test]
async fn whatever_is_sent_late_names_the_event_that_it_was_sent_for() {
    let (disk, time) = (MemoryDisk::new(), clock());
    let open = || with::<Mended>(disk.builder(), &time, RunMode::Inline).open();
    let mut store = open().await.unwrap();
    for words in [
        "one",
        "arm due",
        "refuse retry",
        "refuse dead",
        "refuse repair-1 repair-2",
    ] {
        inject(&store, &format!("id of {words}"), words).await;
    }
    store.run_process_managers().await.unwrap();
    // What is kept of it is all that there is after a restart.
    store.close().await.unwrap();
    store = open().await.unwrap();
    let opened = store.send("a", LogCommand::Open, CommandContext::default());
    opened.await.unwrap();
    time.advance(TIME);
    store.run_process_managers().await.unwrap();
    let worker = store.process_manager::<Mended>().unwrap();
    assert_eq!(worker.redrive_all().await.unwrap().done, 1);

    let events = store.read_events("log", "a").await.unwrap();
    let events = events.iter().filter(|event| event.event_type == "Appended");
    let mut sources = BTreeSet::new();
    let mut ids = BTreeSet::new();
    for event in events {
        let meta = event.meta.as_ref().unwrap();
        let tag = event.data["tag"].as_str().unwrap();
        assert_eq!(meta["correlation_id"], "talk", "{tag}");
        // What waited a minute for its time is a chain of its own.
        assert_eq!(meta["depth"], if tag == "due" { 1 } else { 4 }, "{tag}");
        assert!(ids.insert(meta["command_id"].as_str().unwrap()), "{tag}");
        sources.insert((tag, meta["causation_id"].as_str().unwrap()));
    }
    let expected = [
        ("one", "id of one"),
        ("due", "id of arm due"),
        ("retry", "id of refuse retry"),
        ("dead", "id of refuse dead"),
        ("not repair-1", "id of refuse repair-1 repair-2"),
        ("not repair-2", "id of refuse repair-1 repair-2"),
    ];
    assert_eq!(sources, BTreeSet::from(expected));
    drop(worker);
    store.close().await.unwrap();
}

/// The limit of a chain holds for what a deadline sends, too, if it did not wait.
#[tokio::test]
async fn a_deadline_is_a_link_of_its_chain() {
    for (words, limit, is_sent) in [
        ("past due", 3, false),
        ("past due", 4, true),
        ("arm due", 3, true),
        ("arm due", 0, false),
    ] {
        let (disk, time) = (MemoryDisk::new(), clock());
        let builder = with::<Mended>(disk.builder(), &time, RunMode::Inline);
        let store = builder.max_reaction_depth(limit).open().await.unwrap();
        inject(&store, "id", words).await;
        store.run_process_managers().await.unwrap();
        time.advance(TIME);
        store.run_process_managers().await.unwrap();
        assert_eq!(log_of(&store, "a").await.len(), usize::from(is_sent));
        let worker = store.process_manager::<Mended>().unwrap();
        let letters = worker.dead_letters().await.unwrap();
        assert_eq!(letters.len(), usize::from(!is_sent));
        for letter in letters {
            assert!(
                letter.error().contains(&format!("longer than {limit}")),
                "{}",
                letter.error()
            );
        }
        drop(worker);
        store.close().await.unwrap();
    }
}

/// What is sent in place of a command, and what is passed over, over crashes at each operation on the disk.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn what_a_policy_says_is_done_once() {
    let points = interrupt(
        async |builder| {
            let store = with::<Mended>(builder, &clock(), RunMode::Inline)
                .open()
                .await
                .unwrap();
            store.close().await.unwrap();
        },
        async |builder, _| {
            let store = with::<Mended>(builder, &clock(), RunMode::Inline)
                .open()
                .await
                .unwrap();
            for words in ["refuse repair-1 skip-1", "one", "refuse skip-2 repair-2"] {
                say(&store, "a", words).await;
            }
            store.close().await.unwrap();
        },
        async |disk, _| {
            let builder = with::<Mended>(disk.builder(), &clock(), RunMode::Inline);
            let store = builder.open().await.unwrap();
            store.run_process_managers().await.unwrap();
            let told = said(&store, "a").await.len();
            let all = ["not repair-1", "one", "not repair-2"];
            assert_eq!(log_of(&store, "a").await, all[..told]);
            let worker = store.process_manager::<Mended>().unwrap();
            let status = worker.status().await.unwrap();
            let left = (
                status.dead_letters,
                status.retrying,
                status.instances.parked,
            );
            assert_eq!(left, (0, 0, 0));
            drop(worker);
            store.close().await.unwrap();
        },
    );
    assert!(points.await >= fewest());
}

/// A deadline belongs to the instance that armed it, even if another one of its key has armed one for the same time.
#[tokio::test]
async fn a_deadline_of_an_instance_that_ended_is_not_taken_for_that_of_the_next_one() {
    let disk = MemoryDisk::new();
    let time = clock();
    let store = with::<Broken>(disk.builder(), &time, RunMode::Inline)
        .open()
        .await
        .unwrap();
    for words in ["arm first", "poison", "ends", "arm second"] {
        say(&store, "a", words).await;
    }
    time.advance(TIME);
    store.run_process_managers().await.unwrap();
    store.close().await.unwrap();
    // The clock has jumped back, and that of the store stands until it has caught up.
    time.set(beginning());
    let store = with::<Mended>(disk.builder(), &time, RunMode::Inline)
        .open()
        .await
        .unwrap();
    let worker = store.process_manager::<Mended>().unwrap();
    assert_eq!(worker.release("a").await.unwrap().done, 4);
    assert_eq!(log_of(&store, "a").await, ["cured", "end"]);
    time.advance(TIME);
    store.run_process_managers().await.unwrap();
    assert_eq!(log_of(&store, "a").await, ["cured", "end"]);
    time.advance(TIME);
    store.run_process_managers().await.unwrap();
    assert_eq!(log_of(&store, "a").await, ["cured", "end", "second"]);
    drop(worker);
    store.close().await.unwrap();
}

/// Commands with different ids, also where a deadline of one name is due twice at one time, and fails both times.
#[tokio::test]
async fn deadlines_of_one_name_and_time_send_commands_of_their_own() {
    for (words, sent) in [("past x", "x"), ("past poison repair", "repaired")] {
        let disk = MemoryDisk::new();
        let store = opened::<Broken>(&disk, RunMode::Inline).await;
        for _ in 0..2 {
            say(&store, "a", words).await;
            store.run_process_managers().await.unwrap();
        }
        assert_eq!(log_of(&store, "a").await, [sent, sent]);
        let events = store.read_events("log", "a").await.unwrap();
        let ids: Vec<_> = events
            .iter()
            .map(|event| event.meta.as_ref().unwrap()["command_id"].clone())
            .collect();
        assert_ne!(ids[0], ids[1], "{words}");
        verified(store).await;
    }
}
