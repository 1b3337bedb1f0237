//! Golden bytes of every reply, and its JSON line: what a client in another language reads.

mod support;

use sexton_common::{
    ExitStatus, Source, UnknownReason, WallTime,
    exit::Usage,
    gc::Step,
    wire::{ApiError, ContainerInfo, ErrorCode, Event, EventKind, GcFigures, Launched, Node, Reply, State},
};
use support::{golden_frame as golden, id};

/// As full as it gets.
fn ended() -> ContainerInfo {
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
    ContainerInfo {
        state: State::Stopped,
        pid: Some(8),
        shim_pid: Some(7),
        status: Some(ExitStatus::Signal { number: 11, core_dumped: true }),
        source: Some(Source::Waited),
        oom_killed: Some(true),
        started_at: Some(WallTime(20)),
        exited_at: Some(WallTime(30)),
        ran_ns: Some(10),
        auto_remove: true,
        foreign: false,
        attempts: 3,
        in_the_way: Some("stuck".into()),
        usage: Some(usage),
        memory_peak: Some(4096),
        cpu_ns: Some(77),
        started_ns: Some(20),
        ..begun()
    }
}

/// As empty as it gets.
fn begun() -> ContainerInfo {
    ContainerInfo {
        id: id(),
        generation: 2,
        state: State::Creating,
        pid: None,
        shim_pid: None,
        status: None,
        source: None,
        oom_killed: None,
        created_at: WallTime(10),
        started_at: None,
        exited_at: None,
        ran_ns: None,
        bundle: "/b".into(),
        runtime: "/bin/runc".into(),
        auto_remove: false,
        foreign: true,
        attempts: 0,
        in_the_way: None,
        usage: None,
        memory_peak: None,
        cpu_ns: None,
        started_ns: None,
        command: Vec::new(),
        restart: None,
    }
}

#[test]
fn replies() {
    golden(
        &Reply::Version { version: "0.1.0".into(), protocol: 1, pid: 4 },
        "00000009 0005302e312e300104",
        r#"{"version":{"version":"0.1.0","protocol":1,"pid":4}}"#,
    );
    golden(&Reply::Done {}, "00000001 01", r#"{"done":{}}"#);
    let launched =
        Launched { id: id(), generation: 2, pid: 8, shim_pid: 7, exit_fifo: "/f".into(), exit_file: "/e".into() };
    golden(
        &Reply::Launched(launched),
        "00000010 02057765622d31020807022f66022f65",
        r#"{"launched":{"id":"web-1","generation":2,"pid":8,"shim_pid":7,"exit_fifo":"/f",
         "exit_file":"/e"}}"#,
    );
    golden(&Reply::Lagged { seen: 12 }, "00000002 070c", r#"{"lagged":{"seen":12}}"#);
    let node = Node {
        version: "0.1.0".into(),
        pid: 4,
        since: WallTime(10),
        containers: 200,
        descriptors: 31,
        descriptor_limit: 1 << 20,
        quarantined: 1,
        seq: 9,
        seats: 1000,
        seats_taken: 6,
        surplus: 3,
        stored: Some(2),
        gc: GcFigures {
            entries: 1,
            attempts: 2,
            oldest_ms: Some(3),
            cleaned: 4,
            done: vec![(Step::Processes, 300), (Step::Mounts, 5)],
        },
    };
    golden(
        &Reply::Node(node),
        "00000022 0805302e312e30040ac8011f8080400109e8070603010201020103040201ac020405",
        r#"{"node":{"version":"0.1.0","pid":4,"since":"1970-01-01T00:00:00.000000010Z",
         "containers":200,"descriptors":31,"descriptor_limit":1048576,"quarantined":1,"seq":9,
         "seats":1000,"seats_taken":6,"surplus":3,"stored":2,"gc":{"entries":1,
         "attempts":2,"oldest_ms":3,"cleaned":4,"done":[["processes",300],["mounts",5]]}}}"#,
    );
    let mut error = ApiError::new(ErrorCode::RuntimeFailed, "runc says no");
    error.exit_code = 127;
    golden(
        &Reply::Error(error),
        "00000010 09080c72756e632073617973206e6f7f",
        r#"{"error":{"code":"runtime_failed","message":"runc says no","exit_code":127}}"#,
    );
}

