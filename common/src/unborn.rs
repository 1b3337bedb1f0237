//! Directories of containers that are not born yet: whose they are.

use crate::{ContainerId, Launch, ProcessIdentity, durable, identity::Presence, layout::ContainerDir};
use serde::Deserialize;
use std::{fs, os::unix::fs::MetadataExt, path::Path};

/// A launch's fields up to its shim's: all that the shim needs the code for.
#[derive(Deserialize)]
#[allow(dead_code)]
struct Head(ContainerId, u64, ProcessIdentity);

/// Whether nobody fills it any more: its maker, whose pid was `maker`, is dead, whoever has that pid now. Blocks on
/// the disk.
#[must_use]
pub fn is_abandoned(dir: &ContainerDir, maker: u32) -> bool {
    if let Some(Head(.., shim)) = durable::read_head::<Launch, _>(&dir.launch()) {
        return matches!(shim.look(), Ok(Presence::Gone | Presence::Zombie(..)));
    }
    // It is opened as soon as it is made. In between, only the name tells; an empty one that is left is harmless.
    let comm = fs::read_to_string(format!("/proc/{maker}/comm")).unwrap_or_default();
    comm.trim_end() != "sexton-shim" && !has_open(maker, dir.path())
}

/// Whether that process has that file open, as far as we may see that. Blocks on the file system.
#[must_use]
pub fn has_open(pid: u32, path: &Path) -> bool {
    let Ok(wanted) = fs::metadata(path) else { return false };
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    // Nothing else is touched: it may lie on a disk that hangs.
    let alike = entries.filter(|entry| fs::read_link(entry.path()).is_ok_and(|to| to.file_name() == path.file_name()));
    let mut found = alike.filter_map(|entry| fs::metadata(entry.path()).ok());
    found.any(|open| (open.dev(), open.ino()) == (wanted.dev(), wanted.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{launch::Stdio, runtime::Runtime};
    use std::fs::File;

    #[test]
    fn who_has_a_directory_open_fills_it() {
        let root = tempfile::tempdir().unwrap();
        let (own, dir) = (std::process::id(), ContainerDir::at(root.path().into()));
        assert!(is_abandoned(&dir, own), "we do not have it open");
        let open = File::open(root.path()).unwrap();
        assert!(!is_abandoned(&dir, own));
        assert!(!has_open(own, Path::new("/nonexistent")) && !has_open(u32::MAX, root.path()));
        fs::write(dir.launch(), "torn").unwrap();
        assert!(!is_abandoned(&dir, own));
        drop(open);
        assert!(is_abandoned(&dir, own));
    }

    #[test]
    fn a_launch_s_shim_decides_and_stands_where_it_is_looked_for() {
        let root = tempfile::tempdir().unwrap();
        let (own, dir) = (std::process::id(), ContainerDir::at(root.path().into()));
        let init = |shim| crate::Init {
            id: "c".parse().unwrap(),
            generation: 7,
            process: shim,
            cgroups: vec![],
            ready: crate::Stamp::now(),
            executable: None,
            shim,
            workload: crate::workload::Workload::Oci {
                bundle: "/b".into(),
                runtime: Runtime { root: Some("/r".into()), args: vec!["--x".into()], ..Runtime::default() },
            },
        };
        let lives = ProcessIdentity::of(own).unwrap();
        let dead = ProcessIdentity { start_time: lives.start_time + 1, ..lives };
        for (shim, abandoned) in [(lives, false), (dead, true)] {
            let launch = Launch { stdio: Stdio::File("/o".into()), ..init(shim).to_launch() };
            durable::write(&dir.launch(), &launch).unwrap();
            assert_eq!(is_abandoned(&dir, own), abandoned);
        }
    }
}
