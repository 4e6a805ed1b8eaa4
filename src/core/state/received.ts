/** What a received P_STATE or P_UUIDS means (drbd-84 §3.5, §3.6, §4.8). */
import { Conn, DiskState, Role, type State, type StateChange } from "./state.ts";
import { sameGeneration, UUID_JUST_CREATED, UuidFlag, type UuidSet, uuidText } from "./uuids.ts";

export interface PeerStateFacts {
  /** Flags of the peer's P_UUIDS; undefined if none came on this connection (a diskless peer). */
  readonly uuidFlags: number | undefined;
  /** Both were Inconsistent and the peer was forced to be Primary since its last P_STATE (`considersResync`). */
  readonly considerResync: boolean;
  /** Dirty bits, and the bits that failed in this resync. */
  readonly bits: number;
  readonly failedBits: number;
}

export type PeerStateReading =
  /** The connection is already being given up: drop it. */
  | { readonly kind: "closing" }
  /** §4.8 a: the Target's notice. `finish`: nothing is left here either. Nothing else in the packet counts. */
  | { readonly kind: "end of resync"; readonly finish: boolean }
  /** §4.8 c. */
  | { readonly kind: "end of verify" }
  /** Apply it: with the sync decision first (`decide`), or with `conn` as it stands. */
  | { readonly kind: "apply"; readonly pdsk: number; readonly conn: number; readonly decide: boolean };

const D = DiskState;

/** Set when a change of state shows that the peer was forced to be Primary (drbd-84 §3.6, third case). */
export const considersResync = (old: State, state: State): boolean =>
  old.disk === D.Inconsistent &&
  old.pdsk === D.Inconsistent &&
  old.peer === Role.Secondary &&
  state.peer === Role.Primary;

/** The peer's disk as it will be: Negotiating is a question (drbd-84 §3.6). */
export const realPeerDisk = (peer: State, uuidFlags: number | undefined): number =>
  peer.disk !== D.Negotiating
    ? peer.disk
    : ((uuidFlags ?? 0) & UuidFlag.inconsistent) !== 0
      ? D.Inconsistent
      : D.Consistent;

/** Reads a P_STATE. `peer` is the packet's content as sent: the peer's own role and disk are in `role` and `disk`. */
export function readPeerState(own: State, peer: State, facts: PeerStateFacts): PeerStateReading {
  if (own.conn <= Conn.TearDown) return { kind: "closing" };
  let pdsk = realPeerDisk(peer, facts.uuidFlags);
  const looksFinished =
    (own.pdsk === D.Inconsistent || own.pdsk === D.Consistent) &&
    pdsk === D.UpToDate &&
    own.conn > Conn.Connected &&
    own.disk === D.UpToDate;
  if (looksFinished) {
    if (peer.conn > Conn.Connected && peer.conn < Conn.SyncSource) pdsk = D.Inconsistent;
    else if (own.conn >= Conn.SyncSource && peer.conn === Conn.Connected)
      return { kind: "end of resync", finish: facts.bits <= facts.failedBits };
  }
  if (own.conn === Conn.VerifyT && own.disk === D.UpToDate && peer.conn === Conn.Connected && pdsk === D.UpToDate)
    return { kind: "end of verify" };
  // §4.8 d: the peer has not noticed yet that the resync is over.
  if (own.pdsk === D.UpToDate && pdsk === D.Inconsistent && own.conn === Conn.Connected && peer.conn > Conn.SyncSource)
    pdsk = D.UpToDate;
  const established = own.conn === Conn.WFReportParams ? Conn.Connected : own.conn;
  const conn = peer.conn === Conn.Ahead ? Conn.Behind : established;
  return { kind: "apply", pdsk, conn, decide: wantsDecision(own, peer, facts) };
}

interface DecisionRow {
  readonly rule: string;
  readonly when: (own: State, peer: State, facts: PeerStateFacts) => boolean;
}

