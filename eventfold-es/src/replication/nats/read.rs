//! Reading. The leader of the stream tells the end of the log, and gives the last entries. Many entries come through a consumer.
//! Its replica may lag, and its messages may be lost on the way, so their numbers are checked.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, Subscriber};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_core::Stream as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::body::unpack;
use super::link::{Failure, Link};
use crate::replication::{Entry, LogError};

/// All of a call.
pub(super) const LIMIT: Duration = Duration::from_secs(10);
/// The number of entries up to which each has a request of its own.
const FEW: u64 = 64;
/// The number of such requests at a time.
const AT_ONCE: u64 = 16;
/// The time that a consumer has for the next entry.
const STALLED: Duration = Duration::from_secs(2);
/// The time without a consumer after a consumer that did not work.
const WITHOUT: Duration = Duration::from_secs(10);
/// The entries of one pull. The queue of a subscription has room for all of them, in a client with default settings.
const PULL: u64 = 8_192;
/// The bytes of texts for each byte of bodies, before the first pull.
const EXPANSION: usize = 8;
/// The room for the subjects and headers of an entry, which a pull counts.
const AROUND: usize = 512;
/// The time after which the servers forget an unused consumer.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// The code of JetStream for "no message found".
const NO_MESSAGE: u32 = 10037;

/// The end of a pull in front of an entry that its bytes have no room for. Each other end means that the consumer is gone or lags.
const NO_ROOM: &str = "Message Size Exceeds MaxBytes";

/// An entry with its headers.
pub(super) struct Stored {
    pub(super) entry: Entry,
    pub(super) headers: String,
}

/// The consumer of the last read, from which the next read continues.
#[derive(Default)]
pub(super) struct Reader {
    bulk: Option<Bulk>,
    without_until: Option<Instant>,
}

struct Bulk {
    name: String,
    inbox: String,
    subscription: Subscriber,
    /// The number of the next entry from the server.
    next: u64,
    pulls: u64,
    /// The entries of the last pull for which the page had no room.
    ahead: VecDeque<Entry>,
    /// The bytes of texts for each byte of bodies in the last pull.
    expansion: usize,
}

impl Bulk {
    /// The number of the next entry for a page.
    fn first(&self) -> u64 {
        self.ahead.front().map_or(self.next, |entry| entry.number)
    }

    /// Moves entries into a page that has room for them.
    fn fill(&mut self, page: &mut Page) {
        while let Some(entry) = self.ahead.pop_front() {
            if let Err(entry) = page.push(entry) {
                return self.ahead.push_front(entry);
            }
        }
    }
}

/// The entries of one call.
struct Page {
    entries: Vec<Entry>,
    next: u64,
    bytes: usize,
    max_bytes: usize,
    is_full: bool,
}

impl Page {
    /// Takes the next entry, if there is room for it. The first one always has room.
    fn push(&mut self, entry: Entry) -> Result<(), Entry> {
        let bytes = self.bytes.saturating_add(entry.text.len());
        self.is_full |= bytes > self.max_bytes && !self.entries.is_empty();
        if self.is_full {
            return Err(entry);
        }
        self.bytes = bytes;
        self.next = entry.number + 1;
        self.entries.push(entry);
        self.is_full = bytes >= self.max_bytes;
        Ok(())
    }

    /// The entries in front of a failure. The next call meets the failure again.
    fn unless_empty(self, failure: LogError) -> Result<Vec<Entry>, LogError> {
        if self.entries.is_empty() {
            Err(failure)
        } else {
            Ok(self.entries)
        }
    }
}

/// The end of a pull.
#[derive(Debug, Clone, Copy)]
enum End {
    /// The consumer continues behind the last entry.
    Whole,
    /// It gives nothing more.
    Gone,
    /// An entry was lost on the way: the queue of the client is full.
    Gap,
}

