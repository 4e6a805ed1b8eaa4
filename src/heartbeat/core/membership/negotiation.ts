/** Who holds what: statements of resources, the start, groups that nobody or both claim (heartbeat §9). */
import { after, type Instant, ms, NEVER } from "../../../core/units.ts";
import { type Message, textOf } from "../wire/message.ts";
import { isHoldings } from "../wire/vocabulary.ts";
import {
  ALL,
  common,
  FOREIGN,
  LOCAL,
  minus,
  NONE,
  type Share,
  seenFromOther,
  shareOf,
  union,
  wordOf,
} from "./holdings.ts";
import { enqueueShare } from "./jobs.ts";
import { conflictRule, startRule } from "./rules.ts";
import { START_WINDOW, type Turn } from "./state.ts";

/** How long nobody may claim a group before its home node takes it, and before the other one does. */
const LOCAL_ORPHAN = ms(2_000);
const FOREIGN_ORPHAN = ms(20_000);

/**
 * Says what we hold (heartbeat §9.1). What is still being stopped counts as held, except in the announcements of a standby
 * and a shutdown, where the protocol has its own word for the end of it.
 */
export function announce(turn: Turn, info?: "standby" | "shutdown"): void {
  const { state } = turn;
  const isStopping = isGiving(turn) || state.jobs.some((job) => job.verb === "give");
  const isStable = state.phase === "stable" && state.leaving.kind === "no" && info === undefined && !isStopping;
  turn.send("resource", {
    rsc_hold: wordOf(info === undefined ? turn.mayRun : state.held),
    rtype: "full",
    isstable: isStable ? "1" : "0",
    info,
  });
}

const isGiving = (turn: Turn): boolean => turn.state.standby.role === "giving" || turn.state.standby.role === "given";

/**
 * Takes what of `share` we do not hold and the peer cannot be running. The bits are set at once, as the peer expects;
 * the groups start when their turn comes (heartbeat §9.1).
 */
export function takeShare(turn: Turn, share: Share, why: string, unsafe = false): Share {
  const wanted = minus(share, turn.state.held);
  const blocked = common(wanted, seenFromOther(turn.state.peerMayHold));
  const taken = minus(wanted, blocked);
  if (blocked !== NONE) {
    turn.decide("take nothing", `${wordOf(blocked)} groups stay where they are: the peer may be running them (${why})`);
  }
  if (taken === NONE) return NONE;
  turn.state.held = union(turn.state.held, taken);
  turn.state.tookSinceDeath = true;
  turn.decide("take", `${wordOf(taken)} groups: ${why}`, unsafe);
  enqueueShare(turn, "take", taken, { for: "own" });
  return taken;
}

export function becomeStable(turn: Turn): void {
  turn.state.phase = "stable";
  turn.state.phaseSince = turn.now;
}

/** After `active`: asks what the peer holds. */
export function beginNegotiation(turn: Turn): void {
  turn.state.phase = "starting";
  turn.state.phaseSince = turn.now;
  turn.send("starting");
}

export function onStarting(turn: Turn): void {
  turn.state.peerStable = false;
  turn.state.peerGives = false;
  turn.state.peerHeld = NONE;
  turn.state.peerMayHold = NONE;
  if (turn.state.phase === "init" || turn.state.phase === "leaving") return;
  announce(turn);
  openWindow(turn);
}

function openWindow(turn: Turn): void {
  if (turn.state.phase !== "starting") return;
  turn.state.phase = "negotiating";
  turn.state.phaseSince = turn.now;
}

/** A statement of the peer: full, or to be added to what it holds (heartbeat §5, rtype). */
export function onResource(turn: Turn, message: Message): void {
  const word = textOf(message, "rsc_hold");
  if (!isHoldings(word)) {
    turn.log("WARN", `resource: rsc_hold: expected none, local, foreign or all, found ${word}`);
    return;
  }
  const { state } = turn;
  const claim = shareOf(word);
  const isFull = textOf(message, "rtype") === "full";
  const stability = textOf(message, "isstable");
  const info = textOf(message, "info");
  state.peerHeld = isFull || claim === NONE ? claim : union(state.peerHeld, claim);
  // A node says what it will hold before it has stopped the rest.
  state.peerMayHold = stability === "1" && isFull ? claim : union(state.peerMayHold, state.peerHeld);
  if (stability === "0") {
    state.peerStable = false;
    if (info === "standby" || info === "shutdown") state.peerGives = true;
  }
  if (state.phase === "init" || state.phase === "leaving" || state.leaving.kind !== "no") {
    if (stability === "1") state.peerStable = true;
    return;
  }
  openWindow(turn);
  if (stability !== "1") return;
  const isNew = !state.peerStable;
  state.peerStable = true;
  state.peerGives = false;
  if (isNew) announce(turn);
  if (state.phase === "negotiating") settle(turn, false);
  else judgeConflict(turn);
}

