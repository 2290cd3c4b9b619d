use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[process_manager(subscribes = [Order], on_failure = Retry)]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saga;

impl React<Order> for Saga {
    fn react(&mut self, _event: &OrderEvent, _cx: &mut Reaction<'_, Self>) {}
}

impl HandleFailure for Saga {
    fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
        FailureAction::default_for(failure)
    }
}

fn main() {}
