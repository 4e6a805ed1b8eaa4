/**
 * The out-of-sync bitmap in memory: one bit per 4 KiB, set = out of sync (drbd-84 §6.1, §6.4). Up to 2^32 bits (16 TiB of data, 512 MiB of
 * memory). A count per 4 KiB page makes the total exact at any time and lets searches skip pages that are all clear or all set.
 *
 * A "word" in this interface is DRBD's 64-bit word, the unit of P_BITMAP; a "page" is 4 KiB of the bitmap on disk: 32768 bits, 128 MiB of data.
 */
import { type BitmapBit, type Bytes, bit, bitsFor, SECTOR_BYTES, SECTORS_PER_BIT, type Sector } from "../units.ts";
import { invariant } from "./invariant.ts";

export const BITMAP_PAGE_BYTES = 4096;
export const BITS_PER_PAGE = BITMAP_PAGE_BYTES * 8;
const CELLS_PER_PAGE = BITMAP_PAGE_BYTES / 4;
export const MAX_BITMAP_BITS = 2 ** 32;

/** What searches return when there is none. */
export const NO_BIT = bit(-1);
export const NO_PAGE = -1;

/** Set bits among 32. */
export function ones(cell: number): number {
  let n = cell - ((cell >>> 1) & 0x55555555);
  n = (n & 0x33333333) + ((n >>> 2) & 0x33333333);
  return Math.imul((n + (n >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}

/** Number of the lowest set bit; `cell` is not 0. */
const lowest = (cell: number): number => 31 - Math.clz32(cell & -cell);
/** Bits `from % 32` and up. */
const maskFrom = (from: number): number => 0xffffffff << (from % 32);
/** Bits up to and with `last % 32`. */
const maskTo = (last: number): number => 0xffffffff >>> (31 - (last % 32));

export class Bitmap {
  #size: Sector;
  #bits: number;
  /** 32 bits each; the length is a multiple of two. Bits behind the last one stay 0. */
  #cells: Uint32Array;
  #pageCounts: Uint16Array;
  #dirty: Uint8Array;
  #count = 0;

  /** All clear, no page dirty. `size` of the data in sectors. */
  constructor(size: Sector) {
    this.#size = size;
    this.#bits = bitsFor(size);
    invariant(this.#bits <= MAX_BITMAP_BITS, `${this.#bits} bits in a bitmap`);
    this.#cells = new Uint32Array(2 * Math.ceil(this.#bits / 64));
    const pages = Math.ceil(this.#bits / BITS_PER_PAGE);
    this.#pageCounts = new Uint16Array(pages);
    this.#dirty = new Uint8Array(pages);
  }

  get size(): Sector {
    return this.#size;
  }
  get bits(): number {
    return this.#bits;
  }
  /** 64-bit words. */
  get wordCount(): number {
    return this.#cells.length / 2;
  }
  get pageCount(): number {
    return this.#dirty.length;
  }
  /** Set bits. */
  get count(): number {
    return this.#count;
  }

  /** Bits from … to-1 become set; returns how many were not. `0 <= from <= to <= bits`. */
  setRange(from: BitmapBit, to: BitmapBit): number {
    return this.#change(from, to, true);
  }

  /** Bits from … to-1 become clear; returns how many were not. */
  clearRange(from: BitmapBit, to: BitmapBit): number {
    return this.#change(from, to, false);
  }

  #change(from: number, to: number, set: boolean): number {
    invariant(from >= 0 && from <= to && to <= this.#bits, `bits ${from} to ${to} of ${this.#bits}`);
    let changed = 0;
    for (let start = from; start < to; ) {
      const page = Math.floor(start / BITS_PER_PAGE);
      const end = Math.min(to, (page + 1) * BITS_PER_PAGE);
      changed += this.#changeInPage(page, start, end, set);
      start = end;
    }
    this.#count += set ? changed : -changed;
    return changed;
  }

  #changeInPage(page: number, from: number, to: number, set: boolean): number {
    const had = this.#pageCounts[page] ?? 0;
    if (had === (set ? this.#bitsInPage(page) : 0)) return 0;
    const first = Math.floor(from / 32);
    const last = Math.floor((to - 1) / 32);
    let changed = 0;
    if (to - from === this.#bitsInPage(page)) {
      changed = set ? to - from - had : had;
      this.#cells.fill(set ? 0xffffffff : 0, first, last + 1);
      if (set) this.#cells[last] = maskTo(to - 1);
    } else {
      for (let n = first; n <= last; n++) {
        const mask = (n === first ? maskFrom(from) : -1) & (n === last ? maskTo(to - 1) : -1);
        const old = this.#cells[n] ?? 0;
        changed += ones(mask & (set ? ~old : old));
        this.#cells[n] = set ? old | mask : old & ~mask;
      }
    }
    if (changed > 0) {
      this.#pageCounts[page] = set ? had + changed : had - changed;
      this.#dirty[page] = 1;
    }
    return changed;
  }

  #bitsInPage(page: number): number {
    return Math.min(BITS_PER_PAGE, this.#bits - page * BITS_PER_PAGE);
  }

  /** Beyond the last bit: false. */
  has(n: BitmapBit): boolean {
    return ((this.#cells[Math.floor(n / 32)] ?? 0) & maskFrom(n) & maskTo(n)) !== 0;
  }

  /** True if any of from … to-1 is set. */
  any(from: BitmapBit, to: BitmapBit): boolean {
    const next = this.nextSet(from, to);
    return next !== NO_BIT;
  }

  /** Set bits among from … to-1. */
  countRange(from: BitmapBit, to: BitmapBit): number {
    let found = 0;
    const end = Math.min(to, this.#bits);
    for (let start: number = from; start < end; ) {
      const page = Math.floor(start / BITS_PER_PAGE);
      const stop = Math.min(end, (page + 1) * BITS_PER_PAGE);
      if (stop - start === this.#bitsInPage(page)) found += this.#pageCounts[page] ?? 0;
      else if (this.#pageCounts[page] !== 0) found += this.#countInPage(start, stop);
      start = stop;
    }
    return found;
  }

  #countInPage(from: number, to: number): number {
    const first = Math.floor(from / 32);
    const last = Math.floor((to - 1) / 32);
    let found = 0;
    for (let n = first; n <= last; n++)
      found += ones((this.#cells[n] ?? 0) & (n === first ? maskFrom(from) : -1) & (n === last ? maskTo(to - 1) : -1));
    return found;
  }

  /** First set bit at or after `from` and before `to` (default: the end), or NO_BIT. */
  nextSet(from: BitmapBit, to: BitmapBit = bit(this.#bits)): BitmapBit {
    return this.#next(from, to, true);
  }

  /** First clear bit at or after `from` and before `to` (default: the end), or NO_BIT. */
  nextClear(from: BitmapBit, to: BitmapBit = bit(this.#bits)): BitmapBit {
    return this.#next(from, to, false);
  }

  #next(from: number, to: number, set: boolean): BitmapBit {
    const end = Math.min(to, this.#bits);
    for (let start = from; start < end; ) {
      const page = Math.floor(start / BITS_PER_PAGE);
      const stop = Math.min(end, (page + 1) * BITS_PER_PAGE);
      if (this.#pageCounts[page] !== (set ? 0 : this.#bitsInPage(page))) {
        const found = this.#nextInPage(start, stop, set ? 0 : -1);
        if (found >= 0) return found < stop ? bit(found) : NO_BIT;
      }
      start = stop;
    }
    return NO_BIT;
  }

  /** First bit that differs from `invert`'s, -1 if none; may lie behind `stop`, within its cell, only where `stop` ends the search. */
  #nextInPage(start: number, stop: number, invert: number): number {
    const first = Math.floor(start / 32);
    const last = Math.floor((stop - 1) / 32);
    for (let n = first; n <= last; n++) {
      const cell = ((this.#cells[n] ?? 0) ^ invert) & (n === first ? maskFrom(start) : -1);
      if (cell !== 0) return n * 32 + lowest(cell);
    }
    return -1;
  }

  /**
   * Marks every 4 KiB block that the range touches; what lies behind the end of the device is ignored. Returns how many were newly set.
   */
  setOutOfSync(at: Sector, length: Bytes): number {
    const end = Math.min(at + Math.ceil(length / SECTOR_BYTES), this.#size);
    if (end <= at) return 0;
    return this.setRange(bit(Math.floor(at / SECTORS_PER_BIT)), bit(Math.ceil(end / SECTORS_PER_BIT)));
  }

  /**
   * Clears every 4 KiB block that lies wholly in the range; the last block of the device counts as whole even if partial, when the range
   * reaches the end. Returns how many were newly cleared.
   */
  setInSync(at: Sector, length: Bytes): number {
    const end = Math.min(at + Math.floor(length / SECTOR_BYTES), this.#size);
    const from = Math.ceil(at / SECTORS_PER_BIT);
    const to = end === this.#size ? this.#bits : Math.floor(end / SECTORS_PER_BIT);
    return to <= from ? 0 : this.clearRange(bit(from), bit(to));
  }

  /** First dirty page at or after `from`, or NO_PAGE. A page is dirty since a bit in it changed and `cleanPage` was not called. */
  nextDirtyPage(from = 0): number {
    return this.#dirty.indexOf(1, from);
  }
  isDirtyPage(page: number): boolean {
    return this.#dirty[page] === 1;
  }
  /** Call when the page is copied out for writing, before the write completes: later changes make it dirty again. */
  cleanPage(page: number): void {
    this.#dirty[page] = 0;
  }
  /** After a failed write, or to have everything written. */
  soilPage(page: number): void {
    invariant(page >= 0 && page < this.#dirty.length, `page ${page}`);
    this.#dirty[page] = 1;
  }
  soilAllPages(): void {
    this.#dirty.fill(1);
  }

  /** Copies a page, padded with zeroes to 4096 bytes, into `target`. */
  copyPageOut(page: number, target: Uint8Array, at: number): void {
    const words = Math.min(CELLS_PER_PAGE / 2, this.wordCount - (page * CELLS_PER_PAGE) / 2);
    this.copyOut((page * CELLS_PER_PAGE) / 2, words, target, at);
    target.fill(0, at + words * 8, at + BITMAP_PAGE_BYTES);
  }

  /** Replaces a page by 4096 bytes read from disk; its dirty flag is cleared, bits behind the last one are dropped. */
  copyPageIn(page: number, source: Uint8Array, at: number): void {
    invariant(page >= 0 && page < this.#dirty.length, `page ${page}`);
    const first = page * CELLS_PER_PAGE;
    const end = Math.min(first + CELLS_PER_PAGE, this.#cells.length);
    let found = 0;
    for (let n = first; n < end; n++) {
      const cell = littleEndian(source, at + (n - first) * 4) & this.#valid(n);
      this.#cells[n] = cell;
      found += ones(cell);
    }
    this.#count += found - (this.#pageCounts[page] ?? 0);
    this.#pageCounts[page] = found;
    this.#dirty[page] = 0;
  }

  /** Mask of a cell's bits that exist. */
  #valid(cell: number): number {
    const left = this.#bits - cell * 32;
    return left >= 32 ? -1 : left <= 0 ? 0 : maskTo(left - 1);
  }

  /** `count` 64-bit words from `word` as little-endian bytes. */
  copyOut(word: number, count: number, target: Uint8Array, at: number): void {
    invariant(word >= 0 && count >= 0 && word + count <= this.wordCount, `words ${word}+${count} of ${this.wordCount}`);
    let to = at;
    for (let n = 2 * word; n < 2 * (word + count); n++) {
      const cell = this.#cells[n] ?? 0;
      target[to] = cell;
      target[to + 1] = cell >>> 8;
      target[to + 2] = cell >>> 16;
      target[to + 3] = cell >>> 24;
      to += 4;
    }
  }

  /** ORs `count` 64-bit words of little-endian bytes into the bitmap from `word`; bits behind the last one are dropped. Returns newly set bits. */
  mergeIn(word: number, count: number, source: Uint8Array, at: number): number {
    invariant(word >= 0 && count >= 0 && word + count <= this.wordCount, `words ${word}+${count} of ${this.wordCount}`);
    let changed = 0;
    for (let n = 2 * word; n < 2 * (word + count); n++) {
      const old = this.#cells[n] ?? 0;
      const added = littleEndian(source, at + (n - 2 * word) * 4) & ~old & this.#valid(n);
      if (added === 0) continue;
      this.#cells[n] = old | added;
      const page = Math.floor(n / CELLS_PER_PAGE);
      const found = ones(added);
      this.#pageCounts[page] = (this.#pageCounts[page] ?? 0) + found;
      this.#dirty[page] = 1;
      changed += found;
    }
    this.#count += changed;
    return changed;
  }

  /**
   * Another data size. Growing: the new bits are set if `setNew`, and with them a last block that was partial before; old bits stay. Shrinking:
   * bits behind the new end are dropped. Dirty flags of pages that stay are kept; new pages are dirty.
   */
  resize(size: Sector, setNew: boolean): void {
    const grows = size > this.#size;
    const firstNew = Math.floor(this.#size / SECTORS_PER_BIT);
    const grown = new Bitmap(size);
    const kept = Math.min(grown.#cells.length, this.#cells.length);
    grown.#cells.set(this.#cells.subarray(0, kept));
    const pages = Math.min(grown.pageCount, this.pageCount);
    grown.#dirty.fill(1).set(this.#dirty.subarray(0, pages));
    grown.#pageCounts.set(this.#pageCounts.subarray(0, pages));
    this.#size = size;
    this.#bits = grown.#bits;
    this.#cells = grown.#cells;
    this.#pageCounts = grown.#pageCounts;
    this.#dirty = grown.#dirty;
    if (grows) {
      if (setNew) this.setRange(bit(firstNew), bit(this.#bits));
    } else this.#recountTail();
  }

  /** After shrinking: the last page lost bits without being counted. */
  #recountTail(): void {
    const lastCell = Math.floor((this.#bits - 1) / 32);
    for (let n = Math.max(0, lastCell); n < this.#cells.length; n++)
      this.#cells[n] = (this.#cells[n] ?? 0) & this.#valid(n);
    const page = this.pageCount - 1;
    if (page >= 0) {
      const found = this.#countInPage(page * BITS_PER_PAGE, this.#bits);
      if (found !== this.#pageCounts[page]) this.#dirty[page] = 1;
      this.#pageCounts[page] = found;
    }
    this.#count = this.#pageCounts.reduce((sum, n) => sum + n, 0);
  }
}

function littleEndian(source: Uint8Array, at: number): number {
  return (
    (source[at] ?? 0) | ((source[at + 1] ?? 0) << 8) | ((source[at + 2] ?? 0) << 16) | ((source[at + 3] ?? 0) << 24)
  );
}
