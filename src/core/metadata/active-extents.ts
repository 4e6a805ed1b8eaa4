/**
 * The in-core side of the activity log: which 4 MiB extents are active, in which slot, and who uses them (drbd-84 §8.1 step 2, §9.5). Like a
 * cloakroom with a fixed number of hooks: a coat that nobody is waiting for gives way to a new one, but only after the book (the log on disk) says so.
 *
 * Use by the write path, nothing here allocates:
 *
 *     1. `use(first, count)` for the extents of a request.
 *          AL_ACTIVE    write at once.
 *          AL_PENDING   references are held; the extents become active with the next `commit()`.
 *          AL_BUSY, AL_FULL, AL_STARVED: nothing was taken; put the request in a queue, in order.
 *     2. `begin()` when changes are pending and no transaction is in flight. Then write
 *          the bitmap pages that cover `evicted(0 … evictedCount-1)` and are dirty,
 *          after these are stable the block made from `transaction` at `ringPosition(transaction.trNumber)`,
 *        and when that is stable `commit()`: requests that got AL_PENDING may write now, and those that got AL_BUSY or AL_FULL try again.
 *        `abort()` if a write failed, then `begin()` again or give up.
 *     3. `unuse(first, count)` when the request's epoch is acknowledged. If `starving` was set before, retry the queue first.
 *
 * Changes that arrive while a transaction is in flight wait for the next one (group commit). Free slots are handed out from the highest down,
 * as the kernel does; without one, the least recently used extent without references gives way.
 */
import { type AlExtent, alExtent, BITS_PER_AL_EXTENT } from "../units.ts";
import { AL_UPDATES_PER_TRANSACTION, FREE_EXTENT, type Transaction } from "./activity-log.ts";
import { AL_CONTEXT_PER_TRANSACTION } from "./geometry.ts";
import { invariant } from "./invariant.ts";

/** All extents are active in the log on disk. */
export const AL_ACTIVE = 0;
/** At least one waits for the transaction being gathered or in flight. */
export const AL_PENDING = 1;
/** A transaction is in flight and does not contain all of them. */
export const AL_BUSY = 2;
/** The transaction being gathered has no room for all of them: `begin()` it. */
export const AL_FULL = 3;
/** Too few slots without references: close the epoch, wait for `unuse`. */
export const AL_STARVED = 4;
export type AlUse = typeof AL_ACTIVE | typeof AL_PENDING | typeof AL_BUSY | typeof AL_FULL | typeof AL_STARVED;

/** No extent in this slot, no slot for this extent. */
export const NO_SLOT = -1;

const BITS_PER_PAGE = 32768;
/** Number of the 4 KiB bitmap page that holds the 1024 bits of an extent. */
export const bitmapPageOf = (extent: AlExtent): number => Math.floor((extent * BITS_PER_AL_EXTENT) / BITS_PER_PAGE);

/** `i` is an index this class made itself; the fallback satisfies the compiler and is never taken. */
const at = (array: Int32Array | Uint32Array | Uint16Array, i: number): number => array[i] ?? 0;

export class ActiveExtents {
  /** al-extents: 1 … 65534. */
  readonly slots: number;
  /** Filled by `begin()`, valid until `commit()` or `abort()`. */
  readonly transaction: Transaction;
  /** True from AL_STARVED until a slot becomes free: nothing new is admitted meanwhile, so that the starved request gets its turn. */
  starving = false;

  /** Extent by slot, as on disk: changed by `commit()`. This is `transaction.context`. */
  readonly #extents: Uint32Array;
  /** Extent by slot as it will be; differs from `#extents` for pending slots only. */
  readonly #next: Uint32Array;
  readonly #references: Uint32Array;
  /** Slot → index among the pending changes, or -1. */
  readonly #pendingAt: Int32Array;
  /** Hash chains over `#next`. */
  readonly #buckets: Int32Array;
  readonly #chain: Int32Array;
  /** Doubly linked ring per list, its head behind the slots: free slots, and unreferenced active ones, most recently used first. */
  readonly #after: Int32Array;
  readonly #before: Int32Array;
  readonly #freeHead: number;
  readonly #lruHead: number;
  /** Slots in either list: they can be given to a new extent. */
  #available: number;
  #activeCount = 0;
  #pending = 0;
  #evictedCount = 0;
  readonly #evicted = new Uint32Array(AL_UPDATES_PER_TRANSACTION);
  #inFlight = false;
  #trNumber: number;
  #cycle = 0;

