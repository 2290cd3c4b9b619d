//! Numbers in as few bytes as possible (LEB128): seven bits per byte, the lowest first. The highest bit is set if more bytes
//! follow.

/// Appends a number.
pub(super) fn push(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Takes a number off the front; `None` if there is no complete number of 64 bits.
pub(super) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    let mut shift = 0;
    loop {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let digit = u64::from(byte & 0x7f);
        number |= digit << shift;
        if *byte < 0x80 {
            // The tenth byte has room for one bit.
            return (shift < 63 || digit < 2).then_some(number);
        }
        shift += 7;
        if shift > 63 {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_read_back() {
        let powers = (0..64).map(|shift| 1_u64 << shift);
        for number in powers.flat_map(|power| [power - 1, power, power + 1, u64::MAX - power]) {
            let mut bytes = Vec::new();
            push(&mut bytes, number);
            let mut rest = &bytes[..];
            assert_eq!((take(&mut rest), rest), (Some(number), &[][..]));
            bytes.pop();
            assert_eq!(take(&mut &bytes[..]), None, "{number}");
        }
    }

    #[test]
    fn more_than_64_bits_are_no_number() {
        for bytes in [
            &[0xff; 10][..],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
        ] {
            assert_eq!(take(&mut &bytes[..]), None);
        }
    }
}
