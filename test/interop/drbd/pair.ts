import { createHash } from "node:crypto";
import { closeSync, createReadStream, openSync, readSync } from "node:fs";
import { until } from "../../lab/command.ts";
import type { Guest } from "./guest.ts";
import { userNetwork } from "./qemu.ts";
import type { KernelResource, SetupOptions } from "./resource.ts";

export interface KernelSidePlan {
  /** Resource of the guest, `r0`; one of that name that is still up is ended first. */
  readonly name: string;
  readonly minor: number;
  /** Which of the guest's disks: 0 is /dev/vda. Several are volumes 0, 1 … with minors from `minor` on. */
  readonly disk: number | readonly [number, ...number[]];
  /** Where the engine listens for its peer, on 127.0.0.1 of this machine. */
  readonly enginePort: number;
  /** Where the kernel listens in the guest; default 7789. Two resources at a time need two. */
  readonly kernelPort?: number;
  readonly net?: SetupOptions;
  readonly diskOptions?: SetupOptions;
  readonly resourceOptions?: SetupOptions;
  /** False: the disk's meta data is kept, as after a crash. Default true: `create-md`, a disk that never met a peer. */
  readonly fresh?: boolean;
  /** False: the resource stays StandAlone until `resource.connect()`. Default true. */
  readonly connect?: boolean;
  /** False: the kernel's own resync controller. Default true: as fast as it goes. */
  readonly unlimitedResync?: boolean;
}

/** The kernel's side of a pair whose other side is a program of this machine. */
export interface KernelSide {
  readonly guest: Guest;
  readonly resource: KernelResource;
  /** The kernel's address for the engine: `127.0.0.1:PORT` of this machine. */
  readonly address: string;
  /** The kernel's backing disk as a file of this machine; the data begins at byte 0, internal meta data is at its end. */
  readonly image: string;
  /** The same of each volume. */
  readonly images: readonly string[];
  /** Bytes of the replicated device. */
  readonly usableBytes: (volume?: number) => Promise<number>;
  /** Waits until the kernel listens for its peer: it does so in WFConnection only. */
  readonly listens: (timeout?: number) => Promise<void>;
  /** Writes `length` bytes of a repeated line with O_DIRECT to a Primary's device; what it wrote is `pattern`. */
  readonly write: (offset: number, length: number, line: string, volume?: number) => Promise<void>;
  /** SHA-256 of the replicated bytes as they are on the kernel's disk; settle the resync and end the writes before. */
  readonly digest: () => Promise<string>;
}

/**
 * Configures a resource of the kernel module whose peer is an engine of this machine, over QEMU's own network:
 *
 *     engine at 127.0.0.1:enginePort   <---  guest connects to 10.0.2.2:enginePort
 *     engine connects to `address`     --->  10.0.2.15:kernelPort, through a port forward of QEMU
 *
 * In the engine's drbd.conf its own address is `127.0.0.1:enginePort` and the peer's is `address`. The forward stays for
 * the guest's life, so `address` is the same for every resource on one kernelPort, and after another boot.
 *
 * What is different from a network:
 * - QEMU accepts a connection to `address` at any time, even while nobody listens in the guest, and resets it then. A
 *   connect that succeeded proves nothing; only the first packet does. An engine has to try again after connect-int, as
 *   for a refused connection; a test that connects itself waits for `listens` first.
 * - Connections from the kernel come from 127.0.0.1 and any port; those to it seem to come from 10.0.2.2, which is the
 *   peer that it is configured with.
 * - While the guest's link is cut, QEMU goes on taking what the engine sends, until its buffers are full, and keeps the
 *   connection: the engine sees silence. After `guest.kill()` it sees the connection end at once: no power cut.
 * - Both nodes connect at once: the crossing rules of the handshake (drbd-84 §1) are at work in about every run.
 * - A kernel that found split brain, or that was refused (another protocol, secret or algorithm), is StandAlone and stays
 *   so: call `resource.connect()` again.
 * - The device of a Secondary cannot be opened. Compare by `digest`, which reads the disk's file from outside.
 * - Timeouts: the emulated machine may need seconds for what takes milliseconds elsewhere. Give `ping-timeout` and
 *   `timeout` room unless they are what is tested.
 */
