//! The process manager that waits for a decision.

use std::time::Duration;

use eventfold_es::prelude::*;

use super::expense::{Expense, ExpenseCommand, ExpenseEvent};

pub const DAY: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Serialize, Deserialize)]
pub struct ReminderDue;

#[derive(Debug, Serialize, Deserialize)]
pub struct DecisionDue;

/// One instance for each expense: two reminders, a day apart, and the end after three days.
#[process_manager(
    subscribes = [Expense],
    dispatches = [Expense],
    key = String,
    deadlines = [ReminderDue, DecisionDue]
)]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Approvals {
    reminders: u32,
}

impl Correlate<Expense> for Approvals {
    fn correlate(event: &ExpenseEvent, cx: &EventContext<'_>) -> Correlation<String> {
        let expense = cx.stream_id().to_owned();
        match event {
            ExpenseEvent::Submitted { .. } => Correlation::starts(expense),
            _ => Correlation::continues(expense),
        }
    }
}

impl React<Expense> for Approvals {
    fn react(&mut self, event: &ExpenseEvent, cx: &mut Reaction<'_, Self>) {
        match event {
            ExpenseEvent::Submitted { .. } => {
                cx.schedule("reminder", DAY, ReminderDue);
                cx.schedule("decision", 3 * DAY, DecisionDue);
            }
            ExpenseEvent::Reminded { .. } => {}
            // The deadlines end with the instance.
            ExpenseEvent::Approved | ExpenseEvent::Refused { .. } | ExpenseEvent::Expired => {
                cx.complete();
            }
        }
    }
}

impl OnDeadline<ReminderDue> for Approvals {
    fn on_deadline(&mut self, _message: ReminderDue, cx: &mut Reaction<'_, Self>) {
        cx.send(cx.key(), ExpenseCommand::Remind);
        self.reminders += 1;
        if self.reminders < 2 {
            cx.schedule("reminder", DAY, ReminderDue);
        }
    }
}

impl OnDeadline<DecisionDue> for Approvals {
    fn on_deadline(&mut self, _message: DecisionDue, cx: &mut Reaction<'_, Self>) {
        cx.send(cx.key(), ExpenseCommand::Expire);
    }
}
