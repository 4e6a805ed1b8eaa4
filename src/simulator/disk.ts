/**
 * A disk with two generations of every 512-byte sector: what reads show, and what would be left after a power failure. A write shows when it
 * completes and is stable after the flush that follows, or at once with FUA or without a volatile cache.
 *
 * Power failure: of every write since, and of those under way, each sector may have reached the medium or not. Process kill: the cache stays;
 * of the operations under way each has happened or not, or in part.
 */
import type { Disk, DiskHandler, Memory } from "../core/ports.ts";
import { type Bytes, bytes } from "../core/units.ts";
import type { SimRandom } from "./random.ts";
import type { Turns } from "./turns.ts";

const PAGE = 4096;
const SECTOR = 512;
const SECTORS_PER_PAGE = PAGE / SECTOR;
const EIO = -5;
const EINVAL = -22;
const EOPNOTSUPP = -95;

export interface DiskTraits {
  /** Bytes, a multiple of 4096. */
  readonly size: number;
  readonly volatileCache: boolean;
  readonly canDiscard: boolean;
  /** Mean latency of an operation in ms. */
  readonly latency: number;
  /** Probability of an operation that takes fifty times as long. */
  readonly slowChance: number;
}

interface Page {
  readonly shown: Uint8Array;
  readonly stable: Uint8Array;
  /** Per sector: order of the write that the stable generation shows. */
  readonly stableOrder: Float64Array;
}

/** A write that is complete and not stable. `bytes` undefined: zeroes. */
interface Unflushed {
  readonly order: number;
  readonly at: number;
  readonly length: number;
  readonly bytes: Uint8Array | undefined;
}

interface Operation {
  readonly kind: "read" | "write" | "flush" | "zero" | "discard";
  readonly tag: number;
  readonly at: number;
  readonly offset: number;
  readonly length: number;
  readonly fua: boolean;
  /** Flush: writes completed up to here become stable. */
  covers: number;
}

/** What a fault does to operations; undefined result: none. */
export interface DiskFaults {
  /** A negative errno, or undefined. */
  fails(kind: Operation["kind"], at: number, length: number): number | undefined;
}

const NO_FAULTS: DiskFaults = { fails: () => undefined };
const nothing = new Uint8Array(PAGE);

/** The medium: outlives processes. `open` gives a process its port. */
export class SimDisk {
  readonly traits: DiskTraits;
  readonly #random: SimRandom;
  readonly #pages = new Map<number, Page>();
  #unflushed: Unflushed[] = [];
  #order = 0;
  #port: SimDiskPort | undefined;
  faults: DiskFaults = NO_FAULTS;
  /** Pages whose contents, shown or stable, have changed since the set was emptied. */
  readonly touched = new Set<number>();

  constructor(traits: DiskTraits, random: SimRandom) {
    if (traits.size % PAGE !== 0) throw new RangeError(`disk of ${traits.size} bytes`);
    this.traits = traits;
    this.#random = random;
  }

  get size(): number {
    return this.traits.size;
  }

  get isOpen(): boolean {
    return this.#port !== undefined;
  }

  /** Numbers of the pages that were ever written. */
  get pages(): IterableIterator<number> {
    return this.#pages.keys();
  }

