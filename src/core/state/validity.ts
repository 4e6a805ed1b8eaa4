/**
 * What a state may be and where it may go (drbd-84 §4.6). In every table the first matching row decides; `rule` is the
 * item of the section. Rows marked with `+` are the kernel's beyond the numbered items.
 */
import type { StateContext } from "./context.ts";
import { type Refusal, type SsCode, ss } from "./ss.ts";
import { Conn, DiskState, Role, type State } from "./state.ts";

export interface ValidityRow {
  readonly rule: string;
  readonly code: Refusal;
  readonly when: (state: State, context: StateContext) => boolean;
}

const isVerify = (conn: number): boolean => conn === Conn.VerifyS || conn === Conn.VerifyT;
const isStarting = (conn: number): boolean => conn === Conn.StartingSyncS || conn === Conn.StartingSyncT;
const isPrimary = (state: State): boolean => state.role === Role.Primary;
const needsCurrentDisk: ReadonlySet<number> = new Set([
  Conn.Connected,
  Conn.WFBitMapS,
  Conn.SyncSource,
  Conn.PausedSyncS,
]);

/** Judged only for soft changes. */
export const validityRows: readonly ValidityRow[] = [
  {
    rule: "4.6/1",
    code: ss.SS_TWO_PRIMARIES,
    when: (s, c) => !c.twoPrimaries && isPrimary(s) && s.peer === Role.Primary,
  },
  {
    rule: "4.6/1 other volume",
    code: ss.SS_O_VOL_PEER_PRI,
    when: (s, c) => !c.twoPrimaries && isPrimary(s) && c.otherVolumePeerPrimary,
  },
  { rule: "4.6/2", code: ss.SS_DEVICE_IN_USE, when: (s, c) => s.role === Role.Secondary && c.openCount > 0 },
  {
    rule: "4.6/3",
    code: ss.SS_NO_UP_TO_DATE_DISK,
    when: (s) => isPrimary(s) && s.conn < Conn.Connected && s.disk < DiskState.UpToDate,
  },
  {
    rule: "4.6/4",
    code: ss.SS_PRIMARY_NOP,
    when: (s, c) =>
      c.fencing !== "dont-care" && isPrimary(s) && s.conn < Conn.Connected && s.pdsk >= DiskState.DUnknown,
  },
  {
    rule: "4.6/5",
    code: ss.SS_NO_UP_TO_DATE_DISK,
    when: (s) => isPrimary(s) && s.disk <= DiskState.Inconsistent && s.pdsk <= DiskState.Inconsistent,
  },
  {
    rule: "4.6/6 local",
    code: ss.SS_NO_LOCAL_DISK,
    when: (s) => s.conn > Conn.Connected && s.disk < DiskState.Inconsistent,
  },
  {
    rule: "4.6/6 remote",
    code: ss.SS_NO_REMOTE_DISK,
    when: (s) => s.conn > Conn.Connected && s.pdsk < DiskState.Inconsistent,
  },
  {
    rule: "4.6/6 neither",
    code: ss.SS_NO_UP_TO_DATE_DISK,
    when: (s) => s.conn > Conn.Connected && s.disk < DiskState.UpToDate && s.pdsk < DiskState.UpToDate,
  },
  {
    rule: "4.6/7",
    code: ss.SS_CONNECTED_OUTDATES,
    when: (s) => needsCurrentDisk.has(s.conn) && s.disk === DiskState.Outdated,
  },
  { rule: "4.6/8 algorithm", code: ss.SS_NO_VERIFY_ALG, when: (s, c) => isVerify(s.conn) && !c.verifyAlg },
  { rule: "4.6/8 version", code: ss.SS_NOT_SUPPORTED, when: (s, c) => isVerify(s.conn) && c.agreedVersion < 88 },
  {
    rule: "4.6/9",
    code: ss.SS_NO_UP_TO_DATE_DISK,
    when: (s) => isPrimary(s) && s.disk < DiskState.UpToDate && s.pdsk < DiskState.UpToDate,
  },
  {
    rule: "4.6/10 starting",
    code: ss.SS_NEED_CONNECTION,
    when: (s) => isStarting(s.conn) && s.pdsk === DiskState.DUnknown,
  },
  {
    rule: "4.6/10",
    code: ss.SS_CONNECTED_OUTDATES,
    when: (s) => s.conn >= Conn.Connected && s.pdsk === DiskState.DUnknown,
  },
];

export interface TransitionRow {
  readonly rule: string;
  /** `SS_NOTHING_TO_DO` in the hard table means: no objection, and no further row is asked. */
  readonly code: SsCode;
  readonly when: (old: State, state: State, context: StateContext) => boolean;
}

/** Held even by forced changes. */
export const hardRows: readonly TransitionRow[] = [
  {
    rule: "4.6 hard + detached",
    code: ss.SS_IS_DISKLESS,
    when: (o, n) => n.disk === DiskState.Failed && (o.disk === DiskState.Diskless || o.disk === DiskState.Attaching),
  },
  { rule: "4.6 hard, conn stays", code: ss.SS_NOTHING_TO_DO, when: (o, n) => o.conn === n.conn },
  {
    rule: "4.6 hard, StandAlone to Disconnecting",
    code: ss.SS_ALREADY_STANDALONE,
    when: (o, n) => o.conn === Conn.StandAlone && n.conn === Conn.Disconnecting,
  },
  {
    rule: "4.6 hard, from StandAlone",
    code: ss.SS_NEED_CONNECTION,
    when: (o, n) => o.conn === Conn.StandAlone && n.conn !== Conn.Unconnected,
  },
  {
    rule: "4.6 hard, via WFReportParams",
    code: ss.SS_NEED_CONNECTION,
    when: (o, n) => o.conn < Conn.WFReportParams && n.conn >= Conn.Connected,
  },
  {
    rule: "4.6 hard, after an error",
    code: ss.SS_IN_TRANSIENT_STATE,
    when: (o, n) =>
      o.conn >= Conn.Timeout && o.conn <= Conn.TearDown && n.conn !== Conn.Unconnected && n.conn !== Conn.Disconnecting,
  },
  {
    rule: "4.6 hard, after Disconnecting",
    code: ss.SS_IN_TRANSIENT_STATE,
    when: (o, n) => o.conn === Conn.Disconnecting && n.conn !== Conn.StandAlone,
  },
];

