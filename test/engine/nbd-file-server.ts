/**
 * Serves a file over a Unix socket through `src/core/nbd`, with nothing else of Futago: a `Stream` over node:net and a
 * `BlockDevice` over a sparse file. Only as fast as tests need.
 */
import { type FileHandle, open } from "node:fs/promises";
import { createServer, type Server, type Socket } from "node:net";
import {
  type BlockClient,
  type BlockDevice,
  EIO,
  EOPNOTSUPP,
  MAX_REQUEST_BYTES,
  NO_REQUEST,
  type RequestId,
} from "../../src/core/block-device.ts";
import type { ExportTable } from "../../src/core/nbd/exports.ts";
import { Session } from "../../src/core/nbd/session.ts";
import type { Memory, Stream, StreamHandler } from "../../src/core/ports.ts";
import { type Bytes, bytes } from "../../src/core/units.ts";

const WINDOW_BYTES = 8192;
const BLOCK_BYTES = 4096;
/** Input kept while the session does not ask for any. */
const INBOX_BYTES = 256 * 1024;

type Expectation =
  | { readonly name: "header"; readonly length: number }
  | { readonly name: "into"; readonly offset: number; readonly length: number }
  | { readonly name: "skip"; readonly length: number };

/** One socket as the port wants it: the session is called in turns of its own, never from within a port's method. */
class SocketStream implements Stream {
  readonly window = new DataView(new ArrayBuffer(WINDOW_BYTES));
  out = new DataView(new ArrayBuffer(0));
  readonly remote = "unix";
  handler: StreamHandler | undefined;
  readonly #socket: Socket;
  readonly #memory: Memory;
  readonly #inbox: Buffer[] = [];
  readonly #outbox: { readonly bytes: Uint8Array; readonly token: number | undefined }[] = [];
  readonly #held = new Set<number>();
  #inboxBytes = 0;
  #expectation: Expectation | undefined;
  #filled = 0;
  #queued = 0;
  #hasEnded = false;
  #wantsEnd = false;
  #wantsDestroy = false;
  #isClosed = false;
  #turn: NodeJS.Immediate | undefined;

