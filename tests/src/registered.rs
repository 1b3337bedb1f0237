//! What a container registers for clean-up, one of each kind, and what is left of it.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use sexton_common::cleanup::Cleanup;
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// A directory with content, a tmpfs with a file, a network namespace, and two commands that leave a line each.
#[derive(Debug)]
pub struct Registered {
    home: PathBuf,
}

impl Registered {
    /// In `home`, which is made.
    ///
    /// # Panics
    /// If it cannot be made.
    #[must_use]
    pub fn new(home: PathBuf) -> Self {
        fs::create_dir_all(&home).unwrap();
        fs::create_dir_all(home.join("mount")).unwrap();
        fs::write(home.join("kept"), "kept").unwrap();
        let registered = Self { home };
        registered.make();
        registered
    }

    /// Makes what is not there; forgets what the commands have said.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn make(&self) {
        let files = self.files();
        if files.symlink_metadata().is_err() {
            fs::create_dir_all(files.join("a/b")).unwrap();
            fs::write(files.join("a/b/c"), "content").unwrap();
            symlink(self.kept(), files.join("link")).unwrap();
        }
        if !is_mounted(&self.mount()) {
            mount(Some("tmpfs"), &self.mount(), Some("tmpfs"), MsFlags::empty(), Some("size=64k")).unwrap();
            fs::write(self.mount().join("file"), "in it").unwrap();
        }
        if !is_mounted(&self.netns()) {
            fs::write(self.netns(), "").unwrap();
            mount(Some("/proc/self/ns/net"), &self.netns(), None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        }
        let _ = fs::remove_file(self.log());
    }

    /// The directory that goes.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.home.join("files")
    }

    /// The mount point, which stays.
    #[must_use]
    pub fn mount(&self) -> PathBuf {
        self.home.join("mount")
    }

    /// The network namespace.
    #[must_use]
    pub fn netns(&self) -> PathBuf {
        self.home.join("netns")
    }

    /// A file that a link in [`Registered::files`] points at: it stays.
    #[must_use]
    pub fn kept(&self) -> PathBuf {
        self.home.join("kept")
    }

    fn log(&self) -> PathBuf {
        self.home.join("log")
    }

    /// For a request.
    #[must_use]
    pub fn cleanup(&self) -> Cleanup {
        let say = |word: &str| format!("echo {word} $SEXTON_STATUS >> {}", self.log().display());
        Cleanup {
            paths: vec![self.files()],
            mounts: vec![self.mount()],
            netns: vec![self.netns()],
            exec: vec![say("one"), say("two")],
        }
    }

    /// For a command line.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let Cleanup { paths, mounts, netns, exec } = self.cleanup();
        let each = |option: &str, paths: Vec<PathBuf>| {
            paths.into_iter().map(|path| [option.to_owned(), path.display().to_string()]).collect::<Vec<_>>()
        };
        let mut words = each("--cleanup-path", paths);
        words.extend(each("--cleanup-mount", mounts));
        words.extend(each("--cleanup-netns", netns));
        words.extend(exec.into_iter().map(|command| ["--cleanup-exec".to_owned(), command]));
        words.into_iter().flatten().collect()
    }

    /// A process that keeps the mount busy: killed when it is dropped.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn holder(&self) -> Sleeper {
        Sleeper::start(&self.mount())
    }

    /// What is still there of it; and what went that should not have gone.
    #[must_use]
    pub fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        left.extend(self.files().symlink_metadata().is_ok().then(|| "the directory".to_owned()));
        left.extend(is_mounted(&self.mount()).then(|| "the mount".to_owned()));
        left.extend(self.netns().symlink_metadata().is_ok().then(|| "the network namespace".to_owned()));
        for stays in [self.kept(), self.mount()] {
            left.extend(stays.symlink_metadata().is_err().then(|| format!("{} has gone", stays.display())));
        }
        left
    }

    /// What the commands have said, a line for each that ran.
    #[must_use]
    pub fn said(&self) -> Vec<String> {
        fs::read_to_string(self.log()).unwrap_or_default().lines().map(|line| line.trim().to_owned()).collect()
    }

    /// Everything is gone, and each command ran at least once, in their order, knowing this status (whatever it is, if
    /// `None`).
    ///
    /// # Errors
    /// What is not so.
    pub fn is_clean(&self, status: Option<&str>) -> Result<(), String> {
        let (left, said) = (self.left(), self.said());
        let is = |line: &String, word: &str| match status {
            Some(status) => line == format!("{word} {status}").trim(),
            None => line.split(' ').next() == Some(word),
        };
        // A whole round, or the second alone, may have come again.
        let in_order =
            said.first().is_some_and(|line| is(line, "one")) && said.last().is_some_and(|line| is(line, "two"));
        if left.is_empty() && in_order && said.iter().all(|line| is(line, "one") || is(line, "two")) {
            return Ok(());
        }
        Err(format!("left: {left:?}; the commands said {said:?}, and the status is {status:?}"))
    }

    /// Unmounts what is still mounted: nobody else is to do it.
    pub fn unmount(&self) {
        for point in [self.mount(), self.netns()] {
            while is_mounted(&point) && umount2(&point, MntFlags::MNT_DETACH).is_ok() {}
        }
    }
}

/// A process of the test's that sleeps; killed when it is dropped.
#[derive(Debug)]
pub struct Sleeper(Child);

impl Sleeper {
    /// In this directory.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn start(cwd: &Path) -> Self {
        let mut sleep = Command::new("/bin/sleep");
        let sleep = sleep.arg("100000").current_dir(cwd);
        Self(sleep.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// Its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Whether it has not been killed.
    ///
    /// # Panics
    /// If it cannot be asked.
    #[must_use]
    pub fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.unmount();
    }
}

/// Whether something is mounted right there.
///
/// # Panics
/// If the mount table cannot be read.
#[must_use]
pub fn is_mounted(point: &Path) -> bool {
    // As the kernel writes it.
    let mut wanted = point.display().to_string().replace('\\', "\\134");
    for (plain, octal) in [(' ', "\\040"), ('\t', "\\011"), ('\n', "\\012")] {
        wanted = wanted.replace(plain, octal);
    }
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter_map(|line| line.split(' ').nth(4)).any(|mounted| mounted == wanted)
}