/** The establishing steps that may happen while our P_STATE is under way (drbd-84 §3.1). */
const isHandshakeStep = (old: State, state: State): boolean =>
  (old.conn === Conn.WFConnection && state.conn === Conn.WFReportParams) ||
  (old.conn === Conn.WFReportParams && state.conn >= Conn.Connected);

/** Judged only for soft changes. */
export const softRows: readonly TransitionRow[] = [
  {
    rule: "4.6 soft + -21",
    code: ss.SS_OUTDATE_WO_CONN,
    when: (o, n) =>
      n.conn === Conn.Disconnecting &&
      n.pdsk === DiskState.Outdated &&
      o.conn < Conn.Connected &&
      o.pdsk > DiskState.Outdated,
  },
  {
    rule: "4.6 soft, resync needs a connection",
    code: ss.SS_NEED_CONNECTION,
    when: (o, n) => (n.conn === Conn.SyncSource || n.conn === Conn.SyncTarget) && o.conn < Conn.WFReportParams,
  },
  {
    rule: "4.6 soft, StartingSync needs Connected",
    code: ss.SS_NEED_CONNECTION,
    when: (o, n) => isStarting(n.conn) && o.conn < Conn.Connected,
  },
  {
    rule: "4.6 soft, verify while busy",
    code: ss.SS_RESYNC_RUNNING,
    when: (o, n) => isVerify(n.conn) && n.conn !== o.conn && o.conn > Conn.Connected,
  },
  {
    rule: "4.6 soft, verify needs Connected",
    code: ss.SS_NEED_CONNECTION,
    when: (o, n) => isVerify(n.conn) && o.conn < Conn.Connected,
  },
  {
    // Promoting a Target in the very moment its full sync is arranged would lose the forced peer's data.
    rule: "4.6 soft + promotion during a resync handshake",
    code: ss.SS_IN_TRANSIENT_STATE,
    when: (o, n) =>
      o.role !== Role.Primary &&
      isPrimary(n) &&
      n.pdsk === DiskState.UpToDate &&
      n.disk !== DiskState.UpToDate &&
      n.disk !== DiskState.Diskless &&
      (n.conn <= Conn.WFSyncUUID || n.conn !== o.conn),
  },
  {
    rule: "3.1 held back during the handshake",
    code: ss.SS_IN_TRANSIENT_STATE,
    when: (o, n, c) => c.stateSent && !isHandshakeStep(o, n),
  },
  {
    rule: "4.6 soft, Disconnecting from Unconnected",
    code: ss.SS_IN_TRANSIENT_STATE,
    when: (o, n) => n.conn === Conn.Disconnecting && o.conn === Conn.Unconnected,
  },
  {
    rule: "4.6 soft, Outdated from below",
    code: ss.SS_LOWER_THAN_OUTDATED,
    when: (o, n) => n.disk === DiskState.Outdated && o.disk < DiskState.Outdated && o.disk !== DiskState.Attaching,
  },
  {
    rule: "4.6 soft + -13",
    code: ss.SS_NO_NET_CONFIG,
    when: (o, n) => n.conn === Conn.WFConnection && o.conn < Conn.Unconnected,
  },
  {
    rule: "4.6 soft, from Diskless",
    code: ss.SS_IS_DISKLESS,
    when: (o, n) => n.disk > DiskState.Attaching && o.disk === DiskState.Diskless,
  },
  {
    rule: "4.6 soft, Disconnecting from StandAlone",
    code: ss.SS_ALREADY_STANDALONE,
    when: (o, n) => n.conn === Conn.Disconnecting && o.conn === Conn.StandAlone,
  },
  {
    rule: "4.6 soft, StartingSync while busy",
    code: ss.SS_RESYNC_RUNNING,
    when: (o, n) => isStarting(n.conn) && o.conn > Conn.Connected,
  },
];

/** Undefined if the state is legal for a soft change (drbd-84 §4.6, items 1 to 10). */
export const isValidState = (state: State, context: StateContext): Refusal | undefined =>
  validityRows.find((row) => row.when(state, context))?.code;

const transition = (
  rows: readonly TransitionRow[],
  old: State,
  state: State,
  context: StateContext,
): Refusal | undefined => {
  const code = rows.find((row) => row.when(old, state, context))?.code;
  return code === undefined || code === ss.SS_NOTHING_TO_DO ? undefined : (code as Refusal);
};

/** Undefined if even a forced change may take this path (drbd-84 §4.6, hard transition rules). */
export const isValidTransition = (old: State, state: State, context: StateContext): Refusal | undefined =>
  transition(hardRows, old, state, context);

/** Undefined if a soft change may take this path (drbd-84 §4.6, soft transition rules). */
export const isValidSoftTransition = (old: State, state: State, context: StateContext): Refusal | undefined =>
  transition(softRows, old, state, context);
