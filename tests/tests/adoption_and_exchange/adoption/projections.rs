use std::fs;
use std::path::Path;

use eventfold_es_tests::crash::scratch;

use super::domain::*;

const CHECKPOINT: &str = "projections/deposits/checkpoint.json";

/// 0.2.0 has folded some of the deposits, stream by stream, and others not.
async fn half_caught_up(base: &Path) -> Deposits {
    let old = old_store(base).await;
    for (id, amount) in [("b", 1), ("a", 2), ("b", 3)] {
        old_deposit(&old, id, amount).await;
    }
    let folded = old.projection::<Deposits>().unwrap();
    assert_eq!(folded.seen, [2, 1, 3]);
    for (id, amount) in [("a", 4), ("c", 5)] {
        old_deposit(&old, id, amount).await;
    }
    end(old).await;
    folded
}

fn sorted(mut amounts: Vec<u64>) -> Vec<u64> {
    amounts.sort();
    amounts
}

#[tokio::test]
async fn scenario_45_a_projection_goes_on_where_its_checkpoint_stands() {
    let place = scratch();
    let base = place.path();
    let folded = half_caught_up(base).await;
    let store = open(base).await;
    let adopted = &store.recovery().adoption.as_ref().unwrap().projections;
    assert_eq!(
        (&*adopted[0].name, &adopted[0].problem),
        ("deposits", &None)
    );
    deposit(&store, "a", 6).await;
    let deposits = store.projection::<Deposits>().await.unwrap();
    assert_eq!(deposits.seen[..3], folded.seen);
    assert_eq!(sorted(deposits.seen.clone()), [1, 2, 3, 4, 5, 6]);
    assert_eq!(deposits.sum, 21);
    store.close().await.unwrap();
    let store = open(base).await;
    assert_eq!(store.projection::<Deposits>().await.unwrap(), deposits);
    // Built anew, it sees everything in the order in which it happened.
    store.rebuild_projection::<Deposits>().await.unwrap();
    let rebuilt = store.projection::<Deposits>().await.unwrap();
    assert_eq!(rebuilt.sum, 21);
    assert_eq!(sorted(rebuilt.seen.clone()), [1, 2, 3, 4, 5, 6]);
    store.close().await.unwrap();
}

/// It is not read before the store was opened several times, by programs that do not know it, too.
#[tokio::test]
async fn its_cursors_survive_until_it_is_past_them() {
    let place = scratch();
    let base = place.path();
    let folded = half_caught_up(base).await;
    for opening in 0..3 {
        let store = match opening {
            1 => open(base).await,
            _ => eventfold_es::AggregateStore::open(base).await.unwrap(),
        };
        store.close().await.unwrap();
        fs::remove_file(base.join("meta/checkpoint.json")).unwrap();
    }
    let store = open(base).await;
    let deposits = store.projection::<Deposits>().await.unwrap();
    assert_eq!(deposits.seen[..3], folded.seen);
    assert_eq!(sorted(deposits.seen.clone()), [1, 2, 3, 4, 5]);
    store.close().await.unwrap();
}

#[tokio::test]
async fn one_that_cannot_go_on_is_built_anew() {
    for damage in ["", "{\"state\":{\"sum\":\"text\"},\"cursors\":{}}", "hash"] {
        let place = scratch();
        let base = place.path();
        half_caught_up(base).await;
        let checkpoint = base.join(CHECKPOINT);
        let whole = fs::read_to_string(&checkpoint).unwrap();
        let damaged = match damage {
            "hash" => whole.replacen("\"hash\": \"", "\"hash\": \"0", 1),
            other => other.to_owned(),
        };
        fs::write(&checkpoint, damaged).unwrap();
        let store = open(base).await;
        let deposits = store.projection::<Deposits>().await.unwrap();
        assert_eq!(deposits.sum, 15, "{damage}");
        assert_eq!(sorted(deposits.seen.clone()), [1, 2, 3, 4, 5]);
        store.close().await.unwrap();
    }
}
