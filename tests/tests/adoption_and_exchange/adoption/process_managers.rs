use std::fs;
use std::path::Path;

use eventfold_es::store::ProcessManagerReport;
use eventfold_es::{DeadLetter, OpenError, RunMode};
use eventfold_es_tests::crash::{Place, scratch};

use super::domain::*;

const CHECKPOINT: &str = "process_managers/auditor/checkpoint.json";

/// 0.2.0 has reacted to some of the deposits, of which one is a dead letter, and to others not.
async fn half_caught_up(base: &Path) {
    let old = old_store(base).await;
    for (id, amount) in [("a", 1), ("b", 2), ("a", 113), ("b", 4)] {
        old_deposit(&old, id, amount).await;
    }
    let report = old.run_process_managers().await.unwrap();
    assert_eq!((report.dispatched, report.dead_lettered), (3, 1));
    old.projection::<Deposits>().unwrap();
    for (id, amount) in [("a", 5), ("c", 6), ("a", 213), ("c", 8)] {
        old_deposit(&old, id, amount).await;
    }
    end(old).await;
}

fn copy(from: &Path, places: &mut Place) -> std::path::PathBuf {
    let to = places.fresh();
    eventfold_es::disk::CrashImage::read(from)
        .unwrap()
        .materialise(&to)
        .unwrap();
    to
}

async fn dead_letters(store: &eventfold_es::AggregateStore) -> Vec<DeadLetter> {
    store.dead_letters::<Auditor>().await.unwrap()
}

/// Each deposit is noted once, in the order of its account.
async fn assert_noted_once(store: &eventfold_es::AggregateStore) {
    assert_eq!(noted(store, "a").await, [1, 5]);
    assert_eq!(noted(store, "b").await, [2, 4]);
    assert_eq!(noted(store, "c").await, [6, 8]);
    let letters: Vec<_> = dead_letters(store)
        .await
        .iter()
        .map(|letter| letter.envelope.command.clone())
        .collect();
    assert_eq!(
        letters,
        [
            serde_json::json!({ "Note": 113 }),
            serde_json::json!({ "Note": 213 })
        ]
    );
}

