//! Points in time.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A moment on both clocks: the wall clock for people, the boot-time clock for order and durations.
///
/// The boot-time clock never jumps and counts suspended time (`CLOCK_BOOTTIME`, Linux 2.6.39).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Wall clock.
    pub wall: WallTime,
    /// Nanoseconds since boot.
    pub boot_ns: u64,
}

impl Stamp {
    /// The present moment.
    #[must_use]
    pub fn now() -> Self {
        Self { wall: WallTime::now(), boot_ns: boot_ns() }
    }
}

/// Nanoseconds since boot, suspended time included.
#[must_use]
pub fn boot_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Wall-clock time in nanoseconds since 1970, never before it. RFC 3339 in JSON, an integer in postcard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WallTime(pub u64);

impl WallTime {
    /// The present moment; 1970 if the clock stands before it.
    #[must_use]
    pub fn now() -> Self {
        Self::from(SystemTime::now())
    }

    fn system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.0)
    }
}

impl From<SystemTime> for WallTime {
    fn from(at: SystemTime) -> Self {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_nanos(self.system_time()).fmt(f)
    }
}

impl Serialize for WallTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_u64(self.0) }
    }
}

impl<'de> Deserialize<'de> for WallTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            humantime::parse_rfc3339(&text).map(Self::from).map_err(D::Error::custom)
        } else {
            u64::deserialize(deserializer).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_rfc3339_and_comes_back() {
        let at = WallTime(1_795_254_484_123_456_789);
        let json = serde_json::to_string(&at).unwrap();
        assert_eq!(json, "\"2026-11-21T09:48:04.123456789Z\"");
        assert_eq!(serde_json::from_str::<WallTime>(&json).unwrap(), at);
    }

    #[test]
    fn every_wall_time_can_be_shown() {
        for at in [0, 1, u64::MAX] {
            assert!(!WallTime(at).to_string().is_empty());
        }
    }
}
