use std::path::Path;

use super::*;
use crate::disk::SystemDisk;
use crate::journal::local::line::NO_HASH;

const NAME: &str = "saga";

fn tables(base: &Path) -> RowTables {
    RowTables::new(&Files::new(Arc::new(SystemDisk)), &Layout::new(base))
}

fn tip(commit: u64) -> Tip {
    Tip {
        commit,
        hash: format!("{commit:016x}"),
        ..Tip::default()
    }
}

fn put(tables: &RowTables, commit: u64, key: &str, value: Option<&str>) {
    let change = RowChange {
        key: key.into(),
        value: value.map(Into::into),
    };
    tables.change(NAME, commit, [change]);
}

fn get(tables: &RowTables, key: &str) -> Option<String> {
    let mut found = tables.get(NAME, &[key]).unwrap();
    found.pop().flatten().map(Into::into)
}

fn all(tables: &RowTables) -> Vec<(String, String)> {
    let rows = tables.range(NAME, &RowRange::of_kind("i"), 100);
    let pair = |row: Row| (row.key.into(), row.value.into());
    rows.unwrap().into_iter().map(pair).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

#[test]
fn what_is_not_saved_yet_hides_what_is() {
    let base = tempfile::tempdir().unwrap();
    let tables = tables(base.path());
    assert_eq!(get(&tables, "ia"), None);
    put(&tables, 1, "ia", Some("1"));
    put(&tables, 1, "ib", Some("2"));
    put(&tables, 2, "ic", Some("3"));
    put(&tables, 2, "j", Some("9"));
    // Changes behind the tip stay in the overlay.
    let tips = tables.save(&tip(1)).unwrap();
    assert_eq!(tips[NAME].commit, 1);
    let expected = pairs(&[("ia", "1"), ("ib", "2"), ("ic", "3")]);
    assert_eq!(all(&tables), expected);
    put(&tables, 3, "ia", None);
    put(&tables, 3, "ib", Some("4"));
    put(&tables, 3, "iaa", Some("5"));
    let expected = pairs(&[("iaa", "5"), ("ib", "4"), ("ic", "3")]);
    assert_eq!(all(&tables), expected);
    assert_eq!(get(&tables, "ia"), None);
    let first = tables.range(NAME, &RowRange::of_kind("i"), 1).unwrap();
    assert_eq!(first.len(), 1);
    assert_eq!(&*first[0].key, "iaa");
    let behind = RowRange::of_kind("i").behind("iaz");
    assert_eq!(tables.range(NAME, &behind, 100).unwrap().len(), 2);
    tables.save(&tip(3)).unwrap();
    assert_eq!(all(&tables), expected);
    assert_eq!(get(&tables, "ia"), None);
    assert_eq!(tables.range("other", &behind, 100).unwrap(), []);
}

/// A directory with a table whose tip is commit 5.
fn saved() -> (tempfile::TempDir, TableTips) {
    let base = tempfile::tempdir().unwrap();
    let tables = tables(base.path());
    put(&tables, 5, "ia", Some("\"five\""));
    let tips = tables.save(&tip(5)).unwrap();
    tables.close();
    assert!(
        tables.get(NAME, &["ib"]).is_err(),
        "nothing is opened again"
    );
    (base, tips)
}

#[test]
fn a_table_is_believed_where_the_checkpoint_says_or_behind_it() {
    let (base, tips) = saved();
    let again = tables(base.path());
    assert_eq!(again.open(&tips).unwrap(), Some(tips.clone()));
    assert_eq!(get(&again, "ia").as_deref(), Some("\"five\""));
    drop(again);
    let with = |commit: u64, hash: &str| {
        let hash = hash.to_owned();
        TableTips::from([(NAME.to_owned(), TableTip { commit, hash })])
    };
    // The journal decides which of the commits behind the checkpoint it is.
    let earlier = with(4, NO_HASH);
    assert_eq!(tables(base.path()).open(&earlier).unwrap(), Some(tips));
    // An older copy, a table of a different history, and a missing table.
    for wrong in [with(6, NO_HASH), with(5, NO_HASH)] {
        assert_eq!(tables(base.path()).open(&wrong).unwrap(), None);
    }
    let layout = Layout::new(base.path());
    std::fs::remove_file(layout.row_table(NAME)).unwrap();
    assert_eq!(tables(base.path()).open(&with(5, NO_HASH)).unwrap(), None);
}

#[test]
fn a_table_that_no_checkpoint_knows_is_begun_anew() {
    let (base, _) = saved();
    let again = tables(base.path());
    assert_eq!(
        again.open(&TableTips::new()).unwrap(),
        Some(TableTips::new())
    );
    assert_eq!(get(&again, "ia"), None);
    put(&again, 1, "ib", Some("1"));
    again.save(&tip(1)).unwrap();
    assert_eq!(all(&again), pairs(&[("ib", "1")]));
}

/// A flipped bit in the used part of the file is detected, or changes nothing.
#[test]
fn a_flipped_bit_gives_no_other_value() {
    let (base, tips) = saved();
    let path = Layout::new(base.path()).row_table(NAME);
    let bytes = std::fs::read(&path).unwrap();
    let used: Vec<_> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let step = used.len() / 60;
    // The requested value, and a sample of all other bytes.
    let value = b"\"five\"";
    let found = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(value));
    let asked_for = found.flat_map(|at| at..at + value.len());
    let (mut noticed, mut harmless) = (0, 0);
    for at in asked_for.chain(used.into_iter().step_by(step)) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(&path, &flipped).unwrap();
        let again = tables(base.path());
        match again.open(&tips) {
            Ok(Some(_)) => match again.get(NAME, &["ia"]) {
                Ok(found) => {
                    assert_eq!(found, [Some("\"five\"".into())], "byte {at}");
                    harmless += 1;
                }
                Err(_) => noticed += 1,
            },
            Ok(None) | Err(_) => noticed += 1,
        }
    }
    assert!(
        noticed >= value.len(),
        "{noticed} noticed, {harmless} harmless"
    );
}

