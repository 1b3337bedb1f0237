//! Entries on disk: `gc/<id>` in the data directory, and the launches there of containers that own what outlives a reboot.

use sexton_common::{
    ContainerId, Launch, Layout,
    durable::{self, Fact, ReadError},
    gc::Entry,
    layout::ContainerDir,
    unborn,
};
use std::{
    collections::HashMap,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A run: container and generation.
pub type Run = (ContainerId, u64);

/// Where which entry lies. Everything here blocks on the disk.
#[derive(Debug)]
pub struct Entries {
    layout: Layout,
    files: Mutex<HashMap<Run, PathBuf>>,
}

/// What lay in the data directory when the collector began.
#[derive(Debug, Default)]
pub struct Found {
    /// Entries.
    pub entries: Vec<Entry>,
    /// Launches of containers that own what outlives a reboot.
    pub launches: Vec<Launch>,
}

impl Entries {
    /// Of this data directory.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        Self { layout, files: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Run, PathBuf>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads them all. What does not decode goes to quarantine, loudly; what cannot be read stays where it is.
    ///
    /// # Errors
    /// If a directory cannot be listed.
    pub fn load(&self) -> io::Result<Found> {
        let mut found = Found::default();
        for path in list(&self.layout.gc())? {
            // Of the file only: the data directory may have any name.
            if path.file_name().is_some_and(|name| name.to_string_lossy().contains('~')) {
                // What a killed collector left: its fact is there under its own name, or never was.
                let _ = fs::remove_file(&path);
            } else if let Some(entry) = self.read::<Entry>(&path) {
                self.lock().insert(entry.estate.run(), path);
                found.entries.push(entry);
            }
        }
        for path in list(&self.layout.lasting())? {
            let dir = ContainerDir::at(path);
            let name = dir.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
            let maker = name.strip_prefix(Layout::UNBORN).and_then(|pid| pid.parse().ok());
            let mut over = name.starts_with(Layout::BURIED) || maker.is_some_and(|pid| unborn::is_abandoned(&dir, pid));
            if !name.starts_with('~') {
                let launch = self.read::<Launch>(&dir.launch());
                // Without a launch it would only keep its name taken; but what else is in it is not ours.
                let ours =
                    |path: &PathBuf| path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"launch~"));
                over = launch.is_none() && may_go(&dir, ours);
                found.launches.extend(launch);
            }
            if over && let Err(e) = super::bury(&dir, &dir) {
                tracing::error!(directory = %dir.path().display(), error = %e, "cannot be removed");
            }
        }
        Ok(found)
    }

    fn read<F: Fact>(&self, path: &Path) -> Option<F> {
        match durable::read(path) {
            Ok(fact) => fact,
            Err(ReadError::Damaged { path, damage }) => {
                let name = path.strip_prefix(self.layout.data()).unwrap_or(&path).display().to_string();
                let quarantine = self.layout.data_quarantine();
                match durable::quarantine(&path, &name.replace('/', "."), &quarantine) {
                    Ok(to) => {
                        tracing::error!(file = %path.display(), %damage, to = %to.display(), "what is to be cleaned does not decode: moved to quarantine; `sexton gc scan` may find what it was about")
                    }
                    Err(e) => {
                        tracing::error!(file = %path.display(), %damage, error = %e, "what is to be cleaned does not decode, and cannot be moved to quarantine")
                    }
                }
                None
            }
            Err(e) => {
                tracing::error!(file = %path.display(), error = %e, "what is to be cleaned cannot be read: looked at again after a restart");
                None
            }
        }
    }

    /// Writes an entry; one of the same name, of an earlier boot, keeps its own file.
    ///
    /// # Errors
    /// As [`durable::write`].
    pub fn write(&self, entry: &Entry) -> io::Result<()> {
        let (id, generation) = (&entry.estate.id, entry.estate.generation);
        let path = {
            let mut files = self.lock();
            let run = entry.estate.run();
            match files.get(&run) {
                Some(path) => path.clone(),
                None => {
                    let plain = self.layout.gc_entry(id);
                    let free = !files.values().any(|path| *path == plain);
                    // No id has an `@` in it.
                    let path = if free { plain } else { self.layout.gc().join(format!("{id}@{generation}")) };
                    files.insert(run, path.clone());
                    path
                }
            }
        };
        durable::write(&path, entry)
    }

    /// Removes a run's entry, and its launch in the data directory. Those of other runs of that name stay.
    ///
    /// # Errors
    /// What failed; called again it goes on.
    pub fn remove(&self, run: &Run) -> io::Result<()> {
        self.remove_entry(run)?;
        remove_lasting(&self.layout, &run.0, run.1)
    }

    /// Removes a run's entry alone.
    ///
    /// # Errors
    /// As [`Entries::remove`].
    pub fn remove_entry(&self, run: &Run) -> io::Result<()> {
        let path = self.lock().get(run).cloned();
        if let Some(path) = path {
            gone(fs::remove_file(&path))?;
            durable::sync_parent(&path)?;
            self.lock().remove(run);
        }
        Ok(())
    }
}

/// Removes a run's launch in the data directory, if it has one. Blocks on the disk.
///
/// # Errors
/// What failed; called again it goes on.
pub fn remove_lasting(layout: &Layout, id: &ContainerId, generation: u64) -> io::Result<()> {
    let dir = layout.lasting_container(id);
    match durable::read::<Launch>(&dir.launch()) {
        Ok(Some(launch)) if launch.generation == generation => {
            super::bury(&dir, &layout.lasting_buried(id, generation))
        }
        _ => Ok(()),
    }
}

/// Whether there is nothing in it but what is `ours`. What is no directory, or cannot be listed, is not ours to remove.
fn may_go(dir: &ContainerDir, ours: impl Fn(&PathBuf) -> bool) -> bool {
    match list(dir.path()) {
        Ok(inside) => inside.iter().all(ours),
        Err(e) => {
            tracing::error!(path = %dir.path().display(), error = %e, "what lies among the launches in the data directory is no launch: left where it is; remove it by hand");
            false
        }
    }
}

fn gone(done: io::Result<()>) -> io::Result<()> {
    done.or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
}

/// What is in a directory; nothing if there is none.
fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.map(|entry| entry.map(|entry| entry.path())).collect(),
    }
}

#[cfg(test)]
#[path = "entries_tests.rs"]
mod tests;
