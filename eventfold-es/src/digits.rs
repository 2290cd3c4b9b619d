//! The decimal digits at the begin of a text, eight at a time. Lines of the journal are full of numbers.

const ZEROS: u64 = u64::from_ne_bytes([b'0'; 8]);
/// A digit with this added stays below `HIGH`.
const BELOW_HIGH: u64 = u64::from_ne_bytes([0x7f - 9; 8]);
const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
const POWERS: [u64; 9] = [
    1,
    10,
    100,
    1_000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
];

/// The number of digits.
pub(crate) fn count(text: &[u8]) -> usize {
    let mut count = 0;
    while let Some(eight) = text.get(count..).and_then(<[u8]>::first_chunk) {
        let digits = count_in(u64::from_le_bytes(*eight));
        count += digits;
        if digits < 8 {
            return count;
        }
    }
    let rest = text.get(count..).unwrap_or_default();
    count + rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// The number that the digits are, and how many they are. More than 19 digits may not fit: the number is then another one.
pub(crate) fn number(text: &[u8]) -> (u64, usize) {
    let (mut number, mut count) = (0_u64, 0);
    while let Some(eight) = text.get(count..).and_then(<[u8]>::first_chunk) {
        let word = u64::from_le_bytes(*eight);
        let digits = count_in(word);
        if digits == 0 {
            return (number, count);
        }
        let power = POWERS.get(digits).copied().unwrap_or_default();
        // Zeros before the digits, in place of the bytes behind them.
        let read = of_eight(word << (64 - 8 * digits));
        number = number.wrapping_mul(power).wrapping_add(read);
        count += digits;
        if digits < 8 {
            return (number, count);
        }
    }
    let rest = text.get(count..).unwrap_or_default();
    for byte in rest.iter().take_while(|byte| byte.is_ascii_digit()) {
        let digit = byte.wrapping_sub(b'0');
        number = number.wrapping_mul(10).wrapping_add(digit.into());
        count += 1;
    }
    (number, count)
}

/// The number of digits before the first other byte. The first byte is the lowest.
fn count_in(word: u64) -> usize {
    let differences = word ^ ZEROS;
    // A carry reaches only bytes behind a byte that is no digit.
    let others = (differences.wrapping_add(BELOW_HIGH) | differences) & HIGH;
    others.trailing_zeros() as usize / 8
}

/// The number that eight digits are, pairs first. A zero byte is a zero.
fn of_eight(word: u64) -> u64 {
    let digits = word & 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = (digits.wrapping_mul(10) + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    (fours.wrapping_mul(10_000) + (fours >> 32)) & 0xffff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same, one byte after the other.
    fn simple(text: &[u8]) -> (u64, usize) {
        let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold((0, 0), |(number, count), byte| {
            let digit = u64::from(byte - b'0');
            (
                u64::wrapping_add(u64::wrapping_mul(number, 10), digit),
                count + 1,
            )
        })
    }

    #[test]
    fn as_byte_by_byte() {
        for digits in 0..=24 {
            for number in ["1234567890", "0000000000", "9999999999", "9081726354"] {
                let digits: String = number.chars().cycle().take(digits).collect();
                let behind = (0..=u8::MAX).map(|byte| vec![byte]);
                let longer = (0..=u8::MAX).map(|byte| [&[byte][..], b"9,\"ts\":17"].concat());
                for behind in behind.chain(longer).chain([Vec::new()]) {
                    let text = [digits.as_bytes(), &behind].concat();
                    let expected = simple(&text);
                    assert_eq!(super::number(&text), expected, "{text:?}");
                    assert_eq!(count(&text), expected.1, "{text:?}");
                }
            }
        }
    }
}
