//! Deadlines of several names that became due while their instance was parked.

use std::time::{Duration, SystemTime};

use eventfold_es::prelude::*;
use eventfold_es::testing::MemoryDisk;
use eventfold_es::{ProcessManagerHandle, RunMode};

use crate::process_managers::domain::{Log, log_of};
use crate::process_managers::worker::{
    Post, PostEvent, append, beginning, clock, say, with, words,
};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Bell {
    text: String,
}

/// | what is said on a post | what its instance does |
/// |---|---|
/// | `at` seconds name | arms the deadline of this name, which says where it was armed |
/// | `poison` | a panic, until it is mended |
/// | anything else | appends it |
// Each time it formats this, rustfmt moves the arguments further to the right.
#[rustfmt::skip]
macro_rules! ringer {
    ($name:ident, $is_broken:literal) => {
        #[process_manager(subscribes = [Post], dispatches = [Log], key = String, deadlines = [Bell], name = "ringer")]
        #[derive(Debug, Default, Serialize, Deserialize)]
        pub struct $name {
            pub seen: u64,
        }

        impl Correlate<Post> for $name {
            fn correlate(_event: &PostEvent, cx: &EventContext<'_>) -> Correlation<String> {
                Correlation::starts_or_continues(cx.stream_id().to_owned())
            }
        }

        impl React<Post> for $name {
            fn react(&mut self, PostEvent::Said(said): &PostEvent, cx: &mut Reaction<'_, Self>) {
                self.seen += 1;
                let key = cx.key().clone();
                match words(said) {
                    ("at", rest) => {
                        let (seconds, name) = words(rest);
                        let at = beginning() + Duration::from_secs(seconds.parse().unwrap());
                        let text = format!("{name} of {}", self.seen);
                        cx.schedule(name, Deadline::at(at), Bell { text });
                    }
                    ("poison", _) => {
                        assert!(!$is_broken, "it is poison");
                        cx.send(key, append("cured"));
                    }
                    _ => cx.send(key, append(said)),
                }
            }
        }

        impl OnDeadline<Bell> for $name {
            fn on_deadline(&mut self, Bell { text }: Bell, cx: &mut Reaction<'_, Self>) {
                cx.send(cx.key().clone(), append(&text));
            }
        }
    };
}

ringer!(BrokenRinger, true);
ringer!(MendedRinger, false);

fn handle<PM: ProcessManager>(store: &AggregateStore) -> ProcessManagerHandle<PM> {
    store.process_manager::<PM>().unwrap()
}

/// Lets the broken program see this until `late`, and the mended one release it; what comes of it.
async fn released(says: &[&str], late: SystemTime, held: u64) -> Vec<String> {
    let (disk, time) = (MemoryDisk::new(), clock());
    let store = with::<BrokenRinger>(disk.builder(), &time, RunMode::OnDemand);
    let store = store.open().await.unwrap();
    for said in says {
        say(&store, "a", said).await;
    }
    store.run_process_managers().await.unwrap();
    time.set(late);
    store.run_process_managers().await.unwrap();
    let parked = handle::<BrokenRinger>(&store).parked().await.unwrap();
    assert_eq!(parked[0].held, held);
    store.close().await.unwrap();
    let store = with::<MendedRinger>(disk.builder(), &time, RunMode::OnDemand);
    let store = store.open().await.unwrap();
    let ringer = handle::<MendedRinger>(&store);
    assert_eq!(ringer.release("a").await.unwrap().done as u64, held);
    store.run_process_managers().await.unwrap();
    let log = log_of(&store, "a").await;
    let status = ringer.status().await.unwrap();
    assert_eq!((status.deadlines, status.instances.parked), (0, 0));
    ringer.rebuild_state().await.unwrap();
    assert!(store.verify().await.unwrap().differences.is_empty());
    drop(ringer);
    store.close().await.unwrap();
    log
}

/// They are handled in the order in which they were due, whatever they are called and whenever they were armed.
#[tokio::test]
async fn they_are_handled_in_the_order_in_which_they_were_due() {
    let says = ["at 30 a", "at 10 c", "at 20 b", "poison", "x"];
    let late = beginning() + Duration::from_secs(60);
    let log = released(&says, late, 5).await;
    assert_eq!(log, ["cured", "x", "c of 2", "b of 3", "a of 1"]);
}

/// One that an event before it has armed again, for the same time, is another one: the first does nothing, and the other fires once.
#[tokio::test]
async fn one_that_is_armed_again_for_the_same_time_fires_once() {
    let says = ["at 10 a", "poison", "at 10 a", "x"];
    let late = beginning() + Duration::from_secs(60);
    let log = released(&says, late, 4).await;
    assert_eq!(log, ["cured", "x", "a of 3"]);
}
