/**
 * One resource in memory, driven turn by turn, with the test as its peer, its disk and its clients. Time passes only when told to
 * (`pass`), and then deadline by deadline.
 */

import type { BlockClient } from "../../../../src/core/block-device.ts";
import { ESHUTDOWN } from "../../../../src/core/block-device.ts";
import { createMd } from "../../../../src/core/metadata/create-md.ts";
import { geometryOf, maxDataSize, type Placement } from "../../../../src/core/metadata/geometry.ts";
import { openMetadata, writeSuperblock } from "../../../../src/core/metadata/open.ts";
import { decodeSuperblock, MDF, SUPERBLOCK_BYTES, type Superblock } from "../../../../src/core/metadata/superblock.ts";
import { forced } from "../../../../src/core/metadata/transcript.ts";
import { wordOf } from "../../../../src/core/peer/parameters.ts";
import { Resource, type ResourceEvent } from "../../../../src/core/resource/resource.ts";
import type { NetSettings, ResourceSettings, VolumeSettings } from "../../../../src/core/resource/settings.ts";
import { Conn, DiskState, Role, type State } from "../../../../src/core/state/state.ts";
import type { Outcome } from "../../../../src/core/status.ts";
import { bytes, instant, ms, sector, wholeSectors } from "../../../../src/core/units.ts";
import type { Volume } from "../../../../src/core/volume/volume.ts";
import { headerBytes, writeHeader } from "../../../../src/core/wire/header.ts";
import { connectionFeatures } from "../../../../src/core/wire/heads.ts";
import { packets } from "../../../../src/core/wire/packets.ts";
import { Listener, packet, type Received, type Speech } from "./_peer.ts";
import { TestDisk, TestNetwork, TestRandom, type TestStream } from "./_ports.ts";

const SLAB = 8 * 1024 * 1024;
export const MIB = 1024 * 1024;
/** Current UUID of data both nodes have. */
export const SAME = 0x1111222233334444n;

export const net: NetSettings = {
  local: { address: "10.0.0.1", port: 7789 },
  remote: { address: "10.0.0.2", port: 7789 },
  protocol: "C",
  connectInterval: ms(10_000),
  pingInterval: ms(10_000),
  pingTimeout: ms(500),
  timeout: ms(6000),
  koCount: 7,
  socketCheckTimeout: ms(0),
  maxEpochSize: 2048,
  allowTwoPrimaries: false,
  cramHmacAlg: "",
  sharedSecret: new Uint8Array(0),
  integrityAlg: "",
  verifyAlg: "",
  csumsAlg: "",
  useRle: true,
  after0p: "disconnect",
  after1p: "disconnect",
  after2p: "disconnect",
  alwaysAsbp: false,
  rrConflict: "disconnect",
};

export const volumeSettings = (volume: number): VolumeSettings => ({
  volume,
  minor: volume,
  placement: { kind: "internal" },
  backingDisk: `/dev/disk${volume}`,
  userSize: sector(0),
  alExtents: 67,
  onIoError: "detach",
  fencing: "dont-care",
  diskFlushes: true,
  mdFlushes: true,
  rates: { planAhead: 20, delayTarget: 10, fillTarget: 100, maxRate: 102_400, resyncRate: 250, maxBuffers: 2048 },
});

export interface RigOptions {
  readonly net?: Partial<NetSettings>;
  readonly volume?: Partial<VolumeSettings>;
  readonly volumes?: number;
  /** Size of each backing disk in bytes. */
  readonly diskBytes?: number;
  /** Metadata on a disk of its own. */
  readonly external?: boolean;
}

/** Who the peer is. */
export interface PeerOptions {
  readonly apv?: number;
  readonly features?: number;
  readonly futago?: boolean;
  readonly state?: Partial<State>;
  readonly current?: bigint;
  readonly bitmap?: bigint;
  readonly dirtyBits?: number;
  /** No P_UUIDS, and sizes of 0. */
  readonly diskless?: boolean;
}

