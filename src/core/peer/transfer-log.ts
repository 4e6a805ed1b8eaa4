/**
 * The sender's epochs (drbd-84 §8.3): every mirrored write stays here, by slot, until the P_BARRIER_ACK of its epoch. Until then it
 * counts as not stable on the peer: if the connection goes, its range is marked out of sync even if it was acknowledged.
 *
 * One log per resource; the epoch number runs on through reconnects.
 */
import { NO_SLOT, type Requests } from "../volume/requests.ts";

export interface TransferLogOwner {
  /** Stable on the peer: its activity-log references may go. */
  onStable(id: number): void;
  /** The connection is gone before the barrier ack came: mark its range out of sync. */
  onLost(id: number): void;
}

export class TransferLog {
  readonly #requests: Requests;
  readonly #owner: TransferLogOwner;
  /** Ring of epochs that are closed and not acknowledged, then the open one at `#open`. */
  readonly #number: Uint32Array;
  readonly #writes: Int32Array;
  readonly #head: Int32Array;
  readonly #tail: Int32Array;
  readonly #closedAt: Float64Array;
  #oldest = 0;
  #open = 0;
  #nextNumber = 0;
  /** The barrier that closes this epoch has been sent. */
  readonly #sent: Uint8Array;
  #unsent = -1;
  #closed = 0;
  #stable = 0;

  constructor(requests: Requests, owner: TransferLogOwner) {
    this.#requests = requests;
    this.#owner = owner;
    const size = requests.capacity + 2;
    this.#number = new Uint32Array(size);
    this.#writes = new Int32Array(size);
    this.#head = new Int32Array(size).fill(NO_SLOT);
    this.#tail = new Int32Array(size).fill(NO_SLOT);
    this.#closedAt = new Float64Array(size);
    this.#sent = new Uint8Array(size);
    this.#begin();
  }

  /** Writes in the open epoch. */
  get openWrites(): number {
    return this.#writes[this.#open] ?? 0;
  }

  /** Whether the write is in the log and its epoch still open. */
  isInOpenEpoch(id: number): boolean {
    return this.#requests.epoch[id] === this.#open;
  }

  /** Closed epochs without an ack. */
  get unacknowledged(): number {
    const size = this.#number.length;
    return (this.#open - this.#oldest + size) % size;
  }

  /** A closed epoch whose P_BARRIER has not been sent yet. */
  get barrierDue(): boolean {
    return this.#unsent !== -1;
  }

  /** Sequence of the newest closed epoch, to be given to `isStable`; counts from 1. */
  get closedCount(): number {
    return this.#closed;
  }

  /** Whether all epochs closed up to `count` have been acknowledged or given up. */
  isStable(count: number): boolean {
    return this.#stable >= count;
  }

  /** Adds a write that is being sent to the open epoch. */
  add(id: number): void {
    const e = this.#open;
    this.#requests.epoch[id] = e;
    this.#requests.next[id] = NO_SLOT;
    const tail = this.#tail[e] ?? NO_SLOT;
    if (tail === NO_SLOT) this.#head[e] = id;
    else this.#requests.next[tail] = id;
    this.#tail[e] = id;
    this.#writes[e] = (this.#writes[e] ?? 0) + 1;
  }

  /** The write just added is sent as so many packets more: the peer counts these. */
  addParts(count: number): void {
    this.#writes[this.#open] = (this.#writes[this.#open] ?? 0) + count;
  }

  /** Ends the open epoch unless it is empty. The caller sends `barrier()` before the next packet of a newer epoch. */
  close(now: number): void {
    if (this.openWrites === 0) return;
    if (this.#unsent !== -1)
      throw new Error("transfer log: a second epoch closed before the barrier of the first was sent");
    this.#unsent = this.#open;
    this.#closedAt[this.#open] = now;
    this.#closed++;
    this.#open = (this.#open + 1) % this.#number.length;
    this.#begin();
  }

  /** Number for the P_BARRIER that is due; it counts as sent. */
  barrier(): number {
    const e = this.#unsent;
    this.#unsent = -1;
    this.#sent[e] = 1;
    return this.#number[e] ?? 0;
  }

  /** When the oldest epoch whose barrier was sent was closed, or Infinity. */
  oldestSent(): number {
    const waits = this.#oldest !== this.#open && this.#sent[this.#oldest] === 1;
    return waits ? (this.#closedAt[this.#oldest] ?? 0) : Number.POSITIVE_INFINITY;
  }

  /** Returns what is wrong with the ack, or undefined after its writes were retired. */
  acknowledge(number: number, writes: number): string | undefined {
    const e = this.#oldest;
    if (e === this.#open || this.#sent[e] === 0) {
      return `P_BARRIER_ACK #${number} received, but no epoch is waiting for one`;
    }
    const expected = this.#number[e] ?? 0;
    const expectedWrites = this.#writes[e] ?? 0;
    if (number !== expected) return `P_BARRIER_ACK: barrier ${number} received, expected ${expected}`;
    if (writes !== expectedWrites) {
      return `P_BARRIER_ACK #${number}: set_size ${writes} received, expected ${expectedWrites}`;
    }
    this.#oldest = (e + 1) % this.#number.length;
    this.#stable++;
    let id = this.#head[e] ?? NO_SLOT;
    this.#head[e] = NO_SLOT;
    while (id !== NO_SLOT) {
      const next = this.#requests.next[id] ?? NO_SLOT;
      this.#owner.onStable(id);
      id = next;
    }
    return undefined;
  }

  /** The connection is gone: every write in the log is lost to the peer, oldest first. The open epoch starts anew. */
  lose(now: number): void {
    if (this.#unsent !== -1) this.barrier();
    this.close(now);
    if (this.#unsent !== -1) this.barrier();
    while (this.#oldest !== this.#open) {
      const e = this.#oldest;
      this.#oldest = (e + 1) % this.#number.length;
      this.#stable++;
      let id = this.#head[e] ?? NO_SLOT;
      this.#head[e] = NO_SLOT;
      while (id !== NO_SLOT) {
        const next = this.#requests.next[id] ?? NO_SLOT;
        this.#owner.onLost(id);
        id = next;
      }
    }
  }

  /** Calls `visit` for every write in the log, oldest first. */
  each(visit: (id: number) => void): void {
    for (let e = this.#oldest; ; e = (e + 1) % this.#number.length) {
      for (let id = this.#head[e] ?? NO_SLOT; id !== NO_SLOT; id = this.#requests.next[id] ?? NO_SLOT) visit(id);
      if (e === this.#open) return;
    }
  }

  #begin(): void {
    const e = this.#open;
    this.#number[e] = this.#nextNumber;
    this.#nextNumber = (this.#nextNumber + 1) >>> 0;
    this.#writes[e] = 0;
    this.#head[e] = NO_SLOT;
    this.#tail[e] = NO_SLOT;
    this.#sent[e] = 0;
  }
}
