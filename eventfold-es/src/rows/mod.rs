//! The rows of projections with `key`: the stored form of keys, the table, and its changes.
//!
//! A row is a value of redb under its encoded key: a hash of key and value, then the row as JSON. An entry of an index is a
//! key of a second table: the name of the index, a zero, the encoded value, and the key of the row. The progress of the
//! projection is in a third table, so that it changes in the same transaction.

mod change;
mod decode;
mod encode;
mod error;
mod read;
mod sink;
mod table;

pub use change::{IndexEntries, RowTx};
pub(crate) use decode::decode;
pub use encode::EncodeError;
pub(crate) use encode::{encode, prefix_of_text};
pub use error::RowsError;
pub(crate) use read::Query;
pub use sink::{RowConnection, RowSink};
pub(crate) use table::RowTable;
