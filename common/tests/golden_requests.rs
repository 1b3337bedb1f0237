//! Golden bytes of every request, and its JSON line: what a client in another language writes.

mod support;

use sexton_common::{
    cleanup::Cleanup,
    launch::{Mode, OnShimDeath, Stdio},
    restart::RestartPolicy,
    runtime::Runtime,
    wire::{LaunchRequest, Request, WatchRequest},
};
use support::{golden_frame as golden, id, runtime};

#[test]
fn requests_about_one_container() {
    golden(
        &Request::Announce { id: id(), generation: 2 },
        "00000008 01057765622d3102",
        r#"{"announce":{"id":"web-1","generation":2}}"#,
    );
    golden(&Request::Start { id: id() }, "00000007 03057765622d31", r#"{"start":{"id":"web-1"}}"#);
    golden(
        &Request::Kill { id: id(), signal: 15 },
        "00000008 04057765622d311e",
        r#"{"kill":{"id":"web-1","signal":15}}"#,
    );
    golden(
        &Request::Stop { id: id(), signal: 15, timeout_ms: 10_000 },
        "0000000a 05057765622d311e904e",
        r#"{"stop":{"id":"web-1","signal":15,"timeout_ms":10000}}"#,
    );
    golden(
        &Request::Remove { id: id(), force: true },
        "00000008 06057765622d3101",
        r#"{"remove":{"id":"web-1","force":true}}"#,
    );
    golden(
        &Request::Wait { id: id(), generation: Some(2) },
        "00000009 07057765622d310102",
        r#"{"wait":{"id":"web-1","generation":2}}"#,
    );
    golden(
        &Request::Wait { id: id(), generation: None },
        "00000008 07057765622d3100",
        r#"{"wait":{"id":"web-1","generation":null}}"#,
    );
    golden(&Request::Inspect { id: id() }, "00000007 08057765622d31", r#"{"inspect":{"id":"web-1"}}"#);
}

#[test]
fn requests_about_the_node() {
    golden(&Request::Version {}, "00000001 00", r#"{"version":{}}"#);
    golden(&Request::List { all: true }, "00000002 0901", r#"{"list":{"all":true}}"#);
    golden(&Request::Subscribe { since: Some(300) }, "00000004 0b01ac02", r#"{"subscribe":{"since":300}}"#);
    golden(&Request::Subscribe { since: None }, "00000002 0b00", r#"{"subscribe":{"since":null}}"#);
    golden(&Request::Node {}, "00000001 0c", r#"{"node":{}}"#);
    golden(&Request::Maintenance { on: true }, "00000002 18 01", r#"{"maintenance":{"on":true}}"#);
}

#[test]
fn requests_that_make_containers_known() {
    let full = LaunchRequest {
        id: id(),
        bundle: "/b".into(),
        runtime: runtime(),
        stdio: Stdio::File("/log".into()),
        mode: Mode::Run,
        auto_remove: true,
        on_shim_death: OnShimDeath::Kill,
        timeout_ms: Some(1500),
        cleanup: Cleanup {
            paths: vec!["/p".into()],
            mounts: vec!["/m".into()],
            netns: vec!["/n".into()],
            exec: vec!["true".into()],
        },
        restart: RestartPolicy::No,
        program: None,
    };
    golden(
        &Request::Launch(full),
        "00000043\
         02057765622d31022f62092f62696e2f72756e6301022f7201072d2d646562756702042f6c6f67010101\
         01dc0b01022f7001022f6d01022f6e010474727565026e6f00",
        r#"{"launch":{"id":"web-1","bundle":"/b","runtime":{"program":"/bin/runc","root":"/r",
         "args":["--debug"]},"stdio":{"file":"/log"},"mode":"run","auto_remove":true,
         "on_shim_death":"kill",
         "timeout_ms":1500,
         "cleanup":{"paths":["/p"],"mounts":["/m"],"netns":["/n"],"exec":["true"]},
         "restart":"no","program":null}}"#,
    );
    let plain = LaunchRequest {
        id: id(),
        bundle: "/b".into(),
        runtime: Runtime::default(),
        stdio: Stdio::Null,
        mode: Mode::Create,
        auto_remove: false,
        on_shim_death: OnShimDeath::Adopt,
        timeout_ms: None,
        cleanup: Cleanup::default(),
        restart: RestartPolicy::No,
        program: None,
    };
    golden(
        &Request::Launch(plain.clone()),
        "0000001e 02057765622d31022f620472756e630000000000000000000000026e6f00",
        r#"{"launch":{"id":"web-1","bundle":"/b","runtime":{"program":"runc","root":null,
         "args":[]},"stdio":"null","mode":"create","auto_remove":false,"on_shim_death":"adopt",
         "timeout_ms":null,"cleanup":{"paths":[],"mounts":[],"netns":[],"exec":[]},
         "restart":"no","program":null}}"#,
    );
    // What a person writes by hand.
    let short = r#"{"launch":{"id":"web-1","bundle":"/b","mode":"create"}}"#;
    assert_eq!(serde_json::from_str::<Request>(short).unwrap(), Request::Launch(plain));
    let watch = WatchRequest {
        id: id(),
        fifo: "/f".into(),
        pid: 8,
        shim_pid: 7,
        runtime: Runtime::default(),
        bundle: "/b".into(),
    };
    golden(
        &Request::Watch(watch),
        "00000016 0a057765622d31022f6608070472756e630000022f62",
        r#"{"watch":{"id":"web-1","fifo":"/f","pid":8,"shim_pid":7,"runtime":{"program":"runc",
         "root":null,"args":[]},"bundle":"/b"}}"#,
    );
}
