use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[event_handler(subscribes = [Order])]
struct Mailer;

impl Handle<Order> for Mailer {
    type Error = u32;

    async fn handle(
        &self,
        _event: &OrderEvent,
        _cx: &mut Handling<'_, Self>,
    ) -> Result<(), u32> {
        Ok(())
    }
}

fn main() {}
