/**
 * A member of the cluster as a pure state machine: `step(member, event, moment)` returns the next state and what is to be
 * done. Time passes only by events; `wakeAt` says when a `tick` is due.
 */
import { after, type Instant, ms, NEVER } from "../../../core/units.ts";
import { decimalOf, hexOf, type Message, textOf } from "../wire/message.ts";
import { arrive, type Moment, nextTick, type TransportStep, tick } from "../wire/transport.ts";
import { isHoldings, isMessageType, type NodeStatus } from "../wire/vocabulary.ts";
import { answerNodes, beat, onNodes, start, towardsActive } from "./beat.ts";
import {
  isIsolated,
  onFenced,
  onPeerRestarted,
  onShutdone,
  peerDeathAt,
  peerDied,
  peerReturned,
  setPeerStatus,
  settleDeath,
  takeEverything,
} from "./death.ts";
import type { MemberEffect, MemberEvent } from "./events.ts";
import { NONE, shareOf, wordOf } from "./holdings.ts";
import { ipfailTimers, onClientStatusQuery, onIpfailMessage, pingsChanged } from "./ipfail.ts";
import { emptyJob, endJob } from "./jobs.ts";
import { leavingTimers, onLeft, wantToLeave } from "./leaving.ts";
import { legacyTimers, onIpRequest, onIpRequestResponse, onLegacyGiven } from "./legacy.ts";
import { announce, negotiationTimers, onResource, onStarting } from "./negotiation.ts";
import { askForStandby, onAskResources, onGiven, onTaken, onTakeoverRequest, standbyTimers } from "./standby.ts";
import { type Job, type Member, nodeView, Turn } from "./state.ts";

export { openMember } from "./state.ts";

/** Deaths, windows and retries are looked at this often; 3.0.6 scans every 250 ms. */
const SCAN = ms(100);

export interface MemberStep {
  readonly member: Member;
  readonly effects: readonly MemberEffect[];
}

export function step(member: Member, event: MemberEvent, moment: Moment): MemberStep {
  const turn = new Turn(member, moment);
  if (event.kind === "start") start(turn);
  else if (turn.state.startedAt !== NEVER && turn.state.leaving.kind !== "gone") {
    // Time first: what is overdue was decided before whatever has just happened.
    watchOwnClock(turn);
    timers(turn);
    apply(turn, event);
    timers(turn);
  }
  turn.state.steppedAt = turn.now;
  return { member: turn.state, effects: turn.effects };
}

/** When the next `tick` is due. */
export function wakeAt(member: Member): Instant {
  if (member.startedAt === NEVER || member.leaving.kind === "gone") return NEVER;
  const scan = after(member.steppedAt, SCAN);
  return Math.min(scan, member.nextStatusAt, nextTick(member.transport, nodeView(member))) as Instant;
}

/** A process that stood still for a deadtime has been declared dead, whatever it believes (heartbeat §11.3). */
function watchOwnClock(turn: Turn): void {
  const { state, parameters } = turn;
  const pause = turn.now - state.steppedAt;
  if (pause < parameters.deadtime || state.leaving.kind !== "no") return;
  turn.log("CRIT", `no local heartbeat for ${Math.round(pause)} ms: forcing restart`);
  wantToLeave(
    turn,
    true,
    ms(0),
    `this process stood still for ${Math.round(pause)} ms, the deadtime is ${parameters.deadtime} ms`,
  );
}

function timers(turn: Turn): void {
  const { state } = turn;
  takeTransport(turn, tick(state.transport, nodeView(state), turn.moment));
  if (turn.due(state.nextStatusAt)) {
    beat(turn);
    if (isFallingSilent(turn)) state.nextStatusAt = NEVER;
  }
  watchPeer(turn);
  watchPings(turn);
  towardsActive(turn);
  if (state.leaving.kind === "no") {
    negotiationTimers(turn);
    standbyTimers(turn);
    ipfailTimers(turn);
    if (turn.isLegacy) legacyTimers(turn);
    watchIsolation(turn);
  }
  leavingTimers(turn);
  for (let job = emptyJob(turn); job !== undefined; job = emptyJob(turn)) jobDone(turn, job.id, true);
}

