/**
 * TCP between named hosts in virtual time, deterministic from a seed: connections, bytes in order, closes and resets,
 * each after a random delay; hosts that die, links that swallow everything. `nodeNetwork` puts the ports of the core
 * on top.
 */
import type {
  Accept,
  Closable,
  CloseReason,
  Endpoint,
  Network,
  Random,
  Stream,
  StreamHandler,
} from "../../../../src/core/ports.ts";

export class SeededRandom implements Random {
  #state: number;
  constructor(seed: number) {
    this.#state = (seed ^ 0x9e3779b9) >>> 0;
  }
  fraction(): number {
    // mulberry32
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }
  u64(): bigint {
    return (BigInt(Math.floor(this.fraction() * 2 ** 32)) << 32n) | BigInt(Math.floor(this.fraction() * 2 ** 32));
  }
  fill(target: Uint8Array): void {
    for (let at = 0; at < target.length; at++) target[at] = Math.floor(this.fraction() * 256);
  }
}

interface Scheduled {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** One end of a connection. `received` grows; `ended` says that nothing more will come. */
export class Socket {
  readonly id: number;
  readonly from: string;
  readonly to: string;
  peer: Socket | undefined;
  readonly received: number[] = [];
  ended: "eof" | "reset" | undefined;
  closed = false;
  /** Called when bytes or an end have arrived. */
  onChange: () => void = () => undefined;
  lastArrival = 0;
  readonly #wire: Wire;

  constructor(wire: Wire, id: number, from: string, to: string) {
    this.#wire = wire;
    this.id = id;
    this.from = from;
    this.to = to;
  }

  send(bytes: readonly number[]): void {
    if (!this.closed) this.#wire.deliver(this, (peer) => peer.received.push(...bytes));
  }

  close(how: "eof" | "reset" = "eof"): void {
    if (this.closed) return;
    this.closed = true;
    this.#wire.deliver(this, (peer) => {
      peer.ended ??= how;
    });
  }
}

export class Wire {
  now = 0;
  readonly random: SeededRandom;
  /** Between hosts: `least` plus up to `spread` ms. */
  least: number;
  spread: number;
  /** True: everything between the hosts is swallowed. */
  cut = false;
  readonly #queue: Scheduled[] = [];
  readonly #listeners = new Map<string, (socket: Socket) => void>();
  readonly #sockets = new Set<Socket>();
  #order = 0;
  #ids = 0;

  constructor(seed: number, least: number, spread: number) {
    this.random = new SeededRandom(seed);
    this.least = least;
    this.spread = spread;
  }

  in(delay: number, run: () => void): void {
    this.#queue.push({ at: this.now + delay, order: this.#order++, run });
  }

  get nextAt(): number {
    return this.#queue.reduce((least, each) => Math.min(least, each.at), Number.POSITIVE_INFINITY);
  }

