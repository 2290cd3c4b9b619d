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

/// A borrowed [`StreamId`]. The few names of aggregate types are shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamRef<'a> {
    pub(crate) aggregate_type: &'a Arc<str>,
    pub(crate) instance_id: &'a str,
}

impl StreamId {
    pub(crate) fn borrowed(&self) -> StreamRef<'_> {
        StreamRef {
            aggregate_type: &self.aggregate_type,
            instance_id: &self.instance_id,
        }
    }
}

impl StreamRef<'_> {
    pub(crate) fn to_id(self) -> StreamId {
        StreamId {
            aggregate_type: Arc::clone(self.aggregate_type),
            instance_id: self.instance_id.into(),
        }
    }
}
