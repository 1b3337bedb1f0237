use super::{
    descriptors::{Id, down, up},
    *,
};
use rustix::fs::{CWD, FileType, IFlags, Mode, ioctl_getflags, ioctl_setflags, mknodat};
use std::{
    ffi::OsStr,
    fs,
    os::unix::{fs::symlink, net::UnixListener},
    path::PathBuf,
    time::Duration,
};
use tempfile::TempDir;

#[path = "files/depth_tests.rs"]
mod depth;
#[path = "files/mounts_tests.rs"]
mod mounts;
#[path = "files/races_tests.rs"]
mod races;

fn root() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    (dir, path)
}

/// In memory, if there is such a file system: there others get in between more often.
fn quick_root() -> (TempDir, PathBuf) {
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else { return root() };
    let path = dir.path().canonicalize().unwrap();
    (dir, path)
}

/// Far enough away.
fn later() -> Instant {
    Instant::now() + Duration::from_secs(120)
}

fn gone(path: &Path) {
    assert_eq!(remove(path, later()), Ok(()));
    assert!(path.symlink_metadata().is_err(), "{} is there", path.display());
}

fn words(path: &Path) -> String {
    let Err(obstacle) = remove(path, later()) else { panic!("{} was removed", path.display()) };
    assert_eq!(obstacle.step, Step::Files);
    assert!(!obstacle.what.contains(char::is_control) && obstacle.what.len() < 4000, "{:?}", obstacle.what);
    obstacle.what
}

/// What must survive.
struct Canary(PathBuf);

impl Canary {
    const FILES: usize = 50;

    fn at(path: PathBuf) -> Self {
        fs::create_dir_all(path.join("inner")).unwrap();
        fs::write(path.join("inner/file"), "x").unwrap();
        for n in 0..Self::FILES {
            fs::write(path.join(format!("canary{n}")), "x").unwrap();
        }
        Self(path)
    }

    fn sings(&self) {
        let left = fs::read_dir(&self.0).map_or(0, |dir| {
            dir.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("canary")).count()
        });
        assert_eq!(left, Self::FILES, "files of {}", self.0.display());
        assert!(self.0.join("inner/file").exists());
    }
}

#[test]
fn every_kind_of_file_goes_and_no_link_is_followed() {
    let (_dir, root) = root();
    let canary = Canary::at(root.join("kept"));
    let tree = root.join("tree");
    fs::create_dir_all(tree.join("a/b")).unwrap();
    symlink("/etc", tree.join("etc")).unwrap();
    symlink(&canary.0, tree.join("a/b/kept")).unwrap();
    symlink("nowhere", tree.join("a/dangling")).unwrap();
    symlink("..", tree.join("a/b/up")).unwrap();
    fs::write(tree.join("a/b/f"), "x").unwrap();
    let _socket = UnixListener::bind(tree.join("a/socket")).unwrap();
    mknodat(CWD, tree.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    mknodat(CWD, tree.join("null"), FileType::CharacterDevice, Mode::RUSR, rustix::fs::makedev(1, 3)).unwrap();
    fs::set_permissions(tree.join("a/b"), std::os::unix::fs::PermissionsExt::from_mode(0o1000)).unwrap();
    gone(&tree);
    canary.sings();
    assert!(Path::new("/etc/passwd").exists());
}

#[test]
fn each_kind_goes_by_its_own_name() {
    let (_dir, root) = root();
    let canary = Canary::at(root.join("kept"));
    let path = root.join("x");
    symlink(&canary.0, &path).unwrap();
    gone(&path);
    symlink("/etc", &path).unwrap();
    gone(&path);
    fs::write(&path, "x").unwrap();
    gone(&path);
    drop(UnixListener::bind(&path).unwrap());
    gone(&path);
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR, 0).unwrap();
    gone(&path);
    fs::create_dir(&path).unwrap();
    gone(&path);
    gone(&path);
    gone(&root.join("no/such/x"));
    gone(&canary.0.join("canary0/in a file"));
    canary.sings();
    assert!(words(Path::new("/")).contains("names nothing"));
    assert!(words(Path::new("a/b")).contains("cannot be reached"));
    assert!(words(&canary.0.join("../kept/inner")).contains("cannot be reached"));
    canary.sings();
}

#[test]
fn a_directory_on_the_way_that_became_a_link_is_not_followed() {
    let (_dir, root) = root();
    let canary = Canary::at(root.join("kept"));
    symlink(&canary.0, root.join("way")).unwrap();
    for path in ["way/canary0", "way/inner/file", "way/nothing"] {
        let words = words(&root.join(path));
        assert!(
            words.contains(&format!("{:?} was a directory and is a symbolic link now", root.join("way"))),
            "{words}"
        );
    }
    canary.sings();
    fs::remove_file(root.join("way")).unwrap();
    gone(&root.join("way/canary0"));
}

