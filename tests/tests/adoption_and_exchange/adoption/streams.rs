use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use eventfold_es::{OpenError, StoreError};
use eventfold_es_020::StreamLayout;
use eventfold_es_tests::crash::scratch;

use super::domain::*;

#[tokio::test]
async fn its_events_are_there_and_the_streams_go_on() {
    let place = scratch();
    let base = place.path();
    deposited(base, &[("a", 1), ("b", 2), ("a", 3), ("b", 4), ("a", 5)]).await;
    let before = [read(base, "account/a"), read(base, "account/b")];
    let store = open(base).await;
    let adoption = store.recovery().adoption.clone().unwrap();
    assert_eq!((adoption.streams, adoption.events), (2, 5), "{adoption:?}");
    assert_eq!(store.read_events("account", "a").await.unwrap(), before[0]);
    assert_eq!(store.read_events("account", "b").await.unwrap(), before[1]);
    deposit(&store, "a", 6).await;
    deposit(&store, "new", 7).await;
    assert_eq!(amounts(&store, "a").await, [1, 3, 5, 6]);
    store.close().await.unwrap();

    // With the checkpoint, and with everything derived from the journal once more.
    for has_checkpoint in [true, false] {
        if !has_checkpoint {
            fs::remove_file(base.join("meta/checkpoint.json")).unwrap();
        }
        let store = open(base).await;
        assert_eq!(store.recovery().adoption.as_ref(), Some(&adoption));
        assert_eq!(amounts(&store, "a").await, [1, 3, 5, 6]);
        assert_eq!(amounts(&store, "b").await, [2, 4]);
        assert_eq!(amounts(&store, "new").await, [7]);
        store.close().await.unwrap();
    }
    assert!(!base.join("meta/journal/adopting.jsonl").exists());
}

/// 0.2.0 took an id for a path, so that one with `/` has its events where projections did not find them.
#[tokio::test]
async fn odd_ids_keep_their_directories() {
    let place = scratch();
    let base = place.path().join("store");
    let ids = [
        "a b",
        "Ä",
        "x/y",
        "x",
        "47591d",
        "47591D",
        "100%",
        "...",
        "CON",
        "x/views",
        "deep/er/still",
    ];
    let deposits: Vec<_> = ids.iter().copied().zip(1..).collect();
    deposited(&base, &deposits).await;
    let files = logs(&base);
    let texts: Vec<_> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    let store = open(&base).await;
    assert_eq!(store.recovery().adoption.clone().unwrap().quarantined, []);
    for (id, amount) in &deposits {
        assert_eq!(amounts(&store, id).await, [*amount], "{id}");
        deposit(&store, id, amount + 100).await;
    }
    store.close().await.unwrap();
    assert_eq!(logs(&base), files);
    for (file, text) in files.iter().zip(texts) {
        assert_eq!(fs::read(file).unwrap(), text, "{file:?}");
    }
    let store = open(&base).await;
    for (id, amount) in &deposits {
        assert_eq!(amounts(&store, id).await, [*amount, amount + 100], "{id}");
    }
    // Those that projections of 0.2.0 never saw are seen.
    let seen = store.projection::<Deposits>().await.unwrap();
    assert_eq!(seen.seen.len(), 2 * ids.len());
    store.close().await.unwrap();
}

#[tokio::test]
async fn ids_that_left_the_store_are_not_followed() {
    let place = scratch();
    let base = place.path().join("store");
    deposited(
        &base,
        &[("../../../outside", 1), ("../inside", 2), ("a", 3)],
    )
    .await;
    deposited(&base, &[("./a", 4)]).await;
    let outside = fs::read(place.path().join("outside/app.jsonl")).unwrap();
    let store = open(&base).await;
    let adoption = store.recovery().adoption.clone().unwrap();
    let quarantined: Vec<_> = adoption
        .quarantined
        .iter()
        .map(|stream| &*stream.instance_id)
        .collect();
    assert_eq!(quarantined, ["../../../outside", "../inside", "./a"]);
    assert_eq!(amounts(&store, "a").await, [3, 4]);
    let refused = store
        .get::<Account>("../../../outside")
        .await
        .unwrap()
        .state()
        .await
        .unwrap_err();
    assert!(
        matches!(refused.source, StoreError::Damaged(_)),
        "{refused}"
    );
    assert_eq!(
        fs::read(place.path().join("outside/app.jsonl")).unwrap(),
        outside
    );
    store.close().await.unwrap();
}

