//! Whether a container comes back after its end.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, num::NonZeroU32, str::FromStr};

/// When a container is started again. Moby's words, and `on-reboot`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// After a failure: a code that is not 0, a signal, or an unknown end as far as the collector's configuration takes it
    /// for one.
    OnFailure {
        /// At most so often; as often as it takes if `None`.
        max: Option<NonZeroU32>,
    },
    /// Whatever its end; after a user's stop, when the collector starts the next time.
    Always,
    /// Whatever its end, unless a user has stopped it.
    UnlessStopped,
    /// If it ran when the machine went down.
    OnReboot,
}

impl RestartPolicy {
    /// Whether it may ever have a container back.
    #[must_use]
    pub fn comes_back(&self) -> bool {
        *self != Self::No
    }
}

/// Why a word is no restart policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no restart policy: use no, on-failure, on-failure:N, always, unless-stopped or on-reboot")]
pub struct NoPolicy(pub String);

impl FromStr for RestartPolicy {
    type Err = NoPolicy;

    fn from_str(text: &str) -> Result<Self, NoPolicy> {
        Ok(match text {
            "no" => Self::No,
            "on-failure" => Self::OnFailure { max: None },
            "always" => Self::Always,
            "unless-stopped" => Self::UnlessStopped,
            "on-reboot" => Self::OnReboot,
            _ => {
                let count = text.strip_prefix("on-failure:").filter(|n| n.bytes().all(|b| b.is_ascii_digit()));
                // 0 is moby's "as often as it takes".
                let max = count.and_then(|n| n.parse::<u32>().ok()).ok_or_else(|| NoPolicy(text.to_owned()))?;
                Self::OnFailure { max: NonZeroU32::new(max) }
            }
        })
    }
}

impl fmt::Display for RestartPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => f.pad("no"),
            Self::OnFailure { max: None } => f.pad("on-failure"),
            Self::OnFailure { max: Some(max) } => f.pad(&format!("on-failure:{max}")),
            Self::Always => f.pad("always"),
            Self::UnlessStopped => f.pad("unless-stopped"),
            Self::OnReboot => f.pad("on-reboot"),
        }
    }
}

impl Serialize for RestartPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RestartPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_policies() {
        for word in
            ["no", "on-failure", "on-failure:1", "on-failure:4294967295", "always", "unless-stopped", "on-reboot"]
        {
            assert_eq!(word.parse::<RestartPolicy>().unwrap().to_string(), word);
        }
        assert_eq!("on-failure:0".parse(), Ok(RestartPolicy::OnFailure { max: None }));
        for bad in [
            "",
            "No",
            "on-failure:",
            "on-failure:-1",
            "on-failure:+1",
            "on-failure:4294967296",
            "on-failure:x",
            "always:3",
        ] {
            assert!(bad.parse::<RestartPolicy>().is_err(), "{bad}");
        }
    }
}
