//! Messages between the nodes, and the last number, from the leader of the stream each second.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc as blocking;
use std::time::Duration;

use async_nats::{Message, Subscriber};
use futures_core::Stream as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::body::unpack;
use super::link::Link;
use super::told::Head;

/// How often the leader of the stream is asked for the last number. A node tells the others at once when it has appended, by a
/// message that may be lost.
const POLL: Duration = Duration::from_secs(1);

/// The messages that wait for being sent. With more, they are lost.
pub(super) const OUTBOX: usize = 256;
/// The messages behind which an entry is told of without its text.
const BUSY: usize = 8;

/// A message to all nodes.
pub(super) enum Telling {
    /// This entry is in the log, with this body.
    Entry(u64, Arc<[u8]>),
    /// A message of the store.
    Signal(String),
    /// No message follows. It is answered when those before it are sent.
    Closing(blocking::Sender<()>),
}

/// Sends the messages to all nodes, in their order.
pub(super) async fn send(link: Arc<Link>, mut outbox: mpsc::Receiver<Telling>) {
    while let Some(telling) = outbox.recv().await {
        match telling {
            Telling::Entry(number, body) => {
                let message = link.head(number).with(&body);
                if outbox.len() < BUSY && message.len() <= link.client.max_payload() {
                    link.tell(&link.names.entry, message).await;
                } else {
                    let number = number.to_string();
                    link.tell(&link.names.last, number.into_bytes()).await;
                }
            }
            Telling::Signal(message) => {
                link.tell(&link.names.signal, message.into_bytes()).await;
            }
            Telling::Closing(sent) => {
                // Without a connection, the client keeps the answer until there is one.
                if link.client.flush().await.is_ok() {
                    // An error means that the caller waits no longer.
                    let _ = sent.send(());
                }
            }
        }
    }
}

/// Takes the messages to all nodes.
pub(super) async fn receive(
    link: Arc<Link>,
    mut subscription: Subscriber,
    mut probe: Option<(String, oneshot::Sender<()>)>,
) {
    while let Some(message) = poll_fn(|cx| Pin::new(&mut subscription).poll_next(cx)).await {
        let Message {
            subject, payload, ..
        } = message;
        if subject.as_str() == link.names.entry {
            if let Some((head, body)) = Head::of(&payload)
                && link.is_of_other(&head)
            {
                // An entry that cannot be unpacked is read from the servers, with the reason.
                if let Ok(text) = unpack(body) {
                    link.told.keep(head.number, &text);
                }
                link.hint(head.number);
            }
            continue;
        }
        let Ok(text) = std::str::from_utf8(&payload) else {
            continue;
        };
        if subject.as_str() == link.names.last {
            if let Ok(number) = text.parse() {
                link.hint(number);
            }
        } else if subject.as_str() == link.names.signal {
            // Without a receiver, nobody waits for it.
            let _ = link.signals.send(text.to_owned());
        } else if let Some((_, seen)) = probe.take_if(|(own, _)| own == text) {
            let _ = seen.send(());
        }
    }
}

/// Asks for the last number, again and again.
pub(super) async fn poll(link: Arc<Link>) {
    let mut ticks = interval(POLL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_above = false;
    loop {
        ticks.tick().await;
        let hinted = *link.progress.borrow();
        let Ok(info) = link.info(Instant::now() + POLL).await else {
            continue;
        };
        // A message between the nodes is no proof. A number that the leader does not confirm for two seconds is wrong.
        let last = info.state.last_seq.max(link.confirmed());
        if hinted > last && was_above {
            tracing::warn!(
                stream = link.names.stream,
                "a node told of an entry {hinted}, and the log ends at {last}"
            );
            link.progress.send_replace(last);
        }
        was_above = hinted > last;
    }
}
