//! Small C programs and libraries, compiled when first wanted.

use std::{
    collections::hash_map::DefaultHasher,
    fs,
    hash::{Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
};

/// The program made of `helpers/NAME.c`, static, kept beside the test binaries.
///
/// # Panics
/// If it cannot be compiled.
#[must_use]
pub fn helper(name: &str) -> PathBuf {
    compiled(&source(name), &["-static", "-pthread"])
}

/// The shared library made of `helpers/NAME.c`, to be preloaded.
///
/// # Panics
/// If it cannot be compiled.
#[must_use]
pub fn library(name: &str) -> PathBuf {
    compiled(&source(name), &["-shared", "-fPIC"])
}

fn source(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("helpers").join(format!("{name}.c"))
}

/// What the compiler makes of any source, with these options, kept beside the running program.
///
/// # Panics
/// If it cannot be compiled.
#[must_use]
pub fn compiled(source: &Path, kind: &[&str]) -> PathBuf {
    let name = source.file_stem().unwrap().to_string_lossy();
    let mut hasher = DefaultHasher::new();
    (fs::read(source).unwrap(), kind).hash(&mut hasher);
    let dir = std::env::current_exe().unwrap().parent().unwrap().join("helpers");
    let program = dir.join(format!("{name}-{:016x}", hasher.finish()));
    if program.exists() {
        return program;
    }
    fs::create_dir_all(&dir).unwrap();
    // Tests run in parallel: each compiles under a name of its own, and renaming is atomic.
    let own = dir.join(format!("{name}.{:?}", std::thread::current().id()).replace(['(', ')'], "-"));
    let compiled = Command::new("cc").args(kind).args(["-O1", "-Wall", "-o"]).arg(&own).arg(source).output().unwrap();
    assert!(compiled.status.success(), "cc {}: {}", source.display(), String::from_utf8_lossy(&compiled.stderr));
    fs::rename(&own, &program).unwrap();
    program
}
