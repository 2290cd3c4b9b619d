//! Questions between the nodes of a test.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Node, SharedLog, lock};
use crate::replication::{AskError, Asking, Messenger, Question};

/// The questions that wait for a node.
const QUESTIONS: usize = 1_024;

/// The fate of a question of a [`SharedLog`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LostMessage {
    /// The question never arrives.
    Question,
    /// The question arrives with [`SharedLog::deliver_questions`]. Its answer is lost.
    LateQuestion,
    /// The question arrives at once. Its answer is lost.
    Answer,
}

/// A question on its way.
pub(super) struct Late {
    node: String,
    text: String,
}

/// A receiver of questions.
pub(super) struct Served {
    node: String,
    questions: mpsc::Sender<Question>,
}

impl SharedLog {
    /// The next question of this handle is answered [`NoAnswer`](AskError::NoAnswer).
    pub fn lose_next_message(&self, message: LostMessage) {
        lock(&self.node.faults).next_message = Some(message);
    }

    /// Whether [`lose_next_message`](Self::lose_next_message) waits for a question.
    #[must_use]
    pub fn loses_next_message(&self) -> bool {
        lock(&self.node.faults).next_message.is_some()
    }

    /// The questions under way reach their nodes, those of all handles. Returns the number of questions that were delivered.
    pub fn deliver_questions(&self) -> usize {
        let late = std::mem::take(&mut lock(&self.log).late);
        let delivered = late.into_iter().filter(|late| {
            let Some((_, questions)) = self.serving(&late.node) else {
                return false;
            };
            let (question, _) = Question::new(late.text.clone());
            questions.try_send(question).is_ok()
        });
        delivered.count()
    }

    /// The node of this name that takes questions.
    fn serving(&self, name: &str) -> Option<(Arc<Node>, mpsc::Sender<Question>)> {
        let nodes = lock(&self.log).nodes();
        nodes.into_iter().find_map(|node| {
            node.check_connection().ok()?;
            let questions = {
                let mut served = lock(&node.served);
                served.retain(|served| !served.questions.is_closed());
                let mut own = served.iter().filter(|served| served.node == name);
                own.next_back().map(|served| served.questions.clone())
            };
            Some((node, questions?))
        })
    }

    async fn pass_question(&self, name: &str, text: String) -> Result<String, AskError> {
        self.node
            .check_connection()
            .map_err(AskError::NotDelivered)?;
        let (bytes, most) = (text.len(), self.node.max_entry_bytes);
        if bytes > most {
            let reason = format!("it has {bytes} bytes, and {most} is the maximum");
            return Err(AskError::TooLarge(reason));
        }
        let lost = lock(&self.node.faults).next_message.take();
        match lost {
            Some(LostMessage::Question) => {
                return Err(AskError::NoAnswer("the question is lost".to_owned()));
            }
            Some(LostMessage::LateQuestion) => {
                let node = name.to_owned();
                lock(&self.log).late.push(Late { node, text });
                return Err(AskError::NoAnswer("the question is late".to_owned()));
            }
            Some(LostMessage::Answer) | None => {}
        }
        let absent = || AskError::NotDelivered(format!("no node `{name}` takes questions"));
        let (node, questions) = self.serving(name).ok_or_else(absent)?;
        let (question, answered) = Question::new(text);
        questions.send(question).await.map_err(|_| absent())?;
        let answer = answered.await;
        let answer =
            answer.map_err(|_| AskError::NoAnswer("the node dropped the question".to_owned()))?;
        let is_cut_off = self.node.check_connection().is_err() || node.check_connection().is_err();
        match is_cut_off || lost.is_some() {
            true => Err(AskError::NoAnswer("the answer is lost".to_owned())),
            false => Ok(answer),
        }
    }
}

impl Messenger for SharedLog {
    fn max_message_bytes(&self) -> usize {
        self.node.max_entry_bytes
    }

    fn questions(&self, node: &str) -> mpsc::Receiver<Question> {
        let (questions, receiver) = mpsc::channel(QUESTIONS);
        let node = node.to_owned();
        lock(&self.node.served).push(Served { node, questions });
        receiver
    }

    fn ask<'a>(&'a self, node: &'a str, text: String, limit: Duration) -> Asking<'a> {
        Box::pin(async move {
            match timeout(limit, self.pass_question(node, text)).await {
                Ok(answer) => answer,
                Err(_) => Err(AskError::NoAnswer(format!("no answer within {limit:?}"))),
            }
        })
    }
}
