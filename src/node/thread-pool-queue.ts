/** Disk operations by `node:fs`: on libuv's thread pool, or at once for files that live in memory. */
import { fdatasync, fdatasyncSync, read, readSync, write, writeSync } from "node:fs";
import type { EngineLoop } from "./engine-loop.ts";
import type { DiskQueue } from "./file-disk.ts";
import type { NativeSys } from "./native.ts";
import { EOPNOTSUPP, errnoOf } from "./node-error.ts";
import { ALLOCATE, INLINE_READ, INLINE_SYNC, INLINE_WRITE, READ, type RingOwner, SYNC, WRITE } from "./ring.ts";

type Failure = NodeJS.ErrnoException | null;

export class ThreadPoolQueue implements DiskQueue {
  readonly loop: EngineLoop;
  readonly #bytes: Uint8Array;
  readonly #sys: NativeSys;

  constructor(loop: EngineLoop, bytes: Uint8Array, sys: NativeSys) {
    this.loop = loop;
    this.#bytes = bytes;
    this.#sys = sys;
  }

  push(
    owner: RingOwner,
    kind: number,
    tag: number,
    code: number,
    fd: number,
    at: number,
    length: number,
    position: number,
    flags: number,
  ): number {
    // Completions of one round of the event loop are delivered together.
    const report = (result: number): void =>
      this.loop.settleInNextTurn({ settle: () => owner.completed(kind, tag, length, result) });
    const moved = (error: Failure, count: number): void => report(error === null ? count : errnoOf(error));
    const done = (error: Failure): void => report(error === null ? 0 : errnoOf(error));
    switch (code) {
      case READ:
        read(fd, this.#bytes, at, length, position, moved);
        break;
      case WRITE:
        write(fd, this.#bytes, at, length, position, flags ? stableWrite(fd, moved) : moved);
        break;
      case SYNC:
        fdatasync(fd, done);
        break;
      case ALLOCATE:
        this.#sys.allocate(fd, flags, position, length, report);
        break;
      case INLINE_READ:
      case INLINE_WRITE:
      case INLINE_SYNC:
        // Not in this turn: a handler that asks again at once would keep everything else waiting.
        report(this.#now(code, fd, at, length, position));
        break;
      default:
        report(EOPNOTSUPP);
    }
    return 0;
  }

  post(owner: RingOwner, kind: number, tag: number, result: number): void {
    this.loop.settleInTurn({ settle: () => owner.completed(kind, tag, 0, result) });
  }

  #now(code: number, fd: number, at: number, length: number, position: number): number {
    try {
      if (code === INLINE_READ) return readSync(fd, this.#bytes, at, length, position);
      if (code === INLINE_WRITE) return writeSync(fd, this.#bytes, at, length, position);
      fdatasyncSync(fd);
      return 0;
    } catch (error) {
      return errnoOf(error);
    }
  }
}

/** Node has no RWF_DSYNC: the write is followed by a sync. */
function stableWrite(fd: number, moved: (error: Failure, count: number) => void) {
  return (error: Failure, count: number): void => {
    if (error === null) fdatasync(fd, (syncError) => moved(syncError, count));
    else moved(error, count);
  };
}
