use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use eventfold_es::disk::{Disk, RecordingDisk, SlowDisk};
use eventfold_es::prelude::*;
use eventfold_es::store::AggregateStoreBuilder;
use eventfold_es::store::InjectOptions;
use eventfold_es::{ExecuteError, Reactions, RunMode, StoreError, TransactionError};

use super::domain::{Chain, Fanout, Ledger, LedgerCommand, Refused, Tally, TallyRow, Target};
use super::handlers::Post;
use super::instances::{Heavy, Watcher};
use super::note::Note;
use super::retry::{injected, keyed, put_together};

/// The time of a sync in a store whose process managers react by themselves.
const SYNC_TIME: Duration = Duration::from_micros(500);

/// Which process managers of the domain a store has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Members {
    /// None of them.
    None,
    /// Those with one state each.
    Plain,
    /// The one with instances.
    Keyed,
    /// The same, in a later version of the program.
    Rewritten,
    /// None of them, but a projection with rows.
    Rows,
    /// None of them, but an event handler, which [`open_on`] gives.
    Handlers,
}

impl From<bool> for Members {
    fn from(has_some: bool) -> Self {
        if has_some { Self::Plain } else { Self::None }
    }
}

/// A store with the projection of the domain, and with process managers of it.
pub fn builder(
    store: &Path,
    disk: Arc<dyn Disk>,
    process_managers: impl Into<Members>,
) -> AggregateStoreBuilder {
    let builder = AggregateStore::builder(store)
        .disk(disk)
        // Files of streams are written between the commands, not at the end only.
        .projection::<Tally>();
    match process_managers.into() {
        Members::None => builder,
        Members::Plain => builder
            .process_manager::<Fanout>()
            .process_manager::<Chain>(),
        Members::Keyed => builder.process_manager::<Watcher>(),
        Members::Rewritten => builder.process_manager::<Heavy>(),
        Members::Rows => builder.projection::<TallyRow>(),
        Members::Handlers => builder.aggregate_type::<Target>(),
    }
}

/// Opens such a store on a recording disk. If process managers react by themselves, each sync takes the time that reactions
/// need to join the batch of their command.
///
/// # Panics
///
/// If it does not open.
pub async fn open_on(
    recording: &RecordingDisk,
    store: &Path,
    process_managers: impl Into<Members>,
    mode: RunMode,
) -> AggregateStore {
    let process_managers = process_managers.into();
    let disk: Arc<dyn Disk> = Arc::new(recording.clone());
    let disk = match (mode, process_managers) {
        (RunMode::OnDemand, _) | (_, Members::None | Members::Rows) => disk,
        _ => Arc::new(SlowDisk::new(disk, SYNC_TIME)),
    };
    let mut builder = builder(store, disk, process_managers);
    if process_managers == Members::Handlers {
        builder = builder.event_handler(Post::recorded(recording));
    }
    builder
        .run_mode(mode)
        .open()
        .await
        .expect("the store opens")
}

type Teller = Arc<dyn Fn(&Note) + Send + Sync>;

/// Executes commands one after the other and tells what it tries and what is answered.
#[derive(Clone)]
pub struct Client {
    store: AggregateStore,
    tell: Teller,
}

impl Client {
    /// A client that tells what it does.
    pub fn new(store: &AggregateStore, tell: impl Fn(&Note) + Send + Sync + 'static) -> Self {
        Self {
            store: store.clone(),
            tell: Arc::new(tell),
        }
    }

    /// A client that notes what it does among the operations of a recording.
    #[must_use]
    pub fn recorded(store: &AggregateStore, disk: &RecordingDisk) -> Self {
        let disk = disk.clone();
        Self::new(store, move |note| disk.mark(note.label()))
    }

    /// Enters `parts` entries under `tag` into the ledger `id`.
    ///
    /// # Errors
    ///
    /// What the store answers.
    pub async fn put(&self, id: &str, tag: u64, parts: u32) -> Result<(), ExecuteError<Refused>> {
        self.put_with(id, tag, parts, CommandContext::default())
            .await
    }

    /// The same with an idempotency key.
    ///
    /// # Errors
    ///
    /// What the store answers.
    pub async fn put_keyed(
        &self,
        id: &str,
        tag: u64,
        parts: u32,
    ) -> Result<(), ExecuteError<Refused>> {
        (self.tell)(&Note::Keyed { tag });
        self.put_with(id, tag, parts, keyed(tag)).await
    }

