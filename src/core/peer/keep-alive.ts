/**
 * Is the peer still there (drbd-84 §1.4)? Like two people on a bad telephone line: who has heard nothing for `ping-int` asks "are you there?",
 * and hangs up if neither an answer nor anything else comes within `ping-timeout`.
 */
import { after, type Instant, type Milliseconds, ms, NEVER } from "../units.ts";

export interface KeepAliveOwner {
  sendPing(): void;
  /** "PingAck did not arrive in time." */
  onSilence(): void;
}

/**
 * What may already lie in the socket when our own timer is late is read in this time: a node that was stopped for a while must not
 * take its own absence for the peer's.
 */
const GRACE = ms(50);

export class KeepAlive {
  readonly #owner: KeepAliveOwner;
  readonly #interval: Milliseconds;
  readonly #timeout: Milliseconds;
  readonly #waiting: { readonly ping: number; readonly done: () => void }[] = [];
  #lastHeard: Instant;
  #sent = 0;
  #acknowledged = 0;
  #graced = false;
  deadline: Instant;

  constructor(owner: KeepAliveOwner, interval: Milliseconds, timeout: Milliseconds, now: Instant) {
    this.#owner = owner;
    this.#interval = interval;
    this.#timeout = timeout;
    this.#lastHeard = now;
    this.deadline = after(now, interval);
  }

  /** Anything has come on either stream. */
  heard(now: Instant): void {
    this.#lastHeard = now;
  }

  onPingAck(now: Instant): void {
    this.#lastHeard = now;
    if (this.#acknowledged < this.#sent) this.#acknowledged++;
    this.#graced = false;
    if (this.#acknowledged === this.#sent) this.deadline = after(now, this.#interval);
    while (this.#waiting.length > 0 && (this.#waiting[0]?.ping ?? 0) <= this.#acknowledged)
      this.#waiting.shift()?.done();
  }

  /** Sends a ping now; `done` is called when it is answered: everything the peer sent on meta before has been processed then. */
  ping(now: Instant, done?: () => void): void {
    this.#send(now);
    if (done !== undefined) this.#waiting.push({ ping: this.#sent, done });
  }

  stop(): void {
    this.deadline = NEVER;
    this.#waiting.length = 0;
  }

  onTimer(now: Instant): void {
    if (now < this.deadline) return;
    if (this.#acknowledged === this.#sent) {
      const due = after(this.#lastHeard, this.#interval);
      if (due > now) this.deadline = due;
      else this.#send(now);
      return;
    }
    if (after(this.#lastHeard, this.#timeout) > now) {
      this.deadline = after(this.#lastHeard, this.#timeout);
    } else if (!this.#graced) {
      this.#graced = true;
      this.deadline = after(now, GRACE);
    } else {
      this.deadline = NEVER;
      this.#owner.onSilence();
    }
  }

  #send(now: Instant): void {
    this.#sent++;
    this.#graced = false;
    this.#owner.sendPing();
    this.deadline = after(now, this.#timeout);
  }
}
