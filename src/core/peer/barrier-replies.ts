/**
 * When the peer's barriers are answered (drbd-84 §8.3): the receiver's epochs, the flushes they need, and whether the data stream is read
 * meanwhile.
 */
import { after, type Instant, ms, NEVER } from "../units.ts";
import { requestKinds as kind } from "../volume/requests.ts";
import type { ConnectionOwner } from "./connection-parts.ts";
import { ReceiverEpochs } from "./receiver-epochs.ts";

/**
 * Towards a Futago sender the epochs of this time are gathered into one flush and one wake-up of the sender, unless it says that it
 * waits.
 */
const GATHER = ms(25);
/** Epochs of a peer that may wait for a flush. */
const EPOCHS_MAX = 4096;

export interface BarrierRepliesOwner {
  sendBarrierAck(barrier: number, writes: number): void;
  /** Whether the data stream may be read on. */
  pauseReading(paused: boolean): void;
  /** A disk could not be flushed: the epochs must not be acknowledged, so the connection has to go. */
  onFlushFailed(errno: number): void;
}

export class BarrierReplies {
  readonly epochs: ReceiverEpochs;
  readonly #resource: ConnectionOwner;
  readonly #owner: BarrierRepliesOwner;
  #futago = false;
  deadline: Instant = NEVER;
  /** Epochs closed so far, acknowledged so far, and up to which the sender is waiting. */
  #closed = 0;
  #acknowledged = 0;
  #urgent = 0;
  #flushesOpen = 0;
  #flushFailed = 0;

  constructor(resource: ConnectionOwner, owner: BarrierRepliesOwner) {
    this.#resource = resource;
    this.#owner = owner;
    this.epochs = new ReceiverEpochs(
      {
        startFlush: () => this.#startFlush(),
        sendBarrierAck: (barrier, writes) => this.#sendBarrierAck(barrier, writes),
      },
      EPOCHS_MAX,
    );
  }

  /** A connection begins or ends: nothing of the last one is acknowledged. `futago`: the sender is one of ours. */
  reset(futago: boolean): void {
    this.#futago = futago;
    this.deadline = NEVER;
    this.#closed = 0;
    this.#acknowledged = 0;
    this.#urgent = 0;
    this.epochs.reset();
  }

  onTimer(now: Instant): void {
    if (now < this.deadline) return;
    this.deadline = NEVER;
    this.epochs.advance();
  }

  /** P_UNPLUG_REMOTE of a Futago sender: somebody waits for the epochs closed so far. */
  onUnplug(): void {
    this.#urgent = this.#closed;
    this.#advance();
  }

  /** The last ack of a write of the peer has been queued. */
  onWriteEnded(id: number): void {
    const { requests } = this.#resource;
    if (requests.kind[id] === kind.resyncWrite) return;
    this.epochs.done(requests.epoch[id] ?? 0);
    if (this.epochs.waiting > 0) this.#advance();
  }

  onBarrier(barrier: number): void {
    this.epochs.close(barrier);
    this.#closed++;
    this.#advance();
    // Towards a kernel Primary nothing is read before the epoch is answered (drbd-84 §8.3, flush).
    if (this.epochs.waiting > 0 && (!this.#futago || this.epochs.isFull)) this.#owner.pauseReading(true);
  }

  #advance(): void {
    this.epochs.needsFlush = this.#flushesOpen > 0 || this.#resource.volumes.some((volume) => volume.needsBarrierFlush);
    if (!this.epochs.hasFinished || this.epochs.isFlushing) return;
    if (!this.#futago || this.#urgent > this.#acknowledged || this.epochs.isFull) {
      this.epochs.advance();
    } else if (this.deadline === NEVER) {
      this.deadline = after(this.#resource.now, GATHER);
    }
  }

  #sendBarrierAck(barrier: number, writes: number): void {
    this.#acknowledged++;
    this.#owner.sendBarrierAck(barrier, writes);
    if (this.epochs.waiting <= (this.#futago ? EPOCHS_MAX / 2 : 0)) this.#owner.pauseReading(false);
  }

  #startFlush(): void {
    this.deadline = NEVER;
    // What an earlier connection has begun may still be under way and cannot be told apart: then this waits for it, too.
    this.#flushesOpen++;
    for (const volume of this.#resource.volumes) {
      if (!volume.needsBarrierFlush) continue;
      this.#flushesOpen++;
      volume.flushForBarrier();
    }
    this.onFlushed(0);
  }

  /** A disk is flushed for the last time, before it is let go. */
  flushBegins(): void {
    this.#flushesOpen++;
  }

  /** A disk is flushed, or could not be. */
  onFlushed(errno: number): void {
    this.#flushesOpen--;
    this.#flushFailed = this.#flushFailed || errno;
    if (this.#flushFailed !== 0 && this.epochs.hasWrites) return this.#owner.onFlushFailed(this.#flushFailed);
    if (this.#flushesOpen > 0) return;
    this.#flushFailed = 0;
    if (!this.epochs.isFlushing) return;
    this.epochs.flushed();
    this.#advance();
  }
}
