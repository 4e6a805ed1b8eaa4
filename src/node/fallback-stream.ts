/** A `net.Socket` as a `Stream`. Read buffers are Node's or static (`onread`); sending is one `writev` at a time. */
import type { Socket } from "node:net";
import type { CloseReason, Stream, StreamHandler } from "../core/ports.ts";
import type { Arena } from "./arena.ts";
import type { EngineLoop, Flushing, Settling } from "./engine-loop.ts";
import type { NativeSys, PeerCredentials } from "./native.ts";
import { closeReasonOf, errnoOf, errnoText } from "./node-error.ts";
import { NOTHING, PAYLOAD, Receiver } from "./receiver.ts";
import { BATCH_PIECES, SendQueue } from "./send-queue.ts";

/** Most bytes Node delivers at a time. */
export const READ_BYTES = 64 * 1024;

export interface FallbackSocket {
  readonly loop: EngineLoop;
  readonly arena: Arena;
  readonly sys: NativeSys;
  /** Paused. Its `data`, or what `onread` gets, must be passed to `arrived`. */
  readonly socket: Socket;
  readonly place: number;
  readonly remote: string;
}

export class FallbackStream implements Stream, Settling, Flushing {
  readonly window: DataView;
  readonly out: DataView;
  readonly remote: string;
  readonly #loop: EngineLoop;
  readonly #arena: Arena;
  readonly #sys: NativeSys;
  readonly #socket: Socket;
  readonly #place: number;
  readonly #receiver: Receiver;
  readonly #queue: SendQueue;
  readonly #pairs = new Uint32Array(2 * BATCH_PIECES);
  #handler: StreamHandler | undefined;
  #reading = false;
  #sending = false;
  #settleAsked = false;
  #flushAsked = false;
  #ended = false;
  #peerEnded = false;
  #closing: CloseReason | undefined;
  #detail = "";

