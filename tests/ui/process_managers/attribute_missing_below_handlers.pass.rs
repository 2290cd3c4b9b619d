use eventfold_es::prelude::*;

#[process_manager(subscribes = [eventfold_es_tests_domain::Order], deadlines = [PaymentDue], on_failure)]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saga;

#[derive(Serialize, Deserialize)]
struct PaymentDue;

impl OnDeadline<PaymentDue> for Saga {
    fn on_deadline(&mut self, _message: PaymentDue, _cx: &mut Reaction<'_, Self>) {}
}

impl HandleFailure for Saga {
    fn on_failure(&self, _failure: &Failure<'_>) -> FailureAction<Self> {
        FailureAction::Park
    }
}

impl React<eventfold_es_tests_domain::Order> for Saga {
    fn react(
        &mut self,
        _event: &eventfold_es_tests_domain::OrderEvent,
        _cx: &mut Reaction<'_, Self>,
    ) {
    }
}

fn main() {}