#[tokio::test]
async fn the_directories_tell_what_the_registry_does_not() {
    let place = scratch();
    let base = place.path();
    deposited(base, &[("known", 1), ("torn", 2), ("glued", 3)]).await;
    let layout = StreamLayout::new(base);
    layout.ensure_stream("account", "registered").unwrap();
    let old = old_store(base).await;
    old.get::<Account>("looked-at")
        .await
        .unwrap()
        .state()
        .await
        .unwrap();
    end(old).await;
    let registry = fs::read_to_string(base.join("meta/streams.jsonl")).unwrap();
    let mut lines: Vec<_> = registry.lines().map(str::to_owned).collect();
    let glued = lines.remove(2);
    lines[1] = format!("{}{glued}", &lines[1][..9]);
    fs::write(base.join("meta/streams.jsonl"), lines.join("\n")).unwrap();
    fs::create_dir_all(base.join("streams/account/nothing/in/it")).unwrap();
    let store = open(base).await;
    let adoption = store.recovery().adoption.clone().unwrap();
    assert_eq!((adoption.streams, adoption.events), (3, 3));
    assert_eq!(
        (adoption.empty_streams, adoption.unreadable_registry_lines),
        (2, 1)
    );
    for (id, amount) in [("known", 1), ("torn", 2), ("glued", 3)] {
        assert_eq!(amounts(&store, id).await, [amount]);
    }
    for id in ["registered", "looked-at"] {
        assert!(
            store
                .get::<Account>(id)
                .await
                .unwrap()
                .state()
                .await
                .unwrap()
                .amounts
                .is_empty()
        );
        deposit(&store, id, 9).await;
    }
    store.close().await.unwrap();
    let store = open(base).await;
    assert_eq!(amounts(&store, "looked-at").await, [9]);
    store.close().await.unwrap();
}

#[tokio::test]
async fn the_order_is_that_of_the_times() {
    let place = scratch();
    let base = place.path();
    let layout = StreamLayout::new(base);
    // Within a stream the order stays, even if its times do not.
    let streams = [
        ("b", [(1, 10), (2, 40), (3, 30)]),
        ("a", [(4, 10), (5, 20), (6, 35)]),
    ];
    for (id, events) in streams {
        let directory = layout.ensure_stream("account", id).unwrap();
        let mut writer = eventfold::EventWriter::open(directory).unwrap();
        for (amount, ts) in events {
            let mut event = AccountEvent::new(amount).to_event().unwrap();
            event.ts = ts;
            writer.append(&event).unwrap();
        }
    }
    let store = open(base).await;
    let seen = store.projection::<Deposits>().await.unwrap().seen.clone();
    assert_eq!(seen, [1, 4, 5, 6, 2, 3]);
    store.close().await.unwrap();
}

use eventfold_es::DomainEvent as _;

#[tokio::test]
async fn blank_lines_and_white_space_are_no_events() {
    let place = scratch();
    let base = place.path();
    deposited(base, &[("a", 1), ("a", 2), ("b", 3)]).await;
    let log = base.join("streams/account/a/app.jsonl");
    let text = fs::read_to_string(&log).unwrap();
    let changed = format!("\n  {}\r\n", text.trim_end().replace('\n', " \r\n\r\n"));
    fs::write(&log, &changed).unwrap();
    let store = open(base).await;
    deposit(&store, "a", 4).await;
    assert_eq!(amounts(&store, "a").await, [1, 2, 4]);
    store.close().await.unwrap();
    assert_eq!(fs::read_to_string(&log).unwrap(), changed);
}

