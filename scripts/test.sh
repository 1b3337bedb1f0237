#!/usr/bin/env bash
# All tests, against the binaries in SEXTON_BIN_DIR. They are built as this user and run as root.
set -euo pipefail
cd "$(dirname "$0")/.."

triple=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
[ "$(id -u)" -eq 0 ] || export "CARGO_TARGET_${triple}_RUNNER=$PWD/scripts/as-root.sh"
# Debian's runc is in sbin, which is not in everybody's PATH.
export PATH=$PATH:/usr/sbin:/sbin
# One failing crate must not hide what the others say.
"${CARGO:-cargo}" test --workspace --no-fail-fast