/// A branch page has no hash of the store. A damaged branch page would make rows missing, also in a large table.
#[test]
fn a_damaged_page_of_a_large_table_makes_no_row_missing() {
    const BRANCH: u8 = 2;
    const PAGE: usize = 4096;
    let base = tempfile::tempdir().unwrap();
    let whole = tables(base.path());
    let key = |number: usize| format!("i{number:05}");
    let value = format!("\"{}\"", "x".repeat(30_000));
    for number in 0..2500 {
        put(&whole, 1, &key(number), Some(&value));
    }
    let tips = whole.save(&tip(1)).unwrap();
    drop(whole);
    let path = Layout::new(base.path()).row_table(NAME);
    let bytes = std::fs::read(&path).unwrap();
    assert!(bytes.len() > 70 << 20);
    let is_branch = |at: &usize| {
        let page = &bytes[*at..*at + PAGE];
        page[0] == BRANCH
            && page
                .windows(6)
                .filter(|part| part.starts_with(b"i0"))
                .count()
                > 5
    };
    let branches: Vec<_> = (PAGE..bytes.len() - PAGE)
        .step_by(PAGE)
        .filter(is_branch)
        .collect();
    assert!(!branches.is_empty());
    let mut is_noticed = false;
    for branch in branches {
        // The middle key of the branch page.
        let page = &bytes[branch..branch + PAGE];
        let keys: Vec<_> = (0..PAGE - 6)
            .filter(|at| page[*at..].starts_with(b"i0"))
            .collect();
        let mut changed = bytes.clone();
        changed[branch + keys[keys.len() / 2] + 2] ^= 4;
        std::fs::write(&path, &changed).unwrap();
        let again = tables(base.path());
        match again.open(&tips) {
            Ok(Some(_)) => {
                for number in 0..2500 {
                    assert!(get(&again, &key(number)).is_some(), "{number} is missing");
                }
            }
            Ok(None) | Err(_) => is_noticed = true,
        }
    }
    assert!(is_noticed);
}

/// More rows than one pass compares: each row is compared once, and a wrong row is found in every range.
#[test]
fn many_rows_are_compared_a_range_at_a_time() {
    const ROWS: u64 = 60;
    let base = tempfile::tempdir().unwrap();
    let tables = tables(base.path());
    let change = |number: u64, value: &str| RowChange {
        key: format!("i{number}").into(),
        value: (!value.is_empty()).then(|| value.into()),
    };
    // Half of the rows are removed again.
    let mut changes: Vec<_> = (0..2 * ROWS).map(|number| change(number, "1")).collect();
    changes.extend((ROWS..2 * ROWS).map(|number| change(number, "")));
    tables.change(NAME, 1, changes.iter().cloned());
    let passes = |changes: &[RowChange]| {
        let (mut passes, mut differences) = (0, Vec::new());
        let mut expected = Some(ExpectedRows::default());
        while let Some(mut rows) = expected {
            for change in changes {
                rows.change(NAME, change);
            }
            tables.compare(&rows, &mut differences).unwrap();
            (passes, expected) = (passes + 1, rows.behind());
        }
        (passes, differences.len())
    };
    let (count, differences) = passes(&changes);
    assert!((8..100).contains(&count), "{count}");
    assert_eq!(differences, 0);
    for number in 0..ROWS {
        for wrong in ["2", ""] {
            let mut changes = changes.clone();
            changes.push(change(number, wrong));
            assert_eq!(passes(&changes).1, 1, "{number} {wrong:?}");
        }
    }
    // A missing row.
    changes.push(change(ROWS, "1"));
    assert_eq!(passes(&changes).1, 1);
}
