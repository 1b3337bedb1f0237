//! The command line of runc and of every runtime that copied it (crun, youki).

use crate::ContainerId;
use serde::{Deserialize, Serialize};
use std::{
    ffi::OsString,
    io,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
};

/// What a service manager tells its services in the environment, and theirs alone. A runtime that saw
/// `NOTIFY_SOCKET` would wait in `start` until the container says that it is ready.
pub const NOT_INHERITED: [&str; 10] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "FDSTORE",
    "MAINPID",
    "JOURNAL_STREAM",
    // Our own, `sextond --keeper`.
    "SEXTON_KEEPER",
];

/// An OCI runtime and how to call it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Runtime {
    /// The program: absolute once [`Runtime::resolve`]d.
    pub program: PathBuf,
    /// `--root`, where the runtime keeps its state; its own default if `None`.
    pub root: Option<PathBuf>,
    /// More global arguments, before the verb.
    pub args: Vec<String>,
}

impl Default for Runtime {
    fn default() -> Self {
        Self { program: "runc".into(), root: None, args: Vec::new() }
    }
}

impl Runtime {
    /// The same runtime with its program found in `PATH`, as an absolute path, so that whoever calls it
    /// later calls the same one.
    ///
    /// # Errors
    /// `NotFound` if there is no such file, `PermissionDenied` if it is not executable.
    pub fn resolve(self) -> io::Result<Self> {
        let program = if self.program.as_os_str().as_bytes().contains(&b'/') {
            executable(std::path::absolute(&self.program)?)?
        } else {
            let path = std::env::var_os("PATH")
                .unwrap_or_else(|| "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into());
            let mut found = std::env::split_paths(&path).map(|dir| executable(dir.join(&self.program)));
            found.find_map(Result::ok).ok_or(io::ErrorKind::NotFound)?
        };
        let root = self.root.map(std::path::absolute).transpose()?;
        Ok(Self { program, root, ..self })
    }

    /// Everything after the program: global arguments, verb, options, id.
    #[must_use]
    pub fn arguments(&self, globals: &[OsString], verb: &str, options: &[OsString], id: &ContainerId) -> Vec<OsString> {
        let mut all = Vec::with_capacity(globals.len() + self.args.len() + options.len() + 6);
        if let Some(root) = &self.root {
            all.extend(["--root".into(), root.into()]);
        }
        all.extend(self.args.iter().map(OsString::from));
        all.extend_from_slice(globals);
        all.push(verb.into());
        all.extend_from_slice(options);
        if id.as_str().starts_with('-') {
            all.push("--".into());
        }
        all.push(id.as_str().into());
        all
    }

    /// The directory in which the runtime keeps the container's state, which is there as long as the runtime
    /// knows the container. `None` where this runtime's default root is not known to us, or another is
    /// hidden among its arguments: then only the runtime itself can tell.
    #[must_use]
    pub fn state_dir(&self, id: &ContainerId) -> Option<PathBuf> {
        if self.args.iter().any(|arg| arg.trim_start_matches('-').starts_with("root")) {
            return None;
        }
        let root = match &self.root {
            Some(root) => root.as_path(),
            // Their defaults for root.
            None => match self.program.file_name()?.to_str()? {
                "runc" => Path::new("/run/runc"),
                "crun" => Path::new("/run/crun"),
                "youki" => Path::new("/run/youki"),
                _ => return None,
            },
        };
        Some(root.join(id.as_str()))
    }
}

fn executable(path: PathBuf) -> io::Result<PathBuf> {
    let meta = std::fs::metadata(&path)?;
    if meta.is_file() && meta.permissions().mode() & 0o111 != 0 {
        Ok(path)
    } else {
        Err(io::ErrorKind::PermissionDenied.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_stand_where_runc_wants_them() {
        let runtime =
            Runtime { program: "/usr/sbin/runc".into(), root: Some("/r".into()), args: vec!["--debug".into()] };
        let words = runtime.arguments(
            &["--log".into(), "/l".into()],
            "create",
            &["--bundle".into(), "/b".into()],
            &"c1".parse().unwrap(),
        );
        assert_eq!(words, ["--root", "/r", "--debug", "--log", "/l", "create", "--bundle", "/b", "c1"]);
        let words = Runtime::default().arguments(&[], "delete", &[], &"-c".parse().unwrap());
        assert_eq!(words, ["delete", "--", "-c"]);
    }

    #[test]
    fn the_runtimes_state_is_looked_for_only_where_it_is() {
        let id = "c".parse().unwrap();
        let of = |root: Option<&str>, args: &[&str]| {
            let args = args.iter().map(ToString::to_string).collect();
            Runtime { root: root.map(Into::into), args, program: "/usr/bin/runc".into() }.state_dir(&id)
        };
        assert_eq!(of(None, &[]), Some("/run/runc/c".into()));
        assert_eq!(of(Some("/r"), &["--debug"]), Some("/r/c".into()));
        assert_eq!(of(None, &["--root=/x"]), None);
        assert_eq!(of(None, &["--root", "/x"]), None);
    }

    #[test]
    fn programs_are_found_or_not() {
        let of = |program: &str| Runtime { program: program.into(), ..Runtime::default() }.resolve();
        assert_eq!(of("sh").unwrap().program.file_name().unwrap(), "sh");
        assert_eq!(of("no-such-runtime-here").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(of("/etc/passwd").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(of("/").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
