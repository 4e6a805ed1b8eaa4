/**
 * Brings changed pages of the bitmap to disk (drbd-84 §6.4). Bits live in memory; what makes them count after a crash is either
 * the activity log or this.
 */
import { type Bitmap, NO_PAGE } from "../metadata/bitmap.ts";
import { METADATA_BLOCK, type MetadataIo } from "./metadata-io.ts";
import type { Counters } from "./parts.ts";

/** Pages between two flushes of the data; 32 GiB of it. */
const PAGES_AT_ONCE = 256;

export class BitmapWriter {
  readonly #bitmap: Bitmap;
  readonly #io: MetadataIo;
  readonly #start: number;
  readonly #counters: Counters;
  readonly #flushData: (done: (errno: number) => void) => void;
  /** Writes of a page that are queued or under way. */
  readonly #writing = new Map<number, number>();

  /** `start`: byte offset of the bitmap on the metadata device. */
  constructor(
    bitmap: Bitmap,
    io: MetadataIo,
    start: number,
    counters: Counters,
    flushData: (done: (errno: number) => void) => void,
  ) {
    this.#bitmap = bitmap;
    this.#io = io;
    this.#start = start;
    this.#counters = counters;
    this.#flushData = flushData;
  }

  /**
   * Writes the page if it has changed since it was last written; `done` is called when it is completed, not yet stable. The data must
   * have been flushed before: a cleared bit says that its block is stable.
   */
  writePage(page: number, done: (errno: number) => void): void {
    // A page that is being written is written again, behind that: only then what it says is known to be on its way.
    const writing = this.#writing.get(page) ?? 0;
    if (!this.#bitmap.isDirtyPage(page) && writing === 0) return done(0);
    this.#write(page, undefined, done);
  }

  /** Bits that are set in `before` are written as set, whatever they are now. */
  #write(page: number, before: Uint8Array | undefined, done: (errno: number) => void): void {
    const writing = this.#writing.get(page) ?? 0;
    this.#writing.set(page, writing + 1);
    this.#counters.bm++;
    this.#io.write(
      this.#start + page * METADATA_BLOCK,
      false,
      (bytes, offset): void => {
        // A shrinking has taken it away meanwhile.
        if (page >= this.#bitmap.pageCount) {
          bytes.fill(0, offset, offset + METADATA_BLOCK);
          return;
        }
        this.#bitmap.cleanPage(page);
        this.#bitmap.copyPageOut(page, bytes, offset);
        if (before !== undefined && keepSet(before, bytes, offset)) this.#bitmap.soilPage(page);
      },
      (errno) => {
        const left = (this.#writing.get(page) ?? 1) - 1;
        if (left === 0) this.#writing.delete(page);
        else this.#writing.set(page, left);
        if (errno !== 0 && page < this.#bitmap.pageCount) this.#bitmap.soilPage(page);
        done(errno);
      },
    );
  }

  /** Flushes the data, writes every changed page and flushes again: stable when `done(0)` comes. The first failure is reported. */
  writeAll(done: (errno: number) => void): void {
    this.#writeFrom(0, done);
  }

  #writeFrom(first: number, done: (errno: number) => void): void {
    const pages = this.#pagesFrom(first);
    const last = pages.at(-1);
    if (last === undefined) return this.#io.flush(done);
    // What is cleared from here on belongs to blocks that the flush does not cover: on disk they stay set until the next time.
    const before = new Uint8Array(pages.length * METADATA_BLOCK);
    for (const [n, page] of pages.entries()) this.#bitmap.copyPageOut(page, before, n * METADATA_BLOCK);
    this.#flushData((flushed) => {
      if (flushed !== 0) return done(flushed);
      let open = pages.length;
      let failure = 0;
      const ended = (errno: number) => {
        failure = failure || errno;
        open--;
        if (open > 0) return;
        if (failure !== 0) done(failure);
        else this.#writeFrom(last + 1, done);
      };
      for (const [n, page] of pages.entries()) {
        this.#write(page, before.subarray(n * METADATA_BLOCK, (n + 1) * METADATA_BLOCK), ended);
      }
    });
  }

  /** The next changed pages, and those whose last change is still on its way to the disk. */
  #pagesFrom(first: number): number[] {
    const pages: number[] = [];
    for (const page of this.#writing.keys()) {
      if (page >= first && page < this.#bitmap.pageCount && !this.#bitmap.isDirtyPage(page)) pages.push(page);
    }
    for (let page = this.#bitmap.nextDirtyPage(first); page !== NO_PAGE; page = this.#bitmap.nextDirtyPage(page + 1)) {
      pages.push(page);
      if (pages.length >= PAGES_AT_ONCE + this.#writing.size) break;
    }
    return pages.sort((a, b) => a - b).slice(0, PAGES_AT_ONCE);
  }
}

/** Sets in `bytes` what is set in `before`; true if that changed anything. */
function keepSet(before: Uint8Array, bytes: Uint8Array, offset: number): boolean {
  let changed = false;
  for (const [n, old] of before.entries()) {
    const now = bytes[offset + n] ?? 0;
    if ((old & ~now) === 0) continue;
    bytes[offset + n] = old | now;
    changed = true;
  }
  return changed;
}
