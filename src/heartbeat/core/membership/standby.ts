/**
 * Standby: one node gives, the other takes, in three phases (heartbeat §10).
 *
 *     giver   none ─ask─▶ asked ─other─▶ giving ─stopped, done─▶ given ─done─▶ none
 *     taker   none ─me─▶ offered ─done─▶ taking ─started, done─▶ none
 */
import { type Instant, ms, NEVER } from "../../../core/units.ts";
import { type Message, textOf } from "../wire/message.ts";
import { isHoldings } from "../wire/vocabulary.ts";
import { common, FOREIGN, minus, NONE, type Share, seenFromOther, shareOf, union, wordOf } from "./holdings.ts";
import { enqueueShare } from "./jobs.ts";
import { announce } from "./negotiation.ts";
import { type StandbyInfo, standbyRule } from "./rules.ts";
import { noStandby, STANDBY_LIMIT, STANDBY_REPLY, type Turn } from "./state.ts";

/** An automatic standby is tried again this often (heartbeat §9.2). */
const FAILBACK_RETRY = ms(1_000);

/** Asks the peer to take `share` of ours. Returns whether the question is out. */
export function askForStandby(turn: Turn, share: Share, why: string): boolean {
  const refusal = whyNoStandby(turn, share);
  if (refusal !== undefined) {
    turn.decide("refuse standby", `${wordOf(share)} (${why}): ${refusal}`);
    turn.log("WARN", `standby ${wordOf(share)} refused: ${refusal}`);
    return false;
  }
  turn.decide("ask for standby", `${wordOf(share)}: ${why}`);
  turn.state.standby = { role: "asked", share, since: turn.now };
  turn.send("ask_resources", { rsc_hold: wordOf(share), info: "me" });
  return true;
}

function whyNoStandby(turn: Turn, share: Share): string | undefined {
  const { state } = turn;
  if (turn.isLegacy) return "auto_failback is legacy";
  if (!turn.peerIsAlive) return `${turn.parameters.peer ?? "nobody"} is not there to take over`;
  if (state.leaving.kind !== "no") return "this node is leaving";
  if (!turn.bothStable) return `resources are in transition (${state.phase === "stable" ? "there" : "here"})`;
  if (state.standby.role !== "none") return "another standby is running";
  if (state.jobs.length > 0) return "groups are being started or stopped";
  if (common(state.held, share) === NONE) return `nothing to give: this node holds ${wordOf(state.held)}`;
  return undefined;
}

const isInfo = (word: string | undefined): word is StandbyInfo => word === "me" || word === "other" || word === "done";

export function onAskResources(turn: Turn, message: Message): void {
  const word = textOf(message, "rsc_hold");
  const info = textOf(message, "info");
  if (!isHoldings(word) || !isInfo(info)) {
    turn.log("WARN", `ask_resources: rsc_hold=${word} info=${info}: not understood`);
    return;
  }
  if (turn.state.phase === "leaving" || turn.state.leaving.kind !== "no") return;
  const share = shareOf(word);
  const verdict = standbyRule(info, turn.state.standby.role, turn.bothStable, turn.state.peerGives);
  switch (verdict) {
    case "offer":
      turn.decide("accept standby", `the peer gives its ${word} groups`);
      turn.state.standby = { role: "offered", share, since: turn.now };
      turn.send("ask_resources", { rsc_hold: word, info: "other" });
      return;
    case "give":
      beginGiving(turn);
      return;
    case "take":
      beginTaking(turn, share);
      return;
    case "finish":
      turn.state.standby = noStandby;
      announce(turn);
      return;
    default:
      if (info === "me") {
        turn.decide("refuse standby", `the peer's ${word}: ${verdict.slice("ignore, ".length)}`);
        turn.log("WARN", `standby request of the peer (${word}) ignored: ${verdict.slice("ignore, ".length)}`);
      }
  }
}

function beginGiving(turn: Turn): void {
  const { state } = turn;
  const { share } = state.standby;
  const given = common(state.held, share);
  state.held = minus(state.held, share);
  if ((share & FOREIGN) !== 0) state.tookForDeath = false;
  state.standby = { role: "giving", share, since: turn.now };
  announce(turn, "standby");
  turn.decide("give", `${wordOf(given)} groups: the peer is ready for them`);
  enqueueShare(turn, "give", given, { for: "standbyGive", agreed: share });
}

