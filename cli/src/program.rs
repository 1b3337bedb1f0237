//! Other programs: where they are and what they say, with a deadline.

use std::{
    env,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

/// How long a program may take to tell its version.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most of its output that is read, in bytes.
const ENOUGH: u64 = 64 * 1024;

/// The program beside this one, else at one of these places, else in `PATH`.
pub fn find(name: &str, places: &[&str]) -> Option<PathBuf> {
    let own = env::current_exe().ok().and_then(|own| Some(own.parent()?.join(name)));
    let path = env::var_os("PATH").unwrap_or_default();
    let fixed = places.iter().map(PathBuf::from);
    let listed = env::split_paths(&path).map(|dir| dir.join(name));
    own.into_iter().chain(fixed).chain(listed).find(|candidate| executable(candidate))
}

fn executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// What the program prints. Blocks at most ten seconds; a program that takes longer is killed.
///
/// # Errors
/// If it cannot be started, takes too long, or ends with anything but 0: with what it said about it.
pub fn ask(program: &Path, arguments: &[&str]) -> io::Result<String> {
    let mut command = Command::new(program);
    let mut child =
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (sender, answers) = mpsc::sync_channel(2);
    let streams: [Option<Box<dyn Read + Send>>; 2] =
        [child.stdout.take().map(|s| Box::new(s) as _), child.stderr.take().map(|s| Box::new(s) as _)];
    for (index, stream) in streams.into_iter().flatten().enumerate() {
        let sender = sender.clone();
        std::thread::Builder::new().spawn(move || {
            let mut text = Vec::new();
            let read = stream.take(ENOUGH).read_to_end(&mut text);
            sender.send((index, read.map(|_| String::from_utf8_lossy(&text).into_owned())))
        })?;
    }
    let mut said = [String::new(), String::new()];
    for _ in 0..2 {
        match answers.recv_timeout(PATIENCE) {
            Ok((index, text)) => said[index] = text?,
            Err(_) => {
                // It may have ended between the two.
                let _ = child.kill();
                let _ = child.wait();
                return Err(io::Error::new(io::ErrorKind::TimedOut, "it did not answer within 10s"));
            }
        }
    }
    let status = child.wait()?;
    let [out, err] = said;
    if status.success() { Ok(out) } else { Err(io::Error::other(format!("{status}: {}", err.trim()))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_and_asked() {
        let shell = find("sh", &[]).unwrap();
        assert_eq!(ask(&shell, &["-c", "echo hello"]).unwrap(), "hello\n");
        let error = ask(&shell, &["-c", "echo broken >&2; exit 3"]).unwrap_err().to_string();
        assert!(error.contains('3') && error.contains("broken"), "{error}");
        assert_eq!(find("sh", &["/bin/true"]).unwrap(), Path::new("/bin/true"));
        assert!(find("no-such-program-here", &["/etc/passwd"]).is_none());
    }
}