#[test]
fn replies_with_containers() {
    golden(
        &Reply::Container(Box::new(ended())),
        "00000046\
         03057765622d3102060108010701010b01010001010a0114011e010a022f62092f62696e2f72756e6301\
         00030105737475636b01010203040506070809018020014d01140000",
        r#"{"container":{"id":"web-1","generation":2,"state":"stopped","pid":8,"shim_pid":7,
         "status":{"signal":{"number":11,"core_dumped":true}},"source":"waited",
         "oom_killed":true,"created_at":"1970-01-01T00:00:00.000000010Z",
         "started_at":"1970-01-01T00:00:00.000000020Z",
         "exited_at":"1970-01-01T00:00:00.000000030Z","ran_ns":10,"bundle":"/b",
         "runtime":"/bin/runc","auto_remove":true,"foreign":false,"attempts":3,
         "in_the_way":"stuck","usage":{"user_us":1,"system_us":2,"max_rss_kib":3,
         "minor_faults":4,"major_faults":5,"blocks_in":6,"blocks_out":7,"voluntary_switches":8,
         "involuntary_switches":9},"memory_peak":4096,"cpu_ns":77,"started_ns":20,"command":[],
         "restart":null}}"#,
    );
    golden(
        &Reply::Container(Box::new(begun())),
        "00000029 03057765622d31020000000000000a000000022f62092f62696e2f72756e6300010000000000000000",
        r#"{"container":{"id":"web-1","generation":2,"state":"creating","pid":null,"shim_pid":null,
         "status":null,"source":null,"oom_killed":null,
         "created_at":"1970-01-01T00:00:00.000000010Z","started_at":null,"exited_at":null,
         "ran_ns":null,"bundle":"/b","runtime":"/bin/runc","auto_remove":false,"foreign":true,
         "attempts":0,"in_the_way":null,"usage":null,"memory_peak":null,"cpu_ns":null,"started_ns":null,"command":[],"restart":null}}"#,
    );
    golden(
        &Reply::Containers { containers: vec![begun()], last: true },
        "0000002b\
         0401057765622d31020000000000000a000000022f62092f62696e2f72756e6300010000000000000000\
         01",
        r#"{"containers":{"containers":[{"id":"web-1","generation":2,"state":"creating","pid":null,
         "shim_pid":null,"status":null,"source":null,"oom_killed":null,
         "created_at":"1970-01-01T00:00:00.000000010Z","started_at":null,"exited_at":null,
         "ran_ns":null,"bundle":"/b","runtime":"/bin/runc","auto_remove":false,"foreign":true,
         "attempts":0,"in_the_way":null,"usage":null,"memory_peak":null,"cpu_ns":null,"started_ns":null,"command":[],"restart":null}],
         "last":true}}"#,
    );
    golden(
        &Reply::Snapshot { seq: 300, containers: Vec::new(), last: false },
        "00000005 05ac020000",
        r#"{"snapshot":{"seq":300,"containers":[],"last":false}}"#,
    );
    let event = Event { seq: 9, at: WallTime(10), kind: EventKind::Exited, container: ended() };
    golden(
        &Reply::Event(Box::new(event)),
        "00000049\
         06090a03057765622d3102060108010701010b01010001010a0114011e010a022f62092f62696e2f7275\
         6e630100030105737475636b01010203040506070809018020014d01140000",
        r#"{"event":{"seq":9,"at":"1970-01-01T00:00:00.000000010Z","kind":"exited",
         "container":{"id":"web-1","generation":2,"state":"stopped","pid":8,"shim_pid":7,
         "status":{"signal":{"number":11,"core_dumped":true}},"source":"waited",
         "oom_killed":true,"created_at":"1970-01-01T00:00:00.000000010Z",
         "started_at":"1970-01-01T00:00:00.000000020Z",
         "exited_at":"1970-01-01T00:00:00.000000030Z","ran_ns":10,"bundle":"/b",
         "runtime":"/bin/runc","auto_remove":true,"foreign":false,"attempts":3,
         "in_the_way":"stuck","usage":{"user_us":1,"system_us":2,"max_rss_kib":3,
         "minor_faults":4,"major_faults":5,"blocks_in":6,"blocks_out":7,"voluntary_switches":8,
         "involuntary_switches":9},"memory_peak":4096,"cpu_ns":77,"started_ns":20,"command":[],"restart":null}}}"#,
    );
}

/// The numbers of the variants, which no release may change.
/// How a status reads in JSON.
#[test]
fn statuses_in_json() {
    let json = |status: ExitStatus| serde_json::to_string(&status).unwrap();
    assert_eq!(json(ExitStatus::Code(7)), r#"{"code":7}"#);
    let signal = ExitStatus::Signal { number: 9, core_dumped: false };
    assert_eq!(json(signal), r#"{"signal":{"number":9,"core_dumped":false}}"#);
    for (reason, name) in [
        (UnknownReason::NeverStarted, "never_started"),
        (UnknownReason::ShimKilled, "shim_killed"),
        (UnknownReason::ShimAndCollectorKilled, "shim_and_collector_killed"),
        (UnknownReason::RecordDamaged, "record_damaged"),
        (UnknownReason::ForeignMalformed, "foreign_malformed"),
        (UnknownReason::ForeignHangUp, "foreign_hang_up"),
    ] {
        assert_eq!(json(ExitStatus::Unknown { reason }), format!(r#"{{"unknown":{{"reason":"{name}"}}}}"#));
    }
}
