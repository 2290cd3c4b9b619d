//! Mistakes of a messenger.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Mistake::*;
use super::{LIMIT, PATIENCE, Server};
use crate::replication::{AskError, Asking, Messenger, Question};
use crate::testing::SharedLog;

/// The questions of a server with a mistake.
pub(super) struct Questions {
    pub(super) server: Arc<Server>,
    pub(super) log: SharedLog,
}

impl Messenger for Questions {
    fn max_message_bytes(&self) -> usize {
        match self.server.mistake {
            TakesLargerQuestions => LIMIT / 4,
            _ => self.log.max_message_bytes(),
        }
    }

    fn questions(&self, node: &str) -> mpsc::Receiver<Question> {
        match self.server.mistake {
            AsksAnyNode => self.log.questions("any"),
            KeepsClosedNodes => {
                let mut questions = self.log.questions(node);
                let (sender, receiver) = mpsc::channel(10);
                tokio::spawn(async move {
                    let mut kept = Vec::new();
                    while let Some(question) = questions.recv().await {
                        if let Err(question) = sender.send(question).await {
                            kept.push(question);
                        }
                    }
                });
                receiver
            }
            _ => self.log.questions(node),
        }
    }

    fn ask<'a>(&'a self, node: &'a str, text: String, limit: Duration) -> Asking<'a> {
        let text = match self.server.mistake {
            QuestionsAreTrimmed => text.trim().to_owned(),
            // The answers of two askers of the same time.
            SwapsAnswers if text == "7" => "8".to_owned(),
            _ => text,
        };
        match self.server.mistake {
            AsksAnyNode => self.log.ask("any", text, limit),
            LosesLargeQuestions if text.len() == LIMIT => {
                Box::pin(async { Err(AskError::TooLarge("it is large".to_owned())) })
            }
            WaitsWithoutLimit => self.log.ask(node, text, PATIENCE),
            WaitsForAbsentNodes => Box::pin(async move {
                match self.log.ask(node, text, limit).await {
                    Err(AskError::NotDelivered(reason)) => Err(AskError::NoAnswer(reason)),
                    answer => answer,
                }
            }),
            _ => self.log.ask(node, text, limit),
        }
    }
}
