//! A process manager that writes down everything that it is told, and what it has to have written in the end.

use std::collections::{BTreeMap, BTreeSet};

use eventfold_es::Backoff;
use eventfold_es::prelude::*;

use crate::process_managers::domain::{Log, Refusal};
use crate::process_managers::worker::{Alarm, Post, PostEvent, TIME, append, refuse, words};

/// Where everything is written down once more, by all.
pub const SHARED: &str = "shared";

/// What is said on any of several posts is an operation, the key of an instance, and a number that nothing else has.
///
/// | operation | what is done |
/// |---|---|
/// | `start`, `go`, `either` | as the correlation of this name |
/// | `all` | the same as `either`, for all instances |
/// | `end` | completes |
/// | `arm`, `disarm` | a deadline, which is written down when it is reached |
/// | `refuse`, `retry`, `park` | sends what is refused until the log is open: a dead letter, tried again, or parked |
#[process_manager(
    subscribes = [Post],
    dispatches = [Log],
    key = String,
    deadlines = [Alarm],
    on_failure
)]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Keeper {
    seen: u64,
}

/// The keys of the instances. The last one is never parked.
pub const KEYS: [&str; 3] = ["a", "b", "c"];

fn parts(said: &str) -> (&str, &str, &str) {
    let (operation, rest) = words(said);
    let (key, number) = words(rest);
    (operation, key, number)
}

impl Correlate<Post> for Keeper {
    fn correlate(PostEvent::Said(said): &PostEvent, _cx: &EventContext<'_>) -> Correlation<String> {
        let (operation, key, _) = parts(said);
        let key = key.to_owned();
        match operation {
            "start" => Correlation::starts(key),
            "either" => Correlation::starts_or_continues(key),
            "all" => {
                Correlation::each(KEYS.map(|key| Correlation::starts_or_continues(key.to_owned())))
            }
            _ => Correlation::continues(key),
        }
    }
}

impl React<Post> for Keeper {
    fn react(&mut self, PostEvent::Said(said): &PostEvent, cx: &mut Reaction<'_, Self>) {
        self.seen += 1;
        let (operation, _, number) = parts(said);
        let key = cx.key().clone();
        cx.send(
            key.clone(),
            append(&format!("{operation} {number} of {}", self.seen)),
        );
        match operation {
            "go" | "all" => cx.send(SHARED, append(&format!("{key} {number}"))),
            "end" => cx.complete(),
            "arm" => {
                let text = number.to_owned();
                cx.schedule("alarm", Deadline::after(TIME), Alarm { text });
            }
            "disarm" => cx.cancel("alarm"),
            "refuse" | "retry" | "park" => {
                cx.send(key.clone(), refuse(&format!("{operation}d {number}")));
            }
            _ => {}
        }
    }
}

impl OnDeadline<Alarm> for Keeper {
    fn on_deadline(&mut self, Alarm { text }: Alarm, cx: &mut Reaction<'_, Self>) {
        cx.send(cx.key().clone(), append(&format!("due {text}")));
    }
}

impl HandleFailure for Keeper {
    fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
        let tag = failure
            .rejection::<Refusal>()
            .map(|refusal| words(&refusal.tag).0);
        match tag {
            Some("retryd") => FailureAction::Retry(Backoff::exponential(TIME).jitter(0.0)),
            Some("parkd") => FailureAction::Park,
            _ => FailureAction::default_for(failure),
        }
    }
}

/// Everything that was said, over all posts, in its order.
#[projection(subscribes = [Post])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Told {
    pub said: Vec<String>,
}

impl Project<Post> for Told {
    fn project(&mut self, PostEvent::Said(said): &PostEvent, _cx: &EventContext<'_>) {
        self.said.push(said.clone());
    }
}

