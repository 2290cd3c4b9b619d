//! Ranges of rows, by key or by index.

use std::ops::{Bound, RangeBounds};

use redb::{Database, ReadableDatabase as _, ReadableTableMetadata as _};
use serde::Serialize;

use super::change::{index_prefix, key_of};
use super::encode::{EncodeError, encode_to};
use super::table::{CURRENT, RowTable, row};
use super::{RowsError, encode};
use crate::error::StoreError;
use crate::guarded::{Kept, guard};
use crate::projection::RowProjection;

/// The number of rows for which there is room from the start.
const RESERVED: usize = 128;

/// A range of rows.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    /// Whether the bytes are entries of an index. Otherwise they are keys of rows.
    is_index: bool,
    from: Vec<u8>,
    /// The end, which is not in the range; none for the end of the table.
    to: Option<Vec<u8>>,
    pub(crate) is_backwards: bool,
    pub(crate) limit: usize,
}

/// Rows in the order of a query, and the place behind the last row if there are more.
pub(crate) struct Found<P: RowProjection> {
    pub(crate) rows: Vec<(P::Key, Kept<P>)>,
    pub(crate) next: Option<Vec<u8>>,
}

impl Query {
    pub(crate) fn all() -> Self {
        Self::starting_with(false, Vec::new())
    }

    /// The rows whose keys begin with these bytes.
    pub(crate) fn prefix(prefix: Vec<u8>) -> Self {
        Self::starting_with(false, prefix)
    }

    /// The rows with this value of an index.
    pub(crate) fn by(
        index: &'static str,
        value: &(impl Serialize + ?Sized),
    ) -> Result<Self, EncodeError> {
        let mut prefix = index_prefix(index);
        encode_to(&mut prefix, value)?;
        Ok(Self::starting_with(true, prefix))
    }

    /// The rows with keys in a range, or with values of an index in a range.
    pub(crate) fn range<Q: Serialize + ?Sized>(
        index: Option<&'static str>,
        range: &impl RangeBounds<Q>,
    ) -> Result<Self, EncodeError> {
        let base = index.map(index_prefix).unwrap_or_default();
        let at = |value: &Q| {
            let mut bytes = base.clone();
            encode_to(&mut bytes, value)?;
            Ok::<_, EncodeError>(bytes)
        };
        let mut query = Self::starting_with(index.is_some(), base.clone());
        match range.start_bound() {
            Bound::Included(from) => query.from = at(from)?,
            // No key begins with the bytes of another key.
            Bound::Excluded(from) => query.from = successor(at(from)?).unwrap_or_default(),
            Bound::Unbounded => {}
        }
        match range.end_bound() {
            Bound::Included(to) => query.to = successor(at(to)?),
            Bound::Excluded(to) => query.to = Some(at(to)?),
            Bound::Unbounded => {}
        }
        Ok(query)
    }

    fn starting_with(is_index: bool, prefix: Vec<u8>) -> Self {
        Self {
            is_index,
            to: successor(prefix.clone()),
            from: prefix,
            is_backwards: false,
            limit: usize::MAX,
        }
    }

    /// Begins behind a place that an earlier read returned.
    pub(crate) fn begin_behind(&mut self, place: Vec<u8>) {
        if self.is_backwards {
            if self.to.as_ref().is_none_or(|to| place < *to) {
                self.to = Some(place);
            }
        } else if place >= self.from {
            self.from = place;
            self.from.push(0);
        }
    }

    fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        let to = self.to.as_deref();
        let to = to.map_or(Bound::Unbounded, Bound::Excluded);
        (Bound::Included(&self.from), to)
    }

    fn is_empty(&self) -> bool {
        self.limit == 0 || self.to.as_ref().is_some_and(|to| *to <= self.from)
    }
}

/// The first bytes behind all bytes that begin with the prefix; none if there are none.
fn successor(mut prefix: Vec<u8>) -> Option<Vec<u8>> {
    while let Some(last) = prefix.pop() {
        if let Some(next) = last.checked_add(1) {
            prefix.push(next);
            return Some(prefix);
        }
    }
    None
}

impl<P: RowProjection> RowTable<P> {
    /// The row of a key. Blocks.
    pub(crate) fn get(
        &self,
        key: &(impl Serialize + ?Sized),
    ) -> Result<Option<Kept<P>>, RowsError> {
        let what = || format!("the encoding of a key of `{}`", P::NAME);
        let key = guard(what, || encode(key))??;
        let found = self.read(|transaction| {
            let rows = transaction.open_table(CURRENT.rows)?;
            let value = rows.get(&*key)?;
            Ok(value.map(|value| value.value().to_vec()))
        })?;
        let value = found.flatten();
        value.map(|value| self.row(&key, &value)).transpose()
    }

