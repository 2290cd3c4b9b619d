use eventfold_es::prelude::*;

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

fn main() {}
