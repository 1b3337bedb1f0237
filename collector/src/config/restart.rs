//! `[restart]`.

use super::{ConfigError, duration};
use crate::instance::{Rules, UnknownEnds};
use serde::Deserialize;
use std::time::Duration;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RestartFile {
    #[serde(deserialize_with = "duration")]
    first: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    max: Option<Duration>,
    #[serde(deserialize_with = "duration")]
    reset_after: Option<Duration>,
    unknown: Option<Unknown>,
    unknown_in_a_row: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Unknown {
    Failure,
    Success,
}

impl RestartFile {
    /// The rules, with what is not said as moby has it.
    pub(super) fn rules(self) -> Result<Rules, ConfigError> {
        let usual = Rules::default();
        let (first, max) = (self.first.unwrap_or(usual.first), self.max.unwrap_or(usual.max));
        let wrong = |words: String| Err(ConfigError::Restart(words));
        if first < Duration::from_millis(1) {
            return wrong(format!("restart.first ({first:?}) is less than 1ms"));
        }
        if first > max {
            return wrong(format!("restart.first ({first:?}) is longer than restart.max ({max:?})"));
        }
        let unknown = match (self.unknown, self.unknown_in_a_row) {
            (Some(Unknown::Success), Some(_)) => {
                return wrong("restart.unknown_in_a_row means nothing with restart.unknown = \"success\"".into());
            }
            (Some(Unknown::Success), None) => UnknownEnds::Success,
            (_, Some(0)) => {
                let way_out = "to restart after no unknown end, say restart.unknown = \"success\"";
                return wrong(format!("restart.unknown_in_a_row is 0: {way_out}"));
            }
            (_, Some(in_a_row)) => UnknownEnds::Failure { in_a_row },
            (_, None) => usual.unknown,
        };
        Ok(Rules { first, max, reset_after: self.reset_after.unwrap_or(usual.reset_after), unknown })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Result<Rules, String> {
        toml::from_str::<RestartFile>(text).map_err(|e| e.to_string())?.rules().map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_said_and_what_is_not() {
        assert_eq!(rules(""), Ok(Rules::default()));
        let text = "first = '1s'\nmax = '1m'\nreset_after = '5s'\nunknown_in_a_row = 7";
        let expected = Rules {
            first: Duration::from_secs(1),
            max: Duration::from_secs(60),
            reset_after: Duration::from_secs(5),
            unknown: UnknownEnds::Failure { in_a_row: 7 },
        };
        assert_eq!(rules(text), Ok(expected));
        assert_eq!(rules("unknown = 'failure'"), Ok(Rules::default()));
        assert_eq!(rules("unknown = 'success'"), Ok(Rules { unknown: UnknownEnds::Success, ..Rules::default() }));
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (text, word) in [
            ("first = '2m'", "restart.first (120s) is longer than restart.max (60s)"),
            ("max = '50ms'", "longer"),
            ("first = '10us'", "less than 1ms"),
            ("first = '0s'", "zero"),
            ("reset_after = '0s'", "zero"),
            ("max = 60", "max"),
            ("unknown = 'maybe'", "maybe"),
            ("unknown_in_a_row = 0", "restart.unknown = \"success\""),
            ("unknown_in_a_row = -1", "unknown_in_a_row"),
            ("unknown = 'success'\nunknown_in_a_row = 3", "means nothing"),
            ("delay = '1s'", "delay"),
        ] {
            let error = rules(text).unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
