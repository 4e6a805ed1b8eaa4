/**
 * The receiving side of the order of messages, one `Incoming` per originating node (heartbeat §7.1, §7.3). Pure: the time and
 * a random fraction come in, decisions go out.
 *
 * A gap is asked for. `status` and whatever else only refreshes liveness passes it at once; every other message waits
 * until the gap is filled, refused or given up, so that what a peer decided is seen in the order it was decided in.
 * (3.0.6 delivers at once; waiting changes nothing on the wire.)
 */
import { after, type Instant, ms } from "../../../core/units.ts";
import type { Message } from "./message.ts";

/** More missing than this: the sequence starts over (heartbeat §7.1). */
export const MAX_MISSING = 250;
/** `max_rexmit_delay` by default; a request is repeated every such span (heartbeat §7.3). */
export const REXMIT_DELAY = ms(250);
const LEAST_REXMIT_DELAY = ms(50);
/** A gap nobody fills is given up after this; 3.0.6 asks for ever, but does not hold anything back meanwhile. */
export const GAP_PATIENCE = ms(3000);

interface Missing {
  readonly seq: number;
  readonly askAt: Instant;
  readonly giveUpAt: Instant;
}

interface Held {
  readonly seq: number;
  readonly message: Message;
}

export interface Incoming {
  /** Highest generation seen; undefined before the first message. */
  readonly generation: number | undefined;
  /** Highest sequence number of that generation. */
  readonly last: number;
  readonly missing: readonly Missing[];
  readonly held: readonly Held[];
}

export const nothingReceived: Incoming = { generation: undefined, last: 0, missing: [], held: [] };

/** `first`: nothing was known of the node. `restarted`: its generation grew. `startedOver`: too much was lost. */
export type Verdict =
  | { readonly kind: "accepted"; readonly how: "first" | "restarted" | "next" | "gap" | "late" | "startedOver" }
  | { readonly kind: "duplicate" }
  | { readonly kind: "replay"; readonly known: number }
  | { readonly kind: "stale" };

export interface Received {
  readonly incoming: Incoming;
  readonly verdict: Verdict;
  /** Messages to deliver now, in order; the one that was received is among them unless it waits for a gap. */
  readonly deliver: readonly Message[];
}

export interface Arrival {
  readonly seq: number;
  readonly generation: number;
  readonly message: Message;
  /** Passes gaps. */
  readonly urgent: boolean;
}

const baseline = (arrival: Arrival, how: "first" | "restarted" | "startedOver"): Received => ({
  incoming: { generation: arrival.generation, last: arrival.seq, missing: [], held: [] },
  verdict: { kind: "accepted", how },
  deliver: [arrival.message],
});

const refused = (incoming: Incoming, verdict: Verdict): Received => ({ incoming, verdict, deliver: [] });

/** Takes out of `held` whatever no gap precedes any more. */
function release(incoming: Incoming): { readonly incoming: Incoming; readonly deliver: readonly Message[] } {
  const bar = incoming.missing.reduce((least, gap) => Math.min(least, gap.seq), Number.POSITIVE_INFINITY);
  const free = incoming.held.filter((held) => held.seq < bar).sort((a, b) => a.seq - b.seq);
  if (free.length === 0) return { incoming, deliver: [] };
  return {
    incoming: { ...incoming, held: incoming.held.filter((held) => held.seq >= bar) },
    deliver: free.map((held) => held.message),
  };
}

/** `fraction` (0 … 1) chooses the delay of the first request for each gap. */
export function receive(incoming: Incoming, arrival: Arrival, now: Instant, fraction: () => number): Received {
  const { generation, seq, message } = arrival;
  if (incoming.generation === undefined) return baseline(arrival, "first");
  if (generation < incoming.generation) return refused(incoming, { kind: "replay", known: incoming.generation });
  if (generation > incoming.generation) return baseline(arrival, "restarted");
  if (seq === incoming.last) return refused(incoming, { kind: "duplicate" });
  if (seq < incoming.last) return receiveLate(incoming, arrival);
  const lost = seq - incoming.last - 1;
  if (incoming.missing.length + lost > MAX_MISSING) return baseline(arrival, "startedOver");
  const missing = [...incoming.missing];
  for (let gap = incoming.last + 1; gap < seq; gap++) {
    const delay = ms(LEAST_REXMIT_DELAY + fraction() * (REXMIT_DELAY - LEAST_REXMIT_DELAY));
    missing.push({ seq: gap, askAt: after(now, delay), giveUpAt: after(now, GAP_PATIENCE) });
  }
  const verdict: Verdict = { kind: "accepted", how: lost === 0 ? "next" : "gap" };
  if (arrival.urgent || missing.length === 0) {
    return { incoming: { ...incoming, last: seq, missing }, verdict, deliver: [message] };
  }
  const held = [...incoming.held, { seq, message }];
  return { incoming: { ...incoming, last: seq, missing, held }, verdict, deliver: [] };
}

function receiveLate(incoming: Incoming, arrival: Arrival): Received {
  if (!incoming.missing.some((gap) => gap.seq === arrival.seq)) {
    return refused(incoming, { kind: incoming.held.some((held) => held.seq === arrival.seq) ? "duplicate" : "stale" });
  }
  const missing = incoming.missing.filter((gap) => gap.seq !== arrival.seq);
  const verdict: Verdict = { kind: "accepted", how: "late" };
  if (arrival.urgent) {
    const freed = release({ ...incoming, missing });
    return { incoming: freed.incoming, verdict, deliver: [arrival.message, ...freed.deliver] };
  }
  const held = [...incoming.held, { seq: arrival.seq, message: arrival.message }];
  const freed = release({ ...incoming, missing, held });
  return { incoming: freed.incoming, verdict, deliver: freed.deliver };
}

/** Stops waiting for these numbers: the sender cannot repeat them, or nobody answered. */
export function giveUp(
  incoming: Incoming,
  hopeless: (seq: number) => boolean,
): { readonly incoming: Incoming; readonly deliver: readonly Message[] } {
  return release({ ...incoming, missing: incoming.missing.filter((gap) => !hopeless(gap.seq)) });
}

export interface Asked {
  readonly incoming: Incoming;
  readonly deliver: readonly Message[];
  /** Numbers to ask for now, one request each. */
  readonly ask: readonly number[];
  /** Numbers given up. */
  readonly lost: readonly number[];
}

/** What is due at `now`; `answers`: the node is up or active, so that asking makes sense. */
export function askForMissing(incoming: Incoming, now: Instant, answers: boolean): Asked {
  const lost = incoming.missing.filter((gap) => gap.giveUpAt <= now).map((gap) => gap.seq);
  const kept = giveUp(incoming, (seq) => lost.includes(seq));
  const due = answers ? kept.incoming.missing.filter((gap) => gap.askAt <= now) : [];
  const missing = kept.incoming.missing.map((gap) =>
    gap.askAt <= now ? { ...gap, askAt: after(now, REXMIT_DELAY) } : gap,
  );
  return {
    incoming: { ...kept.incoming, missing },
    deliver: kept.deliver,
    ask: due.map((gap) => gap.seq),
    lost,
  };
}

/** When `askForMissing` has something to do next. */
export const nextAsk = (incoming: Incoming): Instant =>
  incoming.missing.reduce(
    (least, gap) => Math.min(least, gap.askAt, gap.giveUpAt),
    Number.POSITIVE_INFINITY,
  ) as Instant;