    /// Enters several commands, each with its ledger and its parts, in one transaction.
    ///
    /// # Errors
    ///
    /// What the store answers.
    pub async fn put_together(&self, puts: &[(u64, String, u32)]) -> Result<(), TransactionError> {
        for (tag, id, parts) in puts {
            (self.tell)(&Note::Tried {
                tag: *tag,
                id: id.clone(),
                parts: *parts,
            });
        }
        // A crash point can lie between two notes: the transaction is known when all of its commands are. A check that knew
        // it earlier would take a tag of it for its own next command.
        let tags = puts.iter().map(|(tag, ..)| *tag).collect();
        (self.tell)(&Note::Together { tags });
        let done = put_together(&self.store, puts).await;
        for (index, (tag, ..)) in puts.iter().enumerate() {
            let tag = *tag;
            match &done {
                Ok(done) => {
                    let place = done.commands.get(index);
                    (self.tell)(&Note::Answered {
                        tag,
                        version: place.and_then(|place| place.version).unwrap_or_default(),
                        position: place.and_then(|place| place.position),
                    });
                    (self.tell)(&Note::Acknowledged { tag });
                    if done.reactions == Reactions::Done {
                        (self.tell)(&Note::Reacted { tag });
                    }
                }
                Err(TransactionError::OutcomeUnknown { .. }) => {}
                Err(_) => (self.tell)(&Note::Refused { tag }),
            }
        }
        done.map(drop)
    }

    /// Has a transaction rejected at its last command; the entries of the others must not be there.
    ///
    /// # Panics
    ///
    /// If it is not.
    pub async fn refused_together(&self, puts: &[(u64, String, u32)], id: &str) {
        let mut transaction = self.store.transaction(CommandContext::default());
        for (tag, id, parts) in puts {
            let (tag, parts) = (*tag, *parts);
            (self.tell)(&Note::Tried {
                tag,
                id: id.clone(),
                parts,
            });
            transaction = transaction.send(id, LedgerCommand::Put { tag, parts });
            (self.tell)(&Note::Refused { tag });
        }
        let refused = transaction.send(id, LedgerCommand::Refuse).commit().await;
        refused.expect_err("it is rejected");
    }

    /// Injects the only entry of a command that was accepted elsewhere.
    ///
    /// # Errors
    ///
    /// What the store answers.
    pub async fn inject(&self, id: &str, tag: u64) -> Result<(), StoreError> {
        (self.tell)(&Note::Injected { tag });
        (self.tell)(&Note::Tried {
            tag,
            id: id.to_owned(),
            parts: 1,
        });
        let options = InjectOptions::default();
        self.store
            .inject_event::<Ledger>(id, injected(tag), options)
            .await?;
        (self.tell)(&Note::Acknowledged { tag });
        Ok(())
    }

    /// Has a command rejected.
    ///
    /// # Panics
    ///
    /// If it is not.
    pub async fn refused(&self, id: &str) {
        let refused = LedgerCommand::Refuse;
        let answer = self.store.send(id, refused, CommandContext::default());
        answer.await.expect_err("it is rejected");
    }

    async fn put_with(
        &self,
        id: &str,
        tag: u64,
        parts: u32,
        context: CommandContext,
    ) -> Result<(), ExecuteError<Refused>> {
        (self.tell)(&Note::Tried {
            tag,
            id: id.to_owned(),
            parts,
        });
        let command = LedgerCommand::Put { tag, parts };
        let is_keyed = context.idempotency_key.is_some();
        match self.store.send(id, command, context).await {
            Ok(done) => {
                if is_keyed {
                    (self.tell)(&Note::Answered {
                        tag,
                        version: done.version,
                        position: done.position,
                    });
                }
                (self.tell)(&Note::Acknowledged { tag });
                if done.reactions == Reactions::Done {
                    (self.tell)(&Note::Reacted { tag });
                }
                Ok(())
            }
            Err(error) => {
                if !matches!(error, ExecuteError::OutcomeUnknown { .. }) {
                    (self.tell)(&Note::Refused { tag });
                }
                Err(error)
            }
        }
    }

    /// Notes every command that can be read back.
    ///
    /// # Panics
    ///
    /// If the store cannot be read.
    pub async fn note_served(&self) {
        let streams = self
            .store
            .list_streams(Some("ledger"))
            .await
            .expect("a list");
        for (aggregate_type, id) in streams {
            let events = self.store.read_events(&aggregate_type, &id).await;
            for event in events.expect("a stream that is listed can be read") {
                if let Some(tag) = event.data["tag"].as_u64() {
                    (self.tell)(&Note::Served { tag });
                }
            }
        }
    }
}
