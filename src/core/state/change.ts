/**
 * One place changes a volume's state; every change, own or asked for by the peer, passes here (drbd-84 §4.3 to §4.7).
 */
import type { ConnectionName } from "../status.ts";
import type { StateContext } from "./context.ts";
import { sanitize } from "./sanitize.ts";
import { type Refusal, ss } from "./ss.ts";
import {
  CONN_MASK,
  Conn,
  changeOf,
  connName,
  DiskState,
  diskName,
  isSuspended,
  Role,
  roleName,
  type State,
  type StateChange,
  sameState,
} from "./state.ts";
import { isValidSoftTransition, isValidState, isValidTransition } from "./validity.ts";

/** `hard` skips the validity and soft transition rules: for what has happened anyway, such as a lost connection. */
export type ChangeMode = "hard" | "soft";

export type Changed =
  | { readonly state: State; readonly warnings: readonly string[] }
  /** The state as asked for is the one we have (SS_NOTHING_TO_DO, which the tools count as success). */
  | { readonly nothing: true }
  | { readonly refusal: Refusal; readonly wanted: State };

/**
 * Fencing is an option of the disk: without one (below Inconsistent) DRBD behaves as with dont-care.
 */
const effective = (old: State, context: StateContext): StateContext =>
  old.disk < DiskState.Inconsistent && context.fencing !== "dont-care" ? { ...context, fencing: "dont-care" } : context;

/** Applies `change` with all that it implies, or says why not. */
export function changeState(old: State, change: StateChange, mode: ChangeMode, context: StateContext): Changed {
  const ctx = effective(old, context);
  const { state, warnings } = sanitize(old, { ...old, ...change }, ctx);
  if (sameState(old, state)) return { nothing: true };
  const refusal = isValidTransition(old, state, ctx) ?? (mode === "hard" ? undefined : judgeSoftly(old, state, ctx));
  return refusal === undefined ? { state, warnings } : { refusal, wanted: state };
}

/** A soft change out of a state that is invalid for the same reason makes nothing worse (drbd-84 §4.6). */
function judgeSoftly(old: State, state: State, context: StateContext): Refusal | undefined {
  const invalid = isValidState(state, context);
  if (invalid !== undefined && isValidState(old, context) !== invalid) return invalid;
  return isValidSoftTransition(old, state, context);
}

export type Judged =
  /** Send P_STATE_CHG_REQ, and apply `state` when the peer consents. */
  | { readonly ask: true; readonly state: State; readonly warnings: readonly string[] }
  /** Nobody needs to be asked: the change applies at once. */
  | { readonly ask: false; readonly state: State; readonly warnings: readonly string[] }
  | { readonly nothing: true }
  | { readonly refusal: Refusal; readonly wanted: State };

/**
 * Judges a local request (drbd-84 §4.4). A cluster-wide one gets no mercy for an already invalid state. While it waits
 * for the reply, ask again with every change of the own state: `ask: false` or a refusal then ends the waiting.
 */
export function judgeRequest(old: State, change: StateChange, context: StateContext): Judged {
  const ctx = effective(old, context);
  const { state, warnings } = sanitize(old, { ...old, ...change }, ctx);
  const hard = isValidTransition(old, state, ctx);
  if (hard !== undefined) return { refusal: hard, wanted: state };
  if (needsConsent(old, state)) {
    const refusal = isValidState(state, ctx) ?? isValidSoftTransition(old, state, ctx);
    return refusal === undefined ? { ask: true, state, warnings } : { refusal, wanted: state };
  }
  if (sameState(old, state)) return { nothing: true };
  const refusal = judgeSoftly(old, state, ctx);
  return refusal === undefined ? { ask: false, state, warnings } : { refusal, wanted: state };
}

interface ConsentRow {
  readonly rule: string;
  readonly when: (old: State, state: State) => boolean;
}

const becomes = (old: number, now: number, value: number): boolean => old !== value && now === value;
const staysConnected = (o: State, n: State): boolean => o.conn >= Conn.Connected && n.conn >= Conn.Connected;

