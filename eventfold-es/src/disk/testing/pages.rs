use super::op::SECTOR;
use super::survival::Pick;

const SECTOR_BYTES: usize = SECTOR as usize;

/// One file: the content of the page cache, the durable content of the device, and the possible differences.
#[derive(Debug, Clone, Default)]
pub(super) struct FilePages {
    current: Vec<u8>,
    /// The content after the last sync. Its length is the length at that time.
    durable: Vec<u8>,
    /// Every change of the length since the last sync.
    lengths: Vec<LengthChange>,
    /// For each sector, the contents that the device may hold instead of the durable content, oldest first.
    sectors: std::collections::BTreeMap<usize, Vec<SectorVersion>>,
}

#[derive(Debug, Clone)]
struct LengthChange {
    op: usize,
    from: usize,
    to: usize,
    /// Whether a write beyond the end caused it. The pages are then written one by one, and the length follows them.
    written: bool,
}

impl LengthChange {
    fn cuts_off_after(&self, op: usize) -> Option<usize> {
        (self.to < self.from && self.op > op).then_some(self.to)
    }
}

#[derive(Debug, Clone)]
struct SectorVersion {
    op: usize,
    bytes: Box<[u8; SECTOR_BYTES]>,
    /// Whether a sync will write it. A failed sync clears this, because the kernel has marked the page clean.
    dirty: bool,
}

/// A length that the file may have after a power loss.
struct PossibleLength {
    op: usize,
    /// The number of length changes that have happened by then.
    changes: usize,
    length: usize,
}

impl FilePages {
    pub(super) fn current(&self) -> &[u8] {
        &self.current
    }

    pub(super) fn write(&mut self, op: usize, offset: usize, bytes: &[u8]) -> bool {
        let Some(end) = offset.checked_add(bytes.len()) else {
            return false;
        };
        if bytes.is_empty() {
            return true;
        }
        self.change_length(op, end.max(self.current.len()), true);
        if let Some(target) = self.current.get_mut(offset..end) {
            target.copy_from_slice(bytes);
        }
        for sector in offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            self.add_version(op, sector);
        }
        true
    }

    pub(super) fn set_len(&mut self, op: usize, length: usize) {
        let shorter = length < self.current.len();
        self.change_length(op, length, false);
        // The rest of the last sector is zeroed in the page, which may reach the device before the new length. Sectors behind
        // it are freed, not written.
        if shorter && !length.is_multiple_of(SECTOR_BYTES) {
            self.add_version(op, length / SECTOR_BYTES);
        }
    }

    pub(super) fn sync(&mut self) {
        for change in &self.lengths {
            self.durable.resize(change.to, 0);
        }
        let Self {
            current,
            durable,
            lengths,
            sectors,
        } = self;
        sectors.retain(|sector, versions| {
            if versions.iter().any(|version| version.dirty) {
                overlay(durable, *sector, &sector_of(current, *sector));
                return false;
            }
            for version in versions {
                version.cut_off(*sector, lengths);
            }
            true
        });
        lengths.clear();
    }

    /// A failed sync: earlier writes may or may not be on the device, and a later sync does not write them again. Lengths are
    /// metadata, which the journal of the file system keeps for the next sync.
    pub(super) fn sync_failed(&mut self) {
        for version in self.sectors.values_mut().flatten() {
            version.dirty = false;
        }
    }

    pub(super) fn after_power_loss(&self, pick: &mut dyn Pick) -> Vec<u8> {
        let possible = self.possible_lengths();
        let ops: Vec<usize> = possible.iter().map(|length| length.op).collect();
        let chosen = pick.length(&ops).checked_sub(1);
        let (changes, length) = match chosen.and_then(|index| possible.get(index)) {
            Some(possible) => (possible.changes, possible.length),
            None => (0, self.durable.len()),
        };
        let happened = self.lengths.get(..changes).unwrap_or_default();

        let mut content = self.durable.clone();
        for change in happened {
            content.resize(change.to, 0);
        }
        content.resize(length, 0);
        for (sector, versions) in &self.sectors {
            let ops: Vec<usize> = versions.iter().map(|version| version.op).collect();
            let chosen = pick.sector(*sector as u64, &ops).checked_sub(1);
            if let Some(version) = chosen.and_then(|index| versions.get(index)) {
                let mut version = version.clone();
                version.cut_off(*sector, happened);
                overlay(&mut content, *sector, &version.bytes);
            }
        }
        content
    }

    fn possible_lengths(&self) -> Vec<PossibleLength> {
        let mut possible = Vec::new();
        for (index, change) in self.lengths.iter().enumerate() {
            let mut push = |length| {
                possible.push(PossibleLength {
                    op: change.op,
                    changes: index + 1,
                    length,
                });
            };
            if change.written {
                (change.from / SECTOR_BYTES + 1..change.to.div_ceil(SECTOR_BYTES))
                    .for_each(|sector| push(sector * SECTOR_BYTES));
            }
            push(change.to);
        }
        possible
    }

    fn change_length(&mut self, op: usize, to: usize, written: bool) {
        let from = self.current.len();
        if to != from {
            self.current.resize(to, 0);
            self.lengths.push(LengthChange {
                op,
                from,
                to,
                written,
            });
        }
    }

    fn add_version(&mut self, op: usize, sector: usize) {
        let version = SectorVersion {
            op,
            bytes: Box::new(sector_of(&self.current, sector)),
            dirty: true,
        };
        self.sectors.entry(sector).or_default().push(version);
    }
}

