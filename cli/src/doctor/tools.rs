//! Programs that are needed, and the user.

use super::check::Check;
use crate::{args::own_version, program};

/// Where packages put the shim.
const LIBEXEC: &str = "/usr/libexec/sexton/sexton-shim";

/// Who asks.
pub fn user() -> Check {
    match nix::unistd::geteuid() {
        root if root.is_root() => Check::ok("user", "root"),
        other => Check::warn("user", format!("uid {other}"), "run it as root: runtimes need that for most bundles"),
    }
}

/// Runtimes and shim.
pub fn checks() -> Vec<Check> {
    // An ordinary user's PATH often lacks /usr/sbin, where Debian has runc; sextond's has it.
    let mut checks = runtimes(&[
        ("runc", version("runc", &["/usr/sbin/runc", "/usr/local/sbin/runc"])),
        ("crun", version("crun", &[])),
    ]);
    checks.push(shim(version("sexton-shim", &[LIBEXEC])));
    checks
}

/// What is known about a program: nothing if it is not there, else what `--version` said first, or what went wrong.
type Found = Option<Result<String, String>>;

fn version(name: &str, places: &[&str]) -> Found {
    let program = program::find(name, places)?;
    Some(match program::ask(&program, &["--version"]) {
        Ok(said) => Ok(said.lines().next().unwrap_or_default().trim().to_owned()),
        Err(error) => Err(format!("{} --version: {error}", program.display())),
    })
}

fn runtimes(found: &[(&'static str, Found)]) -> Vec<Check> {
    let one = found.iter().any(|(_, found)| matches!(found, Some(Ok(_))));
    let check = |(name, found): &(&'static str, Found)| match found {
        Some(Ok(version)) => Check::ok(name, version.trim_start_matches(name).trim_start_matches(" version").trim()),
        Some(Err(error)) => Check::warn(name, error.as_str(), "reinstall it"),
        None if one => Check::ok(name, "not installed, not needed"),
        None => Check::fail(name, "not installed", format!("install a runtime, e.g. `apt-get install {name}`")),
    };
    found.iter().map(check).collect()
}

fn shim(found: Found) -> Check {
    let name = "sexton-shim";
    let ours = own_version().0;
    match found {
        Some(Ok(version)) if version.split_whitespace().any(|word| word == ours) => Check::ok(name, ours),
        Some(Ok(version)) => Check::warn(name, version, format!("install the one of release {ours}, as sexton is")),
        Some(Err(error)) => Check::fail(name, error, "reinstall it"),
        None => Check::fail(name, "not found", format!("install it beside sextond, into PATH, or as {LIBEXEC}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    #[test]
    fn one_runtime_is_enough() {
        let there = || Some(Ok("runc version 1.1.5".to_owned()));
        let checks = runtimes(&[("runc", there()), ("crun", None)]);
        assert_eq!(checks[0], Check::ok("runc", "1.1.5"));
        assert_eq!(checks[1].status, Verdict::Ok);
        let none = runtimes(&[("runc", None), ("crun", None)]);
        assert!(none.iter().all(|check| check.status == Verdict::Fail));
        let broken = runtimes(&[("runc", Some(Err("exit status: 1".into()))), ("crun", None)]);
        assert_eq!([broken[0].status, broken[1].status], [Verdict::Warn, Verdict::Fail]);
    }

    #[test]
    fn the_shim_is_of_the_same_release() {
        let ours = format!("sexton-shim {}", own_version().0);
        assert_eq!(shim(Some(Ok(ours))).status, Verdict::Ok);
        assert_eq!(shim(Some(Ok("sexton-shim 0.0.1".into()))).status, Verdict::Warn);
        assert_eq!(shim(None).status, Verdict::Fail);
    }
}
