/**
 * How much the Target asks for every 100 ms (drbd-84 §7.5). Units are sectors unless said otherwise; divisions truncate as the
 * kernel's integers do. One step in, one number of bits out.
 */
export interface ResyncRates {
  /** `c-plan-ahead` in steps of 0.1 s; 0 means the fixed rate. */
  readonly planAhead: number;
  /** `c-delay-target` in 0.1 s. */
  readonly delayTarget: number;
  /** `c-fill-target` in sectors. */
  readonly fillTarget: number;
  /** `c-max-rate`, `resync-rate` in KiB/s. */
  readonly maxRate: number;
  readonly resyncRate: number;
  /** `max-buffers` in 4 KiB pages. */
  readonly maxBuffers: number;
}

/** Length of a step. */
export const RESYNC_STEP_MS = 100;
const SECTORS_PER_BIT = 8;

export class ResyncController {
  #rates: ResyncRates;
  #plan: number[] = [];
  #total = 0;
  /** Sectors asked for and not yet answered, as the controller sees it. */
  inFlight = 0;
  /** Sectors answered since the last step. */
  received = 0;
  /** KiB/s asked for in the last step. */
  want = 0;

  constructor(rates: ResyncRates) {
    this.#rates = rates;
    this.reset();
  }

  set rates(rates: ResyncRates) {
    const changed = rates.planAhead !== this.#rates.planAhead;
    this.#rates = rates;
    if (changed) this.#clearPlan();
  }

  /** At the start of a resync or verify. */
  reset(): void {
    this.inFlight = 0;
    this.received = 0;
    this.#clearPlan();
  }

  /** Bits to request now. */
  step(): number {
    const { planAhead, resyncRate, maxBuffers } = this.#rates;
    const arrived = this.received;
    this.received = 0;
    this.inFlight = Math.max(0, this.inFlight - arrived);
    let bits =
      planAhead > 0 ? Math.trunc(this.#plannedSectors(arrived) / SECTORS_PER_BIT) : Math.trunc(resyncRate / 40);
    bits = Math.min(bits, Math.trunc(maxBuffers / 2) - Math.trunc(this.inFlight / SECTORS_PER_BIT));
    bits = Math.max(0, bits);
    this.want = bits * (1000 / RESYNC_STEP_MS) * 4;
    return bits;
  }

  #plannedSectors(arrived: number): number {
    const { planAhead: steps, fillTarget, delayTarget, maxRate, resyncRate } = this.#rates;
    let want: number;
    if (this.inFlight + arrived === 0) want = Math.trunc((resyncRate * 2) / 10) * steps;
    else want = fillTarget !== 0 ? fillTarget : arrived * delayTarget;
    const perStep = Math.trunc((want - this.inFlight - this.#total) / steps);
    for (let i = 0; i < this.#plan.length; i++) this.#plan[i] = (this.#plan[i] ?? 0) + perStep;
    this.#total += perStep * steps;
    const current = this.#plan.shift() ?? 0;
    this.#plan.push(0);
    this.#total -= current;
    return Math.min(Math.max(arrived + current, 0), Math.trunc((maxRate * 2) / 10));
  }

  #clearPlan(): void {
    this.#plan = new Array<number>(this.#rates.planAhead).fill(0);
    this.#total = 0;
  }
}