/** Having said `shutdone` and about to start anew, one last status asks for patience (heartbeat §11.3). */
const isFallingSilent = (turn: Turn): boolean => turn.state.leaving.kind === "said" && turn.state.leaving.restart;

function watchPeer(turn: Turn): void {
  const { state } = turn;
  if (turn.due(peerDeathAt(state))) peerDied(turn);
  // Once a ping node answers again, the peer gets a deadtime to be heard as well.
  if (state.heldBack && isIsolated(state, turn.now)) state.reconsiderAt = turn.later(turn.parameters.deadtime);
  if (turn.due(state.reconsiderAt) && state.peer.status === "dead" && state.leaving.kind === "no") {
    settleDeath(turn, false);
  }
  if (turn.parameters.peer === undefined && state.phase === "init" && state.status === "active") {
    takeEverything(turn, "this node is alone by configuration", false);
  }
}

function watchPings(turn: Turn): void {
  const { state, parameters } = turn;
  for (const [name, view] of state.pings) {
    if (!view.alive || !turn.due(after(view.heardAt, parameters.deadping))) continue;
    turn.log("WARN", `node ${name}: is dead`);
    state.pings = new Map(state.pings).set(name, { ...view, alive: false });
    turn.effects.push({ kind: "nodeStatus", node: name, from: "ping", to: "dead" });
    pingsChanged(turn);
  }
}

function watchIsolation(turn: Turn): void {
  const { state } = turn;
  const holds = state.held !== NONE || state.legacyHeld.size > 0;
  if (!holds || !isIsolated(state, turn.now)) return;
  turn.log("CRIT", "neither the peer nor any ping node is heard: this node is cut off and stops its groups");
  wantToLeave(turn, true, ms(0), "neither the peer nor any ping node is heard: this node is cut off");
}

/** Takes over the state of the link layer and what it reports. */
function takeTransport(turn: Turn, result: TransportStep): void {
  turn.state.transport = result.transport;
  for (const effect of result.effects) {
    switch (effect.kind) {
      case "transmit":
      case "log":
        turn.effects.push(effect);
        break;
      case "restarted":
        onPeerRestarted(turn, effect.first);
        break;
      case "link":
        turn.log(effect.up ? "info" : "WARN", `link ${effect.node}:${effect.link} ${effect.up ? "up." : "dead."}`);
        turn.effects.push({ kind: "linkStatus", node: effect.node, link: effect.link, up: effect.up });
        pingsChanged(turn);
        break;
      case "deliver":
        if (turn.state.pings.has(effect.from)) onEcho(turn, effect.from);
        else onMessage(turn, effect.type, effect.message);
        break;
      default:
        effect satisfies never;
    }
  }
}

function apply(turn: Turn, event: Exclude<MemberEvent, { readonly kind: "start" }>): void {
  switch (event.kind) {
    case "message":
      takeTransport(turn, arrive(turn.state.transport, event.link, event.message, turn.moment));
      return;
    case "done":
      jobDone(turn, event.job, event.ok);
      return;
    case "fenced":
      onFenced(turn, event.ok);
      return;
    case "standby":
      askForStandby(turn, event.share, "asked for here");
      return;
    case "takeover":
      turn.send("hb_takeover", { rsc_hold: wordOf(event.share) });
      return;
    case "stop":
      wantToLeave(turn, false, ms(0), "asked to stop");
      return;
    case "inject":
      inject(turn, event.fields);
      return;
    case "tick":
      return;
    default:
      event satisfies never;
  }
}

/** hb_standby writes `ask_resources … info=me`; everything else goes out as it is (heartbeat §10, §12.1). */
function inject(turn: Turn, fields: Message): void {
  const word = textOf(fields, "rsc_hold");
  if (textOf(fields, "t") === "ask_resources" && textOf(fields, "info") === "me" && isHoldings(word)) {
    askForStandby(turn, shareOf(word), "hb_standby");
  } else turn.sendFields(fields);
}

