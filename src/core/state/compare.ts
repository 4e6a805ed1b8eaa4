/**
 * Whose data is newer (drbd-84 §5.4). The first matching row decides; both nodes run the table on their own and come to
 * mirrored results. Rows 34, 35, 51 and 71 correct a set first: a resync's end or start that one side never heard of.
 *
 * Results: 2 and 1 this node becomes Source (full, bitmap), 0 nothing, -1 and -2 Target; 100 split brain, policies may
 * solve it; -100 split brain, only `always-asbp` lets them; -1000 unrelated data; below -1000 the other side is too
 * old.
 */
import { Role } from "./state.ts";
import {
  generation,
  incremented,
  pushHistory,
  sameGeneration,
  UUID_EMPTY,
  UUID_JUST_CREATED,
  type UuidSet,
} from "./uuids.ts";

export interface CompareInput {
  readonly self: UuidSet;
  /** The peer's set as of its last P_UUIDS. */
  readonly peer: UuidSet;
  /** This node crashed as Primary and was not resynced since. */
  readonly crashedPrimary: boolean;
  /** P_UUIDS flag 2. */
  readonly peerCrashedPrimary: boolean;
  readonly role: number;
  readonly peerRole: number;
  /** This node accepted the meta stream (drbd-84 §1.2). */
  readonly resolveConflicts: boolean;
  readonly agreedVersion: number;
  /** Feature WSAME is agreed, without which rule 41 is not available. */
  readonly wsame: boolean;
}

/** Which corrected set to show, and DRBD's words for it. */
export interface CompareNote {
  readonly level: "info" | "warn" | "err";
  readonly text: string;
  readonly shows: "self" | "peer" | undefined;
}

export interface Comparison {
  readonly result: number;
  readonly rule: number;
  /** The own set to keep: differs from the input after rules 34 and 71, and is then written to disk. */
  readonly self: UuidSet;
  /** What to believe of the peer's set: differs from the input after rules 35 and 51. */
  readonly peer: UuidSet;
  readonly notes: readonly CompareNote[];
}

interface Row {
  readonly rule: number;
  /** Lowest agreed version that knows the row; below it the result is -(1000 + since). */
  readonly since?: number;
  readonly when: (i: CompareInput) => boolean;
  readonly result: (i: CompareInput) => number;
  readonly correctSelf?: (self: UuidSet) => UuidSet;
  readonly correctPeer?: (peer: UuidSet) => UuidSet;
  readonly note?: CompareNote;
}

/** -(0x10000 + 101 + feature WSAME in the second byte): both sides must know version 101 and WSAME. */
export const NEEDS_WSAME = -(0x10000 + 101 + (4 << 8));

const always = (result: number) => () => result;
const created = (uuid: bigint): boolean => generation(uuid) === UUID_JUST_CREATED;
const createdOrEmpty = (uuid: bigint): boolean => created(uuid) || generation(uuid) === UUID_EMPTY;
const sameCurrent = (i: CompareInput): boolean => sameGeneration(i.self.current, i.peer.current);
// These two look at bit 0 as well: a slot holding 1 is not empty.
const onlySelfHasBitmap = (i: CompareInput): boolean => i.peer.bitmap === UUID_EMPTY && i.self.bitmap !== UUID_EMPTY;
const onlyPeerHasBitmap = (i: CompareInput): boolean => i.self.bitmap === UUID_EMPTY && i.peer.bitmap !== UUID_EMPTY;
const crashes = (i: CompareInput): number => (i.crashedPrimary ? 1 : 0) + (i.peerCrashedPrimary ? 2 : 0);
const primaries = (i: CompareInput): number => Number(i.role === Role.Primary) + Number(i.peerRole === Role.Primary);
const history = (set: UuidSet): readonly bigint[] => [set.history1, set.history2];

/** `later` became `earlier`'s Bitmap when a resync started, and the other side never got P_SYNC_UUID. */
const lostSyncUuid = (source: UuidSet, target: UuidSet, agreedVersion: number): boolean =>
  sameGeneration(target.current, source.history1) &&
  (agreedVersion < 96
    ? sameGeneration(target.history1, source.history2)
    : incremented(generation(source.history1)) === generation(source.bitmap));
const undoSyncStart = (set: UuidSet): UuidSet => ({ ...set, bitmap: set.history1, history1: set.history2 });

/** `source` rotated its Bitmap into the history at the end of the resync; `missed` did not. */
const missedFinish = (missed: UuidSet, done: UuidSet): boolean =>
  sameGeneration(missed.bitmap, done.history1) && sameGeneration(missed.history1, done.history2);
const finishLate = (set: UuidSet): UuidSet => ({ ...pushHistory(set, set.bitmap), bitmap: UUID_EMPTY });

const info = (text: string, shows?: "self" | "peer"): CompareNote => ({ level: "info", text, shows });

