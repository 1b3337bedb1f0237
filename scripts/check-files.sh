#!/usr/bin/env bash
# What rustfmt and clippy do not look at: shell scripts, if shellcheck is there, and the length of files.
set -euo pipefail
cd "$(dirname "$0")/.."

if command -v shellcheck >/dev/null; then
    shellcheck scripts/*.sh .ci/run
fi

# A file has one noun and at most 300 lines, the tests at its end not counted.
status=0
while IFS= read -r file; do
    lines=$(sed '/^#\[cfg(test)\]$/,$d' "$file" | wc -l)
    if [ "$lines" -gt 300 ]; then
        echo "$file has $lines lines without its tests: split it in two (at most 300)" >&2
        status=1
    fi
done < <(find bench cli collector common shim tests/src -name '*.rs')
exit $status
