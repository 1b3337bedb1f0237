//! What a bundle's `config.json` says of the places that a container leaves things in. Everything here blocks.

use serde::Deserialize;
use sexton_common::{
    ContainerId, Layout,
    cgroup::{self, CgroupDir},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The parts of it that matter here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    linux: Option<Linux>,
    root: Option<Root>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Linux {
    cgroups_path: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Root {
    path: PathBuf,
}

impl Config {
    fn of(bundle: &Path) -> Self {
        let text = fs::read(bundle.join("config.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }
}

/// Where the runtime would make the container's cgroups. `own`: its caller's.
#[must_use]
pub fn expected_cgroups(bundle: &Path, own: &[CgroupDir], id: &ContainerId) -> Vec<CgroupDir> {
    let path = Config::of(bundle).linux.and_then(|linux| linux.cgroups_path);
    cgroup::expected(own, path.as_deref(), id).unwrap_or_default()
}

/// The container's root file system, if it is its own: not one that has the bundle itself, or Sexton's files, below it.
#[must_use]
pub fn rootfs(bundle: &Path, layout: &Layout) -> Option<PathBuf> {
    let root = Config::of(bundle).root?.path;
    if root.as_os_str().is_empty() {
        return None;
    }
    let root = bundle.join(root).canonicalize().ok()?;
    let bundle = bundle.canonicalize().ok()?;
    let encloses = |path: &Path| {
        let path = path.canonicalize().unwrap_or_else(|_| path.into());
        path.starts_with(&root) && path != root
    };
    let own = !encloses(&bundle) && !encloses(layout.state()) && !encloses(layout.data());
    (own && root.components().count() > 2 && root.to_str().is_some()).then_some(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_is_more_than_the_container_s_is_nobody_s_to_clean() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        let layout = Layout::new(dir.join("state"), dir.join("data"));
        let bundle = dir.join("bundle");
        fs::create_dir_all(bundle.join("rootfs")).unwrap();
        let with = |root: &str| {
            fs::write(bundle.join("config.json"), format!(r#"{{"root":{{"path":"{root}"}}}}"#)).unwrap();
            rootfs(&bundle, &layout)
        };
        assert_eq!(with("rootfs"), Some(bundle.join("rootfs")));
        assert_eq!(with(bundle.join("rootfs").to_str().unwrap()), Some(bundle.join("rootfs")));
        for bad in ["/", "..", "/usr", "", "nothing-there", "../.."] {
            assert_eq!(with(bad), None, "{bad}");
        }
        fs::write(bundle.join("config.json"), "{").unwrap();
        assert_eq!(rootfs(&bundle, &layout), None);
        assert_eq!(rootfs(Path::new("/nonexistent"), &layout), None);
    }
}
