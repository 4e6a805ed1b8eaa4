/**
 * One volume: its disk with bitmap and activity log, the requests on it, and what its state means for them. The state itself is
 * changed by the resource alone (`setState`).
 */
import { type BlockClient, type BlockDevice, EIO } from "../block-device.ts";
import { encodeTransaction } from "../metadata/activity-log.ts";
import type { Bitmap } from "../metadata/bitmap.ts";
import type { MetadataFailure } from "../metadata/failures.ts";
import { type Geometry, maxAlExtents } from "../metadata/geometry.ts";
import { encodeSuperblock, MD_MAGIC_84_UNCLEAN, MDF, type Superblock } from "../metadata/superblock.ts";
import type { Disk } from "../ports.ts";
import type { VolumeSettings } from "../resource/settings.ts";
import { metadataFlags } from "../state/attach.ts";
import { Conn, DiskState, initialState, isSuspended, isSyncState, Role, type State } from "../state/state.ts";
import type { UuidSet } from "../state/uuids.ts";
import {
  after,
  BYTES_PER_BIT,
  type Bytes,
  bit,
  bytes,
  type Instant,
  ms,
  NEVER,
  SECTOR_BYTES,
  type Sector,
  sector,
} from "../units.ts";
import { Activity } from "./activity.ts";
import { AppRequests } from "./app-requests.ts";
import { type AttachedDisk, readMetadata } from "./attach.ts";
import { BitmapWriter } from "./bitmap-writer.ts";
import { type MirrorMode, mirrorModes } from "./link.ts";
import { METADATA_BLOCK, MetadataIo } from "./metadata-io.ts";
import { Overlap } from "./overlap.ts";
import type { Counters, VolumeHost, VolumeParts } from "./parts.ts";
import { PeerRequests } from "./peer-requests.ts";
import { requestFlags as flag, requestKinds as kind, NO_SLOT } from "./requests.ts";
import { ResyncTarget } from "./resync-target.ts";

/** How often a running resync writes its bitmap (drbd-84 §6.4). */
const BITMAP_WRITE_INTERVAL = ms(2000);

/** What the resource adds to what its volumes share. */
export interface VolumeOwner extends VolumeHost {
  /** Every bit is clear on the Target but for those that failed. */
  onAllSynced(volume: Volume): void;
  /** Bits were cleared on the Source. */
  onSourceProgress(volume: Volume): void;
  onBarrierFlushed(volume: Volume, errno: number): void;
  readonly maxRequest: number;
  /** The agreed protocol version, 0 while not connected. */
  readonly apv: number;
}

/** The disk and what lies on it, while attached. */
interface Store {
  readonly data: Disk;
  readonly meta: Disk;
  readonly io: MetadataIo;
  readonly geometry: Geometry;
  readonly bitmap: Bitmap;
  readonly writer: BitmapWriter;
  readonly activity: Activity;
  readonly maxSize: Sector;
}

export class Volume implements VolumeParts, BlockDevice {
  readonly number: number;
  readonly settings: VolumeSettings;
  readonly host: VolumeOwner;
  readonly overlap: Overlap;
  readonly app: AppRequests;
  readonly peer: PeerRequests;
  readonly target: ResyncTarget;
  readonly counters: Counters = { ns: 0, nr: 0, dw: 0, dr: 0, al: 0, bm: 0 };
  state: State = initialState;
  superblock: Superblock | undefined;
  crashedPrimary = false;
  /** UUID of the data this node has been showing; 0 if none (drbd-84 §5.1). */
  exposedUuid = 0n;
  /** Agreed size in sectors; of the peer's while diskless. */
  size512: Sector = sector(0);
  mirror: MirrorMode = mirrorModes.none;
  held = false;
  refuses = false;
  diskUpToDate = false;
  diskUsable = false;
  peerReadable = false;
  peerDiskless = false;
  openCount = 0;
  /** Bits set when the resync began, and when that was. */
  resyncTotal = 0;
  resyncStarted = 0;
  sourceFailedBits = 0;
  /** The Target has said that it is through, while writes of ours that it has acknowledged were still under way here (drbd-84 §7.7). */
  targetIsThrough = false;
  bitmapDeadline: Instant = NEVER;
  /** While the disk is Negotiating: what it will be (drbd-84 §9.4, 5). */
  negotiatedDisk: number | undefined;
  /** Was Primary without its peer when it last stopped (drbd-84 §9.4, 6). */
  degraded = false;
  peerLogicalBlock = 512;
  #store: Store | undefined;
  #io: MetadataIo | undefined;
  /** Flushes of the data disk where the metadata lies elsewhere. */
  #dataIo: MetadataIo | undefined;
  /** Superblock writes under way, and other reasons not to start or answer application requests. */
  #holds = 0;
  readonly #clients = new Set<BlockClient>();

