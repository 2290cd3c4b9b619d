//! Scenario 41: read-only media. Reading works; writing says why not.

use std::sync::Arc;

use eventfold_es::RunMode;
use eventfold_es::disk::SystemDisk;
use eventfold_es::prelude::*;
use eventfold_es_tests::ReadOnlyDisk;
use eventfold_es_tests::crash::domain::{Fanout, Ledger, LedgerCommand, Tally};
use eventfold_es_tests::crash::{Fixture, builder};

#[tokio::test]
async fn scenario_41_read_only_media_can_be_read_and_say_why_they_are_not_written() {
    // Closed, and with commits that its files may not have yet.
    for fixture in [Fixture::closed().await, Fixture::killed().await] {
        let writable = fixture.copy();
        let store = builder(&writable.store(), Arc::new(SystemDisk), true);
        let store = store.run_mode(RunMode::OnDemand).open().await.unwrap();
        let tally = store.projection::<Tally>().await.unwrap();
        let letters = store.dead_letters::<Fanout>().await.unwrap();
        let ids = store.list::<Ledger>().await.unwrap();
        let mut events = Vec::new();
        for id in &ids {
            events.push(store.read_events("ledger", id).await.unwrap());
        }
        store.close().await.unwrap();

        let before = fixture.image();
        let store = builder(&fixture.store(), Arc::new(ReadOnlyDisk::default()), true);
        let store = store.run_mode(RunMode::OnDemand).open().await.unwrap();
        assert_eq!(store.projection::<Tally>().await.unwrap(), tally);
        assert_eq!(store.dead_letters::<Fanout>().await.unwrap(), letters);
        assert_eq!(store.list::<Ledger>().await.unwrap(), ids);
        for (id, events) in ids.iter().zip(&events) {
            assert_eq!(&store.read_events("ledger", id).await.unwrap(), events);
            let ledger = store.get::<Ledger>(id).await.unwrap();
            let state = ledger.state().await.unwrap();
            assert_eq!(state.entries, events.len() as u64);
            let command = LedgerCommand::Put { tag: 999, parts: 1 };
            let refused = ledger.execute(command, CommandContext::default()).await;
            let reason = refused.unwrap_err().to_string();
            assert!(reason.to_lowercase().contains("read-only"), "{reason}");
        }
        store.close().await.unwrap();
        assert_eq!(fixture.image().first_difference(&before), None);
    }
}
