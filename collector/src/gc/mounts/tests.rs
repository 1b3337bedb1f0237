use super::{sandbox::*, *};
use std::{
    fs,
    os::{fd::AsRawFd, unix::fs::symlink},
    path::PathBuf,
    time::Duration,
};

fn below(rootfs: &Path) -> Points<'_> {
    Points { rootfs: Some(rootfs), at: vec![] }
}

fn at(path: &Path) -> Points<'_> {
    Points { rootfs: None, at: vec![path] }
}

/// Another test's file system may get the number of one that has ended, for the moment.
fn assert_gone(devices: &[Device]) {
    let end = soon();
    while let Some(obstacle) = held(devices, end) {
        assert!(Instant::now() < end, "{obstacle:?}");
    }
}

#[test]
fn nested_mounts_below_a_rootfs_go_and_it_stays() {
    alone("nested mounts", |root| {
        let rootfs = root.join("root fs");
        tmpfs(&rootfs);
        tmpfs(&rootfs.join("a"));
        tmpfs(&rootfs.join("a/b \\ c"));
        bind(&rootfs.join("a"), &rootfs.join("d"));
        fs::write(root.join("host"), "y").unwrap();
        fs::write(rootfs.join("f"), "").unwrap();
        rustix::mount::mount_bind(root.join("host"), rootfs.join("f")).unwrap();
        let found = look(&below(&rootfs)).unwrap();
        // The file's is the host's, and the bind mount is one of the first two file systems.
        assert_eq!((found.mounts.len(), found.devices.len()), (4, 2), "{found:?}");
        assert_eq!(clear(&below(&rootfs), soon()), Ok(()));
        assert_eq!((count(&rootfs), look(&below(&rootfs)).unwrap().mounts.len()), (1, 0));
        assert_gone(&found.devices);
        assert_eq!(fs::read(root.join("host")).unwrap(), b"y");
        assert_eq!(clear(&at(&rootfs), soon()), Ok(()));
        assert_eq!(count(&rootfs), 0);
        assert_eq!(clear(&at(&root.join("never/was")), soon()), Ok(()));
    });
}

#[test]
fn whoever_has_it_open_in_any_way_is_named_until_he_is_gone() {
    let library = fs::read_to_string("/proc/self/maps").unwrap();
    let library = library.lines().filter_map(|line| line.split_once('/')).find(|(_, path)| path.contains("libc.so"));
    let library = PathBuf::from(format!("/{}", library.unwrap().1));
    let cases = [
        ("cd $AT", "cwd"),
        ("exec 7<$AT/file", "fd 7"),
        ("exec 7<$AT/file && cd $AT", "cwd"),
        ("LD_PRELOAD=$AT/lib.so && export LD_PRELOAD", "maps /lib.so"),
    ];
    for (setup, how) in cases {
        alone(how, |root| {
            let mount = root.join("m");
            tmpfs(&mount);
            fs::copy(&library, mount.join("lib.so")).unwrap();
            let mut user = Stays::after(setup, &mount);
            let devices = look(&at(&mount)).unwrap().devices;
            assert_eq!(clear(&at(&mount), soon()), Ok(()), "{how}: busy is no obstacle");
            assert_eq!(count(&mount), 0);
            let obstacle = held(&devices, soon()).unwrap();
            let [holder] = &obstacle.holders[..] else { panic!("{obstacle:?}") };
            assert_eq!((holder.process.pid, holder.how.as_str(), holder.mount_ns), (user.pid(), how, None));
            assert!(obstacle.what.contains(&user.pid().to_string()), "{obstacle:?}");
            user.end();
            assert_gone(&devices);
        });
    }
}

#[test]
fn a_copy_in_another_mount_namespace_is_found_and_named() {
    alone("a copy in another mount namespace", |root| {
        let (mount, upper, overlay) = (root.join("m"), root.join("m/u"), root.join("o"));
        tmpfs(&mount);
        for dir in [&upper, &root.join("m/w"), &root.join("m/l"), &overlay] {
            fs::create_dir_all(dir).unwrap();
        }
        let options = format!("lowerdir={0}/l,upperdir={0}/u,workdir={0}/w", mount.display());
        must("mount", &[&"-t", &"overlay", &"-o", &options, &"none", &overlay]);
        let mut other = Stays::of(&["unshare", "-m", "sh", "-c"], "true", root);
        let points = Points { rootfs: None, at: vec![&mount, &overlay] };
        let devices = look(&points).unwrap().devices;
        assert_eq!(devices.len(), 2);
        assert!(devices.iter().any(|d| Path::new(&d.source) == upper), "{devices:?}");
        assert_eq!(clear(&points, soon()), Ok(()));
        for device in &devices {
            let obstacle = held(std::slice::from_ref(device), soon()).unwrap();
            let holder = &obstacle.holders[0];
            assert_eq!(holder.process.pid, other.pid(), "{obstacle:?}");
            assert_eq!(holder.how, format!("in mount namespace {}", holder.mount_ns.unwrap()));
        }
        // What got the number meanwhile is not it.
        let named =
            |source: &str| devices.iter().map(|d| Device { source: source.into(), ..d.clone() }).collect::<Vec<_>>();
        assert_eq!(held(&named("tmpfs 0123456789abcdef"), soon()), None);
        other.end();
        assert_gone(&devices);
    });
}