  /** Runs the earliest event, if it is due by `until`. */
  runNext(until: number): boolean {
    let best: Scheduled | undefined;
    for (const each of this.#queue)
      if (best === undefined || each.at < best.at || (each.at === best.at && each.order < best.order)) best = each;
    if (best === undefined || best.at > until) return false;
    this.#queue.splice(this.#queue.indexOf(best), 1);
    this.now = Math.max(this.now, best.at);
    best.run();
    return true;
  }

  delay(): number {
    return this.least + this.spread * this.random.fraction();
  }

  /** Sends something along the connection, never before what was sent earlier. */
  deliver(from: Socket, act: (peer: Socket) => void): void {
    const { peer } = from;
    if (peer === undefined || this.cut) return;
    peer.lastArrival = Math.max(peer.lastArrival, this.now + this.delay());
    this.in(peer.lastArrival - this.now, () => {
      if (peer.closed) return;
      act(peer);
      peer.onChange();
    });
  }

  listen(at: Endpoint, onSocket: (socket: Socket) => void): Closable | undefined {
    const name = `${at.address}:${at.port}`;
    if (this.#listeners.has(name)) return undefined;
    this.#listeners.set(name, onSocket);
    return {
      close: () => {
        if (this.#listeners.get(name) === onSocket) this.#listeners.delete(name);
      },
    };
  }

  connect(from: Endpoint, to: Endpoint, done: (socket: Socket | undefined) => void): void {
    if (this.cut) return;
    this.in(this.delay(), () => {
      if (this.cut) return;
      const onSocket = this.#listeners.get(`${to.address}:${to.port}`);
      if (onSocket === undefined) {
        this.in(this.delay(), () => done(undefined));
        return;
      }
      const id = this.#ids++;
      const source = `${from.address}:${40000 + id}`;
      const near = new Socket(this, id, source, `${to.address}:${to.port}`);
      const far = new Socket(this, id, `${to.address}:${to.port}`, source);
      near.peer = far;
      far.peer = near;
      this.#sockets.add(near).add(far);
      const answer = this.delay();
      // What the far side sends at once must not overtake the news that there is a connection.
      near.lastArrival = this.now + answer;
      this.in(answer, () => done(near));
      onSocket(far);
    });
  }

  /** Every connection of the host is reset, at both ends. */
  reset(address: string): void {
    for (const socket of this.#sockets) {
      if (!socket.from.startsWith(`${address}:`) && !socket.to.startsWith(`${address}:`)) continue;
      socket.ended ??= "reset";
      if (!socket.closed) socket.onChange();
    }
    this.#sockets.clear();
  }
}

const WINDOW_BYTES = 64;

class PortStream implements Stream {
  readonly window = new DataView(new ArrayBuffer(WINDOW_BYTES));
  readonly out = new DataView(new ArrayBuffer(WINDOW_BYTES));
  readonly queued = 0;
  readonly remote: string;
  readonly socket: Socket;
  handler: StreamHandler | undefined;
  readonly #wire: Wire;
  #expected = 0;
  #reported = false;

  constructor(wire: Wire, socket: Socket) {
    this.#wire = wire;
    this.socket = socket;
    this.remote = socket.to;
    socket.onChange = () => this.#pump();
  }

  expectHeader(length: number): void {
    if (this.#expected > 0) throw new Error("a second expectation");
    if (this.#reported) throw new Error("the stream is closed");
    this.#expected = length;
    this.#wire.in(0, () => this.#pump());
  }

  reserve(length: number): number {
    if (this.#reported) throw new Error("the stream is closed");
    // Filled before the turn ends: taken at the same virtual time, before anything else of the network.
    const { out } = this;
    this.#wire.in(0, () => this.socket.send(Array.from({ length }, (_, at) => out.getUint8(at))));
    return 0;
  }

  destroy(): void {
    if (this.#reported) throw new Error("the stream is closed");
    if (this.socket.closed) return;
    this.#wire.in(0, () => {
      this.socket.close();
      this.#report("local", "");
    });
  }

  expectInto(): void {
    throw new Error("no payload here");
  }
  expectSkip(): void {
    throw new Error("no payload here");
  }
  sendMemory(): void {
    throw new Error("no payload here");
  }
  end(): void {
    this.socket.close();
  }

  #pump(): void {
    if (this.#reported || this.socket.closed) return;
    const { received } = this.socket;
    if (this.#expected > 0 && received.length >= this.#expected) {
      const length = this.#expected;
      this.#expected = 0;
      received.splice(0, length).forEach((byte, at) => {
        this.window.setUint8(at, byte);
      });
      this.handler?.onHeader(0);
    }
    // An end behind unread bytes is noticed when these are asked for, as with real sockets.
    if (this.socket.ended === undefined || (received.length > 0 && this.#expected === 0)) return;
    this.#report(this.socket.ended, "");
    this.socket.close();
  }

  #report(reason: CloseReason, detail: string): void {
    if (this.#reported) return;
    this.#reported = true;
    this.handler?.onClosed(reason, detail);
  }
}

/** The port `Network` of one host. */
export function nodeNetwork(wire: Wire): Network {
  const give = (socket: Socket, onStream: Accept): void => {
    const stream = new PortStream(wire, socket);
    const [address = "", port = ""] = socket.to.split(":");
    stream.handler = onStream(stream, { address, port: Number(port) });
  };
  return {
    listen(local, onStream, onError) {
      const listener = wire.listen(local, (socket) => give(socket, onStream));
      if (listener === undefined) wire.in(0, () => onError("EADDRINUSE"));
      return listener ?? { close: () => undefined };
    },
    connect(local, remote, onStream, onError) {
      let open = true;
      wire.connect(local, remote, (socket) => {
        if (!open) {
          socket?.close();
          return;
        }
        if (socket === undefined) onError("refused", "ECONNREFUSED");
        else give(socket, onStream);
      });
      return {
        close: () => {
          open = false;
        },
      };
    },
  };
}

export const socketOf = (stream: Stream): Socket => {
  if (stream instanceof PortStream) return stream.socket;
  throw new Error("not a stream of this network");
};
