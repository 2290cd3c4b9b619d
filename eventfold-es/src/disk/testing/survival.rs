use super::random::SplitMix64;

/// The unsynced data that survives a power loss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Survival {
    /// Everything: the page cache had just been written back.
    All,
    /// Nothing: the disk is as the syncs left it.
    Nothing,
    /// Directory entries, but no byte and no length: new files are empty.
    EntriesOnly,
    /// Directory entries and lengths, but no byte: files are extended with zeros, and cut.
    LengthsOnly,
    /// Bytes and lengths, but no directory entry: new files are missing, renames have not happened.
    ContentOnly,
    /// Everything but some sectors of one write: these keep what they held before it, also against later writes to them.
    LoseSectors {
        /// The index of the write in the log. Nothing is lost if it has been synced.
        op: usize,
        /// The sectors, by their number in the file: some of [`DiskOp::sectors`](super::DiskOp::sectors).
        sectors: Vec<u64>,
        /// Whether the length is lost too, and is again what it was before that write.
        length_too: bool,
    },
    /// Any part, chosen by this seed: each entry, each length and each sector on its own, most of them in some images and
    /// few in others. The same seed on the same log is the same image.
    Random(u64),
}

/// Decides what survives, one question after the other.
///
/// The candidates are given by the operations that made them, oldest first; the answer is 0 for the durable state and
/// `n` for the `n`-th candidate.
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
    /// The last candidate before the write, or the last one if the write is none of them.
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

/// Each class of things has its own odds in an image, from none to all, so that images are not all half and half.
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

    /// The newest candidate, or any older one or the durable state.
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
