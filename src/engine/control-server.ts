/**
 * Serves the control interface of one engine on a Unix socket. Requests of one connection run side by side and are answered
 * by id; a watch is one status per change, and a client that reads slowly misses states between, never the last one.
 *
 * Who may connect: the socket is made with mode 0600, so root and the engine's own user.
 */
import { chmodSync, unlinkSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { decodeRequest, encodeReply, FrameReader } from "./control-codec.ts";
import type { ControlListener, ControlReply, ControlRequest, EngineControl, WaitRequest } from "./control-interface.ts";
import { engineVersion } from "./control-version.ts";
import { waitFor } from "./control-wait.ts";

/** DRBD's ERR_INVALID_REQUEST (drbd-84 §10.6). */
const INVALID_REQUEST = 162;
/** A client with more unanswered requests is not read from until one is answered. */
const MAX_PENDING = 16;
/** Further connections are closed at once: a program that leaks them must not take the engine's descriptors. */
const MAX_CONNECTIONS = 64;

export interface ControlServerOptions {
  /** Path of the socket, under 108 bytes (`resourcePaths` checks it). Its folder exists. */
  readonly path: string;
  readonly control: EngineControl;
  /** A `down` has succeeded and its answer has been handed to the kernel: end the process. */
  onDown(): void;
  /** Something a peer program did wrong, or the socket failed: for the log. */
  onTrouble(text: string): void;
}

export interface ControlServer {
  /** Ends every connection, removes the socket. */
  close(): Promise<void>;
}

/**
 * Listens on `options.path`. A socket file left by an engine that died is replaced; one that answers is not: rejects with an
 * error of code EADDRINUSE, as with any other failure to listen.
 */
export async function serveControl(options: ControlServerOptions): Promise<ControlServer> {
  await removeStale(options.path);
  const sessions = new Set<Session>();
  const server = createServer((socket) => {
    const session = new Session(socket, options);
    sessions.add(session);
    socket.once("close", () => sessions.delete(session));
  });
  server.maxConnections = MAX_CONNECTIONS;
  await listen(server, options.path);
  server.on("error", (error) => options.onTrouble(`control socket: ${error.message}`));
  return {
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const session of sessions) session.end();
      await closed;
    },
  };
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    // The socket is created within this call: with the mask there is no moment at which others may connect.
    const mask = process.umask(0o177);
    try {
      server.listen(path, () => {
        server.off("error", reject);
        chmodSync(path, 0o600);
        resolve();
      });
    } finally {
      process.umask(mask);
    }
  });
}

/** Nothing listens behind a socket file that refuses connections. */
function removeStale(path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const probe = connect(path);
    probe.once("connect", () => {
      probe.destroy();
      reject(Object.assign(new Error(`another engine answers on ${path}`), { code: "EADDRINUSE" }));
    });
    probe.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNREFUSED") unlinkSync(path);
      resolve();
    });
  });
}

/** One connected client. */
class Session {
  readonly #socket: Socket;
  readonly #options: ControlServerOptions;
  readonly #frames = new FrameReader();
  /** What to stop when the client goes away: waits and watches. */
  readonly #stops = new Set<() => void>();
  #pending = 0;

  constructor(socket: Socket, options: ControlServerOptions) {
    this.#socket = socket;
    this.#options = options;
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    // A client that vanishes while we write is its own affair: "close" follows.
    socket.on("error", () => {});
    socket.on("close", () => {
      for (const stop of this.#stops) stop();
      this.#stops.clear();
    });
  }

  end(): void {
    this.#socket.end();
    this.#socket.destroySoon();
  }

  #receive(chunk: Buffer): void {
    for (const frame of this.#frames.feed(chunk)) {
      const decoded = "violation" in frame ? frame : decodeRequest(frame);
      if ("violation" in decoded) {
        this.#options.onTrouble(`control client dropped: ${decoded.violation}`);
        this.#refuse(0, decoded.violation);
        this.end();
        return;
      }
      if ("unknown" in decoded)
        this.#refuse(decoded.id, `${decoded.unknown} to this engine (version ${engineVersion})`);
      else this.#answer(decoded.id, decoded.request);
    }
  }

