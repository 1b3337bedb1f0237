//! A plain program's own cgroups: a runtime makes a container's, nobody but us makes these.

use crate::{leftovers, report::Failure};
use sexton_common::{
    ContainerId,
    cgroup::{self, CgroupDir},
    workload::Program,
};
use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    time::Instant,
};

/// Where the program's cgroup will be: a child, by its own name, of the one that was asked for. Whatever is below a container's
/// cgroup is killed after its end: who asks for the same one must be beside it. Asked again, for its next run, it is the same.
pub fn settled(program: &Program, id: &ContainerId) -> Option<PathBuf> {
    let name = cgroup::child_name(id);
    program.cgroup.as_ref().map(|path| if path.ends_with(&name) { path.clone() } else { path.join(name) })
}

/// Makes them and moves `pid` there; all directories that are new go to `made`. In hierarchies where that cannot be done the
/// process stays where it is.
///
/// # Errors
/// If a cgroup was asked for and cannot be made anywhere, or is somebody else's.
pub fn enter(
    program: &Program,
    own: &[CgroupDir],
    id: &ContainerId,
    pid: u32,
    made: &mut Vec<CgroupDir>,
) -> Result<(), Failure> {
    let failed = |e: io::Error| Failure::ours(format!("create {id}: find its cgroups: {e}"));
    let mut entered = false;
    let mut first = None;
    for cgroup in cgroup::of_program(own, program.cgroup.as_deref(), id).map_err(failed)? {
        match enter_one(&cgroup, pid, made) {
            Ok(()) => entered = true,
            Err(e) => {
                first.get_or_insert((cgroup, e));
            }
        }
    }
    match (&program.cgroup, entered, first) {
        (Some(path), false, first) => {
            let why = first.map_or_else(
                || "there are no cgroups here".to_owned(),
                |(cgroup, e)| format!("{}: {e}: only root can make one", cgroup.dir.display()),
            );
            Err(Failure::ours(format!("create {id}: cgroup {}: {why}", path.display())))
        }
        _ => Ok(()),
    }
}

fn enter_one(cgroup: &CgroupDir, pid: u32, made: &mut Vec<CgroupDir>) -> io::Result<()> {
    let before = made.len();
    let done =
        make(cgroup, &cgroup.dir, made).and_then(|()| fs::write(cgroup.dir.join("cgroup.procs"), pid.to_string()));
    if done.is_err() {
        // Nobody is in them; one that stays is found by whoever cleans up.
        let new: Vec<CgroupDir> = made.drain(before..).rev().collect();
        leftovers::remove_cgroups(&new, Instant::now());
    }
    done
}

/// Makes it, and what is missing above it.
fn make(cgroup: &CgroupDir, dir: &Path, made: &mut Vec<CgroupDir>) -> io::Result<()> {
    let new = || DirBuilder::new().mode(0o755).create(dir);
    match new() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            make(cgroup, dir.parent().ok_or(e)?, made)?;
            new()?;
        }
        // An empty one of an earlier run; whoever is in it is not ours to kill.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists && dir == cgroup.dir => {
            fs::remove_dir(dir)?;
            new()?;
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        done => done?,
    }
    made.push(CgroupDir { hierarchy: cgroup.hierarchy.clone(), dir: dir.into() });
    if cgroup.hierarchy.split(',').any(|controller| controller == "cpuset") {
        // Empty ones take no process.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let above = dir.parent().map(|above| above.join(file)).ok_or(io::ErrorKind::NotFound)?;
            fs::write(dir.join(file), fs::read(above)?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_below_another() {
        let of = |path: &str, id: &str| {
            let program = Program { cgroup: Some(path.into()), ..Program::default() };
            settled(&program, &id.parse().unwrap()).unwrap()
        };
        let (a, b) = (of("/jobs", "a"), of("/jobs", "b"));
        assert_eq!((a.as_path(), b.as_path()), (Path::new("/jobs/sexton-a"), Path::new("/jobs/sexton-b")));
        assert_eq!(of("/jobs/sexton-a", "a"), a, "its next run");
        assert_eq!(settled(&Program::default(), &"a".parse().unwrap()), None);
    }
}
