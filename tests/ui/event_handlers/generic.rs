use std::convert::Infallible;

use eventfold_es::prelude::*;
use eventfold_es_tests_domain::*;

#[event_handler(subscribes = [Order])]
struct Mailer<C> {
    client: C,
}

impl<C> Handle<Order> for Mailer<C> {
    type Error = Infallible;

    async fn handle(
        &self,
        _event: &OrderEvent,
        _cx: &mut Handling<'_, Self>,
    ) -> Result<(), Infallible> {
        Ok(())
    }
}

fn main() {}
