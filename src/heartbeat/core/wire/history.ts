/**
 * The sending side of the order of messages: numbers, what may have to be repeated, and who has acknowledged how far
 * (heartbeat §7.2, §7.3). Pure.
 */
import { after, type Instant, ms } from "../../../core/units.ts";
import type { Message } from "./message.ts";
import { REXMIT_DELAY } from "./sequence.ts";

/** Messages kept for repetition; above it the oldest is forgotten. */
export const HISTORY_MESSAGES = 500;
/** Messages repeated per request. */
export const MAX_PER_REQUEST = 50;
/** A message is not repeated twice within this: `max_rexmit_delay` − 10 ms. */
const REPEAT_GUARD = ms(REXMIT_DELAY - 10);

interface Sent {
  readonly seq: number;
  readonly message: Message;
  readonly repeatableFrom: Instant;
}

export interface History {
  /** The number the next message gets; the first is 1. */
  readonly nextSeq: number;
  readonly sent: readonly Sent[];
  /** Highest number each node has acknowledged. */
  readonly acknowledged: ReadonlyMap<string, number>;
  /** The last number sent before each node was heard: nobody expects it to acknowledge those. */
  readonly heardAfter: ReadonlyMap<string, number>;
}

export const nothingSent: History = { nextSeq: 1, sent: [], acknowledged: new Map(), heardAfter: new Map() };

/** `message` must carry `history.nextSeq`. */
export function remember(history: History, message: Message, now: Instant): History {
  const entry: Sent = { seq: history.nextSeq, message, repeatableFrom: after(now, ms(0)) };
  const kept = history.sent.length < HISTORY_MESSAGES ? history.sent : history.sent.slice(1);
  return { ...history, nextSeq: history.nextSeq + 1, sent: [...kept, entry] };
}

/** Numbers above the highest sent are refused: an old acknowledgement from before a restart must not count. */
export function acknowledge(history: History, node: string, seq: number): History {
  if (seq >= history.nextSeq || seq <= (history.acknowledged.get(node) ?? 0)) return history;
  return { ...history, acknowledged: new Map(history.acknowledged).set(node, seq) };
}

/** A node that is heard for the first time or anew has acknowledged nothing; it may still ask for what was sent before. */
export function beginAcknowledgements(history: History, node: string): History {
  const acknowledged = new Map(history.acknowledged);
  acknowledged.delete(node);
  return { ...history, acknowledged, heardAfter: new Map(history.heardAfter).set(node, history.nextSeq - 1) };
}

const settled = (history: History, node: string): number =>
  Math.max(history.acknowledged.get(node) ?? 0, history.heardAfter.get(node) ?? 0);

/** Messages sent and not acknowledged by every one of `nodes`. */
export const unacknowledged = (history: History, nodes: readonly string[]): number =>
  nodes.reduce((most, node) => Math.max(most, history.nextSeq - 1 - settled(history, node)), 0);

export interface Repeated {
  readonly history: History;
  /** With all original fields. */
  readonly repeat: readonly Message[];
  /** Numbers to refuse with NS_nak_rexmit: too old. */
  readonly refuse: readonly number[];
}

/** Answers a request of `node` for `first` … `last` (heartbeat §7.3). */
export function repeat(history: History, node: string, first: number, last: number, now: Instant): Repeated {
  const from = Math.max(first, (history.acknowledged.get(node) ?? 0) + 1);
  const to = Math.min(last, history.nextSeq - 1, from + MAX_PER_REQUEST - 1);
  const bySeq = new Map(history.sent.map((entry) => [entry.seq, entry]));
  const refuse: number[] = [];
  const due: Sent[] = [];
  for (let seq = from; seq <= to; seq++) {
    const entry = bySeq.get(seq);
    if (entry === undefined) refuse.push(seq);
    else if (entry.repeatableFrom <= now) due.push(entry);
  }
  const again = new Set(due.map((entry) => entry.seq));
  const sent = history.sent.map((entry) =>
    again.has(entry.seq) ? { ...entry, repeatableFrom: after(now, REPEAT_GUARD) } : entry,
  );
  return { history: { ...history, sent }, repeat: due.map((entry) => entry.message), refuse };
}
