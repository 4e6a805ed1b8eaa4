/**
 * The turns of one process: completions gather until it wakes up, are delivered one after another, what they made ready is
 * delivered too, and then everything asked for leaves at once. The simulated counterpart of the engine's loop.
 */
import { type Instant, instant } from "../core/units.ts";
import type { Clock } from "./clock.ts";
import type { SimRandom } from "./random.ts";

export interface TurnHooks {
  onTurnStart(now: Instant): void;
  onDeadline(now: Instant): void;
  onTurnEnd(): void;
  /** Everything asked for has left. */
  onTurnOver(): void;
  readonly deadline: number;
}

const NO_HOOKS: TurnHooks = {
  onTurnStart() {},
  onDeadline() {},
  onTurnEnd() {},
  onTurnOver() {},
  deadline: Number.POSITIVE_INFINITY,
};

/** How a process takes its time. */
export interface Pace {
  /** Longest time in ms between a completion and the turn that sees it. */
  readonly wake: number;
  /** Probability that it takes `stall` ms instead: a garbage collection, a busy processor. */
  readonly stallChance: number;
  readonly stall: number;
}

export const PROMPT: Pace = { wake: 0.02, stallChance: 0, stall: 0 };

/** Endless work within one turn is a loop. */
const MOST_SETTLEMENTS = 100_000;

export class Turns {
  readonly clock: Clock;
  hooks: TurnHooks = NO_HOOKS;
  /** False once the process is dead: nothing is delivered any more. */
  alive = true;
  readonly #random: SimRandom;
  readonly #pace: Pace;
  #inbox: (() => void)[] = [];
  readonly #settling: (() => void)[] = [];
  readonly #flushing: (() => void)[] = [];
  readonly #whenOver: (() => void)[] = [];
  #inTurn = false;
  #wakeAt = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, random: SimRandom, pace: Pace) {
    this.clock = clock;
    this.#random = random;
    this.#pace = pace;
  }

  /** `work` is done in a turn soon. */
  post(work: () => void): void {
    if (!this.alive) return;
    this.#inbox.push(work);
    this.#wake(this.clock.now + this.#latency());
  }

  /** Runs `work` in a turn now: the way in for the simulation itself. Joins the turn that is running. */
  run(work: () => void): void {
    if (!this.alive) return;
    if (this.#inTurn) work();
    else this.#turn(work);
  }

  /** After the handler that is running has returned, in this turn; between turns, in the next. */
  settleInTurn(task: () => void): void {
    this.#settling.push(task);
    if (!this.#inTurn) this.post(() => undefined);
  }

  /** At the end of this turn; between turns, of the next. */
  flushAtEnd(task: () => void): void {
    this.#flushing.push(task);
    if (!this.#inTurn) this.post(() => undefined);
  }

  /** After every turn. */
  whenOver(task: () => void): void {
    this.#whenOver.push(task);
  }

  #latency(): number {
    const { wake, stallChance, stall } = this.#pace;
    if (stallChance > 0 && this.#random.chance(stallChance)) return this.#random.fraction() * stall;
    return this.#random.fraction() * wake;
  }

  #wake(moment: number): void {
    if (moment >= this.#wakeAt) return;
    this.#wakeAt = moment;
    this.clock.at(moment, () => {
      if (!this.alive || this.#wakeAt !== moment) return;
      this.#turn(() => undefined);
    });
  }

  #turn(first: () => void): void {
    this.#wakeAt = Number.POSITIVE_INFINITY;
    this.#inTurn = true;
    const now = instant(this.clock.now);
    this.hooks.onTurnStart(now);
    const inbox = this.#inbox;
    this.#inbox = [];
    for (const work of inbox) work();
    first();
    if (this.hooks.deadline <= now) this.hooks.onDeadline(now);
    do {
      this.#settle();
      this.hooks.onTurnEnd();
    } while (this.#settling.length > 0);
    for (let n = 0; n < this.#flushing.length; n++) this.#flushing[n]?.();
    this.#flushing.length = 0;
    for (const task of this.#whenOver) task();
    this.#inTurn = false;
    this.hooks.onTurnOver();
    if (!this.alive) return;
    if (this.#inbox.length > 0) this.#wake(this.clock.now + this.#latency());
    const { deadline } = this.hooks;
    // A timer is never early, and a little late.
    if (deadline < Number.POSITIVE_INFINITY) this.#wake(Math.max(deadline, this.clock.now) + 0.001 + this.#latency());
  }

  #settle(): void {
    for (let n = 0; n < this.#settling.length; n++) {
      if (n > MOST_SETTLEMENTS) throw new Error("a turn does not come to its end");
      this.#settling[n]?.();
    }
    this.#settling.length = 0;
  }
}
