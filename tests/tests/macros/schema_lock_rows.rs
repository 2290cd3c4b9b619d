//! The rows of projections in the lock: their keys, their indexes and their shapes.

use eventfold_es::prelude::*;
use eventfold_es::schema::{LockError, Schema, Verdict};
use eventfold_es_tests_domain::{Lines, Order, OrderEvent};

use Verdict::{Breaking, Compatible};

/// A projection with rows that is stored as `customers`.
macro_rules! customers {
    ($module:ident, $key:ty, ($($version:tt)*) { $($fields:tt)* }) => {
        mod $module {
            use super::*;

            #[projection(subscribes = [Order], key = $key, name = "customers" $($version)*)]
            #[derive(Debug, Default, Serialize, Deserialize)]
            pub struct Customers { $($fields)* }

            impl Locate<Order> for Customers {
                fn locate(_: &OrderEvent, _: &EventContext<'_>) -> Keys<$key> {
                    Keys::none()
                }
            }

            impl Project<Order> for Customers {
                fn project(&mut self, _: &OrderEvent, _: &EventContext<'_>) {}
            }

            pub fn schema() -> Schema {
                Schema::new("Shop").rows::<Customers>()
            }
        }
    };
}

#[derive(Debug, Default, Serialize, Deserialize, StoredShape)]
pub struct Total {
    cents: u64,
}

customers!(before, String, () {
    name: String,
    #[index]
    zip: Option<u32>,
    #[index]
    city: String,
    #[serde(rename = "sum")]
    total: Total,
    #[cfg(any())]
    #[index]
    absent: f64,
});

/// A value in memory has no rows.
#[projection(subscribes = [Order])]
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Count(u64);

impl Project<Order> for Count {
    fn project(&mut self, _: &OrderEvent, _: &EventContext<'_>) {}
}

/// The tables of a database are not those of the store.
#[projection(subscribes = [Order], sink = Lines)]
struct Table;

impl Prepare for Table {
    fn prepare(_: &mut Vec<String>) -> Result<(), std::convert::Infallible> {
        Ok(())
    }
}

impl ProjectInto<Order> for Table {
    fn project(
        _: &OrderEvent,
        _: &EventContext<'_>,
        _: &mut Vec<String>,
    ) -> Result<(), std::convert::Infallible> {
        Ok(())
    }
}

#[test]
fn the_rows_of_a_declared_store_are_in_its_lock() {
    #[event_store(aggregates = [Order], projections = [Count, before::Customers, Table])]
    struct Shop;

    let lock = Shop::schema().to_lock();
    let (head, rows) = lock.split_once("\nprojection ").unwrap();
    assert!(head.ends_with("  state version 0\n    struct\n      qty: u32\n"));
    assert_eq!(
        rows,
        "\
customers
  key String
  index city: String
  index zip: Option<u32>
  row version 1
    struct
      name: String
      zip: Option<u32> | optional
      city: String
      sum: Total
    type Total
      struct
        cents: u64
"
    );
    assert_eq!(Shop::schema().compare(&lock).unwrap(), []);

    // A lock from before the first projection, and a projection that is gone.
    let old = Schema::new("Shop").aggregate::<Order>();
    for (new, old, what, remedy) in [
        (Shop::schema(), &old, "it is new", ""),
        (
            old.clone(),
            &Shop::schema(),
            "it is gone, or has no rows any more",
            "made from the events",
        ),
    ] {
        let changes = new.compare(&old.to_lock()).unwrap();
        let [change] = changes.as_slice() else {
            panic!("{changes:?}");
        };
        assert_eq!(change.place, "projection `customers`");
        assert_eq!((change.verdict, change.what.as_str()), (Compatible, what));
        assert!(change.remedy.contains(remedy), "{change}");
    }
}

/// Asserts the verdict, the change and the words of the remedy for each change.
#[track_caller]
fn assert_told(before: &Schema, after: &Schema, expected: &[(Verdict, &str, &str)]) {
    let changes = after.compare(&before.to_lock()).unwrap();
    let all: String = changes.iter().map(|change| format!("{change}\n")).collect();
    assert_eq!(changes.len(), expected.len(), "{all}");
    for ((verdict, told, remedy), change) in expected.iter().zip(&changes) {
        assert_eq!(change.verdict, *verdict, "{change}");
        let found = format!("{}: {}", change.place, change.what);
        assert!(found.starts_with(told), "{told}\nis not in\n{all}");
        assert!(change.remedy.contains(remedy), "{remedy}\nis not in\n{all}");
    }
}

customers!(changed, u64, () {
    #[index]
    name: String,
    #[index]
    zip: Option<u64>,
    city: String,
    #[serde(rename = "sum")]
    total: Total,
});

#[test]
fn another_key_or_index_needs_nothing_and_another_row_needs_a_version() {
    assert_told(
        &before::schema(),
        &changed::schema(),
        &[
            (
                Breaking,
                "row of the projection `customers`: the type of `zip` has changed from `Option<u32>` to `Option<u64>`: a row that \
                 was stored before may read as another row",
                "write `#[projection(.., version = 2)]`",
            ),
            (
                Compatible,
                "key of the projection `customers`: its type has changed from `String` to `u64`",
                "the store rebuilds the rows",
            ),
            (
                Compatible,
                "index `city` of the projection `customers`: it is gone",
                "the store rebuilds the rows",
            ),
            (
                Compatible,
                "index `zip` of the projection `customers`: its type has changed from `Option<u32>` to `Option<u64>`",
                "the store rebuilds the rows",
            ),
            (
                Compatible,
                "index `name` of the projection `customers`: it is new",
                "the store rebuilds the rows",
            ),
        ],
    );
}

customers!(raised, String, (, version = 2) {
    #[index]
    city: Vec<String>,
    #[index]
    zip: Option<u32>,
});

#[test]
fn a_raised_version_is_enough_and_a_lowered_version_is_not() {
    let version = "row of the projection `customers`: its version was ";
    assert_told(
        &before::schema(),
        &raised::schema(),
        &[
            (
                Compatible,
                "index `city` of the projection `customers`: its type has changed",
                "the store rebuilds the rows",
            ),
            (
                Compatible,
                &format!("{version}raised from 1 to 2"),
                "the rows are rebuilt from the events",
            ),
        ],
    );
    assert_told(
        &raised::schema(),
        &before::schema(),
        &[
            (
                Breaking,
                &format!("{version}lowered from 2 to 1"),
                "version = 3",
            ),
            (
                Compatible,
                "index `city` of the projection `customers`: its type has changed",
                "the store rebuilds the rows",
            ),
        ],
    );
}

#[test]
fn a_line_that_a_person_has_changed_is_refused() {
    let lock = before::schema().to_lock();
    for (line, changed, told) in [
        ("  key String\n", "  key\n", ":5: expected `key TYPE`"),
        (
            "  index city: String\n",
            "  index city String\n",
            ":6: expected `index NAME: TYPE`",
        ),
        (
            "  index city: String\n",
            "  index zip: String\n",
            ":7: the index `zip` stands here twice",
        ),
        (
            "  index city: String\n",
            "  index city: String\n    struct\n",
            ":7: this line does not belong here",
        ),
        (
            "  row version 1\n",
            "  state version 1\n",
            ":8: expected `row version N`",
        ),
        (
            "  row version 1\n",
            "  row version 1\n  row version 1\n",
            ":4: a projection has one row",
        ),
        (
            "projection customers\n",
            "projection customers\n  row version 1\n\nprojection customers\n",
            ":7: the projection `customers` stands here twice",
        ),
    ] {
        assert!(lock.contains(line), "{line}");
        let refused = before::schema().compare(&lock.replacen(line, changed, 1));
        let Err(error @ LockError::Malformed { .. }) = refused else {
            panic!("{changed}: {refused:?}");
        };
        assert!(
            error.to_string().starts_with(told),
            "{changed:?} -> {error}, and not {told}"
        );
    }
}
