use std::convert::Infallible;

use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[schedule(cron = "0 2 * * *", time_zone = "Europe/Berlin")]
struct Nightly;

#[event_handler(subscribes = [Nightly])]
struct Reporter;

impl Handle<Nightly> for Reporter {
    type Error = Infallible;

    async fn handle(
        &self,
        _event: &OrderEvent,
        _cx: &mut Handling<'_, Self>,
    ) -> Result<(), Infallible> {
        Ok(())
    }
}

fn main() {}
