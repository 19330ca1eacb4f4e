#!/bin/bash
# Runs tests on cgroups of version 2 with all their controllers, on a machine that has version 1: in a virtual
# machine with Debian's kernel, whose only files are this machine's programs and the sources. It is emulated, so a
# test takes ten times as long.
#
#   scripts/cgroup-v2.sh [test files...]
#
# Needs root, Debian on x86-64, and: apt install qemu-system-x86 busybox-static bubblewrap
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/node_modules/.bin:$PATH"
[ $# -gt 0 ] || set -- test/executor/command-cgroup.test.ts test/executor/hygiene.test.ts
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root"/{usr/bin,usr/lib,usr/lib64,etc,repo}
for folder in bin lib lib64; do ln -s "usr/$folder" "$root/$folder"; done

# A program and its libraries.
add() {
  install -m 755 "$(readlink -f "$1")" "$root/usr/bin/$2"
  { ldd "$1" 2>/dev/null || true; } | grep -o '/[^ ]*' | while read -r library; do
    case $library in /lib64/*) cp -L "$library" "$root/usr/lib64/" ;; *) cp -L "$library" "$root/usr/lib/" ;; esac
  done || true
}
for name in bash bwrap cat chmod cp cut dd env find getent grep head id ipcrm ln ls mkdir mkfifo mount mv nice nsenter \
  perl prlimit readlink rm sed seq setpriv setsid sh sleep stat tac tail touch tr true truncate umount unshare \
  wc; do
  add "$(PATH=/usr/sbin:/usr/bin type -P "$name")" "$name"
done
add "$(type -P node)" node
cp /bin/busybox "$root/usr/bin/"
cp -r src test package.json "$root/repo/"
# Suites are given a minute, which is short for what is emulated.
sed -i -E 's/timeout: [0-9]+_000, skip/timeout: 900_000, skip/' "$root"/repo/test/executor/*.ts
echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
printf '%s\n' "$@" >"$root/tests"

# bubblewrap needs a root that can be left, which the first one cannot. Each test is alone in a cgroup, as a
# service with Delegate=yes is.
cat >"$root/init" <<'INIT'
#!/bin/sh
export PATH=/usr/bin LD_LIBRARY_PATH=/usr/lib
if [ ! -e /proc ]; then
  mkdir /new
  mount -t tmpfs -o size=80% none /new
  busybox cp -a /usr /etc /repo /tests /init /bin /lib /lib64 /new/
  mkdir -p /new/proc /new/sys /new/dev /new/tmp /new/run /new/root /new/var/tmp
  exec busybox switch_root /new /init
fi
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mkdir -p /dev/shm /dev/mqueue
mount -t tmpfs none /dev/shm
mount -t mqueue none /dev/mqueue
chmod 1777 /dev/shm /tmp /var/tmp
mount -t cgroup2 none /sys/fs/cgroup
for controller in memory pids cpu; do echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control; done
busybox ifconfig lo up
ulimit -n 65536
cd /repo
for file in $(cat /tests); do
  mkdir /sys/fs/cgroup/service
  (echo 0 >/sys/fs/cgroup/service/cgroup.procs && exec node "$file")
  echo "exit code of $file: $?"
  find /sys/fs/cgroup/service -depth -type d -exec busybox rmdir {} ';'
done
busybox poweroff -f
INIT
chmod +x "$root/init"

kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-\S*\).*/\1/p' | head -n 1)
(cd "$work" && apt-get download -qq "$kernel" && dpkg -x "$kernel"_*.deb kernel)
(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) >"$work/initrd"
timeout 5400 qemu-system-x86_64 -accel tcg,thread=multi -cpu max -m 4000 -smp 2 -nographic -no-reboot -net none \
  -kernel "$work"/kernel/boot/vmlinuz-* -initrd "$work/initrd" \
  -append 'console=ttyS0 quiet panic=1 rdinit=/init' </dev/null | tee "$work/log"
! grep -aq '^exit code of .*: [^0]' "$work/log" && grep -aq '^exit code of' "$work/log"
