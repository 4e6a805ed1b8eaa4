/**
 * The submission table and who waits for what. An operation is a row of numbers; its completion finds its owner through a slot,
 * a small integer that travels to the kernel and back. The loop: completions → handlers → submit, until nothing is ready.
 */
import type { EngineLoop, Settling, TurnBackend } from "./engine-loop.ts";
import type { NativeRing } from "./native.ts";

/** native/ring/uring.h, OpCode. */
export const RECEIVE = 1;
export const RECEIVE_ALL = 2;
export const SEND_V = 3;
export const READ = 4;
export const WRITE = 5;
export const SYNC = 6;
export const ACCEPT = 7;
export const CONNECT = 8;
export const ALLOCATE = 9;
export const DISCARD = 10;
const CANCEL = 11;
export const INLINE_READ = 12;
export const INLINE_WRITE = 13;
export const INLINE_SYNC = 14;

export const RING_ENTRIES = 1024;
/** native/ring/uring.h, Op: 32 bytes. */
const WORDS_PER_OP = 8;
const DOUBLES_PER_OP = 4;
/** Turns in one go before timers and other sources get their chance. */
const TURNS_PER_WAKE = 64;

/** Receives completions: `kind` and `tag` as given to `push`, `length` as asked for, `result` bytes or a negative errno. */
export interface RingOwner {
  completed(kind: number, tag: number, length: number, result: number): void;
}

export class Ring implements TurnBackend, Settling {
  readonly loop: EngineLoop;
  readonly #native: NativeRing;
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;
  readonly #completions: Int32Array;
  #count = 0;
  #owners: (RingOwner | undefined)[] = [];
  #kinds = new Int32Array(0);
  #tags = new Float64Array(0);
  #lengths = new Float64Array(0);
  #free = new Int32Array(0);
  #freeCount = 0;
  /** Slots whose result needs no kernel: (slot, result) pairs. */
  readonly #posted: number[] = [];

  constructor(native: NativeRing, loop: EngineLoop) {
    this.#native = native;
    this.loop = loop;
    this.#words = new Int32Array(native.ops);
    this.#doubles = new Float64Array(native.ops);
    this.#completions = new Int32Array(native.completions);
    this.#grow(1024);
    loop.setBackend(this);
    native.start((n) => this.#wake(n));
  }

  /** Queues one operation for the end of the turn. Returns its slot, for `cancel`. */
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
    const slot = this.#take(owner, kind, tag, length);
    this.#row(code, fd, at, length, position, flags, slot);
    return slot;
  }

  /** Asks for an early end of the operation in `slot`, which is reported in any case: -ECANCELED, or its result. */
  cancel(slot: number): void {
    this.#row(CANCEL, -1, slot, 0, 0, 0, 0);
  }

  /** Reports `result` to `owner` in this turn, without the kernel. */
  post(owner: RingOwner, kind: number, tag: number, result: number): void {
    const slot = this.#take(owner, kind, tag, 0);
    if (this.#posted.push(slot, result) === 2) this.loop.settleInTurn(this);
  }

  submit(): void {
    this.#enter(false);
  }

  settle(): void {
    for (let i = 0; i < this.#posted.length; i += 2) this.#deliver(this.#posted[i] ?? 0, this.#posted[i + 1] ?? 0);
    this.#posted.length = 0;
  }

  giveBack(at: number, length: number): void {
    this.#native.giveBack(at, length);
  }

  close(): void {
    this.#native.close();
  }

  #wake(first: number): void {
    let n = first;
    for (let turns = 1; n > 0; turns++) {
      this.loop.enterTurn();
      for (let i = 0; i < n; i++) this.#deliver(this.#completions[2 * i] ?? 0, this.#completions[2 * i + 1] ?? 0);
      this.loop.leaveTurn();
      n = this.#enter(turns < TURNS_PER_WAKE);
      this.loop.turnIsOver();
    }
  }

  #deliver(slot: number, result: number): void {
    const owner = this.#owners[slot];
    const kind = this.#kinds[slot] ?? 0;
    const tag = this.#tags[slot] ?? 0;
    const length = this.#lengths[slot] ?? 0;
    this.#owners[slot] = undefined;
    this.#free[this.#freeCount++] = slot;
    owner?.completed(kind, tag, length, result);
  }

  #enter(harvest: boolean): number {
    const count = this.#count;
    this.#count = 0;
    return this.#native.enter(count, harvest);
  }

  #row(code: number, fd: number, at: number, length: number, position: number, flags: number, slot: number): void {
    if (this.#count === RING_ENTRIES) this.#enter(false);
    // Asked for from outside of a turn: the next one takes it along.
    if (this.#count === 0) this.loop.turnSoon();
    const row = this.#count++;
    const words = this.#words;
    const w = row * WORDS_PER_OP;
    words[w] = code;
    words[w + 1] = fd;
    words[w + 2] = at;
    words[w + 3] = length;
    this.#doubles[row * DOUBLES_PER_OP + 2] = position;
    words[w + 6] = slot;
    words[w + 7] = flags;
  }

  #take(owner: RingOwner, kind: number, tag: number, length: number): number {
    if (this.#freeCount === 0) this.#grow(this.#owners.length * 2);
    const slot = this.#free[--this.#freeCount] ?? 0;
    this.#owners[slot] = owner;
    this.#kinds[slot] = kind;
    this.#tags[slot] = tag;
    this.#lengths[slot] = length;
    return slot;
  }

  #grow(slots: number): void {
    const old = this.#owners.length;
    const grown = <T extends Int32Array | Float64Array>(to: T, from: T): T => {
      to.set(from);
      return to;
    };
    this.#kinds = grown(new Int32Array(slots), this.#kinds);
    this.#tags = grown(new Float64Array(slots), this.#tags);
    this.#lengths = grown(new Float64Array(slots), this.#lengths);
    this.#free = grown(new Int32Array(slots), this.#free);
    for (let slot = slots - 1; slot >= old; slot--) {
      this.#owners[slot] = undefined;
      this.#free[this.#freeCount++] = slot;
    }
  }
}
