use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[process_manager(subscribes = [Order], dispatches = [Order], key = String)]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saga;

impl Correlate<Order> for Saga {
    fn correlate(_event: &OrderEvent, cx: &EventContext<'_>) -> Correlation<String> {
        Correlation::starts(cx.stream_id().to_owned())
    }
}

#[derive(Debug)]
struct OrderId;

impl std::fmt::Display for OrderId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ord-1")
    }
}

impl React<Order> for Saga {
    fn react(&mut self, _event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
        cx.send(OrderId, OrderCommand::Place { qty: 1 });
    }
}

fn main() {}
