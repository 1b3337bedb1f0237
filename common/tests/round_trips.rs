//! Arbitrary values of everything that is stored or sent come back as they were, and no flipped bit goes unnoticed in
//! what is stored.

#![allow(clippy::unwrap_used, reason = "a test that cannot unwrap fails")]

mod arbitrary;

use arbitrary::{clean, entry, exit_record, init, instance, launch, reply, request, started};
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};
use sexton_common::{
    ExitRecord,
    durable::{self, Fact},
    wire,
};
use std::fmt::Debug;

fn stored<F: Fact + PartialEq + Debug>(fact: &F, flip: (prop::sample::Index, u8)) -> Result<(), TestCaseError> {
    let mut bytes = durable::encode(fact).unwrap();
    prop_assert_eq!(&durable::decode::<F>(&bytes).unwrap(), fact);
    let at = flip.0.index(bytes.len());
    bytes[at] ^= 1 << flip.1;
    prop_assert!(durable::decode::<F>(&bytes).is_err(), "bit {} of byte {at}", flip.1);
    Ok(())
}

fn sent<T: Serialize + DeserializeOwned + PartialEq + Debug>(message: &T) -> Result<(), TestCaseError> {
    let frame = wire::encode(message).unwrap();
    let length = u32::from_be_bytes(frame[..4].try_into().unwrap());
    prop_assert_eq!(length as usize, frame.len() - 4);
    prop_assert_eq!(&wire::decode::<T>(&frame[4..]).unwrap(), message);
    for end in 4..frame.len() {
        prop_assert!(wire::decode::<T>(&frame[4..end]).is_err(), "cut off at {end}");
    }
    let line = serde_json::to_string(message).unwrap();
    prop_assert!(!line.contains('\n'), "one line");
    prop_assert_eq!(&serde_json::from_str::<T>(&line).unwrap(), message);
    Ok(())
}

proptest! {
    #[test]
    fn facts(
        launch in launch(),
        init in init(),
        started in started(),
        clean in clean(),
        record in exit_record(),
        entry in entry(),
        instance in instance(),
        flip in (any::<prop::sample::Index>(), 0u8..8),
    ) {
        stored(&launch, flip)?;
        stored(&init, flip)?;
        stored(&started, flip)?;
        stored(&clean, flip)?;
        stored(&record, flip)?;
        stored(&entry, flip)?;
        stored(&instance, flip)?;
        prop_assert!(durable::encode(&record).unwrap().len() <= ExitRecord::MAX);
    }

    #[test]
    fn requests(request in request()) {
        sent(&request)?;
    }

    #[test]
    fn replies(reply in reply()) {
        sent(&reply)?;
    }
}
