/** From the two sets of UUIDs to what happens now (drbd-84 §5.5). Pure: what is to be done stands in the decision. */
import {
  type Policy0p,
  type Policy1p,
  type Policy2p,
  primaryCount,
  recoverFromSplitBrain,
} from "./after-split-brain.ts";
import { type CompareInput, type Comparison, compareUuids } from "./compare.ts";
import { Conn, DiskState, Role } from "./state.ts";
import { UuidFlag, type UuidSet, uuidSetText } from "./uuids.ts";

export type RoleConflictPolicy = "disconnect" | "call-pri-lost" | "violently";

export interface SyncPolicies {
  readonly after0p: Policy0p;
  readonly after1p: Policy1p;
  readonly after2p: Policy2p;
  readonly alwaysAsbp: boolean;
  readonly rrConflict: RoleConflictPolicy;
}

export interface HandshakeInput extends Omit<CompareInput, "peerCrashedPrimary"> {
  readonly policies: SyncPolicies;
  /** Own disk; while Negotiating, what it will be afterwards (drbd-84 §9.4, 5). */
  readonly disk: number;
  /** The own disk is Negotiating: a Primary that is just getting it shows the peer's data, and may be SyncTarget (§5.5/8). */
  readonly attaching?: boolean;
  /** The real peer disk (drbd-84 §3.6). */
  readonly peerDisk: number;
  /** Dirty bits as sent in the last P_UUIDS, and as counted now. */
  readonly sentBits: number;
  readonly bits: number;
  readonly peerBits: number;
  /** The peer's P_UUIDS flags. */
  readonly peerFlags: number;
  /** This node has `discard-my-data`. */
  readonly discardMyData: boolean;
  /** P_PROTOCOL flag DRY_RUN of either side, or a tentative connect. */
  readonly dryRun: boolean;
  /** The Primary role could be given up right now. */
  readonly mayDemote: boolean;
}

export type HandshakeHandler = "initial-split-brain" | "split-brain" | "pri-lost" | "pri-lost-after-sb";
export interface LogLine {
  readonly level: "info" | "warn" | "err" | "alert";
  readonly text: string;
}

interface Common {
  /**
   * Result and rule of the comparison, and the sets to go on with: `self` must be stored if it differs from the input.
   */
  readonly comparison: Comparison;
  /** To be called in this order. */
  readonly handlers: readonly HandshakeHandler[];
  readonly log: readonly LogLine[];
}
export type Decision =
  | (Common & {
      readonly kind: "go";
      /** Conn.Connected, Conn.WFBitMapS or Conn.WFBitMapT. */
      readonly conn: number;
      /** Set all bits and write the bitmap first, with MDF_FULL_SYNC set around it. */
      readonly full: boolean;
      /** Become Secondary first: the after-split-brain policy discards a Primary. */
      readonly demote: boolean;
    })
  | (Common & {
      readonly kind: "refuse";
      /** DRBD's words; the connection goes StandAlone (or a late attach fails). */
      readonly refuse: string;
      /** Only a dry run: the connection is dropped without a quarrel. */
      readonly dryRun: boolean;
    });

class Draft {
  result: number;
  demote = false;
  readonly handlers: HandshakeHandler[] = [];
  readonly log: LogLine[] = [];
  readonly comparison: Comparison;

  constructor(comparison: Comparison) {
    this.comparison = comparison;
    this.result = comparison.result;
  }

  say(level: LogLine["level"], text: string): void {
    this.log.push({ level, text });
  }

  refuse(level: LogLine["level"], text: string, dryRun = false): Decision {
    this.say(level, text);
    const { comparison, handlers, log } = this;
    return { kind: "refuse", refuse: text, dryRun, comparison, handlers, log };
  }
}

const dump = (who: "self" | "peer", set: UuidSet, bits: number, flags: number): string =>
  `${who} ${uuidSetText(set)} bits:${bits} flags:${flags.toString(16).toUpperCase()}`;

/** The sync decision of a handshake, a late attach or a forced promotion (drbd-84 §3.6, §5.5). */
export function decideSync(input: HandshakeInput): Decision {
  const crashed = (input.peerFlags & UuidFlag.crashedPrimary) !== 0;
  const draft = new Draft(compareUuids({ ...input, peerCrashedPrimary: crashed }));
  logComparison(draft, input);
  const { result } = draft;
  if (result === -1000) return draft.refuse("alert", "Unrelated data, aborting!");
  if (result < -0x10000) return draft.refuse("alert", needsVersion(-result & 0xff, (-result >> 8) & 0xff));
  if (result < -1000) return draft.refuse("alert", needsVersion(-result - 1000));
  preferBetterDisk(draft, input);
  if (Math.abs(draft.result) === 100) draft.handlers.push("initial-split-brain");
  solveByPolicy(draft, input);
  solveByHand(draft, input);
  if (draft.result === -100) {
    draft.handlers.push("split-brain");
    return draft.refuse("alert", "Split-Brain detected but unresolved, dropping connection!");
  }
  return conclude(draft, input);
}