  constructor(parts: FallbackSocket) {
    this.#loop = parts.loop;
    this.#arena = parts.arena;
    this.#sys = parts.sys;
    this.#socket = parts.socket;
    this.#place = parts.place;
    this.remote = parts.remote;
    this.#receiver = new Receiver(parts.arena.bytes, parts.place);
    this.#queue = new SendQueue(parts.arena);
    this.window = this.#receiver.window;
    this.out = parts.arena.view;
    parts.socket.on("end", () =>
      this.#loop.run(() => {
        this.#peerEnded = true;
        this.#concludeEnd();
      }),
    );
    parts.socket.on("error", (error) => this.#loop.run(() => this.#failed(error)));
    parts.socket.on("close", () => this.#loop.run(() => this.#finish()));
  }

  get queued(): number {
    return this.#queue.queued;
  }

  setHandler(handler: StreamHandler): void {
    this.#handler = handler;
  }

  expectHeader(length: number): void {
    this.#receiver.expectHeader(length);
    this.#askSettle();
  }

  expectInto(offset: number, length: number): void {
    this.#receiver.expectInto(offset, length);
    this.#askSettle();
  }

  expectSkip(length: number): void {
    this.#receiver.expectSkip(length);
    this.#askSettle();
  }

  reserve(length: number): number {
    const at = this.#queue.reserve(length);
    this.#askFlush();
    return at;
  }

  sendMemory(offset: number, length: number, token: number): void {
    this.#queue.sendMemory(offset, length, token);
    this.#askFlush();
  }

  end(): void {
    this.#ended = true;
    this.#askFlush();
    this.#askSettle();
  }

  destroy(): void {
    this.#close("local", "");
  }

  /** Bytes of at most `READ_BYTES`; they are taken at once. False: no more for now. */
  arrived(chunk: Uint8Array): boolean {
    this.#loop.run(() => {
      if (this.#closing !== undefined) return;
      this.#take(chunk);
      this.settle();
    });
    return this.#reading;
  }

  settle(): void {
    this.#settleAsked = false;
    const handler = this.#handler;
    if (handler === undefined) return;
    while (this.#closing === undefined) {
      const at = this.#receiver.next();
      if (at === NOTHING) break;
      if (at === PAYLOAD) handler.onPayload();
      else handler.onHeader(at);
    }
    if (this.#ended) this.#receiver.drain();
    this.#read(this.#closing === undefined && this.#receiver.open);
    this.#concludeEnd();
  }

  flush(): void {
    this.#flushAsked = false;
    if (this.#closing !== undefined) return;
    if (!this.#sending && !this.#queue.isEmpty) this.#send();
    this.#queue.spillExcess();
    if (!this.#ended || !this.#queue.isEmpty) return;
    this.#socket.end();
    this.#concludeEnd();
  }

  /** Node keeps the descriptor to itself; only Unix sockets have credentials. */
  credentials(): PeerCredentials | undefined {
    const handle = (this.#socket as { _handle?: { fd?: number } })._handle;
    const who = handle?.fd === undefined ? -1 : this.#sys.peerCredentials(handle.fd);
    return typeof who === "number" || who.pid === 0 ? undefined : who;
  }

  #take(chunk: Uint8Array): void {
    let rest = chunk;
    const direct = this.#receiver.pending === 0 ? this.#receiver.directAt : -1;
    if (direct >= 0) {
      const length = Math.min(chunk.length, this.#receiver.missing);
      this.#arena.bytes.set(chunk.subarray(0, length), direct);
      this.#receiver.received(0, length);
      rest = chunk.subarray(length);
    }
    this.#arena.bytes.set(rest, this.#receiver.makeRoom());
    this.#receiver.received(rest.length, 0);
  }

  #read(wanted: boolean): void {
    if (wanted === this.#reading) return;
    this.#reading = wanted;
    if (wanted) this.#socket.resume();
    else this.#socket.pause();
  }

  #send(): void {
    const pieces = this.#queue.startBatch(this.#pairs, 0);
    if (pieces === 0) {
      this.#loop.settleInNextTurn({ settle: () => this.#askFlush() });
      return;
    }
    this.#sending = true;
    this.#socket.cork();
    for (let i = 0; i < pieces; i++) {
      const at = this.#pairs[2 * i] ?? 0;
      const piece = this.#arena.bytes.subarray(at, at + (this.#pairs[2 * i + 1] ?? 0));
      if (i < pieces - 1) this.#socket.write(piece);
      else this.#socket.write(piece, (error) => this.#loop.run(() => this.#sent(error ?? undefined)));
    }
    this.#socket.uncork();
  }

  #sent(error: Error | undefined): void {
    this.#sending = false;
    if (this.#closing !== undefined || error !== undefined || this.#handler === undefined) return;
    this.#queue.finishBatch(this.#queue.inFlightBytes, this.#handler);
    if (!this.#queue.isEmpty || this.#ended) this.#askFlush();
  }

  #askSettle(): void {
    if (this.#settleAsked) return;
    this.#settleAsked = true;
    this.#loop.settleInTurn(this);
  }

  #askFlush(): void {
    if (this.#flushAsked) return;
    this.#flushAsked = true;
    this.#loop.flushAtEnd(this);
  }

  /** Node may tell of the end while nothing is being read: it counts when something is. What is queued leaves first if we have ended. */
  #concludeEnd(): void {
    if (!this.#peerEnded || !this.#receiver.open || (this.#ended && !this.#queue.isEmpty)) return;
    this.#close("eof", this.#receiver.describe());
  }

  #failed(error: Error): void {
    const errno = errnoOf(error);
    this.#close(closeReasonOf(errno), errnoText(errno));
  }

  /** The first reason wins; Node emits `close` later, when nothing uses our memory any more. */
  #close(reason: CloseReason, detail: string): void {
    if (this.#closing !== undefined) return;
    this.#closing = reason;
    this.#detail = detail;
    this.#socket.destroy();
  }

  #finish(): void {
    this.#closing ??= "error";
    this.#arena.freeStream(this.#place);
    const handler = this.#handler;
    if (handler === undefined) return;
    this.#queue.abandon(handler);
    handler.onClosed(this.#closing, this.#detail);
  }
}
