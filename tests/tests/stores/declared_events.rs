//! The enum of the events of a declared store.

use std::convert::Infallible;

use eventfold_es::prelude::*;
use eventfold_es_tests::TestResult;

use crate::filters::{Item, items};
use crate::subscriptions::{Door, DoorCommand, DoorEvent, Lamp, LampCommand, LampEvent};

#[event_store(aggregates = [Lamp, Door, Item])]
struct House;

#[tokio::test]
async fn the_events_of_a_declared_store_are_one_enum() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = House::open(base.path()).await?;
    store.send("hall", LampCommand::Switch(2), ()).await?;
    store.send("front", DoorCommand::Open, ()).await?;
    store.send("b", BellCommand::Ring, ()).await?;
    items(&store).await?;
    let mut events = House::subscribe(&store).after(1).until_now();
    let mut found = Vec::new();
    while let Some(event) = events.next().await {
        let event = event?;
        found.push((
            event.position(),
            match event.event {
                HouseEvent::Lamp(LampEvent::Switched { time }) => format!("lamp {time}"),
                HouseEvent::Lamp(LampEvent::Broken) => "broken".to_owned(),
                HouseEvent::Door(DoorEvent::Opened) => "door".to_owned(),
                HouseEvent::Item(item) => format!("item {}", item.event_type()),
            },
        ));
    }
    let expected = [
        (2, "lamp 1"),
        (3, "door"),
        // The bell is not of this house.
        (5, "item Added"),
        (6, "item Added"),
        (7, "item Changed"),
        (8, "item Moved"),
        (9, "item Changed"),
        (10, "item Moved"),
        (11, "item Added"),
    ];
    let expected = expected.map(|(position, event)| (position, event.to_owned()));
    assert_eq!(found, expected);
    store.close().await?;
    Ok(())
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum BellCommand {
    Ring,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum BellEvent {
    Rung,
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Bell;

impl Decider for Bell {
    fn decide(&self, BellCommand::Ring: BellCommand) -> Result<Vec<BellEvent>, Infallible> {
        Ok(vec![BellEvent::Rung])
    }

    fn evolve(&mut self, _: &BellEvent) {}
}