    /// The rows of a query, from one snapshot. Each row is decoded where it is stored. Blocks.
    pub(crate) fn find(&self, query: &Query) -> Result<Found<P>, RowsError> {
        let mut found = Found {
            rows: Vec::new(),
            next: None,
        };
        if query.is_empty() {
            return Ok(found);
        }
        found.rows.reserve(query.limit.min(RESERVED));
        let mut failed = None;
        self.with(|file| {
            let mut take = |key: &[u8], value: &[u8]| {
                let row = row::<P>(file, key, value).and_then(|row| Ok((key_of::<P>(key)?, row)));
                match row {
                    Ok(row) => found.rows.push(row),
                    Err(error) => failed = Some(error),
                }
                failed.is_none()
            };
            let next = file.run(|database| match places(database, query, &mut take) {
                Err(redb::Error::TableDoesNotExist(_)) => Ok(End::Whole),
                end => end,
            });
            match next.map_err(StoreError::from)? {
                End::Whole => Ok(()),
                End::More(place) => {
                    found.next = Some(place);
                    Ok(())
                }
                End::Lost(key) => {
                    let reason = format!("an index has the row {key:02x?}, which is missing");
                    Err(StoreError::from(file.damage(&reason)).into())
                }
            }
        })?;
        match failed {
            Some(error) => Err(error),
            None => Ok(found),
        }
    }

    /// The number of rows of a query. Blocks.
    pub(crate) fn count(&self, query: &Query) -> Result<u64, RowsError> {
        if query.is_empty() {
            return Ok(0);
        }
        let counted = self.read(|transaction| {
            if !query.is_index && query.from.is_empty() && query.to.is_none() {
                return Ok(transaction.open_table(CURRENT.rows)?.len()?);
            }
            let mut count = 0;
            if query.is_index {
                for entry in transaction
                    .open_table(CURRENT.index)?
                    .range::<&[u8]>(query.bounds())?
                {
                    entry?;
                    count += 1;
                }
            } else {
                for row in transaction
                    .open_table(CURRENT.rows)?
                    .range::<&[u8]>(query.bounds())?
                {
                    row?;
                    count += 1;
                }
            }
            Ok(count)
        })?;
        Ok(counted.unwrap_or(0))
    }
}

/// The end of the rows of a query.
enum End {
    Whole,
    /// The limit is reached. This is the place of the last row.
    More(Vec<u8>),
    /// An index has a row with this key, and it is missing.
    Lost(Vec<u8>),
}

/// Calls `take` with the key and the stored value of each row, until it returns `false`.
fn places(
    database: &Database,
    query: &Query,
    take: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> Result<End, redb::Error> {
    let transaction = database.begin_read()?;
    let rows = transaction.open_table(CURRENT.rows)?;
    let mut last = Vec::new();
    let mut taken = 0;
    if query.is_index {
        let index = transaction.open_table(CURRENT.index)?;
        let mut range = index.range::<&[u8]>(query.bounds())?;
        while let Some(entry) = turn(&mut range, query.is_backwards) {
            let (place, before) = entry?;
            if taken == query.limit {
                return Ok(End::More(last));
            }
            let before = usize::try_from(before.value()).unwrap_or(usize::MAX);
            place.value().clone_into(&mut last);
            let key = last.split_at_checked(before).map(|(_, key)| key);
            let key = key.unwrap_or_default();
            let Some(value) = rows.get(key)? else {
                return Ok(End::Lost(key.to_vec()));
            };
            if !take(key, value.value()) {
                return Ok(End::Whole);
            }
            taken += 1;
        }
    } else {
        let mut range = rows.range::<&[u8]>(query.bounds())?;
        while let Some(row) = turn(&mut range, query.is_backwards) {
            let (key, value) = row?;
            if taken == query.limit {
                return Ok(End::More(last));
            }
            key.value().clone_into(&mut last);
            if !take(&last, value.value()) {
                return Ok(End::Whole);
            }
            taken += 1;
        }
    }
    Ok(End::Whole)
}

fn turn<I: DoubleEndedIterator>(range: &mut I, is_backwards: bool) -> Option<I::Item> {
    match is_backwards {
        true => range.next_back(),
        false => range.next(),
    }
}