/// An archive, and one that a rotation which was interrupted left behind a log with the same events.
#[tokio::test]
async fn archived_events_come_first_and_once() {
    let place = scratch();
    let base = place.path();
    deposited(
        base,
        &[
            ("a", 1),
            ("a", 2),
            ("twice", 3),
            ("twice", 4),
            ("cut", 5),
            ("left", 11),
        ],
    )
    .await;
    let directory = |id: &str| base.join("streams/account").join(id);
    let rotate = |id: &str| {
        let mut log = eventfold::EventLog::open(directory(id)).unwrap();
        log.rotate().unwrap();
    };
    rotate("a");
    for id in ["twice", "cut", "left"] {
        // The log is not emptied.
        let log = fs::read(directory(id).join("app.jsonl")).unwrap();
        rotate(id);
        fs::write(directory(id).join("app.jsonl"), log).unwrap();
    }
    let old = old_store(base).await;
    for (id, amount) in [("a", 6), ("twice", 7), ("cut", 8), ("left", 12)] {
        old_deposit(&old, id, amount).await;
    }
    end(old).await;
    rotate("a");
    rotate("twice");
    deposited(base, &[("a", 9)]).await;
    // Of a frame that was being written, a half is there.
    let archive = directory("cut").join("archive.jsonl.zst");
    let bytes = fs::read(&archive).unwrap();
    fs::write(&archive, &bytes[..bytes.len() / 2]).unwrap();

    let store = open(base).await;
    let expected: [(&str, &[u64]); 4] = [
        ("a", &[1, 2, 6, 9]),
        ("twice", &[3, 4, 7]),
        ("cut", &[5, 8]),
        ("left", &[11, 12]),
    ];
    for (id, expected) in expected {
        assert_eq!(amounts(&store, id).await, expected, "{id}");
    }
    deposit(&store, "a", 10).await;
    store.close().await.unwrap();
    for (id, _) in expected {
        assert!(directory(id).join("archive.jsonl.zst").exists());
    }
    for file in ["meta/checkpoint.json", "meta/streams.jsonl"] {
        fs::remove_file(base.join(file)).unwrap();
        let store = open(base).await;
        assert_eq!(amounts(&store, "a").await, [1, 2, 6, 9, 10]);
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_directory_that_0_2_0_works_in_is_refused() {
    let place = scratch();
    let base = place.path();
    let old = old_store(base).await;
    old_deposit(&old, "a", 1).await;
    match builder(base).open().await {
        Err(OpenError::InUse { holder, .. }) => assert!(
            holder.contains("0.2.0") && holder.contains("`a`"),
            "{holder}"
        ),
        other => panic!("{other:?}"),
    }
    old_deposit(&old, "a", 2).await;
    end(old).await;
    let store = open(base).await;
    assert_eq!(amounts(&store, "a").await, [1, 2]);
    store.close().await.unwrap();
}

#[tokio::test]
async fn many_streams_are_taken_over_in_little_time() {
    let place = scratch();
    let base = place.path();
    let (streams, events) = (1_000, 20);
    fs::create_dir_all(base.join("meta")).unwrap();
    let mut registry = fs::File::create(base.join("meta/streams.jsonl")).unwrap();
    for stream in 0..streams {
        let directory = base.join(format!("streams/account/{stream}"));
        fs::create_dir_all(&directory).unwrap();
        writeln!(registry, r#"{{"type":"account","id":"{stream}","ts":1}}"#).unwrap();
        let mut log = Vec::new();
        for number in 0..events {
            let mut event = AccountEvent::new(stream * events + number)
                .to_event()
                .unwrap();
            event.ts = number * 7 % 5;
            serde_json::to_writer(&mut log, &event).unwrap();
            log.push(b'\n');
        }
        fs::write(directory.join("app.jsonl"), log).unwrap();
    }
    let begun = Instant::now();
    let store = open(base).await;
    let time = begun.elapsed();
    println!(
        "{} events of {streams} streams in {time:?}",
        streams * events
    );
    assert!(time < Duration::from_secs(30), "{time:?}");
    let expected: Vec<_> = (0..events).map(|number| 7 * events + number).collect();
    assert_eq!(amounts(&store, "7").await, expected);
    let seen = store.projection::<Deposits>().await.unwrap();
    assert_eq!(seen.seen.len() as u64, streams * events);
    store.close().await.unwrap();
}
