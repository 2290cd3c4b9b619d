//! Where a process manager stays as a whole: what comes after somebody was told of it comes behind it, after any crash.

use eventfold_es::RunMode;
use eventfold_es_tests::campaign::fewest;

use crate::process_managers::domain::log_of;
use crate::process_managers::interrupted::{interrupt, is_noted};
use crate::process_managers::operator::{close, handle, verified};
use crate::process_managers::worker::{BrokenSolo, MendedSolo, TIME, clock, said, say, with};

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn what_comes_after_a_deadline_at_which_all_stay_comes_behind_it() {
    for mode in [RunMode::Inline, RunMode::OnDemand] {
        let points = interrupt(
            async |builder| {
                let store = with::<BrokenSolo>(builder, &clock(), mode);
                let store = store.open().await.unwrap();
                say(&store, "a", "arm poison").await;
                store.run_process_managers().await.unwrap();
                close(store).await;
            },
            async |builder, notes| {
                let time = clock();
                let store = with::<BrokenSolo>(builder, &time, mode)
                    .open()
                    .await
                    .unwrap();
                time.advance(TIME);
                store.run_process_managers().await.unwrap();
                let status = handle::<BrokenSolo>(&store).status().await.unwrap();
                assert!(status.parked_at.is_some());
                notes.note("parked");
                say(&store, "a", "one").await;
                notes.note("one");
                store.run_process_managers().await.unwrap();
                close(store).await;
            },
            async |disk, noted| {
                let time = clock();
                time.advance(TIME);
                let store = with::<MendedSolo>(disk.builder(), &time, mode);
                let store = store.open().await.unwrap();
                store.run_process_managers().await.unwrap();
                let solo = handle::<MendedSolo>(&store);
                solo.settle().await.unwrap();
                let told = said(&store, "a").await.len();
                assert!(told == 2 || !is_noted(noted, "one"));
                assert_eq!(log_of(&store, "solo").await, ["poison", "one of 3"][..told]);
                let status = solo.status().await.unwrap();
                assert_eq!((status.parked_at, status.deadlines), (None, 0));
                drop(solo);
                verified(store).await;
            },
        );
        assert!(points.await >= fewest());
    }
}
