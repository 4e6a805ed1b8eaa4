/**
 * A `BlockDevice` in memory. It answers when the test says so, in the order the test says; it counts every request and
 * records each misuse of the interface in `faults`.
 */
import {
  type BlockClient,
  type BlockDevice,
  EOPNOTSUPP,
  MAX_RANGE_BYTES,
  MAX_REQUEST_BYTES,
  NO_REQUEST,
  type RequestId,
} from "../../../../src/core/block-device.ts";
import type { Memory } from "../../../../src/core/ports.ts";
import { type Bytes, bytes } from "../../../../src/core/units.ts";

export type Verb = "read" | "write" | "flush" | "trim" | "writeZeroes";

export interface Call {
  readonly id: RequestId;
  readonly verb: Verb;
  readonly at: number;
  readonly length: number;
  readonly fua: boolean;
  readonly mayUnmap: boolean;
  readonly fastOnly: boolean;
}

export interface DeviceSetup {
  readonly size?: number;
  readonly capacity?: number;
  readonly block?: number;
  readonly multiConnection?: boolean;
  /** Answers within the verb itself. */
  readonly immediate?: boolean;
  /** Offers room to the client that asked last; by default to the one that asked first. */
  readonly newestFirst?: boolean;
  /** Reports the errno of a call, 0 for success. */
  readonly failing?: (call: Call) => number;
  /** See `BlockDevice.allocation`; by default 4096-byte blocks that are all zero are holes. */
  readonly allocation?: (at: number, length: number) => number;
}

const POISON = 0xdd;

export class MemoryDevice implements BlockDevice {
  readonly requestCapacity: number;
  size: Bytes;
  readonly minimumBlock: number;
  readonly preferredBlock = 4096;
  readOnly = false;
  readonly multiConnection: boolean;
  readonly content: Uint8Array;
  readonly memory: Memory;
  readonly faults: string[] = [];
  /** Every verb called, in order. */
  readonly calls: Call[] = [];
  readonly openers = new Set<BlockClient>();
  /** Submitted and not yet answered, oldest first. */
  readonly inFlight: Call[] = [];
  allocated = 0;
  released = 0;
  allocatedMost = 0;
  readonly #setup: DeviceSetup;
  readonly #owner: (BlockClient | undefined)[];
  readonly #lengths: number[];
  readonly #state: ("free" | "allocated" | "submitted" | "done")[];
  readonly #waiting = new Set<BlockClient>();

  constructor(setup: DeviceSetup = {}) {
    this.#setup = setup;
    this.requestCapacity = setup.capacity ?? 16;
    this.size = bytes(setup.size ?? 1024 * 1024);
    this.minimumBlock = setup.block ?? 512;
    this.multiConnection = setup.multiConnection ?? true;
    this.content = new Uint8Array(this.size);
    const slab = new Uint8Array(this.requestCapacity * MAX_REQUEST_BYTES);
    this.memory = { bytes: slab, view: new DataView(slab.buffer) };
    this.#owner = new Array(this.requestCapacity).fill(undefined);
    this.#lengths = new Array(this.requestCapacity).fill(0);
    this.#state = new Array(this.requestCapacity).fill("free");
  }

  get outstanding(): number {
    return this.allocated - this.released;
  }

  allocate(client: BlockClient, length: number): RequestId {
    if (!this.openers.has(client)) this.faults.push("allocate by a client that is not open");
    if (length < 0 || length > MAX_REQUEST_BYTES) this.faults.push(`allocate(${length})`);
    const id = this.#state.indexOf("free");
    if (id === -1) {
      this.#waiting.add(client);
      return NO_REQUEST;
    }
    this.#state[id] = "allocated";
    this.#owner[id] = client;
    this.#lengths[id] = length;
    this.allocated += 1;
    this.allocatedMost = Math.max(this.allocatedMost, this.outstanding);
    return id;
  }

