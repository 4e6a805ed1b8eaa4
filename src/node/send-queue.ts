/**
 * What one stream has to send, in order: pieces of staging chunks and of the slab, in typed arrays. Neighbouring staged pieces
 * are merged. A stream whose peer does not read keeps its staged bytes in chunks up to a limit, then on JavaScript's heap.
 */
import type { StreamHandler } from "../core/ports.ts";
import { type Arena, CHUNK_BYTES } from "./arena.ts";

/** Pieces of one sendmsg (native/ring/uring.h). */
export const BATCH_PIECES = 64;
/** A batch ends with the piece that reaches this, so that slab memory comes back while the rest is still being sent. */
const BATCH_BYTES = 512 * 1024;
const LONGEST_PIECE = 8192;
/** Chunks a stream may hold between turns; what is more goes to the heap. */
const CHUNKS_KEPT = 4;
const NO_CHUNK = -1;

const STAGED = 0;
const SLAB = 1;
const SPILLED = 2;

export class SendQueue {
  /** Bytes accepted and not yet taken by the kernel. */
  queued = 0;
  readonly #arena: Arena;
  #kinds = new Uint8Array(16);
  #offsets = new Float64Array(16);
  #lengths = new Float64Array(16);
  #tokens = new Float64Array(16);
  #head = 0;
  #count = 0;
  /** Pieces and bytes the kernel is working on: the first ones. */
  #inFlight = 0;
  #inFlightBytes = 0;
  #chunk = NO_CHUNK;
  #chunkUsed = 0;
  #chunksHeld = 0;
  /** Heap copies by number; a SPILLED piece's offset is its number. */
  readonly #spilled = new Map<number, Uint8Array>();
  #nextSpill = 0;

  constructor(arena: Arena) {
    this.#arena = arena;
  }

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  get inFlightBytes(): number {
    return this.#inFlightBytes;
  }

