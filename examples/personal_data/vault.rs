//! One key for each person, in a directory outside the store.
//!
//! In production this is a key management service, or a table in a database that you can delete from. It needs three
//! properties: a key is durable before anything is encrypted with it, a deleted key is gone, and backups of keys expire sooner
//! than you promise to forget.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use chacha20poly1305::aead::{Aead, Generate, Key, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};

/// Encrypted text: hexadecimal digits of a nonce and of the ciphertext. Events hold this and never the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(String);

#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("the key cannot be read or written: {0}")]
    Io(#[from] io::Error),
    #[error("the key of {person} was deleted, or never made")]
    NoKey { person: String },
    #[error("the value was not encrypted with the key of {person}, or was changed since")]
    NotTheirs { person: String },
}

/// The length of a nonce, in bytes.
const NONCE: usize = 24;

pub struct Vault {
    directory: PathBuf,
}

impl Vault {
    pub fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let directory = directory.to_owned();
        Ok(Self { directory })
    }

    /// Makes the key of a person, durably. Fails if there is one already.
    pub fn enroll(&self, person: &str) -> Result<(), VaultError> {
        let key = Key::<XChaCha20Poly1305>::generate();
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(self.path(person))?;
        file.write_all(&key)?;
        file.sync_all()?;
        Ok(self.sync_names()?)
    }

    /// Encrypts a text about a person.
    pub fn seal(&self, person: &str, text: &str) -> Result<Sealed, VaultError> {
        let cipher = self.cipher(person)?;
        // 24 random bytes do not repeat: no counter has to survive a crash.
        let nonce = XNonce::generate();
        // With the id of the person, so that nobody can move the value to another one.
        let payload = Payload {
            msg: text.as_bytes(),
            aad: person.as_bytes(),
        };
        let encrypted = cipher.encrypt(&nonce, payload);
        let encrypted = encrypted.map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
        Ok(Sealed(to_hex(&[&nonce[..], &encrypted].concat())))
    }

    /// Decrypts it; [`VaultError::NoKey`] once the person is forgotten.
    pub fn unseal(&self, person: &str, sealed: &Sealed) -> Result<String, VaultError> {
        let cipher = self.cipher(person)?;
        let not_theirs = || VaultError::NotTheirs {
            person: person.to_owned(),
        };
        let bytes = from_hex(&sealed.0).ok_or_else(not_theirs)?;
        let (nonce, encrypted) = bytes.split_at_checked(NONCE).ok_or_else(not_theirs)?;
        let nonce = XNonce::try_from(nonce).map_err(|_| not_theirs())?;
        let payload = Payload {
            msg: encrypted,
            aad: person.as_bytes(),
        };
        let text = cipher.decrypt(&nonce, payload).map_err(|_| not_theirs())?;
        String::from_utf8(text).map_err(|_| not_theirs())
    }

    /// Deletes the key of a person, durably: no text that was encrypted with it can be read any more, wherever it is.
    pub fn forget(&self, person: &str) -> Result<(), VaultError> {
        match fs::remove_file(self.path(person)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(self.sync_names()?),
        }
    }

    fn cipher(&self, person: &str) -> Result<XChaCha20Poly1305, VaultError> {
        let no_key = || VaultError::NoKey {
            person: person.to_owned(),
        };
        match fs::read(self.path(person)) {
            Ok(key) => XChaCha20Poly1305::new_from_slice(&key).map_err(|_| no_key()),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(no_key()),
            Err(error) => Err(error.into()),
        }
    }

    /// The id names no file itself: it may hold anything.
    fn path(&self, person: &str) -> PathBuf {
        self.directory.join(to_hex(person.as_bytes()))
    }

    /// A file that was made or removed is not durable before its directory is.
    fn sync_names(&self) -> io::Result<()> {
        if cfg!(unix) {
            File::open(&self.directory)?.sync_all()?;
        }
        Ok(())
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digits = pairs.iter().map(|pair| std::str::from_utf8(pair).ok());
    let bytes = digits.map(|digits| u8::from_str_radix(digits?, 16).ok());
    bytes.collect::<Option<_>>().filter(|_| rest.is_empty())
}
