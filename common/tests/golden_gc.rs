//! Golden bytes of what the GC stores and says: its entries, requests and replies.

#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

mod support;

use sexton_common::{
    WallTime,
    cgroup::CgroupDir,
    cleanup::Cleanup,
    durable,
    gc::{Device, Entry, Estate, GcOrigin, Step},
    identity::BootId,
    runtime::Runtime,
    wire::{Finding, FindingKind, GcAddRequest, GcInfo, GcWhy, Holder, Obstacle, Reply, Request},
};
use support::{bytes, golden_frame as golden, hex, id, process, runtime, small_enum, stamp};

fn cleanup() -> Cleanup {
    Cleanup { paths: vec!["/p".into()], mounts: vec!["/m".into()], netns: vec!["/n".into()], exec: vec!["true".into()] }
}

fn entry() -> Entry {
    Entry {
        estate: Estate {
            id: id(),
            generation: 300,
            boot: process(1).boot_id,
            runtime: Some(runtime()),
            bundle: Some("/b".into()),
            rootfs: Some("/b/r".into()),
            processes: vec![process(8)],
            cgroups: vec![CgroupDir { hierarchy: "cpu".into(), dir: "/c".into() }],
            guessed: vec![CgroupDir { hierarchy: String::new(), dir: "/g".into() }],
            cleanup: cleanup(),
        },
        origin: GcOrigin::Container,
        since: stamp(9),
        attempts: 3,
        step: Step::Mounts,
        in_the_way: "busy".into(),
        commands_done: 1,
        devices: vec![Device { major: 7, minor: 3, fs: "ext4".into(), source: "/dev/loop3".into() }],
        remove: true,
    }
}

/// Header (magic, kind, version, length, crc32) and body as they stand on disk, both ways.
#[track_caller]
fn stored(entry: &Entry, header: &str, body: &str) {
    let encoded = durable::encode(entry).unwrap();
    assert_eq!(hex(&encoded), hex(&bytes(&format!("{header}{body}"))), "{entry:?}");
    assert_eq!(durable::decode::<Entry>(&encoded).unwrap(), *entry);
}

#[test]
fn entries() {
    stored(
        &entry(),
        "5358544e 47 0100 8e000000 c18264b2",
        "057765622d31ac02101112131415161718191a1b1c1d1e1f01092f62696e2f72756e6301022f7201072d\
         2d646562756701022f6201042f622f720108ac02101112131415161718191a1b1c1d1e1f010501036370\
         75022f630100022f6701022f7001022f6d01022f6e01047472756500090a030404627573790101070304657874340a\
         2f6465762f6c6f6f703301",
    );
    let estate = Estate {
        boot: BootId([0; 16]),
        runtime: None,
        bundle: None,
        rootfs: None,
        processes: Vec::new(),
        cgroups: Vec::new(),
        guessed: Vec::new(),
        cleanup: Cleanup::default(),
        ..entry().estate
    };
    let bare = Entry {
        estate,
        origin: GcOrigin::Adopted,
        in_the_way: String::new(),
        devices: Vec::new(),
        remove: false,
        ..entry()
    };
    stored(
        &bare,
        "5358544e 47 0100 2b000000 19b362b3",
        "057765622d31ac02000000000000000000000000000000000000000000000000000002090a030400010000",
    );
}