/// What has to be written down.
#[derive(Debug, Default)]
struct Expected {
    /// In this order, what an instance does itself.
    log: BTreeMap<&'static str, Vec<String>>,
    /// At any time after it was sent, once.
    later: BTreeSet<String>,
    shared: BTreeMap<&'static str, Vec<String>>,
    open: BTreeMap<&'static str, bool>,
}

fn expected(said: &[String]) -> Expected {
    let mut expected = Expected::default();
    let mut open: BTreeMap<&str, u64> = BTreeMap::new();
    for said in said {
        let (operation, key, number) = parts(said);
        let for_all = operation == "all";
        for known in KEYS.into_iter().filter(|known| for_all || *known == key) {
            let is_open = open.contains_key(known);
            let reacts = match operation {
                "start" => !is_open,
                "either" | "all" => true,
                _ => is_open,
            };
            if !reacts {
                continue;
            }
            let seen = open.entry(known).or_default();
            *seen += 1;
            let log = expected.log.entry(known).or_default();
            log.push(format!("{operation} {number} of {seen}"));
            match operation {
                "go" | "all" => {
                    let shared = expected.shared.entry(known).or_default();
                    shared.push(format!("{known} {number}"));
                }
                "park" => log.push(format!("parkd {number}")),
                "refuse" | "retry" => drop(expected.later.insert(format!("{operation}d {number}"))),
                "end" => drop(open.remove(known)),
                _ => {}
            }
        }
    }
    expected.open = KEYS
        .into_iter()
        .map(|key| (key, open.contains_key(key)))
        .collect();
    expected
}

async fn log(store: &AggregateStore, id: &str) -> Vec<String> {
    store
        .get::<Log>(id)
        .await
        .unwrap()
        .state()
        .await
        .unwrap()
        .tags
}

/// Each event was reacted to exactly once, and in order, each deadline that was not cancelled was reached once, and what failed has
/// happened once.
pub async fn check(store: &AggregateStore, said: &[String], what: &str) {
    let expected = expected(said);
    let mut later = BTreeSet::new();
    let shared = log(store, SHARED).await;
    let handle = store.process_manager::<Keeper>().unwrap();
    for key in KEYS {
        let found = log(store, key).await;
        let mut own = Vec::new();
        let mut armed: Option<String> = None;
        for tag in &found {
            let (operation, number) = words(tag);
            match operation {
                "refused" | "retryd" => {
                    assert!(
                        later.insert(tag.clone()),
                        "{what}: {tag} twice in {found:?}"
                    );
                    continue;
                }
                "due" => {
                    assert_eq!(armed.take().as_deref(), Some(number), "{what}: {found:?}");
                    continue;
                }
                "arm" => armed = Some(words(number).0.to_owned()),
                "disarm" | "end" => armed = None,
                _ => {}
            }
            own.push(tag.clone());
        }
        assert_eq!(armed, None, "{what}: it is long due in {found:?}");
        let due = expected.log.get(key).cloned().unwrap_or_default();
        assert_eq!(own, due, "{what}: {key} after {said:?}");
        let prefix = format!("{key} ");
        let shared = shared.iter().filter(|tag| tag.starts_with(&prefix));
        let shared: Vec<_> = shared.cloned().collect();
        let due = expected.shared.get(key).cloned().unwrap_or_default();
        assert_eq!(shared, due, "{what}: {key} after {said:?}");
        let instance = handle.instance(key).await.unwrap();
        let is_open = instance.is_some_and(|instance| {
            assert_eq!(instance.deadlines, [], "{what}: {key}");
            instance.status == eventfold_es::store::InstanceStatus::Open
        });
        assert_eq!(is_open, expected.open[key], "{what}: {key} after {said:?}");
    }
    assert_eq!(later, expected.later, "{what}: after {said:?}");
    let status = handle.status().await.unwrap();
    let left = (
        status.deadlines,
        status.retrying,
        status.dead_letters,
        status.instances.parked,
    );
    assert_eq!(left, (0, 0, 0, 0), "{what}: {status:?}");
}
