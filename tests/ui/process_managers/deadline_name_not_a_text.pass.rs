use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;
use std::time::Duration;

#[process_manager(subscribes = [Order], deadlines = [PaymentDue])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saga;

impl React<Order> for Saga {
    fn react(&mut self, _event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
        cx.schedule("payment", Duration::from_secs(60), PaymentDue);
    }
}

#[derive(Serialize, Deserialize)]
struct PaymentDue;

impl OnDeadline<PaymentDue> for Saga {
    fn on_deadline(&mut self, _message: PaymentDue, _cx: &mut Reaction<'_, Self>) {}
}

fn main() {}
