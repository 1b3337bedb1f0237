//! What a container owns besides its processes, its cgroups and what its runtime knows: registered when it is launched,
//! removed after its end.

use crate::Layout;
use serde::{Deserialize, Serialize};
use std::path::{Component, Path, PathBuf};

/// What else is to be cleaned, each in its order. A launch that fails leaves all of it to whoever asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cleanup {
    /// Files, directories with all that is in them, sockets, FIFOs, symbolic links: removed.
    pub paths: Vec<PathBuf>,
    /// Mount points: everything that is mounted there and below is unmounted; the point itself stays.
    pub mounts: Vec<PathBuf>,
    /// Bind-mounted network namespaces, as `ip netns` makes them: unmounted, and the file removed.
    pub netns: Vec<PathBuf>,
    /// Commands for `/bin/sh -c`: run until they end with 0, at least once.
    pub exec: Vec<String>,
}

/// Why something cannot be registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option} {what}: {why}")]
pub struct Refused {
    /// On the command line.
    pub option: &'static str,
    /// What was given.
    pub what: String,
    /// And what to do about it.
    pub why: String,
}

impl Cleanup {
    /// How many things one container may register.
    pub const MOST: usize = 64;
    /// How many bytes all of them may have, so that a launch stays a small file.
    pub const BYTES: usize = 16 * 1024;

    /// Whether nothing is registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty() && self.mounts.is_empty() && self.netns.is_empty() && self.exec.is_empty()
    }

    /// The same with every path's directory resolved, so that a link on the way cannot be turned elsewhere later; the
    /// last component is never followed (I10). Blocks on the file system.
    ///
    /// # Errors
    /// A path that is relative, not UTF-8, a top-level directory, or one that has Sexton's own files in it or lies among
    /// them; an empty command; too much of it all.
    pub fn checked(self, layout: &Layout) -> Result<Self, Refused> {
        let each = |option: &'static str, paths: Vec<PathBuf>| -> Result<Vec<PathBuf>, Refused> {
            paths.into_iter().map(|path| checked(option, &path, layout)).collect()
        };
        let exec = self.exec;
        if let Some(bad) = exec.iter().find(|command| command.trim().is_empty() || command.contains('\0')) {
            let why = "a command is empty or has a NUL byte: give what /bin/sh -c should run".into();
            return Err(Refused { option: "--cleanup-exec", what: format!("{bad:?}"), why });
        }
        let all = Self {
            paths: each("--cleanup-path", self.paths)?,
            mounts: each("--cleanup-mount", self.mounts)?,
            netns: each("--cleanup-netns", self.netns)?,
            exec,
        };
        let paths = || all.paths.iter().chain(&all.mounts).chain(&all.netns);
        let (count, bytes) = (
            paths().count() + all.exec.len(),
            paths().map(|path| path.as_os_str().len()).sum::<usize>() + all.exec.iter().map(String::len).sum::<usize>(),
        );
        if count > Self::MOST || bytes > Self::BYTES {
            let why = format!(
                "at most {} things, of {} bytes together, can be registered: register a directory that has them",
                Self::MOST,
                Self::BYTES
            );
            return Err(Refused { option: "--cleanup-*", what: format!("({count} things, {bytes} bytes)"), why });
        }
        Ok(all)
    }
}

fn checked(option: &'static str, given: &Path, layout: &Layout) -> Result<PathBuf, Refused> {
    let refused = |why: &str| Err(Refused { option, what: given.display().to_string(), why: why.into() });
    if given.to_str().is_none_or(|text| text.contains('\0')) {
        return refused("the path is not UTF-8");
    }
    if !given.is_absolute() {
        return refused("it must be an absolute path");
    }
    if given.components().any(|part| part == Component::ParentDir) {
        return refused("'..' is not allowed in it");
    }
    let (Some(parent), Some(name)) = (given.parent(), given.file_name()) else {
        return refused("the root directory cannot be cleaned up");
    };
    // With all links resolved, as far as it is there; what is not there cannot lead elsewhere.
    let there = parent.ancestors().find_map(|dir| Some((dir.canonicalize().ok()?, parent.strip_prefix(dir).ok()?)));
    let Some((real, rest)) = there else { return refused("its directory cannot be looked at") };
    if rest.components().next().is_some_and(|missing| real.join(missing).symlink_metadata().is_ok()) {
        return refused("a link on the way leads nowhere");
    }
    let path = real.join(rest).join(name);
    if path.to_str().is_none() {
        return refused("its directory, resolved, is not UTF-8");
    }
    if path.components().count() <= 2 {
        return refused("a directory of the top level cannot be cleaned up: name what is the container's below it");
    }
    for own in [layout.state(), layout.data()] {
        let own = own.canonicalize().unwrap_or_else(|_| own.into());
        if own.starts_with(&path) || path.starts_with(&own) {
            return refused("Sexton's own files are there");
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_on_the_way_are_resolved_and_the_last_is_not() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("real")).unwrap();
        symlink("/etc", root.join("real/link")).unwrap();
        symlink(root.join("real"), root.join("way")).unwrap();
        let layout = Layout::new(root.join("s"), root.join("d"));
        let cleanup = Cleanup { paths: vec![root.join("way/link"), root.join("way/not/yet/x")], ..Cleanup::default() };
        let checked = cleanup.checked(&layout).unwrap();
        assert_eq!(checked.paths, [root.join("real/link"), root.join("real/not/yet/x")]);
    }

    #[test]
    fn what_would_take_too_much_is_refused_by_name() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("own/state")).unwrap();
        symlink("/", root.join("top")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        let layout = Layout::new(root.join("own/state"), root.join("own/data"));
        let refused = |path: PathBuf, word: &str| {
            let all = [
                Cleanup { paths: vec![path.clone()], ..Cleanup::default() },
                Cleanup { mounts: vec![path.clone()], ..Cleanup::default() },
                Cleanup { netns: vec![path], ..Cleanup::default() },
            ];
            for cleanup in all {
                let error = cleanup.checked(&layout).unwrap_err().to_string();
                assert!(error.contains(word), "{error}");
            }
        };
        refused("x/y".into(), "absolute");
        refused("/a/../etc".into(), "'..'");
        refused("/".into(), "root directory");
        refused("/etc".into(), "top level");
        refused("/etc/".into(), "top level");
        refused(root.join("top/etc"), "top level");
        refused(root.join("dangling/x"), "leads nowhere");
        refused(root.join("own"), "Sexton's own");
        refused(root.join("own/state"), "Sexton's own");
        refused(root.join("own/data/gc/x"), "Sexton's own");
        let many = Cleanup { exec: vec!["true".into(); Cleanup::MOST + 1], ..Cleanup::default() };
        assert!(many.checked(&layout).unwrap_err().to_string().contains("at most 64"));
        let long = Cleanup { exec: vec!["x".repeat(Cleanup::BYTES + 1)], ..Cleanup::default() };
        assert!(long.checked(&layout).is_err());
        let empty = Cleanup { exec: vec![" ".into()], ..Cleanup::default() };
        assert!(empty.checked(&layout).unwrap_err().to_string().contains("--cleanup-exec"));
        assert!(Cleanup::default().is_empty());
    }
}
