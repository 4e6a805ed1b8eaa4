/**
 * The decisions as tables: every one is a function of a few words, so that tests can try them all. What they decide about is
 * explained beside each; who applies them is in the files of the same folder.
 */
import { common, FOREIGN, LOCAL, NONE, type Share, seenFromOther } from "./holdings.ts";

/** `_` in a row matches either. */
const _ = undefined;
type Match = boolean | undefined;

function pick<Verdict>(rows: readonly (readonly [...Match[], Verdict])[], inputs: readonly boolean[]): Verdict {
  for (const row of rows) {
    if (inputs.every((input, n) => row[n] === _ || row[n] === input)) return row[inputs.length] as Verdict;
  }
  throw new Error("the table has no row for its inputs");
}

/** Who may take its own groups when it comes up (heartbeat §9.1, §9.2). */
export type StartVerdict =
  | "wait"
  /** Take the local groups and be stable. */
  | "take"
  /** Be stable and hold nothing: the peer runs our groups. */
  | "leave";

const startRows: readonly (readonly [Match, Match, Match, StartVerdict])[] = [
  // peerStable, windowOver, peerMayHoldOurs
  [true, _, false, "take"],
  [true, _, true, "leave"],
  [false, false, _, "wait"],
  [false, true, false, "take"],
  [false, true, true, "leave"],
];

/** `windowOver`: nobody became stable for 10 s after the first statement of resources. */
export const startRule = (peerStable: boolean, windowOver: boolean, peerMayHold: Share): StartVerdict =>
  pick<StartVerdict>(startRows, [peerStable, windowOver, common(seenFromOther(peerMayHold), LOCAL) !== NONE]);

/** Where we stand in a standby (heartbeat §10): the first three give, the last two take. */
export type StandbyRole = "none" | "asked" | "giving" | "given" | "offered" | "taking";
export type StandbyInfo = "me" | "other" | "done";

export type StandbyVerdict =
  /** Answer `other`, and wait for `done`. */
  | "offer"
  /** Stop the groups. */
  | "give"
  /** Start the groups. */
  | "take"
  | "finish"
  | "ignore, not stable"
  | "ignore, a standby is running"
  | "ignore, nothing asked";

/** What an `ask_resources` of the peer means. `peerGives`: it has announced `info=standby` and not been stable since. */
export function standbyRule(
  info: StandbyInfo,
  role: StandbyRole,
  bothStable: boolean,
  peerGives: boolean,
): StandbyVerdict {
  switch (info) {
    case "me":
      // The peer asks again when it has not heard our answer in time.
      if (role === "offered") return "offer";
      if (role !== "none") return "ignore, a standby is running";
      return bothStable ? "offer" : "ignore, not stable";
    case "other":
      return role === "asked" ? "give" : "ignore, nothing asked";
    case "done":
      if (role === "given") return "finish";
      if (role === "offered") return "take";
      return role === "none" && peerGives ? "take" : "ignore, nothing asked";
    default:
      return info satisfies never;
  }
}

/** What follows when the peer is dead (heartbeat §11.1), and when it may be alive behind a cut cable. */
export type DeathVerdict =
  /** It left in order, or everything is ours already: no fencing. */
  | "take, unneeded"
  /** STONITH succeeded. */
  | "take, fenced"
  /** No STONITH device: take, and say that nothing tells a dead node from a cut cable. */
  | "take, unprotected"
  | "fence"
  /** We hear no ping node either: more likely it is us who are cut off. */
  | "hold back";

const deathRows: readonly (readonly [Match, Match, Match, Match, DeathVerdict])[] = [
  // peerMayHold, isolated, hasStonith, fenced
  [false, _, _, _, "take, unneeded"],
  [true, _, true, true, "take, fenced"],
  [true, true, _, _, "hold back"],
  [true, false, true, false, "fence"],
  [true, false, false, _, "take, unprotected"],
];

export const deathRule = (
  peerMayHold: boolean,
  isolated: boolean,
  hasStonith: boolean,
  fenced: boolean,
): DeathVerdict => pick<DeathVerdict>(deathRows, [peerMayHold, isolated, hasStonith, fenced]);

/** A status of a node that was declared dead (heartbeat §7.1.5, §11.3). */
export type ReturnVerdict =
  /** It started anew: it joins as any node that starts. */
  | "rejoin"
  /** It was never away, and we took its groups: give everything up and start anew. */
  | "restart"
  /** It was never away, but neither have we taken anything. */
  | "resume";

const returnRows: readonly (readonly [Match, Match, ReturnVerdict])[] = [
  // startedAnew, tookSince
  [true, _, "rejoin"],
  [false, true, "restart"],
  [false, false, "resume"],
];

/** `startedAnew`: its generation grew, or we hear it for the first time and it is not `active` yet. */
export const returnRule = (startedAnew: boolean, tookSince: boolean): ReturnVerdict =>
  pick<ReturnVerdict>(returnRows, [startedAnew, tookSince]);

/** ipfail's comparison of live ping nodes, by the receiver of `num_ping_nodes` (heartbeat §16.3). */
export type PingVerdict = "tell the peer it is dead" | "give up all" | "abort" | "abort, give up foreign";

export function pingRule(ours: number, theirs: number, failsBack: boolean, bothStable: boolean): PingVerdict {
  if (ours > theirs) return "tell the peer it is dead";
  if (ours < theirs) return "give up all";
  return failsBack && bothStable ? "abort, give up foreign" : "abort";
}

/** Two stable nodes claim the same groups: who lets go of what (never happens unless one of them restarted unseen). */
export interface ConflictVerdict {
  /** Let go now: the peer is their home. */
  readonly yieldNow: Share;
  /** Let go if the peer, whose turn it is, does not. */
  readonly yieldLater: Share;
}

export function conflictRule(held: Share, peerHeld: Share): ConflictVerdict {
  const both = common(held, seenFromOther(peerHeld));
  return { yieldNow: common(both, FOREIGN), yieldLater: common(both, LOCAL) };
}
