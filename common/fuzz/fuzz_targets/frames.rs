//! Every message, as postcard and as JSON: a decoder answers, and what it makes of the bytes survives being sent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sexton_common::wire::{MAX_FRAME, Reply, Request, decode, encode};
use std::{fmt::Debug, io::Cursor};

/// A message that is too long to be sent is refused, not cut.
fn both<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + Debug>(bytes: &[u8]) {
    if let Ok(message) = decode::<T>(bytes) {
        survives(&message);
    }
    if let Ok(message) = serde_json::from_slice::<T>(bytes) {
        survives(&message);
    }
}

fn survives<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + Debug>(message: &T) {
    match encode(message) {
        Ok(frame) => assert_eq!(&decode::<T>(&frame[4..]).expect("what was sent can be read"), message),
        Err(e) => assert_eq!(e.kind(), std::io::ErrorKind::InvalidData),
    }
    let line = serde_json::to_vec(message).expect("every message has a JSON line");
    assert!(!line.contains(&b'\n'), "one line");
    assert_eq!(&serde_json::from_reader::<_, T>(Cursor::new(&line)).expect("it can be read"), message);
}

fuzz_target!(|bytes: &[u8]| {
    if bytes.len() <= MAX_FRAME {
        both::<Request>(bytes);
        both::<Reply>(bytes);
    }
});
