/**
 * Everything the engine may touch. The real adapters (`src/node`) and the simulator (`src/simulator`) implement these
 * ports; `test/contract` runs the same tests over every implementation.
 *
 * One turn of the engine is: `now` is fixed, completions are delivered one after another, each may call ports, and when
 * the batch is done the shell submits everything at once. No port method blocks, throws for an expected failure, or
 * calls back into the engine before it has returned: results arrive in this or a later turn, as a handler's call.
 *
 * Payload never enters the core as bytes. It lives in one page-aligned memory area (`Memory`) and is named by offset.
 */
import type { Bytes } from "./units.ts";

/** The slab: `bytes` and `view` show the same memory, page aligned, fixed in size for the life of the process. */
export interface Memory {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/** Why a stream ended. `eof`: orderly close by the other side; `local`: our own `destroy`; the rest names an errno class. */
export type CloseReason = "eof" | "reset" | "timeout" | "refused" | "unreachable" | "local" | "error";

/**
 * A byte stream in both directions (TCP or Unix). Exactly one expectation is open at a time; without one nothing is
 * read, which is how the engine pushes back.
 */
export interface Stream {
  /** Receive window. `StreamHandler.onHeader` gets an offset into it, valid until the handler returns. */
  readonly window: DataView;
  /** Send staging area: `reserve` returns an offset into it. */
  readonly out: DataView;
  /** Bytes accepted for sending and not yet taken by the kernel. */
  readonly queued: number;
  /** Who is at the other end, for messages: `192.168.1.200:7789`, or a path. */
  readonly remote: string;
  /** Ask for the next `length` bytes (1 … 8192) in one piece. */
  expectHeader(length: number): void;
  /** Ask for the next `length` bytes, stored at `offset` of the slab. */
  expectInto(offset: number, length: number): void;
  /** Drop the next `length` bytes unread, then call `onPayload`. */
  expectSkip(length: number): void;
  /**
   * `length` (at most 8192) contiguous bytes of `out`, already queued for sending in this order: fill them before the turn ends.
   * Never refused: what does not fit is buffered elsewhere by the adapter.
   */
  reserve(length: number): number;
  /** Queue slab memory for sending without a copy; `onSent(token)` says when it may be reused. */
  sendMemory(offset: number, length: number, token: number): void;
  /** Sends what is queued, then closes the sending side. */
  end(): void;
  /** Closes at once; `onClosed("local")` follows in a later turn, and `onSent` for every token still held comes before it. */
  destroy(): void;
}

export interface StreamHandler {
  /** The bytes asked for stand at `at` of `stream.window`. */
  onHeader(at: number): void;
  /** What `expectInto` or `expectSkip` asked for has arrived. */
  onPayload(): void;
  onSent(token: number): void;
  /** The last call for this stream. */
  onClosed(reason: CloseReason, detail: string): void;
}

/** A disk or file. Offsets and lengths are multiples of `logicalBlock`. `tag` comes back in `DiskHandler.onDisk`. */
export interface Disk {
  readonly size: Bytes;
  readonly logicalBlock: number;
  readonly physicalBlock: number;
  /** False where the device says its write cache is write through: a completed write is stable then. */
  readonly hasVolatileCache: boolean;
  readonly canDiscard: boolean;
  read(tag: number, at: number, offset: number, length: number): void;
  /** `fua`: stable before it completes. */
  write(tag: number, at: number, offset: number, length: number, fua: boolean): void;
  /** Every write completed before this call is stable when it completes. */
  flush(tag: number): void;
  /** Reads as zeroes afterwards; `mayUnmap` allows a hole. `fastOnly`: fail with -EOPNOTSUPP (-95) rather than write zeroes. */
  zero(tag: number, at: number, length: number, mayUnmap: boolean, fastOnly: boolean): void;
  /** A hint: contents are undefined afterwards. */
  discard(tag: number, at: number, length: number): void;
  /** Lets go after everything in flight has been reported. */
  close(): void;
}

export interface DiskHandler {
  /** `result`: bytes moved (0 for flush, zero, discard) or a negative errno. A short count is reported as -EIO (-5). */
  onDisk(tag: number, result: number): void;
}

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** `onStream` hands out streams; the receiver must give each a handler before it returns. */
export type Accept = (stream: Stream, remote: Endpoint) => StreamHandler;

/** Calling `close` twice is harmless. */
export interface Closable {
  close(): void;
}

export interface Network {
  /**
   * Listens until closed. A failure (address in use, not ours) is reported once through `onError`, as text with the errno's name.
   */
  listen(local: Endpoint, onStream: Accept, onError: (detail: string) => void): Closable;
  /** One attempt from `local.address` (any port). Exactly one of the two callbacks comes, none after `close`. */
  connect(
    local: Endpoint,
    remote: Endpoint,
    onStream: Accept,
    onError: (reason: CloseReason, detail: string) => void,
  ): Closable;
}

export interface Random {
  /** 64 random bits. */
  u64(): bigint;
  fill(target: Uint8Array): void;
  /** Uniform in [0, 1). */
  fraction(): number;
}

export type DigestName = "sha1" | "md5" | "sha256" | "crc32c";

export interface Digests {
  /** HMAC of `message`, or undefined if the algorithm is not known. */
  hmac(algorithm: string, key: Uint8Array, message: Uint8Array): Uint8Array | undefined;
}
