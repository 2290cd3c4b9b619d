use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};

use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[event_handler(subscribes = [Order])]
struct Mailer {
    sent: Mutex<u32>,
}

async fn call(_address: &str) {}

impl Handle<Order> for Mailer {
    type Error = Infallible;

    async fn handle(
        &self,
        _event: &OrderEvent,
        _cx: &mut Handling<'_, Self>,
    ) -> Result<(), Infallible> {
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        call("a@example.org").await;
        Ok(())
    }
}

fn main() {}
