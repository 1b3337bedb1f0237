//! One thing that was looked at.

use serde::Serialize;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What.
    pub check: &'static str,
    /// What it is like.
    pub found: String,
    /// Whether that is good.
    pub status: Verdict,
    /// If not: what to do about it.
    pub to_do: Option<String>,
}

/// Whether it is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, with limits.
    Warn,
    /// It does not work.
    Fail,
}

impl Check {
    /// As it should be.
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, found: found.into(), status: Verdict::Ok, to_do: None }
    }

    /// It works, with limits.
    pub fn warn(check: &'static str, found: impl Into<String>, to_do: impl Into<String>) -> Self {
        Self { check, found: found.into(), status: Verdict::Warn, to_do: Some(to_do.into()) }
    }

    /// It does not work.
    pub fn fail(check: &'static str, found: impl Into<String>, to_do: impl Into<String>) -> Self {
        Self { check, found: found.into(), status: Verdict::Fail, to_do: Some(to_do.into()) }
    }
}
