#!/usr/bin/env bash
# The decoders of every file and frame, against arbitrary bytes, for FUZZ_SECONDS in all: cargo-fuzz where it and a nightly
# toolchain are at hand, else the property tests with as many cases as there is time for.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${FUZZ_SECONDS:-600}
cargo=${CARGO:-cargo}
targets=(facts frames)
# Sanitised code is another world's.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
triple=$(rustc -vV | sed -n 's/^host: //p')

if command -v cargo-fuzz >/dev/null && cargo +nightly --version >/dev/null 2>&1; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    for target in "${targets[@]}"; do
        # What is found out goes there, not into the seeds.
        mkdir "$work/$target"
        (cd common && cargo +nightly fuzz run --target "$triple" "$target" "$work/$target" "fuzz/corpus/$target" -- \
            -max_total_time=$((seconds / ${#targets[@]})) -max_len=65536 -rss_limit_mb=512 -malloc_limit_mb=16 \
            -print_final_stats=1 -verbosity=0)
    done
else
    echo "no cargo-fuzz or no nightly toolchain: property tests for $seconds s instead"
    end=$((SECONDS + seconds))
    until [ "$SECONDS" -ge "$end" ]; do
        PROPTEST_CASES=${PROPTEST_CASES:-20000} "$cargo" test --release -p sexton-common --test hostile_bytes --test round_trips
    done
fi
