import { agentPorts, kernelLogPort } from "./guest-scripts.ts";

/** A new sparse disk of that many bytes, or an existing file, used in place and left there. */
export type DiskPlan = ({ readonly bytes: number } | { readonly file: string }) & {
  /** Logical and physical block size, 512 by default. */
  readonly blockSize?: 512 | 4096;
};

/** A port of the guest that is reached at 127.0.0.1 of this machine. */
export interface Forward {
  readonly guestPort: number;
  /** Left out: a free one, which `hostPort` tells. */
  readonly hostPort?: number;
}

/** A network card on a bridge of this machine or of a namespace of it. */
export interface LinkPlan {
  readonly bridge: string;
  /** IPv4 address with its prefix length, `192.168.1.200/24`. */
  readonly address: string;
  readonly mac?: string;
}

export type NetPlan =
  | { readonly mode: "none" }
  /** QEMU's own network: the guest is 10.0.2.15, this machine's 127.0.0.1 is 10.0.2.2. No privileges. */
  | { readonly mode: "user"; readonly forwards?: readonly Forward[] }
  /** eth0, eth1 … are the links in order; `netns` is the pid of a process in the namespace with the bridges. Root. */
  | { readonly mode: "tap"; readonly netns?: number; readonly links: readonly LinkPlan[] };

/** QEMU's network: where the guest is, where this machine, seen from inside. */
export const userNetwork = { guest: "10.0.2.15", host: "10.0.2.2" } as const;

export interface Machine {
  readonly hostname: string;
  readonly image: string;
  readonly initrd: string;
  readonly memoryMb: number;
  readonly disks: readonly { readonly path: string; readonly blockSize: number }[];
  readonly net: NetPlan;
  /** The interface of each link of mode "tap". */
  readonly taps: readonly string[];
  /** Files that QEMU writes. */
  readonly console: string;
  readonly kernelLog: string;
  readonly captures: readonly string[];
  /** Paths that it connects to. */
  readonly monitor: string;
  readonly agents: readonly string[];
}

/** Ids by which the monitor knows the parts. */
export const ids = {
  card: (link: number): string => `nic${link}`,
  netdev: (link: number): string => `net${link}`,
  capture: (link: number, number: number): string => `dump${link}-${number}`,
};

const macOf = (link: number): string => `52:54:00:f0:7a:0${link + 1}`;

function network({ net, taps, captures }: Machine): readonly string[] {
  if (net.mode === "none") return [];
  const card = (link: number, mac: string): readonly string[] => [
    ...["-device", `virtio-net-pci,id=${ids.card(link)},netdev=${ids.netdev(link)},mac=${mac},romfile=`],
    ...["-object", `filter-dump,id=${ids.capture(link, 0)},netdev=${ids.netdev(link)},file=${captures[link]}`],
  ];
  if (net.mode === "user") return ["-netdev", `user,id=${ids.netdev(0)},ipv6=off`, ...card(0, macOf(0))];
  // With a vnet header, QEMU 7.2 writes it into the capture in front of each frame, where nobody expects it.
  return net.links.flatMap(({ mac }, link) => [
    ...["-netdev", `tap,id=${ids.netdev(link)},ifname=${taps[link]},script=no,downscript=no,vnet_hdr=off`],
    ...card(link, mac ?? macOf(link)),
  ]);
}

function kernelArguments({ net, hostname }: Machine): string {
  // Emulation on a busy machine looks like a lockup; a true one ends as a test's timeout.
  const calm = ["quiet", "loglevel=4", "nowatchdog", "rcupdate.rcu_cpu_stall_suppress=1", "mitigations=off", "nokaslr"];
  const log = ["console=ttyS0", "panic=-1", "log_buf_len=4M", "printk.devkmsg=on"];
  const addresses =
    net.mode === "user"
      ? [`futago.address=eth0:${userNetwork.guest}/24`, `futago.gateway=${userNetwork.host}`]
      : net.mode === "tap"
        ? net.links.map(({ address }, link) => `futago.address=eth${link}:${address}`)
        : [];
  return [...log, ...calm, `futago.hostname=${hostname}`, ...addresses].join(" ");
}

/** The command line of the machine: software emulation, so that it is the same with and without /dev/kvm. */
export function qemuCommand(machine: Machine): readonly string[] {
  const socket = (id: string, path: string): readonly string[] => ["-chardev", `socket,id=${id},path=${path}`];
  return [
    ...["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    ...["-accel", "tcg,thread=multi", "-cpu", "max,la57=off", "-smp", "2", "-m", String(machine.memoryMb)],
    ...["-kernel", machine.image, "-initrd", machine.initrd, "-append", kernelArguments(machine)],
    ...["-serial", `file:${machine.console}`],
    ...[...socket("monitor", machine.monitor), "-mon", "chardev=monitor,mode=control"],
    ...["-device", "virtio-serial-pci", "-chardev", `file,id=log,path=${machine.kernelLog}`],
    ...["-device", `virtserialport,chardev=log,nr=${kernelLogPort}`],
    ...machine.agents.flatMap((path, index) => [
      ...socket(`agent${index}`, path),
      ...["-device", `virtserialport,chardev=agent${index},nr=${agentPorts[index]}`],
    ]),
    // Only QEMU is ever killed, not this machine: what the guest has written is in the files without an fsync.
    ...machine.disks.flatMap(({ path, blockSize }, index) => [
      ...["-drive", `if=none,id=disk${index},file=${path},format=raw,cache=unsafe,discard=unmap`],
      "-device",
      `virtio-blk-pci,drive=disk${index},logical_block_size=${blockSize},physical_block_size=${blockSize}`,
    ]),
    ...network(machine),
  ];
}
