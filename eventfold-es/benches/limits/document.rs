//! An aggregate whose state is as large as one likes, while its events stay small.

use std::convert::Infallible;

use eventfold_es::prelude::*;

use crate::counter::NOTE;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum DocumentCommand {
    Fill { bytes: usize },
    Mark,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub(crate) enum DocumentEvent {
    Filled { bytes: usize },
    Marked { note: String },
}

#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Document {
    pub(crate) text: String,
    pub(crate) marks: u64,
}

impl Decider for Document {
    fn decide(&self, command: DocumentCommand) -> Result<Vec<DocumentEvent>, Infallible> {
        let event = match command {
            DocumentCommand::Fill { bytes } => DocumentEvent::Filled { bytes },
            DocumentCommand::Mark => DocumentEvent::Marked {
                note: NOTE.to_owned(),
            },
        };
        Ok(vec![event])
    }

    fn evolve(&mut self, event: &DocumentEvent) {
        match event {
            DocumentEvent::Filled { bytes } => self.text = "x".repeat(*bytes),
            DocumentEvent::Marked { .. } => self.marks += 1,
        }
    }
}
