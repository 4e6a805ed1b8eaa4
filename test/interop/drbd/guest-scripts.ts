/** The ports of the virtio console, by their number on the bus: `/dev/vport0p<nr>` in the guest. */
export const kernelLogPort = 1;
/** One agent serves each of these, so that one hung command leaves the others. */
export const agentPorts = [2, 3, 4] as const;

/** Modules that the guest can load, with what they depend on. The first row is loaded at boot. */
export const modules = {
  atBoot: ["virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "drbd"],
  onDemand: [
    ...["nbd", "loop", "softdog", "ext4", "dm-mod", "dm-flakey", "dm-delay", "dm-log-writes", "md-mod", "raid1"],
    ...["sch_netem", "nf_tables", "nft_ct", "nft_reject_inet", "iscsi_tcp"],
    // Named by drbd.conf (cram-hmac-alg, verify-alg, data-integrity-alg, csums-alg); the kernel asks modprobe for them.
    ...["hmac", "sha1_generic", "sha256_generic", "sha512_generic", "md5", "crc32c_generic"],
  ],
} as const;

/** Programs without which there is no guest; each is a path of this machine and keeps it. */
export const requiredPrograms = [
  ...["/bin/busybox", "/bin/dash", "/usr/sbin/drbdmeta", "/usr/lib/drbd/drbdsetup-84", "/usr/lib/drbd/drbdadm-84"],
  ...[
    "/usr/bin/head",
    "/usr/bin/dd",
    "/usr/bin/sha1sum",
    "/usr/bin/timeout",
    "/usr/bin/setsid",
    "/usr/bin/tcpdump",
    "/sbin/ip",
    "/sbin/tc",
  ],
  ...["/sbin/blkdiscard", "/sbin/losetup", "/sbin/blockdev", "/sbin/fstrim", "/sbin/mke2fs", "/sbin/e2fsck"],
] as const;

/** Programs that come along when this machine has them. */
export const optionalPrograms = ["/usr/sbin/nbd-client", "/sbin/dmsetup", "/usr/sbin/nft"] as const;

export const links: Readonly<Record<string, string>> = {
  "bin/sh": "dash",
  "sbin/modprobe": "../bin/busybox",
  "sbin/mkfs.ext4": "mke2fs",
  "sbin/fsck.ext4": "e2fsck",
};

/**
 * Pid 1. It answers for what the command line says in `futago.` words, then serves the agents. The real programs come
 * before busybox's applets in PATH, and the commands' shell is dash: busybox's own would prefer its applets whatever PATH
 * says, and `dd oflag=direct` or `blkdiscard -z` would silently be something else.
 * `usermode_helper=/bin/true` keeps DRBD from looking for its handler scripts.
 */
export const init = `#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /var/lock /var/run /var/lib/drbd /mnt /root
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/drbd HOME=/root
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
mount -t tmpfs run /run
mkdir -p /run/agent /run/lock /etc
echo root:x:0:0:root:/root:/bin/sh >/etc/passwd
echo root:x:0: >/etc/group
modprobe -a ${modules.atBoot.filter((name) => name !== "drbd").join(" ")}
modprobe drbd usermode_helper=/bin/true
until_there() { until [ -e $1 ]; do usleep 10000; done; }
until_there /dev/vport0p${kernelLogPort}
(while :; do cat /dev/kmsg; done >/dev/vport0p${kernelLogPort}) &
ip link set lo up
echo 127.0.0.1 localhost >/etc/hosts
for word in $(cat /proc/cmdline); do
  value=\${word#*=}
  case $word in
    futago.hostname=*) hostname $value; echo 127.0.1.1 $value >>/etc/hosts;;
    futago.address=*) ip addr add \${value#*:} brd + dev \${value%%:*}; ip link set \${value%%:*} up;;
    futago.gateway=*) ip route add default via $value;;
  esac
done
for port in ${agentPorts.join(" ")}; do
  until_there /dev/vport0p$port
  sh /agent /dev/vport0p$port &
done
while :; do wait; sleep 1; done
`;

/**
 * What runs commands. A request is a line `ID LIMIT INPUT` (limit in seconds, bytes of stdin), a line with the script for
 * `printf %b`, and the stdin; the answer is a line `ID CODE OUT ERR`, then stdout and stderr. GNU head reads no byte more
 * than it is told to. GNU timeout gives the command a process group of its own and kills all of it when the limit is
 * over; what a command left in the background lives on. Every program that need not be started counts: an exec takes the
 * emulated machine tens of milliseconds, and busybox runs its applets without one.
 */
export const agent = `exec 3<>$1
at=/run/agent/\${1##*/}
echo ready >&3
while read -r id limit input <&3 && read -r script <&3; do
  printf %b "$script" >$at.sh
  if [ $input = 0 ]; then from=/dev/null; else /usr/bin/head -c $input <&3 >$at.in; from=$at.in; fi
  /usr/bin/timeout -s KILL $limit /bin/sh $at.sh <$from >$at.out 2>$at.err 3<&- &
  # A shell that waits in the foreground would add its own word about a killed command.
  wait $!
  code=$?
  echo $id $code $(stat -c %s $at.out $at.err) >&3
  [ -s $at.out ] && cat $at.out >&3
  [ -s $at.err ] && cat $at.err >&3
  rm -f $at.*
done 2>/dev/console
`;
