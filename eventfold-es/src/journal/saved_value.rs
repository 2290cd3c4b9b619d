use std::fmt;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::disk::{FileError, SealError, SealedFile};
use crate::finite;

/// One saved value. It can be lost or damaged independently of all others. `Display` names its place.
pub(crate) trait SavedValue: fmt::Display + Send + Sync {
    /// The value, or the reason why it cannot be used; `None` if it was never saved. Blocks.
    fn load_json(&self) -> Result<Option<Result<Box<RawValue>, SealError>>, FileError>;

    /// Replaces the value as a whole, durably. Blocks.
    fn save_json(&self, value: &RawValue) -> Result<(), FileError>;

    /// Removes the value, if it exists. A power loss may bring it back. Blocks.
    fn remove(&self) -> Result<(), FileError>;
}

impl dyn SavedValue {
    /// [`load_json`](Self::load_json), decoded.
    pub(crate) fn load<T: DeserializeOwned>(
        &self,
    ) -> Result<Option<Result<T, SealError>>, FileError> {
        let loaded = self.load_json()?;
        let decode = |json: Box<RawValue>| Ok(serde_json::from_str(json.get())?);
        Ok(loaded.map(|json| json.and_then(decode)))
    }

    /// Encodes the value, and replaces the saved value by it. Blocks.
    pub(crate) fn save(&self, value: &impl Serialize) -> Result<(), FileError> {
        let json = finite::to_raw_value_around(value).map_err(|error| {
            let place = self.to_string();
            FileError::new("encode", Path::new(&place), error.into())
        })?;
        self.save_json(&json)
    }
}

impl SavedValue for SealedFile {
    fn load_json(&self) -> Result<Option<Result<Box<RawValue>, SealError>>, FileError> {
        self.load()
    }

    fn save_json(&self, value: &RawValue) -> Result<(), FileError> {
        SealedFile::save_json(self, value)
    }

    fn remove(&self) -> Result<(), FileError> {
        SealedFile::remove(self)
    }
}
