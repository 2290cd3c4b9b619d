//! `start = "now"`: what was there before is not reacted to, and everything behind it is, once.

use eventfold_es::RunMode;
use eventfold_es::prelude::*;
use eventfold_es::testing::MemoryDisk;
use eventfold_es_tests::campaign::fewest;

use crate::process_managers::domain::{Log, log_of};
use crate::process_managers::interrupted::{interrupt, is_noted};
use crate::process_managers::worker::{Post, PostEvent, append, clock, said, say, with};

#[process_manager(subscribes = [Post], dispatches = [Log], start = "now", name = "late")]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Late {
    seen: u64,
}

impl React<Post> for Late {
    fn react(&mut self, event: &PostEvent, cx: &mut Reaction<'_, Self>) {
        let PostEvent::Said(words) = event;
        self.seen += 1;
        cx.send("late", append(&format!("{words} as {}", self.seen)));
    }
}

#[process_manager(subscribes = [Post], dispatches = [Log], key = String, start = "now", name = "late")]
#[derive(Debug, Default, Serialize, Deserialize)]
struct LateKeyed {
    seen: u64,
}

impl Correlate<Post> for LateKeyed {
    fn correlate(_event: &PostEvent, cx: &EventContext<'_>) -> Correlation<String> {
        Correlation::starts_or_continues(cx.stream_id().to_owned())
    }
}

impl React<Post> for LateKeyed {
    fn react(&mut self, event: &PostEvent, cx: &mut Reaction<'_, Self>) {
        let PostEvent::Said(words) = event;
        self.seen += 1;
        cx.send("late", append(&format!("{words} as {}", self.seen)));
    }
}

/// The same from the origin, under its name.
#[process_manager(subscribes = [Post], dispatches = [Log], name = "late")]
#[derive(Debug, Default, Serialize, Deserialize)]
struct FromTheOrigin {
    seen: u64,
}

impl React<Post> for FromTheOrigin {
    fn react(&mut self, event: &PostEvent, cx: &mut Reaction<'_, Self>) {
        let PostEvent::Said(words) = event;
        self.seen += 1;
        cx.send("late", append(&format!("{words} as {}", self.seen)));
    }
}

const OLD: [&str; 3] = ["old 1", "old 2", "old 3"];

async fn only_new_events_are_reacted_to<PM: ProcessManager>(mode: RunMode) {
    let disk = MemoryDisk::new();
    let store = disk.builder().open().await.unwrap();
    for words in OLD {
        say(&store, "a", words).await;
    }
    store.close().await.unwrap();
    let store = with::<PM>(disk.builder(), &clock(), mode)
        .open()
        .await
        .unwrap();
    store.run_process_managers().await.unwrap();
    assert_eq!(log_of(&store, "late").await, [""; 0], "{mode:?}");
    let late = store.process_manager::<PM>().unwrap();
    assert_eq!(late.status().await.unwrap().lag, 0);
    say(&store, "a", "new").await;
    store.run_process_managers().await.unwrap();
    assert_eq!(log_of(&store, "late").await, ["new as 1"], "{mode:?}");
    drop(late);
    store.close().await.unwrap();

    // What happens while it is not there is not before its start.
    let store = disk.builder().open().await.unwrap();
    say(&store, "a", "meanwhile").await;
    store.close().await.unwrap();
    for _ in 0..2 {
        let store = with::<PM>(disk.builder(), &clock(), mode)
            .open()
            .await
            .unwrap();
        store.run_process_managers().await.unwrap();
        let log = log_of(&store, "late").await;
        assert_eq!(log, ["new as 1", "meanwhile as 2"], "{mode:?}");
        store.close().await.unwrap();
    }
    // Nor is anything lost with what is derived.
    for path in [
        "meta/checkpoint.json",
        "process_managers/late/checkpoint.json",
    ] {
        use eventfold_es::disk::Disk;
        disk.remove_file(&disk.root().join(path)).unwrap();
    }
    let store = with::<PM>(disk.builder(), &clock(), mode)
        .open()
        .await
        .unwrap();
    store.run_process_managers().await.unwrap();
    assert_eq!(log_of(&store, "late").await.len(), 2, "{mode:?}");
    store.close().await.unwrap();
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_process_manager_that_starts_now_reacts_to_new_events_only() {
    for mode in [RunMode::Inline, RunMode::Background, RunMode::OnDemand] {
        only_new_events_are_reacted_to::<Late>(mode).await;
        only_new_events_are_reacted_to::<LateKeyed>(mode).await;
    }
}

async fn the_starting_point_survives<PM: ProcessManager>() {
    let points = interrupt(
        async |builder| {
            let store = builder.open().await.unwrap();
            for words in OLD {
                say(&store, "a", words).await;
            }
            store.close().await.unwrap();
        },
        async |builder, notes| {
            let store = with::<PM>(builder, &clock(), RunMode::OnDemand)
                .open()
                .await
                .unwrap();
            notes.note("opened");
            // The first event is the first thing behind the registration.
            say(&store, "a", "new").await;
            notes.note("new");
            store.run_process_managers().await.unwrap();
            store.close().await.unwrap();
        },
        async |disk, noted| {
            let store = with::<PM>(disk.builder(), &clock(), RunMode::OnDemand)
                .open()
                .await
                .unwrap();
            store.run_process_managers().await.unwrap();
            let new = usize::from(said(&store, "a").await.len() == 4);
            assert!(new == 1 || !is_noted(noted, "new"));
            let expected = ["new as 1".to_owned(), format!("newer as {}", new + 1)];
            assert_eq!(log_of(&store, "late").await, expected[..new]);
            say(&store, "a", "newer").await;
            store.run_process_managers().await.unwrap();
            assert_eq!(log_of(&store, "late").await, expected[1 - new..]);
            store.close().await.unwrap();
        },
    );
    assert!(points.await >= fewest());
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn the_starting_point_survives_a_crash_before_the_first_event() {
    the_starting_point_survives::<Late>().await;
    the_starting_point_survives::<LateKeyed>().await;
}

/// One that the store knows goes on where it stands, whatever is declared later.
#[tokio::test]
async fn a_process_manager_that_is_known_does_not_start_again() {
    let disk = MemoryDisk::new();
    let open = |mode| with::<FromTheOrigin>(disk.builder(), &clock(), mode).open();
    let store = open(RunMode::Inline).await.unwrap();
    say(&store, "a", "one").await;
    store.close().await.unwrap();
    let store = open(RunMode::OnDemand).await.unwrap();
    say(&store, "a", "two").await;
    store.close().await.unwrap();
    let store = with::<Late>(disk.builder(), &clock(), RunMode::Inline)
        .open()
        .await
        .unwrap();
    store.run_process_managers().await.unwrap();
    assert_eq!(log_of(&store, "late").await, ["one as 1", "two as 2"]);
    store.close().await.unwrap();
}
