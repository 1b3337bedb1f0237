use super::*;
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};
use rustix::fs::rename;
use std::thread;

/// In a mount namespace of its own that ends with its thread: nothing that is mounted outlives the test, however it ends.
fn apart(work: impl FnOnce() + Send) {
    let work = || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        work();
    };
    let done = thread::scope(|scope| scope.spawn(work).join());
    if let Err(panic) = done {
        std::panic::resume_unwind(panic);
    }
}

fn bind(from: &Path, to: &Path) {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

fn tmpfs(at: &Path) {
    mount(Some("test"), at, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
}

fn umount(at: &Path) {
    umount2(at, MntFlags::MNT_DETACH).unwrap();
}

/// The obstacle of removing `tree` is this mount.
fn stops(tree: &Path, at: &Path) {
    let obstacle = remove(tree, later()).unwrap_err();
    assert!(obstacle.mounts, "{obstacle:?}");
    assert!(obstacle.what.contains(&format!("{at:?}: something is mounted there: umount it")), "{obstacle:?}");
}

#[test]
fn mounts_inside_are_named_and_not_entered() {
    let (_dir, root) = root();
    let canary = Canary::at(root.join("kept"));
    let tree = root.join("tree");
    let (dir, file, fs_) = (tree.join("a/new\nline"), tree.join("a/file"), tree.join("b/fs"));
    apart(|| {
        for dir in [&dir, &fs_] {
            fs::create_dir_all(dir).unwrap();
        }
        for path in ["a/x", "b/y", "b/z", "file"] {
            fs::write(tree.join(path), "x").unwrap();
        }
        fs::write(&file, "x").unwrap();
        bind(&canary.0, &dir);
        bind(&canary.0.join("canary0"), &file);
        tmpfs(&fs_);
        fs::write(fs_.join("kept"), "x").unwrap();
        for at in [&dir, &file, &fs_] {
            stops(&tree, at);
        }
        words(&tree);
        // What is mounted after it was seen to be none is not entered either.
        assert_eq!(down(fs::File::open(tree.join("b")).unwrap(), c"fs").err(), Some(Errno::XDEV));
        assert_eq!(
            up(fs::File::open(&fs_).unwrap(), Id::of(fs::File::open(tree.join("b")).unwrap()).unwrap()).err(),
            Some(Errno::XDEV)
        );
        canary.sings();
        assert!(fs_.join("kept").exists());
        for path in ["a/x", "b/y", "b/z", "file"] {
            assert!(!tree.join(path).exists());
        }
        for at in [&dir, &file, &fs_] {
            umount(at);
        }
        gone(&tree);
        canary.sings();
    });
}

#[test]
fn a_mount_at_the_registered_name_stays() {
    let (_dir, root) = root();
    let canary = Canary::at(root.join("kept"));
    let tree = root.join("tree");
    fs::create_dir(&tree).unwrap();
    apart(|| {
        bind(&canary.0, &tree);
        stops(&tree, &tree);
        canary.sings();
        umount(&tree);
        gone(&tree);
    });
}

#[test]
fn mounts_on_the_way_to_it_are_crossed() {
    let (_dir, root) = root();
    apart(|| {
        tmpfs(&root);
        fs::create_dir_all(root.join("a/tree/b")).unwrap();
        gone(&root.join("a/tree"));
        umount(&root);
    });
}

#[test]
fn a_mount_of_another_namespace_is_in_nobodys_way() {
    let (_dir, root) = root();
    let canary = Canary::at(root.join("kept"));
    let tree = root.join("tree");
    fs::create_dir_all(tree.join("mnt")).unwrap();
    apart(|| {
        bind(&canary.0, &tree.join("mnt"));
        thread::scope(|scope| scope.spawn(|| apart(|| umount(&tree.join("mnt")))).join()).unwrap();
        assert!(tree.join("mnt/canary0").exists());
        // Its own table, without that mount; ours still has it.
        apart(|| {
            umount(&tree.join("mnt"));
            gone(&tree);
        });
        canary.sings();
    });
}

#[test]
fn a_read_only_file_system_says_so() {
    let (_dir, root) = root();
    apart(|| {
        tmpfs(&root);
        fs::create_dir_all(root.join("a/b")).unwrap();
        let again = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
        mount(None::<&str>, &root, None::<&str>, again, None::<&str>).unwrap();
        let said = words(&root.join("a"));
        assert!(said.contains("read-only: mount -o remount,rw"), "{said}");
        umount(&root);
    });
}

/// A host's directory is mounted on a directory just when that is to be entered.
#[test]
fn raced_by_mounts() {
    let (_dir, root) = quick_root();
    let canary = Canary::at(root.join("kept"));
    let (tree, made) = (root.join("tree"), root.join("made"));
    let at = tree.join("a/mnt");
    let mounts = || {
        let mounted = mount(Some(&canary.0), &at, None::<&str>, MsFlags::MS_BIND, None::<&str>).is_ok();
        if mounted {
            umount(&at);
        }
        mounted
    };
    let round = || {
        fs::create_dir_all(made.join("a/mnt/inner/x")).unwrap();
        rename(&made, &tree).unwrap();
        while let Err(obstacle) = remove(&tree, later()) {
            assert!(obstacle.mounts || obstacle.what.contains("does not stay empty"), "{obstacle:?}");
            canary.sings();
        }
        canary.sings();
    };
    apart(|| races::race(1_000, mounts, round));
    canary.sings();
}
