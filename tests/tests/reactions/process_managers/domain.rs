//! Orders that tell what happens, a saga with an instance for each, and logs of what it sends; and what has to be in these logs.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use eventfold_es::clock::ManualClock;
use eventfold_es::prelude::*;
use eventfold_es::store::AggregateStoreBuilder;
use eventfold_es::{Backoff, RunMode};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum OrderEvent {
    /// Starts the instance.
    Started { key: String },
    /// One log gets two entries, another one, for the open instance.
    Continued { key: String, tag: String },
    /// The instance sends a last entry and completes.
    Finished { key: String },
    /// Goes to many instances, which it may start.
    Fanned { keys: Vec<String> },
    /// Arms the deadline, which the finish disarms.
    Armed { key: String },
    /// Disarms a deadline, which need not be there.
    Disarmed { key: String },
    /// Panics, until the key is mended.
    Poisoned { key: String },
    /// Sends what is refused.
    Refused { key: String, tag: String },
    /// Sends what is refused, and then what makes it good, which is refused too.
    Compensated { key: String },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tell(pub OrderEvent);

#[aggregate(command = Tell, error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Order;

impl Decider for Order {
    fn decide(&self, command: Tell) -> Result<Vec<OrderEvent>, Infallible> {
        Ok(vec![command.0])
    }

    fn evolve(&mut self, _: &OrderEvent) {}
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum LogCommand {
    Append { tag: String },
    Refuse { tag: String, compensate: bool },
    Open,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum LogEvent {
    Appended { tag: String },
    Opened,
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("`{tag}` is refused")]
pub struct Refusal {
    pub tag: String,
    pub compensate: bool,
}

#[aggregate(error = Refusal)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Log {
    pub tags: Vec<String>,
    pub is_open: bool,
}

impl Decider for Log {
    fn decide(&self, command: LogCommand) -> Result<Vec<LogEvent>, Refusal> {
        match command {
            LogCommand::Append { tag } => Ok(vec![LogEvent::Appended { tag }]),
            LogCommand::Refuse { tag, compensate } if !self.is_open || compensate => {
                Err(Refusal { tag, compensate })
            }
            LogCommand::Refuse { tag, .. } => Ok(vec![LogEvent::Appended { tag }]),
            LogCommand::Open => Ok(vec![LogEvent::Opened]),
        }
    }

    fn evolve(&mut self, event: &LogEvent) {
        match event {
            LogEvent::Appended { tag } => self.tags.push(tag.clone()),
            LogEvent::Opened => self.is_open = true,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Due;

#[process_manager(
    subscribes = [Order],
    dispatches = [Log],
    key = String,
    deadlines = [Due],
    on_failure
)]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Saga {
    pub seen: u64,
}

impl Correlate<Order> for Saga {
    fn correlate(event: &OrderEvent, _cx: &EventContext<'_>) -> Correlation<String> {
        match event {
            OrderEvent::Started { key } => Correlation::starts(key.clone()),
            OrderEvent::Fanned { keys } => {
                Correlation::each(keys.iter().cloned().map(Correlation::starts_or_continues))
            }
            OrderEvent::Continued { key, .. }
            | OrderEvent::Finished { key }
            | OrderEvent::Armed { key }
            | OrderEvent::Disarmed { key }
            | OrderEvent::Poisoned { key }
            | OrderEvent::Refused { key, .. }
            | OrderEvent::Compensated { key } => Correlation::continues(key.clone()),
        }
    }
}

static MENDED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// From now on the key is not poisonous.
pub fn mend(key: &str) {
    let mut mended = MENDED.lock().unwrap_or_else(PoisonError::into_inner);
    mended.insert(key.to_owned());
}

fn is_mended(key: &str) -> bool {
    let mended = MENDED.lock().unwrap_or_else(PoisonError::into_inner);
    mended.contains(key)
}

pub const SHARED: &str = "shared";
pub const TIME: Duration = Duration::from_secs(60);

fn append(tag: impl Into<String>) -> LogCommand {
    let tag = tag.into();
    LogCommand::Append { tag }
}

impl React<Order> for Saga {
    fn react(&mut self, event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
        self.seen += 1;
        let key = cx.key().clone();
        match event {
            OrderEvent::Started { .. } => cx.send(key, append("start")),
            OrderEvent::Continued { tag, .. } => {
                cx.send(key.clone(), append(tag.clone()));
                cx.send(SHARED, append(format!("{key}/{tag}")));
                cx.send(key, append(format!("{tag} of {}", self.seen)));
            }
            OrderEvent::Finished { .. } => {
                cx.send(key, append(format!("finish of {}", self.seen)));
                cx.complete();
            }
            OrderEvent::Fanned { .. } => cx.send(key, append("fan")),
            OrderEvent::Armed { .. } => cx.schedule("due", Deadline::after(TIME), Due),
            OrderEvent::Disarmed { .. } => cx.cancel("due"),
            OrderEvent::Poisoned { .. } => {
                assert!(is_mended(&key), "it is poison");
                cx.send(key, append("cured"));
            }
            OrderEvent::Refused { tag, .. } => {
                let tag = tag.clone();
                let compensate = false;
                cx.send(key, LogCommand::Refuse { tag, compensate });
            }
            OrderEvent::Compensated { .. } => {
                let (tag, compensate) = ("first".to_owned(), true);
                cx.send(key, LogCommand::Refuse { tag, compensate });
            }
        }
    }
}

impl OnDeadline<Due> for Saga {
    fn on_deadline(&mut self, _message: Due, cx: &mut Reaction<'_, Self>) {
        self.seen += 1;
        cx.send(cx.key().clone(), append("due"));
    }
}

impl HandleFailure for Saga {
    fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
        match failure.rejection::<Refusal>() {
            Some(Refusal {
                tag,
                compensate: true,
            }) if tag == "first" => {
                let (tag, compensate) = ("second".to_owned(), true);
                FailureAction::compensate(failure.key, LogCommand::Refuse { tag, compensate })
            }
            Some(Refusal { tag, .. }) if tag == "retried" => {
                FailureAction::Retry(Backoff::exponential(TIME).jitter(0.0))
            }
            _ => FailureAction::default_for(failure),
        }
    }
}

/// What happened, in order, and what the logs got, in order.
#[projection(subscribes = [Order])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Told {
    pub events: Vec<OrderEvent>,
}

impl Project<Order> for Told {
    fn project(&mut self, event: &OrderEvent, _cx: &EventContext<'_>) {
        self.events.push(event.clone());
    }
}

pub type Logs = BTreeMap<String, Vec<String>>;

/// What the logs have to hold, if time stands still, nothing is poisoned and nothing is refused.
pub fn expected(events: &[OrderEvent]) -> Logs {
    let mut open: BTreeMap<String, u64> = BTreeMap::new();
    let mut logs = Logs::new();
    for event in events {
        let keys: Vec<_> = match event {
            OrderEvent::Started { key } if open.contains_key(key) => continue,
            OrderEvent::Started { key } => vec![key],
            OrderEvent::Fanned { keys } => {
                let mut seen = BTreeSet::new();
                keys.iter().filter(|key| seen.insert(*key)).collect()
            }
            OrderEvent::Continued { key, .. }
            | OrderEvent::Finished { key }
            | OrderEvent::Armed { key }
            | OrderEvent::Disarmed { key }
            | OrderEvent::Poisoned { key }
            | OrderEvent::Refused { key, .. }
            | OrderEvent::Compensated { key } => {
                open.keys().filter(|open| *open == key).collect::<Vec<_>>()
            }
        };
        let keys: Vec<String> = keys.into_iter().cloned().collect();
        for key in keys {
            let seen = open.entry(key.clone()).or_default();
            *seen += 1;
            let seen = *seen;
            let mut log = |id: &str, tag: String| logs.entry(id.to_owned()).or_default().push(tag);
            match event {
                OrderEvent::Started { .. } => log(&key, "start".to_owned()),
                OrderEvent::Continued { tag, .. } => {
                    log(&key, tag.clone());
                    log(SHARED, format!("{key}/{tag}"));
                    log(&key, format!("{tag} of {seen}"));
                }
                OrderEvent::Finished { .. } => {
                    log(&key, format!("finish of {seen}"));
                    open.remove(&key);
                }
                OrderEvent::Fanned { .. } => log(&key, "fan".to_owned()),
                OrderEvent::Armed { .. } | OrderEvent::Disarmed { .. } => {}
                OrderEvent::Poisoned { .. } => log(&key, "cured".to_owned()),
                OrderEvent::Refused { .. } | OrderEvent::Compensated { .. } => {}
            }
        }
    }
    logs
}

/// What the logs hold.
pub async fn logs(store: &AggregateStore) -> Logs {
    let mut logs = Logs::new();
    for (_, id) in store.list_streams(Some("log")).await.unwrap() {
        let log = store.get::<Log>(&id).await.unwrap().state().await.unwrap();
        if !log.tags.is_empty() {
            logs.insert(id, log.tags);
        }
    }
    logs
}

/// Each event was reacted to exactly once, and in order.
#[track_caller]
pub fn exactly_once(store: &AggregateStore) -> impl Future<Output = Vec<OrderEvent>> {
    let store = store.clone();
    async move {
        let events = told(&store).await;
        assert_eq!(logs(&store).await, expected(&events), "after {events:?}");
        events
    }
}

pub async fn told(store: &AggregateStore) -> Vec<OrderEvent> {
    store.projection::<Told>().await.unwrap().events.clone()
}

pub async fn tell(store: &AggregateStore, event: OrderEvent) {
    let told = store.send("orders", Tell(event), CommandContext::default());
    told.await.unwrap();
}

pub async fn log_of(store: &AggregateStore, key: &str) -> Vec<String> {
    store
        .get::<Log>(key)
        .await
        .unwrap()
        .state()
        .await
        .unwrap()
        .tags
}

pub fn started(key: &str) -> OrderEvent {
    let key = key.to_owned();
    OrderEvent::Started { key }
}

pub fn continued(key: &str, tag: &str) -> OrderEvent {
    let (key, tag) = (key.to_owned(), tag.to_owned());
    OrderEvent::Continued { key, tag }
}

pub fn finished(key: &str) -> OrderEvent {
    let key = key.to_owned();
    OrderEvent::Finished { key }
}

pub fn armed(key: &str) -> OrderEvent {
    let key = key.to_owned();
    OrderEvent::Armed { key }
}

pub fn disarmed(key: &str) -> OrderEvent {
    let key = key.to_owned();
    OrderEvent::Disarmed { key }
}

pub fn poisoned(key: &str) -> OrderEvent {
    let key = key.to_owned();
    OrderEvent::Poisoned { key }
}

pub fn refused(key: &str, tag: &str) -> OrderEvent {
    let (key, tag) = (key.to_owned(), tag.to_owned());
    OrderEvent::Refused { key, tag }
}

pub fn fanned(keys: &[&str]) -> OrderEvent {
    let keys = keys.iter().map(|key| (*key).to_owned()).collect();
    OrderEvent::Fanned { keys }
}

/// When it is at first.
pub fn beginning() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

/// A clock that stands.
pub fn clock() -> ManualClock {
    ManualClock::new(beginning())
}

/// A store with the saga, whose time is told by `clock`.
pub fn with_saga(
    builder: AggregateStoreBuilder,
    clock: &ManualClock,
    mode: RunMode,
) -> AggregateStoreBuilder {
    builder
        .process_manager::<Saga>()
        .projection::<Told>()
        // Files of streams are written between the crash points, not at the end only.
        .clock(clock.clone())
        .run_mode(mode)
}
