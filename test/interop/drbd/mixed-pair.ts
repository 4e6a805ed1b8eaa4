import { randomBytes } from "node:crypto";
import { closeSync, openSync, readSync, statSync, writeSync } from "node:fs";
import type { ExecutionContext } from "ava";
import { type FutagoSide, freePort, prepareFutagoSide } from "./futago-side.ts";
import type { Guest, MinorState } from "./guest.ts";
import { assertCleanLog, type KernelMessage } from "./kernel-log.ts";
import { firstDifference, type KernelSide, type KernelSidePlan, startKernelSide } from "./pair.ts";
import { tsharkReport } from "./tshark.ts";

type NetOptions = Readonly<Record<string, string | number>>;

export interface MixedPairOptions {
  /** Added to `usualNet` on both sides; replaces what it names. */
  readonly net?: NetOptions;
  readonly kernelNet?: NetOptions;
  readonly futagoNet?: NetOptions;
  /** Default C on both. */
  readonly protocol?: Partial<Record<"kernel" | "futago", "A" | "B" | "C">>;
  /** Default: HMAC-SHA1 with one secret; undefined: no authentication. */
  readonly secrets?: Readonly<Record<"kernel" | "futago", string | undefined>>;
  /** How many of the guest's disks are used, each a volume. */
  readonly volumes?: number;
  /** True: all disks empty, for a pair that skips the first sync. Default: each full of its own random bytes. */
  readonly blank?: boolean;
  /** Statements of Futago's `disk { }` section, and the kernel's options. */
  readonly futagoDisk?: string;
  readonly kernelDisk?: NetOptions;
  /** Something between the two: where the kernel finds Futago, and Futago the kernel. */
  readonly through?: (ports: { readonly futago: number; readonly kernel: number }) => Promise<{
    readonly futago: number;
    readonly kernel: number;
  }>;
}

/**
 * An emulated machine is slow to answer; of its own accord a kernel would let three seconds pass before each handshake, and request three
 * blocks of a resync at a time, because QEMU's network empties its send buffer of 16 KiB slowly.
 */
const usualNet = { "connect-int": 1, "ping-timeout": 30, "socket-check-timeout": 3, timeout: 60 };
const kernelBuffers = { "sndbuf-size": "1M" };
/** As fast as it goes, like `unlimitedResync` of the kernel's side. */
const fastResync = "c-plan-ahead 0; resync-rate 4G; c-min-rate 0;";
const kernelPort = 7789;

/** /proc/drbd of a pair that is in sync. */
export const inSync = { cs: "Connected", ds: "UpToDate/UpToDate", oos: 0 } as const;

const authentication = (secret: string | undefined): NetOptions =>
  secret === undefined ? {} : { "cram-hmac-alg": "sha1", "shared-secret": secret };

const statements = (options: NetOptions): string =>
  Object.entries(options)
    .map(([name, value]) => `${name} ${value};`)
    .join(" ");

/**
 * A Futago engine of this machine and the kernel of a guest: one pair at a time, opened anew for each story. All that is awaited is what the
 * kernel says.
 */
export class MixedPair {
  readonly guest: Guest;
  readonly scratch: string;
  /** How many packets of each command the captures held that were checked. */
  readonly seen = new Map<number, number>();
  /** Who connected, by address: the guest's own, and QEMU's for this machine. */
  readonly connectors = new Set<string>();
  /** Bytes of the smallest volume. */
  usable = 0;
  #futago: FutagoSide | undefined;
  #kernel: KernelSide | undefined;
  #plan: KernelSidePlan | undefined;
  #opened = 0;

  constructor(guest: Guest, scratch: string) {
    this.guest = guest;
    this.scratch = scratch;
  }

