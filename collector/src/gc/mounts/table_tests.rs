use super::*;
use std::{ffi::OsString, os::unix::ffi::OsStringExt};

fn points<'a>(rootfs: Option<&'a str>, at: &'a [&'a str]) -> Points<'a> {
    Points { rootfs: rootfs.map(Path::new), at: at.iter().map(Path::new).collect() }
}

fn found(text: &str, points: &Points<'_>) -> (Vec<u32>, Vec<String>) {
    let found = plan(&parse(text.as_bytes()), points);
    (found.mounts.iter().map(|m| m.id).collect(), found.devices.iter().map(|d| d.source.clone()).collect())
}

const HOST: &str = "\
1 0 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
2 1 0:5 / /proc rw - proc proc rw
3 1 0:6 / /run rw - tmpfs tmpfs rw
";

#[test]
fn a_row_is_understood_whatever_is_in_it() {
    let table = parse(
        b"36 35 98:0 /m\\0401 /a\\040b\\011c\\012d\\134e\xff rw,noatime master:1 shared:7 - ext3 /dev/r\\043t rw,errors=x\n\
          37 35 0:4 net:[4026532177] /run/netns/a rw - nsfs  rw\n\
          38 35 0:9 /x//deleted /gone//deleted rw - tmpfs t rw\nnot a row\n",
    );
    assert_eq!(table.len(), 3);
    let expected = Mount {
        id: 36,
        parent: 35,
        major: 98,
        minor: 0,
        root: "/m 1".into(),
        point: OsString::from_vec(b"/a b\tc\nd\\e\xff".to_vec()).into(),
        deleted: false,
        fs: "ext3".into(),
        source: "/dev/r#t".into(),
        options: "rw,errors=x".into(),
        peers: Some(7),
        follows: Some(1),
    };
    assert_eq!(table[0], expected);
    assert_eq!((table[1].root.to_str(), table[1].source.as_str()), (Some("net:[4026532177]"), ""));
    assert_eq!((table[2].point.to_str(), table[2].deleted), (Some("/gone"), true));
    assert_eq!(table[2].root.to_str(), Some("/x//deleted"));
    assert_eq!(unescape(b"a\\04"), Path::new("a\\04"));
}

#[test]
fn what_is_below_a_rootfs_is_the_containers_and_what_is_at_it_is_not() {
    let text = format!(
        "{HOST}\
         10 1 0:40 / /b/rootfs rw - overlay overlay rw,upperdir=/u\n\
         11 10 0:41 / /b/rootfs/tmp rw - tmpfs t1 rw\n\
         12 11 0:42 / /b/rootfs/tmp/in rw - tmpfs t2 rw\n\
         13 1 0:43 / /b/rootfs2 rw - tmpfs not rw\n"
    );
    assert_eq!(found(&text, &points(Some("/b/rootfs"), &[])), (vec![12, 11], vec!["t2".into(), "t1".into()]));
    assert_eq!(found(&text, &points(None, &["/b/rootfs/"])).0, [12, 11, 10]);
    // A registered path that lies in the root file system adds nothing, and takes nothing twice.
    assert_eq!(found(&text, &points(Some("/b/rootfs"), &["/b/rootfs/tmp"])).0, [12, 11]);
    assert_eq!(found(&text, &points(Some("/b/root"), &["/b/rootf"])), (vec![], vec![]));
}

#[test]
fn the_topmost_of_a_stack_comes_first_and_later_rows_before_what_they_hide() {
    let text = format!(
        "{HOST}\
         9 1 0:40 / /p/a/b rw - tmpfs deep rw\n\
         40 1 0:43 / /p/a rw - tmpfs hides rw\n\
         22 40 0:41 / /p/a rw - tmpfs second rw\n\
         12 22 0:42 / /p/a rw - tmpfs third rw\n"
    );
    assert_eq!(found(&text, &points(None, &["/p"])).0, [12, 22, 40, 9]);
}

#[test]
fn a_file_system_that_is_mounted_elsewhere_or_lives_on_anyway_is_not_its_alone() {
    let text = format!(
        "{HOST}\
         10 1 8:1 /home /p/home rw - ext4 /dev/sda1 rw\n\
         11 1 0:5 / /p/proc rw - proc proc rw\n\
         12 1 0:4 net:[402653] /p/ns rw - nsfs nsfs rw\n\
         13 1 7:3 / /p/x rw - ext4 /dev/loop3 rw\n\
         14 1 7:3 /sub /p/y rw - ext4 /dev/loop3 rw\n\
         15 1 0:77 / /p/fuse rw - fuse.sshfs me@there:/ rw\n"
    );
    let (ids, devices) = found(&text, &points(None, &["/p"]));
    assert_eq!(ids, [15, 14, 13, 12, 11, 10]);
    assert_eq!(devices, ["me@there:/", "/dev/loop3"]);
    assert_eq!(found(&text, &points(None, &["/p/x"])), (vec![13], vec![]));
}

#[test]
fn the_systems_own_mounts_are_never_a_containers() {
    let text = format!(
        "{HOST}\
         4 1 0:7 / /dev rw - devtmpfs d rw\n5 4 0:8 / /dev/shm rw - tmpfs s rw\n6 1 0:9 / /sys rw - sysfs s rw\n\
         7 6 0:30 / /sys/fs/cgroup rw - cgroup2 c rw\n8 3 0:31 / /run/c rw - tmpfs c rw\n"
    );
    for at in ["/", "/proc", "/dev", "/run", "/sys", "/sys/fs/cgroup", "/dev/shm", "/run/x/../c", "run/c", ""] {
        assert_eq!(found(&text, &points(Some(at), &[at])).0, [0; 0], "{at}");
    }
    assert_eq!(found(&text, &points(None, &["/run/c"])).0, [8]);
}

#[test]
fn a_ring_of_parents_comes_to_an_end() {
    let text = "1 2 0:1 / /p/a rw - tmpfs t rw\n2 1 0:2 / /p/b rw - tmpfs t rw\n3 3 0:3 / /p/c rw - tmpfs t rw\n";
    assert_eq!(found(text, &points(None, &["/p"])).0.len(), 3);
}
