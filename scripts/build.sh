#!/usr/bin/env bash
# Builds the release binaries and leaves them in TARGET/bin. The shim is static, by a target and flags of its own,
# so that the others are not built anew for them.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${1:?usage: build.sh TARGET_DIR}
cargo=${CARGO:-cargo}
export CARGO_TARGET_DIR=$target

"$cargo" build --release -p sexton-cli -p sexton-collector

arch=$(uname -m)
triple=$arch-unknown-linux-musl
flags='-C relocation-model=static'
# rustc knows where a target's library would be, whether it is there or not.
if [ ! -d "$(rustc --print target-libdir --target "$triple")" ]; then
    triple=$arch-unknown-linux-gnu
    flags+=' -C target-feature=+crt-static'
fi
RUSTFLAGS=$flags "$cargo" build --profile shim -p sexton-shim --target "$triple"

mkdir -p "$target/bin"
put() { # a running binary cannot be written to, but it can be replaced
    install -m 0755 "$1" "$target/bin/.$2.new"
    mv -f "$target/bin/.$2.new" "$target/bin/$2"
}
put "$target/release/sexton" sexton
put "$target/release/sextond" sextond
put "$target/$triple/shim/sexton-shim" sexton-shim