export const compareRows: readonly Row[] = [
  { rule: 10, when: (i) => created(i.self.current) && created(i.peer.current), result: always(0) },
  { rule: 20, when: (i) => createdOrEmpty(i.self.current) && !created(i.peer.current), result: always(-2) },
  { rule: 30, when: (i) => !created(i.self.current) && createdOrEmpty(i.peer.current), result: always(2) },
  {
    rule: 34,
    since: 91,
    when: (i) => sameCurrent(i) && onlySelfHasBitmap(i) && missedFinish(i.self, i.peer),
    result: always(1),
    correctSelf: finishLate,
    note: info("was SyncSource, missed the resync finished event, corrected myself:", "self"),
  },
  {
    rule: 36,
    since: 91,
    when: (i) => sameCurrent(i) && onlySelfHasBitmap(i),
    result: always(1),
    note: info("was SyncSource (peer failed to write sync_uuid)"),
  },
  {
    rule: 35,
    since: 91,
    when: (i) => sameCurrent(i) && onlyPeerHasBitmap(i) && missedFinish(i.peer, i.self),
    result: always(-1),
    correctPeer: finishLate,
    note: info("was SyncTarget, peer missed the resync finished event, corrected peer:", "peer"),
  },
  {
    rule: 37,
    since: 91,
    when: (i) => sameCurrent(i) && onlyPeerHasBitmap(i),
    result: always(-1),
    note: info("was SyncTarget (failed to write sync_uuid)"),
  },
  { rule: 40, when: (i) => sameCurrent(i) && crashes(i) === 0, result: always(0) },
  {
    rule: 41,
    when: (i) => sameCurrent(i) && primaries(i) > 0 && !i.wsame,
    result: always(NEEDS_WSAME),
    note: { level: "warn", text: "Equivalent unrotated UUIDs, but current primary present.", shows: undefined },
  },
  {
    rule: 41,
    when: (i) => sameCurrent(i) && primaries(i) === 2,
    result: always(-100),
    note: {
      level: "err",
      text: "Equivalent unrotated UUIDs, but both are primary. Can not resolve this.",
      shows: undefined,
    },
  },
  {
    rule: 41,
    when: (i) => sameCurrent(i) && primaries(i) === 1,
    result: (i) => (i.role === Role.Primary ? 1 : -1),
  },
  { rule: 40, when: (i) => sameCurrent(i) && crashes(i) === 1, result: always(1) },
  { rule: 40, when: (i) => sameCurrent(i) && crashes(i) === 2, result: always(-1) },
  { rule: 40, when: sameCurrent, result: (i) => (i.resolveConflicts ? -1 : 1) },
  { rule: 50, when: (i) => sameGeneration(i.self.current, i.peer.bitmap), result: always(-1) },
  {
    rule: 51,
    since: 91,
    when: (i) => lostSyncUuid(i.peer, i.self, i.agreedVersion),
    result: always(-1),
    correctPeer: undoSyncStart,
    note: info("Lost last syncUUID packet, corrected:", "peer"),
  },
  {
    rule: 60,
    when: (i) => history(i.peer).some((uuid) => sameGeneration(i.self.current, uuid)),
    result: always(-2),
  },
  { rule: 70, when: (i) => sameGeneration(i.self.bitmap, i.peer.current), result: always(1) },
  {
    rule: 71,
    since: 91,
    when: (i) => lostSyncUuid(i.self, i.peer, i.agreedVersion),
    result: always(1),
    correctSelf: undoSyncStart,
    note: info("Last syncUUID did not get through, corrected:", "self"),
  },
  {
    rule: 80,
    when: (i) => history(i.self).some((uuid) => sameGeneration(uuid, i.peer.current)),
    result: always(2),
  },
  {
    rule: 90,
    when: (i) => sameGeneration(i.self.bitmap, i.peer.bitmap) && generation(i.self.bitmap) !== UUID_EMPTY,
    result: always(100),
  },
  {
    // Two empty slots are equal here too: unrelated nodes without history count as split brain (drbd-84 §5.4).
    rule: 100,
    when: (i) => history(i.self).some((own) => history(i.peer).some((uuid) => sameGeneration(own, uuid))),
    result: always(-100),
  },
  { rule: 100, when: () => true, result: always(-1000) },
];

/** Which side has the newer data, and what to correct before going by it (drbd-84 §5.4). */
export function compareUuids(input: CompareInput): Comparison {
  for (const row of compareRows) {
    if (!row.when(input)) continue;
    if (row.since !== undefined && input.agreedVersion < row.since)
      return { result: -(1000 + row.since), rule: row.rule, self: input.self, peer: input.peer, notes: [] };
    return {
      result: row.result(input),
      rule: row.rule,
      self: row.correctSelf?.(input.self) ?? input.self,
      peer: row.correctPeer?.(input.peer) ?? input.peer,
      notes: row.note === undefined ? [] : [row.note],
    };
  }
  throw new Error("the last row of the comparison matches everything");
}
