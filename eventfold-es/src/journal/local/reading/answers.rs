//! Lookup of the answers to commands with idempotency keys.

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a panic is how a test fails")]
mod tests;

use crate::journal::index::{Address, EntryKey};
use crate::journal::local::streams::StreamIndex;
use crate::journal::{Answer, JournalError, KeyLookup, StreamId, keyed};

impl StreamIndex {
    /// The durable answer to the command with this key, if memory has it without I/O.
    pub(in crate::journal::local) fn known_answer(
        &self,
        stream: &StreamId,
        key: &str,
        before: Option<KeyLookup>,
    ) -> Option<KeyLookup> {
        if let Some(KeyLookup::Answered(_)) = before {
            return before;
        }
        // The table is read first: a run is listed before its entries are dropped from the table.
        let (answer, drops) = self.appends.answer(stream, key);
        if let Some(answer) = answer {
            return Some(KeyLookup::Answered(answer));
        }
        // If nothing was dropped since `before`, the table still holds every answer that was added since.
        let is_free = before == Some(KeyLookup::Free(drops))
            || self
                .index
                .surely_lacks(EntryKey::answer(stream, key, 0).as_bytes());
        is_free.then_some(KeyLookup::Free(drops))
    }

    /// The durable answer to the command with this key. Blocks.
    pub(in crate::journal::local) fn find_answer(
        &self,
        stream: &StreamId,
        key: &str,
    ) -> Result<KeyLookup, JournalError> {
        let (answer, drops) = self.appends.answer(stream, key);
        if let Some(answer) = answer {
            return Ok(KeyLookup::Answered(answer));
        }
        let first = EntryKey::answer(stream, key, 0);
        let mut entries = self
            .index
            .alike(&self.threads, first.as_bytes(), Vec::new())?;
        while let Some((found, value)) = self
            .index
            .noted(entries.next())?
            .filter(|(found, _)| first.is_alike(found))
        {
            let entry = EntryKey::read_answer(found).zip(Address::decode(value));
            let Some((version, address)) = entry else {
                return self.index.noted(Err(self.index.malformed().into()));
            };
            // A different key may have the same hash.
            if let Some(answer) = self.answer_at(&first, version, address, stream, key)? {
                return Ok(KeyLookup::Answered(answer));
            }
        }
        Ok(KeyLookup::Free(drops))
    }

    /// The answer at an address, if it belongs to the command with this key. The commit at the address has an answer with a
    /// similar entry; otherwise, the index is damaged.
    fn answer_at(
        &self,
        entry: &EntryKey,
        version: u64,
        address: Address,
        stream: &StreamId,
        key: &str,
    ) -> Result<Option<Answer>, JournalError> {
        let commit = self.commit_at(address.offset, address.length)?;
        let mut position = commit.first_position;
        let mut is_there = false;
        for append in &commit.appends {
            for (found, answer) in
                keyed::answers(append.lines.iter(), append.first_version, address)
            {
                let own = EntryKey::answer(&append.stream, &found, answer.first_version);
                if (answer.first_version, answer.address) != (version, address)
                    || !entry.is_alike(own.as_bytes())
                {
                    continue;
                }
                is_there = true;
                if append.stream != *stream || *found != *key {
                    continue;
                }
                let expected = position + version - append.first_version;
                if answer.first_position != expected {
                    let reason = format!(
                        "event {version} of the stream `{}` of `{}` says that its position is {}, but it is {expected}",
                        stream.instance_id, stream.aggregate_type, answer.first_position
                    );
                    return Err(self.log.parts().damage(address.offset, reason).into());
                }
                return Ok(Some(answer));
            }
            position += append.lines.len() as u64;
        }
        match is_there {
            true => Ok(None),
            false => {
                let reason =
                    "the commit answers no command with an idempotency key, contrary to the index";
                Err(self.log.parts().damage(address.offset, reason).into())
            }
        }
    }

    /// The events of an answer, one line each. Blocks.
    pub(in crate::journal::local) fn lines_of(
        &self,
        stream: &StreamId,
        answer: &Answer,
    ) -> Result<Vec<Box<str>>, JournalError> {
        let Address {
            offset,
            length,
            count,
        } = answer.address;
        let commit = self.commit_at(offset, length)?;
        let append = commit
            .appends
            .iter()
            .find(|append| append.stream == *stream);
        let lines = append.map(|append| {
            let skipped = answer.first_version.saturating_sub(append.first_version);
            let lines = append.lines.iter().zip(0..skipped + count);
            let lines = lines.filter(|(_, index)| *index >= skipped);
            lines.map(|(line, _)| line.into()).collect::<Vec<_>>()
        });
        lines
            .filter(|lines| lines.len() as u64 == count)
            .ok_or_else(|| {
                let reason = format!(
                    "the commit does not have the events {} to {} of the stream `{}` of `{}`",
                    answer.first_version,
                    answer.last_version(),
                    stream.instance_id,
                    stream.aggregate_type
                );
                self.log.parts().damage(offset, reason).into()
            })
    }
}
