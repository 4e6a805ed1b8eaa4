/**
 * The client's side of the wire for tests, written from proto.md and independent of `src/core/nbd/protocol.ts`: every number
 * here is the document's own, so that a wrong row in our tables fails.
 */
import type { ExportTable } from "../../../../src/core/nbd/exports.ts";
import { Session, type SessionObserver } from "../../../../src/core/nbd/session.ts";
import { type DeviceSetup, MemoryDevice } from "./memory-device.ts";
import { concat, MemoryStream } from "./memory-stream.ts";

export const u16 = (n: number): Uint8Array => Uint8Array.of(n >> 8, n & 255);
export const u32 = (n: number): Uint8Array =>
  Uint8Array.of((n >>> 24) & 255, (n >>> 16) & 255, (n >>> 8) & 255, n & 255);
export const u64 = (n: number | bigint): Uint8Array => {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, BigInt(n));
  return out;
};
export const text = (s: string): Uint8Array => new TextEncoder().encode(s);
export const hex = (s: string): Uint8Array => Uint8Array.from(Buffer.from(s.replaceAll(" ", ""), "hex"));

/** C: 64 bits IHAVEOPT, 32 bits option, 32 bits length, data. */
export const option = (code: number, data: Uint8Array = new Uint8Array(0), length = data.length): Uint8Array =>
  concat([hex("49484156454f5054"), u32(code), u32(length), data]);
/** NBD_OPT_INFO (6) and NBD_OPT_GO (7). */
export const infoOption = (code: number, name: string, wanted: readonly number[] = []): Uint8Array => {
  const bytes = text(name);
  return option(code, concat([u32(bytes.length), bytes, u16(wanted.length), ...wanted.map(u16)]));
};
/** NBD_OPT_LIST_META_CONTEXT (9) and NBD_OPT_SET_META_CONTEXT (10). */
export const metaOption = (code: number, name: string, queries: readonly string[]): Uint8Array => {
  const bytes = text(name);
  const parts = queries.flatMap((query) => [u32(text(query).length), text(query)]);
  return option(code, concat([u32(bytes.length), bytes, u32(queries.length), ...parts]));
};

export const READ = 0;
export const WRITE = 1;
export const DISC = 2;
export const FLUSH = 3;
export const TRIM = 4;
export const CACHE = 5;
export const WRITE_ZEROES = 6;
export const BLOCK_STATUS = 7;
export const FUA = 1;
export const NO_HOLE = 2;
export const DF = 4;
export const REQ_ONE = 8;
export const FAST_ZERO = 16;

export interface Request {
  readonly type: number;
  readonly cookie?: number | bigint;
  readonly flags?: number;
  readonly at?: number | bigint;
  readonly length?: number;
  readonly data?: Uint8Array;
}

/** C: 0x25609513, 16 bits flags, 16 bits type, 64 bits cookie, 64 bits offset, 32 bits length, data. */
export const request = ({ type, cookie = 1, flags = 0, at = 0, length, data }: Request): Uint8Array =>
  concat([
    hex("25609513"),
    u16(flags),
    u16(type),
    u64(cookie),
    u64(at),
    u32(length ?? data?.length ?? 0),
    data ?? new Uint8Array(0),
  ]);

export interface OptionReply {
  readonly option: number;
  readonly type: number;
  readonly data: Uint8Array;
}

export type Reply =
  | { readonly kind: "simple"; readonly cookie: number; readonly error: number; readonly data: Uint8Array }
  | {
      readonly kind: "chunk";
      readonly cookie: number;
      readonly done: boolean;
      readonly type: number;
      readonly data: Uint8Array;
    };

/** Consumes bytes from the front; throws when the server's message is not what the document allows. */
export class Reader {
  #bytes: Uint8Array;
  #at = 0;
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }
  get left(): number {
    return this.#bytes.length - this.#at;
  }
  bytes(length: number): Uint8Array {
    if (length > this.left) throw new Error(`expected ${length} bytes, actual ${this.left}`);
    this.#at += length;
    return this.#bytes.slice(this.#at - length, this.#at);
  }
  number(length: number): number {
    return this.bytes(length).reduce((sum, byte) => sum * 256 + byte, 0);
  }
  magic(expected: string): void {
    const actual = Buffer.from(this.bytes(expected.length / 2)).toString("hex");
    if (actual !== expected) throw new Error(`magic: expected ${expected}, actual ${actual}`);
  }
}

export function readOptionReplies(bytes: Uint8Array): OptionReply[] {
  const reader = new Reader(bytes);
  const replies: OptionReply[] = [];
  while (reader.left > 0) {
    reader.magic("0003e889045565a9");
    const [code, type] = [reader.number(4), reader.number(4)];
    replies.push({ option: code, type, data: reader.bytes(reader.number(4)) });
  }
  return replies;
}

