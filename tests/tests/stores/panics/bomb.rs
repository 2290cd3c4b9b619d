//! Values whose every piece of code panics when it is told to.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What panics now: the tag of a value and the code, as `tag/code`.
static ARMED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn armed() -> MutexGuard<'static, BTreeSet<String>> {
    ARMED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lets a piece of code of the values with a tag panic, until this is dropped.
#[must_use]
pub struct Armed(String);

pub fn arm(tag: &str, code: &str) -> Armed {
    let armed_now = format!("{tag}/{code}");
    armed().insert(armed_now.clone());
    Armed(armed_now)
}

impl Drop for Armed {
    fn drop(&mut self) {
        armed().remove(&self.0);
    }
}

pub fn touch(tag: &str, code: &str) {
    let goes_off = !tag.is_empty() && armed().contains(&format!("{tag}/{code}"));
    assert!(!goes_off, "{code} of {tag}");
}

/// A part of a command, an event, a state, an error or a key.
#[derive(Default)]
pub struct Bomb(pub String);

impl Bomb {
    pub fn new(tag: &str) -> Self {
        Self(tag.to_owned())
    }
}

impl fmt::Debug for Bomb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        touch(&self.0, "debug");
        f.write_str(&self.0)
    }
}

impl fmt::Display for Bomb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        touch(&self.0, "display");
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Bomb {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        touch(text, "from_str");
        Ok(Self::new(text))
    }
}

impl Clone for Bomb {
    fn clone(&self) -> Self {
        touch(&self.0, "clone");
        Self(self.0.clone())
    }
}

impl PartialEq for Bomb {
    fn eq(&self, other: &Self) -> bool {
        touch(&self.0, "eq");
        self.0 == other.0
    }
}

impl Eq for Bomb {}

impl PartialOrd for Bomb {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bomb {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        touch(&self.0, "cmp");
        self.0.cmp(&other.0)
    }
}

impl std::hash::Hash for Bomb {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        touch(&self.0, "hash");
        self.0.hash(state);
    }
}

impl Serialize for Bomb {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        touch(&self.0, "serialize");
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bomb {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        touch(&text, "deserialize");
        Ok(Self(text))
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        // A panic while another one unwinds would end the process, wherever it is caught.
        if !std::thread::panicking() {
            touch(&self.0, "drop");
        }
    }
}
