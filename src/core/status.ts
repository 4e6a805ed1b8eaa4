/**
 * What one engine says of itself: the source of `status`, `/proc/drbd`, `events2` and the control stream. Names and numbers are
 * DRBD's (drbd-84 §4.1, §10.8).
 */
import type { Bytes } from "./units.ts";

export const roleNames = ["Unknown", "Primary", "Secondary"] as const;
export const diskNames = [
  "Diskless",
  "Attaching",
  "Failed",
  "Negotiating",
  "Inconsistent",
  "Outdated",
  "DUnknown",
  "Consistent",
  "UpToDate",
] as const;
export const connectionNames = [
  "StandAlone",
  "Disconnecting",
  "Unconnected",
  "Timeout",
  "BrokenPipe",
  "NetworkFailure",
  "ProtocolError",
  "TearDown",
  "WFConnection",
  "WFReportParams",
  "Connected",
  "StartingSyncS",
  "StartingSyncT",
  "WFBitMapS",
  "WFBitMapT",
  "WFSyncUUID",
  "SyncSource",
  "SyncTarget",
  "VerifyS",
  "VerifyT",
  "PausedSyncS",
  "PausedSyncT",
  "Ahead",
  "Behind",
] as const;
export type RoleName = (typeof roleNames)[number];
export type DiskName = (typeof diskNames)[number];
export type ConnectionName = (typeof connectionNames)[number];

/** Counters of `/proc/drbd` (drbd-84 §10.8); ns nr dw dr oos in KiB. */
export interface VolumeCounters {
  readonly ns: number;
  readonly nr: number;
  readonly dw: number;
  readonly dr: number;
  readonly al: number;
  readonly bm: number;
  readonly lo: number;
  readonly pe: number;
  readonly ua: number;
  readonly ap: number;
  readonly ep: number;
  readonly oos: number;
}

/** Present in SyncSource, SyncTarget and verify states. Sizes in KiB, rates in KiB/s. */
export interface SyncProgress {
  readonly total: number;
  readonly left: number;
  readonly failed: number;
  readonly rate: number;
  readonly averageRate: number;
  /** Rate the Target asks for; undefined on the Source. */
  readonly want: number | undefined;
  readonly secondsLeft: number | undefined;
  readonly elapsedSeconds: number;
}

export interface VolumeStatus {
  readonly volume: number;
  readonly minor: number;
  readonly size: Bytes;
  readonly disk: DiskName;
  readonly peerDisk: DiskName;
  /** The volume's replication state: equals the connection's unless the volume is syncing. */
  readonly replication: ConnectionName;
  readonly backingDisk: string;
  /** Current, Bitmap, History1, History2 as 16 upper-case hex digits. */
  readonly uuids: readonly [string, string, string, string];
  readonly counters: VolumeCounters;
  readonly sync: SyncProgress | undefined;
  readonly pausedByUser: boolean;
  readonly pausedByPeer: boolean;
  readonly pausedByDependency: boolean;
  readonly alSuspended: boolean;
  readonly openCount: number;
}

export interface ResourceStatus {
  readonly name: string;
  readonly node: string;
  readonly role: RoleName;
  readonly peerRole: RoleName;
  readonly connection: ConnectionName;
  readonly protocol: "A" | "B" | "C" | "";
  /** f flush, d drain, n none. */
  readonly writeOrdering: "f" | "d" | "n";
  readonly suspended: boolean;
  readonly local: string;
  readonly remote: string;
  /** Agreed protocol version, 0 while not connected. */
  readonly agreedVersion: number;
  /** Why the connection is as it is, in the operator's words: `authentication of peer failed (wrong shared-secret?)`. Empty if nothing to say. */
  readonly reason: string;
  /** `io_uring`, or `fallback (io_uring refused: EPERM)`. */
  readonly backend: string;
  readonly io: "direct" | "buffered";
  readonly volumes: readonly VolumeStatus[];
}

/**
 * The outcome of a command. `code` 1 … 4 is success (drbd-84 §4.5); 0 … -21 a refused state change (`SS_…`); 101 and up a configuration
 * failure (drbd-84 §10.6). `text` is DRBD's own wording.
 */
export interface Outcome {
  readonly code: number;
  readonly text: string;
}