impl SectorVersion {
    /// Bytes that a later cut removed never return, even if the file grows again.
    fn cut_off(&mut self, sector: usize, changes: &[LengthChange]) {
        let start = sector * SECTOR_BYTES;
        let cuts = changes.iter().filter_map(|one| one.cuts_off_after(self.op));
        if let Some(cut) = cuts.min() {
            let keep = cut.saturating_sub(start).min(SECTOR_BYTES);
            if let Some(rest) = self.bytes.get_mut(keep..) {
                rest.fill(0);
            }
        }
    }
}

/// The content of a sector; zeros behind the end of the file.
fn sector_of(content: &[u8], sector: usize) -> [u8; SECTOR_BYTES] {
    let mut bytes = [0; SECTOR_BYTES];
    let rest = content.get(sector * SECTOR_BYTES..).unwrap_or_default();
    copy(&mut bytes, rest);
    bytes
}

/// Copies a sector into a file, up to the end of the file.
fn overlay(content: &mut [u8], sector: usize, bytes: &[u8; SECTOR_BYTES]) {
    if let Some(rest) = content.get_mut(sector * SECTOR_BYTES..) {
        copy(rest, bytes);
    }
}

/// Copies the shorter of two lengths at once, because a recording has megabytes of zeros.
fn copy(target: &mut [u8], source: &[u8]) {
    let length = target.len().min(source.len());
    if let (Some(target), Some(source)) = (target.get_mut(..length), source.get(..length)) {
        target.copy_from_slice(source);
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a panic is how a test fails")]
mod tests {
    use super::*;
    use crate::disk::testing::SplitMix64;
    use crate::disk::testing::survival::Survival;

    fn lose(pages: &FilePages, survival: &Survival) -> Vec<u8> {
        pages.after_power_loss(&mut *survival.pick())
    }

    /// Every content that occurs over many seeds.
    fn outcomes(pages: &FilePages) -> std::collections::BTreeSet<Vec<u8>> {
        (0..400)
            .map(|seed| lose(pages, &Survival::Random(seed)))
            .collect()
    }

    #[test]
    fn an_unsynced_write_survives_sector_by_sector() {
        let mut pages = FilePages::default();
        pages.write(0, 0, &[1; 1536]);
        pages.sync();
        pages.write(1, 256, &[2; 1024]);
        let mut expected = std::collections::BTreeSet::new();
        for mask in 0..8 {
            let mut content = vec![1; 1536];
            for (bit, range) in [(1, 256..512), (2, 512..1024), (4, 1024..1280)] {
                if mask & bit != 0 {
                    content[range].fill(2);
                }
            }
            expected.insert(content);
        }
        assert_eq!(outcomes(&pages), expected);
    }

    #[test]
    fn a_sector_holds_one_of_its_versions_and_never_a_later_write_without_an_earlier_one() {
        let mut pages = FilePages::default();
        pages.write(0, 0, &[0; 512]);
        pages.sync();
        pages.write(1, 0, &[1; 10]);
        pages.write(2, 20, &[2; 10]);
        let version = |first: u8, second: u8| {
            let mut content = vec![0; 512];
            content[..10].fill(first);
            content[20..30].fill(second);
            content
        };
        assert_eq!(
            outcomes(&pages),
            [version(0, 0), version(1, 0), version(1, 2)].into()
        );
    }

    #[test]
    fn an_append_may_leave_its_length_without_its_bytes_and_the_reverse() {
        let mut pages = FilePages::default();
        pages.write(0, 0, b"old");
        pages.sync();
        pages.write(1, 3, b"new");
        assert_eq!(
            outcomes(&pages),
            [b"old".to_vec(), b"old\0\0\0".to_vec(), b"oldnew".to_vec()].into()
        );
        assert_eq!(lose(&pages, &Survival::LengthsOnly), b"old\0\0\0");
    }

    #[test]
    fn a_long_append_may_stop_at_a_sector_boundary() {
        let mut pages = FilePages::default();
        pages.write(0, 0, &[1; 100]);
        pages.sync();
        pages.write(1, 100, &[2; 1000]);
        let lengths: std::collections::BTreeSet<_> =
            outcomes(&pages).iter().map(Vec::len).collect();
        assert_eq!(lengths, [100, 512, 1024, 1100].into());
    }

    #[test]
    fn what_was_cut_off_never_comes_back_with_a_longer_file() {
        let mut pages = FilePages::default();
        pages.write(0, 0, &[1; 1024]);
        pages.sync();
        pages.set_len(1, 100);
        pages.set_len(2, 1024);
        let mut seen = [false; 4];
        for content in outcomes(&pages) {
            assert_eq!(content[..100], [1; 100]);
            match content.len() {
                // Neither change happened. The rest of the first sector may already be zeroed, and the second sector is
                // unchanged.
                1024 if content[512] == 1 => {
                    assert!(content[100..512].iter().all(|byte| *byte == content[100]));
                    assert_eq!(content[512..], [1; 512]);
                    seen[usize::from(content[100])] = true;
                }
                1024 => {
                    assert_eq!(content[100..], [0; 924]);
                    seen[2] = true;
                }
                length => {
                    assert_eq!(length, 100);
                    seen[3] = true;
                }
            }
        }
        assert_eq!(seen, [true; 4]);
    }

    #[test]
    fn a_sync_makes_data_and_length_durable() {
        let mut pages = FilePages::default();
        pages.write(0, 0, &[1; 700]);
        pages.set_len(1, 600);
        pages.write(2, 590, &[2; 20]);
        pages.sync();
        let content = pages.current().to_vec();
        assert_eq!(content.len(), 610);
        assert_eq!(outcomes(&pages), [content].into());
    }

    #[test]
    fn a_failed_sync_leaves_what_a_later_one_does_not_write() {
        let mut pages = FilePages::default();
        pages.write(0, 0, &[1; 1024]);
        pages.sync();
        pages.write(1, 0, &[2; 512]);
        pages.sync_failed();
        pages.write(2, 512, &[3; 512]);
        pages.sync();
        let content = |first| [[first; 512], [3; 512]].concat();
        assert_eq!(outcomes(&pages), [content(1), content(2)].into());
        // Writing it again and syncing it makes it durable.
        pages.write(3, 0, &[2; 512]);
        pages.sync();
        assert_eq!(outcomes(&pages), [content(2)].into());
    }

    #[test]
    fn after_a_failed_sync_a_cut_holds_for_what_was_left() {
        let mut pages = FilePages::default();
        pages.write(0, 0, &[2; 512]);
        pages.sync_failed();
        pages.set_len(1, 0);
        pages.set_len(2, 512);
        pages.sync();
        assert_eq!(outcomes(&pages), [vec![0; 512]].into());
    }

    #[test]
    fn everything_surviving_is_the_page_cache_and_nothing_surviving_the_last_sync() {
        let mut random = SplitMix64::new(42);
        for _ in 0..300 {
            let mut pages = FilePages::default();
            let mut synced = Vec::new();
            for op in 0..30 {
                match random.below(6) {
                    0 => pages.set_len(op, random.below(3000)),
                    1 => {
                        pages.sync();
                        synced = pages.current().to_vec();
                    }
                    _ => {
                        let bytes = vec![op as u8 + 1; random.below(1400)];
                        assert!(pages.write(op, random.below(2500), &bytes));
                    }
                }
            }
            assert_eq!(lose(&pages, &Survival::All), pages.current());
            assert_eq!(lose(&pages, &Survival::Nothing), synced);
        }
    }
}