  constructor(host: VolumeOwner, settings: VolumeSettings) {
    this.host = host;
    this.settings = settings;
    this.number = settings.volume;
    this.overlap = new Overlap(host.requests.capacity, (id) => this.#ordered(id));
    this.app = new AppRequests(this);
    this.peer = new PeerRequests(this);
    const volume = this;
    this.target = new ResyncTarget(
      {
        get bitmap() {
          return volume.bitmap;
        },
        get size() {
          return volume.size;
        },
        get maxRequest() {
          return host.maxRequest;
        },
        get queued() {
          return host.link.queued;
        },
        sendResyncRequest: (at, length) => host.link.sendResyncRequest(this.number, at, length),
        onAllSynced: () => host.onAllSynced(this),
      },
      settings.rates,
    );
  }

  // ---- the disk ----

  get disk(): Disk | undefined {
    return this.#store?.data;
  }
  get activity(): Activity | undefined {
    return this.#store?.activity;
  }
  get bitmap(): Bitmap | undefined {
    return this.#store?.bitmap;
  }
  get geometry(): Geometry | undefined {
    return this.#store?.geometry;
  }
  /** Largest size the own disk can offer, 0 while diskless. */
  get maxSize(): Sector {
    return this.#store?.maxSize ?? sector(0);
  }
  /** Data stands at the start of its device, whatever the metadata's place. */
  readonly dataOffset = 0;

  get uuids(): UuidSet {
    return this.superblock ?? { current: 0n, bitmap: 0n, history1: 0n, history2: 0n };
  }

  /** Reads the metadata of a disk; the caller judges it and calls `take`, or closes the disks. */
  readMetadata(data: Disk, meta: Disk, done: (result: AttachedDisk | MetadataFailure) => void): void {
    this.#io = new MetadataIo(this.host.requests, this.host.memory, meta, this.number);
    readMetadata({
      io: this.#io,
      dataDisk: data,
      metaDisk: meta,
      placement: this.settings.placement,
      userSize: this.settings.userSize,
      done,
    });
  }

  /**
   * The disk becomes this volume's. The bits found are made stable, then the activity log is begun anew and the superblock marked as in use, in
   * this order: a crash in between finds either the old log or the bits made from it.
   */
  take(data: Disk, meta: Disk, found: AttachedDisk, done: (errno: number) => void): void {
    const io = this.#io ?? new MetadataIo(this.host.requests, this.host.memory, meta, this.number);
    const { geometry, bitmap } = found;
    const flushData = (flushed: (errno: number) => void) => this.#flushData(flushed);
    const writer = new BitmapWriter(bitmap, io, geometry.bmStart * SECTOR_BYTES, this.counters, flushData);
    const ring = geometry.al.stripes * geometry.al.stripeSize4k;
    const activity = new Activity({
      requests: this.host.requests,
      memory: this.host.memory,
      io,
      bitmap: writer,
      counters: this.counters,
      layout: geometry.al,
      start: geometry.alStart * SECTOR_BYTES,
      slots: Math.min(this.settings.alExtents, maxAlExtents(geometry.al)),
      nextTransaction: ring,
      owner: {
        onActive: (id) => {
          if (isPeers(this.host.requests.kind[id])) this.peer.active(id);
          else this.app.active(id);
        },
        onStarved: () => {
          this.host.link.closeEpoch();
          this.host.link.sendUnplug();
        },
        onMetadataError: (errno) => this.host.onDiskError(this.number, "metadata", errno),
        flushData,
      },
    });
    this.superblock = found.superblock;
    this.#dataIo = undefined;
    this.#store = { data, meta, io, geometry, bitmap, writer, activity, maxSize: found.maxSize };
    this.size512 = found.size;
    writer.writeAll((errno) => {
      if (errno !== 0) return done(errno);
      this.#clearLog(io, geometry, ring, activity.extents.slots, (cleared) => {
        if (cleared !== 0) return done(cleared);
        this.patchSuperblock(
          { laSize: found.size, magic: MD_MAGIC_84_UNCLEAN, alExtents: activity.extents.slots },
          done,
        );
      });
    });
  }

  /** As the kernel begins a log: N transactions that say nothing, numbers 0 … N-1 (drbd-84 §9.5). */
  #clearLog(io: MetadataIo, geometry: Geometry, ring: number, slots: number, done: (errno: number) => void): void {
    const context = new Uint32Array(slots).fill(0xffffffff);
    let open = ring;
    let failure = 0;
    for (let n = 0; n < ring; n++) {
      const empty = {
        trNumber: n,
        updates: 0,
        updateSlots: new Uint16Array(0),
        updateExtents: new Uint32Array(0),
        contextStart: 0,
        context,
      };
      const block = (n % geometry.al.stripes) * geometry.al.stripeSize4k + Math.floor(n / geometry.al.stripes);
      io.write(
        geometry.alStart * SECTOR_BYTES + block * METADATA_BLOCK,
        true,
        (_, offset) => encodeTransaction(this.host.memory, offset, empty),
        (errno) => {
          failure = failure || errno;
          if (--open === 0) done(failure);
        },
      );
    }
  }

  /** Calls back when no application request is open. */
  whenIdle(done: () => void): void {
    if (this.app.open === 0) done();
    else this.app.onIdle = done;
  }

  /** Another size was agreed on: new blocks are out of sync (drbd-84 §9.6). */
  resize(size: Sector): void {
    const { bitmap } = this;
    this.size512 = size;
    if (bitmap === undefined) return;
    bitmap.resize(size, true);
    this.writeBitmap(() => this.patchSuperblock({ laSize: size }));
  }

  /** Lets go of the disk at once; requests that wait for it end as failed. */
  drop(): void {
    const store = this.#store;
    if (store === undefined) return;
    if (this.needsBarrierFlush && this.host.link.hasOpenEpochs) {
      this.host.link.flushBegins();
      this.flushForBarrier();
    }
    this.#store = undefined;
    this.superblock = undefined;
    this.derive();
    store.io.close();
    this.#dataIo?.close();
    store.activity.release();
    this.#leaveRequests();
    store.data.close();
    if (store.meta !== store.data) store.meta.close();
  }

  /** Nothing that belongs to the disk that is gone may be taken for the next one's: references on extents, and operations under way. */
  #leaveRequests(): void {
    const { requests } = this.host;
    for (let id = 0; id < requests.capacity; id++) {
      if (requests.volume[id] !== this.number || requests.kind[id] === 0) continue;
      requests.clear(id, flag.active);
      if (requests.has(id, flag.localPending)) requests.set(id, flag.diskGone);
    }
  }

  /** Changes the superblock and writes it; until it is stable no application request is started or answered. */
  patchSuperblock(patch: Partial<Superblock>, done: (errno: number) => void = () => undefined): void {
    const store = this.#store;
    if (store === undefined || this.superblock === undefined) return done(0);
    this.superblock = { ...this.superblock, ...patch };
    this.holdAnswers();
    const ended = (errno: number) => {
      if (errno !== 0) this.host.onDiskError(this.number, "metadata", errno);
      done(errno);
      this.releaseAnswers();
    };
    // What the superblock claims of the data must be true of what is stable.
    this.#flushData((flushed) => {
      if (flushed !== 0 || this.#store !== store) return ended(flushed);
      store.io.write(
        store.geometry.superblock * SECTOR_BYTES,
        true,
        (target, offset) => {
          if (this.superblock !== undefined) encodeSuperblock(this.superblock, target, offset);
        },
        ended,
      );
    });
  }

  /** Writes the flags that follow from the state, if they changed. */
  persistFlags(done: (errno: number) => void = () => undefined): void {
    if (this.superblock === undefined || this.state.disk < DiskState.Inconsistent) return done(0);
    const flags = metadataFlags(this.superblock.flags, this.state, this.crashedPrimary);
    if (flags === this.superblock.flags) return done(0);
    this.patchSuperblock({ flags }, done);
  }

  setUuids(set: UuidSet, done?: (errno: number) => void): void {
    const { current, bitmap, history1, history2 } = set;
    const flags =
      this.superblock === undefined ? 0 : metadataFlags(this.superblock.flags, this.state, this.crashedPrimary);
    this.patchSuperblock({ current, bitmap, history1, history2, flags }, done);
    if (this.state.role === Role.Primary) this.exposedUuid = current;
  }

  writeBitmap(done: (errno: number) => void = () => undefined): void {
    const store = this.#store;
    if (store === undefined) return done(0);
    store.writer.writeAll((errno) => {
      if (errno !== 0) this.host.onDiskError(this.number, "metadata", errno);
      done(errno);
    });
  }

  /** Starts a flush of the data for the peer's barrier; answered by `onBarrierFlushed`. */
  flushForBarrier(): void {
    const store = this.#store;
    if (store === undefined || !store.data.hasVolatileCache || !this.settings.diskFlushes) {
      return this.host.onBarrierFlushed(this, 0);
    }
    const id = this.host.requests.acquire("control", kind.barrierFlush, 0);
    if (id === NO_SLOT) {
      return this.host.requests.whenControlRoom(() => {
        if (this.#store === store) this.flushForBarrier();
        else this.host.onBarrierFlushed(this, EIO);
      });
    }
    this.host.requests.volume[id] = this.number;
    store.data.flush(id);
  }

  get needsBarrierFlush(): boolean {
    return this.#store?.data.hasVolatileCache === true && this.settings.diskFlushes;
  }

  #flushData(done: (errno: number) => void): void {
    const store = this.#store;
    if (store === undefined || !store.data.hasVolatileCache || !this.settings.mdFlushes) return done(0);
    if (store.data === store.meta) return store.io.flush(done);
    this.#dataIo ??= new MetadataIo(this.host.requests, this.host.memory, store.data, this.number);
    this.#dataIo.flush(done);
  }

  onDisk(tag: number, result: number): void {
    switch (this.host.requests.kind[tag]) {
      case kind.metadata:
        return (this.#io?.owns(tag) === true ? this.#io : this.#dataIo)?.onDisk(tag, result);
      case kind.barrierFlush:
        this.host.requests.free(tag);
        return this.host.onBarrierFlushed(this, result < 0 ? -result : 0);
      case kind.peerWrite:
      case kind.peerTrim:
      case kind.peerZero:
      case kind.peerRead:
      case kind.resyncRead:
      case kind.resyncWrite:
        return this.peer.onDisk(tag, result);
      default:
        return this.app.onDisk(tag, result);
    }
  }

  // ---- bits ----

  setOutOfSync(at: number, length: number): void {
    this.bitmap?.setOutOfSync(sector(Math.floor(at / SECTOR_BYTES)), bytes(length));
  }

  setInSync(at: number, length: number): void {
    const cleared = this.bitmap?.setInSync(sector(Math.floor(at / SECTOR_BYTES)), bytes(length)) ?? 0;
    if (cleared === 0) return;
    if (this.target.running) this.target.onProgress();
    else if (this.state.conn === Conn.SyncSource) this.host.onSourceProgress(this);
  }

  onResyncWriteFailed(length: number): void {
    if (this.target.running) this.target.onFailed(length);
  }

  overtakeResync(at: number, length: number): void {
    if (this.target.running) this.target.onLocalWrite(at, length);
  }

  readableLocally(at: number, length: number): boolean {
    if (this.state.disk >= DiskState.UpToDate) return true;
    const { bitmap } = this;
    if (this.state.disk !== DiskState.Inconsistent || bitmap === undefined) return false;
    const from = Math.floor(at / BYTES_PER_BIT);
    return !bitmap.any(bit(from), bit(Math.min(Math.ceil((at + length) / BYTES_PER_BIT), bitmap.bits)));
  }

  // ---- state ----

  /** What the state, and writes of the superblock under way, mean for requests. Does not start any: see `resume`. */
  derive(): void {
    const s = this.state;
    const holding = this.#holds > 0;
    this.diskUpToDate = this.#store !== undefined && s.disk === DiskState.UpToDate;
    this.diskUsable = this.#store !== undefined && s.disk >= DiskState.Inconsistent;
    this.peerReadable = s.conn >= Conn.Connected && s.pdsk === DiskState.UpToDate;
    this.peerDiskless = s.conn >= Conn.Connected && s.pdsk < DiskState.Inconsistent;
    const sends =
      s.conn >= Conn.Connected &&
      (s.pdsk === DiskState.UpToDate ||
        (s.pdsk >= DiskState.Inconsistent && s.conn >= Conn.WFBitMapT && s.conn <= Conn.PausedSyncT));
    const marks = s.conn === Conn.WFBitMapS || s.conn === Conn.Ahead;
    this.mirror = sends ? mirrorModes.send : marks ? mirrorModes.outOfSync : mirrorModes.none;
    this.held =
      holding ||
      isSuspended(s) ||
      s.conn === Conn.WFBitMapT ||
      s.conn === Conn.WFSyncUUID ||
      (s.conn === Conn.WFBitMapS && this.host.apv < 96) ||
      s.disk === DiskState.Attaching ||
      s.disk === DiskState.Negotiating;
    if (holding) this.app.completionsHeld = true;
  }

  /** Starts what was held back, and answers what was not to be answered before the superblock was stable. */
  resume(): void {
    if (this.#holds === 0) this.app.completionsHeld = false;
    if (!this.held) this.app.resume();
  }

  /** No application request is started or answered until `releaseAnswers` has been called as often. */
  holdAnswers(): void {
    this.#holds++;
    this.derive();
  }

  releaseAnswers(): void {
    this.#holds--;
    this.derive();
    this.resume();
  }

  // ---- resync ----

  /** A resync begins, on either side: figures for its progress. */
  beginResync(now: Instant): void {
    this.resyncTotal = this.bitmap?.count ?? 0;
    this.resyncStarted = now;
    this.sourceFailedBits = 0;
    this.targetIsThrough = false;
    this.bitmapDeadline = after(now, BITMAP_WRITE_INTERVAL);
  }

  /** The Target could not write what we sent it: its bits stay set on both sides. */
  onSourceFailed(length: number): void {
    this.sourceFailedBits += Math.ceil(length / BYTES_PER_BIT);
  }

  /** While a resync runs, its progress goes to disk now and then, so that it goes on where it stopped (drbd-84 §6.4). */
  onTimer(now: Instant): void {
    if (now < this.bitmapDeadline) return;
    this.bitmapDeadline = this.isSyncing ? after(now, BITMAP_WRITE_INTERVAL) : NEVER;
    this.writeBitmap();
  }

  setFullSync(value: boolean, done: (errno: number) => void): void {
    const flags = this.superblock?.flags ?? 0;
    this.patchSuperblock({ flags: value ? flags | MDF.FULL_SYNC : flags & ~MDF.FULL_SYNC }, done);
  }

  get isSyncing(): boolean {
    return isSyncState(this.state.conn);
  }

  #ordered(id: number): void {
    if (isPeers(this.host.requests.kind[id])) this.peer.ordered(id);
    else this.app.ordered(id);
  }

  // ---- BlockDevice ----

  get requestCapacity(): number {
    return this.host.requests.capacity;
  }
  get size(): Bytes {
    return bytes(this.size512 * SECTOR_BYTES);
  }
  get minimumBlock(): number {
    return Math.max(this.disk?.logicalBlock ?? 512, this.peerLogicalBlock);
  }
  readonly preferredBlock = 4096;
  get readOnly(): boolean {
    return this.host.role !== "Primary";
  }
  /** One order for all sessions, and a flush waits for the epochs of all. */
  readonly multiConnection = true;

  allocate(client: BlockClient, length: number): number {
    return this.app.allocate(client, length);
  }
  memoryOf(id: number): number {
    return this.host.requests.memory[id] ?? 0;
  }
  read(id: number, at: number, length: number): void {
    this.app.read(id, at, length);
  }
  write(id: number, at: number, length: number, fua: boolean): void {
    this.app.write(id, at, length, fua);
  }
  flush(id: number): void {
    this.app.flush(id);
  }
  trim(id: number, at: number, length: number, fua: boolean): void {
    this.app.trim(id, at, length, fua);
  }
  writeZeroes(id: number, at: number, length: number, fua: boolean, mayUnmap: boolean, fastOnly: boolean): void {
    this.app.writeZeroes(id, at, length, fua, mayUnmap, fastOnly);
  }
  release(id: number): void {
    this.app.release(id);
  }
  /** Everything is data: which parts of a replicated disk are holes is the file system's matter. */
  allocation(_at: number, length: number): number {
    return length;
  }
  opened(client: BlockClient): void {
    this.openCount++;
    this.#clients.add(client);
  }
  closed(client: BlockClient): void {
    this.openCount--;
    this.#clients.delete(client);
  }

  /** Asks every client to finish; new requests are refused from now on. */
  shutDownClients(): void {
    this.refuses = true;
    for (const client of [...this.#clients]) client.onShutdown();
  }
}

/** Whether a request of this kind came from the peer. */
const isPeers = (requestKind: number | undefined): boolean => (requestKind ?? 0) >= kind.peerWrite;
