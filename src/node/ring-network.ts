/** Listening and connecting over the ring, TCP and Unix. */
import type { Accept, Closable, CloseReason, Endpoint, Network } from "../core/ports.ts";
import { type Arena, WINDOW_BYTES } from "./arena.ts";
import type { NativeSys } from "./native.ts";
import { closeReasonOf, ECANCELED, ECONNABORTED, EINVAL, EMFILE, ENFILE, errnoText } from "./node-error.ts";
import { ACCEPT, CONNECT, type Ring, type RingOwner } from "./ring.ts";
import { RingStream } from "./ring-stream.ts";

const BACKLOG = 64;
/** A peer may have taken the process's last descriptors: try again after this. */
const ACCEPT_PAUSE_MS = 100;
const SHUT_BOTH = 2;
/** sockaddr_in6 is the longest. */
const ADDRESS_BYTES = 28;

/** `192.168.1.200:7789`, `[fe80::1]:7789`. */
export function endpointText(endpoint: Endpoint): string {
  const host = endpoint.address.includes(":") ? `[${endpoint.address}]` : endpoint.address;
  return `${host}:${endpoint.port}`;
}

export class RingNetwork implements Network {
  readonly #ring: Ring;
  readonly #arena: Arena;
  readonly #sys: NativeSys;

  constructor(ring: Ring, arena: Arena, sys: NativeSys) {
    this.#ring = ring;
    this.#arena = arena;
    this.#sys = sys;
  }

  listen(local: Endpoint, onStream: Accept, onError: (detail: string) => void): Closable {
    const fd = this.#sys.listenTcp(local.address, local.port, BACKLOG);
    if (fd < 0) return this.#failLater(() => onError(`listen on ${endpointText(local)}: ${errnoText(fd)}`));
    return new RingListener(this.#ring, this.#arena, this.#sys, fd, "", onStream, onError);
  }

  connect(
    local: Endpoint,
    remote: Endpoint,
    onStream: Accept,
    onError: (reason: CloseReason, detail: string) => void,
  ): Closable {
    const fail = (errno: number): void =>
      onError(closeReasonOf(errno), `connect to ${endpointText(remote)}: ${errnoText(errno)}`);
    const fd = this.#sys.tcpSocket(local.address);
    if (fd < 0) return this.#failLater(() => fail(fd));
    const place = this.#arena.takeStream();
    if (place === undefined) {
      this.#sys.closeFd(fd);
      return this.#failLater(() => fail(ENFILE));
    }
    return new RingConnector(this.#ring, this.#arena, this.#sys, { fd, place, remote }, onStream, fail);
  }

  /** `fd` is a listening Unix socket; streams come with `{ address: path, port: 0 }`. */
  listenUnix(fd: number, path: string, onStream: Accept, onError: (detail: string) => void): Closable {
    return new RingListener(this.#ring, this.#arena, this.#sys, fd, path, onStream, onError);
  }

  #failLater(report: () => void): Closable {
    let open = true;
    this.#ring.loop.settleInNextTurn({
      settle: () => {
        if (open) report();
      },
    });
    return {
      close: () => {
        open = false;
      },
    };
  }
}

class RingListener implements Closable, RingOwner {
  readonly #ring: Ring;
  readonly #arena: Arena;
  readonly #sys: NativeSys;
  readonly #fd: number;
  readonly #path: string;
  readonly #onStream: Accept;
  readonly #onError: (detail: string) => void;
  #slot = -1;
  /** Where the next stream will live. */
  #place: number | undefined;
  #closed = false;

