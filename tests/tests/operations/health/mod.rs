//! What a store says of itself: its health, and its spans and lines in the log.

mod logged;
mod nodes;
mod reported;

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use eventfold_es::prelude::*;

/// What a parcel is to do with the courier.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum How {
    Well,
    /// Its delivery panics.
    Panics,
    /// Nobody opens, now and later.
    Rejected,
    /// The door is tried again in an hour.
    Later,
    /// The projection panics.
    Uncounted,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ParcelCommand {
    Send { to: String, how: How },
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum ParcelEvent {
    Sent { to: String, how: How },
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Parcel;

impl Decider for Parcel {
    fn decide(&self, command: ParcelCommand) -> Result<Vec<ParcelEvent>, Infallible> {
        let ParcelCommand::Send { to, how } = command;
        tracing::debug!(to, "a parcel is packed");
        Ok(vec![ParcelEvent::Sent { to, how }])
    }

    fn evolve(&mut self, _event: &ParcelEvent) {}
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum DoorCommand {
    Knock,
    Force,
}

#[derive(Debug, Clone, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum DoorEvent {
    Knocked,
}

#[derive(Debug, thiserror::Error)]
#[error("nobody opens")]
pub struct NobodyOpens;

#[aggregate(error = NobodyOpens)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Door;

impl Decider for Door {
    fn decide(&self, command: DoorCommand) -> Result<Vec<DoorEvent>, NobodyOpens> {
        match command {
            DoorCommand::Knock => Ok(vec![DoorEvent::Knocked]),
            DoorCommand::Force => Err(NobodyOpens),
        }
    }

    fn evolve(&mut self, _event: &DoorEvent) {}
}

#[process_manager(subscribes = [Parcel], dispatches = [Door], key = String, on_failure)]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Courier;

impl Correlate<Parcel> for Courier {
    fn correlate(event: &ParcelEvent, _cx: &EventContext<'_>) -> Correlation<String> {
        let ParcelEvent::Sent { to, .. } = event;
        Correlation::starts_or_continues(to.clone())
    }
}

impl React<Parcel> for Courier {
    fn react(&mut self, event: &ParcelEvent, cx: &mut Reaction<'_, Self>) {
        tracing::warn!("the courier is on the way");
        let ParcelEvent::Sent { to, how } = event;
        match how {
            How::Panics => panic!("the courier falls"),
            How::Rejected | How::Later => cx.send(to.clone(), DoorCommand::Force),
            How::Well | How::Uncounted => cx.send(to.clone(), DoorCommand::Knock),
        }
    }
}

impl HandleFailure for Courier {
    fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
        match failure.key {
            "later" => FailureAction::Retry(Backoff::exponential(Duration::from_secs(3600))),
            _ => FailureAction::default_for(failure),
        }
    }
}

#[projection(subscribes = [Parcel])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Sent(u64);

impl Project<Parcel> for Sent {
    fn project(&mut self, event: &ParcelEvent, _cx: &EventContext<'_>) {
        let ParcelEvent::Sent { how, .. } = event;
        assert!(*how != How::Uncounted, "it cannot be counted");
        self.0 += 1;
    }
}

pub fn builder(base: &Path) -> eventfold_es::AggregateStoreBuilder {
    AggregateStore::builder(base)
        .process_manager::<Courier>()
        .projection::<Sent>()
}

pub async fn send(store: &AggregateStore, to: &str, how: How) {
    let to = to.to_owned();
    let command = ParcelCommand::Send { to, how };
    store.send("p-1", command, ()).await.unwrap();
}
