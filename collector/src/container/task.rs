//! A container's task: the only owner of its state.
//!
//! It waits for whatever may happen to the container, asks the machine what follows, and has it done
//! (`act.rs`). One thing at a time: commands on one container are serial (I7).

use super::{
    Both, Facts, Message,
    answer::Awaited,
    event::Event,
    happened::Happened,
    held::Held,
    job::{Job, JobEnd},
    machine::{Machine, Phase},
    pause::Freeze,
    rules::{self, Then},
    wish::Answer,
};
use crate::{
    context::Context,
    exit::Verdict,
    gc::Progress,
    mailbox::Post,
    surplus::Member,
    watch::{Fifo, InitWatch, Watched},
};
use sexton_common::{ContainerId, Init, Stamp, launch::Mode, layout::ContainerDir};
use std::{os::fd::OwnedFd, sync::Arc, time::Duration};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
    time::Instant,
};

/// How long a zombie may wait for its reaper before its `/proc` entry is taken as the source: PID 1 may be
/// late, and the word of the kernel on a reaped process is the better one.
pub(super) const REAPED_WITHIN: Duration = Duration::from_secs(5);
/// When a watch could not be set up, e.g. for want of descriptors: look again.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// After its shim's death: the runtime, killed with it, may have started it in its last moment.
pub(super) const STARTED_WITHIN: Duration = Duration::from_millis(200);
/// What our own shim has: it tells at once, unless it is stopped or its disk hangs.
const SHIM_TELLS_WITHIN: Duration = Duration::from_secs(10);
/// What a foreign shim has for telling, once its container is dead.
pub(super) const FOREIGN_TELLS_WITHIN: Duration = Duration::from_secs(2);
/// What SIGKILL takes where nothing is in its way; past it the container is in GC.
pub(super) const DIES_SOON: Duration = Duration::from_secs(2);
/// Clients that wait for one container.
pub(super) const WAITERS: usize = 4096;

/// See the module.
pub struct Task {
    pub(super) cx: Arc<Context>,
    pub(super) held: Held,
    pub(super) verdict: Option<Box<Verdict>>,
    pub(super) machine: Machine,
    pub(super) started: Option<Stamp>,
    pub(super) fifo: Option<Fifo>,
    /// It hung up on us: somebody had it open, and nobody has any more.
    pub(super) hung_up: bool,
    /// Watched instead of a FIFO that cannot tell.
    pub(super) shim: Option<Box<InitWatch>>,
    pub(super) watch: Option<InitWatch>,
    /// Watched by a slower way, for want of descriptors.
    pub(super) slow: Option<Box<Member>>,
    /// Init has been reaped: its pidfd is kept for its status only.
    pub(super) reaped: bool,
    /// It was killed because nobody would have started it.
    pub(super) never_began: bool,
    /// When init was seen dead, which may be long before it is reaped.
    pub(super) died: Option<Stamp>,
    pub(super) attempts: u32,
    pub(super) in_the_way: Option<String>,
    /// What a command line ends with for that.
    pub(super) exit_code: Option<u8>,
    pub(super) job: Option<Job>,
    pub(super) waiting: Vec<(Awaited, oneshot::Sender<Answer>)>,
    pub(super) kill_at: Option<Instant>,
    pub(super) give_up_at: Option<Instant>,
    pub(super) look_at: Option<Instant>,
    /// When one that was killed is taken for stuck.
    pub(super) stuck_at: Option<Instant>,
    /// Its freezers are being let go.
    pub(super) thawing: Option<JoinHandle<()>>,
    /// It is being frozen or thawed.
    pub(super) freeze: Option<Box<Freeze>>,
    /// How far cleaning it has come.
    pub(super) gc: Option<watch::Receiver<Progress>>,
    pub(super) inbox: Post<Message>,
}

impl Task {
    /// A task for these facts, watching already. Quick: descriptors are opened, nothing is waited for.
    pub fn new(cx: Arc<Context>, facts: Facts, pidfd: Option<OwnedFd>, post: Post<Message>) -> Self {
        let remove = facts.launch.auto_remove || cx.gc.was_to_be_removed(&facts.launch);
        let on_shim_death = facts.launch.on_shim_death;
        let held = Held::new(&cx.packer, (facts.launch, facts.init));
        let mut task = Self {
            cx,
            machine: Machine::new(facts.phase, remove).on_shim_death(on_shim_death).frozen(facts.frozen),
            held,
            verdict: facts.verdict.map(Box::new),
            started: facts.started,
            fifo: None,
            hung_up: false,
            shim: None,
            watch: None,
            slow: None,
            reaped: false,
            never_began: false,
            died: None,
            attempts: 0,
            in_the_way: None,
            exit_code: None,
            job: None,
            waiting: Vec::new(),
            kill_at: None,
            give_up_at: None,
            look_at: None,
            stuck_at: None,
            thawing: None,
            freeze: None,
            gc: None,
            inbox: post,
        };
        if task.verdict.as_ref().is_some_and(|verdict| verdict.durable) {
            task.let_go();
        } else if task.verdict.is_none() {
            task.watch_init(pidfd);
            match task.machine.phase {
                Phase::Orphaned => task.on_orphaned(),
                _ => task.watch_shim(),
            }
        }
        task
    }

    /// Which run it is of.
    pub fn run_of(&self) -> (&ContainerId, u64) {
        (&self.held.id, self.held.generation)
    }