  get futago(): FutagoSide {
    if (this.#futago === undefined) throw new Error("no pair is open");
    return this.#futago;
  }
  get kernel(): KernelSide {
    if (this.#kernel === undefined) throw new Error("no pair is open");
    return this.#kernel;
  }

  /** Both sides with new metadata, looking for each other. */
  async open(options: MixedPairOptions = {}): Promise<void> {
    await this.close();
    const { net = {}, kernelNet = {}, futagoNet = {}, volumes = 1, protocol = {} } = options;
    const { kernel: kernelSecret, futago: futagoSecret } = options.secrets ?? {
      kernel: "FooFunFactory",
      futago: "FooFunFactory",
    };
    const name = `p${++this.#opened}`;
    const own = { futago: await freePort(), kernel: await this.guest.forward(kernelPort) };
    const seenAs = (await options.through?.(own)) ?? own;
    const disks = Array.from({ length: volumes }, (_, number) => number);
    for (const disk of disks) fill(this.guest.disk(disk), options.blank === true);
    const futago = prepareFutagoSide({
      ...{ scratch: this.scratch, name, port: own.futago, peer: `127.0.0.1:${seenAs.kernel}` },
      volumes: disks.map((disk) => statSync(this.guest.disk(disk)).size),
      protocol: protocol.futago ?? "C",
      net: statements({ ...usualNet, ...authentication(futagoSecret), ...net, ...futagoNet }),
      disk: `${fastResync} ${options.futagoDisk ?? ""}`,
    });
    this.#futago = futago;
    for (const disk of futago.disks) fill(disk, options.blank === true);
    await futago.createMetadata();
    await futago.up();
    const [first = 0, ...more] = disks;
    this.#plan = {
      ...{ name, minor: 0, disk: [first, ...more], enginePort: seenAs.futago, kernelPort },
      net: {
        ...{ protocol: protocol.kernel ?? "C", ...usualNet, ...kernelBuffers },
        ...{ ...authentication(kernelSecret), ...net, ...kernelNet },
      },
      diskOptions: options.kernelDisk ?? {},
    };
    this.#kernel = await startKernelSide(this.guest, this.#plan);
    const sizes = await Promise.all(disks.map((disk) => this.kernel.usableBytes(disk)));
    this.usable = Math.min(...sizes);
  }

  /** Waits for Connected, makes one side Primary by force, and waits for the full sync. */
  async sync(from: "kernel" | "futago"): Promise<void> {
    await this.reaches({ cs: "Connected", ro: "Secondary/Secondary", ds: "Inconsistent/Inconsistent" });
    if (from === "kernel") await this.kernel.resource.primary({ force: true });
    else await this.futago.primary("--force");
    await this.reaches({ ...inSync, ro: from === "kernel" ? "Primary/Secondary" : "Secondary/Primary" });
  }

  /** A blank pair is declared equal by the kernel: UpToDate on both sides without a resync. */
  async skipFirstSync(): Promise<void> {
    await this.reaches({ cs: "Connected", ds: "Inconsistent/Inconsistent" });
    await this.kernel.resource.newCurrentUuid({ clearBitmap: true });
    await this.reaches({ ...inSync, ro: "Secondary/Secondary" });
  }

  /** After the guest's boot: the same resource on the same disk. `connect: false` leaves it StandAlone. */
  async reopenKernel(connect = true): Promise<void> {
    if (this.#plan === undefined) throw new Error("no pair is open");
    this.#kernel = await startKernelSide(this.guest, { ...this.#plan, fresh: false, connect });
  }

  /** All of the kernel's volumes are so; otherwise throws with the words of both sides. */
  async reaches(wanted: MinorState, timeout?: number): Promise<void> {
    try {
      await this.kernel.resource.reaches(wanted, timeout);
    } catch (cause) {
      throw new Error(`${cause instanceof Error ? cause.message : cause}\nFutago:\n${this.futago.tail(30)}`, { cause });
    }
  }

  /** Both disks hold the same bytes, and the kernel's log no complaint. Returns that log since the last call. */
  async settled(t: ExecutionContext, expected: readonly RegExp[] = []): Promise<readonly KernelMessage[]> {
    const log = await this.guest.dmesg();
    assertCleanLog(log, expected);
    for (const [volume, image] of this.kernel.images.entries()) {
      const difference = firstDifference(this.futago.disks[volume] ?? "", image, this.usable);
      t.is(difference, undefined, `the disks of volume ${volume} differ`);
    }
    return log;
  }

  /** What both sides sent must be what Wireshark understands. */
  async checkCapture(t: ExecutionContext, pcap: string): Promise<void> {
    const { malformed, commands, connectors } = await tsharkReport(pcap);
    t.deepEqual(malformed, []);
    for (const [command, count] of commands) this.seen.set(command, (this.seen.get(command) ?? 0) + count);
    for (const address of connectors) this.connectors.add(address);
  }

  /** Ends both sides of the pair that is open, if one is. */
  async close(): Promise<void> {
    await this.#futago?.down();
    if (this.guest.isPowered) await this.#kernel?.resource.down();
    this.#futago = undefined;
    this.#kernel = undefined;
  }
}

/** The last resync that the kernel began, and how many 4 KiB blocks it was to take. */
export function resyncOf(
  log: readonly KernelMessage[],
): { readonly as: "SyncSource" | "SyncTarget"; readonly blocks: number } | undefined {
  const begun = log.flatMap(({ text }) => {
    const [, role, blocks] = /Began resync as (\w+) \(will sync \d+ KB \[(\d+) bits set\]\)/.exec(text) ?? [];
    return role === "SyncSource" || role === "SyncTarget" ? [{ as: role, blocks: Number(blocks) } as const] : [];
  });
  return begun.at(-1);
}

export function bytesAt(file: string, offset: number, length: number): Buffer {
  const [fd, bytes] = [openSync(file, "r"), Buffer.alloc(length)];
  try {
    if (readSync(fd, bytes, 0, length, offset) !== length) throw new Error(`${file} ends before ${offset + length}`);
    return bytes;
  } finally {
    closeSync(fd);
  }
}

function fill(file: string, blank: boolean): void {
  const fd = openSync(file, "r+");
  const { size } = statSync(file);
  try {
    writeSync(fd, blank ? Buffer.alloc(size) : randomBytes(size), 0, size, 0);
  } finally {
    closeSync(fd);
  }
}
