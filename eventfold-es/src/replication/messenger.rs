use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

/// Questions from one node to another, each with one answer. A follower sends commands to the leader with them.
///
/// A [`CommitLog`](super::CommitLog) may have a messenger: see [`CommitLog::messenger`](super::CommitLog::messenger). A question
/// reaches the node once or never. It may be late: after the limit of [`ask`](Self::ask), and after later questions. The store
/// copes with that, and with lost answers.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use eventfold_es::replication::CommitLog;
/// use eventfold_es::testing::SharedLog;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let one = SharedLog::new();
/// let two = one.handle();
/// let (Some(one), Some(two)) = (one.messenger(), two.messenger()) else {
///     return Err("no messenger".into());
/// };
/// let mut questions = two.questions("two");
/// tokio::spawn(async move {
///     while let Some(question) = questions.recv().await {
///         let answer = question.text().to_uppercase();
///         question.answer(answer);
///     }
/// });
/// let answer = one.ask("two", "hello".to_owned(), Duration::from_secs(5)).await?;
/// assert_eq!(answer, "HELLO");
/// # Ok(())
/// # }
/// ```
pub trait Messenger: Send + Sync + 'static {
    /// The maximum number of bytes of a question, and of an answer.
    fn max_message_bytes(&self) -> usize;

    /// The questions to a node of this name from now on, until the receiver is closed or dropped. Returns at once.
    ///
    /// The questions that the closed receiver still holds are delivered. Later questions are [`NotDelivered`](AskError::NotDelivered).
    fn questions(&self, node: &str) -> mpsc::Receiver<Question>;

    /// Asks the node of this name, and waits for its answer for at most `limit`. It is polled within a tokio runtime with a timer.
    ///
    /// # Errors
    ///
    /// [`AskError`] tells whether the node may have got the question.
    ///
    /// # Cancel safety
    ///
    /// The node may have got the question, or may get it later.
    fn ask<'a>(&'a self, node: &'a str, text: String, limit: Duration) -> Asking<'a>;
}

/// The future of [`Messenger::ask`].
pub type Asking<'a> = Pin<Box<dyn Future<Output = Result<String, AskError>> + Send + 'a>>;

/// A question from another node.
#[derive(Debug)]
pub struct Question {
    text: String,
    answer: oneshot::Sender<String>,
}

impl Question {
    /// A question, and its answer for a [`Messenger`]. The receiver fails if the question is dropped without an answer.
    #[must_use]
    pub fn new(text: String) -> (Self, oneshot::Receiver<String>) {
        let (answer, answered) = oneshot::channel();
        (Self { text, answer }, answered)
    }

    /// The text, as it was asked.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Answers it. A question that is dropped instead is [`NoAnswer`](AskError::NoAnswer) to the node that asks.
    pub fn answer(self, text: String) {
        // The node that asks may wait no longer.
        let _ = self.answer.send(text);
    }
}

/// The reason why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AskError {
    /// No node got the question, and none will. For example, no node of this name takes questions.
    #[error("the question was not delivered: {0}")]
    NotDelivered(String),
    /// The question is too large, and was not sent.
    #[error("the question is too large: {0}")]
    TooLarge(String),
    /// Whether the node got the question is unknown.
    #[error("the node did not answer: {0}")]
    NoAnswer(String),
}
