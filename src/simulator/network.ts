/**
 * Hosts and the links between them. Connections are TCP as far as the engine can tell: bytes in order, cut anywhere; a window that fills; ends
 * that are orderly, reset, or silent because a host has lost its power or a link swallows everything. What a silent link holds back goes on
 * when it heals, as retransmission would have it.
 */
import type { Accept, Closable, CloseReason, Endpoint, Memory, Network } from "../core/ports.ts";
import type { Clock } from "./clock.ts";
import type { SimRandom } from "./random.ts";
import { SimStream } from "./stream.ts";
import type { Turns } from "./turns.ts";

export interface NetworkTraits {
  /** One way, in ms; `spread` is added at random. */
  readonly latency: number;
  readonly spread: number;
  /** Bytes under way in one direction before the sender is held up. */
  readonly window: number;
  /** Longest piece that arrives at once; pieces are cut at random. */
  readonly segment: number;
}

/** open: delivers. silent: swallows for now. reset: answers with a reset. */
export type LinkState = "open" | "silent" | "reset";

/** Sees what is sent and received, and may change it: for traces and for tests of the oracles. */
export interface Wiretap {
  sent(from: SimStream, bytes: Uint8Array): Uint8Array;
}

interface Listener {
  readonly turns: Turns;
  readonly memory: Memory;
  readonly staging: Staging;
  readonly accept: Accept;
  readonly owner: ProcessNetwork;
}

/** A process's place for small pieces on their way out; emptied at the end of every turn. */
export class Staging {
  readonly view = new DataView(new ArrayBuffer(4 * 1024 * 1024));
  #used = 0;
  reserve(length: number): number {
    const at = this.#used;
    if (at + length > this.view.byteLength) throw new Error("more control packets in one turn than were foreseen");
    this.#used += length;
    return at;
  }
  clear(): void {
    this.#used = 0;
  }
}

const EPHEMERAL = 32768;
/** How long a SYN goes unanswered before the attempt is given up. */
const CONNECT_PATIENCE_MS = 30_000;

export class SimNetwork {
  readonly clock: Clock;
  readonly traits: NetworkTraits;
  tap: Wiretap | undefined;
  readonly #random: SimRandom;
  readonly #hosts = new Map<string, SimHost>();
  readonly #links = new Map<string, LinkState>();
  readonly #held = new Map<string, (() => void)[]>();
  /** Both ends of every connection that is not yet closed on both sides. */
  readonly streams = new Set<SimStream>();
  #connections = 0;

  constructor(clock: Clock, random: SimRandom, traits: NetworkTraits) {
    this.clock = clock;
    this.#random = random;
    this.traits = traits;
  }

  host(address: string): SimHost {
    let host = this.#hosts.get(address);
    if (host === undefined) {
      host = new SimHost(this, address);
      this.#hosts.set(address, host);
    }
    return host;
  }

  hasHost(address: string): boolean {
    return this.#hosts.has(address);
  }

  nextConnection(): number {
    return this.#connections++;
  }

  latency(): number {
    return this.traits.latency + this.#random.fraction() * this.traits.spread;
  }

  /** A random cut of `length` bytes. */
  segment(length: number): number {
    const most = Math.min(length, this.traits.segment);
    return this.#random.chance(0.7) ? most : this.#random.between(1, most);
  }

  link(from: string, to: string): LinkState {
    return this.#links.get(`${from}>${to}`) ?? "open";
  }

  setLink(from: string, to: string, state: LinkState): void {
    const name = `${from}>${to}`;
    this.#links.set(name, state);
    if (state === "reset") {
      for (const stream of [...this.streams]) if (stream.from === from && stream.to === to) stream.resetBoth();
    }
    if (state !== "open") return;
    const held = this.#held.get(name) ?? [];
    this.#held.delete(name);
    for (const run of held) run();
  }

  /** Something travels from one host to another and arrives at `moment`, or when the link has healed. */
  travel(from: string, to: string, moment: number, arrive: () => void): void {
    const name = `${from}>${to}`;
    const { powerFailures } = this.host(from);
    // Only who still has power sends again.
    const again = (): void => {
      if (this.host(from).powerFailures === powerFailures) arrive();
    };
    this.clock.at(moment, () => {
      const held = this.#held.get(name);
      if (this.link(from, to) === "silent" || held !== undefined) {
        if (held === undefined) this.#held.set(name, [again]);
        else held.push(again);
      } else arrive();
    });
  }

  /** Breaks every connection between two hosts with a reset to both. */
  resetConnections(): number {
    const open = [...this.streams];
    for (const stream of open) stream.resetBoth();
    return open.length;
  }
}