/** The groups are stopped; or not, and then they stay ours. */
export function onGiven(turn: Turn, share: Share, stopped: Share, ok: boolean): void {
  if (turn.state.standby.role !== "giving") {
    if (!ok) turn.state.held = union(turn.state.held, stopped);
    if (turn.state.phase === "stable") announce(turn);
    return;
  }
  if (!ok) {
    turn.state.held = union(turn.state.held, stopped);
    cancelStandby(turn, "the groups would not stop");
    announce(turn);
    return;
  }
  turn.state.standby = { role: "given", share, since: turn.now };
  turn.send("ask_resources", { rsc_hold: wordOf(share), info: "done" });
}

function beginTaking(turn: Turn, share: Share): void {
  const { state } = turn;
  state.peerMayHold = minus(state.peerMayHold, share);
  state.peerHeld = minus(state.peerHeld, share);
  const taken = minus(seenFromOther(share), union(state.held, seenFromOther(state.peerMayHold)));
  state.held = union(state.held, taken);
  state.standby = { role: "taking", share, since: turn.now };
  turn.decide("take", `${wordOf(taken)} groups: the peer has stopped them for a standby`);
  enqueueShare(turn, "take", taken, { for: "standbyTake", agreed: share });
}

/** The groups are started. */
export function onTaken(turn: Turn, share: Share): void {
  if (turn.state.standby.role !== "taking") {
    if (turn.state.phase === "stable") announce(turn);
    return;
  }
  turn.state.standby = noStandby;
  turn.send("ask_resources", { rsc_hold: wordOf(share), info: "done" });
  announce(turn);
}

/** The peer is gone or speaks from a new life: whatever was agreed no longer holds. */
export function cancelStandby(turn: Turn, why: string): void {
  if (turn.state.standby.role === "none") return;
  turn.decide("cancel standby", why);
  turn.state.standby = noStandby;
}

export function standbyTimers(turn: Turn): void {
  const { state } = turn;
  const { role, since } = state.standby;
  const waited = turn.now - since;
  if (role === "asked" && waited >= STANDBY_REPLY) {
    turn.log("WARN", `no reply to the standby request in ${STANDBY_REPLY / 1000} s`);
    cancelStandby(turn, `no reply in ${STANDBY_REPLY / 1000} s; nothing was released`);
  }
  // The peer has given up waiting for our answer, or never saw it.
  if (role === "offered" && waited >= STANDBY_REPLY * 2 && !state.peerGives) {
    cancelStandby(turn, "the peer asked, was answered, and gives nothing");
  }
  if ((role === "given" || role === "offered") && waited >= STANDBY_LIMIT) {
    turn.log("ERROR", "a standby did not end within an hour");
    cancelStandby(turn, "it did not end within an hour");
    if (role === "given") announce(turn);
  }
  failBack(turn);
}

/** The holder sends foreign groups home that are here because their home had failed (heartbeat §9.2). */
function failBack(turn: Turn): void {
  const { state, parameters } = turn;
  const isWanted =
    parameters.autoFailback === "on" &&
    state.tookForDeath &&
    (state.held & FOREIGN) !== 0 &&
    turn.bothStable &&
    state.peer.status === "active" &&
    state.standby.role === "none" &&
    state.jobs.length === 0 &&
    state.leaving.kind === "no";
  if (!isWanted) {
    state.failbackAt = NEVER;
    return;
  }
  if (state.failbackAt === NEVER) state.failbackAt = turn.later(ms(0));
  if (!turn.due(state.failbackAt)) return;
  state.failbackAt = turn.later(FAILBACK_RETRY) as Instant;
  askForStandby(turn, FOREIGN, `auto_failback: ${parameters.peer} is back`);
}

/** hb_takeover of the peer: its share seen from here is what we give (heartbeat §10). */
export function onTakeoverRequest(turn: Turn, message: Message): void {
  const word = textOf(message, "rsc_hold");
  if (word === "failback") {
    askForStandby(turn, FOREIGN, "hb_takeover failback of the peer");
    return;
  }
  if (!isHoldings(word)) {
    turn.log("WARN", `hb_takeover: rsc_hold=${word}: not understood`);
    return;
  }
  askForStandby(turn, seenFromOther(shareOf(word)), `hb_takeover ${word} of the peer`);
}
