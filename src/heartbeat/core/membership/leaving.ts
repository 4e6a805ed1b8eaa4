/**
 * Going away in order: give everything up, say `shutdone`, end (heartbeat §11.2); or the same and start anew with a new
 * generation, after a partition or when this node cannot trust its own place in the cluster (§11.3).
 */
import { type Milliseconds, ms } from "../../../core/units.ts";
import { NONE } from "./holdings.ts";
import { dropWaitingTakes, enqueueGroups, enqueueShare } from "./jobs.ts";
import { announce } from "./negotiation.ts";
import { cancelStandby } from "./standby.ts";
import type { Turn } from "./state.ts";

/** After `shutdone` the peer has this long to hear it. */
const AFTER_SHUTDONE = ms(1_000);

/** A wish to end: an orderly stop overrules a restart. */
export function wantToLeave(turn: Turn, restart: boolean, delay: Milliseconds, why: string): void {
  const { leaving } = turn.state;
  if (!restart && "restart" in leaving) turn.state.leaving = { ...leaving, restart: false };
  if (leaving.kind !== "no") return;
  turn.decide(restart ? "restart" : "leave", why);
  turn.state.leaving = { kind: "wanted", at: turn.later(delay), restart };
}

export function leavingTimers(turn: Turn): void {
  const { state } = turn;
  const { leaving } = state;
  if (leaving.kind === "wanted" && turn.due(leaving.at)) beginLeaving(turn, leaving.restart);
  if (leaving.kind === "said" && turn.due(leaving.exitAt)) {
    const { deadtime } = turn.parameters;
    // The other side must have seen our silence, so that it is ready for a new generation.
    const pause = leaving.restart ? ms(deadtime + 1_000) : ms(0);
    state.leaving = { kind: "gone" };
    turn.effects.push({ kind: "exit", restart: leaving.restart, after: pause });
  }
}

function beginLeaving(turn: Turn, restart: boolean): void {
  const { state } = turn;
  cancelStandby(turn, "this node is leaving");
  dropWaitingTakes(turn);
  const share = turn.mayRun;
  const named = new Set([...state.legacyHeld, ...state.jobs.flatMap((job) => job.groups)]);
  state.legacyHeld = new Set();
  state.phase = "leaving";
  state.phaseSince = turn.now;
  state.held = NONE;
  state.leaving = { kind: "giving", restart };
  if (turn.isLegacy) {
    const keys = turn.parameters.groups.map((group) => group.key).filter((key) => named.has(key));
    enqueueGroups(turn, "give", keys, { for: "leave" });
    return;
  }
  announce(turn, "shutdown");
  enqueueShare(turn, "give", share, { for: "leave" });
}

export function onLeft(turn: Turn, ok: boolean): void {
  const { leaving } = turn.state;
  if (leaving.kind !== "giving") return;
  if (!ok) {
    turn.state.leaving = { kind: "stuck" };
    return;
  }
  turn.state.leaving = { kind: "said", restart: leaving.restart, exitAt: turn.later(AFTER_SHUTDONE) };
  turn.send("shutdone", { st: "dead" });
}
