//! Ranges, prefixes, indexes and pages of rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use eventfold_es::contract::RowProjection;
use eventfold_es::disk::SplitMix64;
use eventfold_es::prelude::*;
use eventfold_es::store::{PageToken, RowQuery};
use eventfold_es_tests::{ReadOnlyDisk, TestResult};

use crate::SOON;
use crate::common::shop::{Order, OrderCommand, OrderEvent, place};

/// One row for each order, in the order of its number.
#[projection(subscribes = [Order], key = u32)]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Orders {
    #[index]
    sku: String,
    #[index]
    qty: i64,
    #[index]
    place: (Option<bool>, i64),
}

impl Locate<Order> for Orders {
    fn locate(_event: &OrderEvent, cx: &EventContext<'_>) -> Keys<u32> {
        cx.stream_id().parse().map_or(Keys::none(), Keys::one)
    }
}

impl Project<Order> for Orders {
    fn project(&mut self, event: &OrderEvent, cx: &EventContext<'_>) {
        match event {
            OrderEvent::Placed { sku, qty } => {
                self.sku.clone_from(sku);
                self.qty = i64::from(*qty) - 5;
                self.place = (self.qty.checked_rem(3).map(|rest| rest == 0), -self.qty);
            }
            OrderEvent::Confirmed => cx.delete(),
        }
    }
}

async fn keys<P: RowProjection>(
    query: RowQuery<P>,
) -> Result<Vec<P::Key>, eventfold_es::StoreError> {
    Ok(query
        .collect()
        .await?
        .into_iter()
        .map(|(key, _)| key)
        .collect())
}

#[tokio::test]
async fn rows_are_found_by_key_and_by_index() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::builder(base.path())
        .projection::<Orders>()
        .open()
        .await?;
    for (id, sku, qty) in [
        ("10", "tea", 3),
        ("9", "jam", 7),
        ("255", "teapot", 7),
        ("256", "", 5),
        ("x", "no", 1),
    ] {
        store.send(id, place(sku, qty), ()).await?;
    }
    store.wait_for::<Orders>(5, SOON).await?;
    let rows = store.rows::<Orders>()?;
    // Numbers are in their order, and not in that of their text.
    assert_eq!(keys(rows.all()).await?, [9, 10, 255, 256]);
    assert_eq!(keys(rows.all().backwards()).await?, [256, 255, 10, 9]);
    assert_eq!(keys(rows.range(10..256)).await?, [10, 255]);
    assert_eq!(keys(rows.range(10..=256).limit(2)).await?, [10, 255]);
    assert_eq!(keys(rows.range(..10).backwards()).await?, [9]);
    let behind = (std::ops::Bound::Excluded(10), std::ops::Bound::Unbounded);
    assert_eq!(keys(rows.range(behind)).await?, [255, 256]);
    #[expect(clippy::reversed_empty_ranges, reason = "it has no rows")]
    let reversed = rows.range(20..10);
    assert!(keys(reversed).await?.is_empty());
    assert!(keys(rows.all().limit(0)).await?.is_empty());

    assert_eq!(keys(rows.by(Orders::SKU, "tea")).await?, [10]);
    assert_eq!(keys(rows.by(Orders::SKU, "te")).await?, [0; 0]);
    assert_eq!(keys(rows.by(Orders::SKU, "")).await?, [256]);
    assert_eq!(keys(rows.by(Orders::QTY, &2)).await?, [9, 255]);
    assert_eq!(
        keys(rows.by(Orders::QTY, &2).backwards().limit(1)).await?,
        [255]
    );
    // Negative numbers come first.
    assert_eq!(
        keys(rows.by_range(Orders::QTY, ..)).await?,
        [10, 256, 9, 255]
    );
    assert_eq!(keys(rows.by_range(Orders::QTY, ..=0)).await?, [10, 256]);
    assert_eq!(keys(rows.by_range(Orders::QTY, 0..2)).await?, [256]);
    assert_eq!(
        keys(rows.by_range(Orders::SKU, "b".to_owned()..)).await?,
        [9, 10, 255]
    );
    assert_eq!(
        keys(rows.by_range(Orders::PLACE, (Some(true), i64::MIN)..)).await?,
        [256]
    );
    assert_eq!(rows.by_range(Orders::QTY, 2..).count().await?, 2);
    assert_eq!(rows.range(..=10).count().await?, 2);

    // The entries of a changed and of a removed row go.
    store.send("256", OrderCommand::Confirm, ()).await?;
    store.wait_for::<Orders>(6, SOON).await?;
    assert_eq!(keys(rows.by_range(Orders::QTY, ..)).await?, [10, 9, 255]);
    Ok(())
}

/// One row for each country and number.
#[projection(subscribes = [Order], key = (String, u32))]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct ByCountry {
    qty: u32,
}

impl Locate<Order> for ByCountry {
    fn locate(event: &OrderEvent, cx: &EventContext<'_>) -> Keys<(String, u32)> {
        match (event, cx.stream_id().parse()) {
            (OrderEvent::Placed { sku, .. }, Ok(number)) => Keys::one((sku.clone(), number)),
            _ => Keys::none(),
        }
    }
}

