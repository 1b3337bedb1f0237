//! Pids come back: whoever has a dead one's pid is not signalled, and its end is not taken for the dead one's (I6).
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use rustix::process::Signal;
use sexton_common::{
    ExitStatus, ProcessIdentity, Source, UnknownReason, durable,
    wire::{ContainerInfo, Launched, State},
};
use sexton_tests::{Bundle, Gate, LONG, Node, Stranger, in_private_pids, node_api::killed_by, proc, skipped, wait_for};
use std::process::Stdio;

/// No container here ends with it.
const STRANGE: i32 = 77;
/// Every stranger that may sit at init's and at the shim's pid: alive, or dead with a code of its own.
const KINDS: [[bool; 2]; 3] = [[true, true], [false, true], [false, false]];

fn kill(pid: u32) {
    proc::kill(pid);
    wait_for("the end of what was killed", LONG, || proc::is_gone(pid));
}

fn gated(node: &Node, name: &str) -> (Launched, Gate) {
    let (bundle, gate) = Bundle::new(node, name).gated();
    (node.run(&node.id(name), &bundle.write()), gate)
}

fn strangers(node: &Node, launched: &Launched, alive: [bool; 2]) -> [Stranger; 2] {
    let at = |(pid, alive)| match alive {
        true => Stranger::alive(pid, node.prefix()),
        false => Stranger::zombie(pid, node.prefix(), STRANGE),
    };
    [(launched.pid, alive[0]), (launched.shim_pid, alive[1])].map(at)
}

fn freeze(node: &mut Node) {
    let pid = node.daemon().pid();
    node.daemon().signal(Signal::STOP);
    wait_for("the collector to stop", LONG, || proc::status(pid, "State").unwrap().starts_with('T'));
}

fn thaw(node: &mut Node) {
    node.daemon().signal(Signal::CONT);
}

#[track_caller]
fn ended(node: &Node, launched: &Launched) -> ContainerInfo {
    let info = node.wait(&launched.id);
    node.wait_state(&launched.id, State::Stopped);
    let record = node.record(&launched.id).unwrap();
    assert_eq!((Some(record.status), Some(record.source)), (info.status, info.source), "one record");
    info
}

fn told(info: &ContainerInfo) -> (ExitStatus, Source) {
    (info.status.unwrap(), info.source.unwrap())
}

const UNKNOWN: (ExitStatus, Source) =
    (ExitStatus::Unknown { reason: UnknownReason::ShimAndCollectorKilled }, Source::None);

/// Init and shim are gone, and others have their pids, before the collector looks.
#[test]
fn after_the_exit_was_written() {
    if skipped() {
        return;
    }
    in_private_pids("after_the_exit_was_written", || {
        for alive in KINDS {
            for down in [true, false] {
                let mut node = Node::new();
                let (launched, gate) = gated(&node, "a");
                if down {
                    node.kill_daemon()
                } else {
                    freeze(&mut node)
                }
                gate.exit(7);
                let strangers = strangers(&node, &launched, alive);
                if down {
                    node.start_daemon()
                } else {
                    thaw(&mut node)
                }
                assert_eq!(told(&ended(&node, &launched)), (ExitStatus::Code(7), Source::Waited), "{alive:?} {down}");
                strangers.into_iter().for_each(Stranger::unharmed);
                node.finish();
            }
        }
    });
}

/// The shim was killed before it could write anything: exact from a pidfd that was held, else unknown; never the
/// stranger's.
#[test]
fn after_the_shim_was_killed() {
    if skipped() {
        return;
    }
    in_private_pids("after_the_shim_was_killed", || {
        for alive in KINDS {
            for down in [true, false] {
                let mut node = Node::new();
                let (launched, gate) = gated(&node, "a");
                if down {
                    node.kill_daemon()
                } else {
                    freeze(&mut node)
                }
                kill(launched.shim_pid);
                gate.exit(7);
                let strangers = strangers(&node, &launched, alive);
                if down {
                    node.start_daemon()
                } else {
                    thaw(&mut node)
                }
                let told = told(&ended(&node, &launched));
                let exact = (ExitStatus::Code(7), Source::Pidfd);
                assert_eq!(told, if down { UNKNOWN } else { exact }, "{alive:?} {down}: {}", node.words());
                strangers.into_iter().for_each(Stranger::unharmed);
                node.finish();
            }
        }
    });
}

/// Only the shim is dead: a stranger with its pid is no shim, whatever it is called, and the container is orphaned.
#[test]
fn the_shim_s_alone() {
    if skipped() {
        return;
    }
    in_private_pids("the_shim_s_alone", || {
        for alive in [true, false] {
            for down in [true, false] {
                let mut node = Node::new();
                let (launched, gate) = gated(&node, "a");
                if down {
                    node.kill_daemon()
                } else {
                    freeze(&mut node)
                }
                kill(launched.shim_pid);
                let stranger = strangers_shim(&node, &launched, alive);
                if down {
                    node.start_daemon()
                } else {
                    thaw(&mut node)
                }
                node.wait_state(&launched.id, State::Orphaned);
                gate.exit(7);
                assert_eq!(told(&ended(&node, &launched)), (ExitStatus::Code(7), Source::Pidfd));
                stranger.unharmed();
                node.finish();
            }
        }
    });
}

