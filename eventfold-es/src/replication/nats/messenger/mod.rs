//! Questions between nodes: core NATS messages, which no stream stores. Those that are asked or answered at about the same time share
//! a message.

mod answering;
mod asking;
mod bundle;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::{Message, Subscriber};
use futures_core::Stream as _;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::append::HEADERS;
use super::link::Link;
use crate::replication::{AskError, Asking, Messenger, Question};
use asking::Letter;

/// The questions that wait for the store, or for being sent.
const QUESTIONS: usize = 1_024;
/// The longest wait until a message has left the client.
const LEAVING: Duration = Duration::from_secs(1);

/// See the [module](self).
pub(super) struct NatsMessenger {
    link: Arc<Link>,
    runtime: Handle,
    letters: mpsc::Sender<Letter>,
}

impl NatsMessenger {
    pub(super) fn new(link: Arc<Link>, runtime: Handle) -> Self {
        let (letters, received) = mpsc::channel(QUESTIONS);
        runtime.spawn(asking::run(Arc::clone(&link), received));
        Self {
            link,
            runtime,
            letters,
        }
    }

    async fn ask(&self, node: &str, text: String, limit: Duration) -> Result<String, AskError> {
        let (until, bytes, most) = (Instant::now() + limit, text.len(), self.max_message_bytes());
        if bytes > most {
            return Err(AskError::TooLarge(format!(
                "it has {bytes} bytes, and the NATS servers take {most}: set `max_payload` on each server"
            )));
        }
        let subject = self.link.names.questions_to(node);
        let forbidden = self.link.complaint.about(&subject);
        let silent = format!("no answer to `{subject}`");
        let (answer, answered) = oneshot::channel();
        let letter = Letter {
            subject,
            text,
            answer,
        };
        let asked = async {
            self.letters.send(letter).await.ok()?;
            answered.await.ok()
        };
        tokio::select! {
            asked = timeout_at(until, asked) => match asked {
                Ok(Some(answer)) => answer,
                Ok(None) => Err(AskError::NoAnswer("the log is closed".to_owned())),
                Err(_) => Err(AskError::NoAnswer(silent)),
            },
            // The server has dropped it.
            forbidden = forbidden => Err(AskError::NotDelivered(forbidden.to_string())),
        }
    }
}

impl Messenger for NatsMessenger {
    fn max_message_bytes(&self) -> usize {
        most(&self.link).saturating_sub(bundle::LINE)
    }

    fn questions(&self, node: &str) -> mpsc::Receiver<Question> {
        let (sender, receiver) = mpsc::channel(QUESTIONS);
        let subject = self.link.names.questions_to(node);
        self.runtime
            .spawn(answering::run(Arc::clone(&self.link), subject, sender));
        receiver
    }

    fn ask<'a>(&'a self, node: &'a str, text: String, limit: Duration) -> Asking<'a> {
        Box::pin(self.ask(node, text, limit))
    }
}

/// The largest message.
fn most(link: &Link) -> usize {
    link.client.max_payload().saturating_sub(HEADERS)
}

async fn next(subscription: &mut Subscriber) -> Option<Message> {
    poll_fn(|cx| Pin::new(&mut *subscription).poll_next(cx)).await
}

/// Publishes a message, and waits until it has left the client. The questions or answers that come meanwhile share the next message.
///
/// # Errors
///
/// The reason why it was not sent, and never will be.
async fn publish_paced(
    link: &Link,
    subject: String,
    reply: Option<String>,
    payload: Vec<u8>,
) -> Result<(), String> {
    if link.client.connection_state() != State::Connected {
        return Err("there is no connection to a server".to_owned());
    }
    let published = match reply {
        Some(reply) => {
            let with_reply = link
                .client
                .publish_with_reply(subject, reply, payload.into());
            with_reply.await
        }
        None => link.client.publish(subject, payload.into()).await,
    };
    published.map_err(|error| error.to_string())?;
    // Without a connection, the client keeps the message.
    let _ = timeout(LEAVING, link.client.flush()).await;
    Ok(())
}
