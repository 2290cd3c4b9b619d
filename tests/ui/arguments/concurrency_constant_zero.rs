use std::convert::Infallible;

use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[event_handler(subscribes = [Order], concurrency = CALLS)]
struct Mailer;

const CALLS: usize = 0;

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
