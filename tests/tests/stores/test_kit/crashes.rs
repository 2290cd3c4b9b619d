use std::cell::Cell;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};

use eventfold_es::prelude::*;
use eventfold_es::testing::{self, CrashPoints};

use crate::test_kit::domain::{Order, OrderCommand, OrderEvent, Payment, PaymentCommand};

#[process_manager(subscribes = [Order], dispatches = [Payment])]
#[derive(Debug, Default, Serialize, Deserialize)]
struct Cashier;

impl React<Order> for Cashier {
    fn react(&mut self, event: &OrderEvent, cx: &mut Reaction<'_, Self>) {
        if let OrderEvent::Placed { .. } = event {
            let order = cx.stream_id().to_owned();
            cx.send("cash", PaymentCommand::Request { order });
        }
    }
}

async fn place(store: &AggregateStore, id: &str) {
    let items = vec!["tea".to_owned()];
    let placed = store.send(id, OrderCommand::Place { items }, CommandContext::default());
    placed.await.unwrap();
}

async fn orders(store: &AggregateStore) -> Vec<String> {
    let streams = store.list_streams(Some("order")).await.unwrap();
    streams.into_iter().map(|(_, id)| id).collect()
}

async fn requested(store: &AggregateStore) -> Vec<String> {
    let payment = store.get::<Payment>("cash").await.unwrap();
    let mut requested = payment.state().await.unwrap().requested;
    requested.sort();
    requested
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn each_order_is_asked_to_be_paid_once_whatever_crashes() {
    let seen = Cell::new([0_u32; 3]);
    let crashes = testing::for_each_crash_point(
        |builder| builder.process_manager::<Cashier>(),
        async |store| {
            place(&store, "a").await;
            place(&store, "b").await;
        },
        async |store| {
            assert_eq!(requested(&store).await, orders(&store).await);
            let mut counts = seen.get();
            counts[orders(&store).await.len()] += 1;
            seen.set(counts);
            place(&store, "c").await;
            assert_eq!(requested(&store).await, orders(&store).await);
        },
    )
    .await;
    // Before the first order, between both and behind the second.
    assert!(
        seen.get().iter().all(|count| *count > 0),
        "{:?}",
        seen.get()
    );
    assert!(
        crashes.points > 100 && crashes.operations > 20,
        "{crashes:?}"
    );
}

/// The keys that were given to the service outside, in order.
type Keys = Arc<Mutex<Vec<String>>>;

/// Tells a service outside of each order, and asks for its payment.
#[event_handler(subscribes = [Order], dispatches = [Payment])]
struct Caller(Keys);

impl Handle<Order> for Caller {
    type Error = Infallible;

    async fn handle(
        &self,
        event: &OrderEvent,
        cx: &mut Handling<'_, Self>,
    ) -> Result<(), Infallible> {
        if let OrderEvent::Placed { .. } = event {
            self.0.lock().unwrap().push(cx.idempotency_key().to_owned());
            let order = cx.stream_id().to_owned();
            cx.send("cash", PaymentCommand::Request { order });
        }
        Ok(())
    }
}

#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_call_is_made_again_after_a_crash_before_its_commit_and_not_after_another() {
    let keys = Keys::default();
    let take = || std::mem::take(&mut *keys.lock().unwrap());
    // The number of crash points with both orders, by the number of calls after the crash.
    let seen = Cell::new([0_u32; 3]);
    let crashes = testing::for_each_crash_point(
        |builder| builder.event_handler(Caller(Arc::clone(&keys))),
        async |store| {
            place(&store, "a").await;
            place(&store, "b").await;
            store.run_process_managers().await.unwrap();
            assert_eq!(take(), ["caller:order/a/1", "caller:order/b/1"]);
        },
        async |store| {
            let orders = orders(&store).await;
            assert_eq!(requested(&store).await, orders, "exactly once inside");
            let again = take();
            let own = |key: &String| {
                orders
                    .iter()
                    .any(|id| *key == format!("caller:order/{id}/1"))
            };
            assert!(again.iter().all(own), "{again:?}");
            if orders.len() == 2 {
                let mut counts = seen.get();
                counts[again.len()] += 1;
                seen.set(counts);
            }
        },
    )
    .await;
    // Whether both calls are made again depends on the order of the second order and the first call.
    let [not_again, one_again, both_again] = seen.get();
    assert!(
        not_again > 0 && one_again + both_again > 0,
        "{:?} of {crashes:?}",
        seen.get()
    );
}

/// A check that is wrong has to fail somewhere: here, that a durable order has not been asked to be paid.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_wrong_claim_fails() {
    let claimed = CrashPoints::new().at_most(100).seed(7).for_each(
        |builder| builder.process_manager::<Cashier>(),
        async |store| place(&store, "a").await,
        async |store| assert!(requested(&store).await.is_empty(), "it was requested"),
    );
    let failed = catch_unwind(claimed).await.unwrap_err();
    assert!(failed.contains("it was requested"), "{failed}");
}

/// One that keeps what it did in memory only, beside the store: it does not know after a crash that it was done.
#[tokio::test]
#[cfg_attr(eventfold_memory_journal, ignore = "it is about the disk")]
async fn a_claim_that_does_not_survive_a_crash_fails() {
    let acknowledged = Cell::new(false);
    let claimed = testing::for_each_crash_point(
        |builder| builder.process_manager::<Cashier>(),
        async |store| {
            place(&store, "a").await;
            acknowledged.set(true);
        },
        async |store| {
            assert_eq!(
                !orders(&store).await.is_empty(),
                acknowledged.get(),
                "forgotten"
            );
        },
    );
    let failed = catch_unwind(claimed).await.unwrap_err();
    assert!(failed.contains("forgotten"), "{failed}");
}

/// What a future panics with.
async fn catch_unwind<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(move |context| {
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(payload) => {
                let text = match payload.downcast::<String>() {
                    Ok(text) => *text,
                    Err(payload) => payload
                        .downcast_ref::<&str>()
                        .copied()
                        .unwrap_or_default()
                        .to_owned(),
                };
                std::task::Poll::Ready(Err(text))
            }
        }
    })
    .await
}
