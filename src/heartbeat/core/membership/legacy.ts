/** auto_failback legacy: groups go home one by one, by `ip-request` and its answer, with no other protocol (heartbeat §9.3). */
import { type Instant, ms } from "../../../core/units.ts";
import { type Message, textOf } from "../wire/message.ts";
import { enqueueGroups } from "./jobs.ts";
import type { Turn } from "./state.ts";

/** An unanswered question is repeated; 3.0.6 asks once. */
const ASK_AGAIN = ms(10_000);

const without = (keys: ReadonlyMap<string, Instant>, key: string): ReadonlyMap<string, Instant> =>
  new Map([...keys].filter(([other]) => other !== key));

export function takeGroups(turn: Turn, keys: readonly string[], why: string, unsafe = false): void {
  const { state } = turn;
  const fresh = keys.filter((key) => !state.legacyHeld.has(key));
  if (fresh.length === 0) return;
  state.legacyHeld = new Set([...state.legacyHeld, ...fresh]);
  state.legacyAskAt = fresh.reduce(without, state.legacyAskAt);
  state.tookSinceDeath = true;
  turn.decide("take", `${fresh.join(", ")}: ${why}`, unsafe);
  enqueueGroups(turn, "take", fresh, { for: "own" });
}

/** Asks for every group of ours that we do not run: the peer releases it first, if it has it. */
export function legacyTimers(turn: Turn): void {
  const { state, parameters } = turn;
  if (!turn.peerIsAlive || state.status !== "active" || state.leaving.kind !== "no") return;
  for (const { key, home } of parameters.groups) {
    if (home !== parameters.identity.name || state.legacyHeld.has(key)) continue;
    if (state.jobs.some((job) => job.groups.includes(key))) continue;
    const askAt = state.legacyAskAt.get(key);
    if (askAt !== undefined && !turn.due(askAt)) continue;
    state.legacyAskAt = new Map(state.legacyAskAt).set(key, turn.later(ASK_AGAIN));
    turn.send("ip-request", { ipaddr: key });
  }
}

/** The peer wants its group. */
export function onIpRequest(turn: Turn, message: Message): void {
  const { state, parameters } = turn;
  const key = textOf(message, "ipaddr") ?? "";
  if (!turn.isLegacy) {
    turn.log(
      "WARN",
      `ip-request from ${parameters.peer} ignored: auto_failback is legacy there, ${parameters.autoFailback} here`,
    );
    return;
  }
  if (!state.legacyHeld.has(key)) {
    if (!isInWork(turn, key)) answer(turn, key, "no");
    return;
  }
  state.legacyHeld = new Set([...state.legacyHeld].filter((held) => held !== key));
  turn.decide("give", `${key}: its home asks for it`);
  enqueueGroups(turn, "give", [key], { for: "legacyGive", key });
}

function answer(turn: Turn, key: string, weOwn: "yes" | "no"): void {
  turn.send("ip-request-resp", { dest: turn.parameters.peer, ipaddr: key, weown: weOwn, ok: "OK" });
}

/** A group that is still to be started or stopped here is answered for when the last of that is done. */
const isInWork = (turn: Turn, key: string): boolean => turn.state.jobs.some((job) => job.groups.includes(key));

export function onLegacyGiven(turn: Turn, key: string): void {
  if (!isInWork(turn, key)) answer(turn, key, "yes");
}

/** Only what we asked for: nothing else can be meant. */
export function onIpRequestResponse(turn: Turn, message: Message): void {
  const key = textOf(message, "ipaddr") ?? "";
  if (!turn.isLegacy || !turn.state.legacyAskAt.has(key) || textOf(message, "ok") !== "OK") return;
  takeGroups(turn, [key], textOf(message, "weown") === "yes" ? "the peer has stopped it" : "the peer does not run it");
}
