use super::*;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::{
    fs,
    os::unix::{fs::MetadataExt, fs::symlink},
};

fn counted(paths: &[PathBuf]) -> (u64, bool) {
    let bytes = AtomicU64::new(0);
    let complete = count(paths, &|| false, &bytes);
    (bytes.into_inner(), complete)
}

/// As the file system has it.
fn allocated(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().blocks() * 512
}

fn file(path: &Path, size: usize) -> u64 {
    fs::write(path, vec![1; size]).unwrap();
    fs::File::open(path).unwrap().sync_all().unwrap();
    allocated(path)
}

fn root() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    (dir, path)
}

#[test]
fn blocks_are_counted_once_however_many_names_they_have() {
    let (_root, root) = root();
    let top = root.join("top");
    fs::create_dir_all(top.join("a/b")).unwrap();
    let mut expected = file(&top.join("a/b/f"), 100_000) + file(&top.join("g"), 5000);
    fs::hard_link(top.join("g"), top.join("a/again")).unwrap();
    fs::hard_link(top.join("g"), root.join("elsewhere")).unwrap();
    fs::File::create(top.join("hole")).unwrap().set_len(1 << 40).unwrap();
    file(&root.join("outside"), 1 << 20);
    symlink(root.join("outside"), top.join("link")).unwrap();
    symlink(&root, top.join("round")).unwrap();
    let own = ["", "a", "a/b", "hole", "link", "round"].map(|name| allocated(&top.join(name)));
    expected += own.iter().sum::<u64>();
    assert_eq!(counted(std::slice::from_ref(&top)), (expected, true));
    let overlapping = [top.clone(), top.join("a"), top.clone(), root.join("elsewhere")];
    assert_eq!(counted(&overlapping), (expected, true), "what is named twice is counted once");
    let outside = allocated(&root.join("outside"));
    assert_eq!(counted(&[root.join("outside"), root.join("nothing/there")]), (outside, true));
    assert_eq!(counted(&[top.join("link")]), (allocated(&top.join("link")), true), "a link is itself");
}

#[test]
fn who_is_told_to_stop_says_how_far_it_came() {
    let (_root, root) = root();
    let made: u64 = (0..50).map(|n| file(&root.join(n.to_string()), 4096)).sum();
    assert!(made > 0);
    let all = counted(std::slice::from_ref(&root));
    let (asked, bytes) = (std::cell::Cell::new(0), AtomicU64::new(0));
    let stop = || asked.replace(asked.get() + 1) >= 10;
    assert!(!count(&[root], &stop, &bytes));
    let part = bytes.into_inner();
    assert!(0 < part && part < all.0 && all.1, "{part} of {all:?}");
    assert!(!count(&["relative".into()], &|| false, &AtomicU64::new(0)), "what cannot be looked at is not complete");
}

#[test]
fn mounts_are_not_crossed() {
    let (_root, root) = root();
    fs::create_dir_all(root.join("top/point")).unwrap();
    fs::write(root.join("top/file"), []).unwrap();
    let before = counted(&[root.join("top")]);
    let points = [root.join("top/point"), root.join("top/file")];
    let tmpfs = mount(Some("none"), &points[0], Some("tmpfs"), MsFlags::empty(), None::<&str>);
    if tmpfs.is_err() {
        eprintln!("SKIPPED mounts_are_not_crossed: nothing can be mounted here: CAP_SYS_ADMIN is needed");
        return;
    }
    file(&points[0].join("big"), 1 << 20);
    file(&root.join("other"), 1 << 20);
    mount(Some(&root.join("other")), &points[1], None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    let (during, itself) = (counted(&[root.join("top")]), counted(&[points[0].clone()]));
    points.iter().for_each(|point| umount2(point, MntFlags::MNT_DETACH).unwrap());
    assert!(during.0 <= before.0 && during.1, "{during:?}, {before:?}");
    assert_eq!(itself, (0, true), "what is mounted at a path is not the path's");
}
