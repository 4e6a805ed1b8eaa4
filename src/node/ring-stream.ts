/** A socket as a `Stream`: at most one receive and one send are with the kernel at a time. */
import type { CloseReason, Stream, StreamHandler } from "../core/ports.ts";
import { type Arena, WINDOW_BYTES } from "./arena.ts";
import type { Flushing, Settling } from "./engine-loop.ts";
import type { NativeSys } from "./native.ts";
import { closeReasonOf, errnoText } from "./node-error.ts";
import { NOTHING, PAYLOAD, Receiver } from "./receiver.ts";
import { RECEIVE, RECEIVE_ALL, type Ring, type RingOwner, SEND_V } from "./ring.ts";
import { SendQueue } from "./send-queue.ts";

const INTO_WINDOW = 1;
const INTO_SLAB = 2;
const SENT = 3;
const SHUT_WRITE = 1;
const SHUT_BOTH = 2;

/** What a stream is made of. `place` is the offset of its part of the arena. */
export interface RingSocket {
  readonly ring: Ring;
  readonly arena: Arena;
  readonly sys: NativeSys;
  readonly fd: number;
  readonly place: number;
  readonly remote: string;
}

export class RingStream implements Stream, RingOwner, Settling, Flushing {
  readonly window: DataView;
  readonly out: DataView;
  readonly remote: string;
  readonly fd: number;
  readonly #ring: Ring;
  readonly #arena: Arena;
  readonly #sys: NativeSys;
  readonly #place: number;
  readonly #sendBlock: number;
  readonly #receiver: Receiver;
  readonly #queue: SendQueue;
  #handler: StreamHandler | undefined;
  #receiving = false;
  #sending = false;
  #settleAsked = false;
  #flushAsked = false;
  #ended = false;
  #peerEnded = false;
  #closing: CloseReason | undefined;
  #detail = "";
  #closed = false;

  constructor(socket: RingSocket) {
    this.#ring = socket.ring;
    this.#arena = socket.arena;
    this.#sys = socket.sys;
    this.fd = socket.fd;
    this.#place = socket.place;
    this.remote = socket.remote;
    this.#sendBlock = socket.place + WINDOW_BYTES;
    this.#receiver = new Receiver(socket.arena.bytes, socket.place);
    this.#queue = new SendQueue(socket.arena);
    this.window = this.#receiver.window;
    this.out = socket.arena.view;
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

  /** Delivers what the window holds, then receives more if something is expected. */
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
    if (this.#closing === undefined) this.#receive();
  }

  flush(): void {
    this.#flushAsked = false;
    if (this.#closing !== undefined) {
      // Pieces queued after the end have nowhere to go; their tokens come back with the others.
      return;
    }
    if (!this.#sending && !this.#queue.isEmpty) this.#send();
    this.#queue.spillExcess();
    if (!this.#ended || !this.#queue.isEmpty) return;
    this.#sys.shutdownSocket(this.fd, SHUT_WRITE);
    if (this.#peerEnded) this.#close("eof", "");
  }

  completed(kind: number, _tag: number, _length: number, result: number): void {
    if (kind === SENT) this.#sent(result);
    else this.#received(kind, result);
  }

  #receive(): void {
    if (this.#receiving || this.#peerEnded) return;
    if (this.#ended) this.#receiver.drain();
    if (!this.#receiver.open) return;
    this.#receiving = true;
    const direct = this.#receiver.directAt;
    if (direct >= 0) {
      this.#ring.push(this, INTO_SLAB, 0, RECEIVE_ALL, this.fd, direct, this.#receiver.missing, 0, 0);
      return;
    }
    const at = this.#receiver.makeRoom();
    this.#ring.push(this, INTO_WINDOW, 0, RECEIVE, this.fd, at, this.#receiver.room, 0, 0);
  }

  #received(kind: number, result: number): void {
    this.#receiving = false;
    if (this.#closing !== undefined) {
      this.#finishWhenIdle();
    } else if (result > 0) {
      if (kind === INTO_SLAB) this.#receiver.received(0, result);
      else this.#receiver.received(result, 0);
      this.settle();
    } else if (result === 0 && this.#ended && !this.#queue.isEmpty) {
      // A client that has said good-bye shuts its sending side down, and reads the replies that are still queued.
      this.#peerEnded = true;
    } else if (result === 0) {
      this.#close("eof", this.#receiver.describe());
    } else {
      this.#close(closeReasonOf(result), errnoText(result));
    }
  }

  #send(): void {
    const pieces = this.#queue.startBatch(this.#arena.words, this.#sendBlock / 4);
    if (pieces === 0) {
      // No staging chunk was free for what waits on the heap.
      this.#ring.loop.settleInNextTurn({ settle: () => this.#askFlush() });
      return;
    }
    this.#sending = true;
    this.#ring.push(this, SENT, 0, SEND_V, this.fd, this.#sendBlock, pieces, 0, 0);
  }

  #sent(result: number): void {
    this.#sending = false;
    if (result >= 0 && this.#handler !== undefined) this.#queue.finishBatch(result, this.#handler);
    if (this.#closing !== undefined) this.#finishWhenIdle();
    else if (result < 0) this.#close(closeReasonOf(result), errnoText(result));
    else if (!this.#queue.isEmpty || this.#ended) this.#askFlush();
  }

  #askSettle(): void {
    if (this.#settleAsked) return;
    this.#settleAsked = true;
    this.#ring.loop.settleInTurn(this);
  }

  #askFlush(): void {
    if (this.#flushAsked) return;
    this.#flushAsked = true;
    this.#ring.loop.flushAtEnd(this);
  }

  /** The first reason wins. Nothing is delivered any more; `onClosed` follows when the kernel has let go of our memory. */
  #close(reason: CloseReason, detail: string): void {
    if (this.#closing !== undefined) return;
    this.#closing = reason;
    this.#detail = detail;
    if (this.#receiving || this.#sending) this.#sys.shutdownSocket(this.fd, SHUT_BOTH);
    else this.#ring.loop.settleInNextTurn({ settle: () => this.#finishWhenIdle() });
  }

  #finishWhenIdle(): void {
    if (this.#closed || this.#receiving || this.#sending || this.#closing === undefined) return;
    this.#closed = true;
    this.#sys.closeFd(this.fd);
    this.#arena.freeStream(this.#place);
    const handler = this.#handler;
    if (handler === undefined) return;
    this.#queue.abandon(handler);
    handler.onClosed(this.#closing, this.#detail);
  }
}
