use std::fmt;
use std::path::PathBuf;

use eventfold::line_hash;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{FileError, Files, replace_file};
use crate::finite;
use crate::format;
use crate::sabotage::{Bug, planted};

/// A derived document with a checksum, so that a damaged document is recognized and rebuilt.
///
/// The file is `{"checksum":"…","format":1,"content":…}` and a newline. The checksum is eventfold's line hash (xxh64,
/// hexadecimal) of everything behind it in the file, from `"format"` to the last brace.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed<'a> {
    #[serde(rename = "checksum")]
    _checksum: &'a str,
    #[serde(rename = "format")]
    _format: u64,
    #[serde(borrow)]
    content: &'a RawValue,
}

/// The fields of every format.
#[derive(Deserialize)]
struct Head {
    format: u64,
}

const CHECKSUM_LABEL: &str = "{\"checksum\":\"";
const CHECKSUM_DIGITS: usize = 16;
const CHECKSUM_END: &str = "\",";

/// The reason why a sealed document cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    #[error("it is not complete, as after a power loss")]
    Torn,
    #[error("it is not JSON of the expected form: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("its checksum is {stored}, but its content has {actual}")]
    Checksum { stored: String, actual: String },
    #[error(transparent)]
    Newer(#[from] format::Newer),
}

fn seal(content: &RawValue) -> Vec<u8> {
    let sealed = format!("\"format\":{},\"content\":{content}}}", format::SEALED);
    let checksum = line_hash(sealed.as_bytes());
    format!("{CHECKSUM_LABEL}{checksum}{CHECKSUM_END}{sealed}\n").into_bytes()
}

fn unseal<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, SealError> {
    // A line of JSON has an end, and no zeros.
    if !bytes.ends_with(b"\n") || bytes.contains(&0) {
        return Err(SealError::Torn);
    }
    let Some((stored, sealed)) = split_checksum(bytes) else {
        // The error of this call describes the content.
        serde_json::from_slice::<Sealed<'_>>(bytes)?;
        return Err(SealError::Torn);
    };
    let actual = line_hash(sealed);
    if actual.as_bytes() != stored && !planted(Bug::ChecksumNotCompared) {
        return Err(SealError::Checksum {
            stored: String::from_utf8_lossy(stored).into_owned(),
            actual,
        });
    }
    let Head { format } = serde_json::from_slice(bytes)?;
    format::refuse_newer(format, format::SEALED)?;
    let sealed: Sealed<'_> = serde_json::from_slice(bytes)?;
    Ok(serde_json::from_str(sealed.content.get())?)
}

/// The checksum, and the bytes that it covers.
fn split_checksum(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_suffix(b"\n")?;
    let rest = rest.strip_prefix(CHECKSUM_LABEL.as_bytes())?;
    let (checksum, rest) = rest.split_at_checked(CHECKSUM_DIGITS)?;
    Some((checksum, rest.strip_prefix(CHECKSUM_END.as_bytes())?))
}

/// The place of a sealed document. `Display` names it.
pub(crate) struct SealedFile {
    files: Files,
    path: PathBuf,
}

impl fmt::Display for SealedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.display().fmt(f)
    }
}

impl SealedFile {
    pub(crate) fn new(files: Files, path: PathBuf) -> Self {
        Self { files, path }
    }

    /// The content, or the reason why it cannot be used. A newer format is an error, so that no caller takes it for damage and
    /// derives the document again. Blocks.
    pub(crate) fn load<T: DeserializeOwned>(
        &self,
    ) -> Result<Option<Result<T, SealError>>, FileError> {
        match self.files.read(&self.path)?.map(|bytes| unseal(&bytes)) {
            Some(Err(SealError::Newer(newer))) => Err(newer.in_file(&self.path)),
            read => Ok(read),
        }
    }

    /// Replaces the content as a whole, durably. Creates the directory if it is missing. Blocks.
    pub(crate) fn save(&self, content: &impl Serialize) -> Result<(), FileError> {
        let content = finite::to_raw_value_around(content)
            .map_err(|error| FileError::new("encode", &self.path, error.into()))?;
        self.save_json(&content)
    }

    /// [`save`](Self::save), with encoded content.
    pub(crate) fn save_json(&self, content: &RawValue) -> Result<(), FileError> {
        if let Some(directory) = self.path.parent() {
            self.files.create_dir_all(directory)?;
        }
        replace_file(&self.files, &self.path, &seal(content))
    }

    /// Removes the document, if it exists. Nothing is synced.
    pub(crate) fn remove(&self) -> Result<(), FileError> {
        self.files.remove(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_document_is_told_from_a_changed_one() -> Result<(), Box<dyn std::error::Error>> {
        let bytes = seal(&finite::to_raw_value_around(&"x".repeat(2000))?);
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
    fn a_newer_format_is_told_from_damage() -> Result<(), Box<dyn std::error::Error>> {
        let place = tempfile::tempdir()?;
        let path = place.path().join("a.json");
        let sealed = "\"format\":2,\"other\":[],\"content\":7}";
        let checksum = line_hash(sealed.as_bytes());
        let text = format!("{{\"checksum\":\"{checksum}\",{sealed}\n");
        let found = |text: &str| -> Result<_, Box<dyn std::error::Error>> {
            std::fs::write(&path, text)?;
            let files = Files::new(std::sync::Arc::new(crate::disk::SystemDisk));
            Ok(SealedFile::new(files, path.clone()).load::<u64>())
        };
        let newer = found(&text)?.err().ok_or("it was read")?;
        assert!(newer.to_string().contains("it has format 2"), "{newer}");
        assert!(matches!(
            found(&text.replace("format\":2", "format\":3"))?,
            Ok(Some(Err(SealError::Checksum { .. })))
        ));
        Ok(())
    }

    #[test]
    fn a_flipped_bit_is_recognised() -> Result<(), Box<dyn std::error::Error>> {
        let bytes = seal(&finite::to_raw_value_around(&("state", 12_345))?);
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
                // Upper and lower case of a field name or of the checksum differ in one bit. Any other flipped bit must fail.
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
