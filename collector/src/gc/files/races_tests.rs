//! Whoever shares the directory swaps things while they are being removed.

use super::*;
use rustix::fs::{RenameFlags, rename, renameat_with};
use std::{
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
};

/// How often somebody gets in between.
const SWAPS: u32 = 10_000;

/// Another thread swaps all the time while `round` is repeated, until that has succeeded often enough in enough rounds.
pub(super) fn race(often: u32, swap: impl Fn() -> bool + Sync, mut round: impl FnMut()) {
    /// Stops the racer however this ends.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (stop, swaps) = (AtomicBool::new(false), AtomicU32::new(0));
    let end = later();
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                if swap() {
                    swaps.fetch_add(1, Ordering::Relaxed);
                } else {
                    thread::yield_now();
                }
            }
        });
        let mut rounds = 0;
        while swaps.load(Ordering::Relaxed) < often || rounds < often / 10 {
            rounds += 1;
            round();
            assert!(Instant::now() < end, "only {} swaps", swaps.load(Ordering::Relaxed));
        }
    });
}

fn exchange(one: &Path, other: &Path) -> bool {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok()
}

/// Its words are those of somebody who was disturbed.
fn gone_or_disturbed(path: &Path) {
    if let Err(obstacle) = remove(path, later()) {
        assert!(obstacle.what.contains("does not stay empty"), "{obstacle:?}");
    }
}

fn fill(dir: &Path) {
    fs::create_dir_all(dir.join("inner")).unwrap();
    for n in 0..4 {
        // The name may be somebody else's by now.
        fs::write(dir.join(format!("{n}")), "x").ok();
    }
}

#[test]
fn the_registered_directory_is_swapped_for_a_link() {
    let (_dir, root) = quick_root();
    let canary = Canary::at(root.join("kept"));
    let (tree, link, made) = (root.join("tree"), root.join("link"), root.join("made"));
    race(
        SWAPS,
        || exchange(&tree, &link),
        || {
            fill(&made);
            // Relative, so that it crosses no mount, which would be another reason not to follow it.
            symlink("kept", &link).unwrap();
            rename(&made, &tree).unwrap();
            gone_or_disturbed(&tree);
            canary.sings();
            // The racer needs both: where it was disturbed, one more remains.
            rename(&link, &made).unwrap();
            gone(&tree);
            gone(&made);
            canary.sings();
        },
    );
}

#[test]
fn a_directory_inside_is_swapped_for_a_link() {
    let (_dir, root) = quick_root();
    let canary = Canary::at(root.join("kept"));
    let (tree, made, link) = (root.join("tree"), root.join("made"), root.join("link"));
    let inner = tree.join("a/dir");
    race(
        5 * SWAPS,
        || exchange(&inner, &link),
        || {
            fill(&made.join("a/dir"));
            symlink("../../kept", &link).unwrap();
            rename(&made, &tree).unwrap();
            gone_or_disturbed(&tree);
            canary.sings();
            gone(&tree);
            gone(&link);
            canary.sings();
        },
    );
}

/// The directory that it is in goes to where the canary lives, and comes back: `..` leads there.
#[test]
fn a_directory_is_moved_out_of_the_tree() {
    let (_dir, root) = quick_root();
    let canary = Canary::at(root.join("kept"));
    let (tree, made) = (root.join("tree"), root.join("made"));
    // Read first and read last, whatever order the file system has: then the way back is at many places of its parent.
    let names = ["first", "last"];
    let turn = AtomicU32::new(0);
    race(
        SWAPS,
        || {
            let turn = turn.fetch_add(1, Ordering::Relaxed) as usize;
            let name = names[turn / 2 % 2];
            let (inside, outside) = (tree.join("a").join(name), canary.0.join(name));
            // Where there is no way back it is left there.
            if turn.is_multiple_of(2) { rename(&inside, &outside).is_ok() } else { rename(&outside, &inside).is_ok() }
        },
        || {
            for name in names {
                fill(&made.join("a").join(name).join("c/d"));
                fill(&made.join("a").join(name));
                for n in 0..2 * Canary::FILES {
                    fs::write(made.join(format!("a/{n}")), "x").unwrap();
                }
            }
            rename(&made, &tree).unwrap();
            gone_or_disturbed(&tree);
            canary.sings();
            gone(&tree);
            for name in names {
                gone(&canary.0.join(name));
            }
            canary.sings();
        },
    );
}

/// Up and down within the tree: nothing is lost, nothing is entered for ever, and all goes in the end.
#[test]
fn directories_are_moved_about_within_the_tree() {
    let (_dir, root) = quick_root();
    let (tree, made) = (root.join("tree"), root.join("made"));
    let (one, other) = (tree.join("a/b/c"), tree.join("x"));
    race(
        SWAPS / 10,
        || exchange(&one, &other),
        || {
            fill(&made.join("a/b/c/d/e"));
            fill(&made.join("x/y/z"));
            rename(&made, &tree).unwrap();
            gone_or_disturbed(&tree);
            gone(&tree);
        },
    );
}

#[test]
fn somebody_else_removes_the_same() {
    let (_dir, root) = quick_root();
    let tree = root.join("tree");
    race(
        100,
        || fs::remove_file(tree.join("a/b/0")).is_ok() | fs::remove_dir_all(tree.join("a/b/inner")).is_ok(),
        || {
            fill(&tree.join("a/b"));
            gone(&tree);
        },
    );
}

#[test]
fn somebody_keeps_filling_it() {
    let (_dir, root) = quick_root();
    let tree = root.join("tree");
    let stop = AtomicBool::new(false);
    let end = later();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                fs::create_dir_all(tree.join("a/b")).ok();
                fs::write(tree.join("a/b/c"), "x").ok();
                fs::write(tree.join("d"), "x").ok();
            }
        });
        let mut said = Ok(());
        while said.is_ok() && Instant::now() < end {
            said = remove(&tree, later());
        }
        stop.store(true, Ordering::Relaxed);
        let obstacle = said.unwrap_err();
        assert!(obstacle.what.contains("does not stay empty"), "{obstacle:?}");
    });
    gone(&tree);
}
