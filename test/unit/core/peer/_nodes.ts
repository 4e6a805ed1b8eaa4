/**
 * Nodes that look for each other over `_network.ts`: ours, and a model of the kernel's, which takes one step at a
 * time.
 */
import { Establisher, type EstablishSettings } from "../../../../src/core/peer/establish.ts";
import type { Closable, Endpoint } from "../../../../src/core/ports.ts";
import { instant, ms, NEVER, seconds } from "../../../../src/core/units.ts";
import { nodeNetwork, type SeededRandom, type Socket, socketOf, type Wire } from "./_network.ts";

/** Initial packets as the reference prints them (drbd-84 §1.2). */
export const INITIAL_DATA = [0x83, 0x74, 0x02, 0x67, 0xff, 0xf2, 0, 0];
export const INITIAL_META = [0x83, 0x74, 0x02, 0x67, 0xff, 0xf1, 0, 0];

export const A: Endpoint = { address: "10.0.0.1", port: 7789 };
export const B: Endpoint = { address: "10.0.0.2", port: 7789 };

/** DRBD's defaults: connect-int 10 s, ping-timeout 0.5 s, socket-check-timeout 0. */
export const defaults = (local: Endpoint, remote: Endpoint): EstablishSettings => ({
  local,
  remote,
  connectInterval: seconds(10),
  pingTimeout: ms(500),
  socketCheckTimeout: ms(0),
});

export interface Pair {
  readonly data: Socket;
  readonly meta: Socket;
  readonly resolveConflicts: boolean;
  readonly at: number;
}

export interface Node {
  readonly notes: string[];
  /** The two streams, once handed over and as long as both live. */
  pair: Pair | undefined;
  /** The peer has answered on the data stream: both sides mean the same two. */
  agreed: boolean;
  /** How often a hand-over came to nothing. */
  failures: number;
  start(): void;
  stop(): void;
  /** When the node wants to run next. */
  readonly deadline: number;
  run(): void;
}

/**
 * What follows establishment, in one byte each way: stands for P_CONNECTION_FEATURES and its timeout (drbd-84 §1.3).
 */
const HELLO = 0x42;
const HELLO_TIMEOUT = 2000;
const RETRY_PAUSE = 1000;

export function futagoNode(wire: Wire, settings: EstablishSettings, random: SeededRandom): Node {
  const notes: string[] = [];
  let giveUpAt: number = NEVER;
  let restartAt: number = NEVER;
  const establisher = new Establisher({
    network: nodeNetwork(wire),
    random,
    settings,
    onNote: (text) => notes.push(text),
    onEstablished: ({ data, meta, resolveConflicts }) => {
      node.pair = { data: socketOf(data), meta: socketOf(meta), resolveConflicts, at: wire.now };
      giveUpAt = wire.now + HELLO_TIMEOUT;
      data.expectHeader(1);
      data.out.setUint8(data.reserve(1), HELLO);
      const onClosed = (): void => fail();
      const rest = { onPayload: () => undefined, onSent: () => undefined, onClosed };
      const onHeader = (at: number): void => {
        if (data.window.getUint8(at) !== HELLO) throw new Error("bytes were lost at the hand-over");
        node.agreed = true;
        giveUpAt = NEVER;
      };
      return { data: { ...rest, onHeader }, meta: { ...rest, onHeader } };
    },
  });
  const fail = (): void => {
    if (node.pair === undefined) return;
    node.pair.data.close();
    node.pair.meta.close();
    node.pair = undefined;
    node.agreed = false;
    node.failures++;
    giveUpAt = NEVER;
    restartAt = wire.now + RETRY_PAUSE;
  };
  const node: Node = {
    notes,
    pair: undefined,
    agreed: false,
    failures: 0,
    start: () => establisher.start(instant(wire.now)),
    stop: () => {
      establisher.stop();
      node.pair?.data.close();
      node.pair?.meta.close();
      node.pair = undefined;
      node.agreed = false;
      giveUpAt = NEVER;
      restartAt = NEVER;
    },
    get deadline() {
      return Math.min(establisher.deadline, giveUpAt, restartAt);
    },
    run: () => {
      if (wire.now >= giveUpAt) fail();
      if (wire.now >= restartAt) {
        restartAt = NEVER;
        establisher.start(instant(wire.now));
      }
      if (wire.now >= establisher.deadline) establisher.onTimer(instant(wire.now));
    },
  };
  return node;
}

/** What the kernel's receiver thread blocks in. */
type Wait =
  | { readonly kind: "sleep"; readonly until: number }
  | { readonly kind: "connect"; readonly until: number }
  | { readonly kind: "accept"; readonly until: number }
  | { readonly kind: "read"; readonly socket: Socket; readonly bytes: number; readonly until: number };

const BACKLOG = 5;

