//! The saga: a seat, then a charge. If the charge is refused, it gives the seat back.

use eventfold_es::prelude::*;

use super::purchase::{
    Purchase, PurchaseCommand, PurchaseEvent, Step, StepCommand, StepEvent, Thing,
};

/// One instance for each purchase.
#[process_manager(subscribes = [Purchase, Step], dispatches = [Purchase, Step], key = String)]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct PurchaseSaga {
    card: String,
    /// The reason to undo the steps.
    refused: String,
}

impl PurchaseSaga {
    fn take(&self, thing: Thing, cx: &mut Reaction<'_, Self>) {
        let (purchase, card) = (cx.key().clone(), self.card.clone());
        let take = StepCommand::Take {
            thing,
            purchase,
            card,
        };
        cx.send(step(cx.key(), thing), take);
    }
}

pub fn step(purchase: &str, thing: Thing) -> String {
    match thing {
        Thing::Seat => format!("{purchase}-seat"),
        Thing::Charge => format!("{purchase}-charge"),
    }
}

impl Correlate<Purchase> for PurchaseSaga {
    fn correlate(event: &PurchaseEvent, cx: &EventContext<'_>) -> Correlation<String> {
        let purchase = cx.stream_id().to_owned();
        match event {
            PurchaseEvent::Started { .. } => Correlation::starts(purchase),
            _ => Correlation::continues(purchase),
        }
    }
}

impl Correlate<Step> for PurchaseSaga {
    fn correlate(event: &StepEvent, _cx: &EventContext<'_>) -> Correlation<String> {
        match event {
            StepEvent::Started { .. } | StepEvent::UndoStarted { .. } => Correlation::none(),
            StepEvent::Taken { purchase, .. }
            | StepEvent::Refused { purchase, .. }
            | StepEvent::Undone { purchase } => Correlation::continues(purchase.clone()),
        }
    }
}

impl React<Purchase> for PurchaseSaga {
    fn react(&mut self, event: &PurchaseEvent, cx: &mut Reaction<'_, Self>) {
        match event {
            PurchaseEvent::Started { card } => {
                self.card.clone_from(card);
                self.take(Thing::Seat, cx);
            }
            PurchaseEvent::Confirmed | PurchaseEvent::Cancelled { .. } => cx.complete(),
        }
    }
}

impl React<Step> for PurchaseSaga {
    fn react(&mut self, event: &StepEvent, cx: &mut Reaction<'_, Self>) {
        match event {
            StepEvent::Taken { thing, .. } => match thing {
                Thing::Seat => self.take(Thing::Charge, cx),
                Thing::Charge => cx.send(cx.key(), PurchaseCommand::Confirm),
            },
            // The seat was taken: it is given back before the purchase ends.
            StepEvent::Refused { reason, .. }
                if cx.stream_id() == step(cx.key(), Thing::Charge) =>
            {
                self.refused.clone_from(reason);
                cx.send(step(cx.key(), Thing::Seat), StepCommand::Undo);
            }
            StepEvent::Refused { reason, .. } => {
                let reason = reason.clone();
                cx.send(cx.key(), PurchaseCommand::Cancel { reason });
            }
            StepEvent::Undone { .. } => {
                let reason = self.refused.clone();
                cx.send(cx.key(), PurchaseCommand::Cancel { reason });
            }
            StepEvent::Started { .. } | StepEvent::UndoStarted { .. } => {}
        }
    }
}