export async function startKernelSide(guest: Guest, plan: KernelSidePlan): Promise<KernelSide> {
  const { name, minor, kernelPort = 7789, net = {}, diskOptions = {}, resourceOptions = {} } = plan;
  const [first, ...more] = typeof plan.disk === "number" ? ([plan.disk] as const) : plan.disk;
  const volumeOn = (disk: number, number: number) => ({
    minor: minor + number,
    disk: `/dev/vd${String.fromCharCode(97 + disk)}`,
  });
  const resource = guest.resource({
    name,
    volumes: [volumeOn(first, 0), ...more.map((disk, index) => volumeOn(disk, index + 1))],
    local: `${userNetwork.guest}:${kernelPort}`,
    remote: `${userNetwork.host}:${plan.enginePort}`,
    ...{ net, diskOptions, resourceOptions },
  });
  await resource.down();
  if (plan.fresh !== false) await resource.createMd();
  await resource.up();
  if (plan.unlimitedResync !== false) await resource.unlimitedResync();
  const port = await guest.forward(kernelPort);
  if (plan.connect !== false) await resource.connect();

  const images = [first, ...more].map((disk) => guest.disk(disk));
  const usableBytes = async (volume = 0): Promise<number> =>
    Number(await guest.mustRun(`cat /sys/block/drbd${minor + volume}/size`)) * 512;
  return {
    guest,
    resource,
    address: `127.0.0.1:${port}`,
    image: guest.disk(first),
    images,
    usableBytes,
    listens: (timeout) => until(`kernel listens on ${kernelPort}`, () => listensOn(guest, kernelPort), timeout),
    write: async (offset, length, line, volume = 0) => {
      const flags = "bs=64k iflag=fullblock oflag=direct,seek_bytes conv=notrunc status=none";
      // `yes` is ended by its pipe; head decides.
      const text = `yes '${line}' | head -c ${length}`;
      await guest.mustRun(`${text} | dd of=/dev/drbd${minor + volume} seek=${offset} ${flags}`, { timeout: 60_000 });
    },
    digest: async () => digestOf(guest.disk(first), await usableBytes()),
  };
}

/** What `write` puts on the device, for the comparison on this side. */
export function pattern(length: number, line: string): Buffer {
  return Buffer.alloc(length, `${line}\n`);
}

/** SHA-256 of the first `bytes` of a file. */
export async function digestOf(file: string, bytes: number): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file, { end: bytes - 1 })) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

/** Offset of the first byte in which the first `bytes` of two files differ; undefined when they are equal. */
export function firstDifference(fileA: string, fileB: string, bytes: number): number | undefined {
  const [a, b] = [openSync(fileA, "r"), openSync(fileB, "r")];
  const [left, right] = [Buffer.alloc(65_536), Buffer.alloc(65_536)];
  try {
    for (let at = 0; at < bytes; at += left.length) {
      const length = Math.min(left.length, bytes - at);
      if (readSync(a, left, 0, length, at) !== length) throw new Error(`${fileA} ends before byte ${bytes}`);
      if (readSync(b, right, 0, length, at) !== length) throw new Error(`${fileB} ends before byte ${bytes}`);
      const [one, other] = [left.subarray(0, length), right.subarray(0, length)];
      if (!one.equals(other)) return at + one.findIndex((byte, index) => byte !== other[index]);
    }
    return undefined;
  } finally {
    closeSync(a);
    closeSync(b);
  }
}

/** A row of /proc/net/tcp: number, local address, remote address, state; 0A is LISTEN. */
async function listensOn(guest: Guest, port: number): Promise<boolean> {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  return new RegExp(`^ *\\d+: [0-9A-F]{8}:${hex} \\S+ 0A `, "m").test(await guest.mustRun("cat /proc/net/tcp"));
}
