/**
 * What an NBD session asks of the volume it exports, and what it is told. Everything is a plain number, so that a request
 * costs no object. Implemented by `volume/`, used by `nbd/`; errors are positive errno values, 0 for success.
 *
 * Life of a request: `allocate` → (payload of a write is received at `memoryOf(id)`) → one of the verbs →
 * `onDone(id, errno)` → the session answers, and calls `release(id)` once its reply no longer needs the memory.
 * After `onDone` of a read the data is at `memoryOf(id)`.
 */
import type { Bytes } from "./units.ts";

/** Small integer below `requestCapacity`: an index for the session's own tables. */
export type RequestId = number;
export const NO_REQUEST: RequestId = -1;

/** The longest single request; the session splits what is longer into children (architecture: decisions, NBD). */
export const MAX_REQUEST_BYTES = 1024 * 1024;
/** TRIM and WRITE_ZEROES carry no payload and are split at this. */
export const MAX_RANGE_BYTES = 128 * 1024 * 1024;

export const EPERM = 1;
export const EIO = 5;
export const ENOMEM = 12;
export const EINVAL = 22;
export const ENOSPC = 28;
export const EOVERFLOW = 75;
export const EOPNOTSUPP = 95;
export const ESHUTDOWN = 108;

export interface BlockDevice {
  readonly requestCapacity: number;
  /** Usable size; fixed while a client is connected, except for a grow. */
  readonly size: Bytes;
  /** 512, or the larger logical block size of both disks. */
  readonly minimumBlock: number;
  readonly preferredBlock: number;
  /** True on a Secondary: reads and writes are refused with EPERM. */
  readonly readOnly: boolean;
  /** Several clients see one coherent device, and a flush on one covers writes completed on all (NBD_FLAG_CAN_MULTI_CONN). */
  readonly multiConnection: boolean;
  /** A request with `length` bytes of memory (0 … MAX_REQUEST_BYTES), or NO_REQUEST: wait for `BlockClient.onRoom`. */
  allocate(client: BlockClient, length: number): RequestId;
  memoryOf(id: RequestId): number;
  read(id: RequestId, at: number, length: number): void;
  write(id: RequestId, at: number, length: number, fua: boolean): void;
  flush(id: RequestId): void;
  trim(id: RequestId, at: number, length: number, fua: boolean): void;
  /** `mayUnmap` false is NBD's NO_HOLE; `fastOnly` is FAST_ZERO: EOPNOTSUPP rather than slow. */
  writeZeroes(id: RequestId, at: number, length: number, fua: boolean, mayUnmap: boolean, fastOnly: boolean): void;
  /** Gives the request and its memory back; for one that was never submitted too. */
  release(id: RequestId): void;
  /**
   * Allocation of the range for `base:allocation`: returns the length, from `at`, of a run of one kind, at most `length`,
   * negative where the run is a hole that reads as zeroes. A device that cannot tell returns `length` (data).
   */
  allocation(at: number, length: number): number;
  /** Counts openers: while any is connected, `secondary` is refused (`Device is held open by someone`). */
  opened(client: BlockClient): void;
  closed(client: BlockClient): void;
}

export interface BlockClient {
  onDone(id: RequestId, errno: number): void;
  /** Requests or memory were given back after `allocate` had returned NO_REQUEST. */
  onRoom(): void;
  /** Finish what is in flight, then close: the volume is going away (ESHUTDOWN for what comes meanwhile). */
  onShutdown(): void;
}
