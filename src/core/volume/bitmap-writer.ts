/**
 * Brings changed pages of the bitmap to disk (drbd-84 §6.4). Bits live in memory; what makes them count after a crash is either
 * the activity log or this.
 */
import { type Bitmap, NO_PAGE } from "../metadata/bitmap.ts";
import { METADATA_BLOCK, type MetadataIo } from "./metadata-io.ts";
import type { Counters } from "./parts.ts";

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
    this.#writing.set(page, writing + 1);
    this.#counters.bm++;
    this.#io.write(
      this.#start + page * METADATA_BLOCK,
      false,
      (bytes, offset) => {
        this.#bitmap.cleanPage(page);
        this.#bitmap.copyPageOut(page, bytes, offset);
      },
      (errno) => {
        const left = (this.#writing.get(page) ?? 1) - 1;
        if (left === 0) this.#writing.delete(page);
        else this.#writing.set(page, left);
        if (errno !== 0) this.#bitmap.soilPage(page);
        done(errno);
      },
    );
  }

  /** Flushes the data, writes every changed page and flushes again: stable when `done(0)` comes. The first failure is reported. */
  writeAll(done: (errno: number) => void): void {
    this.#flushData((errno) => (errno === 0 ? this.#writeDirty(done) : done(errno)));
  }

  #writeDirty(done: (errno: number) => void): void {
    let open = 1;
    let failure = 0;
    const ended = (errno: number) => {
      failure = failure || errno;
      open--;
      if (open > 0) return;
      if (failure !== 0) done(failure);
      else this.#io.flush(done);
    };
    // Pages that an earlier call is still writing are not dirty any more, and not yet on disk either.
    for (const page of [...this.#writing.keys()]) {
      if (this.#bitmap.isDirtyPage(page)) continue;
      open++;
      this.writePage(page, ended);
    }
    for (let page = this.#bitmap.nextDirtyPage(0); page !== NO_PAGE; page = this.#bitmap.nextDirtyPage(page + 1)) {
      open++;
      this.writePage(page, ended);
    }
    ended(0);
  }
}