#[test]
fn down_is_beneath_and_up_is_where_it_came_from() {
    let (_dir, root) = root();
    fs::create_dir_all(root.join("a/b")).unwrap();
    symlink("a", root.join("link")).unwrap();
    let at = fs::File::open(&root).unwrap();
    for (name, why) in
        [(c"link", Errno::NOTDIR), (c"..", Errno::XDEV), (c"link/b", Errno::LOOP), (c"/etc", Errno::XDEV)]
    {
        assert_eq!(down(&at, name).err(), Some(why), "{name:?}");
    }
    let a = down(&at, c"a").unwrap();
    let b = down(&a, c"b").unwrap();
    let (root_id, a_id) = (Id::of(&at).unwrap(), Id::of(&a).unwrap());
    assert_eq!(Id::of(up(&b, a_id).unwrap()), Ok(a_id));
    assert_eq!(up(&b, root_id).err(), Some(Errno::STALE));
    fs::rename(root.join("a/b"), root.join("b")).unwrap();
    assert_eq!(up(&b, a_id).err(), Some(Errno::STALE));
}

#[test]
fn names_are_bytes() {
    let (_dir, root) = root();
    let tree = root.join("tree");
    for name in [&b"new\nline"[..], b"\xff\xfe", b"\x1b[2J", b"-rf", b" ", b"...", &[b'x'; 255], "…".as_bytes()] {
        let name = Path::new(OsStr::from_bytes(name));
        fs::create_dir_all(tree.join(name).join(name)).unwrap();
        fs::write(tree.join(name).join("f"), "x").unwrap();
    }
    gone(&tree);
}

#[test]
fn a_hundred_thousand_files_in_many_attempts() {
    let (_dir, root) = root();
    let tree = root.join("tree");
    fs::create_dir(&tree).unwrap();
    for n in 0..100_000 {
        fs::File::create(tree.join(format!("{n}"))).unwrap();
    }
    for n in 0..1_000 {
        fs::create_dir_all(tree.join(format!("d{n}/sub"))).unwrap();
    }
    let past = remove(&tree, Instant::now()).unwrap_err();
    assert!(past.what.contains("0 removed so far") && past.what.contains("the next attempt goes on"), "{past:?}");
    assert_eq!(fs::read_dir(&tree).unwrap().count(), 101_000);
    let mut attempts = 0;
    while let Err(obstacle) = remove(&tree, Instant::now() + Duration::from_millis(20)) {
        assert!(obstacle.what.contains("the next attempt goes on"), "{obstacle:?}");
        attempts += 1;
        assert!(attempts < 10_000);
    }
    assert!(attempts > 0);
    gone(&tree);
}

/// Takes the flag away again, whatever comes.
struct Immutable(fs::File);

impl Immutable {
    fn make(path: &Path) -> Option<Self> {
        let file = fs::File::open(path).unwrap();
        let flags = ioctl_getflags(&file).ok()?;
        ioctl_setflags(&file, flags | IFlags::IMMUTABLE).ok()?;
        Some(Self(file))
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        ioctl_setflags(&self.0, ioctl_getflags(&self.0).unwrap() - IFlags::IMMUTABLE).unwrap();
    }
}

#[test]
fn what_is_immutable_is_named_and_the_rest_goes() {
    let (_dir, root) = root();
    let tree = root.join("tree");
    fs::create_dir_all(tree.join("a/dir/sub/x")).unwrap();
    for file in ["a/immutable", "a/other", "z", "a/dir/stays", "a/dir/sub/x/goes"] {
        fs::write(tree.join(file), "x").unwrap();
    }
    let (Some(file), Some(dir)) = (Immutable::make(&tree.join("a/immutable")), Immutable::make(&tree.join("a/dir")))
    else {
        return eprintln!("what_is_immutable_is_named_and_the_rest_goes: not tested, no immutable files in {root:?}");
    };
    let said = words(&tree);
    for what in [
        format!("{:?}: it is immutable: chattr -i", tree.join("a/immutable")),
        format!("{:?}: its directory is immutable", tree.join("a/dir/stays")),
        format!("{:?}: its directory is immutable", tree.join("a/dir/sub")),
        format!("{:?}: it is immutable: chattr -i", tree.join("a/dir")),
    ] {
        assert!(said.contains(&what), "{what}: {said}");
    }
    assert!(!tree.join("a/other").exists() && !tree.join("z").exists() && !tree.join("a/dir/sub/x").exists());
    drop((file, dir));
    gone(&tree);
}

#[test]
fn an_inode_number_that_is_used_again_is_another_directory() {
    let (_dir, root) = root();
    let path = root.join("x");
    let look = || {
        fs::create_dir(&path).unwrap();
        let seen = (
            Id::of(fs::File::open(&path).unwrap()).unwrap(),
            std::os::unix::fs::MetadataExt::ino(&path.metadata().unwrap()),
        );
        fs::remove_dir(&path).unwrap();
        seen
    };
    let mut seen: Vec<_> = (0..1_000).map(|_| look()).collect();
    let all = seen.len();
    seen.sort_by_key(|(_, ino)| *ino);
    if seen.chunk_by(|a, b| a.1 == b.1).count() == all {
        eprintln!("an_inode_number_that_is_used_again_is_another_directory: not tested, {root:?} uses none again");
    }
    // Its clock ticks: two that are born one after the other may be of the same instant, but not a thousand.
    let alike = seen.chunk_by(|a, b| a.0 == b.0).map(<[_]>::len).max();
    assert!(alike < Some(all / 2), "{alike:?}");
}
