use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[projection(subscribes = [Order], key = String)]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Sales;

impl Locate<Order> for Sales {
    fn locate(_event: &OrderEvent, cx: &EventContext<'_>) -> Keys<String> {
        Keys::one(cx.stream_id().to_owned())
    }
}

impl Project<Order> for Sales {
    fn project(&mut self, _event: &OrderEvent, _cx: &EventContext<'_>) {}
}

fn main() {}