  constructor(socket: Socket, memory: Memory, record: ((chunk: Buffer) => void) | undefined) {
    this.#socket = socket;
    this.#memory = memory;
    socket.on("data", (chunk) => {
      record?.(chunk);
      this.#inbox.push(chunk);
      this.#inboxBytes += chunk.length;
      if (this.#inboxBytes > INBOX_BYTES) socket.pause();
      this.#schedule();
    });
    socket.on("end", () => {
      this.#hasEnded = true;
      this.#schedule();
    });
    // "close" follows, and that is where the session hears of it.
    socket.on("error", () => {});
    socket.on("close", (hadError) => this.#close(hadError ? "reset" : this.#wantsDestroy ? "local" : "eof"));
  }

  get queued(): number {
    return this.#queued;
  }

  expectHeader(length: number): void {
    this.#expect({ name: "header", length });
  }

  expectInto(offset: number, length: number): void {
    this.#expect({ name: "into", offset, length });
  }

  expectSkip(length: number): void {
    this.#expect({ name: "skip", length });
  }

  reserve(length: number): number {
    const area = new Uint8Array(length);
    this.out = new DataView(area.buffer);
    this.#send(area, undefined);
    return 0;
  }

  sendMemory(offset: number, length: number, token: number): void {
    this.#held.add(token);
    this.#send(this.#memory.bytes.subarray(offset, offset + length), token);
  }

  end(): void {
    this.#wantsEnd = true;
    this.#schedule();
  }

  destroy(): void {
    this.#wantsDestroy = true;
    this.#schedule();
  }

  #expect(expectation: Expectation): void {
    if (this.#expectation !== undefined) throw new Error("two expectations are open");
    this.#expectation = expectation;
    this.#filled = 0;
    this.#schedule();
  }

  #send(sent: Uint8Array, token: number | undefined): void {
    this.#queued += sent.length;
    this.#outbox.push({ bytes: sent, token });
    this.#schedule();
  }

  #schedule(): void {
    this.#turn ??= setImmediate(() => {
      this.#turn = undefined;
      this.#deliver();
      this.#flush();
    });
  }

  #deliver(): void {
    while (!this.#isClosed && !this.#wantsDestroy && this.#expectation !== undefined) {
      const first = this.#inbox[0];
      if (first === undefined) {
        // A client that has said good-bye still reads the replies that are queued; the socket closes by itself after them.
        if (this.#hasEnded && !(this.#wantsEnd && this.#queued > 0)) this.#socket.destroy();
        break;
      }
      const wanted = this.#expectation;
      const part = first.subarray(0, wanted.length - this.#filled);
      if (wanted.name === "header") new Uint8Array(this.window.buffer).set(part, this.#filled);
      else if (wanted.name === "into") this.#memory.bytes.set(part, wanted.offset + this.#filled);
      this.#filled += part.length;
      this.#inboxBytes -= part.length;
      if (part.length === first.length) this.#inbox.shift();
      else this.#inbox[0] = first.subarray(part.length);
      if (this.#filled < wanted.length) continue;
      this.#expectation = undefined;
      if (wanted.name === "header") this.handler?.onHeader(0);
      else this.handler?.onPayload();
    }
    if (this.#inboxBytes <= INBOX_BYTES && this.#socket.isPaused()) this.#socket.resume();
  }

  #flush(): void {
    if (this.#wantsDestroy) {
      this.#socket.destroy();
      return;
    }
    this.#socket.cork();
    for (const { bytes: sent, token } of this.#outbox.splice(0)) {
      this.#socket.write(sent, () => {
        this.#queued -= sent.length;
        if (token !== undefined) this.#sent(token);
      });
    }
    this.#socket.uncork();
    if (this.#wantsEnd) this.#socket.end();
  }

  #sent(token: number): void {
    if (this.#held.delete(token)) this.handler?.onSent(token);
  }

  #close(reason: "eof" | "reset" | "local"): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const token of [...this.#held]) this.#sent(token);
    this.handler?.onClosed(reason, "");
  }
}

/** A sparse file. Blocks never written, or zeroed where that may unmap, are reported as holes. */
export class FileDevice implements BlockDevice {
  readonly requestCapacity = 24;
  readonly size: Bytes;
  readonly minimumBlock = 512;
  readonly preferredBlock = 4096;
  readonly readOnly: boolean;
  readonly multiConnection = true;
  readonly memory: Memory;
  readonly #file: FileHandle;
  readonly #owners: (BlockClient | undefined)[];
  readonly #waiting = new Set<BlockClient>();
  readonly #clients = new Set<BlockClient>();
  readonly #isData: Uint8Array;
  #busy = 0;

  private constructor(file: FileHandle, size: number, isReadOnly: boolean) {
    this.#file = file;
    this.size = bytes(size);
    this.readOnly = isReadOnly;
    const slab = new Uint8Array(this.requestCapacity * MAX_REQUEST_BYTES);
    this.memory = { bytes: slab, view: new DataView(slab.buffer) };
    this.#owners = new Array(this.requestCapacity).fill(undefined);
    this.#isData = new Uint8Array(Math.ceil(size / BLOCK_BYTES));
  }

  static async create(path: string, size: number, isReadOnly = false): Promise<FileDevice> {
    const file = await open(path, "w+");
    await file.truncate(size);
    return new FileDevice(file, size, isReadOnly);
  }

  /** Requests and clients that should be gone when every connection is. */
  get leftovers(): { readonly requests: number; readonly clients: number } {
    return { requests: this.#busy, clients: this.#clients.size };
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  allocate(client: BlockClient, _length: number): RequestId {
    const id = this.#owners.indexOf(undefined);
    if (id === -1) {
      this.#waiting.add(client);
      return NO_REQUEST;
    }
    this.#owners[id] = client;
    this.#busy += 1;
    return id;
  }

  memoryOf(id: RequestId): number {
    return id * MAX_REQUEST_BYTES;
  }

  read(id: RequestId, at: number, length: number): void {
    this.#run(id, () => this.#file.read(this.memory.bytes, this.memoryOf(id), length, at));
  }

  write(id: RequestId, at: number, length: number, fua: boolean): void {
    this.#mark(at, length, 1);
    this.#run(id, async () => {
      await this.#file.write(this.memory.bytes, this.memoryOf(id), length, at);
      if (fua) await this.#file.datasync();
    });
  }