  open(turns: Turns, memory: Memory, handler: DiskHandler): SimDiskPort {
    if (this.#port !== undefined) throw new Error("the disk is open already");
    this.#port = new SimDiskPort(this, turns, memory, handler, this.#random);
    return this.#port;
  }

  /** The 4096 bytes of a page as reads show them, or as a power failure could leave them at worst. */
  page(number: number, generation: "shown" | "stable"): Uint8Array {
    return this.#pages.get(number)?.[generation] ?? nothing;
  }

  /** A copy of a range, in either generation. */
  copy(at: number, length: number, generation: "shown" | "stable" = "shown"): Uint8Array {
    const into = new Uint8Array(length);
    this.#eachPart(at, length, (number, from, count, done) => {
      into.set(this.page(number, generation).subarray(from, from + count), done);
    });
    return into;
  }

  /** Whether an operation of a living process is changing the range. */
  isBeingWritten(at: number, length: number): boolean {
    return this.#port?.isBeingWritten(at, length) ?? false;
  }

  /** Changes both generations at once: for setting up. */
  put(at: number, content: Uint8Array): void {
    this.write(at, content.length, content, true);
  }

  // ---- from the port ----

  released(port: SimDiskPort): void {
    if (this.#port === port) this.#port = undefined;
  }

  /** Order of the last completed write: what a flush that starts now covers. */
  get completed(): number {
    return this.#order;
  }

  write(at: number, length: number, content: Uint8Array | undefined, stable: boolean): void {
    const order = ++this.#order;
    this.#store(at, length, content, "shown", order);
    const isStable = stable || !this.traits.volatileCache;
    if (isStable) this.#store(at, length, content, "stable", order);
    else this.#unflushed.push({ order, at, length, bytes: content });
  }

  flush(covers: number): void {
    const left: Unflushed[] = [];
    for (const write of this.#unflushed) {
      if (write.order > covers) left.push(write);
      else this.#store(write.at, write.length, write.bytes, "stable", write.order);
    }
    this.#unflushed = left;
  }

  // ---- faults ----

  /** The process is gone: its operations under way have happened, or not, or in part. */
  killed(): void {
    this.#port?.abandon((operation, content) => this.#happenInPart(operation, content));
    this.#port = undefined;
  }

  /** `keeps`: how likely an unflushed sector has reached the medium all the same. */
  powerFailed(keeps: number): void {
    this.killed();
    const writes = this.#unflushed;
    this.#unflushed = [];
    const pages = new Set<number>();
    for (const write of writes) {
      for (let from = 0; from < write.length; from += SECTOR) {
        pages.add(Math.floor((write.at + from) / PAGE));
        if (!this.#random.chance(keeps)) continue;
        const part = write.bytes?.subarray(from, from + SECTOR);
        this.#store(write.at + from, SECTOR, part, "stable", write.order);
      }
    }
    for (const number of pages) {
      const page = this.#pages.get(number);
      if (page === undefined) continue;
      page.shown.set(page.stable);
      this.touched.add(number);
    }
  }

  #happenInPart(operation: Operation, content: Uint8Array | undefined): void {
    const { at, length } = operation;
    if (operation.kind !== "write" && operation.kind !== "zero") return;
    const how = this.#random.pick(["not", "whole", "torn"]);
    if (how === "not") return;
    for (let from = 0; from < length; from += SECTOR) {
      if (how === "torn" && this.#random.chance(0.5)) continue;
      this.write(at + from, SECTOR, content?.subarray(from, from + SECTOR), false);
    }
  }

  // ---- storage ----

  #eachPart(
    at: number,
    length: number,
    visit: (page: number, from: number, count: number, done: number) => void,
  ): void {
    for (let done = 0; done < length; ) {
      const page = Math.floor((at + done) / PAGE);
      const from = (at + done) % PAGE;
      const count = Math.min(PAGE - from, length - done);
      visit(page, from, count, done);
      done += count;
    }
  }

  #store(
    at: number,
    length: number,
    content: Uint8Array | undefined,
    generation: "shown" | "stable",
    order: number,
  ): void {
    this.#eachPart(at, length, (number, from, count, done) => {
      let page = this.#pages.get(number);
      if (page === undefined) {
        if (content === undefined) return;
        const fresh = new Uint8Array(2 * PAGE);
        page = {
          shown: fresh.subarray(0, PAGE),
          stable: fresh.subarray(PAGE),
          stableOrder: new Float64Array(SECTORS_PER_PAGE),
        };
        this.#pages.set(number, page);
      }
      this.touched.add(number);
      if (generation === "shown") {
        if (content === undefined) page.shown.fill(0, from, from + count);
        else page.shown.set(content.subarray(done, done + count), from);
        return;
      }
      for (let n = 0; n < count; n += SECTOR) {
        const sector = (from + n) / SECTOR;
        if ((page.stableOrder[sector] ?? 0) > order) continue;
        page.stableOrder[sector] = order;
        if (content === undefined) page.stable.fill(0, from + n, from + n + SECTOR);
        else page.stable.set(content.subarray(done + n, done + n + SECTOR), from + n);
      }
    });
  }
}

/** One process's hold on a disk. Memory is read when the operation happens, not when it is asked for. */
export class SimDiskPort implements Disk {
  readonly size: Bytes;
  readonly logicalBlock = SECTOR;
  readonly physicalBlock = PAGE;
  readonly #disk: SimDisk;
  readonly #turns: Turns;
  readonly #memory: Memory;
  readonly #handler: DiskHandler;
  readonly #random: SimRandom;
  readonly #open = new Set<Operation>();
  #dead = false;
  #closing = false;

