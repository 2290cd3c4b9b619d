//! The program of a node, and the aggregates in the log.

use std::sync::Arc;

use crate::journal::local::streams::StreamIndex;

/// The aggregates that the program of a node declares.
pub(in crate::journal::local) struct Program {
    /// Empty if they are not all known.
    pub(in crate::journal::local) aggregate_types: Vec<&'static str>,
    pub(in crate::journal::local) streams: Arc<StreamIndex>,
}

impl Program {
    /// The reason why the log, which this node has read to its end, belongs to another program. One known aggregate is enough: the others may be
    /// those of an older or a newer version. Blocks.
    pub(super) fn is_foreign(&self) -> Option<String> {
        // A store whose index cannot be read says so when it is used.
        let has = |aggregate_type| self.streams.has_any(aggregate_type).unwrap_or(true);
        let mut known = self.aggregate_types.iter();
        if self.aggregate_types.is_empty() || known.any(|name| has(Some(name))) || !has(None) {
            return None;
        }
        Some(format!(
            "it has events, and none of an aggregate that this program declares ({}): it is the log of another program; give each program a log of \
             its own",
            self.aggregate_types.join(", ")
        ))
    }
}
