//! `sexton-shim`: parent of one container's init, and writer of its exit record.
//!
//! From the first fork to the exit record nothing here may panic (I8): no indexing, no `println!`, whose
//! panic on a closed pipe would cost a status; errors of telling somebody something are ignored.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::unreachable
)]
#![cfg_attr(test, allow(clippy::indexing_slicing, clippy::string_slice))]

mod announce;
mod args;
mod birth;
mod cgroups;
mod child;
mod exec_fifo;
mod home;
mod lasting;
mod leftovers;
mod lifecycle;
mod oci;
mod place;
mod process;
mod program;
mod report;
mod shim;
mod stdio;
mod sys;
mod undo;
mod user;
mod watch;
mod words;
mod workload;

use args::{Command, Plan};
use birth::Side;
use report::Teller;
use sexton_common::unborn;
use std::os::fd::OwnedFd;

fn main() {
    let code = match begin() {
        Ok((plan, teller)) => shim::live(plan, teller),
        Err(code) => code,
    };
    sys::leave(code);
}

/// What to do as the shim; to everybody else, what to leave with.
#[inline(never)]
fn begin() -> Result<(Box<Plan>, Teller), u8> {
    birth::plain_umask();
    let plan = match args::parse(lexopt::Parser::from_env()) {
        Ok(Command::Help) => return Err(report::print(args::HELP)),
        Ok(Command::Version) => return Err(report::print(concat!("sexton-shim ", env!("CARGO_PKG_VERSION"), "\n"))),
        Ok(Command::Launch(plan)) => plan,
        Err(failure) => return Err(report::failed(&failure)),
    };
    match birth::roots(&plan.layout, !plan.cleanup.is_empty()).and_then(|()| birth::fork_twice()) {
        Ok(Side::Shim(teller)) => Ok((plan, teller)),
        Ok(Side::First(ear)) => Err(first(&plan, ear)),
        Err(failure) => Err(report::failed(&failure)),
    }
}

/// The process that was called: passes on what the shim says.
fn first(plan: &Plan, ear: OwnedFd) -> u8 {
    let passed = report::answer_for(ear, &plan.id);
    // It never got as far as a name that anybody else would find.
    if let Some(killed) = passed.killed {
        let unborn = plan.layout.unborn(killed.pid);
        // Another shim may have its pid by now, and fill a directory of that name.
        if killed.has_its_pid() || unborn::is_abandoned(&unborn, killed.pid) {
            lasting::bury_unborn(&plan.layout, killed.pid);
        }
    }
    passed.code
}
