//! The event handler that carries the steps out.

use std::time::Duration;

use eventfold_es::prelude::*;
use reqwest::StatusCode;

use super::purchase::{Step, StepCommand, StepEvent, Thing};

#[event_handler(subscribes = [Step], dispatches = [Step], on_failure)]
pub struct Steps {
    pub client: reqwest::Client,
    pub service: String,
}

impl Steps {
    /// The resource has the name of the step. So a repeated PUT changes nothing, nor does a repeated DELETE.
    fn url(&self, thing: &Thing, step: &str) -> String {
        match thing {
            Thing::Seat => format!("{}/seats/{step}", self.service),
            Thing::Charge => format!("{}/charges/{step}", self.service),
        }
    }
}

impl Handle<Step> for Steps {
    type Error = reqwest::Error;

    async fn handle(
        &self,
        event: &StepEvent,
        cx: &mut Handling<'_, Self>,
    ) -> Result<(), reqwest::Error> {
        let step = cx.stream_id();
        match event {
            StepEvent::Started { thing, card, .. } => {
                let request = self.client.put(self.url(thing, step)).body(card.clone());
                let response = request.send().await?;
                let noted = match response.status() {
                    StatusCode::PAYMENT_REQUIRED | StatusCode::CONFLICT => {
                        let reason = response.text().await?;
                        StepCommand::NoteRefused { reason }
                    }
                    _ => {
                        response.error_for_status()?;
                        StepCommand::NoteTaken
                    }
                };
                cx.send(step, noted);
            }
            StepEvent::UndoStarted { thing, .. } => {
                let request = self.client.delete(self.url(thing, step));
                let response = request.send().await?;
                // It may be gone already: by an attempt whose answer was lost.
                if response.status() != StatusCode::NOT_FOUND {
                    response.error_for_status()?;
                }
                cx.send(step, StepCommand::NoteUndone);
            }
            StepEvent::Taken { .. } | StepEvent::Refused { .. } | StepEvent::Undone { .. } => {}
        }
        Ok(())
    }
}

impl HandlerPolicy for Steps {
    fn on_failure(&self, failure: &Failure<'_>) -> HandlerAction<Self> {
        // To give up would leave the seat taken.
        if failure.source.event_type == "UndoStarted" {
            let backoff = Backoff::exponential(Duration::from_secs(1));
            return FailureAction::Retry(backoff.max(Duration::from_secs(600)).forever());
        }
        FailureAction::default_for(failure)
    }
}
