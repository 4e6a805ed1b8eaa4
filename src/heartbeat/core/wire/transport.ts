/**
 * The link layer as a pure state machine: numbering, acknowledgement, retransmission, generations, UUIDs, and which link
 * has heard which node lately (heartbeat §5, §7). Every message leaves on every link; what comes back several times is
 * delivered once. What the messages mean is decided above.
 *
 *     datagram ─▶ envelope known? ─▶ generation, sequence ─▶ acknowledged ─▶ deliver
 *                      │ NS_ackmsg, NS_rexmit, NS_nak_rexmit: handled here
 */
import { after, type Instant, type Milliseconds } from "../../../core/units.ts";
import { sameBytes } from "./bytes.ts";
import {
  acknowledge,
  beginAcknowledgements,
  type History,
  nothingSent,
  remember,
  repeat,
  unacknowledged,
} from "./history.ts";
import { binaryField, binaryOf, type Field, hexOf, hexText, type Message, stringField, textOf } from "./message.ts";
import { askForMissing, giveUp, type Incoming, nextAsk, nothingReceived, receive } from "./sequence.ts";
import { type Envelope, envelopeOf, isSequenced, rexmitRange } from "./vocabulary.ts";

/** `now` decides; the other two are only written into messages (`ts`, `ld`). */
export interface Moment {
  readonly now: Instant;
  /** Seconds since 1970. */
  readonly unixSeconds: number;
  /** The line of /proc/loadavg, or `n/a`. */
  readonly loadavg: string;
}

export interface Identity {
  /** Lower case; `uname -n`. */
  readonly name: string;
  /** 16 bytes. */
  readonly uuid: Uint8Array;
  /** Grows at each start of the daemon. */
  readonly generation: number;
  /** Number of nodes + `hopfudge`. */
  readonly ttl: number;
}

interface LinkState {
  readonly up: boolean;
  readonly heardAt: Instant;
}

export interface RemoteNode {
  readonly name: string;
  readonly uuid: Uint8Array | undefined;
  readonly incoming: Incoming;
  /** Messages whose number modulo 10 is this are acknowledged. */
  readonly ackTrigger: number;
  readonly links: ReadonlyMap<string, LinkState>;
}

export interface Transport {
  readonly identity: Identity;
  readonly links: readonly string[];
  readonly history: History;
  readonly remotes: ReadonlyMap<string, RemoteNode>;
  /** Ping nodes: their echoes are delivered as they are. */
  readonly pingNodes: ReadonlySet<string>;
  /** State of the generator behind random delays. */
  readonly chance: number;
  /** Whether the warning about a full history was given. */
  readonly historyWarned: boolean;
}

export type LogLevel = "debug" | "info" | "WARN" | "ERROR" | "CRIT";

export type TransportEffect =
  /** On every link. */
  | { readonly kind: "transmit"; readonly message: Message }
  | { readonly kind: "deliver"; readonly from: string; readonly type: string; readonly message: Message }
  /** The node's generation grew, or it was heard for the first time; comes before its first `deliver`. */
  | { readonly kind: "restarted"; readonly node: string; readonly first: boolean }
  | { readonly kind: "link"; readonly node: string; readonly link: string; readonly up: boolean }
  | { readonly kind: "log"; readonly level: LogLevel; readonly text: string };

export interface TransportStep {
  readonly transport: Transport;
  readonly effects: readonly TransportEffect[];
}

/** `seed` makes the random choices; two nodes should not share one. */
export function openTransport(
  identity: Identity,
  nodes: readonly string[],
  pingNodes: readonly string[],
  links: readonly string[],
  seed: number,
): Transport {
  const dice = new Dice(seed >>> 0);
  const remotes = new Map<string, RemoteNode>();
  for (const name of nodes.filter((node) => node !== identity.name)) {
    const ackTrigger = Math.floor(dice.fraction() * 10);
    remotes.set(name, { name, uuid: undefined, incoming: nothingReceived, ackTrigger, links: new Map() });
  }
  return {
    identity,
    links,
    history: nothingSent,
    remotes,
    pingNodes: new Set(pingNodes),
    chance: dice.state,
    historyWarned: false,
  };
}

/** A linear congruential generator: good enough to spread delays, and part of the state. */
class Dice {
  state: number;

