use super::op::DiskOp;

/// A note of a workload, such as an acknowledgement, with its place among the operations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The number of operations before it.
    pub at: usize,
    /// The text of the note.
    pub label: String,
}

/// All operations on a directory since its creation, and the marks.
///
/// A directory with initial content is recorded as if that content had been written and synced just before.
/// [`start`](Self::start) is behind that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recording {
    ops: Vec<DiskOp>,
    marks: Vec<Mark>,
    start: usize,
}

impl Recording {
    pub(super) fn begin(ops: Vec<DiskOp>) -> Self {
        Self {
            start: ops.len(),
            ops,
            marks: Vec::new(),
        }
    }

    pub(super) fn continued(self) -> Self {
        Self {
            start: self.ops.len(),
            ..self
        }
    }

    pub(super) fn push(&mut self, op: DiskOp) {
        self.ops.push(op);
    }

    pub(super) fn mark(&mut self, label: String) {
        let at = self.ops.len();
        self.marks.push(Mark { at, label });
    }

    /// The operations, in the order in which they took effect.
    #[must_use]
    pub fn ops(&self) -> &[DiskOp] {
        &self.ops
    }

    /// The number of operations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether there are no operations.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// The index of the first operation of the last run, behind the initial content and earlier runs. The crash points of that
    /// run are `start()..=len()`.
    #[must_use]
    pub fn start(&self) -> usize {
        self.start
    }

    /// The marks, including those of earlier runs.
    ///
    /// In a recording that was cut with [`until`](Self::until), they are the marks before the crash. The acknowledged commands
    /// of these marks must have survived it.
    #[must_use]
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// The possible numbers of completed bytes if operation `k` is cut off; see [`DiskOp::tears`]. `[0]` at the end.
    #[must_use]
    pub fn tears(&self, k: usize) -> Vec<usize> {
        self.ops.get(k).map_or_else(|| vec![0], DiskOp::tears)
    }

    /// The recording of a crash after `k` operations, and after `torn` bytes of the next operation, a write.
    ///
    /// A mark between operations `k - 1` and `k` is kept, because the crash may have come just after it.
    #[must_use]
    pub fn until(&self, k: usize, torn: usize) -> Self {
        let whole = self.ops.get(..k).unwrap_or(&self.ops);
        let part = self.ops.get(k).and_then(|op| op.torn(torn));
        let marks = self.marks.iter().filter(|mark| mark.at <= k).cloned();
        Self {
            ops: whole.iter().cloned().chain(part).collect(),
            marks: marks.collect(),
            start: self.start.min(k),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::testing::op::FileId;

    fn write(bytes: &[u8]) -> DiskOp {
        DiskOp::Write {
            path: "a".into(),
            file: FileId(0),
            offset: 0,
            bytes: bytes.into(),
        }
    }

    #[test]
    fn cut_at_a_crash_point() {
        let mut recording = Recording::begin(vec![write(b"0")]);
        recording.mark("before".to_owned());
        recording.push(write(b"one"));
        recording.mark("after".to_owned());
        recording.push(DiskOp::SyncFileSystem);
        recording.mark("end".to_owned());
        let labels = |cut: &Recording| {
            let labels = cut.marks().iter().map(|mark| mark.label.clone());
            labels.collect::<Vec<_>>().join(" ")
        };

        let cut = recording.until(1, 2);
        assert_eq!(cut.ops(), [write(b"0"), write(b"on")]);
        assert_eq!((cut.start(), labels(&cut)), (1, "before".to_owned()));
        let cut = recording.until(2, 0);
        assert_eq!(cut.len(), 2);
        assert_eq!(labels(&cut), "before after");
        assert_eq!(recording.until(3, 0), recording);
        assert_eq!(recording.until(99, 0), recording);
        assert!(recording.until(0, 0).is_empty());
        assert_eq!(recording.until(0, 0).start(), 0);

        assert_eq!(recording.tears(1), [0, 1, 2]);
        assert_eq!(recording.tears(3), [0]);
        assert_eq!(recording.continued().start(), 3);
    }
}
