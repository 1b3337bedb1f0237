//! The examples in docs/protocol.md are what they say they are.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot unwrap fails")]

use serde::de::DeserializeOwned;
use sexton_common::wire::{Reply, Request};

/// Those that begin with this and are not shortened.
fn examples<T: DeserializeOwned>(direction: &str) -> Vec<T> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md")).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix(direction));
    let whole = lines.filter(|line| line.starts_with('{') && !line.contains(" ..."));
    whole.map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[test]
fn requests_are_requests() {
    let requests = examples::<Request>("> ");
    let has = |wanted: fn(&Request) -> bool| assert!(requests.iter().any(wanted), "{requests:?}");
    has(|request| matches!(request, Request::Launch(launch) if !launch.cleanup.is_empty()));
    has(|request| matches!(request, Request::GcList {}));
    has(|request| matches!(request, Request::GcWhy { .. }));
    has(|request| matches!(request, Request::GcRetry { id: Some(_) }));
    has(|request| matches!(request, Request::GcRetry { id: None }));
    has(|request| matches!(request, Request::GcForget { .. }));
    has(|request| matches!(request, Request::GcAdd(_)));
    has(|request| matches!(request, Request::GcScan { .. }));
    has(|request| matches!(request, Request::Stats { period_ms: None, ids } if !ids.is_empty()));
    has(|request| matches!(request, Request::Stats { period_ms: Some(6000), .. }));
    has(|request| matches!(request, Request::NodeStats {}));
    has(|request| matches!(request, Request::Maintenance { .. }));
}

#[test]
fn replies_are_replies() {
    let replies = examples::<Reply>("< ");
    let has = |wanted: fn(&Reply) -> bool| assert!(replies.iter().any(wanted), "{replies:?}");
    has(|reply| matches!(reply, Reply::Node(_)));
    has(|reply| matches!(reply, Reply::GcEntries { entries, .. } if !entries.is_empty()));
    has(|reply| matches!(reply, Reply::GcWhy(why) if !why.obstacles.is_empty()));
    has(|reply| matches!(reply, Reply::Stats { containers, .. } if !containers.is_empty()));
    has(|reply| matches!(reply, Reply::NodeStats(_)));
    has(|reply| matches!(reply, Reply::Findings { findings, .. } if !findings.is_empty()));
}
