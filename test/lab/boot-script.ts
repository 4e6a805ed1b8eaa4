/**
 * What pid 1 of a host runs, in busybox's shell: it furnishes the mount namespace and then reaps. Nothing it mounts
 * is seen outside, and all of it ends with the namespace.
 *
 * Arguments: directory of the host, host name, device minor of the loop device behind the volume (`-` for none),
 * path of the volume, `private` or `shared` for /mnt, overlaid directories ...
 *
 * It prints `namespaces` once they exist (so that the cables can be plugged in) and `ready` at the end.
 */
export const bootScript = `#!/bin/busybox sh
set -eu
echo namespaces
dir=$1 name=$2 minor=$3 volume=$4 mnt=$5
shift 5
hostname "$name"

# Writable and private, over what the machine has: writes go to the host's own directory and survive a power cut.
for d in "$@"; do
  [ -d "$d" ] || continue
  slot=$(echo "$d" | tr / _)
  mkdir -p "$dir/overlay/$slot" "$dir/work/$slot"
  mount -t overlay -o "lowerdir=$d,upperdir=$dir/overlay/$slot,workdir=$dir/work/$slot" overlay "$d"
done
mount --bind "$dir/log" /var/log
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/futago
chmod 1777 /run/lock

# Filesystem agents refuse a mount point that has mounts below it, hidden or not.
if [ "$mnt" = private ]; then
  awk '$2 ~ "^/mnt/" { print $2 }' /proc/mounts | tac | while read -r m; do umount -l "$m"; done
  mount -t tmpfs -o mode=755 tmpfs /mnt
fi

mount -t tmpfs -o mode=755 tmpfs /dev
for n in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0 fuse:10:229 loop-control:10:237; do
  rest=\${n#*:}
  mknod -m 666 "/dev/\${n%%:*}" c "\${rest%:*}" "\${rest#*:}"
done
mkdir /dev/pts /dev/shm /dev/net
mknod -m 666 /dev/net/tun c 10 200
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts /dev/pts
ln -s pts/ptmx /dev/ptmx
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
i=0
while [ $i -lt 32 ]; do
  mknod -m 660 /dev/loop$i b 7 $i
  i=$((i + 1))
done

# The one file under /proc that would act on the real machine.
if [ -e /proc/sysrq-trigger ]; then
  mount --bind /proc/sysrq-trigger /proc/sysrq-trigger
  mount -o remount,bind,ro /proc/sysrq-trigger
fi

# Held open, so that the kernel detaches the loop device by itself when this namespace ends, however it ends.
if [ "$minor" != - ]; then
  mkdir -p "\${volume%/*}"
  mknod -m 660 "$volume" b 7 "$minor"
  exec 9<"$volume"
fi

echo ready
exec >>"$dir/init.log" 2>&1 </dev/null
# Waiting for one child that never ends reaps all others, at once and without polling.
while :; do
  sleep 2147483647 &
  wait $! || :
done
`;
