//! File, FIFO, pidfd, announcement and scan all tell of the same end, in any order and number: one record, one event
//! per subscriber (I1, I2).
#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

use sexton_common::{
    ContainerId, ExitRecord, ExitStatus, ProcessIdentity, Source, UnknownReason, durable,
    launch::Mode,
    wire::{Event, EventKind, Reply, State},
};
use sexton_tests::{LONG, Node, Subscriber, played::Played, random::Random, skipped, subscriber::Heard, wait_for};
use std::{collections::HashMap, fs, os::fd::AsFd};

/// The order of everything follows from it.
const SEED: u64 = 0x5e78_7044;
const ROUNDS: u64 = 40;
const AT_ONCE: u64 = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// Announced as it should be; again.
    Announce,
    /// Announced without a descriptor, with somebody else's, and as another run.
    AnnounceOddly,
    /// The run's own record into the FIFO; before its end, one that says what is not so.
    Ring,
    /// An older run's record, half a record, noise.
    RingOddly,
    /// Its directory goes away and comes back: inotify tells of it as of a new one.
    Move,
    /// The shim writes its record.
    Write,
    /// Init is reaped: the pidfd hangs up.
    Reap,
    /// The shim dies: the FIFO hangs up.
    EndShim,
    /// The collector is killed and started: it scans.
    Restart,
    /// Init ends.
    End,
}

/// One run's script and what may come of it.
struct Run {
    played: Played,
    script: Vec<Act>,
    code: u8,
    /// The first bytes that were seen in its `exit`.
    seen: Option<Vec<u8>>,
    /// It was reaped before its record was on disk, and the collector that had its pidfd is gone.
    unknowable: bool,
}

fn script(random: &mut Random) -> Vec<Act> {
    use Act::{Announce, AnnounceOddly, End, EndShim, Move, Reap, Restart, Ring, RingOddly, Write};
    let noise = [Announce, Announce, AnnounceOddly, Ring, Ring, RingOddly, Move, Write];
    let mut acts: Vec<Act> = (0..4 + random.below(8)).map(|_| random.pick(&noise)).collect();
    acts.extend([End, Reap, EndShim]);
    // Mostly the shim lives to write its record.
    acts.extend((random.below(4) > 0).then_some(Write));
    acts.extend((random.below(8) == 0).then_some(Restart));
    random.shuffle(&mut acts);
    // Nobody reaps, or is reaped, before the end.
    let end = acts.iter().position(|act| *act == End).unwrap();
    if let Some(reap) = acts[..end].iter().position(|act| *act == Reap) {
        acts.swap(reap, end);
    }
    acts
}

/// The collector, its subscribers, and what was heard of those before it.
struct Stage {
    node: Node,
    ears: Vec<Subscriber>,
    before: Vec<Heard>,
    restarts: u32,
    older: HashMap<ContainerId, Vec<u8>>,
}

impl Stage {
    fn listen(&mut self) {
        self.ears = vec![self.node.subscribe(), Subscriber::in_json(self.node.layout())];
    }

    fn restart(&mut self) {
        self.node.kill_daemon();
        self.before.extend(self.ears.drain(..).map(|ear| ear.heard()));
        self.node.start_daemon();
        self.listen();
        self.restarts += 1;
    }

    fn act(&mut self, run: &mut Run, act: Act, random: &mut Random) {
        let played = &mut run.played;
        let generation = played.launch.generation;
        match act {
            Act::Announce => {
                let answer = played.announce_well(&self.node);
                assert!(matches!(answer, Some(Reply::Done {} | Reply::Error(_))), "{answer:?}");
            }
            Act::AnnounceOddly => {
                let (_, own) = ProcessIdentity::open_pid(std::process::id()).unwrap();
                let (generation, fd) = match random.below(4) {
                    0 => (generation, None),
                    1 => (generation, Some(own.as_fd())),
                    2 => (generation - 1, Some(played.pidfd.as_fd())),
                    _ => (generation + 1, Some(played.pidfd.as_fd())),
                };
                let answer = played.announce(&self.node, generation, fd);
                assert!(answer.is_some());
            }
            Act::Ring => run.played.ring(&durable::encode(&said(run)).unwrap()),
            Act::RingOddly => {
                let record = said(run);
                let whole = durable::encode(&record).unwrap();
                let later = ExitRecord { generation: generation + 1, status: ExitStatus::Code(1), ..record.clone() };
                let bytes = match random.below(5) {
                    0 => whole[..9].to_vec(),
                    1 => vec![0xff; 512],
                    2 => vec![7, 0, 0, 0],
                    3 => durable::encode(&later).unwrap(),
                    _ => self.older.get(&record.id).cloned().unwrap_or_default(),
                };
                run.played.ring(&bytes);
            }
            // What is nowhere to be found while its shim is dead has been removed.
            Act::Move if played.has_shim() && (played.record.is_none() || played.dir.exit().exists()) => {
                let away = self.node.dir().join("away");
                fs::rename(played.dir.path(), &away).unwrap();
                fs::rename(&away, played.dir.path()).unwrap();
            }
            Act::Move => {}
            Act::Write => {
                played.write();
            }
            Act::Reap => played.reap(),
            Act::EndShim => played.end_shim(),
            Act::Restart => self.restart(),
            Act::End => played.end(run.code),
        }
    }
}

/// What the shim says through the FIFO; before the end somebody says it of another process.
fn said(run: &Run) -> ExitRecord {
    let forged = || ExitRecord {
        id: run.played.launch.id.clone(),
        generation: run.played.launch.generation,
        process: Some(ProcessIdentity { start_time: 1, ..run.played.init.process }),
        status: ExitStatus::Code(run.code ^ 1),
        source: Source::Waited,
        oom_killed: None,
        started: None,
        exited: None,
        usage: None,
        memory_peak: None,
        cpu_ns: None,
    };
    run.played.record.clone().unwrap_or_else(forged)
}

