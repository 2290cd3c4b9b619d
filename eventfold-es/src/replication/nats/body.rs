//! The body of a message: the text of an entry, which is compressed if it is long.
//!
//! A long text is a zstd frame, which begins with bytes that no text has. So `zstdcat` reads it, and short entries are readable as they
//! are. The servers copy each entry several times and sync it twice, so its bytes cost them more than the compression costs the nodes.

use std::io;
use std::sync::{Mutex, PoisonError};

use zstd::bulk::{Compressor, decompress};
use zstd::zstd_safe::get_frame_content_size;

use super::STREAM_LIMIT;

/// The length from which a text is compressed, in bytes.
const LONG: usize = 4 * 1024;
/// The first bytes of a zstd frame. The second one cannot follow the first one in a text.
const MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
/// The fastest ordinary level of zstd.
const LEVEL: i32 = 1;

/// Makes bodies of texts.
#[derive(Default)]
pub(super) struct Packer(Mutex<Option<Compressor<'static>>>);

impl Packer {
    pub(super) fn pack(&self, text: &str) -> Vec<u8> {
        if text.len() < LONG {
            return text.as_bytes().to_vec();
        }
        // An uncompressed body is as good.
        self.compress(text)
            .unwrap_or_else(|_| text.as_bytes().to_vec())
    }

    fn compress(&self, text: &str) -> io::Result<Vec<u8>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let compressor = match &mut *kept {
            Some(compressor) => compressor,
            none => none.insert(Compressor::new(LEVEL)?),
        };
        compressor.compress(text.as_bytes())
    }
}

/// The text of a body.
///
/// # Errors
///
/// The reason why the body is none of an entry.
pub(super) fn unpack(body: &[u8]) -> Result<String, String> {
    let text = match body.starts_with(&MAGIC) {
        false => body.to_vec(),
        true => {
            let length = get_frame_content_size(body).ok().flatten();
            let length = length.and_then(|length| usize::try_from(length).ok());
            let length = length.filter(|length| *length <= STREAM_LIMIT);
            let length =
                length.ok_or("it is compressed, and does not tell a length within the limit")?;
            decompress(body, length)
                .map_err(|error| format!("it is compressed, and damaged: {error}"))?
        }
    };
    String::from_utf8(text).map_err(|error| error.utf8_error().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(body: &[u8]) -> String {
        unpack(body).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn long_texts_are_compressed() {
        let packer = Packer::default();
        for (count, is_short) in [(0, true), (1, true), (1_000, false), (20_000, false)] {
            let text = "{\"commit\":1,\"type\":\"Switched\"}\n".repeat(count);
            let body = packer.pack(&text);
            assert_eq!(body == text.as_bytes(), is_short);
            assert!(is_short || body.len() < text.len() / 10);
            assert_eq!(unpacked(&body), text);
        }
    }

    #[test]
    fn other_bodies_are_refused_with_a_reason() {
        let long = "x".repeat(10_000);
        let body = Packer::default().pack(&long);
        let short = body.get(..body.len() - 1).unwrap_or_default();
        let huge = zstd::bulk::compress(&vec![b'x'; STREAM_LIMIT + 1], 1).unwrap_or_default();
        let binary = zstd::bulk::compress(&[0xFF], 1).unwrap_or_default();
        for (body, reason) in [
            (short, "damaged"),
            (&MAGIC, "length"),
            (&huge, "length"),
            (&binary, "utf-8"),
            (b"\xFF", "utf-8"),
        ] {
            let error = unpack(body).err().unwrap_or_default();
            assert!(error.contains(reason), "{reason}: {error}");
        }
    }
}
