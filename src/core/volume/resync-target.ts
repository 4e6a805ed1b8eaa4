/**
 * The Target's side of a resync (drbd-84 §7.1, §7.2, §7.3, §7.7): walks the bitmap upwards and asks for what is set, as much per
 * 100 ms as the controller allows. A block is done when it is written here and its bit is clear.
 */
import { type Bitmap, NO_BIT } from "../metadata/bitmap.ts";
import { after, BYTES_PER_BIT, bit, type Instant, ms, NEVER } from "../units.ts";
import { RESYNC_STEP_MS, ResyncController, type ResyncRates } from "./resync-controller.ts";

/** Requests do not cross this (drbd-84 §7.2). */
const BITS_PER_RESYNC_EXTENT = 4096;

export interface ResyncTargetOwner {
  readonly bitmap: Bitmap | undefined;
  /** Usable size of the volume in bytes. */
  readonly size: number;
  /** Longest request the connection allows, in bytes. */
  readonly maxRequest: number;
  sendResyncRequest(at: number, length: number): void;
  /** Bytes waiting in the data stream's send queue. */
  readonly queued: number;
  /** Every bit is clear, but for those that failed. */
  onAllSynced(): void;
}

export class ResyncTarget {
  readonly #owner: ResyncTargetOwner;
  readonly controller: ResyncController;
  /** Undefined while no resync runs. */
  #running = false;
  #paused = false;
  #finishing = false;
  #position = 0;
  /** Requested and not answered, in bits; unlike the controller's figure never an estimate. */
  #outstanding = 0;
  /** Ends of the ranges that were asked for, by their start; negative once a write of this node has overtaken the answer. */
  readonly #asked = new Map<number, number>();
  failedBits = 0;
  deadline: Instant = NEVER;

  constructor(owner: ResyncTargetOwner, rates: ResyncRates) {
    this.#owner = owner;
    this.controller = new ResyncController(rates);
  }

  get running(): boolean {
    return this.#running;
  }

  start(now: Instant): void {
    this.#running = true;
    this.#paused = false;
    this.#finishing = false;
    this.#position = 0;
    this.#outstanding = 0;
    this.#asked.clear();
    this.failedBits = 0;
    this.controller.reset();
    this.deadline = now;
    this.#judge();
  }

  pause(): void {
    this.#paused = true;
    this.deadline = NEVER;
  }

  resume(now: Instant): void {
    if (!this.#running || !this.#paused) return;
    this.#paused = false;
    // If it was about to end when it was paused, that is to be begun anew.
    this.#finishing = false;
    this.deadline = now;
    this.#judge();
  }

  stop(): void {
    this.#running = false;
    this.deadline = NEVER;
  }

  onTimer(now: Instant): void {
    if (!this.#running || this.#paused || now < this.deadline) return;
    // On a fixed grid, so that a late timer does not slow it down; steps that were missed are not made up for: the rate is a ceiling.
    const next = after(this.deadline, ms(RESYNC_STEP_MS));
    this.deadline = next > now ? next : after(now, ms(RESYNC_STEP_MS));
    const bits = this.controller.step();
    const sent = this.#request(bits);
    this.controller.inFlight += sent * 8;
  }

  /** P_RS_DATA_REPLY, P_RS_IS_IN_SYNC, P_RS_DEALLOCATED or P_NEG_RS_DREPLY has come for `length` bytes. */
  onAnswer(length: number): void {
    this.controller.received += length / 512;
    this.#outstanding = Math.max(0, this.#outstanding - Math.ceil(length / BYTES_PER_BIT));
  }

  /**
   * A Primary that is SyncTarget starts a write. The answer to a request for the same range that is under way was read before that write, so
   * it must not be written after it; its bits stay set and are asked for again.
   */
  onLocalWrite(at: number, length: number): void {
    for (const [start, end] of this.#asked) if (start < at + length && at < end) this.#asked.set(start, -1);
  }

  /** Whether the answer for the range may still be written. Called once for each, when it is here. */
  mayWrite(at: number): boolean {
    const end = this.#asked.get(at);
    this.#asked.delete(at);
    return this.#running && end !== undefined && end > 0;
  }

  /** `length` bytes could not be read by the Source or written here: their bits stay set. */
  onFailed(length: number): void {
    this.failedBits += Math.ceil(length / BYTES_PER_BIT);
    this.#judge();
  }

  /** Bits were cleared. */
  onProgress(): void {
    this.#judge();
  }

  #judge(): void {
    const { bitmap } = this.#owner;
    if (!this.#running || this.#finishing || this.#paused || bitmap === undefined) return;
    if (bitmap.count > this.failedBits) return;
    this.#finishing = true;
    this.deadline = NEVER;
    this.#owner.onAllSynced();
  }

  /** Sends requests for up to `budget` bits; returns the bits asked for. The kernel's last request goes one bit beyond (drbd-84 §7.2), ours not. */
  #request(budget: number): number {
    const { bitmap, maxRequest, size } = this.#owner;
    if (bitmap === undefined) return 0;
    let left = budget;
    let sent = 0;
    while (left > 0) {
      if (this.#owner.queued > 4 * 1024 * 1024) break;
      const first = bitmap.nextSet(bit(this.#position));
      if (first === NO_BIT) {
        // Bits behind the position can only have been set since: another round, once everything asked for has come.
        if (this.#position === 0 || this.#outstanding > 0 || bitmap.count <= this.failedBits) break;
        this.#position = 0;
        continue;
      }
      const bits = this.#runFrom(bitmap, first, left, maxRequest / BYTES_PER_BIT);
      this.#position = first + bits;
      left -= bits;
      sent += bits;
      this.#outstanding += bits;
      const at = first * BYTES_PER_BIT;
      const length = Math.min(bits * BYTES_PER_BIT, size - at);
      this.#asked.set(at, at + length);
      this.#owner.sendResyncRequest(at, length);
    }
    return sent;
  }

  /** Length in bits of the request that starts at `first` (drbd-84 §7.2). */
  #runFrom(bitmap: Bitmap, first: number, budget: number, max: number): number {
    let bits = 1;
    let align = 1;
    while (bits < max && bits < budget) {
      const next = first + bits;
      if (next % BITS_PER_RESYNC_EXTENT === 0 || !bitmap.has(bit(next))) break;
      // Growing past a power of two needs a start aligned to the next one.
      if (bits >= align) {
        if (first % (align * 2) !== 0) break;
        align *= 2;
      }
      bits++;
    }
    return bits;
  }
}