  constructor(state: number) {
    this.state = state;
  }

  readonly fraction = (): number => {
    this.state = (Math.imul(this.state, 1664525) + 1013904223) >>> 0;
    return this.state / 2 ** 32;
  };
}

const isZero = (uuid: Uint8Array): boolean => uuid.every((byte) => byte === 0);

function uuidOf(message: Message, name: string): Uint8Array | undefined {
  const uuid = binaryOf(message, name);
  return uuid === undefined || uuid.length !== 16 || isZero(uuid) ? undefined : uuid;
}

/** Completes a message in 3.0.6's order: the caller's fields, destuuid, src, srcuuid, seq, hg, ts, ld, ttl (heartbeat §3.4). */
function complete(transport: Transport, fields: readonly Field[], moment: Moment): Message {
  const { identity, history, remotes } = transport;
  const type = textOf(fields, "t") ?? "";
  const sequenced = isSequenced(type);
  const dest = textOf(fields, "dest");
  const destuuid = dest === undefined ? undefined : remotes.get(dest)?.uuid;
  return [
    ...fields,
    ...(destuuid === undefined ? [] : [binaryField("destuuid", destuuid)]),
    stringField("src", identity.name),
    binaryField("srcuuid", identity.uuid),
    ...(sequenced ? [stringField("seq", hexText(history.nextSeq))] : []),
    stringField("hg", hexText(identity.generation)),
    stringField("ts", hexText(moment.unixSeconds)),
    ...(sequenced ? [stringField("ld", moment.loadavg === "" ? "n/a" : moment.loadavg)] : []),
    stringField("ttl", String(identity.ttl)),
  ];
}

/** `fields` begin with `t`, then `dest` if it goes to one node. */
export function send(transport: Transport, fields: readonly Field[], moment: Moment): TransportStep {
  const message = complete(transport, fields, moment);
  const type = textOf(fields, "t") ?? "";
  const history = isSequenced(type) ? remember(transport.history, message, moment.now) : transport.history;
  return { transport: { ...transport, history }, effects: [{ kind: "transmit", message }] };
}

const log = (level: LogLevel, text: string): TransportEffect => ({ kind: "log", level, text });

/** A message that arrived authenticated on `link`. */
export function arrive(transport: Transport, link: string, message: Message, moment: Moment): TransportStep {
  const envelope = envelopeOf(message);
  if ("violation" in envelope) return { transport, effects: [log("WARN", `message dropped: ${envelope.violation}`)] };
  if (transport.pingNodes.has(envelope.src)) {
    return { transport, effects: [{ kind: "deliver", from: envelope.src, type: envelope.type, message }] };
  }
  if (envelope.src === transport.identity.name) return { transport, effects: judgeOwnEcho(transport, message) };
  const uuid = uuidOf(message, "srcuuid");
  const remote = findRemote(transport, envelope.src, uuid);
  if (remote === undefined) {
    return { transport, effects: [log("ERROR", `${link}: message dropped: unknown node ${envelope.src}`)] };
  }
  const effects: TransportEffect[] = [];
  const known = knowUuid(remote, uuid, effects);
  return envelope.seq === undefined
    ? arriveUnsequenced(transport, known, envelope, link, message, moment, effects)
    : arriveSequenced(transport, known, envelope, link, message, moment, effects);
}

/** Our own broadcasts come back; the same name with another UUID is another machine. */
function judgeOwnEcho(transport: Transport, message: Message): readonly TransportEffect[] {
  const uuid = uuidOf(message, "srcuuid");
  if (uuid === undefined || sameBytes(uuid, transport.identity.uuid)) return [];
  return [log("ERROR", `another node calls itself ${transport.identity.name} too: its messages are dropped`)];
}

/** By name; else by UUID, for a node that was renamed. */
function findRemote(transport: Transport, src: string, uuid: Uint8Array | undefined): RemoteNode | undefined {
  const named = transport.remotes.get(src);
  if (named !== undefined || uuid === undefined) return named;
  return [...transport.remotes.values()].find((node) => node.uuid !== undefined && sameBytes(node.uuid, uuid));
}

