//! System calls have names.

use nix::libc::{self, c_long};

/// What every architecture has.
#[rustfmt::skip]
const CALLS: &[(c_long, &str)] = &[
    (libc::SYS_read, "read"), (libc::SYS_write, "write"), (libc::SYS_close, "close"), (libc::SYS_fstat, "fstat"),
    (libc::SYS_lseek, "lseek"), (libc::SYS_mmap, "mmap"), (libc::SYS_mprotect, "mprotect"),
    (libc::SYS_munmap, "munmap"), (libc::SYS_brk, "brk"), (libc::SYS_rt_sigaction, "rt_sigaction"),
    (libc::SYS_rt_sigprocmask, "rt_sigprocmask"), (libc::SYS_rt_sigreturn, "rt_sigreturn"),
    (libc::SYS_ioctl, "ioctl"), (libc::SYS_pread64, "pread64"), (libc::SYS_pwrite64, "pwrite64"),
    (libc::SYS_readv, "readv"), (libc::SYS_writev, "writev"), (libc::SYS_sched_yield, "sched_yield"),
    (libc::SYS_madvise, "madvise"), (libc::SYS_nanosleep, "nanosleep"), (libc::SYS_getpid, "getpid"),
    (libc::SYS_socket, "socket"), (libc::SYS_connect, "connect"), (libc::SYS_accept, "accept"),
    (libc::SYS_accept4, "accept4"), (libc::SYS_sendto, "sendto"), (libc::SYS_recvfrom, "recvfrom"),
    (libc::SYS_sendmsg, "sendmsg"), (libc::SYS_recvmsg, "recvmsg"), (libc::SYS_shutdown, "shutdown"),
    (libc::SYS_bind, "bind"), (libc::SYS_listen, "listen"), (libc::SYS_getsockname, "getsockname"),
    (libc::SYS_getpeername, "getpeername"), (libc::SYS_socketpair, "socketpair"),
    (libc::SYS_setsockopt, "setsockopt"), (libc::SYS_getsockopt, "getsockopt"), (libc::SYS_clone, "clone"),
    (libc::SYS_clone3, "clone3"), (libc::SYS_execve, "execve"), (libc::SYS_exit, "exit"), (libc::SYS_wait4, "wait4"),
    (libc::SYS_waitid, "waitid"), (libc::SYS_kill, "kill"), (libc::SYS_tkill, "tkill"), (libc::SYS_tgkill, "tgkill"),
    (libc::SYS_uname, "uname"), (libc::SYS_fcntl, "fcntl"), (libc::SYS_flock, "flock"), (libc::SYS_fsync, "fsync"),
    (libc::SYS_fdatasync, "fdatasync"), (libc::SYS_truncate, "truncate"), (libc::SYS_ftruncate, "ftruncate"),
    (libc::SYS_getcwd, "getcwd"), (libc::SYS_chdir, "chdir"), (libc::SYS_fchdir, "fchdir"),
    (libc::SYS_fchmod, "fchmod"), (libc::SYS_fchmodat, "fchmodat"), (libc::SYS_fchown, "fchown"),
    (libc::SYS_umask, "umask"), (libc::SYS_getrusage, "getrusage"), (libc::SYS_sysinfo, "sysinfo"),
    (libc::SYS_getuid, "getuid"), (libc::SYS_getgid, "getgid"), (libc::SYS_setuid, "setuid"),
    (libc::SYS_setgid, "setgid"), (libc::SYS_geteuid, "geteuid"), (libc::SYS_getegid, "getegid"),
    (libc::SYS_setpgid, "setpgid"), (libc::SYS_getppid, "getppid"), (libc::SYS_getpgid, "getpgid"),
    (libc::SYS_setsid, "setsid"), (libc::SYS_getsid, "getsid"), (libc::SYS_getgroups, "getgroups"),
    (libc::SYS_sigaltstack, "sigaltstack"), (libc::SYS_statfs, "statfs"), (libc::SYS_fstatfs, "fstatfs"),
    (libc::SYS_prctl, "prctl"), (libc::SYS_setrlimit, "setrlimit"), (libc::SYS_getrlimit, "getrlimit"),
    (libc::SYS_prlimit64, "prlimit64"), (libc::SYS_mount, "mount"), (libc::SYS_umount2, "umount2"),
    (libc::SYS_gettid, "gettid"), (libc::SYS_futex, "futex"), (libc::SYS_sched_getaffinity, "sched_getaffinity"),
    (libc::SYS_sched_setaffinity, "sched_setaffinity"), (libc::SYS_getdents64, "getdents64"),
    (libc::SYS_set_tid_address, "set_tid_address"), (libc::SYS_clock_gettime, "clock_gettime"),
    (libc::SYS_clock_nanosleep, "clock_nanosleep"), (libc::SYS_exit_group, "exit_group"),
    (libc::SYS_epoll_create1, "epoll_create1"), (libc::SYS_epoll_ctl, "epoll_ctl"),
    (libc::SYS_epoll_pwait, "epoll_pwait"), (libc::SYS_epoll_pwait2, "epoll_pwait2"),
    (libc::SYS_inotify_init1, "inotify_init1"), (libc::SYS_inotify_add_watch, "inotify_add_watch"),
    (libc::SYS_inotify_rm_watch, "inotify_rm_watch"), (libc::SYS_openat, "openat"), (libc::SYS_openat2, "openat2"),
    (libc::SYS_mkdirat, "mkdirat"), (libc::SYS_mknodat, "mknodat"), (libc::SYS_fchownat, "fchownat"),
    (libc::SYS_newfstatat, "newfstatat"), (libc::SYS_unlinkat, "unlinkat"), (libc::SYS_renameat, "renameat"),
    (libc::SYS_renameat2, "renameat2"), (libc::SYS_linkat, "linkat"), (libc::SYS_symlinkat, "symlinkat"),
    (libc::SYS_readlinkat, "readlinkat"), (libc::SYS_faccessat, "faccessat"), (libc::SYS_faccessat2, "faccessat2"),
    (libc::SYS_pselect6, "pselect6"), (libc::SYS_ppoll, "ppoll"), (libc::SYS_set_robust_list, "set_robust_list"),
    (libc::SYS_get_robust_list, "get_robust_list"), (libc::SYS_splice, "splice"), (libc::SYS_tee, "tee"),
    (libc::SYS_utimensat, "utimensat"), (libc::SYS_signalfd4, "signalfd4"),
    (libc::SYS_timerfd_create, "timerfd_create"), (libc::SYS_timerfd_settime, "timerfd_settime"),
    (libc::SYS_timerfd_gettime, "timerfd_gettime"), (libc::SYS_eventfd2, "eventfd2"), (libc::SYS_dup, "dup"),
    (libc::SYS_dup3, "dup3"), (libc::SYS_pipe2, "pipe2"), (libc::SYS_getrandom, "getrandom"),
    (libc::SYS_memfd_create, "memfd_create"), (libc::SYS_execveat, "execveat"), (libc::SYS_membarrier, "membarrier"),
    (libc::SYS_copy_file_range, "copy_file_range"), (libc::SYS_statx, "statx"), (libc::SYS_rseq, "rseq"),
    (libc::SYS_pidfd_send_signal, "pidfd_send_signal"), (libc::SYS_pidfd_open, "pidfd_open"),
    (libc::SYS_pidfd_getfd, "pidfd_getfd"), (libc::SYS_close_range, "close_range"), (libc::SYS_sync, "sync"),
    (libc::SYS_syncfs, "syncfs"), (libc::SYS_mremap, "mremap"), (libc::SYS_rt_sigtimedwait, "rt_sigtimedwait"),
    (libc::SYS_rt_sigsuspend, "rt_sigsuspend"), (libc::SYS_sendmmsg, "sendmmsg"), (libc::SYS_recvmmsg, "recvmmsg"),
    (libc::SYS_restart_syscall, "restart_syscall"),
];

