use super::random::SplitMix64;

/// The unsynced data that survives a power loss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Survival {
    /// Everything: the page cache had just been written back.
    All,
    /// Nothing: the disk has only the synced data.
    Nothing,
    /// Directory entries, but no byte and no length: new files are empty.
    EntriesOnly,
    /// Directory entries and lengths, but no byte: files are extended with zeros, and cut.
    LengthsOnly,
    /// Bytes and lengths, but no directory entry: new files are missing, renames have not happened.
    ContentOnly,
    /// Everything except some sectors of one write. These sectors keep their content from before the write, even if later
    /// writes changed them.
    LoseSectors {
        /// The index of the write in the log. If it was synced, nothing is lost.
        op: usize,
        /// The numbers of the sectors in the file: some of [`DiskOp::sectors`](super::DiskOp::sectors).
        sectors: Vec<u64>,
        /// Whether the length is lost too. It is then the length before that write.
        length_too: bool,
    },
    /// Any part, chosen by this seed: each entry, each length and each sector independently. Some images keep most of them, and
    /// others few. The same seed on the same log gives the same image.
    Random(u64),
}

/// Decides the surviving data, one question at a time.
///
/// The candidates are the operations that made them, oldest first. The answer is 0 for the durable state, and `n` for the
/// `n`-th candidate.
pub(super) trait Pick {
    fn entry(&mut self, op: usize) -> bool;
    fn length(&mut self, candidates: &[usize]) -> usize;
    fn sector(&mut self, sector: u64, candidates: &[usize]) -> usize;
}

impl Survival {
    pub(super) fn pick(&self) -> Box<dyn Pick + '_> {
        let fixed = |entries, lengths, sectors| {
            Box::new(Fixed {
                entries,
                lengths,
                sectors,
            })
        };
        match self {
            Self::All => fixed(true, true, true),
            Self::Nothing => fixed(false, false, false),
            Self::EntriesOnly => fixed(true, false, false),
            Self::LengthsOnly => fixed(true, true, false),
            Self::ContentOnly => fixed(false, true, true),
            Self::LoseSectors {
                op,
                sectors,
                length_too,
            } => Box::new(Lose {
                op: *op,
                sectors,
                length_too: *length_too,
            }),
            Self::Random(seed) => Box::new(Random::new(*seed)),
        }
    }
}

struct Fixed {
    entries: bool,
    lengths: bool,
    sectors: bool,
}

impl Pick for Fixed {
    fn entry(&mut self, _op: usize) -> bool {
        self.entries
    }

    fn length(&mut self, candidates: &[usize]) -> usize {
        if self.lengths { candidates.len() } else { 0 }
    }

    fn sector(&mut self, _sector: u64, candidates: &[usize]) -> usize {
        if self.sectors { candidates.len() } else { 0 }
    }
}

struct Lose<'a> {
    op: usize,
    sectors: &'a [u64],
    length_too: bool,
}

impl Lose<'_> {
    /// The number of candidates before the write, or of all candidates if the write is not among them.
    fn before(&self, candidates: &[usize]) -> usize {
        let position = candidates.iter().position(|op| *op == self.op);
        position.unwrap_or(candidates.len())
    }
}

impl Pick for Lose<'_> {
    fn entry(&mut self, _op: usize) -> bool {
        true
    }

    fn length(&mut self, candidates: &[usize]) -> usize {
        if self.length_too {
            self.before(candidates)
        } else {
            candidates.len()
        }
    }

    fn sector(&mut self, sector: u64, candidates: &[usize]) -> usize {
        if self.sectors.contains(&sector) {
            self.before(candidates)
        } else {
            candidates.len()
        }
    }
}

/// Entries, lengths and sectors have separate odds in each image, from none to all. Images thus differ in more than their
/// details.
struct Random {
    random: SplitMix64,
    entries: usize,
    lengths: usize,
    sectors: usize,
}

impl Random {
    fn new(seed: u64) -> Self {
        let mut random = SplitMix64::new(seed);
        let mut odds = || match random.below(8) {
            0 => 0,
            1 | 2 => 1,
            3 | 4 => 4,
            5 | 6 => 7,
            _ => 8,
        };
        let (entries, lengths, sectors) = (odds(), odds(), odds());
        Self {
            random,
            entries,
            lengths,
            sectors,
        }
    }

    /// The newest candidate, or an older candidate or the durable state.
    fn choose(&mut self, odds: usize, candidates: &[usize]) -> usize {
        let newest = candidates.len();
        if self.random.chance(odds) {
            newest
        } else {
            self.random.below(newest)
        }
    }
}

impl Pick for Random {
    fn entry(&mut self, _op: usize) -> bool {
        self.random.chance(self.entries)
    }

    fn length(&mut self, candidates: &[usize]) -> usize {
        self.choose(self.lengths, candidates)
    }

    fn sector(&mut self, _sector: u64, candidates: &[usize]) -> usize {
        self.choose(self.sectors, candidates)
    }
}
