/**
 * The streams of a peer that has been refused. What is queued for it still leaves: a peer that only sees its streams break would try
 * again for ever, one that reads our answer knows why, too (drbd-84 §3.3, §3.4: both sides end StandAlone). Meta stays as it is until
 * data has closed, since its end could be noticed first.
 */
import type { Stream } from "../ports.ts";
import { type Instant, NEVER } from "../units.ts";

export class LeaveTaking {
  #data: Stream | undefined;
  #meta: Stream | undefined;
  deadline: Instant = NEVER;

  /** Nothing of the streams may be handled any more but `onClosed`. They are destroyed when data has closed, or at `until`. */
  begin(data: Stream, meta: Stream, until: Instant): void {
    this.finish();
    this.#data = data;
    this.#meta = meta;
    this.deadline = until;
    data.end();
  }

  /** One of them may have closed. */
  onClosed(stream: Stream): void {
    if (stream === this.#data) this.#data = undefined;
    else if (stream === this.#meta) this.#meta = undefined;
    else return;
    this.finish();
  }

  onTimer(now: Instant): void {
    if (now >= this.deadline) this.finish();
  }

  finish(): void {
    const { data, meta } = { data: this.#data, meta: this.#meta };
    this.#data = undefined;
    this.#meta = undefined;
    this.deadline = NEVER;
    data?.destroy();
    meta?.destroy();
  }
}