fn exits(heard: &Heard, run: &Run) -> Vec<Event> {
    let ours = |event: &Event| {
        let (info, launch) = (&event.container, &run.played.launch);
        event.kind == EventKind::Exited && (&info.id, info.generation) == (&launch.id, launch.generation)
    };
    heard.events.iter().map(|(_, event)| event.clone()).filter(ours).collect()
}

impl Run {
    /// A record never changes once it is there (I1).
    fn look_at_record(&mut self) {
        let Ok(now) = fs::read(self.played.dir.exit()) else {
            assert!(self.seen.is_none(), "the record is gone");
            return;
        };
        assert_eq!(*self.seen.get_or_insert_with(|| now.clone()), now, "the record has changed");
    }

    fn is_right(&self, status: Option<ExitStatus>) -> bool {
        use UnknownReason::{ShimAndCollectorKilled, ShimKilled};
        let unknown = [ShimAndCollectorKilled, ShimKilled].map(|reason| Some(ExitStatus::Unknown { reason }));
        status == Some(ExitStatus::Code(self.code)) || self.unknowable && unknown.contains(&status)
    }

    /// Nobody is told twice, and nobody otherwise; whoever is there at the end has been told once, by the snapshot or
    /// by an event.
    fn was_told_once(&self, stage: &Stage) {
        for heard in &stage.before {
            let exits = exits(heard, self);
            assert!(exits.len() <= 1, "told twice: {exits:?}");
            assert!(exits.iter().all(|event| self.is_right(event.container.status)), "{exits:?}");
        }
        for ear in &stage.ears {
            let launch = &self.played.launch;
            let ours = |(_, event): &(_, Event)| {
                event.container.generation == launch.generation && event.kind == EventKind::Stopped
            };
            let snapshot = |heard: &Heard| {
                heard.snapshot.iter().find(|info| info.generation == launch.generation && info.id == launch.id).cloned()
            };
            wait_for("the last word", LONG, || {
                let heard = ear.heard();
                heard.events.iter().any(ours) || snapshot(&heard).is_some_and(|info| info.state == State::Stopped)
            });
            let heard = ear.heard();
            let shown = snapshot(&heard).and_then(|info| info.status);
            let exits = exits(&heard, self);
            assert_eq!(exits.len() + usize::from(shown.is_some()), 1, "shown {shown:?}, told {exits:?}");
            assert!(exits.iter().all(|event| self.is_right(event.container.status)), "{exits:?}");
            assert!(shown.is_none() || self.is_right(shown), "{shown:?}");
        }
    }
}

#[test]
fn in_any_order_and_number() {
    if skipped() {
        return;
    }
    let mut random = Random(SEED);
    let mut stage = Stage { node: Node::new(), ears: vec![], before: vec![], restarts: 0, older: HashMap::new() };
    stage.listen();
    let mut acts = 0;
    let mut sources: HashMap<String, u32> = HashMap::new();
    for _ in 0..ROUNDS {
        let mut runs: Vec<Run> = (0..AT_ONCE)
            .map(|n| Run {
                played: Played::new(
                    &stage.node,
                    stage.node.id(&n.to_string()),
                    random.pick(&[Mode::Run, Mode::Create]),
                ),
                script: script(&mut random),
                code: u8::try_from(random.below(256)).unwrap(),
                seen: None,
                unknowable: false,
            })
            .collect();
        for run in &mut runs {
            run.script.reverse();
            // As every shim does before it starts anything.
            assert_eq!(run.played.announce_well(&stage.node), Some(Reply::Done {}));
        }
        loop {
            let open: Vec<usize> = (0..runs.len()).filter(|&n| !runs[n].script.is_empty()).collect();
            if open.is_empty() {
                break;
            }
            let chosen = random.pick(&open);
            let act = runs[chosen].script.pop().unwrap();
            if act == Act::Restart {
                for run in &mut runs {
                    run.unknowable |= run.played.is_reaped() && !run.played.dir.exit().exists();
                }
            }
            stage.act(&mut runs[chosen], act, &mut random);
            runs[chosen].look_at_record();
            acts += 1;
        }
        for run in &mut runs {
            let id = run.played.launch.id.clone();
            let info = stage.node.wait(&id);
            assert!(run.is_right(info.status), "{id}: {info:?}, it was {}\n{}", run.code, stage.node.words());
            stage.node.wait_state(&id, State::Stopped);
            run.look_at_record();
            let record = stage.node.record(&id).unwrap();
            assert_eq!((Some(record.status), Some(record.source)), (info.status, info.source), "one record");
            *sources.entry(record.source.to_string()).or_default() += 1;
        }
        runs.iter().for_each(|run| run.was_told_once(&stage));
        for run in &runs {
            // Late: it is over, and stays so.
            run.played.announce_well(&stage.node);
            stage.older.insert(run.played.launch.id.clone(), durable::encode(&said(run)).unwrap());
        }
        runs.iter().for_each(|run| run.was_told_once(&stage));
        for run in &runs {
            stage.node.remove(&run.played.launch.id, false).unwrap();
        }
    }
    println!("{} sequences, {acts} acts, {} restarts, sources {sources:?}", ROUNDS * AT_ONCE, stage.restarts);
    for source in ["waited", "pidfd"] {
        assert!(sources.contains_key(source), "{sources:?}");
    }
    assert!(stage.restarts > 15);
    stage.ears.clear();
    stage.node.finish();
}
