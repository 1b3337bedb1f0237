#!/usr/bin/env bash
# Installs what is missing on a Debian machine that has Rust: `build` for building, `run` for demo and tests too,
# `bench` for what the benchmark compares with as well. Touches neither apt nor the network when nothing is missing.
set -euo pipefail

want=${1:?usage: install-deps.sh build|run|bench}
missing=()
need() { # COMMAND PACKAGE...
    command -v "$1" >/dev/null || PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null || missing+=("${@:2}")
}

command -v cargo >/dev/null || {
    echo "install-deps: there is no cargo: install Rust first, see https://rustup.rs" >&2
    exit 1
}
need cc gcc libc6-dev
if [ "$want" != build ]; then
    need runc runc
    need crun crun
    need unshare util-linux
    need mount mount
    need ps procps
    need mkfs.ext4 e2fsprogs
    need fsfreeze util-linux
    need losetup mount
    need ip iproute2
    # Containers of the demo and the tests have nothing but busybox in them, so it has to be static.
    if ! busybox=$(command -v busybox) || ldd "$busybox" >/dev/null 2>&1; then
        missing+=(busybox-static)
    fi
fi
if [ "$want" = bench ]; then
    # Where systemd runs, containerd's own service may start; the benchmark runs one of its own beside it.
    need conmon conmon
    need containerd containerd
    need ctr containerd
    need containerd-shim-runc-v2 containerd
fi

if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || {
        echo "install-deps: missing, and this is no Debian: install ${missing[*]} (Debian's names) yourself" >&2
        exit 1
    }
    echo "install-deps: installing ${missing[*]}"
    root=()
    [ "$(id -u)" -eq 0 ] || root=(sudo)
    install=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}")
    if ! "${install[@]}"; then
        # A fresh image has no package lists, and an old one has lists of packages that are gone.
        "${root[@]}" apt-get update -qq
        "${install[@]}"
    fi
fi

# Without it the shim is linked statically with glibc, which is larger: see build.sh.
musl=$(uname -m)-unknown-linux-musl
if command -v rustup >/dev/null && ! rustup target list --installed | grep -qx "$musl"; then
    rustup target add "$musl" || echo "install-deps: no $musl target; the shim will be linked with glibc" >&2
fi