export class SimHost {
  readonly network: SimNetwork;
  readonly address: string;
  powered = true;
  powerFailures = 0;
  readonly listeners = new Map<number, Listener>();
  #port = EPHEMERAL;

  constructor(network: SimNetwork, address: string) {
    this.network = network;
    this.address = address;
  }

  powerFails(): void {
    this.powered = false;
    this.powerFailures++;
  }

  nextPort(): number {
    return this.#port++;
  }

  open(turns: Turns, memory: Memory): ProcessNetwork {
    return new ProcessNetwork(this, turns, memory);
  }
}

/** The `Network` of one process. */
export class ProcessNetwork implements Network {
  readonly #host: SimHost;
  readonly #turns: Turns;
  readonly #memory: Memory;
  readonly #staging = new Staging();
  readonly streams = new Set<SimStream>();

  constructor(host: SimHost, turns: Turns, memory: Memory) {
    this.#host = host;
    this.#turns = turns;
    this.#memory = memory;
    turns.whenOver(() => this.#staging.clear());
  }

  /** The process is dead. `silently`: with its host, so that nobody is told. */
  die(silently: boolean): void {
    for (const [port, listener] of [...this.#host.listeners]) {
      if (listener.owner === this) this.#host.listeners.delete(port);
    }
    for (const stream of [...this.streams]) stream.die(silently);
    this.streams.clear();
  }

  listen(local: Endpoint, onStream: Accept, onError: (detail: string) => void): Closable {
    const host = this.#host;
    let open = true;
    const fail = (detail: string): Closable => {
      this.#turns.post(() => {
        if (open) onError(detail);
      });
      return {
        close: () => {
          open = false;
        },
      };
    };
    if (local.address !== host.address) return fail(`EADDRNOTAVAIL ${local.address}:${local.port}`);
    if (host.listeners.has(local.port)) return fail(`EADDRINUSE ${local.address}:${local.port}`);
    const listener: Listener = {
      turns: this.#turns,
      memory: this.#memory,
      staging: this.#staging,
      accept: onStream,
      owner: this,
    };
    host.listeners.set(local.port, listener);
    return {
      close: () => {
        if (host.listeners.get(local.port) === listener) host.listeners.delete(local.port);
      },
    };
  }

  connect(
    local: Endpoint,
    remote: Endpoint,
    onStream: Accept,
    onError: (reason: CloseReason, detail: string) => void,
  ): Closable {
    let open = true;
    const closable = {
      close: () => {
        open = false;
      },
    };
    const fail = (reason: CloseReason, detail: string): void => {
      this.#turns.post(() => {
        if (open) onError(reason, detail);
        open = false;
      });
    };
    if (local.address !== this.#host.address) {
      fail("error", `EADDRNOTAVAIL ${local.address}`);
      return closable;
    }
    this.#synchronise(remote, onStream, fail, () => open);
    return closable;
  }

  #synchronise(
    remote: Endpoint,
    onStream: Accept,
    fail: (reason: CloseReason, detail: string) => void,
    isOpen: () => boolean,
  ): void {
    const { network, address } = this.#host;
    const { clock } = network;
    const text = `${remote.address}:${remote.port}`;
    const port = this.#host.nextPort();
    let decided = false;
    clock.after(CONNECT_PATIENCE_MS, () => {
      if (!decided) fail("timeout", `ETIMEDOUT ${text}`);
      decided = true;
    });
    network.travel(address, remote.address, clock.now + network.latency(), () => {
      const far = network.host(remote.address);
      if (decided || !far.powered || !this.#turns.alive) return;
      const listener = far.listeners.get(remote.port);
      if (listener === undefined || network.link(address, remote.address) === "reset") {
        network.travel(remote.address, address, clock.now + network.latency(), () => {
          if (!decided) fail("refused", `ECONNREFUSED ${text}`);
          decided = true;
        });
        return;
      }
      const connection = network.nextConnection();
      const near = this.#stream(connection, remote.address, text);
      const other = listener.owner.#stream(connection, address, `${address}:${port}`);
      near.peer = other;
      other.peer = near;
      listener.turns.post(() => {
        if (network.host(remote.address).listeners.get(remote.port) !== listener) return other.refuse();
        other.setHandler(listener.accept(other, { address, port }));
      });
      network.travel(remote.address, address, clock.now + network.latency(), () => {
        if (decided) return near.refuse();
        decided = true;
        this.#turns.post(() => {
          if (!isOpen()) return near.refuse();
          near.setHandler(onStream(near, remote));
        });
      });
    });
  }

  #stream(connection: number, to: string, remote: string): SimStream {
    return new SimStream({
      network: this.#host.network,
      process: this,
      turns: this.#turns,
      memory: this.#memory,
      staging: this.#staging,
      connection,
      from: this.#host.address,
      to,
      remote,
    });
  }
}
