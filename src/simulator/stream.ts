/** One end of a simulated connection. */
import type { CloseReason, Memory, Stream, StreamHandler } from "../core/ports.ts";
import type { ProcessNetwork, SimNetwork, Staging } from "./network.ts";
import type { Turns } from "./turns.ts";

export interface StreamParts {
  readonly network: SimNetwork;
  readonly process: ProcessNetwork;
  readonly turns: Turns;
  readonly memory: Memory;
  readonly staging: Staging;
  /** Number of the connection, the same for both ends. */
  readonly connection: number;
  readonly from: string;
  readonly to: string;
  readonly remote: string;
}

/** Waiting to be taken by the kernel: bytes of its own, or slab memory that is read when it is taken. */
interface Piece {
  bytes: Uint8Array | undefined;
  offset: number;
  length: number;
  readonly token: number;
}

type Expectation =
  | { readonly kind: "header"; readonly length: number }
  | { readonly kind: "into"; readonly offset: number; readonly length: number; have: number }
  | { readonly kind: "skip"; readonly length: number; have: number };

const NO_TOKEN = -1;
const WINDOW_BYTES = 8192;
/** Between the end of a turn and the kernel's look at what was asked for: who dies in between has sent nothing. */
const SUBMIT_MS = 0.005;

export class SimStream implements Stream {
  readonly window = new DataView(new ArrayBuffer(WINDOW_BYTES + 64));
  readonly out: DataView;
  readonly remote: string;
  readonly from: string;
  readonly to: string;
  readonly connection: number;
  peer: SimStream | undefined;
  readonly #parts: StreamParts;
  #handler: StreamHandler | undefined;
  #pieces: Piece[] = [];
  /** Reserved in this turn, not yet copied: place in the staging area and index of the piece. */
  #reserved: { readonly piece: Piece; readonly at: number }[] = [];
  #queued = 0;
  /** Bytes taken and not yet read by the other process. */
  #underWay = 0;
  #lastArrival = 0;
  #received: Uint8Array[] = [];
  #receivedBytes = 0;
  #end: "eof" | "reset" | undefined;
  #expectation: Expectation | undefined;
  #endAsked = false;
  #endSent = false;
  /** Closed by this process, or reported as closed to it. */
  #closed = false;
  #flushAsked = false;
  #settleAsked = false;
  #windowShift = 0;

  constructor(parts: StreamParts) {
    this.#parts = parts;
    this.out = parts.staging.view;
    this.remote = parts.remote;
    this.from = parts.from;
    this.to = parts.to;
    this.connection = parts.connection;
    parts.network.streams.add(this);
    parts.process.streams.add(this);
  }

  setHandler(handler: StreamHandler): void {
    this.#handler = handler;
    this.#askSettle();
  }

  get queued(): number {
    return this.#queued;
  }

  // ---- receiving ----

  expectHeader(length: number): void {
    this.#expect({ kind: "header", length });
  }
  expectInto(offset: number, length: number): void {
    this.#expect({ kind: "into", offset, length, have: 0 });
  }
  expectSkip(length: number): void {
    this.#expect({ kind: "skip", length, have: 0 });
  }

