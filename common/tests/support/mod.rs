//! Hexadecimal literals and a few fixed things to encode.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file takes what it needs")]

use serde::{Serialize, de::DeserializeOwned};
use sexton_common::{ContainerId, ProcessIdentity, Stamp, WallTime, identity::BootId, runtime::Runtime, wire};
use std::fmt::Debug;

/// The bytes that hexadecimal digits stand for; blanks group them for the reader.
pub fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|c| !c.is_ascii_whitespace()).collect();
    let digit = |c: u8| u8::try_from(char::from(c).to_digit(16).unwrap()).unwrap();
    digits.chunks_exact(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

/// The digits of `bytes`, for a message that can be pasted.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn id() -> ContainerId {
    "web-1".parse().unwrap()
}

/// A start time of 300 takes two bytes as a varint.
pub fn process(pid: u32) -> ProcessIdentity {
    let boot_id =
        BootId([0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f]);
    ProcessIdentity { pid, start_time: 300, boot_id, pidfs_inode: Some(5) }
}

pub fn stamp(n: u64) -> Stamp {
    Stamp { wall: WallTime(n), boot_ns: n + 1 }
}

pub fn runtime() -> Runtime {
    Runtime { program: "/bin/runc".into(), root: Some("/r".into()), args: vec!["--debug".into()] }
}

/// Length and body, and the JSON line, both ways.
#[track_caller]
pub fn golden_frame<T: Serialize + DeserializeOwned + Debug + PartialEq>(message: &T, expected: &str, json: &str) {
    let frame = wire::encode(message).unwrap();
    assert_eq!(hex(&frame), hex(&bytes(expected)), "{message:?}");
    assert_eq!(wire::decode::<T>(&frame[4..]).unwrap(), *message);
    // One line, broken here for the reader.
    let json: String = json.lines().map(str::trim_start).collect();
    assert_eq!(serde_json::to_string(message).unwrap(), json);
    assert_eq!(serde_json::from_str::<T>(&json).unwrap(), *message);
}

/// Each variant is its number in frames and its name in JSON.
#[track_caller]
pub fn small_enum<T: Serialize + Debug>(variants: &[T], names: &[&str]) {
    assert_eq!(variants.len(), names.len());
    for (number, (variant, name)) in variants.iter().zip(names).enumerate() {
        let body = &wire::encode(variant).unwrap()[4..];
        assert_eq!(body, [u8::try_from(number).unwrap()], "{variant:?}");
        assert_eq!(serde_json::to_string(variant).unwrap(), format!("\"{name}\""));
    }
}
