/**
 * The receiver's epochs (drbd-84 §8.3): which P_BARRIER may be acknowledged, and when a flush is due.
 *
 * An epoch is finished when its barrier has come and every write in it has been acknowledged. It is *stable* when a flush
 * that started after that has ended. One flush is under way at a time and answers every epoch that was finished when it
 * started, in order (group commit).
 */
export interface ReceiverEpochsOwner {
  /** Start flushing every disk; `flushed()` is called when all are done. */
  startFlush(): void;
  /** `barrier`: the four opaque bytes read as a big-endian number. */
  sendBarrierAck(barrier: number, writes: number): void;
}

export class ReceiverEpochs {
  readonly #owner: ReceiverEpochsOwner;
  readonly #barrier: Uint32Array;
  readonly #writes: Int32Array;
  readonly #active: Int32Array;
  readonly #size: number;
  /** First epoch not acknowledged; the open one; the end of those the flush under way answers. */
  #oldest = 0;
  #open = 0;
  #flushEnd = -1;
  #needsFlush = true;

  /** `capacity`: epochs that can wait at once; the connection stops reading before there are more. */
  constructor(owner: ReceiverEpochsOwner, capacity: number) {
    this.#owner = owner;
    this.#size = capacity + 2;
    this.#barrier = new Uint32Array(this.#size);
    this.#writes = new Int32Array(this.#size);
    this.#active = new Int32Array(this.#size);
  }

  /** Closed epochs not yet acknowledged. */
  get waiting(): number {
    return (this.#open - this.#oldest + this.#size) % this.#size;
  }

  /** Writes are here that no ack has counted yet. */
  get hasWrites(): boolean {
    return this.waiting > 0 || this.#writes[this.#open] !== 0;
  }

  get isFull(): boolean {
    return this.waiting >= this.#size - 2;
  }

  get isFlushing(): boolean {
    return this.#flushEnd !== -1;
  }

  /** False where no disk has a volatile cache, or `disk-flushes no`: a completed write is then as good as it gets. */
  set needsFlush(value: boolean) {
    this.#needsFlush = value;
  }

  /** A write has come; returns its epoch for `done`. */
  add(): number {
    const e = this.#open;
    this.#writes[e] = (this.#writes[e] ?? 0) + 1;
    this.#active[e] = (this.#active[e] ?? 0) + 1;
    return e;
  }

  /** The ack of a write has been queued. */
  done(epoch: number): void {
    this.#active[epoch] = (this.#active[epoch] ?? 0) - 1;
  }

  /** P_BARRIER has come. Call `advance` when a flush may start. */
  close(barrier: number): void {
    const e = this.#open;
    this.#barrier[e] = barrier;
    this.#open = (e + 1) % this.#size;
    this.#writes[this.#open] = 0;
    this.#active[this.#open] = 0;
  }

  /** Whether the oldest closed epoch has no write left in flight. */
  get hasFinished(): boolean {
    return this.#oldest !== this.#open && this.#active[this.#oldest] === 0;
  }

  /** Acknowledges what may be, or starts a flush for what is finished. */
  advance(): void {
    if (this.#flushEnd !== -1) return;
    let end = this.#oldest;
    while (end !== this.#open && this.#active[end] === 0) end = (end + 1) % this.#size;
    if (end === this.#oldest) return;
    if (this.#needsFlush) {
      this.#flushEnd = end;
      this.#owner.startFlush();
    } else {
      this.#acknowledgeUpTo(end);
    }
  }

  /** The flush that `startFlush` began has ended well. */
  flushed(): void {
    const end = this.#flushEnd;
    this.#flushEnd = -1;
    if (end !== -1) this.#acknowledgeUpTo(end);
  }

  /** The connection is gone: nothing is acknowledged any more. Writes still in flight must not call `done`. */
  reset(): void {
    this.#oldest = 0;
    this.#open = 0;
    this.#flushEnd = -1;
    this.#writes[0] = 0;
    this.#active[0] = 0;
  }

  #acknowledgeUpTo(end: number): void {
    while (this.#oldest !== end) {
      const e = this.#oldest;
      this.#oldest = (e + 1) % this.#size;
      this.#owner.sendBarrierAck(this.#barrier[e] ?? 0, this.#writes[e] ?? 0);
    }
  }
}
