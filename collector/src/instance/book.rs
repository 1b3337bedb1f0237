//! Where instances are kept.

use crate::{backend::Doing, blocking::Blocking};
use sexton_common::{
    ContainerId, Layout, durable,
    instance::Instance,
    wire::{ApiError, ErrorCode},
};
use std::{fmt, fs, io};

/// Where instances are kept: on a disk, or in a test's memory.
pub trait Book: fmt::Debug + Send + Sync + 'static {
    /// Writes one. Durable once it returns.
    fn write<'a>(&'a self, instance: &'a Instance) -> Doing<'a, ()>;

    /// Forgets one; also one that is not there.
    fn remove<'a>(&'a self, id: &'a ContainerId) -> Doing<'a, ()>;
}

/// A file each in `instances/` of the data directory.
#[derive(Debug)]
pub struct Disk {
    layout: Layout,
    blocking: Blocking,
}

impl Disk {
    /// In this layout.
    #[must_use]
    pub fn new(layout: Layout, blocking: Blocking) -> Self {
        Self { layout, blocking }
    }

    /// All that lie there. What does not decode goes to quarantine, loudly, and stops nobody else. Blocks on the disk.
    ///
    /// # Errors
    /// If the directory cannot be listed.
    pub fn load(layout: &Layout) -> io::Result<Found> {
        let mut found = Found::default();
        for entry in fs::read_dir(layout.instances())? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            if name.contains('~') {
                // What a killed collector left: its fact is there under its own name, or never was.
                let _ = fs::remove_file(layout.instances().join(name.as_ref()));
                continue;
            }
            let Ok(id) = name.parse::<ContainerId>() else { continue };
            let path = layout.instance(&id);
            match durable::read::<Instance>(&path) {
                Ok(Some(instance)) if instance.id == id => found.instances.push(instance),
                Ok(None) => {}
                Ok(Some(other)) => {
                    tracing::error!(file = %path.display(), id = %other.id, "an instance lies under another one's name");
                    aside(layout, &path, &id);
                    found.spoilt.push(id);
                }
                Err(durable::ReadError::Damaged { damage, .. }) => {
                    tracing::error!(file = %path.display(), %damage, "an instance does not decode: it is not restarted before a user starts it");
                    aside(layout, &path, &id);
                    found.spoilt.push(id);
                }
                Err(e) => {
                    tracing::error!(file = %path.display(), error = %e, "an instance cannot be read: it is not restarted");
                    found.spoilt.push(id);
                }
            }
        }
        Ok(found)
    }
}

/// What an earlier collector has left.
#[derive(Debug, Default)]
pub struct Found {
    /// What could be read.
    pub instances: Vec<Instance>,
    /// Containers of which it could not be.
    pub spoilt: Vec<ContainerId>,
}

fn aside(layout: &Layout, path: &std::path::Path, id: &ContainerId) {
    if let Err(e) = durable::quarantine(path, &format!("{id}.instance"), &layout.data_quarantine()) {
        tracing::error!(file = %path.display(), error = %e, "cannot be moved to quarantine: left where it is");
    }
}

impl Book for Disk {
    fn write<'a>(&'a self, instance: &'a Instance) -> Doing<'a, ()> {
        let (path, instance) = (self.layout.instance(&instance.id), instance.clone());
        Box::pin(async move {
            let name = format!("write the instance of {}", instance.id);
            let shown = path.display().to_string();
            let written = self.blocking.run(name, move || durable::write(&path, &instance)).await;
            written.map_err(|e| {
                ApiError::new(ErrorCode::Internal, format!("write {shown}: {e}: is the disk full, or read-only?"))
            })
        })
    }

    fn remove<'a>(&'a self, id: &'a ContainerId) -> Doing<'a, ()> {
        let path = self.layout.instance(id);
        Box::pin(async move {
            let name = format!("remove the instance of {id}");
            let shown = path.display().to_string();
            let work = move || match fs::remove_file(&path).and_then(|()| durable::sync_parent(&path)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            };
            let removed = self.blocking.run(name, work).await;
            removed
                .map_err(|e| ApiError::new(ErrorCode::Internal, format!("remove {shown}: {e}: is the disk read-only?")))
        })
    }
}
