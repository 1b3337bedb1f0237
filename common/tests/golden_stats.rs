//! Golden bytes of what is asked and said about use, and its JSON lines.

mod support;

use sexton_common::{
    WallTime,
    wire::{ContainerStats, DiskUse, IoUse, NodeState, NodeStats, Reply, Request, Room, State},
};
use support::{golden_frame as golden, id};

#[test]
fn requests() {
    golden(
        &Request::Stats { ids: vec![id()], period_ms: Some(6000) },
        "0000000b 1601057765622d3101f02e",
        r#"{"stats":{"ids":["web-1"],"period_ms":6000}}"#,
    );
    golden(
        &Request::Stats { ids: vec![], period_ms: None },
        "00000003 160000",
        r#"{"stats":{"ids":[],"period_ms":null}}"#,
    );
    golden(&Request::NodeStats {}, "00000001 17", r#"{"node_stats":{}}"#);
    // What a person writes by hand.
    let short = r#"{"stats":{"ids":[]}}"#;
    assert_eq!(serde_json::from_str::<Request>(short).unwrap(), Request::Stats { ids: vec![], period_ms: None });
}

#[test]
fn replies() {
    let full = ContainerStats {
        id: id(),
        generation: 2,
        state: State::Paused,
        at: WallTime(10),
        memory: Some(4096),
        memory_limit: Some(8192),
        cpu_ns: Some(77),
        cpu_of_core: Some(15_000),
        cpu_of_all: Some(7500),
        pids: Some(3),
        oom_kills: Some(1),
        io: Some(IoUse { read: 5, written: 6 }),
        disk: Some(DiskUse { bytes: 9, complete: false, at: WallTime(11) }),
    };
    let empty = ContainerStats {
        state: State::Stopped,
        memory: None,
        memory_limit: None,
        cpu_ns: None,
        cpu_of_core: None,
        cpu_of_all: None,
        pids: None,
        oom_kills: None,
        io: None,
        disk: None,
        ..full.clone()
    };
    golden(
        &Reply::Stats { containers: vec![full, empty], last: true },
        "00000037 0d02057765622d3102070a018020018040014d01987501cc3a010301010105060109000b057\
         765622d3102060a00000000000000000001",
        r#"{"stats":{"containers":[{"id":"web-1","generation":2,"state":"paused",
         "at":"1970-01-01T00:00:00.000000010Z","memory":4096,"memory_limit":8192,"cpu_ns":77,
         "cpu_of_core":15000,"cpu_of_all":7500,"pids":3,"oom_kills":1,
         "io":{"read":5,"written":6},
         "disk":{"bytes":9,"complete":false,"at":"1970-01-01T00:00:00.000000011Z"}},
         {"id":"web-1","generation":2,"state":"stopped","at":"1970-01-01T00:00:00.000000010Z",
         "memory":null,"memory_limit":null,"cpu_ns":null,"cpu_of_core":null,"cpu_of_all":null,
         "pids":null,"oom_kills":null,"io":null,"disk":null}],"last":true}}"#,
    );
    let node = NodeStats {
        state: NodeState::Full,
        why: vec!["x".into()],
        at: WallTime(10),
        hostname: "h".into(),
        addresses: vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
        cpus: 2,
        load: [52, 100, 1205],
        memory: Room { total: Some(4), left: Some(1), used: 3 },
        disk: Room::default(),
        disk_path: "/d".into(),
        descriptors: Room { total: Some(8), left: Some(6), used: 2 },
        running: Room { total: None, left: None, used: 1 },
        containers: vec![(State::Running, 1), (State::Pending, 2)],
        gc_entries: 3,
        uptime_ms: 300,
    };
    golden(
        &Reply::NodeStats(Box::new(node)),
        "0000003f 0e010101780a016802000a00000101fd000000000000000000000000000001023464b509010\
         4010103000000022f640108010602000001020201090203ac02",
        r#"{"node_stats":{"state":"full","why":["x"],"at":"1970-01-01T00:00:00.000000010Z",
         "hostname":"h","addresses":["10.0.0.1","fd00::1"],"cpus":2,"load":[52,100,1205],
         "memory":{"total":4,"left":1,"used":3},"disk":{"total":null,"left":null,"used":0},
         "disk_path":"/d","descriptors":{"total":8,"left":6,"used":2},
         "running":{"total":null,"left":null,"used":1},
         "containers":[["running",1],["pending",2]],"gc_entries":3,"uptime_ms":300}}"#,
    );
}

#[test]
fn small_enums() {
    let names = ["ready", "full", "maintenance"];
    support::small_enum(&[NodeState::Ready, NodeState::Full, NodeState::Maintenance], &names);
}