impl Link {
    pub(super) async fn read(
        self: &Arc<Self>,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, LogError> {
        let until = Instant::now() + LIMIT;
        let from = from.max(1);
        let mut page = Page {
            entries: Vec::new(),
            next: from,
            bytes: 0,
            max_bytes,
            is_full: false,
        };
        let confirmed = self.confirmed();
        let hinted = *self.progress.borrow();
        let mut is_end = true;
        let last = if confirmed >= from.saturating_add(FEW) {
            is_end = false;
            Ok(confirmed)
        } else if hinted >= from && hinted - from < FEW {
            // A node that follows knows the number from a message of the leader, and asks for the entry at the same time as for the
            // end of the log.
            let link = Arc::clone(self);
            let last = tokio::spawn(async move { link.last(until).await });
            if let Err(error) = self.few(&mut page, hinted, until).await {
                return page.unless_empty(error);
            }
            last.await
                .unwrap_or_else(|error| Err(LogError::Unavailable(error.to_string())))
        } else {
            self.last(until).await
        };
        let mut last = match last {
            Ok(last) => last,
            Err(error) => return page.unless_empty(error),
        };
        while !page.is_full {
            let next = page.next;
            if next > last && is_end || next > from && Instant::now() >= until {
                break;
            }
            if next > last {
                match self.last(until).await {
                    Ok(end) => (last, is_end) = (end, true),
                    Err(error) => return page.unless_empty(error),
                }
                continue;
            }
            let many = if last - next >= FEW {
                self.many(&mut page, last).await
            } else {
                Ok(false)
            };
            let read = match many {
                Ok(true) => Ok(()),
                Ok(false) => self.few(&mut page, last.min(next + FEW - 1), until).await,
                Err(error) => Err(error),
            };
            if let Err(error) = read {
                return page.unless_empty(error);
            }
            if page.next == next && !page.is_full {
                let stream = &self.names.stream;
                return page.unless_empty(LogError::Unavailable(format!(
                    "the server that leads the NATS stream `{stream}` has no entry {next} of {last}; if this stays, its disk is damaged: \
                     empty the directory of that server, so that it takes the entries from the others"
                )));
            }
        }
        Ok(page.entries)
    }

    /// The last number, which is not below a number that was confirmed to this node.
    async fn last(&self, until: Instant) -> Result<u64, LogError> {
        let confirmed = self.confirmed();
        let info = self
            .info(until)
            .await
            .map_err(|failure| failure.into_log_error(&self.names))?;
        info.check_whole(&self.names)?;
        let last = info.state.last_seq;
        if last < confirmed {
            return Err(LogError::Unavailable(format!(
                "the NATS stream `{}` ends at {last}, and it had an entry {confirmed}; if this stays, its servers have lost entries, or were \
                 restored from an older copy",
                self.names.stream
            )));
        }
        Ok(last)
    }

    /// Asks the leader for an entry.
    pub(super) async fn get(&self, number: u64, until: Instant) -> Result<Option<Stored>, Failure> {
        #[derive(Deserialize)]
        struct Answer {
            message: Raw,
        }
        #[derive(Deserialize)]
        struct Raw {
            seq: u64,
            #[serde(default)]
            data: String,
            #[serde(default)]
            hdrs: String,
        }
        let endpoint = format!("STREAM.MSG.GET.{}", self.names.stream);
        let body = json!({ "seq": number });
        let answer: Result<Answer, Failure> = self.api_until(&endpoint, Some(&body), until).await;
        let message = match answer {
            Ok(Answer { message }) if message.seq == number => message,
            Ok(Answer { message }) => {
                return Err(Failure::Silent(format!(
                    "the server answers with the entry {} instead of {number}",
                    message.seq
                )));
            }
            Err(Failure::Api(error)) if error.err_code == NO_MESSAGE => return Ok(None),
            Err(failure) => return Err(failure),
        };
        let decoded = |text: &str| {
            STANDARD.decode(text).map_err(|error| {
                Failure::Silent(format!("the answer of the server cannot be read: {error}"))
            })
        };
        let (data, headers) = (decoded(&message.data)?, decoded(&message.hdrs)?);
        self.confirm(number);
        Ok(Some(Stored {
            entry: self.entry(number, &data)?,
            headers: String::from_utf8_lossy(&headers).into_owned(),
        }))
    }

    fn entry(&self, number: u64, data: &[u8]) -> Result<Entry, Failure> {
        match unpack(data) {
            Ok(text) => Ok(Entry {
                number,
                text: text.into(),
            }),
            Err(error) => Err(Failure::Foreign(format!(
                "the entry {number} of the NATS stream `{}` is no text ({error}): another application writes to it",
                self.names.stream
            ))),
        }
    }

    /// Entries from the leader, one by one, up to the first that is not there.
    async fn few(
        self: &Arc<Self>,
        page: &mut Page,
        last: u64,
        until: Instant,
    ) -> Result<(), LogError> {
        while page.next <= last && !page.is_full {
            let end = last.min(page.next + AT_ONCE - 1);
            let asked: Vec<_> = (page.next..=end)
                .map(|number| {
                    let link = Arc::clone(self);
                    tokio::spawn(async move { link.get(number, until).await })
                })
                .collect();
            for answer in asked {
                let stored = answer
                    .await
                    .unwrap_or_else(|error| Err(Failure::Silent(error.to_string())));
                match stored {
                    // Without room, a later call asks for it again.
                    Ok(Some(stored)) => drop(page.push(stored.entry)),
                    Ok(None) => return Ok(()),
                    Err(failure) => return Err(failure.into_log_error(&self.names)),
                }
            }
        }
        Ok(())
    }

    /// Entries through a consumer. `false` if none came because it does not work.
    async fn many(&self, page: &mut Page, last: u64) -> Result<bool, LogError> {
        let mut reader = self.reader.lock().await;
        let now = Instant::now();
        if reader.without_until.is_some_and(|until| now < until) {
            return Ok(false);
        }
        reader.without_until = None;
        let from = page.next;
        let bulk = reader.bulk.take().filter(|bulk| bulk.first() == from);
        let bulk = match bulk {
            Some(bulk) => Ok(bulk),
            None => self.begin(from, now + STALLED).await,
        };
        let mut bulk = match bulk {
            Ok(bulk) => bulk,
            Err(failure) => {
                tracing::debug!(stream = self.names.stream, %failure, "no consumer for reading");
                reader.without_until = Some(Instant::now() + WITHOUT);
                return Ok(false);
            }
        };
        let end = self.pull(&mut bulk, page, last).await?;
        let has_read = page.next > from;
        match end {
            End::Whole if bulk.first() == page.next => reader.bulk = Some(bulk),
            End::Gone if has_read => {}
            End::Whole => {}
            End::Gone | End::Gap => {
                let stream = &self.names.stream;
                tracing::debug!(stream, ?end, "the consumer for reading does not work");
                reader.without_until = Some(Instant::now() + WITHOUT);
            }
        }
        Ok(has_read || page.is_full)
    }

    /// Creates a consumer that begins with an entry.
    pub(super) async fn begin_reading(&self, from: u64, until: Instant) -> Result<(), Failure> {
        let bulk = self.begin(from, until).await?;
        self.reader.lock().await.bulk = Some(bulk);
        Ok(())
    }

    async fn begin(&self, from: u64, until: Instant) -> Result<Bulk, Failure> {
        let inbox = self.client.new_inbox();
        let name = format!("eventfold-{}", uuid::Uuid::now_v7());
        let stream = &self.names.stream;
        let subscription = self
            .client
            .subscribe(format!("{inbox}.*"))
            .await
            .map_err(|error| Failure::NotSent(error.to_string()))?;
        let body = json!({
            "stream_name": stream,
            "action": "create",
            "config": {
                "name": name,
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": from,
                "ack_policy": "none",
                "replay_policy": "instant",
                "max_waiting": 16,
                "num_replicas": 1,
                "mem_storage": true,
                "inactive_threshold": u64::try_from(FORGOTTEN.as_nanos()).unwrap_or(u64::MAX),
            }
        });
        let endpoint = format!("CONSUMER.CREATE.{stream}.{name}");
        let _: Value = self.api(&endpoint, Some(&body), until).await?;
        Ok(Bulk {
            name,
            inbox,
            subscription,
            next: from,
            pulls: 0,
            ahead: VecDeque::new(),
            expansion: EXPANSION,
        })
    }

    /// Takes the entries of one pull.
    async fn pull(&self, bulk: &mut Bulk, page: &mut Page, last: u64) -> Result<End, LogError> {
        bulk.fill(page);
        let mut left = (last + 1).saturating_sub(bulk.next).min(PULL);
        if page.is_full || left == 0 {
            return Ok(End::Whole);
        }
        let (mut texts, mut bodies) = (0, 0);
        bulk.pulls += 1;
        let reply = format!("{}.{}", bulk.inbox, bulk.pulls);
        let room = page.max_bytes.saturating_sub(page.bytes) / bulk.expansion;
        let body = json!({
            "batch": left,
            "max_bytes": room.saturating_add(AROUND).min(i32::MAX as usize),
            "expires": u64::try_from(STALLED.as_nanos()).unwrap_or(u64::MAX),
        });
        let subject = format!(
            "$JS.API.CONSUMER.MSG.NEXT.{}.{}",
            self.names.stream, bulk.name
        );
        let asked = self
            .client
            .publish_with_reply(subject, reply.clone(), body.to_string().into())
            .await;
        if asked.is_err() {
            return Ok(End::Gone);
        }
        while left > 0 {
            let until = Instant::now() + STALLED + STALLED / 2;
            let next = poll_fn(|cx| Pin::new(&mut bulk.subscription).poll_next(cx));
            let Ok(Some(message)) = timeout_at(until, next).await else {
                return Ok(End::Gone);
            };
            if message.status.is_some() {
                // The ends of earlier pulls come late.
                if message.subject.as_str() != reply {
                    continue;
                }
                let is_bytes = message.description.as_deref() == Some(NO_ROOM);
                page.is_full |= is_bytes && !page.entries.is_empty();
                return Ok(if is_bytes { End::Whole } else { End::Gone });
            }
            if number(&message) != Some(bulk.next) {
                return Ok(End::Gap);
            }
            let entry = self.entry(bulk.next, &message.payload);
            let entry = entry.map_err(|failure| failure.into_log_error(&self.names))?;
            texts += entry.text.len();
            bodies += message.payload.len();
            bulk.expansion = texts.checked_div(bodies).map_or(1, |each| each.max(1));
            bulk.ahead.push_back(entry);
            bulk.fill(page);
            self.confirm(bulk.next);
            bulk.next += 1;
            left -= 1;
        }
        Ok(End::Whole)
    }
}

/// The number of an entry that a consumer delivers: it is in the subject for the acknowledgement.
fn number(message: &Message) -> Option<u64> {
    let tokens: Vec<_> = message.reply.as_ref()?.as_str().split('.').collect();
    let at = match tokens.len() {
        // $JS.ACK.<stream>.<consumer>.<delivered>.<number>.<…>
        9 => 5,
        // $JS.ACK.<domain>.<account>.<stream>.<consumer>.<delivered>.<number>.<…>
        11.. => 7,
        _ => return None,
    };
    tokens.get(at)?.parse().ok()
}
