//! Appending: a message that the stream takes only behind a certain entry.

use std::time::Duration;

use async_nats::HeaderMap;
use serde::Deserialize;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::link::{Failure, Link, answer};
use crate::replication::AppendError;

/// The room for the headers of a message.
pub(super) const HEADERS: usize = 256;
/// The time within which a connection and a leader of the stream must be there.
const PATIENCE: Duration = Duration::from_secs(2);
/// The time within which the stream must answer.
const ANSWER: Duration = Duration::from_secs(5);
/// All of it.
pub(super) const LIMIT: Duration = Duration::from_secs(8);

/// The header by which the stream takes a message only behind the entry with this number.
const EXPECTED: &str = "Nats-Expected-Last-Sequence";
/// "Wrong last sequence". The codes 10164 (the same in a batch) and 10163 say nothing about this message.
const WRONG_LAST_SEQUENCE: u32 = 10071;
/// The message, or its headers, are too large by the settings, which all servers share.
const TOO_LARGE: [u32; 2] = [10054, 10097];

/// The header with the name of the attempt, which tells an entry of this attempt from all others.
const ATTEMPT: &str = "Eventfold-Append";

/// A number that no log reaches.
pub(super) const NEVER: u64 = i64::MAX as u64;

/// The acknowledgement of a message by the stream.
#[derive(Debug, Deserialize)]
pub(super) struct Acknowledged {
    seq: u64,
    #[serde(default)]
    duplicate: bool,
}

impl Link {
    /// Sends an entry, and waits for the acknowledgement.
    pub(super) async fn publish(
        &self,
        after: u64,
        body: &[u8],
        attempt: &str,
        until: Instant,
    ) -> Result<Acknowledged, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert(EXPECTED, after.to_string());
        headers.insert(ATTEMPT, attempt);
        let message = self
            .ask(&self.names.entries, body.to_vec(), Some(headers), until)
            .await?;
        answer(&message.payload)
    }

    pub(super) async fn append(&self, after: u64, body: &[u8]) -> Result<(), AppendError> {
        let attempt = Uuid::now_v7().to_string();
        let patience = Instant::now() + PATIENCE;
        let (published, until) = loop {
            if let Err(Failure::NotSent(reason)) = self.connected(patience).await {
                return Err(AppendError::Unavailable(reason));
            }
            let until = Instant::now() + ANSWER;
            match self.publish(after, body, &attempt, until).await {
                Err(Failure::NotSent(_)) if Instant::now() < patience => {
                    sleep(Duration::from_millis(20)).await;
                }
                published => break (published, until),
            }
        };
        match published {
            Ok(Acknowledged {
                seq,
                duplicate: false,
            }) if Some(seq) == after.checked_add(1) => {
                self.confirm(seq);
                Ok(())
            }
            Ok(acknowledged) => Err(AppendError::Unknown(format!(
                "the server acknowledged something else: {acknowledged:?} after {after}"
            ))),
            Err(Failure::NotSent(reason)) => Err(AppendError::Unavailable(reason)),
            Err(failure @ Failure::Forbidden(_)) => {
                Err(AppendError::Unavailable(failure.to_string()))
            }
            Err(Failure::TooLarge(reason)) => Err(AppendError::Refused(reason)),
            Err(Failure::Silent(reason) | Failure::Foreign(reason)) => {
                Err(AppendError::Unknown(reason))
            }
            Err(Failure::Api(error)) if TOO_LARGE.contains(&error.err_code) => {
                Err(AppendError::Refused(error.description))
            }
            Err(Failure::Api(error)) if error.err_code == WRONG_LAST_SEQUENCE => {
                self.settle(after, &attempt, until).await
            }
            // A leader that was paused does not know its successor. It may be the server that answers, while its successor has got
            // the message too, and stores it.
            Err(Failure::Api(error)) => Err(AppendError::Unknown(format!(
                "{} (code {})",
                error.description, error.err_code
            ))),
        }
    }

    /// The answer "wrong last sequence" is no proof that the entry is not stored. The server that gives it may have been paused
    /// as the leader, and its successor may store the message. And it counts entries that no majority has yet. The proof is
    /// the entry that is there instead, or a log that ends before `after`.
    async fn settle(&self, after: u64, attempt: &str, until: Instant) -> Result<(), AppendError> {
        let Some(number) = after.checked_add(1) else {
            return Err(AppendError::Fenced);
        };
        let mut pause = Duration::from_millis(1);
        loop {
            match self.get(number, until).await {
                Ok(Some(stored)) if stored.headers.contains(attempt) => {
                    self.confirm(number);
                    return Ok(());
                }
                Ok(Some(_)) => return Err(AppendError::Fenced),
                Ok(None) => {}
                Err(_) if Instant::now() < until => {}
                Err(failure) => return Err(AppendError::Unknown(failure.to_string())),
            }
            if let Ok(info) = self.info(until).await
                && info.state.last_seq < after
            {
                return Err(AppendError::Fenced);
            }
            if Instant::now() >= until {
                return Err(AppendError::Unknown(format!(
                    "a server says that there is an entry {number}, and it is not there"
                )));
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}
