/** What a contract test needs of an implementation: the ports, a way into a turn, and a way to let things happen. */
import type {
  Accept,
  CloseReason,
  Disk,
  DiskHandler,
  Endpoint,
  Memory,
  Network,
  Stream,
  StreamHandler,
} from "../../src/core/ports.ts";

/** One machine. */
export interface Side {
  readonly memory: Memory;
  readonly network: Network;
  readonly address: string;
}

export interface World {
  /** Runs `work` within a turn. */
  run(work: () => void): void;
  /** Lets things happen until `condition` holds; fails with `what` if it never does. */
  until(condition: () => boolean, what: string): Promise<void>;
  close(): void | Promise<void>;
}

export interface NetworkWorld extends World {
  readonly near: Side;
  readonly far: Side;
  /** A port nobody listens on. */
  freePort(): Promise<number>;
}

export interface DiskWorld extends World {
  readonly memory: Memory;
  readonly disk: Disk;
  /** Receives what the disk reports. */
  setHandler(handler: DiskHandler): void;
}

/** Tries until the world gives it: for worlds made of the real machine. */
export async function waitFor(condition: () => boolean, what: string): Promise<void> {
  const patience = Date.now() + 20_000;
  while (!condition()) {
    if (Date.now() > patience) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

export type StreamEvent =
  | { readonly at: "header"; readonly bytes: Uint8Array }
  | { readonly at: "payload" }
  | { readonly at: "sent"; readonly token: number }
  | { readonly at: "closed"; readonly reason: CloseReason; readonly detail: string };

/** One end of a connection: writes down what its handler is told. */
export class End implements StreamHandler {
  readonly events: StreamEvent[] = [];
  /** What `onHeader` and `onPayload` do next, one entry per call. */
  readonly script: (() => void)[] = [];
  readonly #world: World;
  #stream: Stream | undefined;
  /** Length of the last header asked for. */
  #asked = 0;
  inPort = false;

  constructor(world: World) {
    this.#world = world;
  }

  attach(stream: Stream): void {
    this.#stream = stream;
  }

  get stream(): Stream {
    if (this.#stream === undefined) throw new Error("not connected");
    return this.#stream;
  }

  get isConnected(): boolean {
    return this.#stream !== undefined;
  }

  get headers(): Uint8Array[] {
    return this.events.flatMap((event) => (event.at === "header" ? [event.bytes] : []));
  }

  get tokens(): number[] {
    return this.events.flatMap((event) => (event.at === "sent" ? [event.token] : []));
  }

  get payloads(): number {
    return this.events.filter((event) => event.at === "payload").length;
  }

  get closed(): { readonly reason: CloseReason; readonly detail: string } | undefined {
    return this.events.find((event) => event.at === "closed");
  }

  expectHeader(length: number): void {
    this.#asked = length;
    this.port(() => this.stream.expectHeader(length));
  }

  /** A call of a port, in a turn; handlers must not be called before it has returned. */
  port(call: () => void): void {
    this.#world.run(() => {
      this.inPort = true;
      call();
      this.inPort = false;
    });
  }

  send(bytes: Uint8Array): void {
    this.port(() => {
      const at = this.stream.reserve(bytes.length);
      new Uint8Array(this.stream.out.buffer, this.stream.out.byteOffset + at, bytes.length).set(bytes);
    });
  }

  onHeader(at: number): void {
    const { window } = this.stream;
    this.#note({ at: "header", bytes: new Uint8Array(window.buffer, window.byteOffset + at, this.#asked).slice() });
    this.script.shift()?.();
  }

  onPayload(): void {
    this.#note({ at: "payload" });
    this.script.shift()?.();
  }

  onSent(token: number): void {
    this.#note({ at: "sent", token });
  }

  onClosed(reason: CloseReason, detail: string): void {
    this.#note({ at: "closed", reason, detail });
  }

  #note(event: StreamEvent): void {
    if (this.inPort) throw new Error(`on${event.at} was called from within a port's method`);
    if (this.closed !== undefined) throw new Error(`on${event.at} after onClosed`);
    this.events.push(event);
  }
}

const ends = new WeakMap<World, End[]>();

/** Closes what `connected` has opened and a test left open. */
export async function disconnect(world: World): Promise<void> {
  for (const end of ends.get(world) ?? []) {
    if (!end.isConnected) continue;
    world.run(() => end.stream.destroy());
    await world.until(() => end.closed !== undefined, "the stream is closed");
  }
}

/** A connection between the two sides of `world`. */
export async function connected(world: NetworkWorld): Promise<{ near: End; far: End; remote: Endpoint }> {
  const near = new End(world);
  const far = new End(world);
  ends.set(world, [...(ends.get(world) ?? []), near, far]);
  const port = await world.freePort();
  const attachTo =
    (end: End): Accept =>
    (stream) => {
      end.attach(stream);
      return end;
    };
  const fail = (detail: string): void => {
    throw new Error(detail);
  };
  let seen: Endpoint = { address: "", port: 0 };
  world.run(() => {
    const listener = world.far.network.listen(
      { address: world.far.address, port },
      (stream, remote) => {
        seen = remote;
        listener.close();
        return attachTo(far)(stream, remote);
      },
      fail,
    );
  });
  world.run(() => {
    const from = { address: world.near.address, port: 0 };
    const to = { address: world.far.address, port };
    world.near.network.connect(from, to, attachTo(near), (_reason, detail) => fail(detail));
  });
  await world.until(() => near.isConnected && far.isConnected, "both ends are connected");
  return { near, far, remote: seen };
}
