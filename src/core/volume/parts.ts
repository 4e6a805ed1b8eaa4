/** The parts of a volume as its pieces see them; `volume.ts` wires them, so that no piece imports another that imports it. */

import type { TransferLog } from "../peer/transfer-log.ts";
import type { Disk, Memory } from "../ports.ts";
import type { RoleName } from "../status.ts";
import type { Instant } from "../units.ts";
import type { Activity } from "./activity.ts";
import type { MirrorMode, ReplicationLink } from "./link.ts";
import type { Overlap } from "./overlap.ts";
import type { Requests } from "./requests.ts";

export type DiskOperation = "read" | "write" | "flush" | "metadata";

/** What the volumes of a resource share. */
export interface VolumeHost {
  readonly requests: Requests;
  readonly memory: Memory;
  readonly link: ReplicationLink;
  readonly log: TransferLog;
  readonly now: Instant;
  readonly role: RoleName;
  /** A mirrored write of the open epoch was answered: the epoch ends with this turn. */
  noteCompletion(id: number): void;
  /** `on-io-error` is applied (drbd-84 §8.7); the request itself goes on as failed. */
  onDiskError(volume: number, operation: DiskOperation, errno: number): void;
}

/** Counted in KiB, but for `al` and `bm`, which count writes. */
export interface Counters {
  ns: number;
  nr: number;
  dw: number;
  dr: number;
  al: number;
  bm: number;
}

export interface VolumeParts {
  readonly number: number;
  readonly host: VolumeHost;
  readonly overlap: Overlap;
  readonly counters: Counters;
  /** Undefined while diskless. */
  readonly disk: Disk | undefined;
  /** Byte offset of the volume on its disk. */
  readonly dataOffset: number;
  /** Undefined while diskless. */
  readonly activity: Activity | undefined;
  /** What is written here alone is not overwritten by a resync. */
  readonly diskUpToDate: boolean;
  /** The disk takes writes: Inconsistent or better. */
  readonly diskUsable: boolean;
  /** The peer's disk is UpToDate and the connection carries requests. */
  readonly peerReadable: boolean;
  readonly mirror: MirrorMode;
  /** New requests wait (drbd-84 §8.1 step 0). */
  readonly held: boolean;
  /** Requests are refused: the volume is going away. */
  readonly refuses: boolean;
  readableLocally(at: number, length: number): boolean;
  /** The peer is connected and has no disk: what it writes here it does not have itself (drbd-84 §8.7). */
  readonly peerDiskless: boolean;
  /** We are Target, and what the Source sent could not be written. */
  onResyncWriteFailed(length: number): void;
  /** A write of this node starts: an older answer of a resync must not overwrite it. */
  overtakeResync(at: number, length: number): void;
  /** Rounds outwards. */
  setOutOfSync(at: number, length: number): void;
  /** Rounds inwards (the last, partial block of the volume counts as whole). */
  setInSync(at: number, length: number): void;
}
