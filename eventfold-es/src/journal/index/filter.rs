//! Filters, which exclude keys from a run without a lookup.
//!
//! A filter is a number of pages, each with 64 lines of 64 bytes. The hash of a key chooses a page, one of its lines, and seven
//! bits of that line. These bits are set if the run has the key. With ten bits per key, about one in a hundred absent keys
//! causes a needless lookup.

use xxhash_rust::xxh64::xxh64;

const LINE_BYTES: usize = 64;
const LINES: usize = 64;
/// The size of a page without its checksum.
pub(super) const PAGE_BYTES: usize = LINE_BYTES * LINES;
const BITS_PER_KEY: u64 = 10;
const BITS: u32 = 7;

/// The number of pages of a filter for this number of keys.
pub(super) fn page_count(keys: u64) -> u64 {
    (keys.saturating_mul(BITS_PER_KEY))
        .div_ceil(PAGE_BYTES as u64 * 8)
        .max(1)
}

/// The place of the bits of a key.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    pub(super) page: u64,
    line: usize,
    bits: u64,
}

impl Spot {
    pub(super) fn of(key: &[u8], pages: u64) -> Self {
        let hash = xxh64(key, 0);
        // The high half chooses a page by multiplication, which is as even as a remainder and faster.
        let page = (u128::from(hash) * u128::from(pages.max(1))) >> 64;
        let bits = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self {
            page: page as u64,
            line: (hash as usize) % LINES,
            bits,
        }
    }

    /// The bytes of the line, each with its bit.
    fn places(self) -> impl Iterator<Item = (usize, u8)> {
        let start = self.line * LINE_BYTES;
        (0..BITS).map(move |number| {
            // Nine bits choose one of 512 bits.
            let bit = (self.bits >> (number * 9 + 1)) as usize % (LINE_BYTES * 8);
            (start + bit / 8, 1 << (bit % 8))
        })
    }

    pub(super) fn set(self, page: &mut [u8]) {
        for (byte, bit) in self.places() {
            if let Some(byte) = page.get_mut(byte) {
                *byte |= bit;
            }
        }
    }

    /// Whether the run may have the key.
    pub(super) fn is_set(self, page: &[u8]) -> bool {
        self.places()
            .all(|(byte, bit)| page.get(byte).is_some_and(|byte| byte & bit != 0))
    }
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    fn key(number: u64) -> Vec<u8> {
        format!("sorder\0ord-{number}\0").into_bytes()
    }

    #[test]
    fn what_is_there_is_found_and_little_else() {
        for count in [1, 100, 10_000, 100_000] {
            let pages = page_count(count);
            let mut filter = vec![vec![0; PAGE_BYTES]; usize::try_from(pages).unwrap_or(0)];
            for number in 0..count {
                let spot = Spot::of(&key(number), pages);
                spot.set(&mut filter[spot.page as usize]);
            }
            let may_hold = |number| {
                let spot = Spot::of(&key(number), pages);
                spot.is_set(&filter[spot.page as usize])
            };
            assert!((0..count).all(may_hold));
            let others = (count..count + 100_000).filter(|number| may_hold(*number));
            let others = others.count();
            assert!(others < 2_500, "{others} of 100,000 beside {count}");
        }
    }
}
