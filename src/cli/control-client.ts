/** The client's side of an engine's control socket. */
import { connect, type Socket } from "node:net";
import { decodeReply, encodeRequest, FrameReader } from "../engine/control-codec.ts";
import type { ControlReply, ControlRequest } from "../engine/control-interface.ts";

/** `unreachable`: no engine listens; `silent`: no answer in time; `closed`: it hung up; `garbled`: not understood; `denied`: not our engine. */
export type ControlErrorCode = "unreachable" | "silent" | "closed" | "garbled" | "denied";

export class ControlError extends Error {
  override readonly name = "ControlError";
  readonly code: ControlErrorCode;
  constructor(code: ControlErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** A running engine answers at once; this only bounds a hung one. */
export const ANSWER_MS = 30_000;
const CONNECT_MS = 5_000;

interface Pending {
  onReply(reply: ControlReply): void;
  onEnd(error: ControlError): void;
}

export class ControlClient {
  readonly #socket: Socket;
  readonly #frames = new FrameReader();
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("error", () => {});
    socket.on("close", () => this.#fail(new ControlError("closed", "the engine closed the connection")));
  }

  /** Rejects with a `ControlError`: unreachable if nothing listens on `path`. */
  static connect(path: string): Promise<ControlClient> {
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      const timer = setTimeout(() => {
        socket.destroy();
        reject(new ControlError("silent", `${path}: no connection within ${CONNECT_MS / 1000} s`));
      }, CONNECT_MS);
      socket.once("connect", () => {
        clearTimeout(timer);
        socket.removeAllListeners("error");
        resolve(new ControlClient(socket));
      });
      socket.once("error", (error: NodeJS.ErrnoException) => {
        clearTimeout(timer);
        const denied = error.code === "EACCES" || error.code === "EPERM";
        const text = denied ? `${path}: permission denied (are you root?)` : `${path}: ${error.message}`;
        reject(new ControlError(denied ? "denied" : "unreachable", text, { cause: error }));
      });
    });
  }

  /** One request, one reply. `timeoutMs` undefined: waits as long as the engine lives. */
  request(request: ControlRequest, timeoutMs: number | undefined = ANSWER_MS): Promise<ControlReply> {
    return new Promise((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined;
      const id = this.#start(request, {
        onReply: (reply) => {
          clearTimeout(timer);
          this.#pending.delete(id);
          resolve(reply);
        },
        onEnd: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      });
      if (timeoutMs !== undefined) {
        timer = setTimeout(() => {
          this.#pending.delete(id);
          reject(new ControlError("silent", `no answer to '${request.verb}' within ${timeoutMs / 1000} s`));
        }, timeoutMs);
      }
    });
  }

  /** Calls `onReply` for the first status and each later reply; resolves when the connection ends, rejects if it ends badly. */
  watch(onReply: (reply: ControlReply) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#start(
        { verb: "watch" },
        {
          onReply,
          onEnd: (error) => (error.code === "closed" ? resolve() : reject(error)),
        },
      );
    });
  }

  /** Requests still unanswered are rejected as closed. */
  close(): void {
    this.#socket.destroy();
  }

  #start(request: ControlRequest, pending: Pending): number {
    this.#lastId += 1;
    const id = this.#lastId;
    this.#pending.set(id, pending);
    if (this.#socket.destroyed) pending.onEnd(new ControlError("closed", "the engine closed the connection"));
    else this.#socket.write(encodeRequest(id, request));
    return id;
  }

  #receive(chunk: Buffer): void {
    for (const frame of this.#frames.feed(chunk)) {
      const decoded = "violation" in frame ? frame : decodeReply(frame);
      if ("violation" in decoded) {
        this.#fail(new ControlError("garbled", `the engine's answer is not understood: ${decoded.violation}`));
        this.#socket.destroy();
        return;
      }
      // Id 0 answers what the engine could not even read.
      if (decoded.id === 0 && decoded.reply.kind === "result") {
        this.#fail(new ControlError("garbled", decoded.reply.outcome.text));
        return;
      }
      this.#pending.get(decoded.id)?.onReply(decoded.reply);
    }
  }

  #fail(error: ControlError): void {
    const all = [...this.#pending.values()];
    this.#pending.clear();
    for (const pending of all) pending.onEnd(error);
  }
}
