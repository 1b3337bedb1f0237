//! The watermarks, as they are configured.

use bytesize::ByteSize;
use serde::Deserialize;

/// Of what is left: below the high one the node is full, below the low one starts are refused; 0 is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Below it the node says that it is full.
    pub high: u64,
    /// Below it nothing is started.
    pub low: u64,
}

/// All of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watermarks {
    /// Bytes of memory.
    pub memory: Marks,
    /// Bytes of the data directory's file system.
    pub disk: Marks,
    /// Descriptors that may still watch containers.
    pub descriptors: Marks,
    /// From so many containers on the node is full; 0 is off.
    pub containers_full: u64,
    /// There are never more containers than this; 0 is off.
    pub containers_max: u64,
}

/// The section `[node]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeFile {
    memory_high: Option<ByteSize>,
    memory_low: Option<ByteSize>,
    disk_high: Option<ByteSize>,
    disk_low: Option<ByteSize>,
    descriptors_high: Option<u64>,
    descriptors_low: Option<u64>,
    containers_full: Option<u64>,
    containers_max: Option<u64>,
}

const MIB: u64 = 1 << 20;

impl NodeFile {
    /// What was given, and the defaults, which give way to it.
    ///
    /// # Errors
    /// Which two do not go together.
    pub fn watermarks(self) -> Result<Watermarks, String> {
        let bytes = |size: Option<ByteSize>| size.map(|size| size.as_u64());
        let full = self.containers_full.unwrap_or(0);
        let max = self.containers_max.unwrap_or(0);
        if max > 0 && full > max {
            return Err(format!("node.containers_full ({full}) is more than node.containers_max ({max})"));
        }
        let size = |size: u64| ByteSize::b(size).to_string();
        let count = |count: u64| count.to_string();
        let (memory, disk) = (Marks { high: 128 * MIB, low: 16 * MIB }, Marks { high: 64 * MIB, low: 0 });
        Ok(Watermarks {
            memory: marks("memory", bytes(self.memory_high), bytes(self.memory_low), memory, size)?,
            disk: marks("disk", bytes(self.disk_high), bytes(self.disk_low), disk, size)?,
            descriptors: marks(
                "descriptors",
                self.descriptors_high,
                self.descriptors_low,
                Marks { high: super::SEATS, low: 0 },
                count,
            )?,
            containers_full: full,
            containers_max: max,
        })
    }
}

fn marks(
    what: &str,
    high: Option<u64>,
    low: Option<u64>,
    usual: Marks,
    shown: impl Fn(u64) -> String,
) -> Result<Marks, String> {
    match (high, low) {
        (Some(high), Some(low)) if 0 < high && high < low => {
            Err(format!("node.{what}_high ({}) is less than node.{what}_low ({})", shown(high), shown(low)))
        }
        (Some(high), Some(low)) => Ok(Marks { high, low }),
        (None, Some(low)) => Ok(Marks { high: usual.high.max(low), low }),
        (Some(0), None) => Ok(Marks { high: 0, ..usual }),
        (Some(high), None) => Ok(Marks { high, low: usual.low.min(high) }),
        (None, None) => Ok(usual),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Watermarks, String> {
        toml::from_str::<NodeFile>(text).map_err(|e| e.to_string())?.watermarks()
    }

    #[test]
    fn defaults_give_way_to_what_is_said() {
        let usual = of("").unwrap();
        assert_eq!(usual.memory, Marks { high: 128 * MIB, low: 16 * MIB });
        assert_eq!((usual.disk.low, usual.descriptors.low, usual.containers_max), (0, 0, 0));
        assert_eq!(of("memory_low = '1GiB'").unwrap().memory, Marks { high: 1024 * MIB, low: 1024 * MIB });
        assert_eq!(of("memory_high = '8MiB'").unwrap().memory, Marks { high: 8 * MIB, low: 8 * MIB });
        assert_eq!(of("memory_high = 0").unwrap().memory, Marks { high: 0, low: 16 * MIB });
        assert_eq!(of("disk_high = 0\ndisk_low = '1 MiB'").unwrap().disk, Marks { high: 0, low: MIB });
        assert_eq!(of("disk_high = '1.5GiB'\ndisk_low = 4096").unwrap().disk, Marks { high: 1536 * MIB, low: 4096 });
        assert_eq!(of("containers_full = 5").unwrap().containers_full, 5);
    }

    #[test]
    fn what_does_not_go_together_is_refused_by_name() {
        for (text, words) in [
            (
                "memory_high = '1GiB'\nmemory_low = '2GiB'",
                &["node.memory_high (1.0 GiB)", "node.memory_low (2.0 GiB)"][..],
            ),
            ("disk_high = 1\ndisk_low = 2", &["node.disk_high"]),
            ("descriptors_high = 4\ndescriptors_low = 5", &["node.descriptors_high (4)", "node.descriptors_low (5)"]),
            ("containers_full = 3\ncontainers_max = 2", &["node.containers_full (3)", "node.containers_max (2)"]),
            ("memory_high = 'much'", &["memory_high"]),
            ("memory = '1GiB'", &["memory"]),
            ("containers_max = -1", &["containers_max"]),
        ] {
            let error = of(text).unwrap_err();
            assert!(words.iter().all(|word| error.contains(word)), "{text}: {error}");
        }
    }
}
