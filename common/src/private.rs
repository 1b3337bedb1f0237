//! Directories that only their owner may enter (I9).

use rustix::process::geteuid;
use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Everything that Sexton keeps in a root. A directory with anything else in it is not Sexton's to close.
const OURS: [&str; 5] = ["containers", "gc", "quarantine", "sextond.lock", "sextond.sock"];

/// Why a directory cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum NotPrivate {
    /// It cannot be made or looked at.
    #[error("directory {}: {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else could forge what lies in it.
    #[error("directory {} belongs to user {owner}, who could forge what lies in it: choose another", path.display())]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Others may enter, and closing it could hurt them.
    #[error("directory {} is open to others (mode {mode:o}) and has things in it that are not Sexton's: choose another", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

/// Makes a root directory, 0700, or sees that it is one. One that is ours alone but open to others is closed.
///
/// # Errors
/// See [`NotPrivate`].
pub fn private_dir(path: &Path) -> Result<(), NotPrivate> {
    let failed = |source| NotPrivate::Io { path: path.into(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let meta = fs::metadata(path).map_err(failed)?;
    if meta.uid() != geteuid().as_raw() {
        return Err(NotPrivate::Owner { path: path.into(), owner: meta.uid() });
    }
    if meta.mode() & 0o077 == 0 {
        return Ok(());
    }
    for entry in fs::read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if !OURS.iter().any(|ours| name == *ours) {
            return Err(NotPrivate::Open { path: path.into(), mode: meta.mode() & 0o7777 });
        }
    }
    fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ours_alone_stays_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        let new = root.path().join("a/b");
        private_dir(&new).unwrap();
        assert_eq!(mode(&new), 0o700);
        fs::create_dir(new.join("containers")).unwrap();
        fs::set_permissions(&new, Permissions::from_mode(0o755)).unwrap();
        private_dir(&new).unwrap();
        assert_eq!(mode(&new), 0o700);
        fs::write(new.join("letters"), "").unwrap();
        private_dir(&new).unwrap();
        fs::set_permissions(&new, Permissions::from_mode(0o1777)).unwrap();
        assert!(matches!(private_dir(&new), Err(NotPrivate::Open { mode: 0o1777, .. })));
        assert_eq!(mode(&new), 0o1777);
        assert!(private_dir(&new.join("letters")).is_err());
    }
}
