//! The writer of a node: appending to the log, applying its entries, and claiming it.

use std::time::Instant;

use super::entries::{self, ReadEntries};
use super::joining::hash_of_last_line;
use super::{Errand, Followed, NotAppended, NotApplied, Replica};
use crate::disk::FileError;
use crate::journal::CommitError;
use crate::journal::local::batch::Batch;
use crate::journal::local::line::{Body, Heading};
use crate::journal::local::writer::{Writer, Written, pledges};
use crate::replication::{AppendError, Entry, LogError, Node, Role};
use crate::sabotage::{Bug, planted};

impl Writer {
    /// Appends a batch to the log, if the journal is replicated. Blocks.
    pub(in crate::journal::local) fn append_to_log(
        &mut self,
        batch: &Batch,
    ) -> Result<(), NotAppended> {
        let Some(replica) = &self.replica else {
            return Ok(());
        };
        let begun = Instant::now();
        let error = match replica.append(self.tip.batch, &batch.text) {
            Ok(()) => {
                self.note_sync(begun.elapsed());
                return Ok(());
            }
            Err(error) => error,
        };
        Err(match error {
            AppendError::Refused(reason) => {
                let reason = format!("the log did not take the commit: {reason}").into();
                NotAppended::Never(match batch.text.len() > replica.log.max_entry_bytes() {
                    true => CommitError::TooLarge(reason),
                    false => CommitError::Refused(reason),
                })
            }
            AppendError::Fenced => {
                self.set_role(Role::Follower { leader: None });
                NotAppended::Never(CommitError::NotLeader(None))
            }
            AppendError::Unavailable(reason) => {
                self.detach(&reason);
                NotAppended::Never(CommitError::Unavailable(reason.into()))
            }
            AppendError::Unknown(_) if planted(Bug::UnsettledTakenForStored) => return Ok(()),
            AppendError::Unknown(reason) => {
                self.detach(&reason);
                NotAppended::Unsettled
            }
        })
    }

    /// Keeps a batch until the next entry of the log says whether the log has taken it.
    pub(in crate::journal::local) fn keep_unsettled(&mut self, batch: Batch) {
        if let Some(replica) = &mut self.replica {
            replica.unsettled = Some(batch);
        }
    }

    /// Drops the log, so that the thread of the node ends and tells the other nodes. The outcome of an unsettled batch stays unknown.
    pub(in crate::journal::local) fn resign(&mut self) {
        let unsettled = self.replica.take().and_then(|replica| replica.unsettled);
        let reason = "the store was closed before the log has answered";
        let error = match planted(Bug::UnsettledRefusedAtClose) {
            true => CommitError::Unavailable(reason.into()),
            false => CommitError::OutcomeUnknown(reason.into()),
        };
        for pledge in unsettled.into_iter().flat_map(pledges) {
            pledge.settle(Err(error.clone()));
        }
    }

    /// Does an errand of the node. Blocks.
    pub(in crate::journal::local) fn run(&mut self, errand: Errand) {
        // The node waits for the answer, unless it ends.
        match errand {
            Errand::Apply { entries, answer } => {
                let _ = answer.send(self.apply(&entries));
            }
            Errand::Claim { answer } => {
                let _ = answer.send(self.claim());
            }
            Errand::Detach { reason } => {
                self.detach(&reason);
            }
        }
    }

    fn apply(&mut self, entries: &[Entry]) -> Result<Followed, NotApplied> {
        if let Some(poison) = self.queue.poison() {
            return Err(NotApplied::Files(poison.to_string()));
        }
        self.require_same_history(entries)
            .map_err(NotApplied::Entry)?;
        let new = entries.partition_point(|entry| entry.number <= self.tip.batch);
        let mut new = entries.get(new..).unwrap_or_default();
        if let Some((next, behind)) = new.split_first()
            && self.settle_by(next)?
        {
            new = behind;
        }
        let mut claim = None;
        if !new.is_empty() {
            let read = entries::read(new, &self.tip, &self.dead_letters);
            claim = self.apply_read(read.map_err(NotApplied::Entry)?)?;
        }
        Ok(Followed { claim })
    }

    /// Compares the entry with the number of the last batch, if it is there, with that batch.
    fn require_same_history(&self, entries: &[Entry]) -> Result<(), String> {
        let mut same = entries
            .iter()
            .filter(|entry| entry.number == self.tip.batch);
        match same.next() {
            Some(entry) if hash_of_last_line(&entry.text) != self.tip.hash => Err(format!(
                "entry {} of the log is not batch {} of this store: they have different histories",
                entry.number, entry.number
            )),
            _ => Ok(()),
        }
    }

    /// Whether the next entry of the log is the batch of an unknown outcome, which is then published. Any other entry refutes
    /// the batch.
    fn settle_by(&mut self, next: &Entry) -> Result<bool, NotApplied> {
        let Some(replica) = &mut self.replica else {
            return Ok(false);
        };
        if next.number != self.tip.batch + 1 {
            // It says nothing about the batch.
            return Ok(false);
        }
        let Some(batch) = replica.unsettled.take() else {
            return Ok(false);
        };
        if *next.text != **batch.text || planted(Bug::UnsettledNotRecognized) {
            self.refuse(batch, &CommitError::NotLeader(None));
            return Ok(false);
        }
        self.write_and_publish(batch)?;
        Ok(true)
    }

