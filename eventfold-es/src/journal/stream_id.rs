use std::sync::Arc;

/// The identity of a stream: the stored name of its aggregate type, and the instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StreamId {
    pub(crate) aggregate_type: Arc<str>,
    pub(crate) instance_id: Arc<str>,
}

impl StreamId {
    pub(crate) fn new(aggregate_type: &str, instance_id: &str) -> Self {
        Self {
            aggregate_type: aggregate_type.into(),
            instance_id: instance_id.into(),
        }
    }
}
