use super::*;
use std::process::{Command, Stdio};

#[test]
fn a_process_is_itself_until_it_is_reaped() {
    let mut child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
    let identity = ProcessIdentity::of(child.id()).unwrap();
    assert!(matches!(identity.look().unwrap(), Presence::Alive(_)));
    let other = ProcessIdentity { start_time: identity.start_time + 1, ..identity };
    assert!(other.open().unwrap().is_none(), "same pid, other start time");
    let other = ProcessIdentity { boot_id: BootId([1; 16]), ..identity };
    assert!(other.open().unwrap().is_none(), "same pid, other boot");
    if let Some(inode) = identity.pidfs_inode {
        let other = ProcessIdentity { pidfs_inode: Some(inode + 1), ..identity };
        assert!(other.open().unwrap().is_none(), "same pid, other pidfd inode");
    }
    let fd = identity.open().unwrap().unwrap();
    child.kill().unwrap();
    let mut ready = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut ready, None).unwrap();
    let Presence::Zombie(_, status) = identity.look().unwrap() else { panic!("a zombie was expected") };
    assert_eq!(status & 0x7f, 9);
    child.wait().unwrap();
    assert!(matches!(identity.look().unwrap(), Presence::Gone));
    assert!(identity.open().unwrap().is_none());
}

#[test]
fn nobody_is_nobody() {
    assert_eq!(ProcessIdentity::of(0).unwrap_err().kind(), io::ErrorKind::NotFound);
    assert!(ProcessIdentity::of(u32::MAX).is_err());
    assert!(ProcessIdentity::gone(std::process::id()).unwrap().open().unwrap().is_none());
}

#[test]
fn a_stat_line_with_a_hostile_name_is_understood() {
    let mut line = b"7 (a) Z 1 (\n) S 3 ".to_vec();
    line.extend((5..=52).map(|n| format!("{n} ")).collect::<String>().into_bytes());
    let stat = Stat::parse(&line).unwrap();
    assert_eq!(stat, Stat { state: b'S', ppid: 3, session: 6, flags: 9, threads: 20, start_time: 22, exit_code: 52 });
    // As it is while it is being reaped.
    let reaped = Stat::parse(format!("7 (a) X 3 -1 -1 {}1 0 22 0", "0 ".repeat(13)).as_bytes());
    assert_eq!(reaped.map(|stat| (stat.session, stat.start_time)), Some((0, 22)));
    for end in 0..line.len() {
        let _ = Stat::parse(&line[..end]);
    }
}

#[test]
fn a_boot_id_is_a_uuid() {
    let text = "01234567-89ab-cdef-0123-456789abcdef";
    assert_eq!(BootId::parse(text).unwrap().to_string(), text);
    assert!(BootId::parse("0123").is_none());
    assert!(BootId::parse(&format!("{text}0")).is_none());
}

/// Field 52 of whoever has the pid now is not ours.
#[test]
fn a_stranger_s_end_is_not_taken() {
    let mut child = Command::new("sh").args(["-c", "exit 77"]).spawn().unwrap();
    let (stranger, fd) = ProcessIdentity::open_pid(child.id()).unwrap();
    let mut ready = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut ready, None).unwrap();
    let earlier = ProcessIdentity { start_time: stranger.start_time - 1, ..stranger };
    let mut others = vec![earlier, ProcessIdentity { pidfs_inode: None, ..earlier }];
    if let Some(inode) = stranger.pidfs_inode {
        // Begun in the same tick.
        let other = ProcessIdentity { pidfs_inode: Some(inode - 1), ..stranger };
        assert!(!other.is(&fd));
        others.push(other);
    }
    for other in others {
        assert!(matches!(other.look().unwrap(), Presence::Gone), "{other:?}");
    }
    // Written down by a kernel without pidfd inodes, it is itself all the same.
    for itself in [stranger, ProcessIdentity { pidfs_inode: None, ..stranger }] {
        assert!(matches!(itself.look().unwrap(), Presence::Zombie(_, 0x4d00)), "{itself:?}");
    }
    child.wait().unwrap();
    assert_eq!(stranger.is(&fd), stranger.pidfs_inode.is_some(), "reaped, its pidfd is still its own");
    assert!(!stranger.is(std::fs::File::open("/proc/self/stat").unwrap()));
}