  /** `path` is empty for TCP. */
  constructor(
    ring: Ring,
    arena: Arena,
    sys: NativeSys,
    fd: number,
    path: string,
    onStream: Accept,
    onError: (detail: string) => void,
  ) {
    this.#ring = ring;
    this.#arena = arena;
    this.#sys = sys;
    this.#fd = fd;
    this.#path = path;
    this.#onStream = onStream;
    this.#onError = onError;
    this.#accept();
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    // Wakes the pending accept; the descriptor is closed when that has come back.
    if (this.#slot >= 0) this.#sys.shutdownSocket(this.#fd, SHUT_BOTH);
    else this.#letGo();
  }

  completed(_kind: number, _tag: number, _length: number, result: number): void {
    this.#slot = -1;
    if (result >= 0 && !this.#closed) this.#accepted(result);
    else if (result >= 0) this.#sys.closeFd(result);
    if (this.#closed) this.#letGo();
    else if (result >= 0 || result === ECONNABORTED) this.#accept();
    else if (result === EMFILE || result === ENFILE) this.#acceptLater();
    else this.#fail(result);
  }

  /** Only with a place for the stream: connections without one wait in the backlog. */
  #accept(): void {
    if (this.#closed || this.#slot >= 0) return;
    this.#place ??= this.#arena.takeStream();
    if (this.#place === undefined) this.#arena.onFreeStream(() => this.#accept());
    else this.#slot = this.#ring.push(this, 0, 0, ACCEPT, this.#fd, 0, 0, 0, 0);
  }

  #acceptLater(): void {
    setTimeout(() => this.#ring.loop.run(() => this.#accept()), ACCEPT_PAUSE_MS);
  }

  #accepted(fd: number): void {
    const remote = this.#path === "" ? this.#sys.remoteEndpoint(fd) : { address: this.#path, port: 0 };
    const place = this.#place;
    if (typeof remote === "number" || place === undefined) {
      // Gone before we looked.
      this.#sys.closeFd(fd);
      return;
    }
    this.#place = undefined;
    if (this.#path === "") this.#sys.noDelay(fd);
    const name = this.#path === "" ? endpointText(remote) : this.#path;
    const stream = new RingStream({
      ring: this.#ring,
      arena: this.#arena,
      sys: this.#sys,
      fd,
      place,
      remote: name,
    });
    stream.setHandler(this.#onStream(stream, remote));
  }

  #letGo(): void {
    this.#sys.closeFd(this.#fd);
    if (this.#place !== undefined) this.#arena.freeStream(this.#place);
    this.#place = undefined;
  }

  #fail(errno: number): void {
    this.#closed = true;
    this.#letGo();
    this.#onError(`accept: ${errnoText(errno)}`);
  }
}

interface Attempt {
  readonly fd: number;
  readonly place: number;
  readonly remote: Endpoint;
}

class RingConnector implements Closable, RingOwner {
  readonly #ring: Ring;
  readonly #arena: Arena;
  readonly #sys: NativeSys;
  readonly #attempt: Attempt;
  readonly #onStream: Accept;
  readonly #fail: (errno: number) => void;
  #slot = -1;
  #open = true;

  constructor(
    ring: Ring,
    arena: Arena,
    sys: NativeSys,
    attempt: Attempt,
    onStream: Accept,
    fail: (errno: number) => void,
  ) {
    this.#ring = ring;
    this.#arena = arena;
    this.#sys = sys;
    this.#attempt = attempt;
    this.#onStream = onStream;
    this.#fail = fail;
    const { fd, remote } = attempt;
    // The address must stay until the kernel has read it: it stands where the stream's send block will be.
    const at = attempt.place + WINDOW_BYTES;
    const length = sys.socketAddress(remote.address, remote.port, arena.bytes.subarray(at, at + ADDRESS_BYTES));
    if (length < 0) ring.post(this, 0, 0, EINVAL);
    else this.#slot = ring.push(this, 0, 0, CONNECT, fd, at, length, 0, 0);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    if (this.#slot >= 0) this.#ring.cancel(this.#slot);
  }

  completed(_kind: number, _tag: number, _length: number, result: number): void {
    const { fd, place, remote } = this.#attempt;
    this.#slot = -1;
    if (result < 0 || !this.#open) {
      this.#sys.closeFd(fd);
      this.#arena.freeStream(place);
      if (this.#open) this.#settled(() => this.#fail(result === 0 ? ECANCELED : result));
      return;
    }
    this.#settled(() => {
      const stream = new RingStream({
        ring: this.#ring,
        arena: this.#arena,
        sys: this.#sys,
        fd,
        place,
        remote: endpointText(remote),
      });
      stream.setHandler(this.#onStream(stream, remote));
    });
  }

  #settled(report: () => void): void {
    this.#open = false;
    report();
  }
}
