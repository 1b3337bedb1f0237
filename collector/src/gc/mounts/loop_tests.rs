use super::{sandbox::*, *};
use std::{fs, path::PathBuf};

fn is_attached(image: &Path) -> bool {
    loops::all().iter().any(|lo| lo.file == image)
}

/// Attached until it is dropped, or until clearing has detached it: another test may have the number by then.
struct Attached {
    device: String,
    image: PathBuf,
}

impl Attached {
    fn to(image: &Path) -> Self {
        Self { device: must("losetup", &[&"-f", &"--show", &image]), image: image.into() }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let number: u32 = self.device.trim_start_matches("/dev/loop").parse().unwrap();
        if loops::backing_file(number).is_some_and(|file| self.image.ends_with(file.strip_prefix("/").unwrap())) {
            let _ = std::process::Command::new("losetup").args(["-d", &self.device]).status();
        }
    }
}

/// Other tests open loop devices for a moment to see whether they are free.
fn until(condition: impl Fn() -> bool) {
    let end = soon();
    while !condition() {
        assert!(Instant::now() < end, "it did not come true");
        held::pause();
    }
}

#[test]
fn a_loop_device_is_free_afterwards() {
    alone("a loop device", |root| {
        let (image, rootfs) = (image(root), root.join("rootfs"));
        fs::create_dir_all(rootfs.join("m")).unwrap();
        must("mount", &[&"-o", &"loop", &image, &rootfs.join("m")]);
        let points = Points { rootfs: Some(&rootfs), at: vec![] };
        let devices = look(&points).unwrap().devices;
        assert_eq!((devices.len(), devices[0].fs.as_str()), (1, "ext4"));
        assert!(devices[0].source.contains("image"), "{devices:?}");
        assert_eq!(clear(&points, soon()), Ok(()));
        until(|| held(&devices, soon()).is_none());
        assert!(!is_attached(&image));
    });
}

#[test]
fn one_that_somebody_has_is_waited_for() {
    alone("a loop device in use", |root| {
        let (image, mount) = (image(root), root.join("m"));
        for (program, setup, how) in [
            (&["sh", "-c"][..], "cd $AT", "cwd"),
            (&["unshare", "-m", "sh", "-c"], "true", "in mount namespace"),
            (&["sh", "-c"], "exec 7<$(findmnt -no SOURCE $AT)", "fd 7"),
        ] {
            fs::create_dir_all(&mount).unwrap();
            must("mount", &[&"-o", &"loop", &image, &mount]);
            let mut user = Stays::of(program, setup, &mount);
            let points = Points { rootfs: None, at: vec![&mount] };
            let devices = look(&points).unwrap().devices;
            assert_eq!(clear(&points, soon()), Ok(()));
            let obstacle = held(&devices, soon()).unwrap();
            assert!(user.how(&obstacle).starts_with(how), "{obstacle:?}");
            user.end();
            until(|| held(&devices, soon()).is_none());
            assert!(!is_attached(&image));
        }
    });
}

#[test]
fn one_that_does_not_go_by_itself_goes_only_if_its_file_is_the_containers() {
    alone("losetup by hand", |root| {
        let (outside, inside) = (root.join("outside"), root.join("inside"));
        for dir in [&outside, &inside] {
            fs::create_dir_all(dir.join("m")).unwrap();
        }
        let (theirs, ours) = (image(&outside), image(&inside));
        let (their, our) = (Attached::to(&theirs), Attached::to(&ours));
        must("mount", &[&their.device, &inside.join("m")]);
        let points = Points { rootfs: None, at: vec![&inside] };
        let devices = look(&points).unwrap().devices;
        until(|| clear(&points, soon()).is_ok());
        until(|| held(&devices, soon()).is_none());
        assert_eq!(count(&inside), 0);
        assert_eq!((is_attached(&theirs), is_attached(&ours)), (true, false));

        // Mounted by somebody, outside of what is the container's: his.
        must("mount", &[&"-o", &"loop", &ours, &outside.join("m")]);
        until(|| clear(&points, soon()).is_ok());
        assert_eq!(count(&outside), 1);
        // Held open: it is said by whom.
        must("umount", &[&outside.join("m")]);
        drop(our);
        let again = Attached::to(&ours);
        let mut user = Stays::after("exec 7<$AT", Path::new(&again.device));
        let obstacle = clear(&points, soon()).unwrap_err();
        assert_eq!(user.how(&obstacle), "fd 7");
        user.end();
        until(|| clear(&points, soon()).is_ok());
        assert!(!is_attached(&ours));
    });
}

#[test]
fn a_file_system_on_a_file_of_another_one_goes_with_it() {
    alone("nested loop devices", |root| {
        let (outer, rootfs) = (image(root), root.join("rootfs"));
        let (a, b) = (rootfs.join("a"), rootfs.join("b"));
        for dir in [&a, &b] {
            fs::create_dir_all(dir).unwrap();
        }
        must("mount", &[&"-o", &"loop", &outer, &a]);
        let inner = a.join("image");
        fs::File::create(&inner).unwrap().set_len(1 << 20).unwrap();
        must("mkfs.ext4", &[&"-q", &"-O", &"^has_journal", &inner]);
        let by_hand = Attached::to(&inner);
        must("mount", &[&by_hand.device, &b]);
        let points = Points { rootfs: Some(&rootfs), at: vec![] };
        let devices = look(&points).unwrap().devices;
        assert_eq!(devices.len(), 2);
        // Until that is let go of.
        until(|| clear(&points, soon()).is_ok());
        until(|| held(&devices, soon()).is_none());
        assert!(!is_attached(&outer) && !is_attached(&inner) && count(&rootfs) == 0);

        // Not ours to let go of: it is said what it is.
        must("mount", &[&"-o", &"loop", &outer, &a]);
        let guard = Attached::to(&inner);
        let devices = look(&points).unwrap().devices;
        rustix::mount::unmount(&a, rustix::mount::UnmountFlags::DETACH).unwrap();
        until(|| held(&devices, soon()).unwrap().what.contains(&guard.device));
        drop(guard);
        until(|| held(&devices, soon()).is_none());
    });
}

/// Thaws, whatever happens: nobody else could any more.
struct Thaw(PathBuf);

impl Drop for Thaw {
    fn drop(&mut self) {
        let _ =
            std::process::Command::new("fsfreeze").arg("-u").arg(&self.0).stderr(std::process::Stdio::null()).status();
    }
}

#[test]
fn a_frozen_file_system_is_not_unmounted() {
    alone("a frozen file system", |root| {
        let (image, mount) = (image(root), root.join("m"));
        fs::create_dir(&mount).unwrap();
        for mode in ["loop", "loop,ro"] {
            must("mount", &[&"-o", &mode, &image, &mount]);
            tmpfs_beside(&mount, root);
            let points = Points { rootfs: None, at: vec![root] };
            let devices = look(&points).unwrap().devices;
            let thaw = Thaw(mount.clone());
            must("fsfreeze", &[&"-f", &mount]);
            let obstacle = clear(&points, soon()).unwrap_err();
            assert!(obstacle.what.contains("fsfreeze -u") && obstacle.mounts, "{obstacle:?}");
            assert_eq!(count(root), 1, "the others have gone");
            drop(thaw);
            until(|| clear(&points, soon()).is_ok());
            until(|| held(&devices, soon()).is_none());
            assert_eq!(count(root), 0);
            assert!(!is_attached(&image));
        }
    });
}

fn tmpfs_beside(mount: &Path, root: &Path) {
    tmpfs(&root.join("beside"));
    bind(&root.join("beside"), &root.join("again"));
    assert!(mount.exists());
}
