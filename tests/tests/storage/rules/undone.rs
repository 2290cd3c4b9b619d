//! Rule 4, where it is narrow: a commit fails while another is decided on it.

use std::convert::Infallible;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use eventfold_es::disk::{Failure, Fault, FaultyDisk, Operation};
use eventfold_es::prelude::*;
use eventfold_es::{ExecuteError, StoreError};
use eventfold_es_tests::crash::scratch;
use eventfold_es_tests::gate::GatedDisk;

/// What happens while a command is decided.
static MEANWHILE: Mutex<Option<Box<dyn FnOnce() + Send>>> = Mutex::new(None);

#[derive(Debug, Clone, Serialize, Deserialize)]
enum SlowCommand {
    Add,
    AddSlowly,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
enum SlowEvent {
    Added,
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Slow {
    sum: u64,
}

impl Decider for Slow {
    fn decide(&self, command: SlowCommand) -> Result<Vec<SlowEvent>, Infallible> {
        if matches!(command, SlowCommand::AddSlowly)
            && let Some(meanwhile) = MEANWHILE.lock().unwrap().take()
        {
            meanwhile();
        }
        Ok(vec![SlowEvent::Added])
    }

    fn evolve(&mut self, _: &SlowEvent) {
        self.sum += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rule_04_a_commit_that_was_decided_on_a_failed_one_is_refused() {
    let (place, gate) = (scratch(), GatedDisk::default());
    let faults = FaultyDisk::new(Arc::new(gate.clone()));
    let store = AggregateStore::builder(place.path())
        .disk(Arc::new(faults.clone()))
        .open()
        .await
        .unwrap();
    let slow = store.get::<Slow>("s").await.unwrap();
    let execute = |command| {
        let slow = slow.clone();
        tokio::spawn(async move { slow.execute(command, CommandContext::default()).await })
    };
    assert_eq!(execute(SlowCommand::Add).await.unwrap().unwrap().version, 1);
    // The first is written and waits for its sync, the second waits behind it and will not be written.
    gate.close();
    let first = execute(SlowCommand::Add);
    gate.wait_for_sync();
    let fault = Fault::once(0, Failure::ENOSPC).on(&[Operation::Write]);
    faults.inject(fault.at(|path| path.ends_with("meta/journal/app.jsonl")));
    let (failed, has_failed) = channel();
    let (deciding, is_deciding) = channel();
    *MEANWHILE.lock().unwrap() = Some(Box::new(move || {
        deciding.send(()).unwrap();
        has_failed.recv().unwrap();
    }));
    let mut second = Box::pin(slow.execute(SlowCommand::Add, CommandContext::default()));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(second.as_mut().poll(&mut context).is_pending());
    // The third is decided on both.
    let third = execute(SlowCommand::AddSlowly);
    is_deciding.recv().unwrap();
    gate.open();
    let refused = second.await;
    assert!(
        matches!(
            refused,
            Err(ExecuteError::Store(StoreError::Refused { .. }))
        ),
        "{refused:?}"
    );
    failed.send(()).unwrap();
    assert_eq!(first.await.unwrap().unwrap().version, 2);
    match third.await.unwrap() {
        Err(ExecuteError::Store(StoreError::Refused { reason })) => {
            assert!(reason.contains("decided on"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(execute(SlowCommand::Add).await.unwrap().unwrap().version, 3);
    store.close().await.unwrap();
}
