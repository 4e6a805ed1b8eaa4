/** Death, departure and return of the peer (heartbeat §8.2, §11). */
import { after, type Instant, ms, NEVER } from "../../../core/units.ts";
import type { NodeStatus } from "../wire/vocabulary.ts";
import { ALL, FOREIGN, NONE } from "./holdings.ts";
import { wantToLeave } from "./leaving.ts";
import { takeGroups } from "./legacy.ts";
import { announce, becomeStable, beginNegotiation, takeShare } from "./negotiation.ts";
import { type DeathVerdict, deathRule, returnRule } from "./rules.ts";
import { cancelStandby } from "./standby.ts";
import { type Member, RETURN_DELAY, type Turn } from "./state.ts";

/** STONITH is tried again after this (heartbeat §17.2). */
const FENCE_RETRY = ms(5_000);

export function setPeerStatus(turn: Turn, to: NodeStatus): void {
  const { peer } = turn.state;
  const name = turn.parameters.peer;
  if (peer.status === to || name === undefined) return;
  turn.effects.push({ kind: "nodeStatus", node: name, from: peer.status, to });
  turn.state.peer = { ...peer, status: to };
}

/** When silence means death: its own advertised deadtime; `initdead` for a node never heard. */
export function peerDeathAt(member: Member): Instant {
  const { peer, parameters, startedAt } = member;
  if (peer.status === "dead" || parameters.peer === undefined) return NEVER;
  if (!peer.everHeard) return startedAt === NEVER ? NEVER : after(startedAt, parameters.initdead);
  return after(peer.heardAt, peer.dt ?? parameters.deadtime);
}

/** No ping node has answered for a warntime, and the peer neither. */
export function isIsolated(member: Member, now: Instant): boolean {
  const { parameters, pings, peer } = member;
  if (parameters.isolation === "keep" || pings.size === 0) return false;
  const quiet = (heardAt: Instant): boolean => heardAt === NEVER || after(heardAt, parameters.warntime) <= now;
  return [...pings.values()].every((ping) => quiet(ping.heardAt)) && (peer.left || quiet(peer.heardAt));
}

export function peerDied(turn: Turn): void {
  const { state, parameters } = turn;
  const { peer } = state;
  const span = peer.everHeard
    ? `silent for ${Math.round(turn.now - peer.heardAt)} ms`
    : `never heard in ${parameters.initdead} ms (initdead)`;
  turn.decide("node is dead", `${parameters.peer}: ${span}${peer.left ? ", after it had left in order" : ""}`);
  turn.log("WARN", `node ${parameters.peer}: is dead`);
  setPeerStatus(turn, "dead");
  state.peer = { ...state.peer, startedAnew: false };
  state.peerStable = false;
  state.peerGives = false;
  state.tookSinceDeath = false;
  cancelStandby(turn, `${parameters.peer} died`);
  if (state.leaving.kind === "no") settleDeath(turn, false);
}

/** Applies the table; `fenced`: STONITH has just succeeded. */
export function settleDeath(turn: Turn, fenced: boolean): void {
  const { state, parameters } = turn;
  const { peer } = state;
  // What it said it holds is no proof: behind a cut cable it may have decided anew. Only `shutdone` is one.
  const peerMayHold = !peer.left && !turn.runsAll;
  state.heldBack = false;
  const verdict = deathRule(peerMayHold, isIsolated(state, turn.now), parameters.hasStonith, fenced);
  switch (verdict) {
    case "hold back":
      turn.decide("hold back", "no ping node answers either: it is this node that is cut off");
      state.heldBack = true;
      state.reconsiderAt = turn.later(parameters.deadtime);
      enterAlone(turn);
      return;
    case "fence":
      turn.decide("fence", `${parameters.peer} may be running groups`);
      state.fencing = true;
      state.reconsiderAt = NEVER;
      turn.effects.push({ kind: "fence", node: parameters.peer ?? "" });
      enterAlone(turn);
      return;
    default:
      takeOver(turn, verdict);
  }
}

const results = {
  "take, unneeded": "unneeded",
  "take, fenced": "OK",
  "take, unprotected": "n_stnth",
} as const;