const peerState: State = {
  role: Role.Secondary,
  peer: Role.Unknown,
  conn: Conn.WFConnection,
  disk: DiskState.UpToDate,
  pdsk: DiskState.DUnknown,
  susp: 0,
  aftrIsp: 0,
  peerIsp: 0,
  userIsp: 0,
  suspNod: 0,
  suspFen: 0,
};
export const stateWord = (change: Partial<State>): number => wordOf({ ...peerState, ...change });

/** A block client that lets go of each request as soon as it is answered. */
export class TestClient implements BlockClient {
  readonly #volume: Volume;
  readonly done = new Map<number, number>();
  /** Calls of `onDone` for a request that was answered already. */
  twice = 0;
  /** Keeps answered requests until `release`. */
  keeps = false;
  rooms = 0;
  readonly #open = new Set<number>();

  constructor(volume: Volume) {
    this.#volume = volume;
  }

  onDone(id: number, errno: number): void {
    if (!this.#open.delete(id)) this.twice++;
    this.done.set(id, errno);
    if (!this.keeps) this.#volume.release(id);
  }
  onRoom(): void {
    this.rooms++;
  }
  onShutdown(): void {
    this.done.set(-1, ESHUTDOWN);
  }

  take(length: number): number {
    const id = this.#volume.allocate(this, length);
    if (id < 0) throw new Error("no room");
    this.done.delete(id);
    this.#open.add(id);
    return id;
  }
}

export class Rig {
  now = 1000;
  readonly memory: { readonly bytes: Uint8Array; readonly view: DataView };
  readonly resource: Resource;
  readonly network: TestNetwork;
  readonly disks: TestDisk[] = [];
  readonly metaDisks: TestDisk[] = [];
  readonly events: ResourceEvent[] = [];
  readonly clients: TestClient[] = [];
  readonly settings: ResourceSettings;
  speech: Speech = { apv: 101, features: 0xf };
  data: Listener | undefined;
  meta: Listener | undefined;
  readonly #streams: TestStream[] = [];
  #queue: (() => void)[] = [];

  constructor(options: RigOptions = {}) {
    const buffer = new ArrayBuffer(SLAB);
    this.memory = { bytes: new Uint8Array(buffer), view: new DataView(buffer) };
    const later = (run: () => void): void => {
      this.#queue.push(run);
    };
    this.network = new TestNetwork(this.memory, later);
    const count = options.volumes ?? 1;
    const placement: Placement = { kind: options.external === true ? "flex-external" : "internal" };
    const volumes = Array.from({ length: count }, (_, n) => ({ ...volumeSettings(n), placement, ...options.volume }));
    this.settings = {
      name: "r0",
      node: "host01",
      volumes,
      net: { ...net, ...options.net },
      onNoDataAccessible: "io-error",
      slabBytes: SLAB,
      io: "direct",
    };
    for (let n = 0; n < count; n++) {
      const disk = new TestDisk(options.diskBytes ?? 16 * MIB, this.memory, later);
      disk.onDone = (tag, result) => this.volume(n).onDisk(tag, result);
      const meta = options.external === true ? new TestDisk(4 * MIB, this.memory, later) : disk;
      meta.onDone = disk.onDone;
      this.disks.push(disk);
      this.metaDisks.push(meta);
      this.format(n, placement, {});
    }
    this.resource = new Resource(this.settings, {
      memory: this.memory,
      network: this.network,
      random: new TestRandom(),
      digests: { hmac: () => undefined },
      openDisks: (n) => {
        const data = this.disk(n);
        const meta = this.metaDisks[n] ?? data;
        if ([data, meta].some((disk) => !disk.closed || disk.inFlight > 0)) return { code: 104, text: "in use" };
        data.closed = false;
        meta.closed = false;
        return { data, meta };
      },
      onEvent: (event) => this.events.push(event),
      onStatusChange: () => undefined,
    });
    for (let n = 0; n < count; n++) this.clients.push(new TestClient(this.volume(n)));
  }

