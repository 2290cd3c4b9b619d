//! A projection with rows that is written by hand, in the place of the code that the macro generates.

use std::time::Duration;

use eventfold_es::contract::{
    EncodeError, IndexEntries, ProjectError, ReadModel, RowProjection, RowSink, RowTx, RowsError,
    SinkError, SinkProjection, StoredEvent,
};
use eventfold_es::prelude::*;
use eventfold_es::{AggregateStoreBuilder, Index, Keys};
use eventfold_es_tests::TestResult;

use crate::common::shop::{Inventory, Order, OrderEvent, place};

/// The orders of each article.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Articles {
    orders: u32,
    qty: u32,
}

impl Articles {
    const QTY: Index<Self, u32> = Index::new("qty");
}

impl SinkProjection for Articles {
    type Sink = RowSink<Self>;
    const NAME: &'static str = "articles";
    const SUBSCRIPTIONS: &'static [&'static str] = &["order"];

    fn prepare(tx: &mut RowTx<'_, Self>) -> Result<(), RowsError> {
        tx.clear()
    }

    fn apply(
        aggregate_type: &str,
        stream_id: &str,
        event: &StoredEvent<'_>,
        tx: &mut RowTx<'_, Self>,
    ) -> Result<(), SinkError<RowsError>> {
        let event = event.recorded().map_err(ProjectError::from)?;
        let context = EventContext::new(aggregate_type, stream_id, event);
        let decoded = OrderEvent::from_event(event).map_err(ProjectError::from)?;
        let OrderEvent::Placed { sku, qty } = decoded else {
            return Ok(());
        };
        tx.change(Keys::one(sku), &context, |row, _| {
            row.orders += 1;
            row.qty += qty;
        })
    }
}

impl RowProjection for Articles {
    type Key = String;
    const INDEXES: &'static [&'static str] = &["qty"];

    fn index(&self, entries: &mut IndexEntries<'_>) -> Result<(), EncodeError> {
        entries.add(&self.qty)
    }
}

impl ReadModel for Articles {
    const NAME: &'static str = "articles";
    const SUBSCRIPTIONS: Option<&'static [&'static str]> = Some(&["order"]);

    fn register(builder: AggregateStoreBuilder) -> AggregateStoreBuilder {
        builder.row_projection::<Self>()
    }
}

#[tokio::test]
async fn rows_are_written_without_the_macro() -> TestResult {
    let base = tempfile::tempdir()?;
    let open = || {
        AggregateStore::builder(base.path())
            .projection::<Articles>()
            .open()
    };
    let store = open().await?;
    for (id, sku, qty) in [("1", "tea", 5), ("2", "jam", 9), ("3", "tea", 6)] {
        store.send(id, place(sku, qty), ()).await?;
    }
    let _ = store.get::<Inventory>("tea").await?;
    let reached = store
        .wait_for::<Articles>(3, Duration::from_secs(10))
        .await?;
    assert_eq!(reached, 3);
    let rows = store.rows::<Articles>()?;
    let tea = Articles { orders: 2, qty: 11 };
    let jam = Articles { orders: 1, qty: 9 };
    assert_eq!(rows.get("tea").await?, Some(tea.clone()));
    assert_eq!(rows.get("salt").await?, None);
    let by_qty = rows
        .by_range(Articles::QTY, ..)
        .backwards()
        .collect()
        .await?;
    assert_eq!(by_qty, [("tea".to_owned(), tea), ("jam".to_owned(), jam)]);
    assert_eq!(rows.by(Articles::QTY, &9).count().await?, 1);
    store
        .get::<Order>("4")
        .await?
        .execute(place("jam", 1), ())
        .await?;
    store.close().await?;

    let store = open().await?;
    store
        .wait_for::<Articles>(4, Duration::from_secs(10))
        .await?;
    let rows = store.rows::<Articles>()?;
    assert_eq!(rows.get("jam").await?.map(|row| row.qty), Some(10));
    assert_eq!(rows.all().count().await?, 2);
    store.close().await?;
    assert!(rows.get("jam").await.is_err());
    Ok(())
}
