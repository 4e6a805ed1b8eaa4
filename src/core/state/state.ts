/**
 * The state of one volume as DRBD numbers it (drbd-84 §4.1, §4.2). A name's index in `status.ts` is its number; the
 * order is significant: `< Conn.WFReportParams` has no sockets, `> Conn.Connected` means something is going on.
 */
import { type ConnectionName, connectionNames, type DiskName, diskNames, type RoleName, roleNames } from "../status.ts";

const numbersOf = <Name extends string>(names: readonly Name[]): Readonly<Record<Name, number>> =>
  Object.fromEntries(names.map((name, number) => [name, number])) as Record<Name, number>;

export const Role: Readonly<Record<RoleName, number>> = numbersOf(roleNames);
export const Conn: Readonly<Record<ConnectionName, number>> = numbersOf(connectionNames);
/** Numbers for both `disk` and `pdsk`; `DUnknown` is only ever a peer's. */
export const DiskState: Readonly<Record<DiskName, number>> = numbersOf(diskNames);

/** The masks of the state word's fields: a request whose mask holds these asks for the field (drbd-84 §4.1). */
export const ROLE_MASK = 3;
export const CONN_MASK = 31;
export const DISK_MASK = 15;

/** One volume as this node sees it. Flags are 0 or 1, in the bit order of the state word (drbd-84 §4.2). */
export interface State {
  readonly role: number;
  readonly peer: number;
  readonly conn: number;
  readonly disk: number;
  readonly pdsk: number;
  /** I/O suspended by the user. */
  readonly susp: number;
  /** Resync paused by a `resync-after` dependency. */
  readonly aftrIsp: number;
  /** Resync paused by the peer. */
  readonly peerIsp: number;
  /** Resync paused by the local user. */
  readonly userIsp: number;
  /** I/O suspended because no data is accessible. */
  readonly suspNod: number;
  /** I/O suspended while the fence-peer handler runs. */
  readonly suspFen: number;
}

/** The fields to change and their new values: DRBD's mask and val in one. */
export type StateChange = Partial<State>;

export const stateFields = [
  "role",
  "peer",
  "conn",
  "disk",
  "pdsk",
  "susp",
  "aftrIsp",
  "peerIsp",
  "userIsp",
  "suspNod",
  "suspFen",
] as const satisfies readonly (keyof State)[];

const fieldMasks: State = {
  role: ROLE_MASK,
  peer: ROLE_MASK,
  conn: CONN_MASK,
  disk: DISK_MASK,
  pdsk: DISK_MASK,
  susp: 1,
  aftrIsp: 1,
  peerIsp: 1,
  userIsp: 1,
  suspNod: 1,
  suspFen: 1,
};

const noState: State = {
  role: 0,
  peer: 0,
  conn: 0,
  disk: 0,
  pdsk: 0,
  susp: 0,
  aftrIsp: 0,
  peerIsp: 0,
  userIsp: 0,
  suspNod: 0,
  suspFen: 0,
};

/** A volume that has neither disk nor connection yet. */
export const initialState: State = {
  ...noState,
  role: Role.Secondary,
  conn: Conn.StandAlone,
  disk: DiskState.Diskless,
  pdsk: DiskState.DUnknown,
};

/** The request P_STATE_CHG_REQ carries (drbd-84 §4.4): `mask` is full in every field of `change`, 0 elsewhere. */
export function requestOf(change: StateChange): { readonly mask: State; readonly val: State } {
  const mask: Record<keyof State, number> = { ...noState };
  for (const field of stateFields) if (change[field] !== undefined) mask[field] = fieldMasks[field];
  return { mask, val: { ...noState, ...change } };
}

/** The inverse of `requestOf`. A field whose mask is not full is not part of the change: no sender of 8.4 does that. */
export function changeOf(mask: State, val: State): StateChange {
  const change: { -readonly [Field in keyof State]?: number } = {};
  for (const field of stateFields) if (mask[field] === fieldMasks[field]) change[field] = val[field];
  return change;
}

export const sameState = (a: State, b: State): boolean => stateFields.every((field) => a[field] === b[field]);

export const isSuspended = (state: State): boolean => state.susp + state.suspNod + state.suspFen > 0;
export const isPaused = (state: State): boolean => state.aftrIsp + state.peerIsp + state.userIsp > 0;
/** SyncSource … PausedSyncT, the numbers 16 to 21 (drbd-84 §4.1); verify counts as one of them. */
export const isSyncState = (conn: number): boolean => conn >= Conn.SyncSource && conn <= Conn.PausedSyncT;

export const roleName = (role: number): string => roleNames[role] ?? String(role);
export const connName = (conn: number): string => connectionNames[conn] ?? String(conn);
export const diskName = (disk: number): string => diskNames[disk] ?? String(disk);

/**
 * What DRBD logs of a change, e.g. `role( Secondary -> Primary ) disk( Inconsistent -> UpToDate )`; empty if nothing
 * shows.
 */
export function changeText(old: State, state: State): string {
  const parts: string[] = [];
  const add = (name: string, from: number, to: number, text: (n: number) => string) => {
    if (from !== to) parts.push(`${name}( ${text(from)} -> ${text(to)} )`);
  };
  add("role", old.role, state.role, roleName);
  add("peer", old.peer, state.peer, roleName);
  add("conn", old.conn, state.conn, connName);
  add("disk", old.disk, state.disk, diskName);
  add("pdsk", old.pdsk, state.pdsk, diskName);
  add("susp", Number(isSuspended(old)), Number(isSuspended(state)), String);
  add("aftr_isp", old.aftrIsp, state.aftrIsp, String);
  add("peer_isp", old.peerIsp, state.peerIsp, String);
  add("user_isp", old.userIsp, state.userIsp, String);
  return parts.join(" ");
}
