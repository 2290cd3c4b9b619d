use eventfold_es::prelude::*;
use eventfold_es::store::{Committed, InjectOptions};
use eventfold_es::{AggregateStore, TransactionError};

use super::audit::same;
use super::check::text;
use super::domain::{Ledger, LedgerCommand, entry};
use super::note::Expected;

/// The context of a command with an idempotency key.
pub(super) fn keyed(tag: u64) -> CommandContext {
    CommandContext::default().with_idempotency_key(format!("key of {tag}"))
}

/// The transaction of these commands.
///
/// # Errors
///
/// What the store answers.
pub(super) async fn put_together(
    store: &AggregateStore,
    puts: &[(u64, String, u32)],
) -> Result<Committed, TransactionError> {
    let first = puts.first().map_or(0, |(tag, ..)| *tag);
    let mut transaction = store.transaction(keyed(first));
    for (tag, id, parts) in puts {
        let command = LedgerCommand::Put {
            tag: *tag,
            parts: *parts,
        };
        transaction = transaction.send(id, command);
    }
    transaction.commit().await
}

/// The event of a command with one entry that another store has accepted.
pub(super) fn injected(tag: u64) -> eventfold::Event {
    let mut event = entry(tag, 0, 1).to_event().expect("an event serializes");
    event.id = Some(format!("id of {tag}"));
    event
}

/// Tries again whatever was tried with an idempotency key, and injects again whatever was injected: what was acknowledged is
/// answered as it was, what was lost happens now, and nothing happens twice. All of it is kept from then on.
///
/// # Errors
///
/// The first thing that is not as it should be.
pub async fn retry(store: &AggregateStore, expected: &mut Expected) -> Result<(), String> {
    for tag in expected.keyed.clone() {
        let Some(tried) = expected.tried.get_mut(&tag) else {
            continue;
        };
        let parts = tried.parts;
        let command = LedgerCommand::Put { tag, parts };
        let done = store.send(&tried.id, command, keyed(tag)).await;
        let done = done.map_err(|error| format!("the retry of {tag}: {error}"))?;
        // Without the key a ledger that has the entries would answer with none.
        let events: Vec<_> = (0..parts).map(|part| entry(tag, part, parts)).collect();
        same(&format!("the events of {tag}"), done.events, events)?;
        let answer = (done.version, done.position);
        let first = expected.answers.entry(tag).or_insert(answer);
        same(&format!("the answer to {tag}"), answer, *first)?;
        tried.chances += 1;
        expected.kept.insert(tag);
    }
    for tags in expected.together.clone() {
        let tried = tags.iter().map(|tag| expected.tried.get(tag));
        let tried: Option<Vec<_>> = tried.collect();
        let Some(tried) = tried else {
            continue;
        };
        let puts: Vec<_> = tags
            .iter()
            .zip(tried)
            .map(|(tag, tried)| (*tag, tried.id.clone(), tried.parts))
            .collect();
        let done = put_together(store, &puts).await;
        let done = done.map_err(|error| format!("the retry of {tags:?}: {error}"))?;
        for (tag, done) in tags.into_iter().zip(done.commands) {
            let answer = (done.version.ok_or("a retry did nothing")?, done.position);
            let first = expected.answers.entry(tag).or_insert(answer);
            same(&format!("the answer to {tag}"), answer, *first)?;
            if let Some(tried) = expected.tried.get_mut(&tag) {
                tried.chances += 1;
            }
            expected.kept.insert(tag);
        }
    }
    for tag in expected.injected.clone() {
        let Some(tried) = expected.tried.get_mut(&tag) else {
            continue;
        };
        let options = InjectOptions::default();
        let done = store.inject_event::<Ledger>(&tried.id, injected(tag), options);
        done.await.map_err(text)?;
        tried.chances += 1;
        expected.kept.insert(tag);
    }
    Ok(())
}