/** Ends the negotiation if that can be decided now. */
export function settle(turn: Turn, windowOver: boolean): void {
  const verdict = startRule(turn.state.peerStable, windowOver, turn.state.peerMayHold);
  if (verdict === "wait") return;
  becomeStable(turn);
  const known = turn.state.peerStable ? `the peer is stable and holds ${wordOf(turn.state.peerHeld)}` : "10 s passed";
  if (verdict === "leave") turn.decide("take nothing", `${known}: our groups run there`);
  else takeShare(turn, LOCAL, `start: ${known}`);
  announce(turn);
}

function judgeConflict(turn: Turn): void {
  const { state } = turn;
  if (state.standby.role !== "none" || state.jobs.length > 0 || state.leaving.kind !== "no") return;
  const { yieldNow, yieldLater } = conflictRule(state.held, state.peerHeld);
  if (yieldNow !== NONE) yieldShare(turn, yieldNow);
  if (yieldLater === NONE) state.conflictAt = NEVER;
  else if (state.conflictAt === NEVER) state.conflictAt = turn.later(START_WINDOW);
}

function yieldShare(turn: Turn, share: Share): void {
  turn.decide(
    "yield",
    `both nodes claim our ${wordOf(share)} groups, the peer holds ${wordOf(turn.state.peerHeld)}`,
    true,
  );
  turn.log("CRIT", `both nodes claim the ${wordOf(share)} groups: stopping them here`);
  turn.state.held = minus(turn.state.held, share);
  enqueueShare(turn, "give", share, { for: "yield" });
}

/** What time alone brings about: the windows, groups nobody claims, claims that collide. */
export function negotiationTimers(turn: Turn): void {
  const { state } = turn;
  const windowOver = turn.due(after(state.phaseSince, START_WINDOW));
  if (state.phase === "negotiating" && windowOver) settle(turn, true);
  if (state.phase === "starting" && windowOver && turn.peerIsAlive) {
    turn.log("WARN", `${turn.parameters.peer} does not answer \`starting\`: is auto_failback legacy there?`);
    beginNegotiation(turn);
  }
  if (turn.due(state.conflictAt)) {
    state.conflictAt = NEVER;
    const { yieldLater } = conflictRule(state.held, state.peerHeld);
    if (turn.bothStable && yieldLater !== NONE) yieldShare(turn, yieldLater);
  }
  adoptOrphans(turn);
}

const earlier = (a: Instant, b: Instant): Instant => (a < b ? a : b);

/** After a restart that was quicker than the deadtime, groups may be claimed by nobody. */
function adoptOrphans(turn: Turn): void {
  const { state } = turn;
  const isQuiet =
    turn.bothStable &&
    !turn.isLegacy &&
    state.standby.role === "none" &&
    state.jobs.length === 0 &&
    state.leaving.kind === "no";
  const free = isQuiet ? minus(ALL, union(state.held, seenFromOther(state.peerMayHold))) : NONE;
  state.localOrphanAt = (free & LOCAL) === 0 ? NEVER : earlier(state.localOrphanAt, turn.later(LOCAL_ORPHAN));
  state.foreignOrphanAt = (free & FOREIGN) === 0 ? NEVER : earlier(state.foreignOrphanAt, turn.later(FOREIGN_ORPHAN));
  const ripe = union(turn.due(state.localOrphanAt) ? LOCAL : NONE, turn.due(state.foreignOrphanAt) ? FOREIGN : NONE);
  if (ripe === NONE) return;
  if (takeShare(turn, ripe, "nobody claims them") !== NONE) {
    if ((ripe & FOREIGN) !== 0) state.tookForDeath = true;
    announce(turn);
  }
}