  memoryOf(id: RequestId): number {
    if (this.#state[id] === "free") this.faults.push(`memoryOf(${id}) of a free request`);
    return id * MAX_REQUEST_BYTES;
  }

  read(id: RequestId, at: number, length: number): void {
    this.#submit({ id, verb: "read", at, length, fua: false, mayUnmap: false, fastOnly: false });
  }

  write(id: RequestId, at: number, length: number, fua: boolean): void {
    this.#submit({ id, verb: "write", at, length, fua, mayUnmap: false, fastOnly: false });
  }

  flush(id: RequestId): void {
    this.#submit({ id, verb: "flush", at: 0, length: 0, fua: false, mayUnmap: false, fastOnly: false });
  }

  trim(id: RequestId, at: number, length: number, fua: boolean): void {
    this.#submit({ id, verb: "trim", at, length, fua, mayUnmap: false, fastOnly: false });
  }

  writeZeroes(id: RequestId, at: number, length: number, fua: boolean, mayUnmap: boolean, fastOnly: boolean): void {
    this.#submit({ id, verb: "writeZeroes", at, length, fua, mayUnmap, fastOnly });
  }

  release(id: RequestId): void {
    const state = this.#state[id];
    if (state !== "allocated" && state !== "done") this.faults.push(`release(${id}) of a ${state} request`);
    this.#state[id] = "free";
    this.#owner[id] = undefined;
    this.released += 1;
    const start = id * MAX_REQUEST_BYTES;
    this.memory.bytes.fill(POISON, start, start + (this.#lengths[id] ?? 0));
    const waiting = [...this.#waiting];
    if (this.#setup.newestFirst === true) waiting.reverse();
    this.#waiting.clear();
    for (const client of waiting) {
      // Whoever comes too late is told another time.
      if (this.#state.includes("free")) client.onRoom();
      else this.#waiting.add(client);
    }
  }

  allocation(at: number, length: number): number {
    if (length < 1 || at + length > this.size) this.faults.push(`allocation(${at}, ${length})`);
    if (this.#setup.allocation !== undefined) return this.#setup.allocation(at, length);
    const isZero = (block: number) =>
      this.content.subarray(block * 4096, Math.min((block + 1) * 4096, this.size)).every((byte) => byte === 0);
    const first = Math.floor(at / 4096);
    const kind = isZero(first);
    let end = first + 1;
    while (end * 4096 < at + length && isZero(end) === kind) end += 1;
    const run = Math.min(end * 4096 - at, length);
    return kind ? -run : run;
  }

  opened(client: BlockClient): void {
    if (this.openers.has(client)) this.faults.push("opened twice");
    this.openers.add(client);
  }

  closed(client: BlockClient): void {
    if (!this.openers.delete(client)) this.faults.push("closed without opened");
    if (this.#owner.includes(client)) this.faults.push("closed with requests not released");
  }

  /** Answers the oldest request in flight, or the one at `index`. */
  complete(index = 0): void {
    const [call] = this.inFlight.splice(index, 1);
    if (call === undefined) throw new Error("nothing is in flight");
    this.#answer(call);
  }

  completeAll(): void {
    while (this.inFlight.length > 0) this.complete();
  }

  #submit(call: Call): void {
    const { id, verb, at, length } = call;
    if (this.#state[id] !== "allocated") this.faults.push(`${verb}(${id}) of a ${this.#state[id]} request`);
    const limit = verb === "read" || verb === "write" ? (this.#lengths[id] ?? 0) : MAX_RANGE_BYTES;
    if (length > limit || (verb !== "flush" && length === 0)) this.faults.push(`${verb} of ${length} bytes`);
    if (at + length > this.size) this.faults.push(`${verb} beyond the end: ${at}+${length}`);
    if (at % this.minimumBlock !== 0 || length % this.minimumBlock !== 0) this.faults.push(`${verb} unaligned`);
    if (this.readOnly && verb !== "read" && verb !== "flush") this.faults.push(`${verb} on a read-only device`);
    this.#state[id] = "submitted";
    this.calls.push(call);
    if (this.#setup.immediate === true) this.#answer(call);
    else this.inFlight.push(call);
  }

  #answer(call: Call): void {
    const { id, verb, at, length } = call;
    const client = this.#owner[id];
    if (client === undefined) throw new Error(`request ${id} has no owner`);
    const errno = this.#setup.failing?.(call) ?? (call.fastOnly && !call.mayUnmap ? EOPNOTSUPP : 0);
    const start = id * MAX_REQUEST_BYTES;
    if (errno === 0) {
      if (verb === "read") this.memory.bytes.set(this.content.subarray(at, at + length), start);
      else if (verb === "write") this.content.set(this.memory.bytes.subarray(start, start + length), at);
      else if (verb !== "flush") this.content.fill(0, at, at + length);
    }
    this.#state[id] = "done";
    client.onDone(id, errno);
  }
}
