/** Our own heartbeat: status messages, echo requests, and the way to `active` (heartbeat §8.1). */
import { ms, NEVER } from "../../../core/units.ts";
import { hexText, type Message, stringField, textOf } from "../wire/message.ts";
import { takeEverything } from "./death.ts";
import { beginNegotiation } from "./negotiation.ts";
import { GENTLE_DEADTIME, GENTLE_START, RESTART_DEADTIME, type Turn } from "./state.ts";

const ASK_NODES_AGAIN = ms(1_000);

/** How long others should wait before they take us for dead. */
function advertisedDeadtime(turn: Turn): number {
  const { state, parameters } = turn;
  const { leaving } = state;
  if (leaving.kind === "said" && leaving.restart) return parameters.deadtime + RESTART_DEADTIME;
  const isYoung = turn.now - state.startedAt < GENTLE_START;
  return parameters.deadtime + (isYoung ? GENTLE_DEADTIME : 0);
}

/** One status on all links, and an echo request to each ping node (heartbeat §16.1). */
export function beat(turn: Turn): void {
  const { state, parameters } = turn;
  turn.send("status", { st: state.status, dt: hexText(Math.round(advertisedDeadtime(turn))), protocol: "1" });
  state.nextStatusAt = turn.later(parameters.keepalive);
  for (const node of parameters.pingNodes) {
    const message: Message = [
      stringField("t", "NS_st"),
      stringField("st", "ping"),
      stringField("info", node.isGroup ? "ping_group" : "ping"),
      stringField("src", node.name),
      stringField("ts", hexText(turn.moment.unixSeconds)),
    ];
    for (const address of node.addresses) turn.effects.push({ kind: "ping", address, message });
  }
}

/** `init` once, `up` twice, as 3.0.6 does. */
export function start(turn: Turn): void {
  turn.state.startedAt = turn.now;
  turn.state.steppedAt = turn.now;
  beat(turn);
  turn.state.status = "up";
  beat(turn);
  beat(turn);
}

/** Once the peer was heard or given up: agree on the nodes, then be active. */
export function towardsActive(turn: Turn): void {
  const { state, parameters } = turn;
  if (state.status !== "up" || state.leaving.kind !== "no") return;
  if (turn.peerIsAlive && state.peer.knowsNodeLists) {
    if (state.reqnodesAt === NEVER || turn.due(state.reqnodesAt)) {
      state.reqnodesAt = turn.later(ASK_NODES_AGAIN);
      turn.send("reqnodes", { dest: parameters.peer });
    }
    return;
  }
  if (turn.peerIsAlive || state.peer.status === "dead" || state.peer.left || parameters.peer === undefined) {
    becomeActive(turn);
  }
}

export function becomeActive(turn: Turn): void {
  const { state, parameters } = turn;
  state.status = "active";
  turn.decide("active", turn.peerIsAlive ? `${parameters.peer} is heard` : "nobody else is there");
  beat(turn);
  // It left before we were ready to take what it had.
  if (state.peer.left && state.peer.status !== "dead") takeEverything(turn, `${parameters.peer} has left`, false);
  if (!turn.peerIsAlive) return;
  if (!turn.isLegacy) beginNegotiation(turn);
}

/** Both names, each followed by a blank; a missing one would be removed from the asker's table (heartbeat §5, §8.1). */
export function answerNodes(turn: Turn): void {
  const { identity, peer } = turn.parameters;
  const names = [identity.name, ...(peer === undefined ? [] : [peer])].sort();
  turn.send("repnodes", { dest: peer, nodelist: `${names.join(" ")} `, delnodelist: " " });
}

export function onNodes(turn: Turn, message: Message): void {
  const { identity, peer } = turn.parameters;
  const names = (textOf(message, "nodelist") ?? "").split(" ").filter((name) => name !== "");
  if (!names.includes(identity.name) || (peer !== undefined && !names.includes(peer))) {
    turn.log("WARN", `${peer} knows the nodes ${names.join(" ")}: ha.cf differs`);
  }
  if (turn.state.status === "up") becomeActive(turn);
}
