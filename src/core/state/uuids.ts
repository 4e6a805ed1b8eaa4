/**
 * Generation UUIDs (drbd-84 §5.1, §5.2): four 64-bit slots as bigint. Bit 0 of Current says "is Primary"; comparisons
 * ignore bit 0. Every event is a pure function from one set to the next.
 */
import { Conn, DiskState, Role, type State } from "./state.ts";

export interface UuidSet {
  readonly current: bigint;
  readonly bitmap: bigint;
  readonly history1: bigint;
  readonly history2: bigint;
}

export const UUID_EMPTY = 0n;
/** Current of metadata nobody has used yet. */
export const UUID_JUST_CREATED = 4n;
/** Added to the Bitmap UUID when a resync starts. */
export const SYNC_UUID_INCREMENT = 0x0001_0000_0000_0000n;

/** P_UUIDS flags (drbd-84 §2.4). */
export const UuidFlag = { discardMyData: 1, crashedPrimary: 2, inconsistent: 4, skipInitialSync: 8 } as const;

const MASK64 = 0xffff_ffff_ffff_ffffn;

/** Without bit 0: the form in which UUIDs are compared. */
export const generation = (uuid: bigint): bigint => uuid & ~1n;
export const sameGeneration = (a: bigint, b: bigint): boolean => generation(a) === generation(b);
export const incremented = (uuid: bigint): bigint => (uuid + SYNC_UUID_INCREMENT) & MASK64;

/** 16 upper-case hex digits, as in DRBD's log. */
export const uuidText = (uuid: bigint): string => uuid.toString(16).toUpperCase().padStart(16, "0");
/** `C:B:H1:H2`, as in DRBD's log. */
export const uuidSetText = (set: UuidSet): string =>
  [set.current, set.bitmap, set.history1, set.history2].map(uuidText).join(":");

export const justCreated: UuidSet = { current: UUID_JUST_CREATED, bitmap: 0n, history1: 0n, history2: 0n };

/** A random value that reads as empty or as just created would lie about the data: bit 3 keeps it off both. */
const usable = (random: bigint): bigint => {
  const uuid = random & MASK64;
  const bare = generation(uuid);
  return bare === UUID_EMPTY || bare === UUID_JUST_CREATED ? uuid | 8n : uuid;
};

const withPrimaryBit = (uuid: bigint, primary: boolean): bigint => generation(uuid) | (primary ? 1n : 0n);

/** Role change: bit 0 of Current. */
export const setPrimaryBit = (set: UuidSet, primary: boolean): UuidSet => ({
  ...set,
  current: withPrimaryBit(set.current, primary),
});

/** *push(x)*: History2 := History1, History1 := x. */
export const pushHistory = (set: UuidSet, uuid: bigint): UuidSet => ({
  ...set,
  history2: set.history1,
  history1: uuid,
});

/**
 * *new-current*: the own data goes its own way from here. `random`: 64 random bits. A Bitmap slot that is set already
 * is lost: the callers below check it, and DRBD warns `bm UUID was already set`.
 */
export const newCurrent = (set: UuidSet, random: bigint, primary: boolean): UuidSet => ({
  ...set,
  bitmap: set.current,
  current: withPrimaryBit(usable(random), primary),
});

const pushBitmap = (set: UuidSet): UuidSet =>
  set.bitmap === UUID_EMPTY ? set : { ...pushHistory(set, set.bitmap), bitmap: UUID_EMPTY };

/** The command `new-current-uuid`: an older Bitmap goes to the history first. */
export const newCurrentByCommand = (set: UuidSet, random: bigint, primary: boolean): UuidSet =>
  newCurrent(pushBitmap(set), random, primary);

/** `new-current-uuid --clear-bitmap` on a connected fresh pair, after P_UUIDS with flag 8 has been sent. */
export const clearBitmapUuid = (set: UuidSet): UuidSet => ({ ...set, bitmap: UUID_EMPTY });

/** The receiver of P_UUIDS with flag 8 (drbd-84 §3.5) takes over the peer's data as its own. */
export const acceptSkippedSync = (set: UuidSet, peerCurrent: bigint, primary: boolean): UuidSet => ({
  ...set,
  current: withPrimaryBit(peerCurrent, primary),
  bitmap: UUID_EMPTY,
});

/** Resync starts, Source: the new Bitmap is what P_SYNC_UUID carries. Written to disk before that packet leaves. */
export function resyncStartSource(set: UuidSet, random: bigint): { readonly set: UuidSet; readonly syncUuid: bigint } {
  const fresh = set.bitmap === UUID_EMPTY || set.bitmap === UUID_JUST_CREATED;
  const syncUuid = fresh ? usable(random) : incremented(set.bitmap);
  return { set: { ...pushBitmap(set), bitmap: syncUuid }, syncUuid };
}

/** P_SYNC_UUID received, Target: the history stays. */
export const resyncStartTarget = (set: UuidSet, syncUuid: bigint, primary: boolean): UuidSet => ({
  ...set,
  current: withPrimaryBit(syncUuid, primary),
  bitmap: UUID_EMPTY,
});

/** Resync finished without failed blocks, Source. Both sets are equal then: the peer's copy becomes this one. */
export const resyncFinishedSource = (set: UuidSet): UuidSet => pushBitmap(set);

/** The same, Target; `peer`: the Source's set as of its last P_UUIDS. */
export function resyncFinishedTarget(set: UuidSet, peer: UuidSet, primary: boolean): UuidSet {
  const taken = pushBitmap(peer);
  return {
    ...pushHistory(taken, set.current),
    current: withPrimaryBit(peer.current, primary),
    bitmap: UUID_EMPTY,
  };
}

/**
 * Own promotion (drbd-84 §5.2): without the peer's data in sight, or forced, it starts a generation of its own; else
 * only bit 0 changes.
 */
export function promoted(set: UuidSet, state: State, forced: boolean, random: bigint): UuidSet {
  const alone = state.conn < Conn.Connected || state.pdsk <= DiskState.Failed;
  const base = forced || (alone && set.bitmap === UUID_EMPTY) ? newCurrent(set, random, true) : set;
  return setPrimaryBit(base, true);
}

/** The peer's copy of the data is no longer in reach (drbd-84 §5.2, third row). */
export function lostPeerData(oldPdsk: number, pdsk: number): boolean {
  const D = DiskState;
  const had = oldPdsk === D.Inconsistent || oldPdsk === D.Consistent || oldPdsk === D.UpToDate;
  if (had) return pdsk < D.Inconsistent || pdsk === D.Outdated || pdsk === D.DUnknown;
  return oldPdsk === D.DUnknown && (pdsk === D.Diskless || pdsk === D.Failed || pdsk === D.Outdated);
}

/**
 * Whether a state change calls for new-current and P_UUIDS, rows 3 and 4 of drbd-84 §5.2. `postponed` when I/O is
 * suspended: the fencing result decides then.
 */
export function newCurrentAfter(
  old: State,
  state: State,
  bitmapUuid: bigint,
  suspended: boolean,
): "no" | "now" | "postponed" {
  if (bitmapUuid !== UUID_EMPTY || state.disk < DiskState.UpToDate) return "no";
  const primarySomewhere = state.role === Role.Primary || state.peer === Role.Primary;
  if (primarySomewhere && lostPeerData(old.pdsk, state.pdsk)) return suspended ? "postponed" : "now";
  const disklessPeerPromoted =
    state.pdsk < DiskState.Inconsistent && old.peer !== Role.Primary && state.peer === Role.Primary;
  return disklessPeerPromoted ? "now" : "no";
}