/** The kernel's algorithm as drbd-84 §1.2 tells it: one blocking step after the other. */
export function kernelNode(wire: Wire, settings: EstablishSettings, random: SeededRandom): Node {
  let thread: Generator<Wait, void> | undefined;
  let waiting: Wait | undefined;
  let listener: Closable | undefined;
  const backlog: Socket[] = [];
  let connected: Socket | "failed" | undefined;
  const notes: string[] = [];

  const alive = (socket: Socket | undefined): boolean =>
    socket !== undefined && (socket.received.length > 0 || (socket.ended === undefined && !socket.closed));
  const checked = (socket: Socket | undefined): Socket | undefined => {
    if (alive(socket)) return socket;
    socket?.close();
    return undefined;
  };

  function* establish(): Generator<Wait, Pair> {
    let data: Socket | undefined;
    let meta: Socket | undefined;
    let resolveConflicts = false;
    const coin = (): boolean => random.fraction() < 0.5;
    for (;;) {
      connected = undefined;
      wire.connect(settings.local, settings.remote, (socket) => {
        connected = socket ?? "failed";
      });
      yield { kind: "connect", until: wire.now + settings.connectInterval };
      const own = connected as Socket | "failed" | undefined;
      if (own !== undefined && own !== "failed") {
        if (data === undefined) {
          data = own;
          own.send(INITIAL_DATA);
        } else if (meta === undefined) {
          resolveConflicts = false;
          meta = own;
          own.send(INITIAL_META);
        }
      }
      if (data !== undefined && meta !== undefined) {
        yield { kind: "sleep", until: wire.now + (settings.socketCheckTimeout || settings.pingTimeout) };
        data = checked(data);
        meta = checked(meta);
        if (data !== undefined && meta !== undefined) return { data, meta, resolveConflicts, at: wire.now };
      }
      for (let again = true; again; ) {
        again = false;
        const jitter = (coin() ? 1 : -1) * (settings.connectInterval / 7);
        yield { kind: "accept", until: wire.now + settings.connectInterval + jitter };
        const accepted = backlog.shift();
        if (accepted === undefined) break;
        yield { kind: "read", socket: accepted, bytes: 8, until: wire.now + 4 * settings.pingTimeout };
        const first = accepted.received.splice(0, 8).join();
        data = checked(data);
        meta = checked(meta);
        if (first === INITIAL_DATA.join()) {
          if (data !== undefined) {
            notes.push("initial packet S crossed");
            data.close();
            again = coin();
          }
          data = accepted;
        } else if (first === INITIAL_META.join()) {
          resolveConflicts = true;
          if (meta !== undefined) {
            notes.push("initial packet M crossed");
            meta.close();
            again = coin();
          }
          meta = accepted;
        } else {
          accepted.close();
          again = coin();
        }
      }
      if (data !== undefined && meta !== undefined) {
        yield { kind: "sleep", until: wire.now + (settings.socketCheckTimeout || settings.pingTimeout) };
        data = checked(data);
        meta = checked(meta);
        if (data !== undefined && meta !== undefined) return { data, meta, resolveConflicts, at: wire.now };
      }
    }
  }

  function* life(): Generator<Wait, void> {
    for (;;) {
      listener = wire.listen(settings.local, (socket) => {
        if (backlog.length < BACKLOG) backlog.push(socket);
        else socket.close("reset");
      });
      const pair = yield* establish();
      listener?.close();
      for (const socket of backlog.splice(0)) socket.close("reset");
      node.pair = pair;
      pair.data.send([HELLO]);
      yield { kind: "read", socket: pair.data, bytes: 1, until: wire.now + HELLO_TIMEOUT };
      if (pair.data.received.shift() === HELLO) {
        node.agreed = true;
        // Until the peer ends it.
        yield { kind: "read", socket: pair.data, bytes: 1, until: NEVER };
      }
      pair.data.close();
      pair.meta.close();
      node.pair = undefined;
      node.agreed = false;
      node.failures++;
      yield { kind: "sleep", until: wire.now + RETRY_PAUSE };
    }
  }

  const ready = (wait: Wait): boolean => {
    if (wire.now >= wait.until) return true;
    if (wait.kind === "connect") return connected !== undefined;
    if (wait.kind === "accept") return backlog.length > 0;
    if (wait.kind === "read") return wait.socket.received.length >= wait.bytes || wait.socket.ended !== undefined;
    return false;
  };
  const node: Node = {
    notes,
    pair: undefined,
    agreed: false,
    failures: 0,
    start: () => {
      thread = life();
      waiting = thread.next().value ?? undefined;
    },
    stop: () => {
      thread = undefined;
      waiting = undefined;
      listener?.close();
      node.pair = undefined;
      node.agreed = false;
    },
    get deadline() {
      return waiting?.until ?? NEVER;
    },
    run: () => {
      while (thread !== undefined && waiting !== undefined && ready(waiting))
        waiting = thread.next().value ?? undefined;
    },
  };
  return node;
}

/** Runs network and nodes until `done`, at most until `limit` ms. True if it got there. */
export function runUntil(wire: Wire, nodes: readonly Node[], limit: number, done: () => boolean): boolean {
  for (;;) {
    // Everything of one moment is one turn; timers follow it.
    while (wire.runNext(wire.now));
    for (const node of nodes) node.run();
    if (wire.nextAt <= wire.now || nodes.some((node) => node.deadline <= wire.now)) continue;
    if (done()) return true;
    const next = Math.min(wire.nextAt, ...nodes.map((node) => node.deadline));
    if (next > limit) return false;
    wire.now = next;
  }
}

/** Both hold the two ends of the same two connections, and exactly one of them resolves conflicts. */
export function agree(a: Node, b: Node): boolean {
  if (!a.agreed || !b.agreed || a.pair === undefined || b.pair === undefined) return false;
  return (
    a.pair.data.peer === b.pair.data &&
    a.pair.meta.peer === b.pair.meta &&
    a.pair.data !== a.pair.meta &&
    a.pair.resolveConflicts !== b.pair.resolveConflicts
  );
}