#[tokio::test]
async fn scenario_45_a_process_manager_goes_on_where_its_checkpoint_stands() {
    let place = scratch();
    let base = place.path();
    half_caught_up(base).await;
    let old_letters = fs::read(base.join("process_managers/auditor/dead_letters.jsonl")).unwrap();
    let store = open(base).await;
    let adopted = &store.recovery().adoption.as_ref().unwrap().process_managers;
    assert_eq!((&*adopted[0].name, &adopted[0].problem), ("auditor", &None));
    assert_eq!(dead_letters(&store).await.len(), 1);
    let report = store.run_process_managers().await.unwrap();
    assert_eq!((report.dispatched, report.dead_lettered), (3, 1));
    assert_noted_once(&store).await;
    store.close().await.unwrap();
    let letters = fs::read(base.join("process_managers/auditor/dead_letters.jsonl")).unwrap();
    assert!(letters.starts_with(&old_letters));
    // Those of 0.2.0 can be redriven and discarded as well.
    let store = open(base).await;
    let auditor = store.process_manager::<Auditor>().unwrap();
    let entries = auditor.dead_letters().await.unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(auditor.redrive_all().await.unwrap().failed, 2);
    assert_eq!(auditor.discard_all().await.unwrap().done, 2);
    drop(auditor);
    store.close().await.unwrap();

    for file in ["meta/checkpoint.json", CHECKPOINT] {
        fs::remove_file(base.join(file)).unwrap();
        let store = open(base).await;
        assert_eq!(
            store.run_process_managers().await.unwrap(),
            ProcessManagerReport::default()
        );
        assert_noted_once(&store).await;
        store.close().await.unwrap();
    }
    // Its state went on, too: eight deposits.
    let saved = fs::read_to_string(base.join(CHECKPOINT)).unwrap();
    assert!(saved.contains(r#""state":{"deposits":8,"large":340282366920938463463374607431768211455,"text":"{ \"a\" :\n 1 }"}"#), "{saved}");
}

/// Nothing of what 0.2.0 has reacted to is reacted to again where there is only a backup.
#[tokio::test]
async fn a_backup_knows_where_it_stands() {
    let place = scratch();
    let backups = scratch();
    half_caught_up(place.path()).await;
    let store = open(place.path()).await;
    let (before, after) = (backups.path().join("before"), backups.path().join("after"));
    store.backup(&before).await.unwrap();
    let report = store.run_process_managers().await.unwrap();
    store.backup(&after).await.unwrap();
    store.close().await.unwrap();
    for (backup, expected) in [(before, report), (after, ProcessManagerReport::default())] {
        let store = open(&backup).await;
        assert_eq!(store.run_process_managers().await.unwrap(), expected);
        assert_noted_once(&store).await;
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn it_goes_on_by_itself_in_the_other_run_modes() {
    for mode in [RunMode::Inline, RunMode::Background] {
        let place = scratch();
        half_caught_up(place.path()).await;
        let store = builder(place.path()).run_mode(mode).open().await.unwrap();
        store.run_process_managers().await.unwrap();
        assert_noted_once(&store).await;
        store.close().await.unwrap();
    }
}

/// The cursors are needed as long as the process manager is not past the events that were there: over several openings, in
/// which it may not even be registered, and when everything is derived from the journal.
#[tokio::test]
async fn its_cursors_survive_until_it_is_past_them() {
    for loses_checkpoint in [false, true] {
        let place = scratch();
        let base = place.path();
        half_caught_up(base).await;
        for opening in 0..4 {
            let store = if opening % 2 == 0 {
                open(base).await
            } else {
                eventfold_es::AggregateStore::open(base).await.unwrap()
            };
            deposit(&store, "b", 20 + opening).await;
            store.close().await.unwrap();
            if loses_checkpoint {
                fs::remove_file(base.join("meta/checkpoint.json")).unwrap();
            }
        }
        let store = open(base).await;
        store.run_process_managers().await.unwrap();
        assert_eq!(noted(&store, "a").await, [1, 5]);
        assert_eq!(noted(&store, "b").await, [2, 4, 20, 21, 22, 23]);
        assert_eq!(noted(&store, "c").await, [6, 8]);
        store.close().await.unwrap();
    }
}

/// The auditor of a program that declares another starting point.
mod late {
    use eventfold_es::prelude::*;

    use crate::adoption::domain::{Account, AccountEvent, Audit, AuditCommand};

    #[process_manager(subscribes = [Account], dispatches = [Audit], start = "now")]
    #[derive(Debug, Default, Serialize, Deserialize)]
    pub struct Auditor {
        deposits: u64,
    }

    impl React<Account> for Auditor {
        fn react(&mut self, event: &AccountEvent, cx: &mut Reaction<'_, Self>) {
            let AccountEvent::Deposited { amount, .. } = event;
            self.deposits += 1;
            cx.send(cx.stream_id().to_owned(), AuditCommand::Note(*amount));
        }
    }
}

/// `start = "now"` is for those that are new.
#[tokio::test]
async fn one_that_starts_now_goes_on_where_its_checkpoint_stands() {
    let place = scratch();
    half_caught_up(place.path()).await;
    let store = eventfold_es::AggregateStore::builder(place.path())
        .process_manager::<late::Auditor>()
        .run_mode(RunMode::OnDemand)
        .open()
        .await
        .unwrap();
    store.run_process_managers().await.unwrap();
    assert_eq!(noted(&store, "a").await, [1, 5]);
    assert_eq!(noted(&store, "b").await, [2, 4]);
    assert_eq!(noted(&store, "c").await, [6, 8]);
    store.close().await.unwrap();
}

#[tokio::test]
async fn its_cursors_are_found_in_the_archive() {
    let place = scratch();
    let base = place.path();
    half_caught_up(base).await;
    for id in ["a", "b"] {
        let mut log = eventfold::EventLog::open(base.join("streams/account").join(id)).unwrap();
        log.rotate().unwrap();
    }
    deposited(base, &[("b", 14)]).await;
    let store = open(base).await;
    store.run_process_managers().await.unwrap();
    assert_eq!(noted(&store, "a").await, [1, 5]);
    assert_eq!(noted(&store, "b").await, [2, 4, 14]);
    store.close().await.unwrap();
}

/// 0.2.0 started it from the first event then, and everything was dispatched again.
#[tokio::test]
async fn one_whose_checkpoint_cannot_be_used_does_not_start_over() {
    let place = scratch();
    half_caught_up(place.path()).await;
    let whole = fs::read_to_string(place.path().join(CHECKPOINT)).unwrap();
    let hash = whole.find("\"hash\": \"").unwrap() + 9;
    let mut other_hash = whole.clone().into_bytes();
    other_hash[hash] = if other_hash[hash] == b'0' { b'1' } else { b'0' };
    let offset = whole.find("\"offset\": ").unwrap() + 10;
    let mut other_offset = whole.clone();
    other_offset.insert(offset, '1');
    let mut places = Place::default();
    for damaged in [
        "",
        &whole[..whole.len() / 2],
        "{}",
        &String::from_utf8(other_hash).unwrap(),
        &other_offset,
    ] {
        let base = copy(place.path(), &mut places);
        fs::write(base.join(CHECKPOINT), damaged).unwrap();
        for _ in 0..2 {
            match builder(&base).open().await {
                Err(OpenError::ProcessManagerCheckpoint { name, damage }) => {
                    assert_eq!(name, "auditor");
                    assert_eq!(damage.path, base.join(CHECKPOINT));
                }
                other => panic!("{damaged:?}: {other:?}"),
            }
        }
        // A program without it is not kept from opening.
        let store = eventfold_es::AggregateStore::open(&base).await.unwrap();
        assert!(
            store.recovery().adoption.as_ref().unwrap().process_managers[0]
                .problem
                .is_some()
        );
        assert_eq!(noted(&store, "b").await, [2, 4]);
        store.close().await.unwrap();
        assert_eq!(fs::read_to_string(base.join(CHECKPOINT)).unwrap(), damaged);
        // Whoever removes the file wants it to start over.
        fs::remove_file(base.join(CHECKPOINT)).unwrap();
        let store = open(&base).await;
        assert_eq!(dead_letters(&store).await.len(), 1);
        store.run_process_managers().await.unwrap();
        assert_eq!(noted(&store, "b").await, [2, 4, 2, 4]);
        assert_eq!(noted(&store, "c").await, [6, 8]);
        assert_eq!(dead_letters(&store).await.len(), 3);
        store.close().await.unwrap();
        let store = open(&base).await;
        assert_eq!(
            store.run_process_managers().await.unwrap(),
            ProcessManagerReport::default()
        );
        store.close().await.unwrap();
    }
}

/// It was killed before it saved anything: what it dispatched cannot be known.
#[tokio::test]
async fn one_that_never_saved_starts_from_the_first_event_and_keeps_its_dead_letters() {
    let place = scratch();
    let base = place.path();
    half_caught_up(base).await;
    fs::remove_file(base.join(CHECKPOINT)).unwrap();
    let letters = base.join("process_managers/auditor/dead_letters.jsonl");
    let mut bytes = fs::read(&letters).unwrap();
    bytes.extend_from_slice(b"{\"envelope\":{\"aggr");
    fs::write(&letters, &bytes).unwrap();
    let store = open(base).await;
    assert_eq!(
        store
            .recovery()
            .adoption
            .as_ref()
            .unwrap()
            .unreadable_dead_letters,
        1
    );
    assert_eq!(dead_letters(&store).await.len(), 1);
    store.run_process_managers().await.unwrap();
    assert_eq!(dead_letters(&store).await.len(), 3);
    store.close().await.unwrap();
    assert_eq!(
        fs::read(letters.with_file_name("dead_letters-0.2.0.jsonl")).unwrap(),
        bytes
    );
    let store = open(base).await;
    assert_eq!(dead_letters(&store).await.len(), 3);
    let auditor = store.process_manager::<Auditor>().unwrap();
    let entries = auditor.dead_letters().await.unwrap();
    assert_eq!(entries.len(), 3);
    assert_eq!(auditor.discard(&entries[0].id).await.unwrap().done, 1);
    assert_eq!(auditor.dead_letters().await.unwrap(), entries[1..]);
    drop(auditor);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_cursor_into_a_stream_that_is_gone_keeps_nobody_back() {
    let place = scratch();
    let base = place.path();
    half_caught_up(base).await;
    fs::remove_dir_all(base.join("streams/account/a")).unwrap();
    fs::write(base.join("streams/account/b/app.jsonl"), "").unwrap();
    let store = open(base).await;
    store.run_process_managers().await.unwrap();
    assert_eq!(noted(&store, "a").await, [1]);
    assert_eq!(noted(&store, "c").await, [6, 8]);
    store.close().await.unwrap();
}
