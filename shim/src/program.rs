//! A plain program: a child that waits at the container's gate and then becomes it.

use crate::{args::Plan, home::Home, place::Place, stdio::Streams, sys, user::Who};
use nix::unistd::execve;
use rustix::{
    fs::{AtFlags, Mode, OFlags, openat, unlinkat},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    process::{Signal, setsid},
};
use sexton_common::{gate::Refusal, layout::ContainerDir, workload::Program};
use std::{
    convert::Infallible,
    env,
    ffi::{CString, OsStr, OsString},
    io,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
};

/// Where a program is looked for whose environment does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// All that the child needs: it does nothing but system calls.
struct Prepared<'a> {
    name: &'a str,
    /// In which order it is looked for.
    places: Vec<CString>,
    argv: Vec<CString>,
    envp: Vec<CString>,
    cwd: &'a Path,
    user: Option<(&'a str, &'a Who)>,
}

/// A child that was made, and does nothing yet.
#[derive(Debug)]
pub struct Child {
    /// Its pid.
    pub pid: u32,
    /// Closed without a word it makes it end.
    go: OwnedFd,
}

impl Child {
    /// Makes one. It ends with the shim until it was told to go on.
    pub fn make(plan: &Plan, program: &Program, home: &Home, place: &Place) -> io::Result<Self> {
        let prepared = Prepared::of(program, plan.who.as_ref())?;
        let (wait, go) = pipe_with(PipeFlags::CLOEXEC)?;
        match sys::fork()? {
            Some(pid) => Ok(Self { pid, go }),
            None => live(&prepared, &plan.streams, home, place, &wait),
        }
    }

    /// It may go to the gate: whoever finds the container knows of it.
    pub fn go_on(self) -> io::Result<()> {
        Ok(rustix::io::write(&self.go, &[1]).map(drop)?)
    }
}

fn live(prepared: &Prepared<'_>, streams: &Streams, home: &Home, place: &Place, wait: &OwnedFd) -> ! {
    // Whoever waits for the shim to close the others would wait for us.
    let mut keep = streams.numbers();
    keep.extend([wait.as_raw_fd(), place.directory().as_raw_fd()]);
    sys::close_all_but(&mut keep);
    let _ = prctl::set_name("sexton-init");
    if rustix::io::read(wait, &mut [0; 1]) != Ok(1) {
        sys::leave(125);
    }
    home.leave_to_child();
    let _ = setsid();
    let took = streams.take_place();
    sys::default_signals();
    sys::mask(0);
    let Ok(gate) = at_the_gate(place) else { sys::leave(125) };
    let refused = |what: &str, e: io::Error| Refusal { code: 125, text: format!("{what}: {e}") };
    let refusal = match took.map_err(|e| refused("take its streams", e)).and_then(|()| prepared.become_it()) {
        Ok(never) => match never {},
        Err(refusal) => refusal,
    };
    // Whoever opened the gate may have gone away: that is no reason to end by another status.
    sys::mask(1 << (Signal::PIPE.as_raw() - 1));
    refusal.say(&gate);
    sys::leave(refusal.code)
}

/// Waits until somebody starts us. From then on nobody waits for us any more.
fn at_the_gate(place: &Place) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let gate = loop {
        match openat(place.directory(), ContainerDir::GATE, flags, Mode::empty()) {
            Err(Errno::INTR) => {}
            done => break done?,
        }
    };
    unlinkat(place.directory(), ContainerDir::GATE, AtFlags::empty())?;
    Ok(gate)
}

