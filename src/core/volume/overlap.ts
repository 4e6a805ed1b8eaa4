/**
 * Order of overlapping requests (drbd-84 §8.1 step 1, §7.3, §7.4): a request may start when every earlier one that conflicts with it
 * has ended. Two requests conflict when their ranges overlap and at least one of them writes; resync and verify reads take
 * part as readers, so a block is never read for the peer while a write to it is under way, nor written while being read.
 *
 * Ranges are hashed by 1 MiB chunk. A request of at most 1 MiB touches one or two chunks; longer ones (discards) stand on a
 * list of their own that every search walks too. Nothing is allocated per request.
 */
const CHUNK_BYTES = 1024 * 1024;
const BUCKETS = 512;
const END = -1;

export class Overlap {
  readonly #at: Float64Array;
  readonly #end: Float64Array;
  readonly #order: Float64Array;
  readonly #reads: Uint8Array;
  readonly #member: Uint8Array;
  readonly #blockers: Int32Array;
  /** Two list links per request, one per chunk it touches: entry 2·id + k. */
  readonly #next: Int32Array;
  readonly #heads = new Int32Array(BUCKETS + 1).fill(END);
  readonly #started: (id: number) => void;
  readonly #ready: Int32Array;
  /** Ready and not yet started, first in, first out. */
  readonly #startNext: Int32Array;
  #startHead = END;
  #startTail = END;
  #starting = false;
  #counter = 0;
  #members = 0;

  /** `started(id)` is called when a request that had to wait may start. Ids are below `capacity`. */
  constructor(capacity: number, started: (id: number) => void) {
    this.#at = new Float64Array(capacity);
    this.#end = new Float64Array(capacity);
    this.#order = new Float64Array(capacity);
    this.#reads = new Uint8Array(capacity);
    this.#member = new Uint8Array(capacity);
    this.#blockers = new Int32Array(capacity);
    this.#next = new Int32Array(capacity * 2);
    this.#ready = new Int32Array(capacity);
    this.#startNext = new Int32Array(capacity);
    this.#started = started;
  }

  /** Requests that are in, waiting ones included. */
  get members(): number {
    return this.#members;
  }

  /** Enters `length` bytes (at least 1) from `at`. True if it may start now; else `started` is called later. */
  enter(id: number, at: number, length: number, reads: boolean): boolean {
    this.#at[id] = at;
    this.#end[id] = at + length;
    this.#order[id] = this.#counter++;
    this.#reads[id] = reads ? 1 : 0;
    this.#blockers[id] = this.#visit(id, 0);
    this.#link(id);
    this.#member[id] = 1;
    this.#members++;
    return this.#blockers[id] === 0;
  }

