use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[process_manager(subscribes = [Order], dispatches = [Inventory], key = String)]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saga {
    placed: u64,
}

impl React<Order> for Saga {
    fn react(&mut self, _event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
        cx.send("inv-1", InventoryCommand::Reserve { qty: 1 });
    }
}

impl Correlate<Order> for Saga {
    fn correlate(_event: &OrderEvent, cx: &EventContext<'_>) -> Correlation<String> {
        Correlation::starts_or_continues(cx.stream_id().to_owned())
    }
}

fn main() {}
