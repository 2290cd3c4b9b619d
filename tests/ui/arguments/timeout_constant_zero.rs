use std::convert::Infallible;

use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[event_handler(subscribes = [Order], timeout = LIMIT)]
struct Mailer;

const LIMIT: std::time::Duration = std::time::Duration::from_secs(0);

impl Handle<Order> for Mailer {
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
