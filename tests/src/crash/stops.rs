//! What the tracer does at a system call of the process that is meant.

use super::{
    calls,
    killer::Kill,
    sys::{At, Call, at},
    tracer::{REMEMBERED, Tracer},
};
use nix::{
    libc,
    sys::{
        ptrace,
        signal::{Signal, kill},
    },
    unistd::Pid,
};
use std::sync::atomic::Ordering;

impl Tracer {
    pub(super) fn on_call(&mut self, pid: Pid) {
        let Some(at) = at(pid) else { return };
        if self.disk.is_some() {
            return self.on_disk_call(pid, at);
        }
        if self.report.kill.is_some() {
            return;
        }
        self.report.stops += 1;
        self.told.stops.store(self.report.stops, Ordering::SeqCst);
        let (entry, number) = match at {
            At::Entry(call) => {
                self.inside.insert(pid, call);
                (true, Some(call.number))
            }
            At::Exit => {
                let call = self.inside.get(&pid);
                call.inspect(|call| self.set_clock(pid, call));
                (false, call.map(|call| call.number))
            }
        };
        let call = number.map_or_else(|| "(birth)".to_owned(), calls::name);
        if self.order.at == Some(self.report.stops) {
            let before = self.lately.drain(..).collect();
            self.report.kill = Some(Kill { stop: self.report.stops, entry, call, before });
            let target = self.target.unwrap_or(pid);
            let _ = kill(target, Signal::SIGKILL);
            self.told.killed.store(true, Ordering::SeqCst);
            return;
        }
        if entry {
            self.remember(call);
        }
        self.go_on(pid, None);
    }

    /// What the kernel has just said of the wall clock is not what the process gets to see.
    fn set_clock(&self, pid: Pid, call: &Call) {
        let off = self.order.clock_off.load(Ordering::SeqCst);
        let asked =
            (call.number, call.args[0]) == (libc::SYS_clock_gettime, libc::CLOCK_REALTIME.cast_unsigned().into());
        let seconds = call.args[1] as ptrace::AddressType;
        if off != 0 && asked {
            let now = ptrace::read(pid, seconds).unwrap();
            ptrace::write(pid, seconds, now + off).unwrap();
        }
    }

    fn on_disk_call(&mut self, pid: Pid, at: At) {
        let Some(disk) = &mut self.disk else { return };
        let call = match at {
            At::Entry(call) => disk.changed(pid, call.number, call.args),
            At::Exit => {
                disk.answer(pid);
                None
            }
        };
        if self.told.healed.load(Ordering::SeqCst) {
            disk.heal();
        } else if let Some(call) = call {
            self.report.stops += 1;
            if self.order.at == Some(self.report.stops) {
                let before = self.lately.drain(..).collect();
                self.report.kill = Some(Kill { stop: self.report.stops, entry: true, call: call.clone(), before });
                self.told.killed.store(true, Ordering::SeqCst);
            }
            if self.report.kill.is_some() && disk.fails() {
                disk.take(pid);
                self.report.failed = disk.failed;
                self.told.failed.store(disk.failed, Ordering::SeqCst);
            }
            self.remember(call);
        }
        self.go_on(pid, None);
    }

    pub(super) fn remember(&mut self, call: String) {
        if self.lately.len() == REMEMBERED {
            self.lately.pop_front();
        }
        self.lately.push_back(call);
    }
}