const needsVersion = (version: number, features?: number): string =>
  `To resolve this both sides have to support at least protocol ${version}` +
  (features === undefined ? "" : ` and feature flags 0x${features.toString(16)}`);

function logComparison(draft: Draft, input: HandshakeInput): void {
  const { comparison } = draft;
  draft.say("info", "drbd_sync_handshake:");
  draft.say("info", dump("self", input.self, input.sentBits, 0));
  draft.say("info", dump("peer", input.peer, input.peerBits, input.peerFlags));
  for (const note of comparison.notes) {
    draft.say(note.level, note.text);
    if (note.shows === "self") draft.say("info", dump("self", comparison.self, input.bits, 0));
    if (note.shows === "peer") draft.say("info", dump("peer", comparison.peer, input.peerBits, input.peerFlags));
  }
  draft.say("info", `uuid_compare()=${comparison.result} by rule ${comparison.rule}`);
}

/** §5.5/2: an Inconsistent disk can never be the better one, whatever the UUIDs say. */
function preferBetterDisk(draft: Draft, { disk, peerDisk }: HandshakeInput): void {
  const mineIsWorse = disk === DiskState.Inconsistent && peerDisk > DiskState.Inconsistent;
  const peersIsWorse = peerDisk === DiskState.Inconsistent && disk > DiskState.Inconsistent;
  if (!mineIsWorse && !peersIsWorse) return;
  const full = draft.result === -100 || Math.abs(draft.result) === 2;
  draft.result = (peersIsWorse ? 1 : -1) * (full ? 2 : 1);
  draft.say("info", `Becoming sync ${peersIsWorse ? "source" : "target"} due to disk states.`);
}

/** §5.5/4. */
function solveByPolicy(draft: Draft, input: HandshakeInput): void {
  const ambiguous = draft.result === -100;
  if (draft.result !== 100 && !(ambiguous && input.policies.alwaysAsbp)) return;
  const recovery = recoverFromSplitBrain({
    ...input.policies,
    role: input.role,
    peerRole: input.peerRole,
    wasPrimary: (input.self.bitmap & 1n) === 1n,
    peerWasPrimary: (input.peer.bitmap & 1n) === 1n,
    changes: input.sentBits,
    peerChanges: input.peerBits,
    resolveConflicts: input.resolveConflicts,
    mayDemote: input.mayDemote,
  });
  draft.result = recovery.verdict;
  draft.demote = recovery.demote;
  draft.handlers.push(...recovery.handlers);
  for (const text of recovery.warnings) draft.say("warn", text);
  if (recovery.verdict === -100) return;
  const from = recovery.verdict < 0 ? "peer" : "this";
  draft.say(
    "warn",
    `Split-Brain detected, ${primaryCount(input)} primaries, automatically solved. Sync from ${from} node`,
  );
  if (!ambiguous) return;
  draft.say("warn", "Doing a full sync, since UUIDs where ambiguous.");
  draft.result *= 2;
}

/** §5.5/5: `discard-my-data` on exactly one side. */
function solveByHand(draft: Draft, input: HandshakeInput): void {
  const peerDiscards = (input.peerFlags & UuidFlag.discardMyData) !== 0;
  if (draft.result !== -100 || input.discardMyData === peerDiscards) return;
  draft.result = input.discardMyData ? -1 : 1;
  draft.say("warn", `Split-Brain detected, manually solved. Sync from ${input.discardMyData ? "peer" : "this"} node`);
}

/** §5.5/7 to 11. */
function conclude(draft: Draft, input: HandshakeInput): Decision {
  const { result } = draft;
  if (result > 0 && input.disk <= DiskState.Inconsistent)
    return draft.refuse("err", "I shall become SyncSource, but I am inconsistent!");
  const isPrimary = input.role === Role.Primary && !draft.demote;
  if (result < 0 && isPrimary && input.attaching !== true && input.disk >= DiskState.Consistent) {
    if (input.policies.rrConflict === "call-pri-lost") draft.handlers.push("pri-lost");
    if (input.policies.rrConflict !== "violently")
      return draft.refuse("err", "I shall become SyncTarget, but I am primary!");
    draft.say("warn", "Becoming SyncTarget, violating the stable-data assumption");
  }
  const full = Math.abs(result) >= 2;
  if (input.dryRun) return draft.refuse("info", dryRunText(result, full), true);
  if (full) draft.say("info", "Writing the whole bitmap, full sync required after drbd_sync_handshake.");
  if (result === 0 && input.bits > 0) draft.say("info", `No resync, but ${input.bits} bits in bitmap!`);
  const conn = result > 0 ? Conn.WFBitMapS : result < 0 ? Conn.WFBitMapT : Conn.Connected;
  const { comparison, handlers, log, demote } = draft;
  return { kind: "go", conn, full, demote, comparison, handlers, log };
}

const dryRunText = (result: number, full: boolean): string =>
  result === 0
    ? "dry-run connect: No resync, would become Connected immediately."
    : `dry-run connect: Would become ${result > 0 ? "SyncSource" : "SyncTarget"}, ` +
      `doing a ${full ? "full" : "bit-map based"} resync.`;