impl Project<Order> for ByCountry {
    fn project(&mut self, event: &OrderEvent, _cx: &EventContext<'_>) {
        if let OrderEvent::Placed { qty, .. } = event {
            self.qty = *qty;
        }
    }
}

#[tokio::test]
async fn keys_of_several_fields_have_prefixes_and_ranges() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::builder(base.path())
        .projection::<ByCountry>()
        .open()
        .await?;
    for (id, country) in [
        ("1", "CH"),
        ("2", "CZ"),
        ("3", "CH"),
        ("4", "C"),
        ("5", "DE"),
    ] {
        store.send(id, place(country, 1), ()).await?;
    }
    store.wait_for::<ByCountry>(5, SOON).await?;
    let rows = store.rows::<ByCountry>()?;
    let number = async |query: RowQuery<ByCountry>| -> Result<Vec<u32>, eventfold_es::StoreError> {
        Ok(keys(query)
            .await?
            .into_iter()
            .map(|(_, number)| number)
            .collect())
    };
    assert_eq!(number(rows.prefix("C")).await?, [4, 1, 3, 2]);
    assert_eq!(number(rows.prefix("CH")).await?, [1, 3]);
    assert_eq!(number(rows.prefix("X")).await?, [0; 0]);
    let from = ("CH".to_owned(), 2);
    assert_eq!(number(rows.range(from..)).await?, [3, 2, 5]);
    assert_eq!(
        rows.get(&("DE".to_owned(), 5)).await?.map(|row| row.qty),
        Some(1)
    );
    Ok(())
}

#[tokio::test]
async fn pages_are_the_rows_in_both_directions_by_key_and_by_index() -> TestResult {
    let base = tempfile::tempdir()?;
    let store = AggregateStore::builder(base.path())
        .projection::<Orders>()
        .open()
        .await?;
    let mut random = SplitMix64::new(7);
    let mut model = BTreeMap::new();
    for _ in 0..120 {
        let (id, qty) = (random.below(1_000) as u32, random.below(12) as u32);
        if model.insert(id, i64::from(qty.max(1)) - 5).is_none() {
            store
                .send(&id.to_string(), place("tea", qty.max(1)), ())
                .await?;
        } else {
            // Placed before: nothing is stored.
            model.insert(
                id,
                store
                    .get::<Order>(&id.to_string())
                    .await?
                    .state()
                    .await?
                    .qty as i64
                    - 5,
            );
        }
    }
    store.wait_for::<Orders>(model.len() as u64, SOON).await?;
    let rows = store.rows::<Orders>()?;
    let by_key: Vec<_> = model.keys().copied().collect();
    let mut by_qty: Vec<_> = model.iter().map(|(key, qty)| (*qty, *key)).collect();
    by_qty.sort_unstable();
    let by_qty: Vec<_> = by_qty.into_iter().map(|(_, key)| key).collect();
    for size in [1, 7, 50, 120] {
        for is_backwards in [false, true] {
            for is_index in [false, true] {
                let mut read = Vec::new();
                let mut token: Option<PageToken> = None;
                loop {
                    let query = match is_index {
                        true => rows.by_range(Orders::QTY, ..),
                        false => rows.all(),
                    };
                    let query = if is_backwards {
                        query.backwards()
                    } else {
                        query
                    };
                    let page = query.limit(size).after(token).page().await?;
                    assert!(page.rows.len() <= size);
                    read.extend(page.rows.into_iter().map(|(key, _)| key));
                    // A token survives a URL.
                    match page.next {
                        Some(next) => token = Some(next.to_string().parse()?),
                        None => break,
                    }
                }
                let mut wanted = if is_index {
                    by_qty.clone()
                } else {
                    by_key.clone()
                };
                if is_backwards {
                    wanted.reverse();
                }
                assert_eq!(read, wanted, "{size} {is_backwards} {is_index}");
            }
        }
    }
    for wrong in ["", "0", "xy", "0g", "+1", "日本"] {
        let error = wrong.parse::<PageToken>().unwrap_err().to_string();
        assert!(error.contains("is no page token"), "{error}");
    }
    // A token of another selection stays within this selection.
    let other = rows.by(Orders::SKU, "tea").limit(1).page().await?.next;
    assert!(other.is_some());
    let within = keys(rows.range(10..20).after(other)).await?;
    assert!(within.iter().all(|key| (10..20).contains(key)));
    Ok(())
}

/// Rows are files that the store makes.
#[tokio::test]
async fn a_read_only_file_system_has_no_rows() -> TestResult {
    let base = tempfile::tempdir()?;
    let builder = || AggregateStore::builder(base.path()).projection::<Orders>();
    let store = builder().open().await?;
    let placed = store.send("10", place("tea", 3), ()).await?;
    store.wait_for::<Orders>(placed.position, SOON).await?;
    store.close().await?;
    let disk = Arc::new(ReadOnlyDisk::default());
    let store = builder().disk(disk).open().await?;
    let error = store.rows::<Orders>().unwrap_err().to_string();
    assert!(
        error.contains("read-only") && error.contains("`orders` has no rows: copy the directory"),
        "{error}"
    );
    Ok(())
}