  constructor(disk: SimDisk, turns: Turns, memory: Memory, handler: DiskHandler, random: SimRandom) {
    this.#disk = disk;
    this.size = bytes(disk.size);
    this.#turns = turns;
    this.#memory = memory;
    this.#handler = handler;
    this.#random = random;
  }

  get hasVolatileCache(): boolean {
    return this.#disk.traits.volatileCache;
  }
  get canDiscard(): boolean {
    return this.#disk.traits.canDiscard;
  }

  read(tag: number, at: number, offset: number, length: number): void {
    this.#submit({ kind: "read", tag, at, offset, length, fua: false, covers: 0 });
  }
  write(tag: number, at: number, offset: number, length: number, fua: boolean): void {
    this.#submit({ kind: "write", tag, at, offset, length, fua, covers: 0 });
  }
  flush(tag: number): void {
    this.#submit({ kind: "flush", tag, at: 0, offset: 0, length: 0, fua: false, covers: 0 });
  }
  zero(tag: number, at: number, length: number, mayUnmap: boolean, fastOnly: boolean): void {
    if (fastOnly && !(mayUnmap && this.canDiscard)) return this.#refuse(tag, EOPNOTSUPP);
    this.#submit({ kind: "zero", tag, at, offset: 0, length, fua: false, covers: 0 });
  }
  discard(tag: number, at: number, length: number): void {
    if (!this.canDiscard && this.#fits(at, length)) return this.#refuse(tag, EOPNOTSUPP);
    this.#submit({ kind: "discard", tag, at, offset: 0, length, fua: false, covers: 0 });
  }

  close(): void {
    this.#closing = true;
    if (this.#open.size === 0) this.#disk.released(this);
  }

  isBeingWritten(at: number, length: number): boolean {
    for (const o of this.#open) {
      if (o.kind !== "read" && o.kind !== "flush" && o.at < at + length && at < o.at + o.length) return true;
    }
    return false;
  }

  /** The process is dead: hands out what was under way and reports nothing any more. */
  abandon(visit: (operation: Operation, content: Uint8Array | undefined) => void): void {
    this.#dead = true;
    for (const operation of this.#open) visit(operation, this.#content(operation));
    this.#open.clear();
  }

  #fits(at: number, length: number): boolean {
    return at % SECTOR === 0 && length % SECTOR === 0 && length > 0 && at >= 0 && at + length <= this.size;
  }

  #refuse(tag: number, result: number): void {
    this.#turns.clock.after(0.01, () => this.#report(tag, result));
  }

  #submit(operation: Operation): void {
    if (this.#dead || this.#closing) throw new Error("the disk was closed");
    if (operation.kind !== "flush" && !this.#fits(operation.at, operation.length)) {
      return this.#refuse(operation.tag, EINVAL);
    }
    operation.covers = this.#disk.completed;
    this.#open.add(operation);
    const { latency, slowChance } = this.#disk.traits;
    const slow = this.#random.chance(slowChance) ? 50 : 1;
    // Asked for at the end of the turn.
    this.#turns.clock.after(0.005 + this.#random.wait(latency) * slow, () => this.#happen(operation));
  }

  #content(operation: Operation): Uint8Array | undefined {
    if (operation.kind !== "write") return undefined;
    return this.#memory.bytes.slice(operation.offset, operation.offset + operation.length);
  }

  #happen(operation: Operation): void {
    if (this.#dead) return;
    this.#open.delete(operation);
    const { kind, tag, at, offset, length } = operation;
    const failure = this.#disk.faults.fails(kind, at, length);
    if (failure !== undefined) return this.#report(tag, failure);
    switch (kind) {
      case "read":
        this.#memory.bytes.set(this.#disk.copy(at, length), offset);
        return this.#report(tag, length);
      case "write":
        this.#disk.write(at, length, this.#content(operation), operation.fua);
        return this.#report(tag, length);
      case "flush":
        this.#disk.flush(operation.covers);
        return this.#report(tag, 0);
      case "zero":
      case "discard":
        this.#disk.write(at, length, undefined, false);
        return this.#report(tag, 0);
      default:
        return kind satisfies never;
    }
  }

  #report(tag: number, result: number): void {
    this.#turns.post(() => this.#handler.onDisk(tag, result));
    if (this.#closing && this.#open.size === 0) this.#disk.released(this);
  }
}

/** What a failing disk answers. */
export const DISK_ERROR = EIO;