impl<'a> Prepared<'a> {
    fn of(program: &'a Program, who: Option<&'a Who>) -> io::Result<Self> {
        let text = |word: OsString| CString::new(word.into_vec()).map_err(io::Error::from);
        let environment = environment(program, who);
        let name = program.command.first().map_or("", String::as_str);
        let path = environment.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.as_os_str());
        let places = places(name, path.unwrap_or(PATH.as_ref()));
        let join = |(name, value): (OsString, OsString)| {
            let mut variable = name;
            variable.push("=");
            variable.push(value);
            text(variable)
        };
        Ok(Self {
            name,
            places: places.into_iter().map(|place| text(place.into())).collect::<io::Result<_>>()?,
            argv: program.command.iter().map(|word| text(word.into())).collect::<io::Result<_>>()?,
            envp: environment.into_iter().map(join).collect::<io::Result<_>>()?,
            cwd: program.cwd.as_deref().unwrap_or(Path::new("/")),
            user: program.user.as_deref().zip(who),
        })
    }

    /// In the child, and for good.
    fn become_it(&self) -> Result<Infallible, Refusal> {
        let ours = |text: String| Refusal { code: 125, text };
        if let Some((name, who)) = self.user {
            who.become_it().map_err(|e| ours(format!("become user {name}: {e}: only root can do that")))?;
        }
        env::set_current_dir(self.cwd).map_err(|e| {
            ours(format!("change to {}: {e}: name a directory that this user may enter", self.cwd.display()))
        })?;
        let mut worst = Errno::NOENT;
        for place in &self.places {
            let Err(e) = execve(place, &self.argv, &self.envp);
            let e = Errno::from_raw_os_error(e as i32);
            // As a shell has it: what is there but cannot be executed is told only if no other is found.
            match e {
                Errno::NOENT | Errno::NOTDIR if worst == Errno::ACCESS => {}
                Errno::NOENT | Errno::NOTDIR => worst = e,
                Errno::ACCESS => worst = e,
                _ => {
                    worst = e;
                    break;
                }
            }
        }
        Err(self.refusal(worst))
    }

    fn refusal(&self, errno: Errno) -> Refusal {
        let (name, e) = (self.name, io::Error::from(errno));
        match errno {
            Errno::NOENT | Errno::NOTDIR if name.contains('/') => {
                let hint = "is the path right, and is the interpreter there that its first line names?";
                Refusal { code: 127, text: format!("execute {name}: {e}: {hint}") }
            }
            Errno::NOENT | Errno::NOTDIR => Refusal {
                code: 127,
                text: format!("execute {name}: not found in its PATH: give a path, or --env PATH=..."),
            },
            Errno::TOOBIG | Errno::NOMEM | Errno::AGAIN => Refusal { code: 126, text: format!("execute {name}: {e}") },
            _ => Refusal { code: 126, text: format!("execute {name}: {e}: is it an executable file?") },
        }
    }
}

/// Ours, then what a login of its user has, then what was given; of each name the last one.
fn environment(program: &Program, who: Option<&Who>) -> Vec<(OsString, OsString)> {
    let mut all: Vec<(OsString, OsString)> = env::vars_os().collect();
    let mut set = |name: &str, value: Option<&str>| {
        all.retain(|(there, _)| there != name);
        all.extend(value.map(|value| (name.into(), value.into())));
    };
    for (name, value) in who.map(Who::variables).unwrap_or_default() {
        set(name, value);
    }
    for (name, value) in program.env.iter().filter_map(|variable| variable.split_once('=')) {
        set(name, Some(value));
    }
    all
}

/// Where it is looked for. An empty part of the path is the working directory (execvp(3)).
fn places(name: &str, path: &OsStr) -> Vec<PathBuf> {
    if name.contains('/') {
        return vec![name.into()];
    }
    let parts = path.as_bytes().split(|&byte| byte == b':').map(|part| Path::new(OsStr::from_bytes(part)));
    parts.map(|dir| if dir.as_os_str().is_empty() { Path::new(".").join(name) } else { dir.join(name) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_for_where_their_own_path_says() {
        let of = |name: &str, path: &str| places(name, path.as_ref());
        assert_eq!(of("sh", "/a:/b"), [PathBuf::from("/a/sh"), "/b/sh".into()]);
        assert_eq!(of("sh", "/a::"), [PathBuf::from("/a/sh"), "./sh".into(), "./sh".into()]);
        assert_eq!(of("./sh", "/a"), [PathBuf::from("./sh")]);
    }

    #[test]
    fn the_last_of_a_name_counts() {
        let env = ["A=1", "PATH=/x", "A=2=3"].map(str::to_owned).to_vec();
        let program = Program { command: vec!["a".into()], env, ..Program::default() };
        let all = environment(&program, Some(&crate::user::find("1234567").unwrap()));
        let of = |name: &str| {
            let mut found = all.iter().filter(|(there, _)| there == name).map(|(_, value)| value.to_str().unwrap());
            (found.next(), found.next())
        };
        assert_eq!(of("A"), (Some("2=3"), None));
        assert_eq!(of("PATH"), (Some("/x"), None));
        assert_eq!((of("HOME"), of("USER")), ((Some("/"), None), (None, None)));
    }

    #[test]
    fn refusals_have_the_codes_of_a_shell() {
        let program = |name: &str| Program { command: vec![name.into()], ..Program::default() };
        let (short, long) = (program("nope"), program("/no/pe"));
        let of = |program, errno| Prepared::of(program, None).unwrap().refusal(errno);
        assert_eq!(of(&short, Errno::NOENT).code, 127);
        assert!(of(&short, Errno::NOENT).text.contains("nope: not found in its PATH"));
        assert!(of(&long, Errno::NOENT).text.contains("interpreter"));
        for errno in [Errno::ACCESS, Errno::NOEXEC, Errno::ISDIR, Errno::PERM, Errno::TXTBSY, Errno::TOOBIG] {
            assert_eq!(of(&long, errno).code, 126, "{errno:?}");
        }
    }
}