    fn apply_read(&mut self, read: ReadEntries) -> Result<Option<super::Claim>, NotApplied> {
        let ReadEntries { batch, claim } = read;
        let is_last = claim
            .as_ref()
            .is_some_and(|(number, _)| *number == batch.tip.batch);
        let number = claim.as_ref().map(|(number, _)| *number);
        let claim = claim.map(|(_, claim)| claim);
        let is_own = claim.as_ref().is_some_and(|claim| self.is_own(claim));
        if !is_own && (claim.is_some() || self.queue.standing().is_leader()) {
            let leader = claim.as_ref().and_then(|claim| self.leader_by(claim));
            self.set_role(Role::Follower { leader });
        }
        self.queue.is_behind(batch.tip.time);
        self.write_and_publish(batch)?;
        if let Some(number) = number {
            self.queue.standing().has_claim(number);
        }
        if is_own && is_last {
            self.set_role(Role::Leader);
        }
        Ok(claim)
    }

    /// Writes a batch that the log has.
    fn write_and_publish(&mut self, batch: Batch) -> Result<(), NotApplied> {
        match self.write(&batch) {
            Written::Durable => {
                self.publish(batch);
                Ok(())
            }
            // The file is as before, and no caller waits: the entries come again.
            Written::CutBack(error) if batch.is_foreign => {
                Err(NotApplied::Files(error.to_string()))
            }
            Written::CutBack(error) | Written::Unknown(error) => {
                let reason = self.poison_behind_log(batch, &error);
                Err(NotApplied::Files(reason))
            }
        }
    }

    /// Poisons the store, because the log has a batch that the file does not have.
    pub(in crate::journal::local) fn poison_behind_log(
        &mut self,
        batch: Batch,
        error: &FileError,
    ) -> String {
        let reason = format!(
            "{error}. The replicated log has the commits, and the store takes them from there when it is opened again"
        );
        self.detach(&reason);
        self.queue.poison_with(&reason);
        for pledge in pledges(batch) {
            pledge.settle(Err(CommitError::OutcomeUnknown(reason.as_str().into())));
        }
        self.queue.audience().end(self.tip.position);
        reason
    }

    /// Appends a claim, which makes this node the leader. It also refutes the batch of an unknown outcome: its number is taken.
    fn claim(&mut self) -> Result<(), AppendError> {
        let Some(replica) = &self.replica else {
            return Err(AppendError::Refused(
                "the store is not replicated".to_owned(),
            ));
        };
        if let Some(poison) = self.queue.poison() {
            return Err(AppendError::Unavailable(poison.to_string()));
        }
        self.require_last_entry(replica)?;
        let (line, number) = self.claim_line(replica)?;
        let text = format!("{line}\n");
        replica.append(self.tip.batch, &text)?;
        if let Some(replica) = &mut self.replica
            && let Some(batch) = replica.unsettled.take()
        {
            let reason = "the log did not take the commit";
            self.refuse(batch, &CommitError::Unavailable(reason.into()));
        }
        let entry = Entry {
            number,
            text: text.into(),
        };
        let read = entries::read(&[entry], &self.tip, &self.dead_letters);
        let read = read.map_err(AppendError::Refused)?;
        match self.apply_read(read) {
            Ok(_) => Ok(()),
            Err(NotApplied::Entry(reason)) => Err(AppendError::Refused(reason)),
            Err(NotApplied::Files(reason)) => Err(AppendError::Unavailable(reason)),
        }
    }

    /// Refuses a log that has lost the last batch of this node. The number alone would let a node claim such a log, as soon as another
    /// node has appended as many entries as were lost.
    fn require_last_entry(&self, replica: &Replica) -> Result<(), AppendError> {
        let number = self.tip.batch;
        if number == 0 {
            return Ok(());
        }
        let read = replica.log.read(number, 1).map_err(|error| match error {
            LogError::Unavailable(reason) => AppendError::Unavailable(reason),
            LogError::Unusable(reason) => AppendError::Refused(reason),
        })?;
        match read.first() {
            Some(entry) if entry.number == number => self
                .require_same_history(&read)
                .map_err(AppendError::Refused),
            _ => Err(AppendError::Refused(format!(
                "it ends before entry {number}, which this node has: it has lost entries"
            ))),
        }
    }

    /// The leader after a claim. An earlier run of this node is no leader any more.
    fn leader_by(&self, claim: &super::Claim) -> Option<Node> {
        let replica = self.replica.as_ref()?;
        (!claim.is_of_node(&replica.claimant)).then(|| claim.node())
    }

    fn is_own(&self, claim: &super::Claim) -> bool {
        let replica = self.replica.as_ref();
        replica.is_some_and(|replica| claim.is_of(&replica.claimant))
    }

    fn claim_line(&self, replica: &Replica) -> Result<(String, u64), AppendError> {
        let record = replica.claimant.claim();
        let record = record.map_err(|error| AppendError::Refused(error.to_string()))?;
        let mut body = Body::default();
        body.claim(&record);
        let time = self.queue.time().max(self.tip.time);
        let batch = self.tip.batch + 1;
        let line = body.finish(&Heading {
            commit: self.tip.commit + 1,
            batch,
            end: true,
            flush: true,
            previous: &self.tip.hash,
            position: self.tip.position + 1,
            time,
            ts: time / 1000,
        });
        Ok((line, batch))
    }

    /// The role changes before commits are refused, so that a caller that learns of the refusal finds the new role.
    fn set_role(&self, role: Role) {
        self.queue.change_role(role);
    }

    /// Lets another node take over, if there are nodes.
    pub(in crate::journal::local) fn detach_if_node(&self, reason: &str) {
        if self.replica.is_some() {
            self.detach(reason);
        }
    }

    fn detach(&self, reason: &str) {
        self.set_role(self.queue.standing().cut_off(reason));
    }
}