function knowUuid(remote: RemoteNode, uuid: Uint8Array | undefined, effects: TransportEffect[]): RemoteNode {
  if (uuid === undefined || (remote.uuid !== undefined && sameBytes(remote.uuid, uuid))) return remote;
  if (remote.uuid !== undefined) effects.push(log("WARN", `node ${remote.name} changed its uuid`));
  return { ...remote, uuid };
}

function hear(remote: RemoteNode, link: string, now: Instant, effects: TransportEffect[]): RemoteNode {
  if (remote.links.get(link)?.up !== true) effects.push({ kind: "link", node: remote.name, link, up: true });
  return { ...remote, links: new Map(remote.links).set(link, { up: true, heardAt: now }) };
}

/** The UUID is preferred when present (heartbeat §5). */
function isForUs(transport: Transport, envelope: Envelope, message: Message): boolean {
  const destuuid = uuidOf(message, "destuuid");
  if (destuuid !== undefined) return sameBytes(destuuid, transport.identity.uuid);
  return envelope.dest === undefined || envelope.dest === transport.identity.name;
}

const withRemote = (transport: Transport, remote: RemoteNode): Transport => ({
  ...transport,
  remotes: new Map(transport.remotes).set(remote.name, remote),
});

function arriveUnsequenced(
  transport: Transport,
  known: RemoteNode,
  envelope: Envelope,
  link: string,
  message: Message,
  moment: Moment,
  effects: TransportEffect[],
): TransportStep {
  const remote = hear(known, link, moment.now, effects);
  const heard = withRemote(transport, remote);
  if (!isForUs(heard, envelope, message)) return { transport: heard, effects };
  switch (envelope.type) {
    case "NS_ackmsg": {
      const history = acknowledge(heard.history, remote.name, hexOf(message, "ackseq") ?? 0);
      return { transport: { ...heard, history }, effects };
    }
    case "NS_rexmit":
      return answerRexmit(heard, remote, message, moment, effects);
    case "NS_nak_rexmit": {
      const lost = hexOf(message, "firstseq") ?? 0;
      const freed = giveUp(remote.incoming, (seq) => seq === lost);
      effects.push(log("WARN", `node ${remote.name} cannot repeat message ${lost}: ${textOf(message, "info") ?? ""}`));
      deliverAll(heard, remote.name, freed.deliver, effects);
      return { transport: withRemote(heard, { ...remote, incoming: freed.incoming }), effects };
    }
    default:
      effects.push({ kind: "deliver", from: remote.name, type: envelope.type, message });
      return { transport: heard, effects };
  }
}

function answerRexmit(
  transport: Transport,
  remote: RemoteNode,
  message: Message,
  moment: Moment,
  effects: TransportEffect[],
): TransportStep {
  const range = rexmitRange(message);
  if (range === undefined) {
    effects.push(log("WARN", `NS_rexmit from ${remote.name}: firstseq, lastseq: expected a decimal range`));
    return { transport, effects };
  }
  const answer = repeat(transport.history, remote.name, range.first, range.last, moment.now);
  const answered = { ...transport, history: answer.history };
  for (const again of answer.repeat) effects.push({ kind: "transmit", message: again });
  for (const seq of answer.refuse) {
    const fields = [
      stringField("t", "NS_nak_rexmit"),
      stringField("dest", remote.name),
      stringField("firstseq", hexText(seq)),
      stringField("info", "seqno not in history"),
    ];
    effects.push({ kind: "transmit", message: complete(answered, fields, moment) });
  }
  return { transport: answered, effects };
}

function deliverAll(
  transport: Transport,
  from: string,
  messages: readonly Message[],
  effects: TransportEffect[],
): void {
  for (const message of messages) {
    const envelope = envelopeOf(message);
    if ("violation" in envelope || !isForUs(transport, envelope, message)) continue;
    effects.push({ kind: "deliver", from, type: envelope.type, message });
  }
}

