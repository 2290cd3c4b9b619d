//! Answering: the questions of a bundle go to the store, and their answers go back in bundles.

use std::sync::Arc;

use async_nats::Message;
use tokio::sync::{OwnedRwLockReadGuard, mpsc};
use tokio::task::yield_now;

use super::bundle::{Bundle, Bundles, Fate, Part, parts};
use super::{QUESTIONS, most, next, publish_paced};
use crate::replication::Question;
use crate::replication::nats::link::Link;

/// The answers that are sent at once, at most.
const AT_ONCE: usize = 256;

/// An answer on its way.
struct Answer {
    subject: String,
    part: Part,
    /// The log is closed when the answers are sent.
    sending: OwnedRwLockReadGuard<()>,
}

/// Takes questions until the store takes no more. Then the server learns that this node takes no more, and the questions on the way are
/// refused.
pub(super) async fn run(link: Arc<Link>, subject: String, sender: mpsc::Sender<Question>) {
    let mut subscription = match link.client.subscribe(subject).await {
        Ok(subscription) => subscription,
        Err(error) => {
            tracing::warn!(%error, "this node cannot take commands from other nodes");
            return;
        }
    };
    let (answers, outbox) = mpsc::channel(QUESTIONS);
    tokio::spawn(send(Arc::clone(&link), outbox));
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
            Some(message) => take(&link, &message, &sender, &answers).await,
            None => return,
        }
    }
}

async fn take(
    link: &Link,
    message: &Message,
    sender: &mpsc::Sender<Question>,
    answers: &mpsc::Sender<Answer>,
) {
    // All answers to a node have one subject, so that those to several messages go together.
    let inbox = message.reply.as_ref().and_then(|to| to.rsplit_once('.'));
    let (Some((inbox, _)), Some(questions)) = (inbox, parts(&message.payload)) else {
        return;
    };
    for (number, text) in questions {
        let Ok(text) = text else { continue };
        let (question, answered) = Question::new(text);
        let is_taken = sender.send(question).await.is_ok();
        let sending = Arc::clone(&link.answering).read_owned().await;
        let (subject, answers) = (format!("{inbox}.answers"), answers.clone());
        tokio::spawn(async move {
            let answer = match is_taken {
                true => answered.await.map_err(|_| Fate::Dropped),
                false => Err(Fate::Refused),
            };
            let answer = Answer {
                subject,
                part: (number, answer),
                sending,
            };
            // The receiver ends behind all senders.
            let _ = answers.send(answer).await;
        });
    }
}

/// Sends answers. Each may be lost.
async fn send(link: Arc<Link>, mut outbox: mpsc::Receiver<Answer>) {
    let mut taken = Vec::new();
    while outbox.recv_many(&mut taken, AT_ONCE).await > 0 {
        // The store answers all commands of a batch at once. Each answer comes from a task of its own.
        let mut count = 0;
        while count < taken.len() && taken.len() < AT_ONCE {
            count = taken.len();
            yield_now().await;
            while let Ok(answer) = outbox.try_recv() {
                taken.push(answer);
            }
        }
        let (mut bundles, mut sending) = (Bundles::new(most(&link)), Vec::new());
        for answer in taken.drain(..) {
            bundles.push(answer.subject, answer.part);
            sending.push(answer.sending);
        }
        for (subject, Bundle { payload, .. }) in bundles {
            if let Err(error) = publish_paced(&link, subject, None, payload).await {
                tracing::debug!(error, "an answer to another node was not sent");
            }
        }
        drop(sending);
    }
}