  /** The request has ended (or never started): what waited only for it starts, oldest first. */
  leave(id: number): void {
    if (this.#member[id] === 0) throw new Error(`overlap: request ${id} is not in`);
    this.#member[id] = 0;
    this.#members--;
    this.#unlink(id);
    const ready = this.#visit(id, 1);
    for (let i = 0; i < ready; i++) this.#append(this.#ready[i] ?? END);
    if (this.#starting) return;
    // `started` may end a request at once and so come back here: what that makes ready is started by the loop, not from within,
    // so that a long chain of requests that fail does not become as deep a stack.
    this.#starting = true;
    for (let next = this.#startHead; next !== END; next = this.#startHead) {
      this.#startHead = this.#startNext[next] ?? END;
      if (this.#startHead === END) this.#startTail = END;
      this.#started(next);
    }
    this.#starting = false;
  }

  #append(id: number): void {
    this.#startNext[id] = END;
    if (this.#startTail === END) this.#startHead = id;
    else this.#startNext[this.#startTail] = id;
    this.#startTail = id;
  }

  /** mode 0: counts earlier conflicting members. mode 1: releases the later ones, returns how many became ready. */
  #visit(id: number, mode: 0 | 1): number {
    const first = Math.floor((this.#at[id] ?? 0) / CHUNK_BYTES);
    const last = Math.floor(((this.#end[id] ?? 0) - 1) / CHUNK_BYTES);
    if (last - first > 1) return this.#visitAll(id, mode);
    let count = this.#walk(id, BUCKETS, mode, 0, END);
    count = this.#walk(id, first % BUCKETS, mode, count, first);
    if (last !== first) count = this.#walk(id, last % BUCKETS, mode, count, last);
    return mode === 1 ? this.#sortReady(count) : count;
  }

  #visitAll(id: number, mode: 0 | 1): number {
    let count = 0;
    for (let b = 0; b <= BUCKETS; b++) count = this.#walk(id, b, mode, count, END);
    return mode === 1 ? this.#sortReady(count) : count;
  }

  /**
   * `chunk` END: take each request once, at its first link. Otherwise a pair that shares two chunks is taken at the higher of the two
   * first chunks only.
   */
  #walk(id: number, bucket: number, mode: 0 | 1, from: number, chunk: number): number {
    const at = this.#at[id] ?? 0;
    const end = this.#end[id] ?? 0;
    const order = this.#order[id] ?? 0;
    const reads = this.#reads[id];
    let count = from;
    for (let e = this.#heads[bucket] ?? END; e !== END; e = this.#next[e] ?? END) {
      const other = e >> 1;
      const otherAt = this.#at[other] ?? 0;
      if (otherAt >= end || (this.#end[other] ?? 0) <= at) continue;
      if (reads === 1 && this.#reads[other] === 1) continue;
      if (chunk === END) {
        if ((e & 1) === 1) continue;
      } else if (Math.floor(Math.max(at, otherAt) / CHUNK_BYTES) !== chunk) continue;
      if (mode === 0) count++;
      else if ((this.#order[other] ?? 0) > order) {
        const left = (this.#blockers[other] ?? 0) - 1;
        this.#blockers[other] = left;
        if (left === 0) this.#ready[count++] = other;
      }
    }
    return count;
  }

  /** Oldest first; insertion sort, since there are rarely more than a few. */
  #sortReady(count: number): number {
    for (let i = 1; i < count; i++) {
      const id = this.#ready[i] ?? 0;
      let j = i - 1;
      while (j >= 0 && (this.#order[this.#ready[j] ?? 0] ?? 0) > (this.#order[id] ?? 0)) {
        this.#ready[j + 1] = this.#ready[j] ?? 0;
        j--;
      }
      this.#ready[j + 1] = id;
    }
    return count;
  }

  #firstBucket(id: number): number {
    const first = Math.floor((this.#at[id] ?? 0) / CHUNK_BYTES);
    const last = Math.floor(((this.#end[id] ?? 0) - 1) / CHUNK_BYTES);
    return last - first > 1 ? BUCKETS : first % BUCKETS;
  }

  /** The second chunk's bucket, or END where there is none. */
  #secondBucket(id: number): number {
    const first = Math.floor((this.#at[id] ?? 0) / CHUNK_BYTES);
    const last = Math.floor(((this.#end[id] ?? 0) - 1) / CHUNK_BYTES);
    return last - first === 1 ? last % BUCKETS : END;
  }

  #link(id: number): void {
    const a = this.#firstBucket(id);
    const b = this.#secondBucket(id);
    this.#next[2 * id] = this.#heads[a] ?? END;
    this.#heads[a] = 2 * id;
    if (b === END) return;
    this.#next[2 * id + 1] = this.#heads[b] ?? END;
    this.#heads[b] = 2 * id + 1;
  }

  #unlink(id: number): void {
    const b = this.#secondBucket(id);
    this.#remove(this.#firstBucket(id), 2 * id);
    if (b !== END) this.#remove(b, 2 * id + 1);
  }

  #remove(bucket: number, entry: number): void {
    let e = this.#heads[bucket] ?? END;
    if (e === entry) {
      this.#heads[bucket] = this.#next[entry] ?? END;
      return;
    }
    while (e !== END) {
      const next = this.#next[e] ?? END;
      if (next === entry) {
        this.#next[e] = this.#next[entry] ?? END;
        return;
      }
      e = next;
    }
    throw new Error(`overlap: entry ${entry} is not in bucket ${bucket}`);
  }
}