function takeOver(turn: Turn, verdict: Exclude<DeathVerdict, "hold back" | "fence">): void {
  const { state, parameters } = turn;
  state.reconsiderAt = NEVER;
  turn.send("stonith", { node: parameters.peer, result: results[verdict] });
  if (verdict === "take, unprotected") {
    turn.log("WARN", "no STONITH device configured: shared disks are not protected");
  }
  forgetHoldings(turn);
  takeEverything(
    turn,
    `${parameters.peer} is dead (${verdict.slice("take, ".length)})`,
    verdict === "take, unprotected",
  );
}

/** All groups, ours and the peer's. */
export function takeEverything(turn: Turn, why: string, unsafe: boolean): void {
  const { state, parameters } = turn;
  if (turn.isLegacy) {
    becomeStable(turn);
    takeGroups(
      turn,
      parameters.groups.map((group) => group.key),
      why,
      unsafe,
    );
    return;
  }
  becomeStable(turn);
  if ((takeShare(turn, ALL, why, unsafe) & FOREIGN) !== 0) state.tookForDeath = true;
  announce(turn);
}

/** Before anybody answered: this node is settled, with what it holds. */
function enterAlone(turn: Turn): void {
  if (turn.state.phase === "stable" || turn.state.phase === "leaving") return;
  becomeStable(turn);
}

export function forgetHoldings(turn: Turn): void {
  turn.state.peerHeld = NONE;
  turn.state.peerMayHold = NONE;
  turn.state.peerGives = false;
}

export function onFenced(turn: Turn, ok: boolean): void {
  const { state, parameters } = turn;
  if (!state.fencing) return;
  state.fencing = false;
  if (state.peer.status !== "dead" || state.leaving.kind !== "no") return;
  if (ok) {
    settleDeath(turn, true);
    return;
  }
  turn.log(
    "ERROR",
    `STONITH of ${parameters.peer} failed: nothing is taken over, trying again in ${FENCE_RETRY / 1000} s`,
  );
  turn.send("stonith", { node: parameters.peer, result: "bad" });
  state.reconsiderAt = turn.later(FENCE_RETRY);
}

/** `shutdone`: it has stopped everything (heartbeat §11.2). */
export function onShutdone(turn: Turn): void {
  const { state, parameters } = turn;
  cancelStandby(turn, `${parameters.peer} has left`);
  state.peer = { ...state.peer, left: true };
  state.peerStable = false;
  forgetHoldings(turn);
  if (state.leaving.kind !== "no" || state.phase === "init") return;
  takeEverything(turn, `${parameters.peer} has stopped its groups and leaves`, false);
}

/** Its generation grew, or we hear it for the first time: what it said in an earlier life is void. */
export function onPeerRestarted(turn: Turn, first: boolean): void {
  const { state, parameters } = turn;
  if (!first) turn.log("info", `heartbeat restart on node ${parameters.peer}`);
  cancelStandby(turn, `heartbeat restarted on ${parameters.peer}`);
  const { status } = state.peer;
  state.peer = { ...state.peer, left: false, startedAnew: !first || status !== "dead", dt: undefined };
  state.peerStable = false;
  forgetHoldings(turn);
}

/** A status of a node that was dead. `st`: what it says of itself. */
export function peerReturned(turn: Turn, st: NodeStatus): void {
  const { state, parameters } = turn;
  const { peer } = state;
  const startedAnew = peer.startedAnew || (!peer.everHeard && st !== "active");
  const verdict = returnRule(startedAnew, state.tookSinceDeath);
  state.fencing = false;
  state.heldBack = false;
  state.reconsiderAt = NEVER;
  if (verdict === "restart") {
    turn.log("CRIT", `cluster node ${parameters.peer} returning after partition`);
    wantToLeave(
      turn,
      true,
      RETURN_DELAY,
      `${parameters.peer} returned after a partition, and we took its groups meanwhile`,
    );
    return;
  }
  turn.decide(
    "node is back",
    startedAnew ? `${parameters.peer} has started anew` : `${parameters.peer}: we took nothing meanwhile`,
  );
  if (startedAnew || state.phase === "leaving" || state.leaving.kind !== "no") return;
  // It has been running all the time: we learn what it holds before we do anything.
  if (turn.isLegacy || state.status !== "active") return;
  if (turn.mayRun === NONE) beginNegotiation(turn);
  else announce(turn);
}
