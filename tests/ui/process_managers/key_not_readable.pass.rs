use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[process_manager(subscribes = [Order], key = OrderId)]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saga;

impl React<Order> for Saga {
    fn react(&mut self, _event: &OrderEvent, _cx: &mut Reaction<'_, Self>) {}
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct OrderId(u64);

impl std::fmt::Display for OrderId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for OrderId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl Correlate<Order> for Saga {
    fn correlate(_event: &OrderEvent, _cx: &EventContext<'_>) -> Correlation<OrderId> {
        Correlation::starts_or_continues(OrderId(1))
    }
}

fn main() {}
