use std::convert::Infallible;

use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[event_handler(subscribes = [Order], dispatches = [Inventory])]
struct Mailer;

impl Handle<Order> for Mailer {
    type Error = Infallible;

    async fn handle(
        &self,
        event: &OrderEvent,
        cx: &mut Handling<'_, Self>,
    ) -> Result<(), Infallible> {
        let OrderEvent::Placed { qty } = event;
        cx.send(cx.stream_id(), InventoryCommand::Reserve { qty: *qty });
        Ok(())
    }
}

#[event_store(aggregates = [Order, Inventory], event_handlers = [Mailer])]
struct Shop;

fn main() {
    let _ = Shop::topology();
}