    /// What lies on disk of it.
    pub(super) fn dir(&self) -> ContainerDir {
        self.cx.layout.container(&self.held.id)
    }

    /// What was asked, and what came of it.
    pub(super) fn both(&self) -> Both {
        self.held.both(&self.cx.packer)
    }

    /// Runs until the container is removed or the collector stops. What waits is small, whatever follows from it is not,
    /// and is there only as long as it is done: containers are many, and idle.
    pub async fn run(&mut self) {
        Box::pin(self.begin()).await;
        let cancel = self.cx.cancel.clone();
        while self.machine.phase != Phase::Gone {
            let happened = tokio::select! {
                () = cancel.cancelled() => return,
                happened = self.next() => happened,
            };
            Box::pin(self.handle(happened)).await;
        }
    }

    async fn begin(&mut self) {
        if self.was_stuck() {
            self.happen(Event::Stuck).await;
        }
        // Found dead: nobody needs to be told again, but it may not be clean, or not removed.
        self.happen(Event::Found).await;
    }

    async fn handle(&mut self, happened: Happened) {
        match happened {
            Happened::Nothing => {}
            Happened::JobEnd(JobEnd { event, words, exit_code }) => {
                self.job = None;
                (self.exit_code, self.in_the_way) = match &mut self.freeze {
                    Some(freeze) => {
                        freeze.words = words;
                        (self.exit_code, self.in_the_way.take())
                    }
                    None => (exit_code, words),
                };
                self.happen(event).await;
            }
            Happened::Ring(ring) => self.on_ring(ring).await,
            Happened::ShimDied => {
                self.shim = None;
                self.on_shim_death().await;
            }
            Happened::Slow(tidings) => self.on_tidings(tidings).await,
            Happened::Init(Ok(Watched::Wanted)) => self.yield_pidfd(),
            Happened::Init(Ok(step)) => {
                self.died.get_or_insert_with(Stamp::now);
                self.watch.iter_mut().for_each(InitWatch::is_all_there_is);
                self.reaped |= step == Watched::Reaped;
                self.on_init_death(step).await;
            }
            Happened::Init(Err(e)) => {
                tracing::error!(id = %self.held.id, error = %e, "the pidfd cannot be watched");
                self.watch = None;
                self.look_at = Some(Instant::now() + LOOK_AGAIN);
            }
            Happened::Timer => self.on_timer().await,
            Happened::Gc(progress) => self.on_progress(progress).await,
            Happened::Message(Message::SeenKilled) => {
                self.stuck_at.get_or_insert(Instant::now() + DIES_SOON);
            }
            Happened::Message(Message::LookAtFreezer) => self.look_at_freezer().await,
            Happened::Message(Message::SeenStarted) => self.happen(Event::SeenStarted).await,
            Happened::Message(Message::LookForInit) => self.learn_init().await,
            Happened::Message(Message::Announced { init, pidfd, watched }) => {
                self.on_announcement(*init, pidfd).await;
                let _ = watched.send(());
            }
            Happened::Message(Message::Wish(wish)) => self.on_wish(*wish).await,
        }
    }

    pub(super) async fn on_init_death(&mut self, step: Watched) {
        // Only that of an orphan counts, and it takes a look into /proc.
        let by_others = self.machine.phase == Phase::Orphaned && self.is_reaped_by_others();
        match rules::on_init_death(step, self.machine.phase, by_others, self.is_foreign()) {
            Then::Wait => {}
            Then::GiveReaperTime => self.look_at = Some(Instant::now() + REAPED_WITHIN),
            Then::GiveShimTime => self.look_at = Some(Instant::now() + SHIM_TELLS_WITHIN),
            Then::Act => self.happen(Event::InitGone).await,
        }
        if self.is_foreign() && self.verdict.is_none() {
            self.look_at.get_or_insert(Instant::now() + FOREIGN_TELLS_WITHIN);
        }
    }

    pub(super) async fn on_announcement(&mut self, init: Init, pidfd: Option<OwnedFd>) {
        if self.held.process.is_none() && init.generation == self.held.generation && self.verdict.is_none() {
            let run = self.held.mode == Mode::Run;
            self.started = run.then_some(init.ready);
            let (launch, _) = self.both();
            self.held = Held::new(&self.cx.packer, (launch, Some(init)));
            self.watch_init(pidfd);
            self.happen(Event::InitKnown { run }).await;
        }
    }

    async fn on_timer(&mut self) {
        let now = Instant::now();
        let due = |at: &mut Option<Instant>| at.take_if(|at| *at <= now).is_some();
        if due(&mut self.kill_at) {
            self.kill();
        }
        if due(&mut self.give_up_at) {
            self.give_up_stopping();
        }
        if due(&mut self.stuck_at) && !self.init_is_dead() {
            self.happen(Event::Stuck).await;
        }
        if due(&mut self.look_at) {
            self.look_again().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, F: Future>(_: fn(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn an_idle_container_takes_little_room() {
        // There are thousands: what comes only with an event belongs into a box (docs/specification.md).
        assert!(size_of::<Task>() <= 640, "the task's state: {} bytes", size_of::<Task>());
        assert!(size(Task::run) <= 512, "its future, without the state: {} bytes", size(Task::run));
        assert!(size_of::<Message>() <= 32, "a message: {} bytes", size_of::<Message>());
    }
}