fn strangers_shim(node: &Node, launched: &Launched, alive: bool) -> Stranger {
    if !alive {
        return Stranger::zombie(launched.shim_pid, node.prefix(), STRANGE);
    }
    Stranger::new(launched.shim_pid, node.prefix(), sexton_tests::pids::called(node.dir(), "sexton-shim"))
}

/// What `ps` showed is somebody else's pid by the time that `stop`, `kill` and `rm -f` are asked for.
#[test]
fn between_ps_and_the_next_command() {
    if skipped() {
        return;
    }
    in_private_pids("between_ps_and_the_next_command", || {
        for args in
            [&["stop", "ID", "--timeout", "0s"][..], &["kill", "ID"], &["kill", "ID", "KILL"], &["rm", "-f", "ID"]]
        {
            for orphaned in [false, true] {
                let mut node = Node::new();
                let (launched, gate) = gated(&node, "a");
                let id = launched.id.as_str();
                let ps = node.sexton(&["ps"]).ok().stdout;
                assert!(ps.contains(&launched.pid.to_string()), "{ps}");
                if orphaned {
                    kill(launched.shim_pid);
                    node.wait_state(&launched.id, State::Orphaned);
                }
                freeze(&mut node);
                // The command is there first, the exit is told later: the wish is heard by one that believes it alive.
                let args: Vec<&str> = args.iter().map(|&word| if word == "ID" { id } else { word }).collect();
                let mut asked = node.sexton_command(&args);
                let mut asked = asked.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                gate.exit(7);
                let strangers = strangers(&node, &launched, [true, true]);
                thaw(&mut node);
                let mut status = None;
                wait_for("the command's end", LONG, || {
                    status = asked.try_wait().unwrap();
                    status.is_some()
                });
                if args[0] == "rm" {
                    wait_for("its removal", LONG, || node.list(true).is_empty());
                } else {
                    let source = if orphaned { Source::Pidfd } else { Source::Waited };
                    assert_eq!(told(&ended(&node, &launched)), (ExitStatus::Code(7), source), "{args:?}");
                }
                strangers.into_iter().for_each(Stranger::unharmed);
                node.finish();
            }
        }
    });
}

/// A kernel without pidfd inodes wrote the facts: the start time tells. One with them: a start time that happens to
/// be the same, which is counted in ticks only, deceives nobody.
#[test]
fn with_one_mark_of_identity() {
    if skipped() {
        return;
    }
    in_private_pids("with_one_mark_of_identity", || {
        for alive in KINDS {
            for same_tick in [false, true] {
                let mut node = Node::new();
                let (launched, gate) = gated(&node, "a");
                if same_tick && ProcessIdentity::of(launched.pid).unwrap().pidfs_inode.is_none() {
                    return sexton_tests::skip("this kernel has no pidfd inodes (Linux 6.9)");
                }
                node.kill_daemon();
                kill(launched.shim_pid);
                gate.exit(7);
                let strangers = strangers(&node, &launched, alive);
                let [init, shim] = strangers.each_ref().map(Stranger::identity);
                change_identities(&node, &launched, |process| {
                    let stranger = if process.pid == init.pid { init } else { shim };
                    assert_ne!(process.start_time, stranger.start_time, "they began at the same time");
                    match same_tick {
                        true => process.start_time = stranger.start_time,
                        false => process.pidfs_inode = None,
                    }
                });
                node.start_daemon();
                assert_eq!(told(&ended(&node, &launched)), UNKNOWN, "{alive:?} {same_tick}");
                strangers.into_iter().for_each(Stranger::unharmed);
                node.finish();
            }
        }
    });
}

fn change_identities(node: &Node, launched: &Launched, change: impl Fn(&mut ProcessIdentity)) {
    let dir = node.layout().container(&launched.id);
    let mut launch: sexton_common::Launch = durable::read(&dir.launch()).unwrap().unwrap();
    let mut init: sexton_common::Init = durable::read(&dir.init()).unwrap().unwrap();
    [&mut launch.shim, &mut init.shim, &mut init.process].into_iter().for_each(change);
    durable::write(&dir.launch(), &launch).unwrap();
    durable::write(&dir.init(), &init).unwrap();
}

/// Without pidfd inodes the real ones are found all the same.
#[test]
fn facts_without_inodes_still_mean_their_processes() {
    if skipped() {
        return;
    }
    in_private_pids("facts_without_inodes_still_mean_their_processes", || {
        let mut node = Node::new();
        let (launched, _gate) = gated(&node, "a");
        node.kill_daemon();
        change_identities(&node, &launched, |process| process.pidfs_inode = None);
        node.start_daemon();
        assert_eq!(node.inspect(&launched.id).state, State::Running);
        let _ = node.sexton(&["kill", launched.id.as_str(), "KILL"]).ok();
        let info = ended(&node, &launched);
        assert_eq!(info.status, Some(killed_by(9)));
        node.finish();
    });
}