  /** `nextTransaction`: number of the first transaction to be written; N after the ring was filled with 0 … N-1 (drbd-84 §9.5). */
  constructor(slots: number, nextTransaction = 0) {
    invariant(Number.isInteger(slots) && slots >= 1 && slots <= 65534, `${slots} al-extents`);
    this.slots = slots;
    this.#extents = new Uint32Array(slots).fill(FREE_EXTENT);
    this.#next = new Uint32Array(slots).fill(FREE_EXTENT);
    this.#references = new Uint32Array(slots);
    this.#pendingAt = new Int32Array(slots).fill(-1);
    this.#buckets = new Int32Array(2 ** Math.ceil(Math.log2(slots + 1))).fill(NO_SLOT);
    this.#chain = new Int32Array(slots).fill(NO_SLOT);
    this.#freeHead = slots;
    this.#lruHead = slots + 1;
    this.#after = new Int32Array(slots + 2);
    this.#before = new Int32Array(slots + 2);
    for (const head of [this.#freeHead, this.#lruHead]) {
      this.#after[head] = head;
      this.#before[head] = head;
    }
    this.#available = 0;
    for (let slot = 0; slot < slots; slot++) this.#push(this.#freeHead, slot);
    this.#trNumber = nextTransaction;
    this.transaction = {
      trNumber: nextTransaction,
      updates: 0,
      updateSlots: new Uint16Array(AL_UPDATES_PER_TRANSACTION),
      updateExtents: new Uint32Array(AL_UPDATES_PER_TRANSACTION),
      contextStart: 0,
      context: this.#extents,
    };
  }

  /** Extents active on disk. */
  get activeCount(): number {
    return this.#activeCount;
  }

  /** Changes gathered or in flight, 0 … 64. */
  get pendingCount(): number {
    return this.#pending;
  }

  get inFlight(): boolean {
    return this.#inFlight;
  }

  /** Number the next transaction has. */
  get nextTransaction(): number {
    return this.#trNumber;
  }

  /** Slot in which the extent is active on disk and stays so, or NO_SLOT. Changes neither order nor references. */
  lookup(extent: AlExtent): number {
    const slot = this.#find(extent);
    return slot === NO_SLOT || at(this.#pendingAt, slot) >= 0 ? NO_SLOT : slot;
  }

  /** Extent active in a slot, or NO_SLOT; for status and tests. */
  extentAt(slot: number): number {
    const extent = at(this.#extents, slot);
    return extent === FREE_EXTENT || at(this.#pendingAt, slot) >= 0 ? NO_SLOT : extent;
  }

  /** References of an extent that is active or pending, 0 if neither. */
  referencesOf(extent: AlExtent): number {
    const slot = this.#find(extent);
    return slot === NO_SLOT ? 0 : at(this.#references, slot);
  }

  /**
   * Takes a reference on each of `count` (1 … 64) extents from `first`, or on none. More extents than slots or than 64 can never be served:
   * our bug (the longest request, 128 MiB, touches 33).
   */
  use(first: AlExtent, count: number): AlUse {
    invariant(
      count >= 1 && count <= Math.min(AL_UPDATES_PER_TRANSACTION, this.slots),
      `${count} extents in one request`,
    );
    if (this.starving) return AL_STARVED;
    let missing = 0;
    let unreferenced = 0;
    for (let n = 0; n < count; n++) {
      const slot = this.#find(first + n);
      if (slot === NO_SLOT) missing++;
      else if (at(this.#references, slot) === 0 && at(this.#pendingAt, slot) < 0) unreferenced++;
    }
    if (missing > 0) {
      if (this.#inFlight) return AL_BUSY;
      // The unreferenced ones among the wanted extents are about to be used themselves: they cannot give way.
      if (this.#available - unreferenced < missing) {
        this.starving = true;
        return AL_STARVED;
      }
      if (this.#pending + missing > AL_UPDATES_PER_TRANSACTION) return AL_FULL;
    }
    return this.#take(first, count);
  }

  /** First the present ones, so that none of them is chosen to give way; then the missing ones. */
  #take(first: number, count: number): AlUse {
    let pending = false;
    for (let n = 0; n < count; n++) {
      const slot = this.#find(first + n);
      if (slot === NO_SLOT) continue;
      const references = at(this.#references, slot);
      if (at(this.#pendingAt, slot) >= 0) pending = true;
      else if (references === 0) this.#unlink(slot);
      this.#references[slot] = references + 1;
    }
    for (let n = 0; n < count; n++) {
      if (this.#find(first + n) !== NO_SLOT) continue;
      this.#replace(first + n);
      pending = true;
    }
    return pending ? AL_PENDING : AL_ACTIVE;
  }

  #replace(extent: number): void {
    const free = at(this.#after, this.#freeHead);
    const slot = free === this.#freeHead ? at(this.#before, this.#lruHead) : free;
    invariant(slot < this.slots, "a slot to give");
    this.#unlink(slot);
    const old = at(this.#extents, slot);
    if (old !== FREE_EXTENT) {
      this.#unhash(slot);
      this.#evicted[this.#evictedCount++] = old;
      this.#activeCount--;
    }
    this.#next[slot] = extent;
    this.#hash(slot);
    this.#references[slot] = 1;
    this.#pendingAt[slot] = this.#pending;
    this.transaction.updateSlots[this.#pending] = slot;
    this.transaction.updateExtents[this.#pending] = extent;
    this.#pending++;
  }

  /** Gives back what `use(first, count)` took, whether its extents are active or still pending. */
  unuse(first: AlExtent, count: number): void {
    for (let n = 0; n < count; n++) {
      const slot = this.#find(first + n);
      invariant(slot !== NO_SLOT && at(this.#references, slot) > 0, `extent ${first + n} is in use`);
      const references = at(this.#references, slot) - 1;
      this.#references[slot] = references;
      if (references === 0 && at(this.#pendingAt, slot) < 0) this.#release(slot);
    }
  }

  /** Most recently used of those nobody needs: it gives way last. */
  #release(slot: number): void {
    this.#push(this.#lruHead, slot);
    this.starving = false;
  }

  /** Closes the gathered changes into `transaction`; false if there are none or one is in flight. */
  begin(): boolean {
    if (this.#inFlight || this.#pending === 0) return false;
    this.#open();
    return true;
  }

  /**
   * A transaction without changes, for filling the ring of new metadata: N times `beginEmpty`, encode, `commit` gives the blocks 0 … N-1 that
   * the kernel writes when it attaches with a new size or position (drbd-84 §9.5).
   */
  beginEmpty(): void {
    invariant(!this.#inFlight && this.#pending === 0, "nothing gathered or in flight");
    this.#open();
  }

  #open(): void {
    this.#inFlight = true;
    this.transaction.trNumber = this.#trNumber;
    this.transaction.updates = this.#pending;
    this.transaction.contextStart = this.#cycle;
  }

  /** Extents that give way in the transaction gathered or in flight. */
  get evictedCount(): number {
    return this.#evictedCount;
  }

  evicted(n: number): AlExtent {
    invariant(n >= 0 && n < this.#evictedCount, "an evicted extent");
    return alExtent(at(this.#evicted, n));
  }

  /** The block is stable: pending extents are active. */
  commit(): void {
    invariant(this.#inFlight, "a transaction in flight");
    for (let n = 0; n < this.#pending; n++) {
      const slot = at(this.transaction.updateSlots, n);
      this.#extents[slot] = at(this.#next, slot);
      this.#pendingAt[slot] = -1;
      if (at(this.#references, slot) === 0) this.#release(slot);
    }
    this.#activeCount += this.#pending;
    this.#pending = 0;
    this.#evictedCount = 0;
    this.#inFlight = false;
    this.#trNumber = (this.#trNumber + 1) % 2 ** 32;
    this.#cycle += AL_CONTEXT_PER_TRANSACTION;
    if (this.#cycle >= this.slots) this.#cycle = 0;
  }

  /**
   * A write of the transaction, or of a bitmap page before it, failed: what the disk holds is not known. The changes stay gathered with their
   * references; the next `begin()` offers them, and what was added meanwhile, under the same number, so that the same block is overwritten.
   * Whichever of the two blocks the disk has, it lists every extent that is active here. A request that gives up calls `unuse`.
   */
  abort(): void {
    invariant(this.#inFlight, "a transaction in flight");
    this.#inFlight = false;
  }

  /** Forgets every extent without references (drbd's al_shrink): for suspending the log, or before it is initialised anew. Returns how many. */
  forgetUnused(): number {
    invariant(this.#pending === 0, "no transaction gathered or in flight");
    let forgotten = 0;
    for (let slot = at(this.#after, this.#lruHead); slot !== this.#lruHead; slot = at(this.#after, this.#lruHead)) {
      this.#unhash(slot);
      this.#unlink(slot);
      this.#extents[slot] = FREE_EXTENT;
      this.#next[slot] = FREE_EXTENT;
      this.#push(this.#freeHead, slot);
      this.#activeCount--;
      forgotten++;
    }
    return forgotten;
  }

  /** Walks everything; for tests and the simulator's oracles. */
  checkInvariants(): void {
    let listed = 0;
    for (const head of [this.#freeHead, this.#lruHead])
      for (let slot = at(this.#after, head); slot !== head; slot = at(this.#after, slot)) {
        invariant(at(this.#references, slot) === 0 && at(this.#pendingAt, slot) < 0, `slot ${slot} listed and in use`);
        invariant((at(this.#extents, slot) === FREE_EXTENT) === (head === this.#freeHead), `slot ${slot} in its list`);
        invariant(at(this.#before, at(this.#after, slot)) === slot, `links of slot ${slot}`);
        listed++;
      }
    invariant(listed === this.#available, "available slots");
    let active = 0;
    let pending = 0;
    let used = 0;
    for (let slot = 0; slot < this.slots; slot++) {
      const next = at(this.#next, slot);
      if (at(this.#pendingAt, slot) >= 0) pending++;
      else {
        invariant(next === at(this.#extents, slot), `slot ${slot} changed without a transaction`);
        if (next !== FREE_EXTENT) active++;
        if (at(this.#references, slot) > 0) used++;
      }
      invariant(next === FREE_EXTENT || this.#find(next) === slot, `extent ${next} found in its slot`);
    }
    invariant(active === this.#activeCount && pending === this.#pending, "counts");
    invariant(listed + used + pending === this.slots, "every slot free, unused, used or pending");
  }

  #bucketOf(extent: number): number {
    return (Math.imul(extent, 0x9e3779b1) >>> 8) & (this.#buckets.length - 1);
  }

  #find(extent: number): number {
    let slot = at(this.#buckets, this.#bucketOf(extent));
    while (slot !== NO_SLOT && at(this.#next, slot) !== extent) slot = at(this.#chain, slot);
    return slot;
  }

  #hash(slot: number): void {
    const bucket = this.#bucketOf(at(this.#next, slot));
    this.#chain[slot] = at(this.#buckets, bucket);
    this.#buckets[bucket] = slot;
  }

  #unhash(slot: number): void {
    const bucket = this.#bucketOf(at(this.#next, slot));
    let before = NO_SLOT;
    for (let n = at(this.#buckets, bucket); n !== slot; n = at(this.#chain, n)) before = n;
    if (before === NO_SLOT) this.#buckets[bucket] = at(this.#chain, slot);
    else this.#chain[before] = at(this.#chain, slot);
  }

  #push(head: number, slot: number): void {
    const next = at(this.#after, head);
    this.#after[head] = slot;
    this.#before[slot] = head;
    this.#after[slot] = next;
    this.#before[next] = slot;
    this.#available++;
  }

  #unlink(slot: number): void {
    const next = at(this.#after, slot);
    const before = at(this.#before, slot);
    this.#after[before] = next;
    this.#before[next] = before;
    this.#available--;
  }
}
