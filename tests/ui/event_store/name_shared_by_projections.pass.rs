use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[projection(subscribes = [Order], name = "sales")]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Sales;

impl Project<Order> for Sales {
    fn project(&mut self, _event: &OrderEvent, _cx: &EventContext<'_>) {}
}

#[projection(subscribes = [Order], name = "sales-per-country")]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct SalesPerCountry;

impl Project<Order> for SalesPerCountry {
    fn project(&mut self, _event: &OrderEvent, _cx: &EventContext<'_>) {}
}

#[event_store(aggregates = [Order], projections = [Sales, SalesPerCountry])]
struct Shop;

fn main() {
    let _ = Shop::builder("shop");
}
