//! All that can be read from a store, to be compared with what is read after somebody was at its files.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use eventfold::Event;
use eventfold_es::disk::SystemDisk;
use eventfold_es::prelude::*;
use eventfold_es::store::ProcessManagerReport;
use eventfold_es::{DeadLetter, OpenError, RunMode, StoreError};
use eventfold_es_tests::crash::builder;
use eventfold_es_tests::crash::domain::{Chain, Fanout, Journalist, Ledger, Tally, Target};

/// What a store shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Everything {
    streams: BTreeMap<(String, String), Vec<Event>>,
    states: Vec<String>,
    letters: [Vec<DeadLetter>; 2],
    projection: std::sync::Arc<Tally>,
}

/// What came of damaging a file.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Everything is as it was.
    Harmless,
    /// An error named the file.
    Detected,
}

pub async fn open(store: &Path) -> Result<AggregateStore, OpenError> {
    let builder = builder(store, Arc::new(SystemDisk), true);
    builder.run_mode(RunMode::OnDemand).open().await
}

impl Everything {
    /// Reads all of it; the first error otherwise. An error is a refusal to say something wrong.
    pub async fn read(store: &AggregateStore) -> Result<Self, StoreError> {
        let mut streams = BTreeMap::new();
        let mut states = Vec::new();
        for (aggregate_type, id) in store.list_streams(None).await? {
            let events = store.read_events(&aggregate_type, &id).await?;
            states.push(match aggregate_type.as_str() {
                "ledger" => state::<Ledger>(store, &id).await?,
                "target" => state::<Target>(store, &id).await?,
                _ => state::<Journalist>(store, &id).await?,
            });
            streams.insert((aggregate_type, id), events);
        }
        let fanout = store.dead_letters::<Fanout>().await?;
        let chain = store.dead_letters::<Chain>().await?;
        Ok(Self {
            streams,
            states,
            letters: [fanout, chain],
            projection: store.projection::<Tally>().await?,
        })
    }

    /// Opens a directory of which `file` was changed, and reads everything twice, the second time with the projection built
    /// anew and the process managers run: never is anything shown that is not as it was, and nothing is dispatched.
    pub async fn compare(&self, store: &Path, file: &Path) -> Result<Outcome, String> {
        let store = match open(store).await {
            Ok(store) => store,
            Err(OpenError::Damaged(damage)) if damage.path == file => return Ok(Outcome::Detected),
            Err(error) => return Err(format!("opening answers {error}")),
        };
        let compared = self.compare_open(&store, file).await;
        store.close().await.map_err(|error| error.to_string())?;
        compared
    }

    async fn compare_open(&self, store: &AggregateStore, file: &Path) -> Result<Outcome, String> {
        let detected = |error| match error {
            StoreError::Damaged(damage) if damage.path == file => Ok(Outcome::Detected),
            other => Err(format!("reading answers {other}")),
        };
        for _ in 0..2 {
            match Self::read(store).await {
                Ok(read) if read == *self => {}
                Ok(read) => return Err(format!("there is now {read:#?}")),
                Err(error) => return detected(error),
            }
            if let Err(error) = store.rebuild_projection::<Tally>().await {
                return detected(error);
            }
            match store.run_process_managers().await {
                Ok(report) if report == ProcessManagerReport::default() => {}
                Ok(report) => return Err(format!("dispatched again: {report:?}")),
                Err(error) => return detected(error),
            }
        }
        Ok(Outcome::Harmless)
    }
}

async fn state<A: Aggregate + std::fmt::Debug>(
    store: &AggregateStore,
    id: &str,
) -> Result<String, StoreError> {
    let state = store.get::<A>(id).await?.state().await;
    Ok(format!("{:?}", state.map_err(|error| error.source)?))
}
