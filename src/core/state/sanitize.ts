/** What every change implies, applied in this order before a change is judged (drbd-84 §4.7). */
import type { ConnectionName } from "../status.ts";
import type { StateContext } from "./context.ts";
import { Conn, DiskState, isPaused, Role, type State, type StateChange } from "./state.ts";

type Range = readonly [min: number, max: number];
interface Limit {
  readonly conns: readonly ConnectionName[];
  readonly disk: Range;
  readonly pdsk: Range;
}

const D = DiskState;

/** The disk states a connection state admits (drbd-84 §4.7). Connection states not named here are `notConnected`. */
export const diskLimits: readonly Limit[] = [
  {
    conns: ["WFBitMapT", "StartingSyncT", "WFSyncUUID", "PausedSyncT", "Behind"],
    disk: [D.Inconsistent, D.Outdated],
    pdsk: [D.UpToDate, D.UpToDate],
  },
  { conns: ["SyncTarget"], disk: [D.Inconsistent, D.Inconsistent], pdsk: [D.UpToDate, D.UpToDate] },
  {
    conns: ["WFBitMapS", "StartingSyncS", "PausedSyncS", "Ahead"],
    disk: [D.UpToDate, D.UpToDate],
    pdsk: [D.Inconsistent, D.Consistent],
  },
  { conns: ["SyncSource"], disk: [D.UpToDate, D.UpToDate], pdsk: [D.Inconsistent, D.Inconsistent] },
  { conns: ["VerifyS", "VerifyT"], disk: [D.UpToDate, D.UpToDate], pdsk: [D.UpToDate, D.UpToDate] },
  { conns: ["Connected"], disk: [D.Diskless, D.UpToDate], pdsk: [D.Diskless, D.UpToDate] },
];
const notConnected: Omit<Limit, "conns"> = { disk: [D.Diskless, D.UpToDate], pdsk: [D.Inconsistent, D.DUnknown] };

const limitByConn = new Map<number, Omit<Limit, "conns">>(
  diskLimits.flatMap((limit) => limit.conns.map((name) => [Conn[name], limit] as const)),
);
const limitOf = (conn: number) => limitByConn.get(conn) ?? notConnected;

interface Implication {
  readonly rule: string;
  readonly when: (state: State, old: State, context: StateContext) => boolean;
  readonly imply: (state: State, context: StateContext) => StateChange;
  /** What DRBD warns of when the row applies. */
  readonly warn?: (state: State, context: StateContext) => string;
}

const isVerify = (conn: number): boolean => conn === Conn.VerifyS || conn === Conn.VerifyT;
const vanishes = (disk: number): boolean => disk === D.Consistent || disk === D.Outdated;
const losesPeer = (s: State): boolean => s.role === Role.Primary && s.conn < Conn.Connected && s.pdsk > D.Outdated;
const losesData = (s: State): boolean => s.role === Role.Primary && s.disk < D.UpToDate && s.pdsk < D.UpToDate;

export const implications: readonly Implication[] = [
  {
    rule: "4.7 no connection, no peer",
    when: (s) => s.conn < Conn.Connected,
    imply: (s) => ({
      peer: Role.Unknown,
      peerIsp: 0,
      pdsk: s.pdsk > D.DUnknown || s.pdsk < D.Inconsistent ? D.DUnknown : s.pdsk,
    }),
  },
  {
    rule: "4.7 unconfigured, no dependency",
    when: (s) => s.conn === Conn.StandAlone && s.disk === D.Diskless && s.role === Role.Secondary,
    imply: () => ({ aftrIsp: 0 }),
  },
  {
    rule: "4.7 a lost disk ends resync and verify",
    when: (s) => s.conn > Conn.Connected && (s.disk <= D.Failed || s.pdsk <= D.Failed),
    imply: () => ({ conn: Conn.Connected }),
    warn: (s) => (isVerify(s.conn) ? "Online-verify aborted." : "Resync aborted."),
  },
  {
    rule: "9.4/5 connection lost while negotiating",
    when: (s, _, c) => s.conn < Conn.Connected && s.disk === D.Negotiating && c.negotiating !== undefined,
    imply: (_, c) =>
      c.negotiating?.exposed === true
        ? { disk: c.negotiating.disk, pdsk: c.negotiating.pdsk }
        : { disk: D.Diskless, pdsk: D.DUnknown },
    warn: (_, c) => (c.negotiating?.exposed === true ? "" : "Connection lost while negotiating, no disk!"),
  },
  {
    rule: "4.7 Consistent and Outdated vanish, own",
    when: (s) => s.conn >= Conn.Connected && s.conn < Conn.Ahead && vanishes(s.disk),
    imply: () => ({ disk: D.UpToDate }),
  },
  {
    rule: "4.7 Consistent and Outdated vanish, peer",
    when: (s) => s.conn >= Conn.Connected && s.conn < Conn.Ahead && vanishes(s.pdsk),
    imply: () => ({ pdsk: D.UpToDate }),
  },
  {
    rule: "4.7 disk at most",
    when: (s) => s.disk > limitOf(s.conn).disk[1],
    imply: (s) => ({ disk: limitOf(s.conn).disk[1] }),
  },
  {
    rule: "4.7 disk at least",
    when: (s) => s.disk < limitOf(s.conn).disk[0],
    imply: (s) => ({ disk: limitOf(s.conn).disk[0] }),
    warn: () => "Implicitly upgraded disk",
  },
  {
    rule: "4.7 pdsk at most",
    when: (s) => s.pdsk > limitOf(s.conn).pdsk[1],
    imply: (s) => ({ pdsk: limitOf(s.conn).pdsk[1] }),
  },
  {
    rule: "4.7 pdsk at least",
    when: (s) => s.pdsk < limitOf(s.conn).pdsk[0],
    imply: (s) => ({ pdsk: limitOf(s.conn).pdsk[0] }),
    warn: () => "Implicitly upgraded pdsk",
  },
  {
    rule: "4.7 suspend for fencing",
    when: (s, o, c) => c.fencing === "resource-and-stonith" && losesPeer(s) && !losesPeer(o),
    imply: () => ({ suspFen: 1 }),
  },
  {
    rule: "4.7 suspend without data",
    when: (s, o, c) => c.onNoDataAccessible === "suspend-io" && losesData(s) && !losesData(o),
    imply: () => ({ suspNod: 1 }),
  },
  {
    rule: "4.7 pause",
    when: (s) => isPaused(s) && (s.conn === Conn.SyncSource || s.conn === Conn.SyncTarget),
    imply: (s) => ({ conn: s.conn === Conn.SyncSource ? Conn.PausedSyncS : Conn.PausedSyncT }),
  },
  {
    rule: "4.7 resume",
    when: (s) => !isPaused(s) && (s.conn === Conn.PausedSyncS || s.conn === Conn.PausedSyncT),
    imply: (s) => ({ conn: s.conn === Conn.PausedSyncS ? Conn.SyncSource : Conn.SyncTarget }),
  },
];

export interface Sanitized {
  readonly state: State;
  /** DRBD's warnings about what was implied, in order. */
  readonly warnings: readonly string[];
}

/** The state that follows when `wanted` is asked for in `old`. */
export function sanitize(old: State, wanted: State, context: StateContext): Sanitized {
  let state = wanted;
  const warnings: string[] = [];
  for (const row of implications) {
    if (!row.when(state, old, context)) continue;
    const warning = row.warn?.(state, context);
    if (warning !== undefined && warning !== "") warnings.push(warning);
    state = { ...state, ...row.imply(state, context) };
  }
  return { state, warnings };
}
