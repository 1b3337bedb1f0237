//! Golden bytes of every record on disk: what a release wrote, every later one must read.

#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

mod support;

use sexton_common::{
    ExitRecord, ExitStatus, Init, Launch, ProcessIdentity, Source, UnknownReason, WallTime,
    cgroup::CgroupDir,
    cleanup::Cleanup,
    durable::{self, Fact},
    exit::Usage,
    identity::Executable,
    instance::{Ended, Instance, Next},
    launch::{Clean, Mode, OnShimDeath, Origin, Started, Stdio},
    maintenance::Maintenance,
    restart::RestartPolicy,
    runtime::Runtime,
    workload::Workload,
};
use std::fmt::Debug;
use support::{bytes, hex, id, process, runtime, stamp};

/// Header (magic, kind, version, length, crc32) and body as they stand on disk, both ways.
#[track_caller]
fn golden<F: Fact + Debug + PartialEq>(fact: &F, header: &str, body: &str) {
    let encoded = durable::encode(fact).unwrap();
    assert_eq!(hex(&encoded), hex(&bytes(&format!("{header}{body}"))), "{fact:?}");
    assert_eq!(durable::decode::<F>(&encoded).unwrap(), *fact);
}

fn launch() -> Launch {
    Launch {
        id: id(),
        generation: 1 << 40,
        workload: Workload::Oci { bundle: "/b".into(), runtime: runtime() },
        stdio: Stdio::Null,
        mode: Mode::Create,
        auto_remove: false,
        on_shim_death: OnShimDeath::Adopt,
        shim: process(7),
        origin: Origin::Sexton,
        cgroups: vec![CgroupDir { hierarchy: "cpu".into(), dir: "/c".into() }],
        created: stamp(9),
        cleanup: Cleanup {
            paths: vec!["/p".into()],
            mounts: vec!["/m".into()],
            netns: vec!["/n".into()],
            exec: vec!["true".into()],
        },
        restart: RestartPolicy::No,
        timeout_ms: Launch::TIMEOUT_MS,
    }
}

fn init() -> Init {
    Init {
        id: id(),
        generation: 3,
        process: process(8),
        cgroups: Vec::new(),
        ready: stamp(4),
        executable: Some(Executable { device: 6, inode: 300 }),
        shim: process(7),
        workload: Workload::Oci { bundle: "/b".into(), runtime: Runtime::default() },
    }
}

/// Everything that a record may lack is lacking.
fn bare(status: ExitStatus, source: Source) -> ExitRecord {
    ExitRecord {
        id: id(),
        generation: 2,
        process: None,
        status,
        source,
        oom_killed: None,
        started: None,
        exited: None,
        usage: None,
        memory_peak: None,
        cpu_ns: None,
    }
}

#[test]
fn launch_of_ours() {
    golden(
        &launch(),
        "5358544e 4c 0100 63000000 08082515",
        "057765622d3180808080802007ac02101112131415161718191a1b1c1d1e1f010500022f62092f62696e\
         2f72756e6301022f7201072d2d646562756700000000000103637075022f63090a01022f7001022f6d01\
         022f6e010474727565026e6fc0a907",
    );
}

#[test]
fn launch_of_a_foreign_shim() {
    let foreign = Launch {
        workload: Workload::Oci { bundle: "/b".into(), runtime: Runtime::default() },
        stdio: Stdio::File("/log".into()),
        mode: Mode::Run,
        auto_remove: true,
        on_shim_death: OnShimDeath::Kill,
        origin: Origin::Foreign { fifo: "/f".into() },
        cgroups: Vec::new(),
        cleanup: Cleanup::default(),
        ..launch()
    };
    golden(
        &foreign,
        "5358544e 4c 0100 46000000 5a1c5150",
        "057765622d3180808080802007ac02101112131415161718191a1b1c1d1e1f010500022f620472756e63\
         000002042f6c6f6701010101022f6600090a00000000026e6fc0a907",
    );
    golden(
        &Launch { stdio: Stdio::Inherit, ..launch() },
        "5358544e 4c 0100 63000000 a103ac5b",
        "057765622d3180808080802007ac02101112131415161718191a1b1c1d1e1f010500022f62092f62696e\
         2f72756e6301022f7201072d2d646562756701000000000103637075022f63090a01022f7001022f6d01\
         022f6e010474727565026e6fc0a907",
    );
}

#[test]
fn init_of_any_kernel() {
    let cgroups = vec![
        CgroupDir { hierarchy: "memory".into(), dir: "/m/c".into() },
        CgroupDir { hierarchy: String::new(), dir: "/u/c".into() },
    ];
    golden(
        &Init { cgroups, ..init() },
        "5358544e 49 0100 55000000 b443c193",
        "057765622d310308ac02101112131415161718191a1b1c1d1e1f010502066d656d6f7279042f6d2f6300\
         042f752f6304050106ac0207ac02101112131415161718191a1b1c1d1e1f010500022f620472756e6300\
         00",
    );
    let old_kernel = ProcessIdentity { pidfs_inode: None, ..process(8) };
    golden(
        &Init { process: old_kernel, ..init() },
        "5358544e 49 0100 42000000 b3fabd10",
        "057765622d310308ac02101112131415161718191a1b1c1d1e1f000004050106ac0207ac021011121314\
         15161718191a1b1c1d1e1f010500022f620472756e630000",
    );
}

