use std::convert::Infallible;

use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[event_handler(subscribes = [Order], key = u64)]
struct Mailer;

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

impl HandleKey<Order> for Mailer {
    fn key(_event: &OrderEvent, cx: &EventContext<'_>) -> String {
        cx.stream_id().to_owned()
    }
}

fn main() {}
