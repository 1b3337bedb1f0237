//! What is in the way, as clients see it.

use super::{Obstacle, holder, ward::shorten};
use sexton_common::{
    WallTime,
    wire::{self, MAX_FRAME},
};

/// As clients see an obstacle; looks at its processes, which blocks on `/proc`. As many of them as go into an answer: a
/// container may nest its cgroups as deep as it likes.
#[must_use]
pub fn shown(obstacle: &Obstacle, since: WallTime) -> wire::Obstacle {
    let mut room = MAX_FRAME / 2;
    let holders = obstacle.holders.iter().map(holder::describe).map(|mut holder| {
        holder.how = shorten(&holder.how);
        holder
    });
    let fits = |holder: &wire::Holder| {
        // In JSON quotes and backslashes take two.
        let size = serde_json::to_vec(holder).map_or(usize::MAX, |json| json.len());
        let fits = size <= room;
        room = room.saturating_sub(size);
        fits
    };
    wire::Obstacle {
        step: obstacle.step,
        what: shorten(&obstacle.what),
        since,
        holders: holders.take_while(fits).collect(),
    }
}
