/**
 * The requests of one connection as typed arrays. A *request* is what the client sent, one reply each; a *piece* is what
 * the device works on: a request longer than the device takes becomes several. Requests have slots of their own because a
 * piece's memory may go back to the device while other pieces of the same request still run.
 */
import type { RequestId } from "../block-device.ts";
import { OK, type Verdict } from "./verdict.ts";

export const NONE = -1;
export type Slot = number;

/** An index inside the arrays always reads a number; `?? 0` only satisfies the compiler. */
export const cell = (
  array: Int32Array | Uint32Array | Uint16Array | Uint8Array | Float64Array,
  index: number,
): number => array[index] ?? 0;

export class RequestTable {
  readonly cookieHigh: Uint32Array;
  readonly cookieLow: Uint32Array;
  readonly type: Uint16Array;
  readonly flags: Uint16Array;
  readonly offset: Float64Array;
  readonly length: Uint32Array;
  /** Pieces not yet done, plus one while pieces are still being issued. */
  readonly pending: Int32Array;
  /** The first thing that went wrong. */
  readonly verdict: Uint8Array;
  /** Byte of the export where the failed piece starts, NONE where the request failed as a whole. */
  readonly failedAt: Float64Array;
  /** 1 once a part of the reply is on its way. */
  readonly replying: Uint8Array;
  /** 1 once the chunk that ends the reply has been sent. */
  readonly finished: Uint8Array;
  /** Payload bytes of the reply handed to the stream. */
  readonly sent: Uint32Array;
  /** Pieces of a reply that must go in order: first not yet sent, and last. */
  readonly first: Int32Array;
  readonly last: Int32Array;
  readonly #free: Int32Array;
  #freeCount: number;

  constructor(capacity: number) {
    this.cookieHigh = new Uint32Array(capacity);
    this.cookieLow = new Uint32Array(capacity);
    this.type = new Uint16Array(capacity);
    this.flags = new Uint16Array(capacity);
    this.offset = new Float64Array(capacity);
    this.length = new Uint32Array(capacity);
    this.pending = new Int32Array(capacity);
    this.verdict = new Uint8Array(capacity);
    this.failedAt = new Float64Array(capacity);
    this.replying = new Uint8Array(capacity);
    this.finished = new Uint8Array(capacity);
    this.sent = new Uint32Array(capacity);
    this.first = new Int32Array(capacity);
    this.last = new Int32Array(capacity);
    this.#free = Int32Array.from({ length: capacity }, (_, index) => index);
    this.#freeCount = capacity;
  }

  /** Requests without a complete reply. */
  get active(): number {
    return this.#free.length - this.#freeCount;
  }

  take(cookieHigh: number, cookieLow: number, type: number, flags: number, offset: number, length: number): Slot {
    if (this.#freeCount === 0) throw new RangeError("more requests than the device can have pieces");
    this.#freeCount -= 1;
    const slot = cell(this.#free, this.#freeCount);
    this.cookieHigh[slot] = cookieHigh;
    this.cookieLow[slot] = cookieLow;
    this.type[slot] = type;
    this.flags[slot] = flags;
    this.offset[slot] = offset;
    this.length[slot] = length;
    this.pending[slot] = 1;
    this.verdict[slot] = OK;
    this.failedAt[slot] = NONE;
    this.replying[slot] = 0;
    this.finished[slot] = 0;
    this.sent[slot] = 0;
    this.first[slot] = NONE;
    this.last[slot] = NONE;
    return slot;
  }

  release(slot: Slot): void {
    this.#free[this.#freeCount] = slot;
    this.#freeCount += 1;
  }

  /** Keeps the first failure only. */
  fail(slot: Slot, verdict: Verdict, at: number): void {
    if (cell(this.verdict, slot) !== OK) return;
    this.verdict[slot] = verdict;
    this.failedAt[slot] = at;
  }

  /** Changes `pending` and returns what it is now. */
  addPending(slot: Slot, change: 1 | -1): number {
    const now = cell(this.pending, slot) + change;
    this.pending[slot] = now;
    return now;
  }
}

/**
 * Where a piece's memory is:
 *
 *     FREE ─allocate→ RECEIVING (write) ─payload→ SUBMITTED ─onDone→ FREE
 *          └────────────────────────────────────→ SUBMITTED ─onDone→ WAITING → SENDING ─onSent→ FREE  (read)
 */
export const FREE = 0;
export const RECEIVING = 1;
export const SUBMITTED = 2;
export const WAITING = 3;
export const SENDING = 4;

export class PieceTable {
  readonly state: Uint8Array;
  readonly slot: Int32Array;
  readonly offset: Float64Array;
  readonly length: Uint32Array;
  /** The piece after this one of a reply that goes in order. */
  readonly next: Int32Array;
  /** Pieces the device has not got back. */
  live = 0;
  /** Payload bytes handed to the stream and not yet reported sent. */
  sendingBytes = 0;

  constructor(requestCapacity: number) {
    this.state = new Uint8Array(requestCapacity);
    this.slot = new Int32Array(requestCapacity);
    this.offset = new Float64Array(requestCapacity);
    this.length = new Uint32Array(requestCapacity);
    this.next = new Int32Array(requestCapacity);
  }

  take(id: RequestId, slot: Slot, offset: number, length: number): void {
    this.expect(id, FREE);
    this.slot[id] = slot;
    this.offset[id] = offset;
    this.length[id] = length;
    this.next[id] = NONE;
    this.live += 1;
  }

  /** Throws if the piece is not in `state`: a device or stream that reports twice would corrupt someone's data. */
  expect(id: RequestId, state: number): void {
    const actual = this.state[id];
    if (actual !== state) throw new Error(`request ${id}: expected piece state ${state}, actual ${actual}`);
  }
}
