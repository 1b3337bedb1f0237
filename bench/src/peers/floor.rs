//! The floor: the least that a container's parent can be, which waits for it and does nothing else (`helpers/floor.c`).

use super::{Engine, Exit, Exits, Home, Listening, Running};
use crate::{
    guest::{Guest, now},
    plan::Plan,
};
use sexton_common::ContainerId;
use sexton_tests::{LONG, helper, wait_for};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Mutex,
    thread,
};

/// See the module.
pub struct Floor {
    home: Home,
    program: PathBuf,
    /// Into which all parents write.
    mouth: Mutex<std::io::PipeWriter>,
    ear: std::io::PipeReader,
}

/// What the program calls itself.
const NAME: &str = "floor";
/// What the listener reads when it is to end.
const STOP: &str = "stop";

impl Floor {
    /// Nothing runs as yet.
    pub fn new(plan: &Plan) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("helpers/floor.c");
        let program = helper::compiled(&source, &["-static"]);
        let (ear, mouth) = std::io::pipe().unwrap();
        Self { home: Home::new(plan, false), program, mouth: Mutex::new(mouth), ear }
    }

    fn mouth(&self) -> std::io::PipeWriter {
        self.mouth.lock().unwrap().try_clone().unwrap()
    }

    fn pid_file(&self, id: &ContainerId) -> PathBuf {
        self.home.volatile("floor").join(id.as_str())
    }
}

impl Engine for Floor {
    fn home(&self) -> &Home {
        &self.home
    }

    fn run(&self, guest: &Guest) -> Running {
        let pid_file = self.pid_file(&guest.id);
        let runc = self.home.runc("run");
        let mut command = self.home.command(&self.program);
        command.arg(&pid_file).arg(guest.id.as_str()).arg(runc.get_program()).args(runc.get_args());
        command.args(["-d", "--bundle"]).arg(&guest.bundle).arg("--pid-file").arg(&pid_file).arg(guest.id.as_str());
        command.stdin(Stdio::null()).stdout(self.mouth()).stderr(Stdio::null());
        let asked = now();
        let mut parent = command.spawn().unwrap();
        // That is what it calls itself once its container is its child.
        let comm = format!("/proc/{}/comm", parent.id());
        wait_for("the smallest parent", LONG, || fs::read_to_string(&comm).is_ok_and(|comm| comm.trim() == NAME));
        let init = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
        // It ends with its container.
        thread::spawn(move || parent.wait());
        self.home.born(guest, asked, Some(NAME), || init)
    }

    fn listen(&self) -> Option<Exits> {
        let (ear, mouth) = (self.ear.try_clone().unwrap(), self.mouth());
        let stop = move || {
            let _ = std::io::Write::write_all(&mut &mouth, format!("{STOP}\n").as_bytes());
        };
        // What was told to nobody is still in the pipe.
        let begun = now();
        Some(Listening::start(stop, move |sender| {
            let lines = BufReader::new(ear).lines().map_while(Result::ok).take_while(|line| line != STOP);
            for exit in lines.map(|line| exit_in(&line).unwrap()).filter(|exit| exit.at >= begun) {
                let _ = sender.send(exit);
            }
        }))
    }

    fn clean(&self, id: &ContainerId) {
        self.home.call_runc("delete", &[id.as_str()]);
    }

    fn remove(&self, id: &ContainerId) {
        self.home.remove(id);
    }
}

/// The program's only line.
fn exit_in(line: &str) -> Option<Exit> {
    let mut words = line.split(' ');
    Some(Exit { id: words.next()?.into(), at: words.next()?.parse().ok()?, code: words.next()?.parse().ok() })
}
