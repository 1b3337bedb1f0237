//! How a collector shares out the descriptors that it may have.

/// Descriptors that are kept for everything but watching containers: clients, runtimes, launches, files. A quarter
/// of the first 4096, a twentieth of what is above them, but at least 32 and at most 16384.
#[must_use]
pub fn reserve(limit: u64) -> u64 {
    (limit.min(4096) / 4 + limit.saturating_sub(4096) / 20).clamp(32, 16384)
}

/// Descriptors that watch containers, two for each: its FIFO and its init's pidfd. `open` are those that a collector
/// without any container has.
#[must_use]
pub fn seats(limit: u64, open: u64) -> u64 {
    limit.saturating_sub(reserve(limit)).saturating_sub(open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_comes_first() {
        assert_eq!([0, 40, 64, 128, 1024, 4096, 20_000].map(reserve), [32, 32, 32, 32, 256, 1024, 1819]);
        assert_eq!([1 << 20, u64::MAX].map(reserve), [16384; 2]);
        assert!(seats(20_000, 40) >= 2 * 9000);
        assert_eq!([0, 40, 64, 128, 1024].map(|limit| seats(limit, 14)), [0, 0, 18, 82, 754]);
    }
}
