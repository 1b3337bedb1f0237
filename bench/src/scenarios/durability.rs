//! What it costs that facts outlive a crash of the machine.

use crate::{
    guest::{Guest, ms, now},
    listen::Listener,
    machine::file_system,
    plan::{self, Plan},
    report::{Scenario, Unit},
    summary::{Samples, Stat},
};
use sexton_common::{
    Stamp, durable,
    launch::Clean,
    wire::{EventKind, State},
};
use sexton_tests::{Node, Options, binaries};
use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    process::Command,
    thread::JoinHandle,
};

mod fsyncs;

/// What is measured.
pub const TITLE: &str = "What the fsyncs cost: the same with the state directory on disk and on a tmpfs, where they \
                         are free";

const START: &str = "start, until the first instruction";
const API: &str = "last instruction to subscriber";
const FIFO: &str = "last instruction to FIFO, no collector";
const CLEAN: &str = "last instruction to clean";
const WRITE: &str = "one durable fact";
const PLACES: [&str; 2] = ["sexton, on disk", "sexton, on tmpfs"];

/// Of each kind of measure, on one place.
#[derive(Default)]
struct Figures {
    start: Samples,
    api: Samples,
    fifo: Samples,
    clean: Samples,
    write: Samples,
}

/// Both places in turn.
pub fn measure(plan: &Plan, scenario: &mut Scenario) {
    let Some(memory) = plan::in_memory() else {
        return scenario.note("There is no tmpfs at /run or /dev/shm: not measured.");
    };
    // Where the runtime's state is, wherever ours is.
    let runtimes = Node::with_state_on(Some(&memory), Options { daemon: false, ..Options::default() });
    let mut places = [None, Some(&*memory)].map(|place| Place::new(place, runtimes.runtime_root()));
    let mut figures = [Figures::default(), Figures::default()];
    let [disk, tmpfs] = &mut figures;
    let [on_disk, in_memory] = &mut places;
    plan.turns(
        "a container on disk, and on tmpfs",
        plan.of(60, 8),
        &mut [&mut |n| on_disk.container(n, disk), &mut |n| in_memory.container(n, tmpfs)],
    );
    plan.turns(
        "one fact on disk, and on tmpfs",
        plan.of(400, 100),
        &mut [&mut |n| disk.write.push(on_disk.write(n)), &mut |n| tmpfs.write.push(in_memory.write(n))],
    );
    for (name, figures) in PLACES.iter().zip(&figures) {
        let Figures { start, api, fifo, clean, write } = figures;
        for (what, samples) in [(WRITE, write), (FIFO, fifo), (API, api), (CLEAN, clean), (START, start)] {
            scenario.row(what, "", name, Unit::Ms, samples);
        }
    }
    for what in [WRITE, FIFO, API, CLEAN, START] {
        scenario.compare(what, "", Stat::Median, PLACES[0], PLACES[1], None);
    }
    scenario.note(format!(
        "On disk is {}, on tmpfs is {}. The runtime's own state is on the tmpfs, and /var/lib/sexton on disk, in both; \
         where /run is a tmpfs, as on most machines, the second is what users have.",
        file_system(places[0].with.layout().state()),
        file_system(places[1].with.layout().state())
    ));
    plan.say("how many fsyncs");
    fsyncs::count(&places[0].with, &places[0].root, scenario);
    for Place { with, events, without, .. } in places {
        drop(events);
        with.finish();
        without.finish();
    }
    runtimes.finish();
}

/// Two nodes whose state is on one place.
struct Place {
    /// With a collector.
    with: Node,
    events: Listener,
    /// Without.
    without: Node,
    /// The runtime's.
    root: PathBuf,
}

impl Place {
    fn new(place: Option<&Path>, root: PathBuf) -> Self {
        let with = Node::with_state_on(place, Options::default());
        let without = Node::with_state_on(place, Options { daemon: false, ..Options::default() });
        Self { events: Listener::new(&with), with, without, root }
    }

    fn container(&mut self, n: usize, figures: &mut Figures) {
        let guest = Guest::new(&self.with, &format!("d{n}"), 7);
        figures.start.push(self.start(&self.with, &guest));
        guest.end();
        let stopped = self.events.wait(&guest.id, EventKind::Stopped);
        let exited = self.events.wait(&guest.id, EventKind::Exited);
        let ended = guest.ended().unwrap();
        figures.api.push(ms(ended, exited));
        figures.clean.push(ms(ended, stopped));
        assert_eq!(self.with.inspect(&guest.id).state, State::Stopped);
        self.with.remove(&guest.id, false).unwrap();

        let guest = Guest::new(&self.without, &format!("d{n}"), 7);
        self.start(&self.without, &guest);
        let heard = listen(self.without.layout().container(&guest.id).exit_fifo());
        guest.end();
        let at = heard.join().unwrap();
        figures.fifo.push(ms(guest.ended().unwrap(), at));
        self.bury(&guest);
    }

    /// By the shim, as engines call it; how long it took.
    fn start(&self, node: &Node, guest: &Guest) -> f64 {
        let from = now();
        let status = shim(node, &self.root, guest).status().unwrap();
        assert!(status.success(), "{}: {status}", guest.id);
        ms(from, guest.wait_began())
    }

    /// What an engine does that has no collector.
    fn bury(&self, guest: &Guest) {
        let mut delete = Command::new(binaries::runc());
        delete.arg("--root").arg(&self.root).args(["delete", guest.id.as_str()]);
        assert!(delete.status().unwrap().success(), "{delete:?}");
        std::fs::remove_dir_all(self.without.layout().container(&guest.id).path()).unwrap();
    }

    fn write(&self, n: usize) -> f64 {
        let path = self.with.layout().state().join("fact");
        let fact = Clean { generation: n as u64, at: Stamp::now() };
        let from = now();
        durable::write(&path, &fact).unwrap();
        let took = ms(from, now());
        std::fs::remove_file(path).unwrap();
        took
    }
}

fn shim(node: &Node, root: &Path, guest: &Guest) -> Command {
    let mut command = Command::new(binaries::shim());
    command.args(["run", "--id", guest.id.as_str(), "--bundle"]).arg(&guest.bundle);
    command.arg("--runtime-root").arg(root);
    command.arg("--state-dir").arg(node.layout().state()).arg("--data-dir").arg(node.layout().data());
    command.env("SEXTON_TEST_NODE", node.prefix()).env_remove("SEXTON_STATE_DIR");
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    command
}

/// The instant at which the doorbell is heard.
fn listen(fifo: PathBuf) -> JoinHandle<u64> {
    // Both directions: nobody hangs up before it has rung.
    let mut fifo = File::options().read(true).write(true).open(fifo).unwrap();
    std::thread::spawn(move || {
        let read = fifo.read(&mut [0; 512]).unwrap();
        assert!(read > 0, "a record, not the end");
        now()
    })
}
