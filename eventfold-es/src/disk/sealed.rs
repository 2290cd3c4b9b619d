use std::path::{Path, PathBuf};

use eventfold::line_hash;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{FileError, Files, replace_file, replace_file_without_sync};
use crate::finite;
use crate::sabotage::{Bug, planted};

/// A derived document with a checksum, so that a damaged one is recognised and rebuilt instead of believed.
///
/// The file is `{"checksum":"…","content":…}` and a newline; the checksum is eventfold's line hash (xxh64, hexadecimal) of
/// the bytes of the content as they stand in the file.
#[derive(Serialize, Deserialize)]
struct Sealed<'a> {
    checksum: String,
    #[serde(borrow)]
    content: &'a RawValue,
}

/// Why a sealed document cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    #[error("it is not complete, as after a power loss")]
    Torn,
    #[error("it is not JSON of the expected form: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("its checksum is {stored}, but its content has {actual}")]
    Checksum { stored: String, actual: String },
}

pub(crate) fn seal(content: &impl Serialize) -> Result<Vec<u8>, serde_json::Error> {
    let content = finite::to_raw_value_around(content)?;
    let mut bytes = serde_json::to_vec(&Sealed {
        checksum: line_hash(content.get().as_bytes()),
        content: &content,
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

pub(crate) fn unseal<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, SealError> {
    // A line of JSON has an end, and no zeros.
    if !bytes.ends_with(b"\n") || bytes.contains(&0) {
        return Err(SealError::Torn);
    }
    let sealed: Sealed<'_> = serde_json::from_slice(bytes)?;
    let actual = line_hash(sealed.content.get().as_bytes());
    if actual != sealed.checksum && !planted(Bug::ChecksumNotCompared) {
        return Err(SealError::Checksum {
            stored: sealed.checksum,
            actual,
        });
    }
    Ok(serde_json::from_str(sealed.content.get())?)
}

/// A sealed document at its place.
pub(crate) struct SealedFile {
    files: Files,
    path: PathBuf,
}

impl SealedFile {
    pub(crate) fn new(files: Files, path: PathBuf) -> Self {
        Self { files, path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The content; the reason if there is one that cannot be used. Blocks.
    pub(crate) fn load<T: DeserializeOwned>(
        &self,
    ) -> Result<Option<Result<T, SealError>>, FileError> {
        Ok(self.files.read(&self.path)?.map(|bytes| unseal(&bytes)))
    }

    /// Replaces the content as a whole, durably, and creates the directory if need be. Blocks.
    pub(crate) fn save(&self, content: &impl Serialize) -> Result<(), FileError> {
        let bytes = self.prepare(content)?;
        replace_file(&self.files, &self.path, &bytes)
    }

    /// As [`save`](Self::save), but without syncing: for what may be lost, since its checksum tells when a part is. Blocks.
    pub(crate) fn save_without_sync(&self, content: &impl Serialize) -> Result<(), FileError> {
        let bytes = self.prepare(content)?;
        replace_file_without_sync(&self.files, &self.path, &bytes)
    }

    /// Removes it, if it is there. Nothing is synced.
    pub(crate) fn remove(&self) -> Result<(), FileError> {
        self.files.remove(&self.path)
    }

    fn prepare(&self, content: &impl Serialize) -> Result<Vec<u8>, FileError> {
        let bytes = seal(content)
            .map_err(|error| FileError::new("encode", &self.path, std::io::Error::other(error)))?;
        if let Some(directory) = self.path.parent() {
            self.files.create_dir_all(directory)?;
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_document_is_told_from_a_changed_one() -> Result<(), Box<dyn std::error::Error>> {
        let bytes = seal(&"x".repeat(2000))?;
        let is_torn = |bytes: &[u8]| matches!(unseal::<String>(bytes), Err(SealError::Torn));
        for length in 0..bytes.len() {
            assert!(is_torn(bytes.get(..length).ok_or("short")?), "{length}");
        }
        for sector in 0..bytes.len() / 512 {
            let mut lost = bytes.clone();
            lost.get_mut(sector * 512..(sector + 1) * 512)
                .ok_or("short")?
                .fill(0);
            assert!(is_torn(&lost), "sector {sector}");
        }
        let mut changed = bytes.clone();
        *changed.get_mut(1000).ok_or("short")? = b'y';
        assert!(matches!(
            unseal::<String>(&changed),
            Err(SealError::Checksum { .. })
        ));
        Ok(())
    }

    #[test]
    fn a_flipped_bit_is_recognised() -> Result<(), Box<dyn std::error::Error>> {
        let bytes = seal(&("state", 12_345))?;
        assert_eq!(
            unseal::<(String, u32)>(&bytes)?,
            ("state".to_owned(), 12_345)
        );
        for index in 0..bytes.len() - 1 {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                if let Some(byte) = flipped.get_mut(index) {
                    *byte ^= 1 << bit;
                }
                // Upper and lower case of a field name or of the checksum differ in one bit; anything else must fail.
                if let Ok(read) = unseal::<(String, u32)>(&flipped) {
                    assert_eq!(
                        read,
                        ("state".to_owned(), 12_345),
                        "byte {index}, bit {bit}"
                    );
                }
            }
        }
        Ok(())
    }
}
