/**
 * Every I/O under way is a slot: a small integer into these arrays. A slot is the tag of its disk operations, its index is the
 * low half of the block_id on the wire, and sessions use it for tables of their own. Nothing is allocated per request.
 *
 * Slots and payload memory have classes with reserved shares, so that one kind of work cannot starve another: the peer's
 * packets must be read even while every application slot waits for the peer.
 */
import type { BlockClient } from "../block-device.ts";
import { NO_MEMORY, Slab } from "../slab.ts";

export const NO_SLOT = -1;

export const requestKinds = {
  appRead: 1,
  appWrite: 2,
  appFlush: 3,
  appTrim: 4,
  appZero: 5,
  /** P_DATA, P_TRIM, P_ZEROES of the peer. */
  peerWrite: 6,
  peerTrim: 7,
  peerZero: 8,
  /** P_DATA_REQUEST being served. */
  peerRead: 9,
  /** P_RS_DATA_REQUEST being served (we are SyncSource). */
  resyncRead: 10,
  /** P_RS_DATA_REPLY being written (we are SyncTarget). */
  resyncWrite: 11,
  metadata: 12,
  /** A flush of the disk for the peer's barrier. */
  barrierFlush: 13,
  /** A block of zeroes, kept for good, that is sent to a peer without P_TRIM. */
  zeroBlock: 14,
} as const;
export type RequestKind = (typeof requestKinds)[keyof typeof requestKinds];

/** Bits of `Requests.flags`. */
export const requestFlags = {
  localPending: 0x1,
  peerPending: 0x2,
  localDone: 0x4,
  peerDone: 0x8,
  /** In the transfer log until its epoch's P_BARRIER_ACK. */
  logged: 0x10,
  /** The session has let go of it. */
  released: 0x20,
  /** A stream still sends its memory. */
  sending: 0x40,
  /** `onDone` was called. */
  answered: 0x80,
  fua: 0x100,
  /** Holds references on its activity-log extents. */
  active: 0x200,
  mayUnmap: 0x400,
  /** The peer could not do one of the packets that it was sent as. */
  partFailed: 0x800,
  /** Entered in the volume's overlap order. */
  ordered: 0x1000,
  /** Sent with DP_MAY_SET_IN_SYNC. */
  maySetInSync: 0x2000,
  /** The peer wants an ack on receipt (protocol B) / on completion (protocol C). */
  wantsReceiveAck: 0x4000,
  wantsWriteAck: 0x8000,
  /** The connection it came from is gone: do the work, answer nobody. */
  orphan: 0x10000,
  /** Waits for something before it may be submitted. */
  waiting: 0x20000,
  /** A stream is writing the peer's answer into its memory. */
  receiving: 0x40000,
  /** The disk it was given to has been let go since. */
  diskGone: 0x80000,
} as const;

export type SlotClass = "application" | "peer" | "resync" | "control";

interface Share {
  readonly slots: number;
  /** Power of two, at least 1 MiB; 0 for none. */
  readonly bytes: number;
}

/** Slots per class, and bytes of payload memory out of `slabBytes` (a power of two, at least 8 MiB). */
export function sharesOf(slabBytes: number): Readonly<Record<SlotClass, Share>> {
  return {
    application: { slots: 4096, bytes: slabBytes / 2 },
    peer: { slots: 4096, bytes: slabBytes / 4 },
    resync: { slots: 512, bytes: slabBytes / 8 },
    control: { slots: 256, bytes: slabBytes / 8 },
  };
}

const classes: readonly SlotClass[] = ["application", "peer", "resync", "control"];
const classNumber: Readonly<Record<SlotClass, number>> = { application: 0, peer: 1, resync: 2, control: 3 };

export class Requests {
  readonly capacity: number;
  readonly kind: Uint8Array;
  readonly flags: Int32Array;
  readonly volume: Int32Array;
  /** Bytes from the start of the volume (or of the metadata device). */
  readonly at: Float64Array;
  readonly length: Int32Array;
  /** Offset in the slab, or NO_MEMORY. */
  readonly memory: Int32Array;
  /** First failure as a positive errno, 0 while there is none. */
  readonly errno: Int32Array;
  /** block_id as it came from the peer, two raw halves. */
  readonly peerHigh: Uint32Array;
  readonly peerLow: Uint32Array;
  /** Index of the epoch it belongs to, the sender's or the receiver's. */
  readonly epoch: Int32Array;
  /** Link of the transfer log. */
  readonly next: Int32Array;
  /** Counts reuse of the slot: the high half of our block_id, so that a late ack cannot meet another request. */
  readonly generation: Uint32Array;
  /** When it was sent to the peer, for the request timer. */
  readonly since: Float64Array;
  /** Packets to the peer that are not answered yet: more than one where a packet of that version is too short for it. */
  readonly parts: Uint8Array;
  /** Pieces of its memory that a stream still sends. */
  readonly sends: Uint8Array;
  readonly client: (BlockClient | undefined)[];
  readonly #class: Uint8Array;
  readonly #free: Int32Array[];
  readonly #freeCount: number[];
  readonly #slabs: (Slab | undefined)[];
  /** Found no slot of the control class, in the order they came. */
  readonly #waiting: (() => void)[] = [];

