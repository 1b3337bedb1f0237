//! Whatever the bytes are, a decoder answers and never panics; and no exit record outgrows a FIFO's atomic write.

#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

mod support;

use proptest::{collection::vec, prelude::*};
use sexton_common::{
    ContainerId, ExitRecord, ExitStatus, Init, Launch, ProcessIdentity, Source, Stamp, WallTime,
    durable::{self, Damage, Fact},
    exit::Usage,
    gc::Entry,
    identity::BootId,
    launch::{Clean, Started},
    wire::{self, Reply, Request},
};
use support::{id, process, stamp};

fn record() -> ExitRecord {
    ExitRecord {
        id: id(),
        generation: 2,
        process: Some(process(8)),
        status: ExitStatus::Signal { number: 9, core_dumped: false },
        source: Source::Waited,
        oom_killed: Some(true),
        started: Some(stamp(10)),
        exited: Some(stamp(20)),
        usage: Some(Usage::default()),
        memory_peak: Some(4096),
        cpu_ns: Some(77),
    }
}

/// All of them; what they answer does not matter.
fn decode_as_everything(bytes: &[u8]) {
    let _ = durable::decode::<Launch>(bytes);
    let _ = durable::decode::<sexton_common::instance::Instance>(bytes);
    let _ = durable::decode::<Init>(bytes);
    let _ = durable::decode::<Started>(bytes);
    let _ = durable::decode::<Clean>(bytes);
    let _ = durable::decode::<ExitRecord>(bytes);
    let _ = durable::decode::<Entry>(bytes);
    let _ = wire::decode::<Request>(bytes);
    let _ = wire::decode::<Reply>(bytes);
    let _ = serde_json::from_slice::<Request>(bytes);
    let _ = serde_json::from_slice::<Reply>(bytes);
}

/// A header that is right for `body`, so that the decoder gets as far as the body.
fn sealed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut checked = vec![kind, 1, 0];
    checked.extend_from_slice(body);
    let mut bytes = b"SXTN".to_vec();
    bytes.extend_from_slice(&checked[..3]);
    bytes.extend_from_slice(&u32::try_from(body.len()).unwrap().to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&checked).to_le_bytes());
    bytes.extend_from_slice(body);
    bytes
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..2048)) {
        decode_as_everything(&bytes);
    }

    #[test]
    fn arbitrary_bodies_with_a_right_checksum_never_panic(body in vec(any::<u8>(), 0..512)) {
        for kind in [Launch::KIND, Init::KIND, Started::KIND, Clean::KIND, ExitRecord::KIND, Entry::KIND] {
            decode_as_everything(&sealed(kind, &body));
        }
    }

    #[test]
    fn a_damaged_record_is_refused(flips in vec((0usize..200, 0u8..8), 1..4), tail in vec(any::<u8>(), 0..4)) {
        let whole = durable::encode(&record()).unwrap();
        let mut bytes = whole.clone();
        for (at, bit) in flips {
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
        }
        bytes.extend_from_slice(&tail);
        decode_as_everything(&bytes);
        if bytes != whole {
            prop_assert!(durable::decode::<ExitRecord>(&bytes).is_err());
        }
    }

    #[test]
    fn a_truncated_record_is_refused(end in 0usize..200) {
        let whole = durable::encode(&record()).unwrap();
        let bytes = &whole[..end % whole.len()];
        decode_as_everything(bytes);
        prop_assert_eq!(durable::decode::<ExitRecord>(bytes).unwrap_err(), Damage::Truncated);
    }

    #[test]
    fn every_record_comes_back_and_fits(
        name in "[a-zA-Z0-9_+-]{1,128}",
        numbers in vec(any::<u64>(), 12),
        code in any::<u8>(),
    ) {
        let stamp = |n: usize| Stamp { wall: WallTime(numbers[n]), boot_ns: numbers[n + 1] };
        let record = ExitRecord {
            id: name.parse().unwrap(),
            generation: numbers[0],
            status: ExitStatus::Code(code),
            started: Some(stamp(2)),
            exited: Some(stamp(4)),
            memory_peak: Some(numbers[6]),
            cpu_ns: Some(numbers[7]),
            usage: Some(Usage { user_us: numbers[8], system_us: numbers[9], ..Usage::default() }),
            ..record()
        };
        let bytes = durable::encode(&record).unwrap();
        prop_assert!(bytes.len() <= ExitRecord::MAX);
        prop_assert_eq!(durable::decode::<ExitRecord>(&bytes).unwrap(), record);
    }
}

#[test]
fn the_largest_record_fits_in_an_atomic_write() {
    let most = u64::MAX;
    let stamp = Stamp { wall: WallTime(most), boot_ns: most };
    let record = ExitRecord {
        id: "x".repeat(ContainerId::MAX).parse().unwrap(),
        generation: most,
        process: Some(ProcessIdentity {
            pid: u32::MAX,
            start_time: most,
            boot_id: BootId([0xff; 16]),
            pidfs_inode: Some(most),
        }),
        status: ExitStatus::Signal { number: u8::MAX, core_dumped: true },
        source: Source::None,
        oom_killed: Some(true),
        started: Some(stamp),
        exited: Some(stamp),
        usage: Some(Usage {
            user_us: most,
            system_us: most,
            max_rss_kib: most,
            minor_faults: most,
            major_faults: most,
            blocks_in: most,
            blocks_out: most,
            voluntary_switches: most,
            involuntary_switches: most,
        }),
        memory_peak: Some(most),
        cpu_ns: Some(most),
    };
    let bytes = durable::encode(&record).unwrap();
    assert!(bytes.len() <= ExitRecord::MAX, "{} bytes", bytes.len());
    assert_eq!(durable::decode::<ExitRecord>(&bytes).unwrap(), record);
}

#[test]
fn every_single_damage_has_its_name() {
    let whole = durable::encode(&record()).unwrap();
    let decode = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = whole.clone();
        change(&mut bytes);
        durable::decode::<ExitRecord>(&bytes).unwrap_err()
    };
    assert_eq!(decode(&Vec::clear), Damage::Truncated);
    assert_eq!(decode(&|b| b[0] = b'Z'), Damage::Magic);
    assert_eq!(decode(&|b| b[4] = b'L'), Damage::Kind('L', 'E'));
    assert_eq!(decode(&|b| b[5] = 2), Damage::Newer { found: 2, known: 1 });
    assert_eq!(decode(&|b| b[11] ^= 1), Damage::Checksum);
    assert_eq!(decode(&|b| b[20] ^= 1), Damage::Checksum);
    assert_eq!(decode(&|b| b.push(0)), Damage::TooLong);
    let makes_no_sense = sealed(ExitRecord::KIND, b"\x03a/b");
    assert!(matches!(durable::decode::<ExitRecord>(&makes_no_sense).unwrap_err(), Damage::Body(_)));
}

#[test]
fn a_frame_is_bounded_both_ways() {
    let long = Reply::Version { version: "x".repeat(wire::MAX_FRAME), protocol: 1, pid: 1 };
    assert_eq!(wire::encode(&long).unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    let frame = wire::encode(&Request::Version {}).unwrap();
    assert!(wire::decode::<Request>(&[&frame[4..], &[0]].concat()).is_err(), "bytes after the message");
    assert!(wire::decode::<Request>(&[]).is_err());
}