  /** Offset of `length` bytes, queued, to be filled before the turn ends. */
  reserve(length: number): number {
    if (length < 1 || length > LONGEST_PIECE) throw new RangeError(`reserve(${length})`);
    if (this.#chunk === NO_CHUNK || this.#chunkUsed + length > CHUNK_BYTES) this.#nextChunk();
    const at = this.#chunk + this.#chunkUsed;
    this.#chunkUsed += length;
    this.queued += length;
    const last = (this.#head + this.#count - 1) & (this.#kinds.length - 1);
    const mergeable = this.#count > this.#inFlight && this.#kinds[last] === STAGED;
    if (mergeable && (this.#offsets[last] ?? 0) + (this.#lengths[last] ?? 0) === at && at > this.#chunk) {
      this.#lengths[last] = (this.#lengths[last] ?? 0) + length;
    } else {
      this.#arena.chunks.hold(at);
      this.#push(STAGED, at, length, 0);
    }
    return at;
  }

  sendMemory(offset: number, length: number, token: number): void {
    this.queued += length;
    this.#push(SLAB, offset, length, token);
  }

  /** Writes up to 64 (offset, length) pairs to `pairs` from index `at`; their number. The pieces are in flight then. */
  startBatch(pairs: Uint32Array, at: number): number {
    let pieces = 0;
    let total = 0;
    while (pieces < this.#count && pieces < BATCH_PIECES && total < BATCH_BYTES) {
      const i = (this.#head + pieces) & (this.#kinds.length - 1);
      if (this.#kinds[i] === SPILLED && !this.#unspill(i, pieces === 0)) break;
      const length = this.#lengths[i] ?? 0;
      pairs[at + 2 * pieces] = this.#offsets[i] ?? 0;
      pairs[at + 2 * pieces + 1] = length;
      total += length;
      pieces++;
    }
    this.#inFlight = pieces;
    this.#inFlightBytes = total;
    return pieces;
  }

  /** The kernel took the first `bytes` of the batch: what it did not take will be in the next one. */
  finishBatch(bytes: number, handler: StreamHandler): void {
    let left = bytes;
    while (this.#inFlight > 0) {
      const i = this.#head;
      const length = this.#lengths[i] ?? 0;
      if (length > left) {
        this.#offsets[i] = (this.#offsets[i] ?? 0) + left;
        this.#lengths[i] = length - left;
        this.queued -= left;
        break;
      }
      left -= length;
      this.#inFlight--;
      this.#pop(handler);
    }
    this.#inFlight = 0;
    this.#inFlightBytes = 0;
  }

  /** Nothing more will be sent: every token still held is given back. */
  abandon(handler: StreamHandler): void {
    this.#inFlight = 0;
    this.#inFlightBytes = 0;
    while (this.#count > 0) this.#pop(handler);
    this.#dropChunk();
  }

  /** At the end of a turn, when every piece has been filled: moves what is too much for the chunks to the heap. */
  spillExcess(): void {
    if (this.#chunksHeld > CHUNKS_KEPT) this.#spill();
  }

  #pop(handler: StreamHandler): void {
    const i = this.#head;
    const kind = this.#kinds[i];
    const offset = this.#offsets[i] ?? 0;
    const token = this.#tokens[i] ?? 0;
    this.queued -= this.#lengths[i] ?? 0;
    this.#head = (i + 1) & (this.#kinds.length - 1);
    this.#count--;
    if (kind === STAGED) this.#release(offset);
    else if (kind === SPILLED) this.#spilled.delete(offset);
    else handler.onSent(token);
  }

  /** `offset` may have been advanced to the very end of its chunk by partial sends, never beyond: it still had bytes left. */
  #release(offset: number): void {
    const { chunks } = this.#arena;
    const isCurrent = this.#chunk !== NO_CHUNK && offset >= this.#chunk && offset < this.#chunk + CHUNK_BYTES;
    chunks.release(offset);
    if (isCurrent) {
      // Only our own hold is left: begin at the front again, in memory that is still in cache.
      if (chunks.users(offset) === 1) this.#chunkUsed = 0;
    } else if (chunks.users(offset) === 0) {
      this.#chunksHeld--;
    }
  }

  #push(kind: number, offset: number, length: number, token: number): void {
    if (this.#count === this.#kinds.length) this.#grow();
    const i = (this.#head + this.#count) & (this.#kinds.length - 1);
    this.#kinds[i] = kind;
    this.#offsets[i] = offset;
    this.#lengths[i] = length;
    this.#tokens[i] = token;
    this.#count++;
  }

  #grow(): void {
    const old = this.#kinds.length;
    const kinds = new Uint8Array(old * 2);
    const offsets = new Float64Array(old * 2);
    const lengths = new Float64Array(old * 2);
    const tokens = new Float64Array(old * 2);
    for (let k = 0; k < this.#count; k++) {
      const i = (this.#head + k) & (old - 1);
      kinds[k] = this.#kinds[i] ?? 0;
      offsets[k] = this.#offsets[i] ?? 0;
      lengths[k] = this.#lengths[i] ?? 0;
      tokens[k] = this.#tokens[i] ?? 0;
    }
    this.#kinds = kinds;
    this.#offsets = offsets;
    this.#lengths = lengths;
    this.#tokens = tokens;
    this.#head = 0;
  }

  #nextChunk(): void {
    this.#dropChunk();
    let chunk = this.#arena.chunks.take();
    if (chunk < 0) {
      // 64 MiB were reserved and not sent, most of it in this very turn: earlier pieces have surely been filled.
      this.#spill();
      chunk = this.#arena.chunks.take();
    }
    if (chunk < 0) throw new Error("staging memory is exhausted");
    this.#chunk = chunk;
    this.#chunkUsed = 0;
    this.#chunksHeld++;
  }

  #dropChunk(): void {
    if (this.#chunk === NO_CHUNK) return;
    const chunk = this.#chunk;
    this.#chunk = NO_CHUNK;
    this.#arena.chunks.release(chunk);
    if (this.#arena.chunks.users(chunk) === 0) this.#chunksHeld--;
  }

  #spill(): void {
    this.#dropChunk();
    for (let k = this.#inFlight; k < this.#count; k++) {
      const i = (this.#head + k) & (this.#kinds.length - 1);
      if (this.#kinds[i] !== STAGED) continue;
      const offset = this.#offsets[i] ?? 0;
      const number = this.#nextSpill++;
      this.#spilled.set(number, this.#arena.bytes.slice(offset, offset + (this.#lengths[i] ?? 0)));
      this.#kinds[i] = SPILLED;
      this.#offsets[i] = number;
      this.#release(offset);
    }
  }

  /**
   * Back from the heap into a chunk of its own: a spilled piece came out of one. False if there is none now; `needed` says that
   * the stream would stand still without it.
   */
  #unspill(i: number, needed: boolean): boolean {
    const number = this.#offsets[i] ?? 0;
    const bytes = this.#spilled.get(number);
    if (bytes === undefined) throw new Error("a spilled piece has no bytes");
    if (this.#chunksHeld > CHUNKS_KEPT && !needed) return false;
    const chunk = this.#arena.chunks.take();
    if (chunk < 0) return false;
    this.#chunksHeld++;
    this.#arena.bytes.set(bytes, chunk);
    this.#spilled.delete(number);
    this.#kinds[i] = STAGED;
    this.#offsets[i] = chunk;
    return true;
  }
}