  constructor(slabBytes: number) {
    const shares = sharesOf(slabBytes);
    this.capacity = classes.reduce((sum, name) => sum + shares[name].slots, 0);
    const n = this.capacity;
    this.kind = new Uint8Array(n);
    this.flags = new Int32Array(n);
    this.volume = new Int32Array(n);
    this.at = new Float64Array(n);
    this.length = new Int32Array(n);
    this.memory = new Int32Array(n).fill(NO_MEMORY);
    this.errno = new Int32Array(n);
    this.peerHigh = new Uint32Array(n);
    this.peerLow = new Uint32Array(n);
    this.epoch = new Int32Array(n);
    this.next = new Int32Array(n).fill(NO_SLOT);
    this.generation = new Uint32Array(n);
    this.since = new Float64Array(n);
    this.parts = new Uint8Array(n);
    this.sends = new Uint8Array(n);
    this.client = new Array<BlockClient | undefined>(n).fill(undefined);
    this.#class = new Uint8Array(n);
    this.#free = [];
    this.#freeCount = [];
    this.#slabs = [];
    let slot = 0;
    let base = 0;
    classes.forEach((name, c) => {
      const share = shares[name];
      const list = new Int32Array(share.slots);
      for (let i = 0; i < share.slots; i++) {
        // The lowest number is handed out first.
        list[share.slots - 1 - i] = slot;
        this.#class[slot++] = c;
      }
      this.#free.push(list);
      this.#freeCount.push(share.slots);
      this.#slabs.push(share.bytes === 0 ? undefined : new Slab(base, share.bytes));
      base += share.bytes;
    });
  }

  /** A slot with `bytes` of memory (0 for none), or NO_SLOT. */
  acquire(name: SlotClass, kind: RequestKind, bytes: number): number {
    const c = classNumber[name];
    const left = this.#freeCount[c] ?? 0;
    if (left === 0) return NO_SLOT;
    const id = this.#free[c]?.[left - 1] ?? NO_SLOT;
    if (bytes > 0) {
      const memory = this.#slabs[c]?.allocate(bytes) ?? NO_MEMORY;
      if (memory === NO_MEMORY) return NO_SLOT;
      this.memory[id] = memory;
    }
    this.#freeCount[c] = left - 1;
    this.kind[id] = kind;
    this.flags[id] = 0;
    this.errno[id] = 0;
    this.next[id] = NO_SLOT;
    this.generation[id] = (this.generation[id] ?? 0) + 1;
    return id;
  }

  /** Gives back the payload memory alone. */
  freeMemory(id: number): void {
    const memory = this.memory[id] ?? NO_MEMORY;
    if (memory === NO_MEMORY) return;
    this.memory[id] = NO_MEMORY;
    this.#slabs[this.#class[id] ?? 0]?.free(memory);
  }

  free(id: number): void {
    if (this.kind[id] === 0) throw new Error(`request ${id} freed twice`);
    this.freeMemory(id);
    this.kind[id] = 0;
    this.client[id] = undefined;
    const c = this.#class[id] ?? 0;
    const list = this.#free[c];
    const count = this.#freeCount[c] ?? 0;
    if (list !== undefined) list[count] = id;
    this.#freeCount[c] = count + 1;
    if (c !== classNumber.control) return;
    for (let left = this.#waiting.length; left > 0 && (this.#freeCount[c] ?? 0) > 0; left--) this.#waiting.shift()?.();
  }

  /** `retry` is called once, when a slot of the control class has been given back. */
  whenControlRoom(retry: () => void): void {
    this.#waiting.push(retry);
  }

  /** Slots of a class in use. */
  used(name: SlotClass): number {
    const c = classNumber[name];
    return (this.#free[c]?.length ?? 0) - (this.#freeCount[c] ?? 0);
  }

  has(id: number, flag: number): boolean {
    return ((this.flags[id] ?? 0) & flag) !== 0;
  }

  set(id: number, flag: number): void {
    this.flags[id] = (this.flags[id] ?? 0) | flag;
  }

  clear(id: number, flag: number): void {
    this.flags[id] = (this.flags[id] ?? 0) & ~flag;
  }
}

/** First in, first out. A request may stand in several lists, once in each. */
export class RequestList {
  readonly #next: Int32Array;
  #head = NO_SLOT;
  #tail = NO_SLOT;
  #count = 0;

  constructor(requests: Requests) {
    this.#next = new Int32Array(requests.capacity);
  }

  get head(): number {
    return this.#head;
  }

  get count(): number {
    return this.#count;
  }

  push(id: number): void {
    this.#next[id] = NO_SLOT;
    if (this.#tail === NO_SLOT) this.#head = id;
    else this.#next[this.#tail] = id;
    this.#tail = id;
    this.#count++;
  }

  /** Removes the first, or returns NO_SLOT. */
  shift(): number {
    const id = this.#head;
    if (id === NO_SLOT) return NO_SLOT;
    this.#head = this.#next[id] ?? NO_SLOT;
    if (this.#head === NO_SLOT) this.#tail = NO_SLOT;
    this.#count--;
    return id;
  }
}