#[test]
fn requests() {
    golden(&Request::GcList {}, "00000001 0d", r#"{"gc_list":{}}"#);
    golden(&Request::GcWhy { id: id() }, "00000007 0e057765622d31", r#"{"gc_why":{"id":"web-1"}}"#);
    golden(&Request::GcRetry { id: Some(id()) }, "00000008 0f01057765622d31", r#"{"gc_retry":{"id":"web-1"}}"#);
    golden(&Request::GcRetry { id: None }, "00000002 0f00", r#"{"gc_retry":{"id":null}}"#);
    golden(&Request::GcForget { id: id() }, "00000007 10057765622d31", r#"{"gc_forget":{"id":"web-1"}}"#);
    golden(&Request::GcScan { adopt: true }, "00000002 1201", r#"{"gc_scan":{"adopt":true}}"#);
    let full = GcAddRequest {
        id: id(),
        runtime: runtime(),
        pids: vec![8, 300],
        bundle: Some("/b".into()),
        cleanup: cleanup(),
    };
    golden(
        &Request::GcAdd(full),
        "00000038 11057765622d31092f62696e2f72756e6301022f7201072d2d64656275670208ac0201022f6201022f70\
         01022f6d01022f6e010474727565",
        r#"{"gc_add":{"id":"web-1","runtime":{"program":"/bin/runc","root":"/r","args":["--debug"]},
         "pids":[8,300],"bundle":"/b",
         "cleanup":{"paths":["/p"],"mounts":["/m"],"netns":["/n"],"exec":["true"]}}}"#,
    );
    let plain = Request::GcAdd(GcAddRequest {
        id: id(),
        runtime: Runtime::default(),
        pids: Vec::new(),
        bundle: None,
        cleanup: Cleanup::default(),
    });
    golden(
        &plain,
        "00000014 11057765622d310472756e630000000000000000",
        r#"{"gc_add":{"id":"web-1","runtime":{"program":"runc","root":null,"args":[]},"pids":[],
         "bundle":null,"cleanup":{"paths":[],"mounts":[],"netns":[],"exec":[]}}}"#,
    );
    // What a person writes by hand.
    assert_eq!(serde_json::from_str::<Request>(r#"{"gc_add":{"id":"web-1"}}"#).unwrap(), plain);
    let retry = serde_json::from_str::<Request>(r#"{"gc_retry":{}}"#).unwrap();
    assert_eq!(retry, Request::GcRetry { id: None });
    assert!(serde_json::from_str::<Request>(r#"{"gc_add":{"id":"web-1","cleanup":{"path":["/p"]}}}"#).is_err());
}

fn info() -> GcInfo {
    GcInfo {
        id: id(),
        generation: 300,
        origin: GcOrigin::Container,
        earlier_boot: false,
        since: WallTime(10),
        attempts: 3,
        next_try: Some(WallTime(20)),
        step: Step::Processes,
        in_the_way: "stuck".into(),
    }
}

#[test]
fn lists() {
    let tried = GcInfo { origin: GcOrigin::Added, earlier_boot: true, next_try: None, step: Step::Files, ..info() };
    golden(
        &Reply::GcEntries { entries: vec![info(), tried], last: true },
        "0000002c 0a02057765622d31ac0200000a0301140105737475636b057765622d31ac0201010a0300060573747563\
         6b01",
        r#"{"gc_entries":{"entries":[{"id":"web-1","generation":300,"origin":"container",
         "earlier_boot":false,"since":"1970-01-01T00:00:00.000000010Z","attempts":3,
         "next_try":"1970-01-01T00:00:00.000000020Z","step":"processes","in_the_way":"stuck"},
         {"id":"web-1","generation":300,"origin":"added","earlier_boot":true,
         "since":"1970-01-01T00:00:00.000000010Z","attempts":3,"next_try":null,"step":"files",
         "in_the_way":"stuck"}],"last":true}}"#,
    );
    let full = Finding {
        kind: FindingKind::Shim,
        id: Some(id()),
        path: "/s".into(),
        pid: Some(8),
        why: "alone".into(),
        adopted: Some(id()),
    };
    let bare = Finding { kind: FindingKind::Mount, id: None, pid: None, adopted: None, ..full.clone() };
    golden(
        &Reply::Findings { findings: vec![full, bare], last: false },
        "0000002a 0c020301057765622d31022f73010805616c6f6e6501057765622d310200022f730005616c6f6e650000",
        r#"{"findings":{"findings":[{"kind":"shim","id":"web-1","path":"/s","pid":8,"why":"alone",
         "adopted":"web-1"},{"kind":"mount","id":null,"path":"/s","pid":null,"why":"alone",
         "adopted":null}],"last":false}}"#,
    );
}

#[test]
fn reasons() {
    let full = Holder {
        pid: 8,
        comm: "dd".into(),
        state: "D".into(),
        wchan: Some("w".into()),
        stack: vec!["a".into(), "b".into()],
        how: "cwd".into(),
        frozen_by: Some("/f".into()),
        mount_ns: Some(300),
    };
    let bare = Holder { wchan: None, stack: Vec::new(), frozen_by: None, mount_ns: None, ..full.clone() };
    let obstacle = Obstacle { step: Step::Mounts, what: "busy".into(), since: WallTime(15), holders: vec![full, bare] };
    let why = GcWhy { entry: info(), obstacles: vec![obstacle], output: Some("no\n".into()) };
    golden(
        &Reply::GcWhy(Box::new(why)),
        "0000004b 0b057765622d31ac0200000a0301140105737475636b010404627573790f020802646401440101770201\
         6101620363776401022f6601ac02080264640144000003637764000001036e6f0a",
        r#"{"gc_why":{"entry":{"id":"web-1","generation":300,"origin":"container","earlier_boot":false,
         "since":"1970-01-01T00:00:00.000000010Z","attempts":3,
         "next_try":"1970-01-01T00:00:00.000000020Z","step":"processes","in_the_way":"stuck"},
         "obstacles":[{"step":"mounts","what":"busy","since":"1970-01-01T00:00:00.000000015Z",
         "holders":[{"pid":8,"comm":"dd","state":"D","wchan":"w","stack":["a","b"],"how":"cwd",
         "frozen_by":"/f","mount_ns":300},{"pid":8,"comm":"dd","state":"D","wchan":null,"stack":[],
         "how":"cwd","frozen_by":null,"mount_ns":null}]}],"output":"no\n"}}"#,
    );
    let clean = GcWhy { entry: info(), obstacles: Vec::new(), output: None };
    golden(
        &Reply::GcWhy(Box::new(clean)),
        "00000018 0b057765622d31ac0200000a0301140105737475636b0000",
        r#"{"gc_why":{"entry":{"id":"web-1","generation":300,"origin":"container","earlier_boot":false,
         "since":"1970-01-01T00:00:00.000000010Z","attempts":3,
         "next_try":"1970-01-01T00:00:00.000000020Z","step":"processes","in_the_way":"stuck"},
         "obstacles":[],"output":null}}"#,
    );
}

/// The numbers of the variants, which no release may change.
#[test]
fn names_and_numbers_of_the_small_enums() {
    let names = ["record", "processes", "runtime", "cgroups", "mounts", "netns", "files", "commands"];
    small_enum(&Step::ALL, &names);
    assert_eq!(Step::ALL.map(Step::name), names);
    small_enum(&[GcOrigin::Container, GcOrigin::Added, GcOrigin::Adopted], &["container", "added", "adopted"]);
    use FindingKind as K;
    let kinds = [K::RuntimeState, K::Cgroup, K::Mount, K::Shim];
    small_enum(&kinds, &["runtime_state", "cgroup", "mount", "shim"]);
}
