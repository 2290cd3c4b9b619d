use std::convert::Infallible;
use std::sync::Arc;

use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[event_handler(subscribes = [Order])]
struct Mailer;

async fn call(_address: &str) {}

impl Handle<Order> for Mailer {
    type Error = Infallible;

    async fn handle(
        &self,
        _event: &OrderEvent,
        _cx: &mut Handling<'_, Self>,
    ) -> Result<(), Infallible> {
        let receipt = Arc::new(1);
        call("a@example.org").await;
        drop(receipt);
        Ok(())
    }
}

fn main() {}