  #expect(expectation: Expectation): void {
    if (this.#expectation !== undefined) throw new Error("two expectations at a time");
    if (this.#closed) return;
    this.#expectation = expectation;
    this.#askSettle();
  }

  #askSettle(): void {
    if (this.#settleAsked) return;
    this.#settleAsked = true;
    this.#parts.turns.settleInTurn(() => {
      this.#settleAsked = false;
      this.#settle();
    });
  }

  #settle(): void {
    while (!this.#closed && this.#handler !== undefined) {
      const expectation = this.#expectation;
      // A reset takes what has not been read with it; it is noticed also by who does not read.
      if (this.#end === "reset") return this.#finish("reset", "ECONNRESET");
      if (expectation === undefined) {
        // Who has ended waits for nothing but the other's end.
        if (this.#endAsked && this.#end === "eof") this.#finish("eof", "");
        return;
      }
      if (!this.#satisfy(expectation, this.#handler)) {
        if (this.#end === "eof") this.#finish("eof", this.#missing(expectation));
        return;
      }
    }
  }

  /** False: more bytes are needed. */
  #satisfy(expectation: Expectation, handler: StreamHandler): boolean {
    if (expectation.kind === "header") {
      if (this.#receivedBytes < expectation.length) return false;
      this.#windowShift = (this.#windowShift + 8) % 64;
      this.#take(expectation.length, new Uint8Array(this.window.buffer, this.#windowShift, expectation.length));
      this.#expectation = undefined;
      handler.onHeader(this.#windowShift);
      return true;
    }
    const count = Math.min(this.#receivedBytes, expectation.length - expectation.have);
    const target =
      expectation.kind === "into"
        ? this.#parts.memory.bytes.subarray(
            expectation.offset + expectation.have,
            expectation.offset + expectation.have + count,
          )
        : undefined;
    this.#take(count, target);
    expectation.have += count;
    if (expectation.have < expectation.length) return false;
    this.#expectation = undefined;
    handler.onPayload();
    return true;
  }

  #take(count: number, target: Uint8Array | undefined): void {
    let done = 0;
    while (done < count) {
      const first = this.#received[0];
      if (first === undefined) throw new Error("received bytes were miscounted");
      const part = first.length <= count - done ? first : first.subarray(0, count - done);
      target?.set(part, done);
      done += part.length;
      if (part.length === first.length) this.#received.shift();
      else this.#received[0] = first.subarray(part.length);
    }
    this.#receivedBytes -= count;
    if (count > 0) this.#credit(count);
  }

  /** The sender's window opens again. */
  #credit(count: number): void {
    const { network } = this.#parts;
    const peer = this.peer;
    if (peer === undefined) return;
    network.travel(this.from, this.to, network.clock.now + network.latency(), () => {
      peer.#underWay -= count;
      peer.#askFlush();
    });
  }

  #missing(expectation: Expectation): string {
    const { kind, length } = expectation;
    if (kind === "header") {
      const have = this.#receivedBytes;
      return have === 0 ? "" : `waiting for ${length} bytes of header, have ${have}`;
    }
    return `waiting for ${length} bytes of payload, have ${expectation.have}`;
  }

  // ---- sending ----

  reserve(length: number): number {
    const at = this.#parts.staging.reserve(length);
    const piece: Piece = { bytes: undefined, offset: 0, length, token: NO_TOKEN };
    if (this.#closed) return at;
    this.#pieces.push(piece);
    this.#reserved.push({ piece, at });
    this.#queued += length;
    this.#askFlush();
    return at;
  }

  sendMemory(offset: number, length: number, token: number): void {
    const piece: Piece = { bytes: undefined, offset, length, token };
    this.#pieces.push(piece);
    this.#queued += length;
    if (this.#closed) this.#giveBackTokens();
    else this.#askFlush();
  }

  end(): void {
    this.#endAsked = true;
    this.#askFlush();
  }

  #askFlush(): void {
    if (this.#flushAsked) return;
    this.#flushAsked = true;
    this.#parts.turns.flushAtEnd(() => {
      this.#flushAsked = false;
      this.#flush();
    });
  }

  #flush(): void {
    const { staging, network } = this.#parts;
    for (const { piece, at } of this.#reserved) {
      piece.bytes = new Uint8Array(staging.view.buffer, at, piece.length).slice();
    }
    this.#reserved = [];
    network.clock.after(SUBMIT_MS, () => this.#pump());
  }

  /** The kernel takes what there is room for. */
  #pump(): void {
    if (this.#closed) return;
    while (this.#pieces.length > 0 && this.#underWay < this.#parts.network.traits.window) this.#transmit();
    if (this.#endAsked && this.#pieces.length === 0) this.#sendEnd("eof");
  }

  /** Takes bytes of the first piece into the network. */
  #transmit(): void {
    const piece = this.#pieces[0];
    const { network, memory, turns } = this.#parts;
    if (piece === undefined) return;
    const room = network.traits.window - this.#underWay;
    const length = Math.min(piece.length, network.segment(Math.min(piece.length, room)));
    const source = piece.bytes ?? memory.bytes;
    const bytes = source.slice(piece.offset, piece.offset + length);
    piece.offset += length;
    piece.length -= length;
    this.#queued -= length;
    this.#underWay += length;
    if (piece.length === 0) {
      this.#pieces.shift();
      if (piece.token !== NO_TOKEN) turns.post(() => this.#handler?.onSent(piece.token));
    }
    this.#deliver(network.tap?.sent(this, bytes) ?? bytes);
  }

  #deliver(bytes: Uint8Array): void {
    const { network } = this.#parts;
    const peer = this.peer;
    if (peer === undefined || bytes.length === 0) return;
    this.#lastArrival = Math.max(this.#lastArrival, network.clock.now + network.latency());
    network.travel(this.from, this.to, this.#lastArrival, () => peer.#arrived(bytes));
  }

  #arrived(bytes: Uint8Array): void {
    const { network } = this.#parts;
    if (this.#closed || this.#end !== undefined) {
      // Nobody is there for these bytes: a host that runs says so.
      if (network.host(this.from).powered) this.#sendEnd("reset");
      return;
    }
    this.#received.push(bytes);
    this.#receivedBytes += bytes.length;
    this.#askSettle();
  }

  #sendEnd(how: "eof" | "reset"): void {
    if (this.#endSent && how === "eof") return;
    this.#endSent = true;
    const { network } = this.#parts;
    const peer = this.peer;
    if (peer === undefined) return;
    this.#lastArrival = Math.max(this.#lastArrival, network.clock.now + network.latency());
    network.travel(this.from, this.to, this.#lastArrival, () => peer.#onEnd(how));
  }

  #onEnd(how: "eof" | "reset"): void {
    if (this.#closed || this.#end === "reset") return;
    this.#end = how;
    this.#askSettle();
  }

  // ---- closing ----

  destroy(): void {
    if (this.#closed) return;
    this.#closeLocally();
    const { turns } = this.#parts;
    this.#giveBackTokens();
    turns.post(() => this.#handler?.onClosed("local", ""));
  }

  /** Turned away before a handler was there. */
  refuse(): void {
    if (!this.#closed) this.#closeLocally();
  }

  #closeLocally(): void {
    const unread = this.#receivedBytes > 0;
    this.#forget();
    this.#sendEnd(unread ? "reset" : "eof");
  }

  #finish(reason: CloseReason, detail: string): void {
    this.#forget();
    if (reason === "eof") this.#sendEnd("eof");
    for (const token of this.#tokens()) this.#handler?.onSent(token);
    this.#handler?.onClosed(reason, detail);
  }

  #giveBackTokens(): void {
    for (const token of this.#tokens()) this.#parts.turns.post(() => this.#handler?.onSent(token));
  }

  #tokens(): number[] {
    const tokens = this.#pieces.filter((piece) => piece.token !== NO_TOKEN).map((piece) => piece.token);
    this.#pieces = [];
    this.#queued = 0;
    return tokens;
  }

  #forget(): void {
    this.#closed = true;
    this.#expectation = undefined;
    this.#reserved = [];
    this.#received = [];
    this.#receivedBytes = 0;
    this.#parts.network.streams.delete(this);
    this.#parts.process.streams.delete(this);
  }

  /** The process has died, with its host if `silently`. */
  die(silently: boolean): void {
    if (this.#closed) return;
    this.#pieces = [];
    if (silently) this.#forget();
    else this.#closeLocally();
  }

  /** From outside: a firewall, or somebody with a cable cutter. */
  resetBoth(): void {
    for (const end of [this, this.peer]) {
      if (end === undefined || end.#closed) continue;
      end.#end = "reset";
      end.#askSettle();
    }
  }
}