/// What only the oldest ones have.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const OLD: &[(c_long, &str)] = &[
    (libc::SYS_open, "open"), (libc::SYS_stat, "stat"), (libc::SYS_lstat, "lstat"), (libc::SYS_poll, "poll"),
    (libc::SYS_access, "access"), (libc::SYS_pipe, "pipe"), (libc::SYS_select, "select"), (libc::SYS_dup2, "dup2"),
    (libc::SYS_fork, "fork"), (libc::SYS_vfork, "vfork"), (libc::SYS_mkdir, "mkdir"), (libc::SYS_rmdir, "rmdir"),
    (libc::SYS_unlink, "unlink"), (libc::SYS_rename, "rename"), (libc::SYS_readlink, "readlink"),
    (libc::SYS_chmod, "chmod"), (libc::SYS_chown, "chown"), (libc::SYS_getdents, "getdents"),
    (libc::SYS_getpgrp, "getpgrp"), (libc::SYS_arch_prctl, "arch_prctl"), (libc::SYS_epoll_wait, "epoll_wait"),
    (libc::SYS_epoll_create, "epoll_create"), (libc::SYS_eventfd, "eventfd"), (libc::SYS_signalfd, "signalfd"),
    (libc::SYS_inotify_init, "inotify_init"), (libc::SYS_time, "time"), (libc::SYS_mknod, "mknod"),
    (libc::SYS_creat, "creat"), (libc::SYS_link, "link"), (libc::SYS_symlink, "symlink"),
];

#[cfg(not(target_arch = "x86_64"))]
const OLD: &[(c_long, &str)] = &[];

/// The name, or the number where we know none.
#[must_use]
pub fn name(number: i64) -> String {
    let known = CALLS.iter().chain(OLD).find(|(known, _)| *known == number);
    known.map_or_else(|| format!("system call {number}"), |(_, name)| (*name).to_owned())
}