/** `reads`: length of the read behind each cookie, because a simple reply does not say whether payload follows. */
export function readReplies(bytes: Uint8Array, reads: ReadonlyMap<number, number> = new Map()): Reply[] {
  const reader = new Reader(bytes);
  const replies: Reply[] = [];
  while (reader.left > 0) {
    const magic = reader.number(4);
    if (magic === 0x67446698) {
      const error = reader.number(4);
      const cookie = reader.number(8);
      const data = reader.bytes(error === 0 ? (reads.get(cookie) ?? 0) : 0);
      replies.push({ kind: "simple", cookie, error, data });
    } else if (magic === 0x668e33ef) {
      const flags = reader.number(2);
      if (flags > 1) throw new Error(`chunk flags ${flags}`);
      const type = reader.number(2);
      const cookie = reader.number(8);
      replies.push({ kind: "chunk", cookie, done: flags === 1, type, data: reader.bytes(reader.number(4)) });
    } else throw new Error(`reply magic 0x${magic.toString(16)}`);
  }
  return replies;
}

/** NBD_REPLY_TYPE_ERROR (0x8001) and _ERROR_OFFSET (0x8002). */
export function readError(data: Uint8Array, hasOffset: boolean): { error: number; text: string; offset: number } {
  const reader = new Reader(data);
  const error = reader.number(4);
  const message = new TextDecoder().decode(reader.bytes(reader.number(2)));
  const offset = hasOffset ? reader.number(8) : -1;
  if (reader.left !== 0) throw new Error(`${reader.left} bytes after an error chunk`);
  return { error, text: message, offset };
}

/** NBD_REPLY_TYPE_BLOCK_STATUS (5): context id, then (length, flags) pairs. */
export function readExtents(data: Uint8Array): { context: number; extents: [number, number][] } {
  const reader = new Reader(data);
  const context = reader.number(4);
  const extents: [number, number][] = [];
  while (reader.left > 0) extents.push([reader.number(4), reader.number(4)]);
  return { context, extents };
}

/** One connection to a fresh session. */
export class Connection {
  readonly stream: MemoryStream;
  readonly session: Session;
  readonly device: MemoryDevice;
  readonly violations: string[] = [];
  readonly lines: string[] = [];
  closed: string | undefined;

  constructor(device: MemoryDevice, traces = true, table?: ExportTable) {
    this.device = device;
    this.stream = new MemoryStream(device.memory);
    const exports: ExportTable = table ?? {
      list: () => ["r0", "r0/1"],
      find: (name: string) => (["", "r0", "r0/1"].includes(name) ? device : undefined),
      describe: (name: string) => (name === "r0" ? "mirrored" : ""),
    };
    const observer: SessionObserver = {
      trace: traces ? (line) => this.lines.push(line) : undefined,
      onViolation: (_session, violation) => this.violations.push(violation),
      onClosed: (_session, reason) => {
        if (this.closed !== undefined) throw new Error("closed twice");
        this.closed = reason;
      },
    };
    this.session = new Session(this.stream, exports, observer);
    this.stream.handler = this.session;
  }

  /** Sends, and returns what the server has answered. */
  exchange(...parts: Uint8Array[]): Uint8Array {
    for (const part of parts) this.stream.feed(part);
    return this.stream.take();
  }

  options(...parts: Uint8Array[]): OptionReply[] {
    return readOptionReplies(this.exchange(...parts));
  }

  /** Lets device and client do all they can, and returns everything sent. */
  settle(): Uint8Array {
    const parts: Uint8Array[] = [];
    for (let isIdle = false; !isIdle; ) {
      const before = this.device.calls.length;
      const part = this.stream.take();
      parts.push(part);
      this.stream.deliver();
      isIdle = part.length === 0 && this.device.inFlight.length === 0 && this.device.calls.length === before;
      this.device.completeAll();
    }
    return concat(parts);
  }

  replies(reads: ReadonlyMap<number, number>, ...parts: Uint8Array[]): Reply[] {
    return readReplies(concat([this.exchange(...parts), this.settle()]), reads);
  }

  /** Everything that must hold when a connection is over. */
  faults(): string[] {
    this.stream.close("eof");
    this.device.completeAll();
    const faults = [...this.stream.faults, ...this.device.faults];
    if (this.device.outstanding !== 0) faults.push(`${this.device.outstanding} requests were not released`);
    if (this.device.openers.size !== 0) faults.push("the device was not closed");
    return faults;
  }
}

const NO_ZEROES = 3;

export function connect(setup: DeviceSetup = {}): Connection {
  return new Connection(new MemoryDevice(setup));
}

export interface Agreement {
  readonly structured?: boolean;
  readonly allocation?: boolean;
}

/** A connection past NBD_OPT_GO for the export "r0". */
export function connected(
  setup: DeviceSetup = {},
  agreement: Agreement = {},
  device = new MemoryDevice(setup),
): Connection {
  const connection = new Connection(device);
  const { structured = false, allocation = false } = agreement;
  connection.exchange(u32(NO_ZEROES));
  if (structured || allocation) connection.exchange(option(8));
  if (allocation) connection.exchange(metaOption(10, "r0", ["base:allocation"]));
  const last = connection.options(infoOption(7, "r0")).at(-1);
  if (last?.type !== 1) throw new Error(`NBD_OPT_GO was answered with ${last?.type}`);
  return connection;
}
