/**
 * A file or block device as a `Disk`, over whatever carries its operations out: the ring, or libuv's thread pool. Files that live
 * in memory are read and written at once, on this thread.
 */
import type { DiskHandler } from "../core/ports.ts";
import type { Bytes } from "../core/units.ts";
import { type Arena, ZERO_BYTES } from "./arena.ts";
import type { OpenDisk, OpenedFile } from "./disk.ts";
import type { EngineLoop } from "./engine-loop.ts";
import { EINVAL, EIO, EOPNOTSUPP } from "./node-error.ts";
import { discardSteps, type RangeStep, zeroSteps } from "./ranges.ts";
import {
  ALLOCATE,
  DISCARD,
  INLINE_READ,
  INLINE_SYNC,
  INLINE_WRITE,
  READ,
  type RingOwner,
  SYNC,
  WRITE,
} from "./ring.ts";

const MOVE = 1;
const OTHER = 2;
const RANGE = 3;
const RANGE_PART = 4;
/** What one BLKDISCARD may take: it blocks the loop. */
const IOCTL_BYTES = 8 * 1024 * 1024;

/** Carries operations out: the codes are those of ring.ts, the slab and file offsets in bytes. */
export interface DiskQueue {
  readonly loop: EngineLoop;
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
  ): number;
  /** Reports `result` in this turn. */
  post(owner: RingOwner, kind: number, tag: number, result: number): void;
}

/** A zero or discard under way: the methods still to try, and how far one that goes in parts has come. */
interface RangeJob {
  readonly tag: number;
  readonly at: number;
  readonly length: number;
  readonly steps: readonly RangeStep[];
  step: number;
  done: number;
}

export class FileDisk implements OpenDisk, RingOwner {
  readonly size: Bytes;
  readonly logicalBlock: number;
  readonly physicalBlock: number;
  readonly hasVolatileCache: boolean;
  readonly canDiscard: boolean;
  readonly #queue: DiskQueue;
  readonly #arena: Arena;
  readonly #file: OpenedFile;
  readonly #handler: DiskHandler;
  readonly #readCode: number;
  readonly #writeCode: number;
  readonly #syncCode: number;
  readonly #jobs = new Map<number, RangeJob>();
  #nextJob = 0;
  #inFlight = 0;
  #closing = false;

  constructor(queue: DiskQueue, arena: Arena, file: OpenedFile, handler: DiskHandler) {
    this.#queue = queue;
    this.#arena = arena;
    this.#file = file;
    this.#handler = handler;
    this.size = file.size;
    this.logicalBlock = file.logicalBlock;
    this.physicalBlock = file.physicalBlock;
    this.hasVolatileCache = file.hasVolatileCache;
    this.canDiscard = file.canDiscard;
    this.#readCode = file.inMemory ? INLINE_READ : READ;
    this.#writeCode = file.inMemory ? INLINE_WRITE : WRITE;
    this.#syncCode = file.inMemory ? INLINE_SYNC : SYNC;
  }

  read(tag: number, at: number, offset: number, length: number): void {
    if (this.#refuses(tag, at, length)) return;
    this.#queue.push(this, MOVE, tag, this.#readCode, this.#file.fd, offset, length, at, 0);
    this.#inFlight++;
  }

  write(tag: number, at: number, offset: number, length: number, fua: boolean): void {
    if (this.#refuses(tag, at, length)) return;
    this.#queue.push(this, MOVE, tag, this.#writeCode, this.#file.fd, offset, length, at, fua ? 1 : 0);
    this.#inFlight++;
  }

  flush(tag: number): void {
    this.#queue.push(this, OTHER, tag, this.#syncCode, this.#file.fd, 0, 0, 0, 0);
    this.#inFlight++;
  }

  zero(tag: number, at: number, length: number, mayUnmap: boolean, fastOnly: boolean): void {
    this.#start(tag, at, length, zeroSteps(this.#file.kind, mayUnmap, fastOnly));
  }

  discard(tag: number, at: number, length: number): void {
    this.#start(tag, at, length, discardSteps(this.#file.kind));
  }

  /** Length of the run of one kind from `at`, negative for a hole (see `BlockDevice.allocation`). */
  allocation(at: number, length: number): number {
    return this.#file.allocation(at, length);
  }

  sizeNow(): Bytes {
    return this.#file.sizeNow();
  }

  close(): void {
    this.#closing = true;
    this.#letGoWhenIdle();
  }

  completed(kind: number, tag: number, length: number, result: number): void {
    switch (kind) {
      case MOVE:
        this.#report(tag, result < 0 || result === length ? result : EIO);
        break;
      case OTHER:
        this.#report(tag, result);
        break;
      default:
        this.#continue(tag, kind, length, result);
    }
    this.#inFlight--;
    this.#letGoWhenIdle();
  }

  #report(tag: number, result: number): void {
    this.#handler.onDisk(tag, result);
  }

  #refuses(tag: number, at: number, length: number): boolean {
    const block = this.logicalBlock;
    const fits = at >= 0 && length > 0 && at + length <= this.size && at % block === 0 && length % block === 0;
    if (fits) return false;
    this.#queue.post(this, OTHER, tag, EINVAL);
    this.#inFlight++;
    return true;
  }

  #start(tag: number, at: number, length: number, steps: readonly RangeStep[]): void {
    if (this.#refuses(tag, at, length)) return;
    const number = this.#nextJob++;
    this.#jobs.set(number, { tag, at, length, steps, step: 0, done: 0 });
    this.#attempt(number);
  }

  #attempt(number: number): void {
    const job = this.#jobs.get(number);
    if (job === undefined) return;
    const step = job.steps[job.step];
    if (step === undefined) {
      this.#jobs.delete(number);
      this.#queue.post(this, OTHER, job.tag, EOPNOTSUPP);
    } else if (step.how === "allocate") {
      this.#queue.push(this, RANGE, number, ALLOCATE, this.#file.fd, 0, job.length, job.at, step.mode);
    } else if (step.how === "discard") {
      this.#queue.push(this, RANGE, number, DISCARD, this.#file.fd, 0, job.length, job.at, 0);
    } else if (step.how === "ioctl") {
      this.#queue.loop.settleInNextTurn({ settle: () => this.#discardPart(number, job) });
    } else {
      const length = Math.min(job.length - job.done, ZERO_BYTES);
      const at = job.at + job.done;
      const { fd } = this.#file;
      this.#queue.push(this, RANGE_PART, number, this.#writeCode, fd, this.#arena.zeroesAt, length, at, 0);
    }
    this.#inFlight++;
  }

  #discardPart(number: number, job: RangeJob): void {
    const length = Math.min(job.length - job.done, IOCTL_BYTES);
    const result = this.#file.discardNow(job.at + job.done, length);
    this.completed(RANGE_PART, number, length, result === 0 ? length : result);
  }

  #continue(number: number, kind: number, length: number, result: number): void {
    const job = this.#jobs.get(number);
    if (job === undefined) return;
    if (kind === RANGE_PART && result === length) {
      job.done += length;
      if (job.done < job.length) {
        this.#attempt(number);
        return;
      }
    } else if (kind === RANGE && (result === EOPNOTSUPP || result === EINVAL)) {
      // An old kernel says EINVAL to what it does not know.
      job.step++;
      this.#attempt(number);
      return;
    }
    this.#jobs.delete(number);
    const isShort = kind === RANGE_PART && result >= 0 && result !== length;
    this.#report(job.tag, isShort ? EIO : Math.min(result, 0));
  }

  #letGoWhenIdle(): void {
    if (this.#closing && this.#inFlight === 0) this.#file.release();
  }
}
