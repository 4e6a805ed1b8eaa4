/** ipfail: the node that sees more ping nodes serves (heartbeat §16.3). Spoken with the real ipfail as well. */
import { ms, NEVER } from "../../../core/units.ts";
import { decimalOf, type Message, textOf } from "../wire/message.ts";
import { ALL, common, FOREIGN, NONE, type Share } from "./holdings.ts";
import { pingRule } from "./rules.ts";
import { askForStandby } from "./standby.ts";
import type { Turn } from "./state.ts";

/** Changes are counted a moment later: both nodes lose a common ping node at nearly the same time. */
const SETTLE = ms(1_000);

const livePingNodes = (turn: Turn): number => [...turn.state.pings.values()].filter((ping) => ping.alive).length;

/** A ping node or a link to the peer changed. */
export function pingsChanged(turn: Turn): void {
  if (turn.parameters.ipfail && turn.state.pings.size > 0) turn.state.pingCountDueAt = turn.later(SETTLE);
}

/** The envelope of a message between two ipfails: clients of that name. */
function tell(turn: Turn, type: string, values: Readonly<Record<string, string>> = {}): void {
  turn.send(type, { dest: turn.parameters.peer, ...values, from_id: "ipfail", to_id: "ipfail", client_gen: "0" });
}

export function ipfailTimers(turn: Turn): void {
  const { state } = turn;
  if (turn.due(state.pingCountDueAt)) {
    state.pingCountDueAt = NEVER;
    if (turn.peerIsAlive) tell(turn, "num_ping_nodes", { num_ping: String(livePingNodes(turn)) });
  }
  if (turn.due(state.giveUpAt)) {
    state.giveUpAt = NEVER;
    const why = `ipfail: the peer sees at least as many ping nodes as we do (${livePingNodes(turn)})`;
    if (common(state.held, state.giveUpShare) !== NONE) askForStandby(turn, state.giveUpShare, why);
  }
}

function giveUp(turn: Turn, share: Share): void {
  turn.state.giveUpShare = share;
  turn.state.giveUpAt = turn.later(ms(2 * turn.parameters.keepalive));
}

export function onIpfailMessage(turn: Turn, type: string, message: Message): void {
  if (!turn.parameters.ipfail) return;
  if (type === "you_are_dead") giveUp(turn, ALL);
  if (type === "abort_giveup") turn.state.giveUpAt = NEVER;
  if (type !== "num_ping_nodes") return;
  const theirs = decimalOf(message, "num_ping");
  if (theirs === undefined) {
    turn.log("WARN", "num_ping_nodes: num_ping: expected a decimal number");
    return;
  }
  const verdict = pingRule(livePingNodes(turn), theirs, turn.parameters.autoFailback === "on", turn.bothStable);
  switch (verdict) {
    case "tell the peer it is dead":
      tell(turn, "you_are_dead");
      return;
    case "give up all":
      giveUp(turn, ALL);
      return;
    case "abort":
    case "abort, give up foreign":
      turn.state.giveUpAt = NEVER;
      tell(turn, "abort_giveup");
      if (verdict !== "abort") giveUp(turn, FOREIGN);
      return;
    default:
      verdict satisfies never;
  }
}

/** Clients ask whether a client of some name runs on this node (heartbeat §6). */
export function onClientStatusQuery(turn: Turn, message: Message): void {
  const client = textOf(message, "cn") ?? "";
  const isOnline = client === "ipfail" && turn.parameters.ipfail;
  turn.send("respond-cstatus", {
    dest: turn.parameters.peer,
    result: "OK",
    cn: client,
    to_id: textOf(message, "from_id"),
    cs: isOnline ? "online" : "offline",
  });
}
