#!/usr/bin/env bash
# demo.sh BIN: real runc containers and a plain program under sextond, one of them through a kill of sextond itself. Where
# runc cannot be run, plain programs take the containers' places. Checks every status; ends with 1 at the first that
# is not exact. Works in a temporary directory and cleans it up.
set -euo pipefail

bin=$(realpath "${1:?usage: demo.sh BIN}")
if [ "$(id -u)" -ne 0 ]; then
    echo "demo: runc needs root, so this goes on with sudo"
    exec "$(dirname "$0")/as-root.sh" bash "$0" "$bin"
fi
PATH=$bin:$PATH:/usr/sbin:/sbin

work=$(mktemp -d "${TMPDIR:-/tmp}/sexton-demo.XXXXXX")
export SEXTON_STATE_DIR=$work/state SEXTON_DATA_DIR=$work/data
daemon=
runc=
containers=(zero seven killed survivor plain)

say() { printf '\n== %s\n' "$*"; }
die() {
    echo "demo: $*" >&2
    exit 1
}
show() { # prints a command line, then runs it
    printf '$ %s\n' "$*"
    "$@"
}

cleanup() {
    local status=$?
    trap - EXIT
    set +e
    if [ -n "$daemon" ]; then
        sexton rm -f "${containers[@]/#/demo-$$-}" >/dev/null 2>&1
        kill -TERM "$daemon" 2>/dev/null
        wait "$daemon" 2>/dev/null
    fi
    # Only if the demo went wrong is there anything left here.
    if [ -n "$runc" ]; then
        for id in $(runc --root "$work/runc" list -q 2>/dev/null); do
            runc --root "$work/runc" delete --force "$id"
        done
    fi
    [ "$status" -eq 0 ] || sed 's/^/  sextond: /' "$work/sextond.log" >&2
    rm -rf "$work"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

start_daemon() {
    sextond >>"$work/sextond.log" 2>&1 &
    daemon=$!
    for _ in $(seq 100); do
        if sexton ps >/dev/null 2>&1; then return; fi
        kill -0 "$daemon" 2>/dev/null || die "sextond did not start"
        sleep 0.1
    done
    die "sextond does not answer"
}

bundle() { # NAME SCRIPT: a bundle whose process is busybox's shell
    mkdir -p "$work/$1"
    # For a plain program, which sees the root file system from outside.
    echo "${2//<\/go/<$work\/rootfs\/go}" >"$work/$1/script"
    cat >"$work/$1/config.json" <<EOF
{"ociVersion": "1.0.2", "root": {"path": "$work/rootfs", "readonly": true},
 "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "env": ["PATH=/bin"], "args": ["sh", "-c", "$2"]},
 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]}],
 "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}]}}
EOF
}

program() { # NAME SCRIPT OPTION...: a plain program, no bundle and no runtime
    show sexton run "${@:3}" "demo-$$-$1" -- sh -c "$2"
}

run() { # NAME OPTION...: the demo's own runtime root, so that nobody else's containers are in reach
    if [ -z "$runc" ]; then
        program "$1" "$(cat "$work/$1/script")" "${@:2}"
        return
    fi
    show sexton run --runtime-root "$work/runc" --bundle "$work/$1" "${@:2}" "demo-$$-$1"
}

# Whether a container can be run here at all: runc may be missing, or not be allowed to do what it does.
can_run() {
    if ! command -v runc >/dev/null || ! command -v busybox >/dev/null; then return 1; fi
    local status=0
    bundle probe 'exit 42'
    runc --root "$work/runc" run --bundle "$work/probe" "demo-$$-probe" </dev/null >"$work/probe.log" 2>&1 || status=$?
    [ "$status" -eq 42 ]
}

expect() { # NAME STATUS COMMAND...: the command ends with that status
    local status=0
    "${@:3}" || status=$?
    [ "$status" -eq "$2" ] || die "$1: status $status, not $2"
    echo "-> $status, as it should be"
}

field() { # NAME KEY: from inspect's JSON, whose strings and numbers are plain here
    sexton inspect --json "demo-$$-$1" | grep -o "\"$2\":\"\?[^,\"}]*" | head -n 1 | sed 's/^"[a-z_]*":"\?//'
}

say "a bundle: busybox, and nothing else"
mkdir -p "$work/rootfs/bin" "$work/rootfs/proc" "$work/rootfs/dev"
! command -v busybox >/dev/null || cp "$(command -v busybox)" "$work/rootfs/bin/busybox"
for tool in sh sleep echo; do ln -s busybox "$work/rootfs/bin/$tool"; done
mkfifo "$work/rootfs/go"
if can_run; then
    runc=runc
else
    echo "runc cannot run a container here: $(tail -n 1 "$work/probe.log" 2>/dev/null || echo "it is not installed")"
    echo "so the same is done with plain programs, which need no runtime"
fi
bundle zero 'echo hello from a container'
bundle seven 'exit 7'
bundle killed 'sleep 1000'
# A shell's own read waits on the FIFO until somebody writes a line to it.
bundle survivor 'read line </go; exit 42'

say "sextond, in a directory of its own"
start_daemon
sexton version

say "in the foreground: its output is ours, and so is its status"
expect zero 0 run zero
expect seven 7 run seven

say "in the background, killed by SIGKILL: 128 + 9"
run killed -d
show sexton kill "demo-$$-killed" KILL
expect killed 137 show sexton wait "demo-$$-killed"

say "a plain program: no bundle, no runtime; what it leaves in the background goes with it"
expect plain 7 program plain '(setsid sleep 1000 &); echo hello from a program; exit 7'
show sexton inspect "demo-$$-plain"

say "one that ends while sextond is dead"
run survivor -d
init=$(field survivor pid)
echo "its init has pid $init; now sextond gets SIGKILL"
{ kill -KILL "$daemon" && wait "$daemon"; } 2>/dev/null || true
daemon=
kill -0 "$init" 2>/dev/null || die "survivor: it did not survive"
echo go >"$work/rootfs/go"
for _ in $(seq 100); do
    if ! kill -0 "$init" 2>/dev/null; then break; fi
    sleep 0.1
done
! kill -0 "$init" 2>/dev/null || die "survivor: it did not end"
back=$(date -u +%Y-%m-%dT%H:%M:%S.%N)
echo "it ended, and nobody listened; sextond is started again"
start_daemon
expect survivor 42 show sexton wait "demo-$$-survivor"
show sexton inspect "demo-$$-survivor"
[ "$(field survivor source)" = waited ] || die "survivor: its status does not come from its parent"
[[ "$(field survivor exited_at)" < "$back" ]] || die "survivor: its exit is dated after sextond's return"

say "all of them"
show sexton ps -a
for name in "${containers[@]}"; do
    # Clean-up goes on by itself; a stopped container owns nothing any more.
    for _ in $(seq 100); do
        if [ "$(field "$name" state)" = stopped ]; then break; fi
        sleep 0.1
    done
    [ "$(field "$name" state)" = stopped ] || die "$name: it is $(field "$name" state), not stopped"
done
[ -z "$runc" ] || [ -z "$(runc --root "$work/runc" list -q)" ] || die "runc still knows a container"
show sexton rm "${containers[@]/#/demo-$$-}"
[ -z "$(sexton ps -aq)" ] || die "something is left"

printf '\ndemo: every exit exact\n'
