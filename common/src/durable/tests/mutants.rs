//! Each of them leaves out one thing, and the same checks catch it: else they would show nothing.

use super::{
    check::{Scene, Seen},
    crashes::{FACT, NEW, OLD, added, kept, make, nothing_there, placed, replaced, something_there},
    fake::{Fake, State},
};
use crate::durable::{
    disk::Disk,
    put::{add, place, replace, set_aside},
};
use rustix::fs::RenameFlags;
use std::{
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

/// A disk that leaves something out.
struct Without<'a> {
    disk: &'a Fake,
    file_sync: bool,
    dir_sync: fn(&Path) -> bool,
}

impl Disk for Without<'_> {
    type File = <Fake as Disk>::File;

    fn create(&self, path: &Path) -> io::Result<Self::File> {
        self.disk.create(path)
    }

    fn write(&self, file: &mut Self::File, bytes: &[u8]) -> io::Result<()> {
        self.disk.write(file, bytes)
    }

    fn sync(&self, file: &Self::File) -> io::Result<()> {
        if self.file_sync { Ok(()) } else { self.disk.sync(file) }
    }

    fn rename(&self, from: &Path, to: &Path, flags: RenameFlags) -> io::Result<()> {
        self.disk.rename(from, to, flags)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn make_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.make_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if (self.dir_sync)(dir) { Ok(()) } else { self.disk.sync_dir(dir) }
    }
}

fn without_file_sync(disk: &Fake) -> Without<'_> {
    Without { disk, file_sync: true, dir_sync: |_| false }
}

fn without_dir_sync(disk: &Fake) -> Without<'_> {
    Without { disk, file_sync: false, dir_sync: |_| true }
}

fn own_name() -> PathBuf {
    static NAMES: AtomicU32 = AtomicU32::new(0);
    format!("/d/fact~{}", NAMES.fetch_add(1, Ordering::Relaxed)).into()
}

type Deed = dyn Fn(&Fake) -> io::Result<()>;

#[track_caller]
fn caught(words: &str, start: fn() -> Fake, deed: &Deed, judge: &dyn Fn(&State) -> Seen) {
    let scene = Scene { name: "mutant", start, deed, judge, may_move_back: false };
    let found = scene.survives_crashes().and_then(|_| scene.survives_failures()).unwrap_err();
    assert!(found.contains(words), "{found}");
}

#[test]
fn a_file_that_is_not_synced() {
    caught("torn", something_there, &|disk| replace(&without_file_sync(disk), FACT.as_ref(), NEW), &replaced);
    caught("torn", nothing_there, &|disk| add(&without_file_sync(disk), FACT.as_ref(), NEW).map(|_| ()), &added);
    caught("torn", nothing_there, &|disk| make(disk, &without_file_sync(disk), place), &placed);
}

#[test]
fn a_directory_that_is_not_synced() {
    let durable = "said to be durable";
    caught(durable, something_there, &|disk| replace(&without_dir_sync(disk), FACT.as_ref(), NEW), &replaced);
    caught(durable, nothing_there, &|disk| add(&without_dir_sync(disk), FACT.as_ref(), NEW).map(|_| ()), &added);
}

/// With its directory the file would be gone.
#[test]
fn a_quarantine_that_has_no_name_yet() {
    let aside = |disk: &Fake| {
        let disk = Without { disk, file_sync: false, dir_sync: |dir| dir == Path::new("/") };
        set_aside(&disk, "/d/exit".as_ref(), "web.exit", "/q".as_ref()).map(|_| ())
    };
    caught("torn: (None, None)", || Fake::new().dir("/d").put("/d/exit", OLD).settle(), &aside, &kept);
}

#[test]
fn a_name_before_the_bytes() {
    let rename_first = |disk: &Fake| {
        let mut file = disk.create("/d/fact~1".as_ref())?;
        disk.rename("/d/fact~1".as_ref(), FACT.as_ref(), RenameFlags::empty())?;
        disk.write(&mut file, NEW)?;
        disk.sync(&file)?;
        disk.sync_dir("/d".as_ref())
    };
    caught("torn", something_there, &rename_first, &replaced);
}

#[test]
fn a_directory_in_place_before_its_names() {
    let appear = |disk: &Fake, from: &Path, to: &Path| {
        disk.rename(from, to, RenameFlags::NOREPLACE)?;
        disk.sync_dir("/d".as_ref())
    };
    caught("torn", nothing_there, &move |disk| make(disk, disk, appear), &placed);
}

#[test]
fn a_directory_that_is_there_although_it_failed() {
    let appear = |disk: &Fake, from: &Path, to: &Path| {
        disk.sync_dir(from)?;
        disk.rename(from, to, RenameFlags::NOREPLACE)?;
        disk.sync_dir("/d".as_ref())
    };
    let disk = nothing_there();
    let whole = nothing_there();
    make(&whole, &whole, appear).unwrap();
    let last = whole.history.borrow().len() - 1;
    disk.failing.set(Some(super::fake::Failing { first: last, last, errno: rustix::io::Errno::IO }));
    assert!(make(&disk, &disk, appear).is_err());
    assert_eq!(placed(&disk.state.borrow()), Seen::New, "this is what `place` undoes");
    let disk = nothing_there();
    disk.failing.set(Some(super::fake::Failing { first: last, last, errno: rustix::io::Errno::IO }));
    assert!(make(&disk, &disk, place).is_err());
    assert_eq!(placed(&disk.state.borrow()), Seen::Old);
}

/// The second fsync says yes, since the kernel has forgotten what it could not write.
#[test]
fn an_fsync_that_is_tried_again() {
    let stubborn = |disk: &Fake| {
        let temporary = &own_name();
        let mut file = disk.create(temporary)?;
        let done = disk
            .write(&mut file, NEW)
            .and_then(|()| disk.sync(&file).or_else(|_| disk.sync(&file)))
            .and_then(|()| disk.rename(temporary, FACT.as_ref(), RenameFlags::empty()));
        if done.is_err() {
            disk.remove(temporary)?;
        }
        done.and_then(|()| disk.sync_dir("/d".as_ref()))
    };
    let scene =
        Scene { name: "mutant", start: something_there, deed: &stubborn, judge: &replaced, may_move_back: false };
    let found = scene.survives_failures().unwrap_err();
    assert!(found.contains("torn"), "{found}");
}

#[test]
fn a_temporary_file_that_is_left() {
    let careless = |disk: &Fake| {
        let path = own_name();
        let mut file = disk.create(&path)?;
        disk.write(&mut file, NEW)?;
        disk.sync(&file)?;
        disk.rename(&path, FACT.as_ref(), RenameFlags::empty())?;
        disk.sync_dir("/d".as_ref())
    };
    caught("left behind", something_there, &careless, &replaced);
}
