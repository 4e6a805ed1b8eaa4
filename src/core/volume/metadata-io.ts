/**
 * Metadata reads and writes in 4 KiB blocks through slots of the control class. These are control path: closures are fine. What finds
 * no slot waits its turn, in order.
 */
import { EIO } from "../block-device.ts";
import type { Disk, Memory } from "../ports.ts";
import { NO_SLOT, type Requests, requestKinds } from "./requests.ts";

export const METADATA_BLOCK = 4096;
/** Blocks of one volume under way at once; AL, superblock and bitmap writes share them. */
const IN_FLIGHT_MAX = 32;

interface Operation {
  readonly write: boolean;
  readonly flush: boolean;
  /** Byte offset on the metadata device. */
  readonly at: number;
  readonly fua: boolean;
  /** Write: fills the block. Read: takes it. */
  readonly block: (bytes: Uint8Array, offset: number) => void;
  readonly done: (errno: number) => void;
}

export class MetadataIo {
  readonly #requests: Requests;
  readonly #memory: Memory;
  readonly #disk: Disk;
  readonly #volume: number;
  readonly #queue: Operation[] = [];
  readonly #running = new Map<number, Operation>();
  /** Blocks being written: two writes of one block must not overtake each other. */
  readonly #busy = new Set<number>();
  #head = 0;
  #closed = false;
  #waits = false;

  /** `disk` is where the metadata lies: for `internal` the data disk itself. */
  constructor(requests: Requests, memory: Memory, disk: Disk, volume: number) {
    this.#requests = requests;
    this.#memory = memory;
    this.#disk = disk;
    this.#volume = volume;
  }

  get idle(): boolean {
    return this.#running.size === 0 && this.#head === this.#queue.length;
  }

  /** Whether the slot runs an operation of this one. */
  owns(id: number): boolean {
    return this.#running.has(id);
  }

  /** `fill` is called when the block is about to be written, so later changes of what it shows are in it. */
  write(
    at: number,
    fua: boolean,
    fill: (bytes: Uint8Array, offset: number) => void,
    done: (errno: number) => void,
  ): void {
    this.#submit({ write: true, flush: false, at, fua, block: fill, done });
  }

  read(at: number, take: (bytes: Uint8Array, offset: number) => void, done: (errno: number) => void): void {
    this.#submit({ write: false, flush: false, at, fua: false, block: take, done });
  }

  /** All writes completed before are stable when it is done. */
  flush(done: (errno: number) => void): void {
    if (!this.#disk.hasVolatileCache) return done(0);
    this.#submit({ write: false, flush: true, at: 0, fua: false, block: () => undefined, done });
  }

  /** A completion of a slot of kind `metadata`. */
  onDisk(id: number, result: number): void {
    const operation = this.#running.get(id);
    if (operation === undefined) throw new Error(`metadata: completion for slot ${id}, which runs nothing`);
    this.#running.delete(id);
    if (operation.write) this.#busy.delete(operation.at);
    const failed = result < 0 || (!operation.flush && result !== METADATA_BLOCK);
    if (!failed && !operation.write && !operation.flush) {
      operation.block(this.#memory.bytes, this.#requests.memory[id] ?? 0);
    }
    this.#requests.free(id);
    operation.done(failed ? (result < 0 ? -result : EIO) : 0);
    this.#pump();
  }

  /** The disk is going away: what has not been started ends as failed, now and later. What is under way is still reported. */
  close(): void {
    this.#closed = true;
    const waiting = this.#queue.splice(this.#head);
    this.#queue.length = 0;
    this.#head = 0;
    for (const operation of waiting) operation.done(EIO);
  }

  #submit(operation: Operation): void {
    if (this.#closed) return operation.done(EIO);
    this.#queue.push(operation);
    this.#pump();
  }

  #pump(): void {
    while (this.#head < this.#queue.length && this.#running.size < IN_FLIGHT_MAX) {
      const operation = this.#queue[this.#head];
      if (operation === undefined || (!operation.flush && this.#busy.has(operation.at))) return;
      const id = this.#requests.acquire("control", requestKinds.metadata, operation.flush ? 0 : METADATA_BLOCK);
      if (id === NO_SLOT) return this.#wait();
      this.#head++;
      if (this.#head === this.#queue.length) {
        this.#queue.length = 0;
        this.#head = 0;
      }
      this.#requests.volume[id] = this.#volume;
      this.#running.set(id, operation);
      if (operation.write) this.#busy.add(operation.at);
      this.#start(id, operation);
    }
  }

  /** Other volumes have every slot; with none of our own under way nothing else would bring us back here. */
  #wait(): void {
    if (this.#waits) return;
    this.#waits = true;
    this.#requests.whenControlRoom(() => {
      this.#waits = false;
      this.#pump();
    });
  }

  #start(id: number, operation: Operation): void {
    if (operation.flush) return this.#disk.flush(id);
    const memory = this.#requests.memory[id] ?? 0;
    if (!operation.write) return this.#disk.read(id, operation.at, memory, METADATA_BLOCK);
    operation.block(this.#memory.bytes, memory);
    this.#disk.write(id, operation.at, memory, METADATA_BLOCK, operation.fua && this.#disk.hasVolatileCache);
  }
}
