use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[projection(subscribes = [Order])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Sales {
    count: u64,
    #[serde(skip)]
    average: u64,
}

impl Project<Order> for Sales {
    fn project(&mut self, _event: &OrderEvent, _cx: &EventContext<'_>) {
        self.count += 1;
        self.average += self.count;
    }
}

fn main() {}
