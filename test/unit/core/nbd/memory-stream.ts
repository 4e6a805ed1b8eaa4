/**
 * A `Stream` whose other end is the test. Bytes from the client come in any segmentation, what the session sends is taken when
 * the test says so. It is stricter than a socket: two open expectations, a call after the end, or memory that changed
 * between `sendMemory` and `onSent` are failures.
 */
import type { CloseReason, Memory, Stream, StreamHandler } from "../../../../src/core/ports.ts";

const WINDOW_BYTES = 8192;

interface Queued {
  readonly bytes: Uint8Array;
  /** undefined: bytes of `out`; otherwise slab memory, with a copy of what it held. */
  readonly token: number | undefined;
  readonly original: Uint8Array | undefined;
}

type Expectation =
  | { readonly name: "header"; readonly length: number }
  | { readonly name: "into"; readonly offset: number; readonly length: number }
  | { readonly name: "skip"; readonly length: number };

export class MemoryStream implements Stream {
  readonly window = new DataView(new ArrayBuffer(WINDOW_BYTES));
  out = new DataView(new ArrayBuffer(0));
  readonly remote = "test";
  handler: StreamHandler | undefined;
  /** What the session did that no stream allows. */
  readonly faults: string[] = [];
  isEnded = false;
  isDestroyed = false;
  isClosed = false;
  /** Most bytes ever waiting for the client, replies and payload. */
  queuedMost = 0;
  readonly #memory: Memory;
  #expectation: Expectation | undefined;
  #filled = 0;
  #inbox: Uint8Array[] = [];
  #outbox: Queued[] = [];
  #queued = 0;
  #isCallingOut = false;

  constructor(memory: Memory) {
    this.#memory = memory;
  }

  get queued(): number {
    return this.#queued;
  }

  get isReading(): boolean {
    return this.#expectation !== undefined;
  }

  expectHeader(length: number): void {
    if (length < 1 || length > WINDOW_BYTES) this.faults.push(`expectHeader(${length})`);
    this.#expect({ name: "header", length });
  }

  expectInto(offset: number, length: number): void {
    if (length < 1 || offset + length > this.#memory.bytes.length) this.faults.push(`expectInto(${offset}, ${length})`);
    this.#expect({ name: "into", offset, length });
  }

  expectSkip(length: number): void {
    if (length < 1) this.faults.push(`expectSkip(${length})`);
    this.#expect({ name: "skip", length });
  }

  reserve(length: number): number {
    if (length < 1 || length > 8192) this.faults.push(`reserve(${length})`);
    if (this.isEnded) this.faults.push("reserve after end");
    // A new area each time: a session that keeps `out` across calls writes where nobody looks. Dirty, as a reused one is.
    const area = new Uint8Array(length + 24).fill(0xa5);
    this.out = new DataView(area.buffer);
    if (!this.isDestroyed)
      this.#queue({ bytes: area.subarray(16, 16 + length), token: undefined, original: undefined });
    return 16;
  }

  sendMemory(offset: number, length: number, token: number): void {
    if (length < 1) this.faults.push(`sendMemory(${offset}, ${length})`);
    if (this.isEnded || this.isDestroyed) this.faults.push("sendMemory after end");
    const bytes = this.#memory.bytes.subarray(offset, offset + length);
    this.#queue({ bytes, token, original: bytes.slice() });
  }

  end(): void {
    if (this.isEnded || this.isDestroyed) this.faults.push("end after end");
    this.isEnded = true;
  }

  destroy(): void {
    if (this.isDestroyed) this.faults.push("destroy twice");
    this.isDestroyed = true;
  }

  /** The client sends; delivered as far as the session asks for it. */
  feed(bytes: Uint8Array): void {
    this.#inbox.push(bytes);
    this.deliver();
  }

  /** Hands over what is there. Nothing comes after `destroy`. */
  deliver(): void {
    while (!this.isDestroyed && !this.isClosed && this.#expectation !== undefined) {
      const first = this.#inbox[0];
      if (first === undefined) return;
      const wanted = this.#expectation;
      const part = first.subarray(0, wanted.length - this.#filled);
      if (wanted.name === "header") new Uint8Array(this.window.buffer).set(part, this.#filled);
      else if (wanted.name === "into") this.#memory.bytes.set(part, wanted.offset + this.#filled);
      this.#filled += part.length;
      if (part.length === first.length) this.#inbox.shift();
      else this.#inbox[0] = first.subarray(part.length);
      if (this.#filled < wanted.length) continue;
      this.#expectation = undefined;
      this.#callOut((handler) => (wanted.name === "header" ? handler.onHeader(0) : handler.onPayload()));
    }
  }

  /** The client takes up to `limit` bytes of what was sent. */
  take(limit = Number.POSITIVE_INFINITY): Uint8Array {
    const parts: Uint8Array[] = [];
    let left = limit;
    while (left > 0) {
      const first = this.#outbox[0];
      if (first === undefined) break;
      const part = first.bytes.slice(0, left);
      left -= part.length;
      parts.push(part);
      this.#queued -= part.length;
      if (part.length < first.bytes.length) {
        const original = first.original?.subarray(part.length);
        this.#outbox[0] = { bytes: first.bytes.subarray(part.length), token: first.token, original };
        this.#check(part, first.original);
        break;
      }
      this.#check(part, first.original);
      this.#outbox.shift();
      const { token } = first;
      if (token !== undefined) this.#callOut((handler) => handler.onSent(token));
    }
    return concat(parts);
  }

  /** The last event: held tokens are reported first, as the port says. */
  close(reason: CloseReason): void {
    if (this.isClosed) return;
    const held = this.#outbox.splice(0);
    this.#queued = 0;
    this.isClosed = true;
    this.#expectation = undefined;
    for (const { token } of held) if (token !== undefined) this.#callOut((handler) => handler.onSent(token));
    this.#callOut((handler) => handler.onClosed(reason, ""));
  }

  #check(part: Uint8Array, original: Uint8Array | undefined): void {
    if (original === undefined) return;
    if (Buffer.compare(part, original.subarray(0, part.length)) !== 0)
      this.faults.push("memory changed before it was sent");
  }

  #queue(item: Queued): void {
    this.#outbox.push(item);
    this.#queued += item.bytes.length;
    this.queuedMost = Math.max(this.queuedMost, this.#queued);
  }

  #expect(expectation: Expectation): void {
    if (this.#expectation !== undefined) this.faults.push("two expectations are open");
    if (this.isDestroyed) this.faults.push("expectation after destroy");
    this.#expectation = expectation;
    this.#filled = 0;
  }

  #callOut(call: (handler: StreamHandler) => void): void {
    if (this.handler === undefined || this.#isCallingOut)
      throw new Error("the test calls the session from within itself");
    this.#isCallingOut = true;
    try {
      call(this.handler);
    } finally {
      this.#isCallingOut = false;
    }
  }
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
