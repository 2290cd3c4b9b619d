use eventfold_es::AggregateStoreBuilder;
use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;
use std::time::Duration;

#[derive(Serialize, Deserialize)]
struct PaymentDue;

#[process_manager(subscribes = [Order], dispatches = [Inventory], key = String, deadlines = [PaymentDue], on_failure)]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saga {
    units: u64,
}

impl Correlate<Order> for Saga {
    fn correlate(_event: &OrderEvent, cx: &EventContext<'_>) -> Correlation<String> {
        Correlation::starts(cx.stream_id().to_owned())
    }
}

impl React<Order> for Saga {
    fn react(&mut self, _event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
        cx.schedule("payment", Duration::from_secs(60), PaymentDue);
        cx.send(cx.key(), InventoryCommand::Reserve { qty: 1 });
    }
}

impl OnDeadline<PaymentDue> for Saga {
    fn on_deadline(&mut self, _message: PaymentDue, cx: &mut Reaction<'_, Self>) {
        cx.complete();
    }
}

impl HandleFailure for Saga {
    fn on_failure(&self, failure: &Failure<'_>) -> FailureAction<Self> {
        FailureAction::default_for(failure)
    }
}

fn open(directory: &str) -> AggregateStoreBuilder {
    AggregateStore::builder(directory).process_manager::<Saga>()
}

fn main() {}
