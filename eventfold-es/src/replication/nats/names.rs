use crate::replication::LogError;

/// The longest name of a log, in bytes. It leaves room in the names of files that the server writes.
const MAX_NAME: usize = 128;

/// The names on the servers that belong to one log.
#[derive(Debug)]
pub(super) struct Names {
    /// The stream.
    pub(super) stream: String,
    /// The subject of the entries, which the stream stores.
    pub(super) entries: String,
    /// All messages between the nodes, which no stream stores.
    pub(super) between_nodes: String,
    /// A node has appended this entry.
    pub(super) entry: String,
    /// A node has appended an entry with this number.
    pub(super) last: String,
    /// A message of the store.
    pub(super) signal: String,
    /// A node asks itself whether it may send and receive.
    pub(super) probe: String,
    /// Before the name of a node: the questions to it, which no stream stores.
    questions: String,
}

impl Names {
    pub(super) fn new(name: &str) -> Self {
        Self {
            stream: name.to_owned(),
            entries: format!("eventfold.{name}.entries"),
            between_nodes: format!("eventfold.{name}.node.*"),
            entry: format!("eventfold.{name}.node.entry"),
            last: format!("eventfold.{name}.node.last"),
            signal: format!("eventfold.{name}.node.signal"),
            probe: format!("eventfold.{name}.node.probe"),
            questions: format!("eventfold.{name}.ask."),
        }
    }

    /// The subject of the questions to a node. A dot in the name would begin another part of the subject.
    pub(super) fn questions_to(&self, node: &str) -> String {
        format!("{}{}", self.questions, node.replace('.', "%2E"))
    }

    pub(super) fn check(&self) -> Result<(), LogError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !self.stream.is_empty()
            && self.stream.len() <= MAX_NAME
            && self.stream.bytes().all(is_allowed)
        {
            return Ok(());
        }
        Err(LogError::Unusable(format!(
            "`{}` is not the name of a log in NATS: use 1 to {MAX_NAME} letters, digits, `-` and `_`",
            self.stream
        )))
    }

    /// The permissions that a node needs, for messages.
    pub(super) fn permissions(&self) -> String {
        let stream = &self.stream;
        format!(
            "a node publishes to `$JS.API.INFO`, `$JS.API.STREAM.INFO.{stream}`, `$JS.API.STREAM.CREATE.{stream}`, \
             `$JS.API.STREAM.MSG.GET.{stream}`, `$JS.API.CONSUMER.CREATE.{stream}.>`, `$JS.API.CONSUMER.MSG.NEXT.{stream}.>` and \
             `eventfold.{stream}.>`, and subscribes to `{}`, to `{}*` and to its inbox (`_INBOX.>`)",
            self.between_nodes, self.questions
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_one_subject_for_its_questions() {
        let names = Names::new("shop");
        assert_eq!(names.questions_to("node-1"), "eventfold.shop.ask.node-1");
        assert_eq!(names.questions_to("a.b"), "eventfold.shop.ask.a%2Eb");
    }

    #[test]
    fn names_that_a_stream_or_a_subject_cannot_have_are_refused() {
        for name in ["shop", "Shop-2_b", "s", &"x".repeat(128)] {
            assert_eq!(Names::new(name).check(), Ok(()), "{name}");
        }
        for name in [
            "",
            "a.b",
            "a b",
            "a*",
            ">",
            "a/b",
            "a\\b",
            "ä",
            "$x",
            &"x".repeat(129),
        ] {
            assert!(Names::new(name).check().is_err(), "{name}");
        }
    }
}
