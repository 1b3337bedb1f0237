#!/usr/bin/env bash
# install.sh BIN DESTDIR PREFIX SYSCONFDIR: puts what was built where the system looks for it. Needs no root
# if DESTDIR is one's own.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=$1 dest=$2 prefix=$3 sysconf=$4
root=$dest$prefix

install -D -m 0755 -t "$root/bin" "$bin/sexton" "$bin/sextond"
install -D -m 0755 -t "$root/libexec/sexton" "$bin/sexton-shim"
# Engines exec it by name, and sextond looks beside itself.
ln -sfn ../libexec/sexton/sexton-shim "$root/bin/sexton-shim"

mkdir -p "$root/lib/systemd/system"
sed "s|/usr/bin/|$prefix/bin/|" packaging/systemd/sextond.service >"$root/lib/systemd/system/sextond.service"
chmod 0644 "$root/lib/systemd/system/sextond.service"
install -D -m 0644 -t "$root/lib/tmpfiles.d" packaging/tmpfiles.d/sexton.conf
install -D -m 0644 -t "$dest$sysconf/sexton" packaging/sextond.toml.example
for doc in README.md LICENSE docs/*.md; do
    [ ! -f "$doc" ] || install -D -m 0644 -t "$root/share/doc/sexton" "$doc"
done
echo "installed below ${dest:-/}; next: systemctl daemon-reload && systemctl enable --now sextond"