  volume(n = 0): Volume {
    const volume = this.resource.volumes[n];
    if (volume === undefined) throw new Error(`volume ${n}`);
    return volume;
  }
  disk(n = 0): TestDisk {
    const disk = this.disks[n];
    if (disk === undefined) throw new Error(`disk ${n}`);
    return disk;
  }
  client(n = 0): TestClient {
    const client = this.clients[n];
    if (client === undefined) throw new Error(`client ${n}`);
    return client;
  }
  get state(): State {
    return this.volume().state;
  }

  #device(n: number) {
    const disk = this.metaDisks[n] ?? this.disk(n);
    return {
      size: disk.size,
      read: (at: number, length: number) => disk.load(at, length),
      write: (at: number, content: Uint8Array) => disk.store(at, content),
      flush: () => undefined,
    };
  }

  /** create-md, and a generation that the peer has too. */
  format(n: number, placement: Placement, change: Partial<Superblock>): void {
    const device = this.#device(n);
    const made = createMd({ device, name: "r0", placement }, forced);
    if (made.exitCode !== 0) throw new Error(made.stderr);
    const opened = openMetadata(device, placement);
    if (opened.kind !== "found") throw new Error("no metadata");
    const laSize = maxDataSize(opened.geometry, wholeSectors(bytes(this.disk(n).size)));
    const flags = MDF.CONSISTENT | MDF.WAS_UP_TO_DATE | MDF.AL_CLEAN;
    writeSuperblock(device, opened.geometry, { ...opened.superblock, laSize, current: SAME, flags, ...change });
  }

