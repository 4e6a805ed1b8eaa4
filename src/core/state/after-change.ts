/**
 * What has to be done once a state change is in force (drbd-84 §4.8, §5.2): rows in the order of the work, each with
 * its effects in order. P_STATE carries the new state of that change, whatever has happened since.
 */
import { hasVerifyStopSector } from "../wire/agreement.ts";
import { Conn, DiskState, Role, type State } from "./state.ts";
import { newCurrentAfter } from "./uuids.ts";

export type Effect =
  /** `resyncStartSource`, store it, send P_SYNC_UUID: before any later P_STATE (drbd-84 §5.2). */
  | "P_SYNC_UUID"
  | "P_SIZES"
  | "P_UUIDS"
  | "P_STATE"
  /** `newCurrent`, stored. */
  | "new-current"
  /** The fencing result decides whether there will be a new-current. */
  | "postpone new-current"
  /** WFBitMapS: the Source sends its bitmap first. */
  | "send bitmap"
  /** StartingSyncS/T: set all bits, write the bitmap, then go on to WFSyncUUID or SyncSource. */
  | "set all bits"
  | "write bitmap"
  /** Handler `pri-on-incon-degr`. */
  | "pri-on-incon-degr"
  /** `resync-after`: others may have to pause, or may go on. */
  | "pause dependents"
  | "resume dependents";

export interface AfterContext {
  readonly agreedVersion: number;
  /** The Bitmap UUID at the time of the change. */
  readonly bitmapUuid: bigint;
  /** The change was a promotion with `--force` that made the disk UpToDate. */
  readonly forced: boolean;
}

interface Row {
  readonly rule: string;
  readonly when: (old: State, state: State, context: AfterContext) => boolean;
  readonly effects: readonly Effect[];
}

const D = DiskState;
const connected = (s: State): boolean => s.conn >= Conn.Connected;
const noData = (s: State): boolean => s.role === Role.Primary && s.disk < D.UpToDate && s.pdsk < D.UpToDate;
const isSource = (s: State): boolean => s.conn === Conn.SyncSource || s.conn === Conn.PausedSyncS;
const paused = (s: State): boolean => s.aftrIsp + s.peerIsp + s.userIsp > 0;
const hasDisk = (s: State): boolean => s.disk >= D.Inconsistent;
const becameStarting = (o: State, n: State): boolean =>
  o.conn !== n.conn && (n.conn === Conn.StartingSyncS || n.conn === Conn.StartingSyncT);
const suspended = (s: State): boolean => s.susp + s.suspNod + s.suspFen > 0;
const newCurrent = (o: State, n: State, c: AfterContext) => newCurrentAfter(o, n, c.bitmapUuid, suspended(n));

