/**
 * The activity log at work (drbd-84 §8.1 step 2, §9.5): a request may be submitted when every 4 MiB extent it touches is listed on disk.
 * Order when an extent gives way: its bitmap page, a flush of the data written to it, then the transaction, then the new data.
 */
import {
  ActiveExtents,
  AL_ACTIVE,
  AL_BUSY,
  AL_FULL,
  AL_PENDING,
  AL_STARVED,
  bitmapPageOf,
} from "../metadata/active-extents.ts";
import { encodeTransaction, ringPosition } from "../metadata/activity-log.ts";
import type { AlLayout } from "../metadata/geometry.ts";
import type { Memory } from "../ports.ts";
import { AL_EXTENT_BYTES, alExtent } from "../units.ts";
import type { BitmapWriter } from "./bitmap-writer.ts";
import { METADATA_BLOCK, type MetadataIo } from "./metadata-io.ts";
import type { Counters } from "./parts.ts";
import { requestFlags as flag, NO_SLOT, RequestList, type Requests } from "./requests.ts";

export interface ActivityOwner {
  /** The extents of the request are on disk: submit it. */
  onActive(id: number): void;
  /** No slot is free until epochs are acknowledged: ask for it. */
  onStarved(): void;
  /** The log cannot be written: the disk has failed. Requests that waited are handed out by `onActive` afterwards. */
  onMetadataError(errno: number): void;
  /** Makes everything written to the data disk stable. */
  flushData(done: (errno: number) => void): void;
}

export class Activity {
  readonly extents: ActiveExtents;
  readonly #requests: Requests;
  readonly #memory: Memory;
  readonly #io: MetadataIo;
  readonly #bitmap: BitmapWriter;
  readonly #counters: Counters;
  readonly #layout: AlLayout;
  /** Byte offset of the ring on the metadata device. */
  readonly #start: number;
  readonly #owner: ActivityOwner;
  /** Found no room yet, in order. */
  readonly #queue: RequestList;
  /** Hold references and wait for the transaction under way: it lists their extents. */
  readonly #pending: RequestList;
  #broken = false;

  constructor(parts: {
    readonly requests: Requests;
    readonly memory: Memory;
    readonly io: MetadataIo;
    readonly bitmap: BitmapWriter;
    readonly counters: Counters;
    readonly layout: AlLayout;
    readonly start: number;
    readonly slots: number;
    readonly nextTransaction: number;
    readonly owner: ActivityOwner;
  }) {
    this.#requests = parts.requests;
    this.#memory = parts.memory;
    this.#io = parts.io;
    this.#bitmap = parts.bitmap;
    this.#counters = parts.counters;
    this.#layout = parts.layout;
    this.#start = parts.start;
    this.#owner = parts.owner;
    this.extents = new ActiveExtents(parts.slots, parts.nextTransaction);
    this.#queue = new RequestList(parts.requests);
    this.#pending = new RequestList(parts.requests);
  }

  /** Takes the request's extents. False: `onActive` comes later. */
  use(id: number): boolean {
    if (this.#broken) return true;
    if (this.#queue.count > 0) {
      this.#queue.push(id);
      return false;
    }
    return this.#try(id);
  }

  /** Gives back what `use` took. */
  unuse(id: number): void {
    if (!this.#requests.has(id, flag.active)) return;
    this.#requests.clear(id, flag.active);
    if (this.#broken) return;
    this.extents.unuse(this.#first(id), this.#count(id));
    if (this.#queue.count > 0) this.#retry();
  }

  #first(id: number) {
    return alExtent(Math.floor((this.#requests.at[id] ?? 0) / AL_EXTENT_BYTES));
  }

  #count(id: number): number {
    const end = (this.#requests.at[id] ?? 0) + (this.#requests.length[id] ?? 0) - 1;
    return Math.floor(end / AL_EXTENT_BYTES) - this.#first(id) + 1;
  }

  /** True if active at once; otherwise it stands in one of the lists. */
  #try(id: number): boolean {
    switch (this.extents.use(this.#first(id), this.#count(id))) {
      case AL_ACTIVE:
        this.#requests.set(id, flag.active);
        return true;
      case AL_PENDING:
        this.#requests.set(id, flag.active);
        this.#pending.push(id);
        this.#begin();
        return false;
      case AL_STARVED:
        this.#queue.push(id);
        this.#owner.onStarved();
        return false;
      case AL_BUSY:
      case AL_FULL:
        this.#queue.push(id);
        this.#begin();
        return false;
      default:
        return false;
    }
  }

  /** Tries the queue again, in order, until one has to wait. */
  #retry(): void {
    // A starved request may stand behind nothing now: the cache itself says when it may be asked again.
    for (let left = this.#queue.count; left > 0; left--) {
      const before = this.#queue.count;
      const id = this.#queue.shift();
      if (this.#try(id)) this.#owner.onActive(id);
      else if (this.#queue.count === before) return this.#rotateToFront(before);
    }
  }

  /** The request just tried went to the end of the queue: brings it back to the front. */
  #rotateToFront(count: number): void {
    for (let i = 1; i < count; i++) this.#queue.push(this.#queue.shift());
  }

  #begin(): void {
    if (!this.extents.begin()) return;
    // Without an eviction nothing has to be stable first.
    if (this.extents.evictedCount === 0) this.#write();
    else this.#owner.flushData((errno) => (errno === 0 ? this.#writePages() : this.#failed(errno)));
  }

  #writePages(): void {
    let open = 1;
    let failure = 0;
    const ended = (errno: number) => {
      failure = failure || errno;
      open--;
      if (open > 0) return;
      if (failure !== 0) this.#failed(failure);
      // The pages must not be overtaken by the transaction that relies on them.
      else this.#io.flush((flushed) => (flushed === 0 ? this.#write() : this.#failed(flushed)));
    };
    for (let n = 0; n < this.extents.evictedCount; n++) {
      open++;
      this.#bitmap.writePage(bitmapPageOf(this.extents.evicted(n)), ended);
    }
    ended(0);
  }

  #write(): void {
    const { transaction } = this.extents;
    this.#counters.al++;
    this.#io.write(
      this.#start + ringPosition(transaction.trNumber, this.#layout) * METADATA_BLOCK,
      true,
      (_, offset) => encodeTransaction(this.#memory, offset, transaction),
      (errno) => (errno === 0 ? this.#committed() : this.#failed(errno)),
    );
  }

  #committed(): void {
    this.extents.commit();
    // Asked for an extent of this very transaction while it was under way: they have what they waited for.
    for (let left = this.#pending.count; left > 0; left--) this.#owner.onActive(this.#pending.shift());
    this.#retry();
    this.#begin();
  }

  /** Nothing may rely on the log any more: the disk is given up, and the requests go on without it. */
  #failed(errno: number): void {
    this.#broken = true;
    this.#owner.onMetadataError(errno);
    this.release();
  }

  /** The disk is going away: lets every waiting request go on. */
  release(): void {
    this.#broken = true;
    for (const list of [this.#pending, this.#queue]) {
      for (let id = list.shift(); id !== NO_SLOT; id = list.shift()) {
        this.#requests.clear(id, flag.active);
        this.#owner.onActive(id);
      }
    }
  }
}