  /** As it stands on the disk. */
  superblock(n = 0): Superblock {
    const { size } = this.#device(n);
    const at = this.metaDisks[n] === this.disks[n] ? size - SUPERBLOCK_BYTES : 0;
    const reading = decodeSuperblock(this.#device(n).read(at, SUPERBLOCK_BYTES));
    if (reading.kind !== "v08") throw new Error(reading.kind);
    return reading.superblock;
  }

  /** The bitmap as it stands on the disk. */
  bitmapOnDisk(n = 0): Uint8Array {
    const superblock = this.superblock(n);
    const placed = geometryOf(superblock, this.volume(n).settings.placement, wholeSectors(bytes(this.#device(n).size)));
    if (!placed.ok) throw new Error(placed.detail);
    return this.#device(n).read(placed.geometry.bmStart * 512, 4096);
  }

  get log(): string[] {
    return this.events.flatMap((event) => ("text" in event ? [event.text] : []));
  }

  // ---- time ----

  /** Turns at the present moment until nothing is left to report. */
  turn(work: () => void = () => undefined): void {
    this.resource.beginTurn(instant(this.now));
    work();
    this.resource.endTurn();
    for (let n = 0; this.#queue.length > 0; n++) {
      if (n > 100_000) throw new Error("a turn without end");
      for (const stream of this.#streams) stream.flush();
      const batch = this.#queue;
      this.#queue = [];
      this.resource.beginTurn(instant(this.now));
      for (const run of batch) run();
      this.resource.endTurn();
    }
    for (const stream of this.#streams) stream.flush();
    if (this.#queue.length > 0) this.turn();
  }

  /** Lets time pass, stopping at every deadline. */
  pass(span: number): void {
    const until = this.now + span;
    for (let n = 0; ; n++) {
      if (n > 100_000) throw new Error("deadlines without end");
      const next = this.resource.deadline;
      if (next > until) break;
      this.now = Math.max(this.now, next);
      this.turn(() => this.resource.onTimer(instant(this.now)));
    }
    this.now = until;
    this.turn();
  }

  // ---- commands ----

  /** Runs a command; its outcome once it is through. */
  command(run: (done: (outcome: Outcome) => void) => void): { outcome: Outcome | undefined } {
    const result: { outcome: Outcome | undefined } = { outcome: undefined };
    this.turn(() =>
      run((outcome) => {
        result.outcome = outcome;
      }),
    );
    return result;
  }

  attach(n = 0): { outcome: Outcome | undefined } {
    return this.command((done) => this.resource.commands.attach(this.volume(n), done));
  }
  primary(n = 0, force = false): { outcome: Outcome | undefined } {
    return this.command((done) => this.resource.commands.primary(this.volume(n), force, done));
  }

  // ---- the peer ----

  say(
    name: Parameters<typeof packet>[1],
    values: Readonly<Record<string, unknown>> = {},
    tail?: Uint8Array,
    volume = 0,
  ) {
    const row = packets[name];
    const stream = row.stream === "control" ? this.meta : this.data;
    stream?.stream.feed(packet(this.speech, name, volume, values, tail));
    this.turn();
  }

  /** Both streams, and the handshake up to the agreement. */
  establish({ apv = 101, features = 0xf, futago = false }: PeerOptions = {}): void {
    this.command((done) => this.resource.commands.connect(false, done));
    this.reestablish({ apv, features, futago });
  }

  reestablish({ apv = 101, features = 0xf, futago = false }: PeerOptions = {}): void {
    const first: Speech = { apv: 0, features: 0 };
    const next = (): Listener => {
      for (let n = 0; !this.network.connecting; n++) {
        if (n > 60) throw new Error("the engine does not connect");
        this.pass(1000);
      }
      let stream: TestStream | undefined;
      this.turn(() => {
        stream = this.network.accept();
        this.#streams.push(stream);
      });
      if (stream === undefined) throw new Error("no stream");
      return new Listener(stream, first);
    };
    const data = next();
    this.pass(0);
    const meta = next();
    this.data = data;
    this.meta = meta;
    this.pass(600);
    data.take();
    const reserved = new Uint8Array(56);
    if (futago) reserved.set([0x46, 0x55, 0x54, 0x41, 0x47, 0x4f, 0x00, 0x01], 48);
    const hello = new Uint8Array(headerBytes(0) + connectionFeatures.bytes);
    const view = new DataView(hello.buffer);
    const at = writeHeader(view, 0, 0, packets.P_CONNECTION_FEATURES.code, 0, connectionFeatures.bytes);
    connectionFeatures.encode(view, at, { protocolMin: 86, featureFlags: features, protocolMax: apv, reserved });
    this.speech = { apv, features };
    data.stream.feed(hello);
    this.turn();
    data.speech = this.speech;
    meta.speech = this.speech;
  }

  /** What a peer says of itself after the agreement. */
  describe(options: PeerOptions = {}): void {
    const { apv } = this.speech;
    const { protocol } = this.settings.net;
    this.say(
      "P_PROTOCOL",
      {
        protocol: { A: 1, B: 2, C: 3 }[protocol],
        afterSb0p: 0,
        afterSb1p: 0,
        afterSb2p: 0,
        connFlags: 0,
        twoPrimaries: 0,
      },
      apv >= 87 ? new Uint8Array(1) : undefined,
    );
    for (const volume of this.resource.volumes) this.describeVolume(volume, options);
  }

  describeVolume(volume: Volume, options: PeerOptions): void {
    const { number } = volume;
    const rates = { resyncRate: 250, verifyAlg: "", csumsAlg: "", cPlanAhead: 20, cDelayTarget: 10, cFillTarget: 100 };
    const { apv } = this.speech;
    if (apv >= 89) this.say("P_SYNC_PARAM89", { ...rates, cMaxRate: 102_400 }, undefined, number);
    else this.say("P_SYNC_PARAM", { resyncRate: 250 }, apv >= 88 ? new Uint8Array(1) : undefined, number);
    this.say("P_SIZES", this.sizes(options.diskless === true ? 0 : volume.size512 || 32_000), undefined, number);
    if (options.diskless !== true) {
      this.say(
        "P_UUIDS",
        {
          current: options.current ?? SAME,
          bitmap: options.bitmap ?? 0n,
          history1: 0n,
          history2: 0n,
          dirtyBits: options.dirtyBits ?? 0,
          uuidFlags: 0,
        },
        undefined,
        number,
      );
    }
    const disk = options.diskless === true ? DiskState.Diskless : DiskState.UpToDate;
    this.say("P_STATE", { state: stateWord({ disk, ...options.state }) }, undefined, number);
  }

  sizes(sectors: number, uSize = 0): Readonly<Record<string, unknown>> {
    return {
      dSize: sectors,
      uSize,
      cSize: sectors,
      maxBioSize: MIB,
      queueOrderType: 0,
      ddsFlags: 0,
      physicalBlockSize: 512,
      logicalBlockSize: 512,
      alignmentOffset: 0,
      ioMin: 512,
      ioOpt: 0,
      discardEnabled: 1,
      discardZeroesData: 0,
      writeSameCapable: 0,
    };
  }

  /** From nothing to Connected. */
  connect(options: PeerOptions = {}): void {
    this.establish(options);
    this.describe(options);
    this.received();
  }

  /** Every packet that came on either stream since the last call. */
  received(): Received[] {
    return [...(this.data?.take() ?? []), ...(this.meta?.take() ?? [])];
  }

  /** The connection breaks. */
  lose(): void {
    this.data?.stream.close("reset");
    this.turn();
  }

  /** The peer consents to whatever we asked for. */
  consent(): void {
    this.say("P_STATE_CHG_REPLY", { retcode: 1 });
  }

  /** The peer's bitmap, plain; `value` in every byte. */
  sayBitmap(value: number, n = 0): void {
    const words = Math.min(510, Math.ceil(this.volume(n).size512 / 8 / 64));
    this.say("P_BITMAP", {}, plainBitmap(words, value), n);
    this.say("P_BITMAP", {}, undefined, n);
  }

  /** Connects to a peer that has to get everything from here: SyncSource. */
  becomeSource(options: PeerOptions = {}): void {
    this.connect({ ...options, state: { disk: DiskState.Inconsistent, ...options.state } });
    this.say("P_STATE", { state: stateWord({ conn: Conn.WFBitMapT, disk: DiskState.Inconsistent, pdsk: 8 }) });
    this.sayBitmap(0xff);
    this.received();
  }

  /** Connects to a peer from whom to get what is marked: SyncTarget, `bitmap` in every byte of the peer's. */
  becomeTarget(bitmap: number, options: PeerOptions = {}): void {
    this.connect({ current: 0x5555666677778888n, bitmap: SAME, ...options });
    this.sayBitmap(bitmap);
    this.say("P_SYNC_UUID", { uuid: 0x9999aaaabbbbccccn });
  }

  // ---- the application ----

  write(at: number, length: number, n = 0, fua = false): number {
    const id = this.client(n).take(length);
    this.turn(() => this.volume(n).write(id, at, length, fua));
    return id;
  }
  read(at: number, length: number, n = 0): number {
    const id = this.client(n).take(length);
    this.turn(() => this.volume(n).read(id, at, length));
    return id;
  }
  flush(n = 0): number {
    const id = this.client(n).take(0);
    this.turn(() => this.volume(n).flush(id));
    return id;
  }

  /** Acknowledges what was received as writes, by the name of the ack. */
  ack(
    writes: readonly Received[],
    name: "P_WRITE_ACK" | "P_RECV_ACK" | "P_RS_WRITE_ACK" | "P_NEG_ACK" = "P_WRITE_ACK",
  ) {
    for (const { values, tail, volume } of writes) {
      const blksize = tail.length > 0 ? tail.length : Number(values["size"] ?? 0);
      this.say(name, { sector: values["sector"], blockId: values["blockId"], blksize, seqNum: 1 }, undefined, volume);
    }
  }
}

/** Bits of a whole plain bitmap for `words` 64-bit words. */
export const plainBitmap = (words: number, value: number): Uint8Array => new Uint8Array(words * 8).fill(value);

export const named = (received: readonly Received[], ...names: readonly string[]): Received[] =>
  received.filter(({ name }) => names.includes(name));
