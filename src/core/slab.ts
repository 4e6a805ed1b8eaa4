/**
 * Buddy allocator over one range of the payload memory: where, not what. Blocks are powers of two of at least one 4 KiB page,
 * aligned to their size, so any block may be used for O_DIRECT. Most recently freed first, to stay in the caches.
 */
const PAGE = 4096;
const FREE_NONE = -1;

export const NO_MEMORY = -1;

export class Slab {
  readonly #base: number;
  readonly #orders: number;
  /** Head of the free list for each order (a page index), or -1. */
  readonly #heads: Int32Array;
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  /** Order of a free block that starts at this page, or -1. */
  readonly #freeOrder: Int8Array;
  readonly #usedOrder: Int8Array;
  #used = 0;

  /** `base` and `length` in bytes; `length` is a power of two and at least 1 MiB, `base` a multiple of 1 MiB. */
  constructor(base: number, length: number) {
    const pages = length / PAGE;
    this.#base = base;
    this.#orders = Math.log2(pages);
    if (!Number.isInteger(this.#orders) || base % PAGE !== 0)
      throw new RangeError(`slab of ${length} bytes at ${base}`);
    this.#heads = new Int32Array(this.#orders + 1).fill(FREE_NONE);
    this.#next = new Int32Array(pages);
    this.#previous = new Int32Array(pages);
    this.#freeOrder = new Int8Array(pages).fill(FREE_NONE);
    this.#usedOrder = new Int8Array(pages).fill(FREE_NONE);
    this.#push(0, this.#orders);
  }

  /** Bytes handed out, rounded up to their blocks. */
  get used(): number {
    return this.#used;
  }

  /** Offset of a block of at least `length` bytes (1 …), or NO_MEMORY. */
  allocate(length: number): number {
    const order = length <= PAGE ? 0 : 32 - Math.clz32((length - 1) / PAGE);
    let from = order;
    while (from <= this.#orders && this.#heads[from] === FREE_NONE) from++;
    if (from > this.#orders) return NO_MEMORY;
    const page = this.#heads[from] ?? 0;
    this.#unlink(page, from);
    while (from > order) {
      from--;
      this.#push(page + 2 ** from, from);
    }
    this.#usedOrder[page] = order;
    this.#used += PAGE * 2 ** order;
    return this.#base + page * PAGE;
  }

  /** Gives back what `allocate` returned; anything else is our bug. */
  free(offset: number): void {
    let page = (offset - this.#base) / PAGE;
    let order = this.#usedOrder[page] ?? FREE_NONE;
    if (order === FREE_NONE) throw new Error(`slab: free of ${offset}, which is not allocated`);
    this.#usedOrder[page] = FREE_NONE;
    this.#used -= PAGE * 2 ** order;
    while (order < this.#orders) {
      const buddy = page ^ (1 << order);
      if (this.#freeOrder[buddy] !== order) break;
      this.#unlink(buddy, order);
      page = Math.min(page, buddy);
      order++;
    }
    this.#push(page, order);
  }

  #push(page: number, order: number): void {
    const head = this.#heads[order] ?? FREE_NONE;
    this.#freeOrder[page] = order;
    this.#next[page] = head;
    this.#previous[page] = FREE_NONE;
    if (head !== FREE_NONE) this.#previous[head] = page;
    this.#heads[order] = page;
  }

  #unlink(page: number, order: number): void {
    const next = this.#next[page] ?? FREE_NONE;
    const previous = this.#previous[page] ?? FREE_NONE;
    if (previous === FREE_NONE) this.#heads[order] = next;
    else this.#next[previous] = next;
    if (next !== FREE_NONE) this.#previous[next] = previous;
    this.#freeOrder[page] = FREE_NONE;
  }
}
