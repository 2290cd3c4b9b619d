//! Questions between nodes: core NATS requests, which no stream stores.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, Message, Subject, Subscriber};
use futures_core::Stream as _;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::append::HEADERS;
use super::link::{Failure, Link};
use crate::replication::{AskError, Asking, Messenger, Question};

/// The questions that wait for the store. More of them wait in the client.
const QUESTIONS: usize = 1_024;

/// The header of a reply that is no answer.
const FATE: &str = "Eventfold-Question";
/// Its value, if the store has not got the question.
const REFUSED: &str = "refused";
/// Its value, if the store has dropped the question.
const DROPPED: &str = "dropped";

/// See the [module](self).
pub(super) struct NatsMessenger {
    link: Arc<Link>,
    runtime: Handle,
}

impl NatsMessenger {
    pub(super) fn new(link: Arc<Link>, runtime: Handle) -> Self {
        Self { link, runtime }
    }

    async fn ask(&self, node: &str, text: String, limit: Duration) -> Result<String, AskError> {
        let (bytes, most) = (text.len(), self.max_message_bytes());
        if bytes > most {
            return Err(AskError::TooLarge(format!(
                "it has {bytes} bytes, and the NATS servers take {most}: set `max_payload` on each server"
            )));
        }
        let subject = self.link.names.questions_to(node);
        let until = Instant::now() + limit;
        let asked = self
            .link
            .ask(&subject, text.into_bytes(), None, until)
            .await;
        let message = asked.map_err(|failure| match failure {
            Failure::NotSent(reason) => AskError::NotDelivered(reason),
            Failure::TooLarge(reason) => AskError::TooLarge(reason),
            // The server has dropped it.
            failure @ Failure::Forbidden(_) => AskError::NotDelivered(failure.to_string()),
            failure @ (Failure::Silent(_) | Failure::Foreign(_) | Failure::Api(_)) => {
                AskError::NoAnswer(failure.to_string())
            }
        })?;
        let fate = message
            .headers
            .as_ref()
            .and_then(|headers| headers.get(FATE));
        match fate.map(|fate| fate.as_str()) {
            None => String::from_utf8(message.payload.into())
                .map_err(|error| AskError::NoAnswer(error.to_string())),
            Some(REFUSED) => Err(AskError::NotDelivered(
                "the node closes its store".to_owned(),
            )),
            Some(_) => Err(AskError::NoAnswer(
                "the node dropped the question".to_owned(),
            )),
        }
    }
}

impl Messenger for NatsMessenger {
    fn max_message_bytes(&self) -> usize {
        self.link.client.max_payload().saturating_sub(HEADERS)
    }

    fn questions(&self, node: &str) -> mpsc::Receiver<Question> {
        let (sender, receiver) = mpsc::channel(QUESTIONS);
        let subject = self.link.names.questions_to(node);
        self.runtime
            .spawn(receive(Arc::clone(&self.link), subject, sender));
        receiver
    }

    fn ask<'a>(&'a self, node: &'a str, text: String, limit: Duration) -> Asking<'a> {
        Box::pin(self.ask(node, text, limit))
    }
}

/// Takes questions until the store takes no more. Then the server learns that this node takes no more, and the questions on the way are
/// refused.
async fn receive(link: Arc<Link>, subject: String, sender: mpsc::Sender<Question>) {
    let mut subscription = match link.client.subscribe(subject).await {
        Ok(subscription) => subscription,
        Err(error) => {
            tracing::warn!(%error, "this node cannot take commands from other nodes");
            return;
        }
    };
    let mut is_ending = false;
    loop {
        let message = tokio::select! {
            message = next(&mut subscription) => message,
            () = sender.closed(), if !is_ending => {
                is_ending = true;
                // An error means that the client has ended.
                let _ = subscription.drain().await;
                continue;
            }
        };
        match message {
            Some(message) => take(&link, message, &sender).await,
            None => return,
        }
    }
}

async fn next(subscription: &mut Subscriber) -> Option<Message> {
    poll_fn(|cx| Pin::new(&mut *subscription).poll_next(cx)).await
}

async fn take(link: &Arc<Link>, message: Message, sender: &mpsc::Sender<Question>) {
    let (Some(reply), Ok(text)) = (message.reply, String::from_utf8(message.payload.into())) else {
        return;
    };
    let (question, answered) = Question::new(text);
    let is_taken = sender.send(question).await.is_ok();
    let link = Arc::clone(link);
    let answering = Arc::clone(&link.answering).read_owned().await;
    tokio::spawn(async move {
        let answer = match is_taken {
            true => answered.await.map_err(|_| DROPPED),
            false => Err(REFUSED),
        };
        link.reply(reply, answer).await;
        drop(answering);
    });
}

impl Link {
    /// Sends an answer, or the fate of the question. It may be lost.
    async fn reply(&self, reply: Subject, answer: Result<String, &'static str>) {
        let sent = match answer {
            Ok(text) => self.client.publish(reply, text.into()).await,
            Err(fate) => {
                let mut headers = HeaderMap::new();
                headers.insert(FATE, fate);
                let empty = Vec::new().into();
                self.client
                    .publish_with_headers(reply, headers, empty)
                    .await
            }
        };
        if let Err(error) = sent {
            tracing::debug!(%error, "an answer to another node was not sent");
        }
    }
}