export const afterRows: readonly Row[] = [
  { rule: "10.9 pri-on-incon-degr", when: (o, n) => !noData(o) && noData(n), effects: ["pri-on-incon-degr"] },
  {
    rule: "5.2 became Source",
    // Below apv 96 the kernel sends it from another place, but just as early.
    when: (o, n) => !isSource(o) && isSource(n) && hasDisk(n),
    effects: ["P_SYNC_UUID"],
  },
  {
    rule: "4.8 the peer attached",
    when: (o, n) => o.pdsk === D.Diskless && n.pdsk > D.Diskless && n.pdsk !== D.DUnknown && connected(n),
    effects: ["P_UUIDS", "P_STATE"],
  },
  {
    rule: "6.2 Source sends its bitmap",
    when: (o, n) => o.conn !== Conn.WFBitMapS && n.conn === Conn.WFBitMapS,
    effects: ["send bitmap"],
  },
  {
    rule: "5.2 lost the peer's data, or a diskless peer was promoted; connected",
    when: (o, n, c) => newCurrent(o, n, c) === "now" && connected(n),
    effects: ["new-current", "P_UUIDS"],
  },
  {
    rule: "5.2 the same; not connected",
    when: (o, n, c) => newCurrent(o, n, c) === "now" && !connected(n),
    effects: ["new-current"],
  },
  {
    rule: "5.2 postponed",
    when: (o, n, c) => newCurrent(o, n, c) === "postponed",
    effects: ["postpone new-current"],
  },
  {
    rule: "5.3 demoted",
    when: (o, n) => o.role === Role.Primary && n.role === Role.Secondary && n.conn <= Conn.Connected && hasDisk(n),
    effects: ["write bitmap"],
  },
  {
    rule: "4.8 attached while connected",
    when: (o, n) => connected(n) && o.disk === D.Attaching && n.disk === D.Negotiating,
    effects: ["P_SIZES", "P_UUIDS", "P_STATE"],
  },
  {
    rule: "4.8 forced promotion",
    when: (o, n, c) => connected(n) && o.conn >= Conn.Connected && o.role !== n.role && c.forced,
    effects: ["P_UUIDS", "P_STATE"],
  },
  {
    rule: "4.8 role",
    when: (o, n, c) => connected(n) && o.conn >= Conn.Connected && o.role !== n.role && !c.forced,
    effects: ["P_STATE"],
  },
  {
    rule: "4.8 aftr_isp or user_isp",
    when: (o, n) => connected(n) && (o.aftrIsp !== n.aftrIsp || o.userIsp !== n.userIsp),
    effects: ["P_STATE"],
  },
  { rule: "7.8 paused", when: (o, n) => !paused(o) && paused(n), effects: ["pause dependents"] },
  {
    rule: "4.8 left WFReportParams",
    when: (o, n) => o.conn === Conn.WFReportParams && connected(n),
    effects: ["P_STATE"],
  },
  { rule: "4.8 Ahead", when: (o, n) => o.conn !== Conn.Ahead && n.conn === Conn.Ahead, effects: ["P_STATE"] },
  { rule: "4.4 StartingSync", when: becameStarting, effects: ["set all bits"] },
  {
    rule: "4.8 Failed",
    when: (o, n) => connected(n) && o.disk !== D.Failed && n.disk === D.Failed,
    effects: ["P_STATE"],
  },
  {
    rule: "4.8 Diskless",
    when: (o, n) => connected(n) && o.disk !== D.Diskless && n.disk === D.Diskless,
    effects: ["P_STATE"],
  },
  {
    rule: "4.8 disk error passed on",
    when: (o, n) => connected(n) && o.disk === D.UpToDate && n.disk === D.Inconsistent,
    effects: ["P_STATE"],
  },
  {
    rule: "7.8 resumed, or resync over",
    when: (o, n) =>
      (o.conn > Conn.Connected && n.conn <= Conn.Connected) ||
      o.peerIsp > n.peerIsp ||
      o.userIsp > n.userIsp ||
      (o.aftrIsp > n.aftrIsp && n.conn === Conn.StandAlone),
    effects: ["resume dependents"],
  },
  {
    rule: "4.8 end of resync, Target",
    when: (o, n) => o.disk < D.UpToDate && o.conn >= Conn.SyncSource && n.conn === Conn.Connected,
    effects: ["P_STATE"],
  },
  {
    rule: "4.8 end of verify",
    when: (o, n, c) => o.conn === Conn.VerifyS && n.conn === Conn.Connected && hasVerifyStopSector(c.agreedVersion),
    effects: ["P_STATE"],
  },
  {
    rule: "7.7 bitmap after a resync",
    when: (o, n) => o.conn > Conn.Connected && (n.conn === Conn.Connected || n.conn >= Conn.Ahead) && hasDisk(n),
    effects: ["write bitmap"],
  },
];

/**
 * All effects of a change, in order. P_STATE may appear twice, as DRBD sends it twice (drbd-84 §4.4, `detach
 * --force`).
 */
export const afterChange = (old: State, state: State, context: AfterContext): readonly Effect[] =>
  afterRows.filter((row) => row.when(old, state, context)).flatMap((row) => row.effects);

/** True if the change is announced by P_STATE (drbd-84 §4.8). */
export const announces = (old: State, state: State, context: AfterContext): boolean =>
  afterChange(old, state, context).includes("P_STATE");
