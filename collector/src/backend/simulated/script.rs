//! What a simulated container does, run by run.

use sexton_common::{
    ContainerId, ExitStatus, ProcessIdentity, Stamp, WallTime,
    launch::{Launch, Mode, OnShimDeath, Origin, Stdio},
    restart::RestartPolicy,
    wire::ErrorCode,
    workload::{Program, Workload},
};
use std::time::Duration;

/// Says what a container's next run does, from how often it was created before. The same for the same question, or no test can be
/// had again.
pub type Script = Box<dyn Fn(&ContainerId, u32) -> Plan + Send + Sync>;

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How long nothing is seen of it, though its creation has begun.
    pub hidden: Duration,
    /// How its creation goes, from then on.
    pub creation: Creation,
    /// After how long it ends by itself, and how; never, if `None`.
    pub ends: Option<(Duration, ExitStatus)>,
    /// How long a stop is on its way to it.
    pub hears: Duration,
    /// How long after SIGTERM it ends; never, if `None`. Other signals but SIGKILL do nothing to it.
    pub term: Option<Duration>,
    /// How long after SIGKILL it ends.
    pub dies: Duration,
    /// How long cleaning takes.
    pub clean: Duration,
    /// How much longer, with something in the way.
    pub in_gc: Duration,
    /// Why it is never deleted.
    pub undeletable: Option<ErrorCode>,
}

/// How a creation goes.
#[derive(Clone, Copy, Debug)]
pub enum Creation {
    /// It succeeds after this time.
    Takes(Duration),
    /// It fails.
    Fails {
        /// After this time.
        after: Duration,
        /// So.
        code: ErrorCode,
        /// What is left of it is in the GC for so long; nothing is left if zero.
        in_gc: Duration,
    },
    /// It would never end: at the deadline it is undone.
    Hangs,
}

impl Default for Plan {
    /// It runs until it is stopped, and nothing takes time.
    fn default() -> Self {
        let none = Duration::ZERO;
        Self {
            hidden: none,
            creation: Creation::Takes(none),
            ends: None,
            hears: none,
            term: Some(none),
            dies: none,
            clean: none,
            in_gc: none,
            undeletable: None,
        }
    }
}

impl Plan {
    /// It ends so after this time.
    #[must_use]
    pub fn ends(after: Duration, status: ExitStatus) -> Self {
        Self { ends: Some((after, status)), ..Self::default() }
    }
}

/// Chance that can be had again: the same for the same seed, container and number.
#[must_use]
pub fn chance(seed: u64, id: &ContainerId, number: u32) -> u64 {
    let mixed = id
        .as_str()
        .bytes()
        .chain(number.to_le_bytes())
        .fold(seed, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    // splitmix64
    let z = mixed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A launch of nothing in particular. The same boot, whatever the clock says: none is read from the machine twice.
pub fn launch(id: ContainerId, restart: RestartPolicy) -> Launch {
    let nobody = ProcessIdentity::of(std::process::id()).unwrap();
    Launch {
        id,
        generation: 0,
        shim: nobody,
        workload: Workload::Process(Program::default()),
        stdio: Stdio::Null,
        mode: Mode::Run,
        auto_remove: false,
        on_shim_death: OnShimDeath::Adopt,
        origin: Origin::Sexton,
        cgroups: Vec::new(),
        created: Stamp { wall: WallTime(0), boot_ns: 0 },
        cleanup: Default::default(),
        restart,
        timeout_ms: 1,
    }
}
