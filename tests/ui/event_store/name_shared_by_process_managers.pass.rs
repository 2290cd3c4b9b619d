use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[process_manager(subscribes = [Order], name = "audit")]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Audit;

impl React<Order> for Audit {
    fn react(&mut self, _event: &OrderEvent, _cx: &mut Reaction<'_, Self>) {}
}

#[process_manager(subscribes = [Order], name = "audit-per-country")]
#[derive(Debug, Default, Serialize, Deserialize)]
struct AuditPerCountry;

impl React<Order> for AuditPerCountry {
    fn react(&mut self, _event: &OrderEvent, _cx: &mut Reaction<'_, Self>) {}
}

#[event_store(aggregates = [Order], process_managers = [Audit, AuditPerCountry])]
struct Shop;

fn main() {
    let _ = Shop::builder("shop");
}
