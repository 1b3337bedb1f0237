//! The container id.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

/// A container's name, valid for runc and safe as one path component (I9).
///
/// The rule is runc's (`validateID`): ASCII letters, digits, `_`, `+`, `-` and `.`, not `.` or `..`;
/// and at most [`ContainerId::MAX`] bytes, so that temporary names fit beside it. A copy is the same text: it costs nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(Arc<str>);

/// Why a string is not a container id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Nothing was given.
    #[error("a container id may not be empty")]
    Empty,
    /// Longer than [`ContainerId::MAX`] bytes.
    #[error("a container id has at most {max} bytes, this one has {0}", max = ContainerId::MAX)]
    TooLong(usize),
    /// A character that runc does not allow.
    #[error("a container id may not contain {0:?}: use letters, digits, '_', '+', '-' and '.'")]
    Character(char),
    /// `.` or `..`.
    #[error("{0:?} is a directory, not a container id")]
    Dots(String),
}

impl ContainerId {
    /// The longest id, in bytes.
    pub const MAX: usize = 128;

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ContainerId {
    type Error = InvalidId;

    fn try_from(id: String) -> Result<Self, InvalidId> {
        if id.is_empty() {
            return Err(InvalidId::Empty);
        }
        if id.len() > Self::MAX {
            return Err(InvalidId::TooLong(id.len()));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_+-.".contains(c);
        if let Some(bad) = id.chars().find(|&c| !allowed(c)) {
            return Err(InvalidId::Character(bad));
        }
        if id == "." || id == ".." {
            return Err(InvalidId::Dots(id));
        }
        Ok(Self(id.into()))
    }
}

impl FromStr for ContainerId {
    type Err = InvalidId;

    fn from_str(id: &str) -> Result<Self, InvalidId> {
        Self::try_from(id.to_owned())
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.as_str().into()
    }
}

impl AsRef<str> for ContainerId {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_runc_accepts() {
        let longest = "x".repeat(128);
        for good in ["a", "web-1", "A_b+c.d", ".hidden", "...", "-dash", "0", longest.as_str()] {
            assert_eq!(good.parse::<ContainerId>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn refuses_paths_and_the_rest() {
        let long = "x".repeat(129);
        for bad in ["", ".", "..", "a/b", "/", "../x", "a\0b", "a b", "a\n", "ü", "a,b", "~x", long.as_str()] {
            assert!(bad.parse::<ContainerId>().is_err(), "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn an_id_is_always_one_plain_path_component(id in "[ -~]{0,140}") {
            if let Ok(id) = id.parse::<ContainerId>() {
                let path = std::path::Path::new(id.as_str());
                let parts: Vec<_> = path.components().collect();
                assert_eq!(parts, [std::path::Component::Normal(id.as_str().as_ref())]);
            }
        }
    }
}