function jobDone(turn: Turn, id: number, ok: boolean): void {
  const job = endJob(turn, id);
  if (job === undefined) return;
  if (!ok) jobFailed(turn, job);
  const { purpose } = job;
  switch (purpose.for) {
    case "own":
    case "yield":
      if (!turn.isLegacy && turn.state.phase !== "leaving" && turn.state.jobs.length === 0) announce(turn);
      return;
    case "standbyGive":
      onGiven(turn, purpose.agreed, job.share, ok);
      return;
    case "standbyTake":
      onTaken(turn, purpose.agreed);
      return;
    case "leave":
      onLeft(turn, ok);
      return;
    case "legacyGive":
      if (ok) onLegacyGiven(turn, purpose.key);
      return;
    default:
      purpose satisfies never;
  }
}

/** A group that did not stop is still ours; one that did not start is a matter of the layer that starts it. */
function jobFailed(turn: Turn, job: Job): void {
  const groups = job.groups.join(", ");
  if (job.verb === "take") {
    turn.decide("start failed", groups);
    return;
  }
  turn.decide("stop failed", `${groups}: the peer is not told to take it`);
  turn.log("CRIT", `groups would not stop: ${groups}`);
}

function onEcho(turn: Turn, name: string): void {
  const { state } = turn;
  const wasAlive = state.pings.get(name)?.alive === true;
  state.pings = new Map(state.pings).set(name, { alive: true, heardAt: turn.now });
  if (wasAlive) return;
  turn.log("info", `status update for node ${name}: status ping`);
  turn.effects.push({ kind: "nodeStatus", node: name, from: "dead", to: "ping" });
  pingsChanged(turn);
}

function onMessage(turn: Turn, type: string, message: Message): void {
  switch (isMessageType(type) ? type : undefined) {
    case "status":
      onStatus(turn, message);
      return;
    case "reqnodes":
      answerNodes(turn);
      return;
    case "repnodes":
      onNodes(turn, message);
      return;
    case "starting":
      if (!turn.isLegacy) onStarting(turn);
      return;
    case "resource":
      if (!turn.isLegacy) onResource(turn, message);
      return;
    case "ask_resources":
      onAskResources(turn, message);
      return;
    case "hb_takeover":
      onTakeoverRequest(turn, message);
      return;
    case "shutdone":
      onShutdone(turn);
      return;
    case "ip-request":
      onIpRequest(turn, message);
      return;
    case "ip-request-resp":
      onIpRequestResponse(turn, message);
      return;
    case "num_ping_nodes":
    case "abort_giveup":
    case "you_are_dead":
      onIpfailMessage(turn, type, message);
      return;
    case "query-cstatus":
      onClientStatusQuery(turn, message);
      return;
    case "NS_ackmsg":
    case "NS_rexmit":
    case "NS_nak_rexmit":
    case "NS_st":
    case "stonith":
    case "hbapi-clstat":
    case "respond-cstatus":
      return;
    case undefined:
      turn.effects.push({ kind: "foreignMessage", type, message });
      return;
  }
}

const sayable = new Set<string>(["init", "up", "active"]);

/** The heartbeat of the peer (heartbeat §8). */
function onStatus(turn: Turn, message: Message): void {
  const { state, parameters } = turn;
  const word = textOf(message, "st") ?? "";
  if (!sayable.has(word)) {
    turn.log("WARN", `status of ${parameters.peer}: st=${word}: not understood`);
    return;
  }
  const st = word as NodeStatus;
  const { peer } = state;
  const pause = turn.now - peer.heardAt;
  if (peer.status === "dead") peerReturned(turn, st);
  else if (peer.everHeard && !peer.startedAnew && pause > parameters.warntime) {
    turn.log("WARN", `late heartbeat: node ${parameters.peer}: interval ${Math.round(pause)} ms`);
  }
  const dt = hexOf(message, "dt");
  setPeerStatus(turn, st);
  state.peer = {
    ...state.peer,
    everHeard: true,
    startedAnew: false,
    heardAt: turn.now,
    dt: dt === undefined || dt === 0 ? undefined : ms(dt),
    knowsNodeLists: decimalOf(message, "protocol") !== undefined,
  };
}
