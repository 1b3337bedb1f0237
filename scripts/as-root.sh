#!/usr/bin/env bash
# Runs a command as root, with this environment.
set -euo pipefail
[ "$(id -u)" -eq 0 ] && exec "$@"
command -v sudo >/dev/null || {
    echo "as-root: this needs root, and there is no sudo: run it as root" >&2
    exit 1
}
exec sudo -E env "PATH=$PATH:/usr/sbin:/sbin" "$@"
