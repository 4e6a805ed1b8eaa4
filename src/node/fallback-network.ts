/** Listening and connecting with `node:net`. */
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Accept, Closable, CloseReason, Endpoint, Network } from "../core/ports.ts";
import type { Arena } from "./arena.ts";
import type { EngineLoop } from "./engine-loop.ts";
import { FallbackStream, READ_BYTES } from "./fallback-stream.ts";
import type { NativeSys } from "./native.ts";
import { closeReasonOf, ENFILE, errnoOf, errnoText } from "./node-error.ts";
import { endpointText } from "./ring-network.ts";
import { prepareSocketPath, removingSocket } from "./unix-socket.ts";

const BACKLOG = 64;

export class FallbackNetwork implements Network {
  readonly #loop: EngineLoop;
  readonly #arena: Arena;
  readonly #sys: NativeSys;

  constructor(loop: EngineLoop, arena: Arena, sys: NativeSys) {
    this.#loop = loop;
    this.#arena = arena;
    this.#sys = sys;
  }

  listen(local: Endpoint, onStream: Accept, onError: (detail: string) => void): Closable {
    const server = this.#server("", onStream, (text) => onError(`listen on ${endpointText(local)}: ${text}`));
    server.listen({ host: local.address, port: local.port, backlog: BACKLOG });
    return closable(server);
  }

  listenUnix(path: string, onStream: Accept, onError: (detail: string) => void): Closable {
    const obstacle = prepareSocketPath(path);
    if (obstacle !== undefined) {
      this.#loop.settleInNextTurn({ settle: () => onError(obstacle) });
      return { close() {} };
    }
    const server = this.#server(path, onStream, (text) => onError(`${path}: ${text}`));
    server.listen({ path, backlog: BACKLOG });
    return removingSocket(path, closable(server));
  }

  connect(
    local: Endpoint,
    remote: Endpoint,
    onStream: Accept,
    onError: (reason: CloseReason, detail: string) => void,
  ): Closable {
    let open = true;
    let stream: FallbackStream | undefined;
    const fail = (errno: number): void => {
      if (open) onError(closeReasonOf(errno), `connect to ${endpointText(remote)}: ${errnoText(errno)}`);
      open = false;
    };
    const place = this.#arena.takeStream();
    if (place === undefined) {
      this.#loop.settleInNextTurn({ settle: () => fail(ENFILE) });
      return { close() {} };
    }
    const socket = connect({
      host: remote.address,
      port: remote.port,
      localAddress: local.address,
      noDelay: true,
      allowHalfOpen: true,
      onread: {
        buffer: new Uint8Array(READ_BYTES),
        callback: (n, chunk) => stream?.arrived(chunk.subarray(0, n)) ?? false,
      },
    });
    socket.pause();
    const failed = (error: Error): void => this.#loop.run(() => fail(errnoOf(error)));
    const gone = (): void => this.#arena.freeStream(place);
    socket.once("error", failed);
    socket.once("close", gone);
    socket.once("connect", () => {
      socket.off("error", failed);
      socket.off("close", gone);
      open = false;
      this.#loop.run(() => {
        stream = this.#stream(socket, place, endpointText(remote));
        stream.setHandler(onStream(stream, remote));
      });
    });
    return {
      close() {
        if (!open) return;
        open = false;
        socket.destroy();
      },
    };
  }

  /** `path` is empty for TCP. */
  #server(path: string, onStream: Accept, onError: (text: string) => void): Server {
    const server = createServer({ pauseOnConnect: true, allowHalfOpen: true, noDelay: path === "" });
    server.on("connection", (socket) => this.#loop.run(() => this.#accepted(socket, path, onStream)));
    server.on("error", (error) => {
      server.close();
      this.#loop.run(() => onError(errnoText(errnoOf(error))));
    });
    return server;
  }

  #accepted(socket: Socket, path: string, onStream: Accept): void {
    const { remoteAddress, remotePort } = socket;
    const remote = path === "" ? { address: remoteAddress ?? "", port: remotePort ?? 0 } : { address: path, port: 0 };
    const place = remote.address === "" ? undefined : this.#arena.takeStream();
    if (place === undefined) {
      // Gone already, or no room: Node accepts whether we want it or not.
      socket.destroy();
      return;
    }
    const stream = this.#stream(socket, place, path === "" ? endpointText(remote) : path);
    socket.on("data", (chunk: Buffer) => void stream.arrived(chunk));
    // A listener for `data` sets the stream flowing; nothing is read without an expectation.
    socket.pause();
    stream.setHandler(onStream(stream, remote));
  }

  #stream(socket: Socket, place: number, remote: string): FallbackStream {
    return new FallbackStream({ loop: this.#loop, arena: this.#arena, sys: this.#sys, socket, place, remote });
  }
}

function closable(server: Server): Closable {
  return { close: () => void server.close() };
}
