//! The deeds of the product, and that they survive.

use super::{
    check::{Scene, Seen},
    fake::{Fake, State},
};
use crate::durable::{
    disk::Disk,
    put::{add, place, replace, set_aside},
};
use std::{io, path::Path};

pub const OLD: &[u8] = b"old: what was there";
pub const NEW: &[u8] = b"new: what is written";
pub const FACT: &str = "/d/fact";

pub fn nothing_there() -> Fake {
    Fake::new().dir("/d").settle()
}

pub fn something_there() -> Fake {
    Fake::new().dir("/d").put(FACT, OLD).settle()
}

/// A file that is there before.
pub fn replaced(state: &State) -> Seen {
    match state.file(FACT.as_ref()) {
        Some(OLD) => Seen::Old,
        Some(NEW) => Seen::New,
        other => Seen::Torn(format!("{other:?}")),
    }
}

/// A file that is not.
pub fn added(state: &State) -> Seen {
    match state.file(FACT.as_ref()) {
        None => Seen::Old,
        Some(NEW) => Seen::New,
        other => Seen::Torn(format!("{other:?}")),
    }
}

/// A directory that is whole or not there.
pub fn placed(state: &State) -> Seen {
    let there = state.list("/d/web");
    match (state.find("/d/web".as_ref()), &there[..]) {
        (None, _) => Seen::Old,
        (Some(_), [fifo, launch]) if fifo == "exit.fifo" && launch == "launch" => {
            match state.file("/d/web/launch".as_ref()) {
                Some(NEW) => Seen::New,
                other => Seen::Torn(format!("launch: {other:?}")),
            }
        }
        (Some(_), names) => Seen::Torn(format!("{names:?}")),
    }
}

/// A damaged file, which is never lost.
pub fn kept(state: &State) -> Seen {
    let (here, there) = (state.file("/d/exit".as_ref()), state.file("/q/web.exit.0".as_ref()));
    match (here, there) {
        (Some(OLD), None) => Seen::Old,
        (None, Some(OLD)) => Seen::New,
        other => Seen::Torn(format!("{other:?}")),
    }
}

/// What the shim does to make its container's directory, given how it is put in place.
pub fn make<D: Disk>(fake: &Fake, disk: &D, appear: fn(&D, &Path, &Path) -> io::Result<()>) -> io::Result<()> {
    let unborn = Path::new("/d/~new-7");
    let bury = || {
        let files = fake.state.borrow().list("/d/~new-7");
        let buried = files.iter().try_for_each(|name| disk.remove(&unborn.join(name)));
        let _ = buried.and_then(|()| disk.remove(unborn));
    };
    bury();
    let made = disk
        .make_dir(unborn)
        .and_then(|()| replace(disk, &unborn.join("launch"), NEW))
        .and_then(|()| fake.make_fifo(&unborn.join("exit.fifo")))
        .and_then(|()| appear(disk, unborn, "/d/web".as_ref()));
    if made.is_err() {
        bury();
    }
    made
}

/// All of them.
pub fn every(check: impl Fn(&Scene<'_>)) {
    check(&Scene {
        name: "write",
        start: something_there,
        deed: &|fake| replace(fake, FACT.as_ref(), NEW),
        judge: &replaced,
        may_move_back: false,
    });
    check(&Scene {
        name: "write_new",
        start: nothing_there,
        deed: &|fake| add(fake, FACT.as_ref(), NEW).map(|_| ()),
        judge: &added,
        may_move_back: false,
    });
    check(&Scene {
        name: "appear",
        start: nothing_there,
        deed: &|fake| make(fake, fake, place),
        judge: &placed,
        may_move_back: false,
    });
    check(&Scene {
        name: "quarantine",
        start: || Fake::new().dir("/d").put("/d/exit", OLD).settle(),
        deed: &|fake| set_aside(fake, "/d/exit".as_ref(), "web.exit", "/q".as_ref()).map(|_| ()),
        judge: &kept,
        may_move_back: true,
    });
}

#[test]
fn every_image_recovers() {
    every(|scene| {
        let images = scene.survives_crashes().unwrap();
        println!("{}: {images} images", scene.name);
        assert!(images >= 8, "{}: only {images} images", scene.name);
    });
}

#[test]
fn every_failure_is_survived() {
    every(|scene| {
        let runs = scene.survives_failures().unwrap();
        println!("{}: {runs} runs", scene.name);
        assert!(runs > 20, "{}: only {runs} runs", scene.name);
    });
}
