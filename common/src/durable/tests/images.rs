//! What a crash may leave: any of the changes of names that no fsync has confirmed, in any order in which a file
//! system may have written them; and of bytes that no fsync has confirmed any part, zeroes, or nothing.

use super::fake::{Change, Name, Node, State, apply};
use std::collections::BTreeMap;

/// More pending changes than this are more images than anybody waits for.
const MOST: usize = 12;

/// Every image of this state, as a file system on which everything is durable.
pub fn images(state: &State) -> Vec<State> {
    let pending: Vec<usize> = (0..state.changes.len()).filter(|&n| !state.changes[n].durable).collect();
    assert!(pending.len() <= MOST, "{pending:?}");
    let mut images = Vec::new();
    for subset in 0u32..1 << pending.len() {
        let mut names = BTreeMap::new();
        for (n, change) in state.changes.iter().enumerate() {
            let kept = pending.iter().position(|&p| p == n).is_none_or(|bit| subset >> bit & 1 == 1);
            if kept {
                apply(&mut names, change);
            }
        }
        let there = |(name, inode): (&Name, &usize)| (name.clone(), *inode);
        let changes = names.iter().map(|named| Change { removes: None, adds: Some(there(named)), durable: true });
        let changes = changes.collect();
        let base = State { nodes: state.nodes.clone(), names, changes };
        images.extend(contents(base));
    }
    images
}

fn contents(base: State) -> Vec<State> {
    let mut images = vec![base];
    for inode in 0..images[0].nodes.len() {
        let reachable = images[0].names.values().any(|named| *named == inode);
        let Node::File { live, durable, .. } = &images[0].nodes[inode] else { continue };
        let candidates = if reachable && live != durable { torn(live, durable) } else { vec![durable.clone()] };
        let with = |image: &State, bytes: &Vec<u8>| {
            let mut image = image.clone();
            image.nodes[inode] = Node::File { live: bytes.clone(), durable: bytes.clone(), spoilt: false };
            image
        };
        images = images.iter().flat_map(|image| candidates.iter().map(|bytes| with(image, bytes))).collect();
    }
    images
}

fn torn(live: &[u8], durable: &[u8]) -> Vec<Vec<u8>> {
    // What was there before the write, every prefix, and all of the length with a hole up to anywhere.
    let mut candidates = vec![durable.to_vec()];
    candidates.extend((0..=live.len()).map(|end| live[..end].to_vec()));
    candidates.extend((1..=live.len()).map(|hole| [&vec![0; hole][..], &live[hole..]].concat()));
    candidates
}
