/** A minimal NBD client of the tests' own: fixed newstyle, simple replies. Numbers are those of the NBD protocol document (proto.md). */
import { createConnection, type Socket } from "node:net";

export const commands = { read: 0, write: 1, flush: 3, trim: 4, zero: 6 } as const;
export type Command = keyof typeof commands;

const NBDMAGIC = 0x4e42444d41474943n;
const IHAVEOPT = 0x49484156454f5054n;
const OPT_EXPORT_NAME = 1;
const CLIENT_FIXED_NEWSTYLE_NO_ZEROES = 3;
const REQUEST_MAGIC = 0x25609513;
const REPLY_MAGIC = 0x67446698;
const FLAG_FUA = 1;
const GREETING_BYTES = 18;
const EXPORT_BYTES = 10;
const REPLY_BYTES = 16;

export interface WireHandler {
  /** `errno` 0: done; `data` only for a read that succeeded. */
  onReply(cookie: number, errno: number, data: Buffer | undefined): void;
  /** Once, after the last reply: whatever has none gets none any more. */
  onClosed(): void;
}

export class NbdWire {
  readonly size: number;
  readonly #socket: Socket;
  readonly #handler: WireHandler;
  /** Length of the data that the reply to a read brings. */
  readonly #reads = new Map<number, number>();
  #received: Buffer;

  private constructor(socket: Socket, size: number, rest: Buffer, handler: WireHandler) {
    this.#socket = socket;
    this.size = size;
    this.#received = rest;
    this.#handler = handler;
    socket.on("data", (part: Buffer) => this.#take(part));
    socket.on("close", () => handler.onClosed());
  }

  /** Rejects when nobody listens or the server turns us away. */
  static open(path: string, exportName: string, handler: WireHandler): Promise<NbdWire> {
    return new Promise((resolve, reject) => {
      const socket = createConnection(path);
      let received = Buffer.alloc(0);
      let greeted = false;
      const fail = (cause?: unknown): void => reject(new Error(`${path}: no NBD export ${exportName}`, { cause }));
      const onData = (part: Buffer): void => {
        received = Buffer.concat([received, part]);
        if (!greeted && received.length >= GREETING_BYTES) {
          if (received.readBigUInt64BE(0) !== NBDMAGIC || received.readBigUInt64BE(8) !== IHAVEOPT) return fail();
          greeted = true;
          socket.write(choice(exportName));
        }
        if (received.length < GREETING_BYTES + EXPORT_BYTES) return;
        socket.off("data", onData);
        socket.off("close", fail);
        socket.on("error", () => {});
        const size = Number(received.readBigUInt64BE(GREETING_BYTES));
        resolve(new NbdWire(socket, size, received.subarray(GREETING_BYTES + EXPORT_BYTES), handler));
      };
      socket.on("data", onData);
      socket.on("error", fail);
      socket.on("close", fail);
    });
  }

  send(command: Command, cookie: number, at: number, length: number, fua: boolean, data?: Uint8Array): void {
    const head = Buffer.alloc(28);
    head.writeUInt32BE(REQUEST_MAGIC, 0);
    head.writeUInt16BE(fua ? FLAG_FUA : 0, 4);
    head.writeUInt16BE(commands[command], 6);
    head.writeBigUInt64BE(BigInt(cookie), 8);
    head.writeBigUInt64BE(BigInt(at), 16);
    head.writeUInt32BE(length, 24);
    if (command === "read") this.#reads.set(cookie, length);
    this.#socket.write(head);
    if (data !== undefined) this.#socket.write(data);
  }

  /** Drops the connection without NBD_CMD_DISC, as a client that dies. */
  drop(): void {
    this.#socket.destroy();
  }

  #take(part: Buffer): void {
    this.#received = this.#received.length === 0 ? part : Buffer.concat([this.#received, part]);
    let at = 0;
    while (this.#received.length - at >= REPLY_BYTES) {
      const magic = this.#received.readUInt32BE(at);
      if (magic !== REPLY_MAGIC) throw new Error(`reply magic: expected ${REPLY_MAGIC}, actual ${magic}`);
      const errno = this.#received.readUInt32BE(at + 4);
      const cookie = Number(this.#received.readBigUInt64BE(at + 8));
      const length = errno === 0 ? (this.#reads.get(cookie) ?? 0) : 0;
      if (this.#received.length - at < REPLY_BYTES + length) break;
      this.#reads.delete(cookie);
      const data = length > 0 ? this.#received.subarray(at + REPLY_BYTES, at + REPLY_BYTES + length) : undefined;
      at += REPLY_BYTES + length;
      this.#handler.onReply(cookie, errno, data);
    }
    this.#received = this.#received.subarray(at);
  }
}

function choice(exportName: string): Buffer {
  const name = Buffer.from(exportName);
  const head = Buffer.alloc(20);
  head.writeUInt32BE(CLIENT_FIXED_NEWSTYLE_NO_ZEROES, 0);
  head.writeBigUInt64BE(IHAVEOPT, 4);
  head.writeUInt32BE(OPT_EXPORT_NAME, 12);
  head.writeUInt32BE(name.length, 16);
  return Buffer.concat([head, name]);
}

/** Reads a whole export, 1 MiB at a time. */
export function readExport(path: string, exportName: string): Promise<Uint8Array> {
  const step = 1024 * 1024;
  return new Promise((resolve, reject) => {
    let image = Buffer.alloc(0);
    let left = 0;
    const failed = (why: string): void => reject(new Error(`${path}: ${why}`));
    const opening = NbdWire.open(path, exportName, {
      onReply: (at, errno, data) => {
        if (errno !== 0 || data === undefined) return failed(`read at ${at} failed with errno ${errno}`);
        data.copy(image, at);
        left -= data.length;
        if (left > 0) return;
        resolve(image);
        void opening.then((wire) => wire.drop());
      },
      onClosed: () => failed("closed while being read"),
    });
    opening.then((wire) => {
      image = Buffer.alloc(wire.size);
      left = wire.size;
      for (let at = 0; at < wire.size; at += step) {
        wire.send("read", at, at, Math.min(step, wire.size - at), false);
      }
    }, reject);
  });
}
