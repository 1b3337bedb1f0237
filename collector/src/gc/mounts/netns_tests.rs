use super::{
    super::sandbox::{Stays, alone, must, soon, tmpfs},
    *,
};
use std::{fs, os::unix::fs::symlink};

/// As `ip netns add` does it, `times` times.
fn make(path: &Path, times: u32) {
    fs::write(path, "").unwrap();
    for _ in 0..times {
        must("unshare", &[&format!("--net={}", path.display()), &"true"]);
    }
}

fn mounts_at(path: &Path) -> usize {
    table::read().unwrap().iter().filter(|mount| mount.point == path).count()
}

#[test]
fn it_goes_with_its_file_however_often_it_is_mounted() {
    alone("network namespaces", |root| {
        let path = root.join("net ns");
        for times in [0, 1, 3] {
            make(&path, times);
            assert_eq!(mounts_at(&path), times as usize);
            assert_eq!(remove_netns(&path, soon()), Ok(()));
            assert!(!path.exists() && mounts_at(&path) == 0);
        }
        assert_eq!(remove_netns(&path, soon()), Ok(()));
        assert_eq!(remove_netns(&root.join("no/such"), soon()), Ok(()));
    });
}

#[test]
fn one_that_is_in_use_goes_and_its_user_keeps_it() {
    alone("a network namespace in use", |root| {
        let path = root.join("ns");
        make(&path, 1);
        let mut user = Stays::after("exec 7<$AT", &path);
        let mut other = Stays::of(&["unshare", "-m", "sh", "-c"], "true", root);
        assert_eq!(remove_netns(&path, soon()), Ok(()));
        assert!(!path.exists());
        let there = table::read_of(Path::new(&format!("/proc/{}", other.pid()))).unwrap();
        assert!(!there.iter().any(|mount| mount.point == path), "it went everywhere");
        user.end();
        other.end();
    });
}

#[test]
fn anything_else_is_said_and_not_touched() {
    alone("what is no network namespace", |root| {
        let refused = |path: &Path, word: &str| {
            let obstacle = remove_netns(path, soon()).unwrap_err();
            assert!(obstacle.what.contains(word) && obstacle.step == Step::Netns, "{obstacle:?}");
            assert!(path.symlink_metadata().is_ok());
        };
        fs::write(root.join("full"), "x").unwrap();
        refused(&root.join("full"), "content");
        fs::create_dir(root.join("dir")).unwrap();
        refused(&root.join("dir"), "directory");
        make(&root.join("ns"), 1);
        symlink("ns", root.join("link")).unwrap();
        refused(&root.join("link"), "symbolic link");
        symlink(".", root.join("way")).unwrap();
        refused(&root.join("way/ns"), "symbolic link is on the way");
        assert_eq!(mounts_at(&root.join("ns")), 1);
        must("mkfifo", &[&root.join("fifo")]);
        refused(&root.join("fifo"), "pipe");
        tmpfs(&root.join("tmpfs"));
        refused(&root.join("tmpfs"), "tmpfs");
        let uts = root.join("uts");
        fs::write(&uts, "").unwrap();
        must("unshare", &[&format!("--uts={}", uts.display()), &"true"]);
        refused(&uts, "uts:[");
        assert_eq!(mounts_at(&uts), 1);
        // A namespace above something else goes; that stays.
        fs::write(root.join("mixed"), "").unwrap();
        rustix::mount::mount_bind(root.join("full"), root.join("mixed")).unwrap();
        must("unshare", &[&format!("--net={}", root.join("mixed").display()), &"true"]);
        refused(&root.join("mixed"), "no network namespace");
        assert_eq!(mounts_at(&root.join("mixed")), 1);
    });
}
