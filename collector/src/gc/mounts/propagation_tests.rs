//! A mount may be another's at the same time: where the one that it is on has peers, unmounting it here unmounts it there.

use super::{sandbox::*, *};
use rustix::mount::{MountPropagationFlags, mount_bind_recursive, mount_change};
use std::fs;

#[test]
fn what_a_recursive_bind_brought_along_stays_where_it_came_from() {
    alone("recursive bind", |root| {
        let (host, rootfs) = (root.join("host"), root.join("bundle/rootfs"));
        tmpfs(&host);
        mount_change(&host, MountPropagationFlags::SHARED).unwrap();
        tmpfs(&host.join("home"));
        tmpfs(&host.join("home/deep"));
        fs::create_dir_all(&rootfs).unwrap();
        mount_bind_recursive(&host, &rootfs).unwrap();
        assert_eq!((count(&host), count(&rootfs)), (3, 3));
        let points = Points { rootfs: Some(&rootfs), at: vec![] };
        assert_eq!(clear(&points, soon()), Ok(()));
        assert_eq!((count(&host), count(&rootfs)), (3, 1), "the host's own mounts are its own");
        assert!(host.join("home/deep/file").exists());
        let points = Points { rootfs: None, at: vec![&rootfs] };
        assert_eq!(clear(&points, soon()), Ok(()));
        assert_eq!((count(&host), count(&rootfs)), (3, 0));
    });
}

#[test]
fn a_slave_of_the_container_s_mount_loses_nothing_of_its_own() {
    alone("slave", |root| {
        let (rootfs, other) = (root.join("rootfs"), root.join("other"));
        tmpfs(&rootfs);
        mount_change(&rootfs, MountPropagationFlags::SHARED).unwrap();
        bind(&rootfs, &other);
        mount_change(&other, MountPropagationFlags::DOWNSTREAM).unwrap();
        // It comes to the other place by itself.
        tmpfs(&rootfs.join("a"));
        assert_eq!((count(&rootfs), count(&other)), (2, 2));
        let points = Points { rootfs: Some(&rootfs), at: vec![] };
        let _ = clear(&points, soon());
        assert_eq!((count(&rootfs), count(&other)), (1, 2), "another place is not the container's");
    });
}
