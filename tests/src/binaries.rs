//! Where the programs under test are.

use std::path::{Path, PathBuf};

/// `SEXTON_BIN_DIR`, else `bin` in the target directory.
#[must_use]
pub fn directory() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let target = || set("CARGO_TARGET_DIR").unwrap_or_else(|| workspace().join("target"));
    set("SEXTON_BIN_DIR").unwrap_or_else(|| target().join("bin"))
}

/// The repository.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// `sexton-shim`.
#[must_use]
pub fn shim() -> PathBuf {
    directory().join("sexton-shim")
}

/// `sextond`.
#[must_use]
pub fn sextond() -> PathBuf {
    directory().join("sextond")
}

/// `sexton`.
#[must_use]
pub fn sexton() -> PathBuf {
    directory().join("sexton")
}

/// A program of the machine, found in `PATH` and where Debian puts what only root needs.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    dirs.map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// runc.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn runc() -> PathBuf {
    find("runc").unwrap()
}
