//! Frames and lines that make no sense: an answer or a hang-up, and a daemon that lives on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use sexton_common::wire::{self, ErrorCode, Reply, Request};
use sexton_tests::{LONG, Node, proc, skipped, wait_for};
use std::{
    io::{Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
};

fn raw(node: &Node) -> UnixStream {
    let stream = UnixStream::connect(node.layout().socket()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    stream
}

/// What comes until the collector hangs up. It may already have reset the connection.
fn rest(mut stream: UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => bytes,
        Err(e) => panic!("it does not hang up: {e}"),
    }
}

#[test]
fn frames() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let long = u32::try_from(wire::MAX_FRAME + 1024).unwrap().to_be_bytes();
    let half = &wire::encode(&Request::Inspect { id: node.id("a") }).unwrap()[..9];
    let too_much = [wire::encode(&Request::Version {}).unwrap(), vec![0; 3]].concat();
    let unknown = wire::encode(&u8::MAX).unwrap();
    let long_frame = [long.to_vec(), vec![0; wire::MAX_FRAME + 1024]].concat();
    for (what, bytes) in [
        ("a frame of no bytes", &[0, 0, 0, 0][..]),
        ("a frame of 65 KiB", &long_frame),
        ("only its length", &long),
        ("half a frame", half),
        ("half a length", &[0, 0]),
        ("garbage", &[0xde; 4096]),
        ("zeros", &[0; 4096]),
        ("an unknown request", &unknown),
        ("a request and a torn one", &too_much),
        ("nothing", &[]),
    ] {
        let mut stream = raw(&node);
        // It may hang up before it has read all.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let answer = rest(stream);
        assert!(answer.len() < 1 << 18, "{what}: {} bytes", answer.len());
        node.assert_alive();
    }
    // One that says nothing and stays costs only its descriptor.
    let silent: Vec<_> = (0..50).map(|_| raw(&node)).collect();
    node.assert_alive();
    drop(silent);
    node.assert_descriptors();
    node.finish();
}

/// More descriptors than anybody needs come along: all of them are closed.
#[test]
fn too_many_descriptors() {
    if skipped() {
        return;
    }
    let mut node = Node::new();
    let mut client = node.client();
    let fds: Vec<_> = (0..6).map(|_| std::fs::File::open("/dev/zero").unwrap()).collect();
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    client.send(&Request::Version {}, &fds).unwrap();
    assert!(matches!(client.receive().unwrap(), Reply::Version { .. }));
    let pid = node.daemon().pid();
    wait_for("them to be closed", LONG, || !proc::descriptors(pid).contains_key("/dev/zero"));
    drop(client);
    node.finish();
}

/// Ids that are none, in frames that are well-formed otherwise.
#[test]
fn ids_that_are_none() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let long = "x".repeat(129);
    let sample = wire::encode(&Request::Inspect { id: "q".parse().unwrap() }).unwrap();
    for bad in ["", ".", "..", "a/b", "../a", "/", "a\0b", "a b", "a\n", "~new-1", "\u{fc}", long.as_str()] {
        // The variant's number as it is, then the string.
        let mut body = vec![sample[4]];
        body.extend(wire::encode(&bad).unwrap().split_off(4));
        let mut stream = raw(&node);
        stream.write_all(&u32::try_from(body.len()).unwrap().to_be_bytes()).unwrap();
        stream.write_all(&body).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let answer = rest(stream);
        let reply = wire::decode::<Reply>(&answer[4..]).unwrap();
        let Reply::Error(error) = reply else { panic!("{bad:?}: {reply:?}") };
        assert_eq!(error.code, ErrorCode::Invalid, "{bad:?}: {error:?}");
    }
    node.assert_alive();
    node.finish();
}

/// What is too long is told so, although nobody reads it to its end.
#[test]
fn too_long() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let length = wire::MAX_FRAME + 1024;
    let frame = [u32::try_from(length).unwrap().to_be_bytes().to_vec(), vec![0; length]].concat();
    let line = format!("{{{}", "x".repeat(length));
    for bytes in [&frame[..], line.as_bytes()] {
        let mut stream = raw(&node);
        stream.write_all(bytes).unwrap();
        let answer = rest(stream);
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains("65536") || answer.contains("64 KiB"), "{answer:?}");
        node.assert_alive();
    }
    node.finish();
}

/// A client that asks and closes its sending half gets its answers.
#[test]
fn half_closed() {
    if skipped() {
        return;
    }
    let node = Node::new();
    for asked in ["{\"version\":{}}\n", "{\"list\":{\"all\":true}}\n"] {
        let mut stream = raw(&node);
        stream.write_all(asked.repeat(20).as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let answer = String::from_utf8(rest(stream)).unwrap();
        assert_eq!(answer.lines().count(), 20, "{answer}");
    }
    node.finish();
}

#[test]
fn json() {
    if skipped() {
        return;
    }
    let node = Node::new();
    let deep = format!("{{\"launch\":{}", "[".repeat(50_000));
    let long = format!("{{\"version\":\"{}\"}}\n", "x".repeat(wire::MAX_FRAME));
    let spaces = format!("{{{}\n", " ".repeat(1 << 20));
    for bad in [
        "{\n",
        "{}\n",
        "{\"dance\":{}}\n",
        "{\"version\":{},\"node\":{}}\n",
        "{\"version\":{\"extra\":1}}\n",
        "{\"inspect\":{}}\n",
        "{\"inspect\":{\"id\":7}}\n",
        "{\"inspect\":{\"id\":\"a/b\"}}\n",
        "{\"inspect\":{\"id\":\"..\"}}\n",
        "{\"inspect\":{\"id\":\"\"}}\n",
        "{\"inspect\":{\"id\":\"a\\u0000b\"}}\n",
        "{\"kill\":{\"id\":\"a\",\"signal\":99999999999}}\n",
        "{\"version\":{}",
        deep.as_str(),
        long.as_str(),
        spaces.as_str(),
        "{\u{fffd}\u{0}\n",
    ] {
        let mut stream = raw(&node);
        let _ = stream.write_all(bad.as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let answer = rest(stream);
        let shown = &bad[..bad.len().min(60)];
        if bad.ends_with('\n') && bad.len() < wire::MAX_FRAME {
            let text = String::from_utf8(answer).unwrap();
            let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap_or_default()).unwrap();
            assert_eq!(line["error"]["code"], "invalid", "{shown:?}: {line}");
        }
        node.assert_alive();
    }
    node.finish();
}
