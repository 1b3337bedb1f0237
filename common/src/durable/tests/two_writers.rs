//! Shim and collector write the record of one run, in any order and with any failure: there is one (I1), and who has
//! been told that there is one finds that one after every crash.

use super::{
    crashes::{FACT, nothing_there},
    fake::{Failing, Fake, State},
    images::images,
};
use crate::durable::{disk::Disk, put::add};
use rustix::{fs::RenameFlags, io::Errno};
use std::{cell::RefCell, io};

const OURS: &[u8] = b"the shim's record";
const THEIRS: &[u8] = b"the collector's";

type Writer = fn(&Fake, &[u8]) -> io::Result<bool>;

thread_local! {
    /// What the other one was told, and when.
    static TOLD: RefCell<Option<(io::Result<bool>, usize)>> = const { RefCell::new(None) };
    static WRITER: RefCell<Writer> = const { RefCell::new(product) };
}

fn product(disk: &Fake, bytes: &[u8]) -> io::Result<bool> {
    add(disk, FACT.as_ref(), bytes)
}

fn collector(disk: &Fake) {
    let writer = WRITER.with_borrow(|writer| *writer);
    let told = writer(disk, THEIRS);
    let when = disk.history.borrow().len();
    TOLD.set(Some((told, when)));
}

fn found(state: &State) -> Result<Option<Vec<u8>>, String> {
    match state.file(FACT.as_ref()) {
        None => Ok(None),
        Some(whole @ (OURS | THEIRS)) => Ok(Some(whole.into())),
        Some(torn) => Err(format!("torn: {torn:?}")),
    }
}

/// From `when` on every image has this record.
fn stands(disk: &Fake, when: usize) -> Result<(), String> {
    let now = found(&disk.state.borrow())?;
    let history = disk.history.borrow();
    let later = history.iter().skip(when).map(|(_, state)| state);
    for state in later.chain([&*disk.state.borrow()]) {
        for image in images(state) {
            if found(&image)? != now || now.is_none() {
                return Err(format!("told of {now:?}, found {:?}", found(&image)?));
            }
        }
    }
    for (_, state) in history.iter() {
        images(state).iter().try_for_each(|image| found(image).map(|_| ()))?;
    }
    Ok(())
}

fn operations(writer: Writer) -> usize {
    let disk = nothing_there();
    writer(&disk, OURS).unwrap();
    disk.history.take().len()
}

fn at_once(writer: Writer) -> Result<(), String> {
    WRITER.set(writer);
    for at in 0..operations(writer) {
        let disk = nothing_there();
        disk.meanwhile.set(Some((at, collector)));
        let ours = writer(&disk, OURS).map_err(|e| e.to_string())?;
        let (theirs, when) = TOLD.take().ok_or("the other one never came")?;
        if ours == theirs.map_err(|e| e.to_string())? {
            return Err(format!("at {at} both are told {ours}"));
        }
        stands(&disk, when)?;
    }
    Ok(())
}

fn after_a_failure(writer: Writer) -> Result<(), String> {
    WRITER.set(writer);
    for first in 0..operations(writer) {
        for errno in [Errno::NOSPC, Errno::IO, Errno::ROFS] {
            let disk = nothing_there();
            disk.failing.set(Some(Failing { first, last: first, errno }));
            writer(&disk, OURS).expect_err("it fails");
            collector(&disk);
            let (theirs, when) = TOLD.take().ok_or("the other one never came")?;
            theirs.map_err(|e| e.to_string())?;
            stands(&disk, when)?;
            let record = found(&disk.state.borrow())?;
            if writer(&disk, OURS).map_err(|e| e.to_string())? || record != found(&disk.state.borrow())? {
                return Err("the record has changed".into());
            }
        }
    }
    Ok(())
}

#[test]
fn there_is_one_record() {
    at_once(product).unwrap();
    after_a_failure(product).unwrap();
}

fn rename_over(disk: &Fake, bytes: &[u8], flags: RenameFlags, temporary: &str) -> io::Result<bool> {
    let mut file = disk.create(temporary.as_ref())?;
    disk.write(&mut file, bytes)?;
    disk.sync(&file)?;
    match disk.rename(temporary.as_ref(), FACT.as_ref(), flags) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        other => other?,
    }
    disk.sync_dir("/d".as_ref())?;
    Ok(true)
}

fn own_name(bytes: &[u8], disk: &Fake) -> String {
    format!("/d/fact~{}-{}", bytes.len(), disk.history.borrow().len())
}

#[test]
fn a_writer_that_replaces_is_caught() {
    let replaces: Writer = |disk, bytes| rename_over(disk, bytes, RenameFlags::empty(), &own_name(bytes, disk));
    assert!(at_once(replaces).unwrap_err().contains("both are told"));
}

#[test]
fn a_writer_that_believes_in_names_which_are_not_durable_is_caught() {
    let believes: Writer = |disk, bytes| rename_over(disk, bytes, RenameFlags::NOREPLACE, &own_name(bytes, disk));
    assert!(at_once(believes).unwrap_err().contains("told of"));
    assert!(after_a_failure(believes).unwrap_err().contains("told of"));
}

/// As when an attempt that hangs in its disk is overtaken by the next one.
#[test]
fn one_temporary_name_for_two_attempts_is_caught() {
    let shares: Writer = |disk, bytes| {
        let _ = disk.remove("/d/fact~1".as_ref());
        rename_over(disk, bytes, RenameFlags::NOREPLACE, "/d/fact~1")
    };
    assert!(at_once(shares).is_err());
}
