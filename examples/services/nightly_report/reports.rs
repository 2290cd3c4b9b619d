//! The schedule, the process manager that counts, and the reports.

use std::convert::Infallible;

use eventfold_es::prelude::*;

use super::sale::{Sale, SaleEvent};

/// Two in the morning in Berlin. After days without the program, one report is enough.
#[schedule(cron = "0 2 * * *", time_zone = "Europe/Berlin", missed = "once")]
pub struct Nightly;

/// The sales since the last report.
#[process_manager(subscribes = [Sale, Nightly], dispatches = [Report])]
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Counter {
    sales: u64,
    cents: u64,
}

impl React<Sale> for Counter {
    fn react(&mut self, event: &SaleEvent, _cx: &mut Reaction<'_, Self>) {
        let SaleEvent::Sold { cents } = event;
        self.sales += 1;
        self.cents += cents;
    }
}

impl React<Nightly> for Counter {
    fn react(&mut self, event: &Occurrence, cx: &mut Reaction<'_, Self>) {
        let Self { sales, cents } = std::mem::take(self);
        let nights = event.stands_for();
        let complete = ReportCommand::Complete {
            sales,
            cents,
            nights,
        };
        cx.send(event.local_date(), complete);
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ReportCommand {
    Complete { sales: u64, cents: u64, nights: u64 },
    NoteFile { name: String },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, DomainEvent)]
#[serde(tag = "type", content = "data")]
pub enum ReportEvent {
    Completed { sales: u64, cents: u64, nights: u64 },
    Written { file: String },
}

/// The report of one date, such as `2026-11-30`, and its file.
#[aggregate(error = Infallible)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub file: Option<String>,
}

impl Decider for Report {
    fn decide(&self, command: ReportCommand) -> Result<Vec<ReportEvent>, Infallible> {
        Ok(vec![match command {
            ReportCommand::Complete {
                sales,
                cents,
                nights,
            } => ReportEvent::Completed {
                sales,
                cents,
                nights,
            },
            ReportCommand::NoteFile { name } => ReportEvent::Written { file: name },
        }])
    }

    fn evolve(&mut self, event: &ReportEvent) {
        if let ReportEvent::Written { file } = event {
            self.file = Some(file.clone());
        }
    }
}