#[test]
fn a_namespace_that_only_a_thread_is_in_is_found_too() {
    alone("a thread's mount namespace", |root| {
        let mount = root.join("m");
        tmpfs(&mount);
        let devices = look(&at(&mount)).unwrap().devices;
        let (ready, wait) = std::sync::mpsc::channel();
        let (go, until) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            // Dropped on a panic, too: the thread ends.
            let go = go;
            scope.spawn(move || {
                nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
                ready.send(()).unwrap();
                let _ = until.recv();
            });
            wait.recv().unwrap();
            assert_eq!(clear(&at(&mount), soon()), Ok(()));
            let obstacle = held(&devices, soon()).unwrap();
            assert_eq!(obstacle.holders[0].process.pid, std::process::id(), "{obstacle:?}");
            drop(go);
        });
        assert_gone(&devices);
    });
}

#[test]
fn five_hundred_on_one_point_go() {
    alone("500 stacked", |root| {
        let mount = root.join("m");
        for _ in 0..500 {
            tmpfs(&mount);
        }
        assert_eq!(look(&at(&mount)).unwrap().devices.len(), 500);
        assert_eq!(clear(&at(&mount), soon()), Ok(()));
        assert_eq!(count(&mount), 0);
    });
}

#[test]
fn a_directory_of_the_hosts_keeps_its_content_and_is_held_by_nobody() {
    alone("a bind mount of the host's", |root| {
        let host = root.join("host");
        fs::create_dir(&host).unwrap();
        fs::write(host.join("kept"), "y").unwrap();
        let rootfs = root.join("rootfs");
        bind(&host, &rootfs.join("data"));
        let _busy = Stays::after("cd $AT", &rootfs.join("data"));
        let found = look(&below(&rootfs)).unwrap();
        assert_eq!((found.mounts.len(), found.devices.len()), (1, 0));
        assert_eq!(clear(&below(&rootfs), soon()), Ok(()));
        assert_eq!((count(&rootfs), held(&found.devices, soon())), (0, None));
        assert_eq!(fs::read(host.join("kept")).unwrap(), b"y");
    });
}

#[test]
fn a_link_in_the_place_of_a_mount_points_parent_leads_nowhere() {
    alone("a swapped parent", |root| {
        let (rootfs, outside) = (root.join("rootfs"), root.join("outside"));
        tmpfs(&rootfs.join("a/m"));
        tmpfs(&outside.join("m"));
        fs::rename(rootfs.join("a"), rootfs.join("b")).unwrap();
        symlink(&outside, rootfs.join("a")).unwrap();
        // As a table says that was read before the swap.
        let mut table = table::read().unwrap();
        let stale = table.iter_mut().find(|mount| mount.point == rootfs.join("b/m")).unwrap();
        stale.point = rootfs.join("a/m");
        let found = table::plan(&table, &below(&rootfs));
        let why = Round::new(&table, &found, &below(&rootfs)).run(soon()).unwrap();
        assert!(why.contains("a/m"), "{why}");
        assert_eq!((count(&outside), count(&rootfs)), (1, 1));
        assert_eq!(clear(&below(&rootfs), soon()), Ok(()));
        assert_eq!((count(&outside), count(&rootfs)), (1, 0));
        // What was moved out of the points is not followed there.
        tmpfs(&rootfs.join("c/m"));
        fs::rename(rootfs.join("c"), root.join("c")).unwrap();
        assert_eq!(clear(&below(&rootfs), soon()), Ok(()));
        assert_eq!(count(&root.join("c")), 1);
    });
}