/** Changes that need the peer's consent (drbd-84 §4.4). */
export const consentRows: readonly ConsentRow[] = [
  { rule: "promotion", when: (o, n) => staysConnected(o, n) && becomes(o.role, n.role, Role.Primary) },
  { rule: "become Target", when: (o, n) => staysConnected(o, n) && becomes(o.conn, n.conn, Conn.StartingSyncT) },
  { rule: "become Source", when: (o, n) => staysConnected(o, n) && becomes(o.conn, n.conn, Conn.StartingSyncS) },
  { rule: "detach", when: (o, n) => staysConnected(o, n) && becomes(o.disk, n.disk, DiskState.Failed) },
  { rule: "disconnect", when: (o, n) => o.conn >= Conn.Connected && n.conn === Conn.Disconnecting },
  { rule: "verify", when: (o, n) => o.conn === Conn.Connected && n.conn === Conn.VerifyS },
  { rule: "handshake again", when: (o, n) => o.conn === Conn.Connected && n.conn === Conn.WFReportParams },
];

/** True if the change from `old` to `state` is cluster-wide (drbd-84 §4.4). */
export const needsConsent = (old: State, state: State): boolean => consentRows.some((row) => row.when(old, state));

/** How the peer's connection state reads on this side (drbd-84 §4.3); what is not named here becomes 0. */
const connFromPeer: ReadonlyMap<number, number> = new Map([
  ...(
    [
      ["WFReportParams", "WFReportParams"],
      ["Connected", "Connected"],
      ["StartingSyncS", "StartingSyncT"],
      ["StartingSyncT", "StartingSyncS"],
      ["Disconnecting", "TearDown"],
      ["VerifyS", "VerifyT"],
    ] satisfies [ConnectionName, ConnectionName][]
  ).map(([from, to]) => [Conn[from], Conn[to]] as const),
  [CONN_MASK, CONN_MASK] as const,
]);

/**
 * A mask or value of a peer's request, seen from this side (drbd-84 §4.3). The local flags of the sender (its
 * suspensions and what pauses its resync) are none of ours and become 0.
 */
export const fromPeer = (theirs: State): State => ({
  role: theirs.peer,
  peer: theirs.role,
  conn: connFromPeer.get(theirs.conn) ?? 0,
  disk: theirs.pdsk,
  pdsk: theirs.disk,
  susp: 0,
  aftrIsp: 0,
  peerIsp: theirs.aftrIsp === 1 || theirs.userIsp === 1 ? 1 : 0,
  userIsp: 0,
  suspNod: 0,
  suspFen: 0,
});

/** A received P_STATE_CHG_REQ or P_CONN_ST_CHG_REQ as a change of the own state (drbd-84 §4.3, §4.4). */
export function peerRequest(mask: State, val: State, own: State): StateChange {
  const change = changeOf(fromPeer(mask), fromPeer(val));
  // A disk that is worse than Outdated need not be outdated: the rest of the request stands (drbd-84 §4.4).
  if (change.disk === DiskState.Outdated && own.disk < DiskState.Outdated) {
    const { disk: _, ...rest } = change;
    return rest;
  }
  return change;
}

/**
 * The answer to a peer's request (drbd-84 §4.4): tried and applied here at once, there is no second phase. `retcode`
 * goes into P_STATE_CHG_REPLY. Two crossing requests: exactly the node with RESOLVE_CONFLICTS refuses.
 */
export function answerPeer(
  old: State,
  mask: State,
  val: State,
  own: { readonly requestInFlight: boolean; readonly resolveConflicts: boolean },
  context: StateContext,
): { readonly retcode: number; readonly state: State; readonly warnings: readonly string[] } {
  if (own.resolveConflicts && own.requestInFlight)
    return { retcode: ss.SS_CONCURRENT_ST_CHG, state: old, warnings: [] };
  const result = changeState(old, peerRequest(mask, val, old), "soft", context);
  if ("refusal" in result) return { retcode: result.refusal, state: old, warnings: [] };
  if ("nothing" in result) return { retcode: ss.SS_NOTHING_TO_DO, state: old, warnings: [] };
  return { retcode: ss.SS_SUCCESS, state: result.state, warnings: result.warnings };
}

/**
 * As DRBD logs the two states of a refused change: `{ cs:Connected ro:Primary/Secondary ds:UpToDate/UpToDate r-----
 * }`.
 */
export const stateText = (s: State): string =>
  `{ cs:${connName(s.conn)} ro:${roleName(s.role)}/${roleName(s.peer)} ds:${diskName(s.disk)}/${diskName(s.pdsk)} ` +
  `${isSuspended(s) ? "s" : "r"}${s.aftrIsp ? "a" : "-"}${s.peerIsp ? "p" : "-"}${s.userIsp ? "u" : "-"}` +
  `${s.suspFen ? "F" : "-"}${s.suspNod ? "N" : "-"} }`;