/** Occasions of the sync decision (drbd-84 §3.6). */
export const decisionRows: readonly DecisionRow[] = [
  { rule: "new connection", when: (o) => o.conn < Conn.Connected },
  {
    rule: "late attach",
    when: (o, p) => o.conn === Conn.Connected && (p.disk === D.Negotiating || o.disk === D.Negotiating),
  },
  { rule: "forced promotion of the peer", when: (_, __, f) => f.considerResync },
  {
    rule: "the peer starts a resync",
    when: (o, p) => o.conn === Conn.Connected && p.conn >= Conn.StartingSyncS && p.conn <= Conn.WFBitMapT,
  },
];

const wantsDecision = (own: State, peer: State, facts: PeerStateFacts): boolean =>
  facts.uuidFlags !== undefined &&
  peer.disk >= D.Negotiating &&
  own.disk >= D.Negotiating &&
  decisionRows.some((row) => row.when(own, peer, facts));

export type AfterReading =
  | { readonly kind: "change"; readonly change: StateChange; readonly mode: "soft" | "hard" }
  /** A late attach of our disk was refused: the disk becomes Failed. */
  | { readonly kind: "fail own disk" }
  /** The connection goes Disconnecting; in a dry run it is merely dropped. */
  | { readonly kind: "drop" };

/**
 * The change that a P_STATE leads to. `conn` is the decided connection state, or "refused"; `negotiated` what our disk
 * becomes if it is Negotiating. The first change of a connection is soft: if it is refused the connection must end.
 */
export function applyPeerState(
  own: State,
  peer: State,
  pdsk: number,
  conn: number | "refused",
  negotiated: number,
): AfterReading {
  if (conn === "refused") {
    if (own.disk === D.Negotiating) return { kind: "fail own disk" };
    if (peer.disk !== D.Negotiating) return { kind: "drop" };
    return applyPeerState(own, { ...peer, disk: D.Diskless }, D.Diskless, Conn.Connected, negotiated);
  }
  const settles = own.disk === D.Negotiating && (conn === Conn.Connected || conn === Conn.WFBitMapS);
  const change: StateChange = {
    conn,
    peer: peer.role,
    pdsk,
    peerIsp: peer.aftrIsp === 1 || peer.userIsp === 1 ? 1 : 0,
    ...(settles ? { disk: negotiated } : {}),
  };
  return { kind: "change", change, mode: own.conn < Conn.Connected && conn >= Conn.Connected ? "soft" : "hard" };
}

/**
 * True if P_UUIDS and P_STATE are sent back: this side wants a resync that the peer has not decided on yet, as after a
 * forced promotion (drbd-84 §10.10). `old` and `state`: before and after the P_STATE was applied.
 */
export const answersPeerState = (old: State, state: State, peer: State): boolean =>
  old.conn > Conn.WFReportParams &&
  state.conn > Conn.Connected &&
  peer.conn <= Conn.Connected &&
  peer.disk !== D.Negotiating;

export type UuidsReading =
  | { readonly kind: "take" }
  /** Flag 8: clear the bitmap, `acceptSkippedSync`, both disks UpToDate. */
  | { readonly kind: "skip initial sync" }
  /** The connection goes StandAlone. */
  | { readonly kind: "refuse"; readonly text: string };

/** Reads a P_UUIDS (drbd-84 §3.5). `own`: the own set, undefined without a disk. */
export function readPeerUuids(
  state: State,
  peer: UuidSet,
  flags: number,
  facts: { readonly own: UuidSet | undefined; readonly exposedUuid: bigint; readonly agreedVersion: number },
): UuidsReading {
  const disklessPrimary = state.role === Role.Primary && state.disk < D.Inconsistent;
  const firstSight = state.conn < Conn.Connected || state.pdsk === D.Diskless;
  if (disklessPrimary && firstSight && !sameGeneration(facts.exposedUuid, peer.current))
    return { kind: "refuse", text: `Can only connect to data with current UUID=${uuidText(facts.exposedUuid)}` };
  const skips =
    (flags & UuidFlag.skipInitialSync) !== 0 &&
    state.conn === Conn.Connected &&
    facts.agreedVersion >= 90 &&
    facts.own?.current === UUID_JUST_CREATED;
  return skips ? { kind: "skip initial sync" } : { kind: "take" };
}
