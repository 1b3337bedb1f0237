//! The exit record: read where it lies, made where nobody else can make it any more.

use sexton_common::{
    ExitRecord, ExitStatus, Init, Launch, Source, Stamp, UnknownReason,
    cgroup::{self, Figures},
    durable::{self, ReadError},
    launch::{Mode, Started},
    layout::ContainerDir,
};
use std::{
    fs::OpenOptions,
    io,
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
};

/// A record, and whether it is on disk yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The record.
    pub record: ExitRecord,
    /// Whether the `exit` file has it.
    pub durable: bool,
}

/// The record on disk, if it is there and of this run. Its writer may have been killed before it made the name
/// durable: nobody is told before it is. Blocks on the disk.
///
/// # Errors
/// If it is there but cannot be read or does not decode.
pub fn read_exit(dir: &ContainerDir, generation: u64) -> Result<Option<ExitRecord>, ReadError> {
    let record: Option<ExitRecord> = durable::read(&dir.exit())?;
    let record = record.filter(|record| record.generation == generation);
    if let Some(record) = &record
        && let Err(e) = durable::sync_parent(&dir.exit())
    {
        tracing::error!(id = %record.id, error = %e, "the exit record is there, but may not outlast a power cut");
    }
    Ok(record)
}

/// The record on disk where that is memory, whole and of this run; does not block. `None` says nothing: see [`read_exit`].
#[must_use]
pub fn read_exit_at_once(dir: &ContainerDir, generation: u64) -> Option<ExitRecord> {
    durable::read_at_once(&dir.exit()).filter(|record: &ExitRecord| record.generation == generation)
}

/// The record of a container whose shim cannot write it any more; reads the cgroups' figures, and puts the
/// record on disk, unless somebody else's is there, which then stands (I1). Blocks on the disk.
#[must_use]
pub fn of_death(
    launch: &Launch,
    init: Option<&Init>,
    dir: &ContainerDir,
    death: (ExitStatus, Source),
    exited: Option<Stamp>,
) -> Verdict {
    let never = waited_in_vain(launch, dir, &death);
    let unknown = (ExitStatus::Unknown { reason: UnknownReason::NeverStarted }, Source::None);
    let (status, source) = if never { unknown } else { death };
    let figures = init.map_or_else(Figures::default, |init| cgroup::figures(&init.cgroups));
    let record = ExitRecord {
        id: launch.id.clone(),
        generation: launch.generation,
        process: init.map(|init| init.process),
        status,
        source,
        oom_killed: figures.oom_killed,
        started: init.filter(|_| !never).and_then(|init| started(launch, init, dir).or(Some(init.ready))),
        exited,
        usage: None,
        memory_peak: figures.memory_peak,
        cpu_ns: figures.cpu_ns,
    };
    match write_record(dir, &record) {
        Ok(true) => Verdict { record, durable: true },
        Ok(false) => match read_exit(dir, launch.generation) {
            Ok(Some(theirs)) => Verdict { record: theirs, durable: true },
            // Damaged in this very moment: the clean-up comes back to it.
            Ok(None) | Err(_) => Verdict { record, durable: false },
        },
        Err(e) => {
            if let Ok(Some(theirs)) = read_exit(dir, launch.generation) {
                return Verdict { record: theirs, durable: true };
            }
            tracing::error!(id = %launch.id, error = %e, "the exit record cannot be written now: kept in memory, tried again");
            Verdict { record, durable: false }
        }
    }
}

/// Whether a plain program's process never became it: its gate goes when that is opened, and without its shim it ends by
/// itself, with 125, as soon as it may. Blocks on the file system.
fn waited_in_vain(launch: &Launch, dir: &ContainerDir, death: &(ExitStatus, Source)) -> bool {
    let by_itself =
        matches!(death, (ExitStatus::Unknown { .. }, _) | (ExitStatus::Code(125), Source::Pidfd | Source::Zombie));
    let ours =
        || matches!(durable::read::<Launch>(&dir.launch()), Ok(Some(there)) if there.generation == launch.generation);
    by_itself && launch.workload.program().is_some() && dir.gate().exists() && ours()
}

/// Writes a record in the directory of its own run, `false` if one is there (I1); what has the run's name by now is
/// left alone. Blocks on the disk.
///
/// # Errors
/// `NotFound` if the run's directory is not there any more; otherwise as [`durable::write_new`].
pub fn write_record(dir: &ContainerDir, record: &ExitRecord) -> io::Result<bool> {
    // Held, so that it stays the same one whatever is renamed meanwhile.
    let held = OpenOptions::new().read(true).custom_flags(nix::libc::O_DIRECTORY).open(dir.path())?;
    let held_dir = ContainerDir::at(format!("/proc/self/fd/{}", held.as_raw_fd()).into());
    match durable::read::<Launch>(&held_dir.launch()) {
        Ok(Some(launch)) if launch.generation != record.generation => Err(io::ErrorKind::NotFound.into()),
        _ => durable::write_new(&held_dir.exit(), record),
    }
}

/// When it was started: as the collector wrote it down, else as the shim was about to; `None` if somebody
/// else started it, or nobody. Blocks on the disk.
pub fn started(launch: &Launch, init: &Init, dir: &ContainerDir) -> Option<Stamp> {
    let written = durable::read::<Started>(&dir.start()).ok().flatten();
    match written.filter(|started| started.generation == launch.generation) {
        Some(started) => Some(started.at),
        None => (launch.mode == Mode::Run).then_some(init.ready),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::simulated::launch;
    use sexton_common::restart::RestartPolicy;

    #[test]
    fn a_program_whose_gate_is_there_was_never_started() {
        let root = tempfile::tempdir().unwrap();
        let dir = ContainerDir::at(root.path().into());
        let launch = launch("c".parse().unwrap(), RestartPolicy::No);
        durable::write(&dir.launch(), &launch).unwrap();
        let of = |death: (ExitStatus, Source)| {
            let _ = std::fs::remove_file(dir.exit());
            of_death(&launch, None, &dir, death, None).record
        };
        let killed = (ExitStatus::Unknown { reason: UnknownReason::ShimKilled }, Source::None);
        let never = (ExitStatus::Unknown { reason: UnknownReason::NeverStarted }, Source::None);
        let by_itself = (ExitStatus::Code(125), Source::Pidfd);
        let by_signal = (ExitStatus::Signal { number: 9, core_dumped: false }, Source::Pidfd);
        let both = |record: ExitRecord| (record.status, record.source);
        for death in [killed, by_itself, by_signal] {
            assert_eq!(both(of(death)), death, "it was started");
        }
        std::fs::write(dir.gate(), "").unwrap();
        assert_eq!([killed, by_itself, by_signal].map(|death| both(of(death))), [never, never, by_signal]);
        durable::write(&dir.launch(), &Launch { generation: 7, ..launch.clone() }).unwrap();
        assert!(!waited_in_vain(&launch, &dir, &killed), "the gate is another run's");
    }
}