function arriveSequenced(
  transport: Transport,
  known: RemoteNode,
  envelope: Envelope,
  link: string,
  message: Message,
  moment: Moment,
  effects: TransportEffect[],
): TransportStep {
  const dice = new Dice(transport.chance);
  const seq = envelope.seq ?? 0;
  const arrival = { seq, generation: envelope.generation ?? 0, message, urgent: envelope.type === "status" };
  const { incoming, verdict, deliver } = receive(known.incoming, arrival, moment.now, dice.fraction);
  if (verdict.kind === "replay") {
    const text = `${link}: attempted replay attack? ${known.name} sends generation ${arrival.generation}, known is ${verdict.known}`;
    return { transport: withRemote(transport, known), effects: [...effects, log("ERROR", text)] };
  }
  const remote = { ...hear(known, link, moment.now, effects), incoming };
  let { history } = transport;
  if (verdict.kind === "accepted" && (verdict.how === "restarted" || verdict.how === "first")) {
    history = beginAcknowledgements(history, remote.name);
    effects.push({ kind: "restarted", node: remote.name, first: verdict.how === "first" });
  }
  if (verdict.kind === "accepted" && verdict.how === "startedOver") {
    effects.push(log("WARN", `node ${remote.name}: too many messages lost, starting over at ${seq}`));
  }
  const next = { ...withRemote(transport, remote), history, chance: dice.state };
  if (verdict.kind === "accepted" && seq % 10 === remote.ackTrigger && incoming.missing.length === 0) {
    const ack = [stringField("t", "NS_ackmsg"), stringField("dest", remote.name), stringField("ackseq", hexText(seq))];
    effects.push({ kind: "transmit", message: complete(next, ack, moment) });
  }
  deliverAll(next, remote.name, deliver, effects);
  return { transport: next, effects };
}

/** What the layer above knows of a node. */
export interface NodeView {
  /** Whether it is worth asking: status `up` or `active`. */
  readonly answers: boolean;
  /** A link that has not heard the node for this long is dead. */
  readonly deadtime: Milliseconds;
}

/** Asks for what is missing and finds links that went silent. */
export function tick(transport: Transport, view: (node: string) => NodeView, moment: Moment): TransportStep {
  let next = transport;
  const effects: TransportEffect[] = [];
  for (const remote of transport.remotes.values()) {
    const { answers, deadtime } = view(remote.name);
    const asked = askForMissing(remote.incoming, moment.now, answers);
    for (const seq of asked.ask) effects.push({ kind: "transmit", message: rexmitRequest(next, remote, seq, moment) });
    if (asked.lost.length > 0) {
      effects.push(log("WARN", `irretrievably lost from ${remote.name}: messages ${asked.lost.join(", ")}`));
    }
    deliverAll(next, remote.name, asked.deliver, effects);
    const links = new Map(remote.links);
    for (const [link, state] of remote.links) {
      if (!state.up || after(state.heardAt, deadtime) > moment.now) continue;
      links.set(link, { ...state, up: false });
      effects.push({ kind: "link", node: remote.name, link, up: false });
    }
    next = withRemote(next, { ...remote, incoming: asked.incoming, links });
  }
  return warnOfHistory(next, view, effects);
}

const HISTORY_WARNING = 250;

function warnOfHistory(
  transport: Transport,
  view: (node: string) => NodeView,
  effects: TransportEffect[],
): TransportStep {
  const listeners = [...transport.remotes.keys()].filter((node) => view(node).answers);
  const full = unacknowledged(transport.history, listeners) > HISTORY_WARNING;
  if (full && !transport.historyWarned) {
    effects.push(log("WARN", `message history is filling up: more than ${HISTORY_WARNING} not acknowledged`));
  }
  return { transport: { ...transport, historyWarned: full }, effects };
}

function rexmitRequest(transport: Transport, remote: RemoteNode, seq: number, moment: Moment): Message {
  const fields = [
    stringField("t", "NS_rexmit"),
    stringField("dest", remote.name),
    stringField("firstseq", String(seq)),
    stringField("lastseq", String(seq)),
  ];
  return complete(transport, fields, moment);
}

/** When `tick` has something to do next. */
export function nextTick(transport: Transport, view: (node: string) => NodeView): Instant {
  let next = Number.POSITIVE_INFINITY;
  for (const remote of transport.remotes.values()) {
    const { answers, deadtime } = view(remote.name);
    next = Math.min(next, answers ? nextAsk(remote.incoming) : Number.POSITIVE_INFINITY);
    for (const state of remote.links.values()) if (state.up) next = Math.min(next, after(state.heardAt, deadtime));
  }
  return next as Instant;
}