#[test]
fn clean() {
    golden(&Clean { generation: 200, at: stamp(6) }, "5358544e 43 0100 04000000 c4fdd659", "c8010607");
}

#[test]
fn started() {
    golden(&Started { generation: 200, at: stamp(6) }, "5358544e 53 0100 04000000 0a61083e", "c8010607");
}

#[test]
fn exit_with_everything() {
    let usage = Usage {
        user_us: 1,
        system_us: 2,
        max_rss_kib: 3,
        minor_faults: 4,
        major_faults: 5,
        blocks_in: 6,
        blocks_out: 7,
        voluntary_switches: 8,
        involuntary_switches: 9,
    };
    let record = ExitRecord {
        process: Some(process(8)),
        oom_killed: Some(true),
        started: Some(stamp(10)),
        exited: Some(stamp(20)),
        usage: Some(usage),
        memory_peak: Some(4096),
        cpu_ns: Some(77),
        ..bare(ExitStatus::Code(255), Source::Waited)
    };
    golden(
        &record,
        "5358544e 45 0100 37000000 9872442a",
        "057765622d31020108ac02101112131415161718191a1b1c1d1e1f010500ff000101010a0b011415 \
         01010203040506070809018020014d",
    );
    golden(
        &ExitRecord { oom_killed: Some(false), ..bare(ExitStatus::Code(0), Source::Waited) },
        "5358544e 45 0100 12000000 27eae0be",
        "057765622d31020000000001000000000000",
    );
}

#[test]
fn exit_in_each_status() {
    let signal = |number, core_dumped| ExitStatus::Signal { number, core_dumped };
    golden(
        &bare(ExitStatus::Code(7), Source::Pidfd),
        "5358544e 45 0100 11000000 5c967e83",
        "057765622d310200000701000000000000",
    );
    golden(
        &bare(signal(9, false), Source::Zombie),
        "5358544e 45 0100 12000000 df2d69cc",
        "057765622d31020001090002000000000000",
    );
    golden(
        &bare(signal(11, true), Source::Reported),
        "5358544e 45 0100 12000000 730e4288",
        "057765622d310200010b0103000000000000",
    );
    let unknown = [
        (UnknownReason::NeverStarted, "5358544e 45 0100 11000000 649875f5", "057765622d310200020004000000000000"),
        (UnknownReason::ShimKilled, "5358544e 45 0100 11000000 fa98df39", "057765622d310200020104000000000000"),
        (
            UnknownReason::ShimAndCollectorKilled,
            "5358544e 45 0100 11000000 199f50b7",
            "057765622d310200020204000000000000",
        ),
        (UnknownReason::RecordDamaged, "5358544e 45 0100 11000000 879ffa7b", "057765622d310200020304000000000000"),
        (UnknownReason::ForeignMalformed, "5358544e 45 0100 11000000 9e963f71", "057765622d310200020404000000000000"),
        (UnknownReason::ForeignHangUp, "5358544e 45 0100 11000000 009695bd", "057765622d310200020504000000000000"),
    ];
    for (reason, header, body) in unknown {
        golden(&bare(ExitStatus::Unknown { reason }, Source::None), header, body);
    }
}

#[test]
fn maintenance() {
    golden(&Maintenance { since: WallTime(5) }, "5358544e 4d 0100 01000000 44c19239", "05");
}

/// One that waits for its next start.
fn instance() -> Instance {
    Instance {
        id: id(),
        launch: launch(),
        boot: process(1).boot_id,
        count: 3,
        delay_ms: 400,
        unknowns: 1,
        stopped_by_user: true,
        removing: false,
        next: Next::Start { after: 2, due: stamp(9) },
        last: Some(Ended { generation: 2, status: ExitStatus::Code(7), exited: Some(WallTime(8)), ran_ns: Some(5) }),
        failure: Some("no".into()),
    }
}

#[test]
fn instances() {
    golden(
        &instance(),
        "5358544e 4e 0100 8f000000 2968ae9f",
        "057765622d31057765622d3180808080802007ac02101112131415161718191a1b1c1d1e1f010500022f\
         62092f62696e2f72756e6301022f7201072d2d646562756700000000000103637075022f63090a01022f\
         7001022f6d01022f6e010474727565026e6fc0a907101112131415161718191a1b1c1d1e1f0390030101\
         000102090a010200070108010501026e6f",
    );
    let bare = Instance { next: Next::Run, last: None, failure: None, ..instance() };
    golden(
        &bare,
        "5358544e 4e 0100 82000000 1a8dfc65",
        "057765622d31057765622d3180808080802007ac02101112131415161718191a1b1c1d1e1f010500022f\
         62092f62696e2f72756e6301022f7201072d2d646562756700000000000103637075022f63090a01022f\
         7001022f6d01022f6e010474727565026e6fc0a907101112131415161718191a1b1c1d1e1f0390030101\
         00000000",
    );
    let over = Instance { next: Next::Nothing { after: 2 }, ..bare };
    golden(
        &over,
        "5358544e 4e 0100 83000000 9ff68886",
        "057765622d31057765622d3180808080802007ac02101112131415161718191a1b1c1d1e1f010500022f\
         62092f62696e2f72756e6301022f7201072d2d646562756700000000000103637075022f63090a01022f\
         7001022f6d01022f6e010474727565026e6fc0a907101112131415161718191a1b1c1d1e1f0390030101\
         0002020000",
    );
}
