//! How the machine is.

use super::parse;
use crate::budget;
use nix::{
    ifaddrs::getifaddrs,
    net::if_::InterfaceFlags,
    sys::utsname::uname,
    unistd::{SysconfVar, sysconf},
};
use rustix::fs::statvfs;
use sexton_common::wire::Room;
use std::{fs, io, net::IpAddr, path::Path};

/// A machine with an address for each container is not to break a frame.
const ADDRESSES: usize = 256;

/// What does not depend on any disk.
#[derive(Clone, Debug)]
pub struct Host {
    /// Its name.
    pub hostname: String,
    /// Without those of loopback and of link-local scope.
    pub addresses: Vec<IpAddr>,
    /// Of 1, 5 and 15 minutes, in hundredths.
    pub load: [u32; 3],
    /// In bytes.
    pub memory: Room,
    /// Of this process.
    pub descriptors: Room,
}

impl Host {
    /// As it is now; what cannot be seen is empty. Reads what lies in memory only.
    #[must_use]
    pub fn look() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let (limit, open) = (budget::limit(), budget::open());
        Self {
            hostname: uname().map(|names| names.nodename().to_string_lossy().into_owned()).unwrap_or_default(),
            addresses: addresses(),
            load: parse::load(&read("/proc/loadavg")),
            memory: memory(),
            descriptors: Room { total: Some(limit), left: Some(limit.saturating_sub(open)), used: open },
        }
    }
}

/// CPUs that are online, whoever may use them.
#[must_use]
pub fn cpus() -> u32 {
    let online = sysconf(SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
    online.and_then(|count| u32::try_from(count).ok()).unwrap_or(1).max(1)
}

/// The machine's memory; what the kernel does not tell is `None`.
#[must_use]
pub fn memory() -> Room {
    parse::meminfo(&fs::read_to_string("/proc/meminfo").unwrap_or_default())
}

/// The file system of `path`. Blocks, for as long as the file system does.
///
/// # Errors
/// If it cannot be looked at.
pub fn disk(path: &Path) -> io::Result<Room> {
    let it = statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(it.f_frsize);
    let (total, left) = (bytes(it.f_blocks), bytes(it.f_bfree));
    Ok(Room { total: Some(total), left: Some(left), used: total.saturating_sub(left) })
}

fn addresses() -> Vec<IpAddr> {
    let interfaces = getifaddrs().into_iter().flatten();
    let up = interfaces.filter(|interface| {
        interface.flags.contains(InterfaceFlags::IFF_UP) && !interface.flags.contains(InterfaceFlags::IFF_LOOPBACK)
    });
    let ip = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    let mut all: Vec<_> = up.filter_map(ip).filter(is_of_others_use).collect();
    all.sort_unstable();
    all.dedup();
    all.truncate(ADDRESSES);
    all
}

fn is_of_others_use(address: &IpAddr) -> bool {
    !address.is_loopback()
        && match address {
            IpAddr::V4(v4) => !v4.is_link_local(),
            IpAddr::V6(v6) => !v6.is_unicast_link_local(),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine() {
        let host = Host::look();
        assert!(host.memory.total > host.memory.left && host.memory.left > Some(0), "{host:?}");
        assert!(!host.hostname.is_empty() && host.descriptors.used > 0, "{host:?}");
        assert!(host.addresses.iter().all(is_of_others_use));
        assert!(disk(Path::new("/")).is_ok_and(|room| room.total >= room.left && room.total > Some(0)));
        assert!(disk(Path::new("/no/such/place")).is_err());
        assert!(cpus() >= 1);
    }

    #[test]
    fn addresses_that_only_the_machine_or_its_link_knows_are_left_out() {
        let shown = |text: &str| is_of_others_use(&text.parse().unwrap());
        assert!(["10.0.0.1", "192.168.1.2", "8.8.8.8", "fd00::1", "2001:db8::1"].into_iter().all(shown));
        assert!(!["127.0.0.1", "169.254.3.4", "::1", "fe80::1"].into_iter().any(shown));
    }
}
