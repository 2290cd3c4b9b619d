use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[process_manager(subscribes = [Order], deadlines = [PaymentDue, stock::PaymentDue])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saga;

impl React<Order> for Saga {
    fn react(&mut self, _event: &OrderEvent, _cx: &mut Reaction<'_, Self>) {}
}

#[derive(Serialize, Deserialize)]
struct PaymentDue;

mod stock {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub struct PaymentDue;
}

impl OnDeadline<PaymentDue> for Saga {
    fn on_deadline(&mut self, _message: PaymentDue, _cx: &mut Reaction<'_, Self>) {}
}

impl OnDeadline<stock::PaymentDue> for Saga {
    fn on_deadline(&mut self, _message: stock::PaymentDue, _cx: &mut Reaction<'_, Self>) {}
}

fn main() {}
