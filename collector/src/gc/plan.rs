//! Which steps there are for a case, and in which order. Pure.

use sexton_common::gc::{Estate, Step};

/// What is known of a run that is to be cleaned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// It was killed and does not die: its exit is awaited.
    pub alive: bool,
    /// There is a record that may not be on disk yet.
    pub record: bool,
    /// It is of an earlier boot.
    pub earlier_boot: bool,
    /// Its processes, its runtime's state and its cgroups were all seen gone once: what bears their names since then is
    /// somebody else's.
    pub settled: bool,
}

/// The steps, in their order. None of them begins before those ahead of it are seen to be done: files are not taken
/// from under a process, nor the root file system from under the runtime's hooks.
#[must_use]
pub fn plan(case: Case, estate: &Estate) -> Vec<Step> {
    // What it is a matter of is known once it is dead.
    if case.alive {
        return vec![Step::Processes];
    }
    let today = !case.earlier_boot;
    let by_name = today && !case.settled;
    let cleanup = &estate.cleanup;
    let wanted = |step| match step {
        Step::Record => case.record,
        // Of an earlier boot: gone by definition, and what bears the same name today is somebody else's.
        Step::Processes => by_name && !(estate.cgroups.is_empty() && estate.processes.is_empty()),
        Step::Runtime => by_name && estate.runtime.is_some(),
        Step::Cgroups => by_name && !(estate.cgroups.is_empty() && estate.guessed.is_empty()),
        Step::Mounts => today && (estate.rootfs.is_some() || !(cleanup.mounts.is_empty() && cleanup.paths.is_empty())),
        Step::Netns => today && !cleanup.netns.is_empty(),
        Step::Files => !cleanup.paths.is_empty(),
        Step::Commands => !cleanup.exec.is_empty(),
    };
    Step::ALL.into_iter().filter(|step| wanted(*step)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Step as S;
    use sexton_common::{ProcessIdentity, cgroup::CgroupDir, cleanup::Cleanup, identity::BootId, runtime::Runtime};

    fn estate() -> Estate {
        Estate {
            id: "c".parse().unwrap(),
            generation: 1,
            boot: BootId::current().unwrap(),
            runtime: Some(Runtime::default()),
            bundle: Some("/b".into()),
            rootfs: Some("/b/rootfs".into()),
            processes: vec![ProcessIdentity::gone(1).unwrap()],
            cgroups: vec![CgroupDir { hierarchy: "pids".into(), dir: "/c".into() }],
            guessed: vec![],
            cleanup: Cleanup {
                paths: vec!["/p/x".into()],
                mounts: vec!["/m/x".into()],
                netns: vec!["/n/x".into()],
                exec: vec!["true".into()],
            },
        }
    }

    const TODAY: Case = Case { alive: false, record: true, earlier_boot: false, settled: false };

    #[test]
    fn everything_in_its_order() {
        assert_eq!(plan(TODAY, &estate()), S::ALL);
    }

    #[test]
    fn what_is_of_an_earlier_boot_touches_nothing_of_today() {
        let case = Case { earlier_boot: true, ..TODAY };
        assert_eq!(plan(case, &estate()), [S::Record, S::Files, S::Commands]);
        assert_eq!(plan(Case { record: false, ..case }, &estate()), [S::Files, S::Commands]);
    }

    #[test]
    fn a_name_that_was_free_once_is_not_its_any_more() {
        let case = Case { settled: true, ..TODAY };
        assert_eq!(plan(case, &estate()), [S::Record, S::Mounts, S::Netns, S::Files, S::Commands]);
    }

    #[test]
    fn what_does_not_die_keeps_everything() {
        assert_eq!(plan(Case { alive: true, ..TODAY }, &estate()), [S::Processes]);
    }

    #[test]
    fn nothing_owned_is_nothing_to_do() {
        let bare = Estate {
            runtime: None,
            bundle: None,
            rootfs: None,
            processes: vec![],
            cgroups: vec![],
            cleanup: Cleanup::default(),
            ..estate()
        };
        assert_eq!(plan(Case { record: false, ..TODAY }, &bare), []);
        let guessed = Estate { guessed: estate().cgroups, ..bare.clone() };
        assert_eq!(plan(Case { record: false, ..TODAY }, &guessed), [S::Cgroups]);
        let paths = Estate { cleanup: Cleanup { paths: vec!["/p/x".into()], ..Cleanup::default() }, ..bare };
        assert_eq!(
            plan(Case { record: false, ..TODAY }, &paths),
            [S::Mounts, S::Files],
            "mounts below a path go first"
        );
    }
}