  #refuse(id: number, text: string): void {
    this.#send(id, {
      kind: "result",
      outcome: { code: INVALID_REQUEST, text: `Invalid configuration request: ${text}` },
    });
  }

  #answer(id: number, request: ControlRequest): void {
    const { control } = this.#options;
    switch (request.verb) {
      case "status":
        this.#send(id, { kind: "state", status: control.status(), skipped: 0 });
        return;
      case "watch":
        this.#watch(id);
        return;
      case "waitConnect":
      case "waitSync":
        this.#wait(id, request);
        return;
      case "generation":
        this.#send(id, { kind: "generation", view: control.generation(request.volume) });
        return;
      case "version":
        this.#send(id, { kind: "version", engine: engineVersion, pid: process.pid });
        return;
      default:
        void this.#execute(id, request);
    }
  }

  async #execute(id: number, request: Parameters<EngineControl["execute"]>[0]): Promise<void> {
    this.#begin();
    try {
      const outcome = await this.#options.control.execute(request);
      const downDone = request.verb === "down" && outcome.code > 0 && outcome.code < 100;
      this.#send(id, { kind: "result", outcome }, downDone ? () => this.#options.onDown() : undefined);
    } catch (error) {
      // The engine's own bug: the client hears of it instead of waiting, and the engine's log has the stack.
      const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
      this.#options.onTrouble(`request ${request.verb} failed: ${text}`);
      const outcome = { code: INVALID_REQUEST, text: `internal error: ${String(error)}` };
      this.#send(id, { kind: "result", outcome });
    } finally {
      this.#done();
    }
  }

  #begin(): void {
    this.#pending += 1;
    if (this.#pending >= MAX_PENDING) this.#socket.pause();
  }

  #done(): void {
    this.#pending -= 1;
    if (this.#pending < MAX_PENDING) this.#socket.resume();
  }

  #wait(id: number, request: WaitRequest): void {
    this.#begin();
    let ended = false;
    const stop = waitFor(this.#options.control, request, (result, reason) => {
      ended = true;
      this.#stops.delete(forget);
      this.#send(id, { kind: "waited", result, reason });
      this.#done();
    });
    function forget(): void {
      stop();
    }
    if (!ended) this.#stops.add(forget);
  }

  #watch(id: number): void {
    this.#begin();
    const watch = new Watch(this.#options.control, this.#socket, (reply) => this.#send(id, reply));
    this.#stops.add(() => watch.stop());
  }

  #send(id: number, reply: ControlReply, onSent?: () => void): void {
    if (this.#socket.destroyed || this.#socket.writableEnded) {
      onSent?.();
      return;
    }
    this.#socket.write(encodeReply(id, reply), () => onSent?.());
  }
}

/** Sends the status now and after changes: at most one per turn, and none while the client has unread bytes outstanding. */
class Watch {
  readonly #control: EngineControl;
  readonly #socket: Socket;
  readonly #send: (reply: ControlReply) => void;
  readonly #unsubscribe: () => void;
  #scheduled = false;
  #stopped = false;
  #skipped = 0;

  constructor(control: EngineControl, socket: Socket, send: (reply: ControlReply) => void) {
    this.#control = control;
    this.#socket = socket;
    this.#send = send;
    const listener: ControlListener = {
      onChange: () => this.#changed(),
      onHelperCall: (helper, volume) => this.#helper({ kind: "helperCall", helper, volume }),
      onHelperResponse: (helper, volume, status) => this.#helper({ kind: "helperResponse", helper, volume, status }),
    };
    this.#unsubscribe = control.subscribe(listener);
    this.#state();
  }

  stop(): void {
    this.#stopped = true;
    this.#unsubscribe();
  }

  #changed(): void {
    if (this.#scheduled) {
      if (this.#socket.writableNeedDrain) this.#skipped += 1;
      return;
    }
    this.#scheduled = true;
    if (this.#socket.writableNeedDrain) this.#socket.once("drain", () => this.#state());
    else setImmediate(() => this.#state());
  }

  #state(): void {
    this.#scheduled = false;
    if (this.#stopped) return;
    const skipped = this.#skipped;
    this.#skipped = 0;
    this.#send({ kind: "state", status: this.#control.status(), skipped });
  }

  /** A helper's call and answer belong between the states before and after it, so a state that is due goes first. */
  #helper(reply: ControlReply): void {
    if (this.#socket.writableNeedDrain) {
      this.#skipped += 1;
      return;
    }
    if (this.#scheduled) this.#state();
    this.#send(reply);
  }
}
