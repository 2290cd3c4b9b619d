//! The connection that hears of entries and signals, and sends them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Notification};

use super::calls::{Calls, last_number};
use super::session::{Purpose, Session};
use super::table;

const POLL: Duration = Duration::from_secs(1);
/// The pause before another attempt to connect.
const PAUSE: Duration = Duration::from_millis(500);
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// The server allows 8,000.
const LONGEST_SIGNAL: usize = 7_900;
const NOTIFY: &str = "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload";

/// A message to the other nodes. The channel has both, with a letter before them.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// The number of an entry that is in the log. It is no part of the append: notifications of all transactions of the
    /// server come in the order of commits, so each holds a lock during its sync.
    Entry(i64),
    Signal(String),
    /// No message follows. It is answered when those before it are sent.
    Closing(std::sync::mpsc::Sender<()>),
}

/// A session that listens.
struct Listening {
    session: Session,
    channel: String,
    notifications: mpsc::UnboundedReceiver<Notification>,
}

/// Messages that go together.
struct Outbox {
    payloads: Vec<String>,
    closing: Vec<std::sync::mpsc::Sender<()>>,
}

impl Outbox {
    /// A message, and those that wait behind it.
    fn take(first: Outgoing, queue: &mut mpsc::Receiver<Outgoing>) -> Self {
        let mut outbox = Self {
            payloads: Vec::new(),
            closing: Vec::new(),
        };
        let mut last = None;
        let mut next = Some(first);
        while let Some(outgoing) = next {
            match outgoing {
                // The last entry stands for all.
                Outgoing::Entry(number) => last = last.max(Some(number)),
                Outgoing::Signal(message) if message.len() > LONGEST_SIGNAL => {
                    let bytes = message.len();
                    tracing::warn!(bytes, "a signal is too long, and is not sent");
                }
                Outgoing::Signal(message) => outbox.payloads.push(format!("s{message}")),
                Outgoing::Closing(closing) => outbox.closing.push(closing),
            }
            next = queue.try_recv().ok();
        }
        let entry = last.map(|number| format!("e{number}"));
        outbox.payloads.extend(entry);
        outbox
    }
}

/// Follows the log until its runtime ends.
pub(super) async fn watch(
    calls: Arc<Calls>,
    signals: broadcast::Sender<String>,
    mut queue: mpsc::Receiver<Outgoing>,
) {
    loop {
        if let Some(listening) = listen(&calls).await {
            // Older signals are out of date.
            while queue.try_recv().is_ok() {}
            relay(&calls, &signals, &mut queue, listening).await;
        }
        sleep(PAUSE).await;
    }
}

/// `None` if the server does not answer, or has no table yet.
async fn listen(calls: &Calls) -> Option<Listening> {
    let connected = Session::connect(&*calls.connect, &calls.config, Purpose::Watch).await;
    let (session, notifications) = connected.ok()?;
    let table = in_time(table::find(&session.client)).await??;
    let channel = table::channel(table, &calls.name);
    let identifier = channel.replace('"', "\"\"");
    in_time(
        session
            .client
            .batch_execute(&format!("LISTEN \"{identifier}\"")),
    )
    .await?;
    Some(Listening {
        session,
        channel,
        notifications,
    })
}

/// The answer to a statement, if it comes.
async fn in_time<T>(statement: impl Future<Output = Result<T, Error>>) -> Option<T> {
    timeout(STATEMENT_TIMEOUT, statement).await.ok()?.ok()
}

/// `None` is the end of the connection.
async fn relay(
    calls: &Calls,
    signals: &broadcast::Sender<String>,
    queue: &mut mpsc::Receiver<Outgoing>,
    mut listening: Listening,
) -> Option<()> {
    let mut polls = interval(POLL);
    polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let client = &listening.session.client;
    loop {
        tokio::select! {
            notification = listening.notifications.recv() => {
                hear(calls, signals, notification?.payload());
            }
            first = queue.recv() => {
                let Outbox { payloads, closing } = Outbox::take(first?, queue);
                let parameters: [(&(dyn ToSql + Sync), Type); 2] =
                    [(&listening.channel, Type::TEXT), (&payloads, Type::TEXT_ARRAY)];
                in_time(client.execute_typed(NOTIFY, &parameters)).await?;
                for closing in closing {
                    // An error means that the caller waits no longer.
                    let _ = closing.send(());
                }
            }
            _ = polls.tick() => {
                let before = *calls.last.borrow();
                let last = in_time(last_number(client, &calls.name)).await?;
                calls.last.send_if_modified(|known| {
                    // Lower if the server has an older copy. A number that has come meanwhile is newer than the answer.
                    let is_newer = last > *known || last < *known && *known == before;
                    if is_newer {
                        *known = last;
                    }
                    is_newer
                });
            }
        }
    }
}

fn hear(calls: &Calls, signals: &broadcast::Sender<String>, payload: &str) {
    if let Some(message) = payload.strip_prefix('s') {
        // Nobody may listen.
        let _ = signals.send(message.to_owned());
    } else if let Some(number) = payload
        .strip_prefix('e')
        .and_then(|number| number.parse().ok())
    {
        calls.last.send_if_modified(|last| {
            let is_later = *last < number;
            *last = number.max(*last);
            is_later
        });
    }
}