  flush(id: RequestId): void {
    this.#run(id, () => this.#file.datasync());
  }

  trim(id: RequestId, at: number, length: number, fua: boolean): void {
    this.writeZeroes(id, at, length, fua, true, false);
  }

  writeZeroes(id: RequestId, at: number, length: number, fua: boolean, mayUnmap: boolean, fastOnly: boolean): void {
    if (fastOnly) {
      this.#run(id, () => Promise.resolve(), EOPNOTSUPP);
      return;
    }
    this.#mark(at, length, mayUnmap ? 0 : 1);
    this.#run(id, async () => {
      const zeroes = new Uint8Array(MAX_REQUEST_BYTES);
      for (let done = 0; done < length; done += zeroes.length) {
        await this.#file.write(zeroes, 0, Math.min(zeroes.length, length - done), at + done);
      }
      if (fua) await this.#file.datasync();
    });
  }

  release(id: RequestId): void {
    if (this.#owners[id] === undefined) throw new Error(`request ${id} is released twice`);
    this.#owners[id] = undefined;
    this.#busy -= 1;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const client of waiting) client.onRoom();
  }

  allocation(at: number, length: number): number {
    const kind = this.#isData[Math.floor(at / BLOCK_BYTES)];
    let end = at;
    while (end < at + length && this.#isData[Math.floor(end / BLOCK_BYTES)] === kind) {
      end = (Math.floor(end / BLOCK_BYTES) + 1) * BLOCK_BYTES;
    }
    const run = Math.min(end - at, length);
    return kind === 1 ? run : -run;
  }

  opened(client: BlockClient): void {
    this.#clients.add(client);
  }

  closed(client: BlockClient): void {
    if (!this.#clients.delete(client)) throw new Error("a client is closed twice");
  }

  /** A hole is a whole block; data marks every block it touches. */
  #mark(at: number, length: number, value: 0 | 1): void {
    const from = value === 1 ? Math.floor(at / BLOCK_BYTES) : Math.ceil(at / BLOCK_BYTES);
    const to = value === 1 ? Math.ceil((at + length) / BLOCK_BYTES) : Math.floor((at + length) / BLOCK_BYTES);
    if (from < to) this.#isData.fill(value, from, to);
  }

  #run(id: RequestId, work: () => Promise<unknown>, errno = 0): void {
    const done = (result: number) => this.#owners[id]?.onDone(id, result);
    work().then(
      () => done(errno),
      () => done(EIO),
    );
  }
}

export interface FileServer {
  readonly socketPath: string;
  readonly device: FileDevice;
  readonly violations: readonly string[];
  readonly connections: number;
  /** What each connection's client has sent, if it was asked to be kept. */
  readonly recordings: readonly Buffer[][];
  close(): Promise<void>;
}

/** Serves `device` as the default export and under `name` until closed. */
export async function serveFile(
  device: FileDevice,
  socketPath: string,
  name: string,
  isRecording = false,
): Promise<FileServer> {
  const exports: ExportTable = {
    list: () => [name],
    find: (wanted) => (wanted === "" || wanted === name ? device : undefined),
    describe: () => "a file",
  };
  const violations: string[] = [];
  const recordings: Buffer[][] = [];
  const sockets = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    const recording: Buffer[] = [];
    recordings.push(recording);
    const record = isRecording ? (chunk: Buffer) => recording.push(chunk) : undefined;
    const stream = new SocketStream(socket, device.memory, record);
    stream.handler = new Session(stream, exports, {
      trace: undefined,
      onViolation: (_session, text) => violations.push(text),
      onClosed: () => {},
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(socketPath, resolve);
  });
  return {
    socketPath,
    device,
    violations,
    recordings,
    get connections() {
      return sockets.size;
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}
