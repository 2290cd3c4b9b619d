use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[event_handler(subscribes = [Order])]
struct Mailer;

impl Handle<Order> for Mailer {
    type Error = String;

    async fn handle(
        &self,
        _event: &OrderEvent,
        _cx: &mut Handling<'_, Self>,
    ) -> Result<(), String> {
        Ok(())
    }
}

fn main() {}
