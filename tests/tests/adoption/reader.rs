use eventfold_es_tests::crash::scratch;

use super::domain::*;

/// What this version writes stays readable for eventfold 0.2.0, stream by stream.
#[tokio::test]
async fn every_stream_reads_back_with_its_reader() {
    let place = scratch();
    let base = place.path();
    let store = builder(base)
        .run_mode(eventfold_es::RunMode::Inline)
        .open()
        .await
        .unwrap();
    for (id, amount) in [("a", 1), ("Ä/b", 2), ("a", 3), ("A", 4)] {
        deposit(&store, id, amount).await;
    }
    let many = AccountCommand::DepositMany((100..200).collect());
    store
        .send("a", many, eventfold_es::CommandContext::default())
        .await
        .unwrap();
    let streams = store.list_streams(None).await.unwrap();
    assert_eq!(streams.len(), 6);
    let mut stored = Vec::new();
    for (aggregate_type, id) in streams {
        stored.push(store.read_events(&aggregate_type, &id).await.unwrap());
    }
    store.close().await.unwrap();
    let mut read_back = Vec::new();
    for log in logs(base) {
        let reader = eventfold::EventReader::new(log.parent().unwrap());
        let active: Vec<_> = reader
            .read_from(0)
            .unwrap()
            .map(|event| event.unwrap().0)
            .collect();
        let full: Vec<_> = reader
            .read_full()
            .unwrap()
            .map(|event| event.unwrap().0)
            .collect();
        assert_eq!(active, full);
        read_back.push(active);
    }
    let key = |events: &Vec<eventfold::Event>| events[0].id.clone();
    stored.sort_by_key(key);
    read_back.sort_by_key(key);
    assert_eq!(read_back, stored);
}
