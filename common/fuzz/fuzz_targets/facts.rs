//! Every file: whatever the bytes are, a decoder answers; and what it makes of them is what they are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sexton_common::{
    ExitRecord, Init, Launch,
    durable::{Fact, decode, encode},
    gc::Entry,
    launch::{Clean, Started},
};

/// As it is, and with a right header, so that the fuzzer gets past the checksum.
fn both<F: Fact + PartialEq + std::fmt::Debug>(bytes: &[u8], sealed: &[u8]) {
    for bytes in [bytes, sealed] {
        if let Ok(fact) = decode::<F>(bytes) {
            let again = encode(&fact).expect("what was read can be written");
            assert_eq!(decode::<F>(&again).as_ref(), Ok(&fact));
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&kind, body)) = bytes.split_first() else { return };
    let sealed = seal(kind, body);
    both::<Launch>(bytes, &sealed);
    both::<sexton_common::instance::Instance>(bytes, &sealed);
    both::<Init>(bytes, &sealed);
    both::<Started>(bytes, &sealed);
    both::<Clean>(bytes, &sealed);
    both::<ExitRecord>(bytes, &sealed);
    both::<Entry>(bytes, &sealed);
});

fn seal(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut checked = vec![kind, 1, 0];
    checked.extend_from_slice(body);
    let mut bytes = b"SXTN".to_vec();
    bytes.extend_from_slice(&checked[..3]);
    bytes.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&checked).to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}
