use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[process_manager(subscribes = [Order], keyed_by = String)]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saga;

impl React<Order> for Saga {
    fn react(&mut self, _event: &OrderEvent, _cx: &mut Reaction<'_, Self>) {}
}

impl Correlate<Order> for Saga {
    fn correlate(_event: &OrderEvent, cx: &EventContext<'_>) -> Correlation<String> {
        Correlation::starts_or_continues(cx.stream_id().to_owned())
    }
}

fn main() {}