#[test]
fn what_another_mount_hides_waits_until_that_is_gone() {
    alone("a hidden mount", |root| {
        let rootfs = root.join("rootfs");
        tmpfs(&rootfs.join("a/b/c"));
        tmpfs(&rootfs.join("a/b/c/d"));
        // Hides both, and has the very same directories.
        tmpfs(&rootfs.join("a"));
        fs::create_dir_all(rootfs.join("a/b/c/d")).unwrap();
        assert_eq!(clear(&below(&rootfs), soon()), Ok(()));
        assert_eq!(count(&rootfs), 0);

        tmpfs(&rootfs.join("a"));
        tmpfs(&rootfs);
        let obstacle = clear(&below(&rootfs), soon()).unwrap_err();
        assert!(obstacle.what.contains("hides it") && obstacle.mounts, "{obstacle:?}");
        assert_eq!(count(&rootfs), 2, "what is at the root file system is not ours");
        rustix::mount::unmount(&rootfs, rustix::mount::UnmountFlags::empty()).unwrap();
        assert_eq!(clear(&below(&rootfs), soon()), Ok(()));
    });
}

#[test]
fn without_time_nothing_is_touched_and_that_is_said() {
    alone("no time", |root| {
        tmpfs(&root.join("m"));
        let obstacle = clear(&at(root), Instant::now().checked_sub(Duration::from_secs(1)).unwrap()).unwrap_err();
        assert!(obstacle.what.contains("no time") && count(root) == 1, "{obstacle:?}");
    });
}

#[test]
fn a_server_that_does_not_answer_is_not_asked() {
    alone("a hung FUSE server", |root| {
        let rootfs = root.join("rootfs");
        let mount = rootfs.join("f");
        fs::create_dir_all(&mount).unwrap();
        let Ok(server) = fs::File::options().read(true).write(true).open("/dev/fuse") else {
            println!("SKIPPED a hung FUSE server: no /dev/fuse");
            return;
        };
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
        let options = std::ffi::CString::new(options).unwrap();
        rustix::mount::mount("server", &mount, "fuse", rustix::mount::MountFlags::empty(), options.as_c_str()).unwrap();
        let (done, wait) = std::sync::mpsc::channel::<()>();
        // Its end would answer everything with an error: for a test that fails, not one that hangs.
        let watch = std::thread::spawn(move || {
            let in_time = wait.recv_timeout(Duration::from_secs(30)).is_ok();
            drop(server);
            in_time
        });
        let found = look(&below(&rootfs)).unwrap();
        assert_eq!((found.devices.len(), found.devices[0].source.as_str()), (1, "server"));
        assert_eq!(clear(&below(&rootfs), soon()), Ok(()));
        assert_eq!((held(&found.devices, soon()), count(&rootfs)), (None, 0));
        let _ = done.send(());
        assert!(watch.join().unwrap(), "something waited for the server");
    });
}

#[test]
fn what_is_shared_goes_everywhere() {
    alone("shared mounts", |root| {
        use rustix::mount::{MountPropagationFlags as Propagation, mount_change};
        bind(root, root);
        mount_change(root, Propagation::SHARED).unwrap();
        let other = Stays::of(&["unshare", "-m", "--propagation", "slave", "sh", "-c"], "true", root);
        let (rootfs, mount) = (root.join("rootfs"), root.join("rootfs/m"));
        tmpfs(&mount);
        let there = || table::read_of(Path::new(&format!("/proc/{}", other.pid()))).unwrap();
        assert!(there().iter().any(|row| row.point == mount));
        let devices = look(&below(&rootfs)).unwrap().devices;
        assert_eq!(clear(&below(&rootfs), soon()), Ok(()));
        assert!(!there().iter().any(|row| row.point == mount));
        assert_gone(&devices);
    });
}

/// Numbers are given out again at once, and what gets it may be in nobody's mount table.
#[test]
fn a_number_that_an_ipc_namespaces_message_queues_have_now_is_not_held() {
    alone("a number given out again", |root| {
        let point = root.join("point");
        tmpfs(&point);
        let devices = look(&at(&point)).unwrap().devices;
        assert_eq!(clear(&at(&point), soon()), Ok(()));
        let [device] = &devices[..] else { panic!("{devices:?}") };
        let taken = || crate::sys::filesystem_lives(device.major, device.minor) != Some(false);
        let mut namespaces = Vec::new();
        while !taken() && namespaces.len() < 200 {
            let mut sleep = std::process::Command::new("unshare");
            namespaces.push(sleep.args(["--ipc", "sleep", "1000"]).spawn().unwrap());
            let until = Instant::now() + Duration::from_millis(50);
            while !taken() && Instant::now() < until {
                std::thread::yield_now();
            }
        }
        let (taken, end) = (taken(), soon());
        while held(&devices, end).is_some() && Instant::now() < end {}
        let obstacle = held(&devices, end);
        for mut child in namespaces {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert!(taken, "nobody has taken {device:?}");
        assert_eq!(obstacle, None);
    });
}
