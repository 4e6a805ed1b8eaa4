/**
 * How the one memory area is divided. Untouched pages of it cost nothing, so the parts are generous:
 *
 *   | slab (the engine's payload) | zeroes | per stream: window, send block | staging chunks for small outgoing pieces |
 */
import type { Memory } from "../core/ports.ts";

/** What one stream may have read and not yet parsed. */
export const WINDOW_BYTES = 256 * 1024;
/** native/ring/uring.h: pairs, iovecs and msghdr of one sendmsg; rounded up to a page. */
const SEND_BLOCK_BYTES = 4096;
const STREAM_BYTES = WINDOW_BYTES + SEND_BLOCK_BYTES;
export const CHUNK_BYTES = 64 * 1024;
const CHUNKS = 1024;
/** Source of writes where the file system cannot make zeroes itself. */
export const ZERO_BYTES = 1024 * 1024;
const ALIGNMENT = 64 * 1024;

const rounded = (bytes: number): number => Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;

/** Bytes needed for a slab of `slabBytes` and `streams` streams at a time. */
export function arenaBytes(slabBytes: number, streams: number): number {
  return rounded(slabBytes) + ZERO_BYTES + rounded(streams * STREAM_BYTES) + CHUNKS * CHUNK_BYTES;
}

export class Arena {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly words: Uint32Array;
  readonly memory: Memory;
  readonly zeroesAt: number;
  readonly chunks: Chunks;
  readonly #streamsAt: number;
  readonly #freeStreams: number[] = [];
  readonly #giveBack: (at: number, length: number) => void;
  #streamWaiters: (() => void)[] = [];

  constructor(buffer: ArrayBuffer, slabBytes: number, streams: number, giveBack: (at: number, length: number) => void) {
    this.bytes = new Uint8Array(buffer);
    this.view = new DataView(buffer);
    this.words = new Uint32Array(buffer);
    this.memory = { bytes: new Uint8Array(buffer, 0, slabBytes), view: new DataView(buffer, 0, slabBytes) };
    this.zeroesAt = rounded(slabBytes);
    this.#streamsAt = this.zeroesAt + ZERO_BYTES;
    for (let i = streams - 1; i >= 0; i--) this.#freeStreams.push(this.#streamsAt + i * STREAM_BYTES);
    this.chunks = new Chunks(this.#streamsAt + rounded(streams * STREAM_BYTES));
    this.#giveBack = giveBack;
  }

  /** Offset of a stream's window; its send block follows at `WINDOW_BYTES`. Undefined when every place is taken. */
  takeStream(): number | undefined {
    return this.#freeStreams.pop();
  }

  freeStream(at: number): void {
    this.#giveBack(at, STREAM_BYTES);
    this.#freeStreams.push(at);
    const waiters = this.#streamWaiters;
    this.#streamWaiters = [];
    for (const wake of waiters) wake();
  }

  /** Calls `wake` once when a place becomes free. */
  onFreeStream(wake: () => void): void {
    this.#streamWaiters.push(wake);
  }
}

/** Pieces of `CHUNK_BYTES` shared by all streams, counted by users. The chunk freed last is taken next: it is still in cache. */
export class Chunks {
  readonly #base: number;
  readonly #users = new Int32Array(CHUNKS);
  readonly #free = new Int32Array(CHUNKS);
  #freeCount = CHUNKS;

  constructor(base: number) {
    this.#base = base;
    for (let i = 0; i < CHUNKS; i++) this.#free[i] = CHUNKS - 1 - i;
  }

  get free(): number {
    return this.#freeCount;
  }

  /** Offset of a chunk with one user, or -1. */
  take(): number {
    if (this.#freeCount === 0) return -1;
    const chunk = this.#free[--this.#freeCount] ?? 0;
    this.#users[chunk] = 1;
    return this.#base + chunk * CHUNK_BYTES;
  }

  /** One more user for the chunk that contains offset `at`. */
  hold(at: number): void {
    const chunk = this.#index(at);
    this.#users[chunk] = this.users(at) + 1;
  }

  release(at: number): void {
    const chunk = this.#index(at);
    const users = this.users(at) - 1;
    this.#users[chunk] = users;
    if (users === 0) this.#free[this.#freeCount++] = chunk;
  }

  users(at: number): number {
    return this.#users[this.#index(at)] ?? 0;
  }

  #index(at: number): number {
    return Math.floor((at - this.#base) / CHUNK_BYTES);
  }
}
