/**
 * How two nodes that both listen and both connect end up with the same two TCP streams (drbd-84 §1.1, §1.2).
 *
 *   start ─▶ connecting ──ok──▶ data, or meta if there is data ─┐
 *               ▲    │failed                                    ▼
 *               │    └──────▶ waiting ◀──── one stream ──── how many? ──both──▶ checking ──▶ established
 *               └─ time is up ───┘ ▲                            ▲                  │ one died
 *                                  └────────────────────────────┼──────────────────┘
 *                        accepted stream, first packet read ────┘
 *
 * The stream's first packet, sent by the side that connected, says what it is. Whoever has accepted one stream
 * connects the other one at once. If both sides connected the same kind ("crossed") each takes the accepted one, so
 * both may be lost; then a coin decides who tries again first. Kernel peers do all this one step after the other; here
 * accepted streams are read while an own attempt is under way, which crosses less often.
 *
 * Events of the network only queue up and make the deadline due; decisions are taken in `onTimer`, where the time is
 * known.
 */
import type { Closable, CloseReason, Endpoint, Network, Random, Stream, StreamHandler } from "../ports.ts";
import { after, type Instant, type Milliseconds, ms, NEVER } from "../units.ts";
import { Link, type StreamRole } from "./establish-link.ts";

export interface EstablishSettings {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  /** `connect-int`: limits one attempt, and, give or take 1/7, is the pause between two. */
  readonly connectInterval: Milliseconds;
  readonly pingTimeout: Milliseconds;
  /** `socket-check-timeout`; 0: `ping-timeout`. */
  readonly socketCheckTimeout: Milliseconds;
}

export interface EstablishedStreams {
  readonly data: Stream;
  readonly meta: Stream;
  /** This node accepted the meta stream; the other one did not (drbd-84 §1.2). */
  readonly resolveConflicts: boolean;
}

export interface EstablisherOptions {
  readonly network: Network;
  readonly random: Random;
  readonly settings: EstablishSettings;
  /** The returned handlers own the streams from now on. No expectation is open on either. */
  readonly onEstablished: (streams: EstablishedStreams) => {
    readonly data: StreamHandler;
    readonly meta: StreamHandler;
  };
  /** Strangers turned away, crossed streams, why the peer is not reached: for the log and for `reason` in status. */
  readonly onNote: (text: string) => void;
}

type Event =
  | { readonly kind: "connected"; readonly link: Link; readonly attempt: number }
  | { readonly kind: "attempt failed"; readonly attempt: number; readonly detail: string }
  | { readonly kind: "first packet"; readonly link: Link }
  | { readonly kind: "closed"; readonly link: Link; readonly detail: string }
  | { readonly kind: "not listening"; readonly detail: string };

/** Deadline of what is due at once. */
const AT_ONCE = 0 as Instant;
/** The first packet may take 4 × ping-timeout (drbd-84 §1.2). */
const FIRST_PACKET_TIMEOUTS = 4;
/** As many as the kernel keeps in its backlog (drbd-84 §1.1). */
const MAX_INCOMING = 5;
const letters: Readonly<Record<StreamRole, string>> = { data: "S", meta: "M" };

export class Establisher {
  readonly #options: EstablisherOptions;
  #running = false;
  readonly #events: Event[] = [];
  #listener: Closable | undefined;
  #attempt: Closable | undefined;
  /** Number of the latest attempt: what an earlier one still reports does not count. */
  #attempts = 0;
  /** The peer connected while the attempt was under way: if it fails, try again at once. */
  #connectAgain = false;
  #attemptUntil: Instant = NEVER;
  /** When to connect next; NEVER while an attempt runs or both streams are there. */
  #waitUntil: Instant = NEVER;
  /** When both streams have stood long enough. */
  #checkAt: Instant = NEVER;
  #data: Link | undefined;
  #meta: Link | undefined;
  /** Accepted, first packet outstanding or, while checking, not looked at. */
  #incoming: Link[] = [];
  #lastTrouble = "";

  constructor(options: EstablisherOptions) {
    this.#options = options;
  }

  get deadline(): Instant {
    if (!this.#running) return NEVER;
    if (this.#events.length > 0) return AT_ONCE;
    let deadline = Math.min(this.#attemptUntil, this.#waitUntil, this.#checkAt);
    for (const link of this.#incoming) deadline = Math.min(deadline, link.deadline);
    return deadline as Instant;
  }

  /**
   * Listens and connects until both streams are handed over, or `stop`. The connection state is WFConnection
   * meanwhile.
   */
  start(now: Instant): void {
    this.stop();
    this.#running = true;
    this.#lastTrouble = "";
    this.#connect(now);
  }

  /** Closes everything that was not handed over; nothing is reported. */
  stop(): void {
    this.#running = false;
    this.#events.length = 0;
    this.#closeListening();
    this.#cancelAttempt();
    this.#waitUntil = NEVER;
    this.#checkAt = NEVER;
    for (const link of [this.#data, this.#meta, ...this.#incoming]) link?.destroy();
    this.#data = undefined;
    this.#meta = undefined;
    this.#incoming = [];
  }

  /** To be called whenever `deadline` has come. */
  onTimer(now: Instant): void {
    for (let event = this.#events.shift(); event !== undefined; event = this.#events.shift()) this.#handle(event, now);
    if (!this.#running) return;
    this.#dropSilent(now);
    if (now >= this.#attemptUntil) this.#onAttemptFailed(this.#attempts, "timeout", now);
    if (now >= this.#waitUntil) this.#connect(now);
    if (now >= this.#checkAt) this.#establish();
  }

  #handle(event: Event, now: Instant): void {
    switch (event.kind) {
      case "connected":
        this.#onConnected(event.link, event.attempt, now);
        break;
      case "attempt failed":
        this.#onAttemptFailed(event.attempt, event.detail, now);
        break;
      case "first packet":
        this.#onFirstPacket(event.link, now);
        break;
      case "closed":
        this.#onClosed(event.link, event.detail, now);
        break;
      case "not listening":
        // Tried again with the next attempt to connect.
        this.#closeListening();
        this.#trouble(`listen on ${endpointText(this.#options.settings.local)}: ${event.detail}`);
        break;
      default:
        event satisfies never;
    }
  }

  // ---- connecting ----

  #connect(now: Instant): void {
    const { network, settings } = this.#options;
    this.#listen();
    this.#waitUntil = NEVER;
    if (this.#attempt !== undefined) {
      this.#connectAgain = true;
      return;
    }
    this.#attempts++;
    const attempt = this.#attempts;
    this.#attemptUntil = after(now, settings.connectInterval);
    this.#attempt = network.connect(
      settings.local,
      settings.remote,
      (stream) => this.#newLink(stream, attempt),
      (reason, detail) => this.#note({ kind: "attempt failed", attempt, detail: closeText(reason, detail) }),
    );
  }

  #listen(): void {
    if (this.#listener !== undefined) return;
    const { network, settings } = this.#options;
    this.#listener = network.listen(
      settings.local,
      (stream) => this.#newLink(stream, 0),
      (detail) => this.#note({ kind: "not listening", detail }),
    );
  }

  /** `attempt`: 0 for an accepted stream. */
  #newLink(stream: Stream, attempt: number): StreamHandler {
    const link = new Link(stream, attempt === 0, {
      onFirstPacket: (which) => this.#note({ kind: "first packet", link: which }),
      onClosed: (which, detail) => this.#note({ kind: "closed", link: which, detail }),
    });
    if (!this.#running) stream.destroy();
    else if (attempt > 0) this.#note({ kind: "connected", link, attempt });
    else this.#accept(link);
    return link;
  }

  #accept(link: Link): void {
    if (this.#incoming.length >= MAX_INCOMING) {
      this.#refuse(link, "too many streams without a first packet");
      return;
    }
    this.#incoming.push(link);
    // The deadline is set in the same turn, when the time is known.
    link.deadline = AT_ONCE;
    link.expectFirstPacket();
  }

  #note(event: Event): void {
    if (this.#running) this.#events.push(event);
  }

  #onConnected(link: Link, attempt: number, now: Instant): void {
    if (attempt === this.#attempts) this.#cancelAttempt();
    const role = this.#data === undefined ? "data" : "meta";
    // Closed again already, or the peer's streams were faster than this attempt.
    if (link.isClosed || (role === "meta" && this.#meta !== undefined)) {
      link.destroy();
      this.#pause(now);
      return;
    }
    link.sendFirstPacket(role);
    this.#place(role, link);
    this.#settle(now, () => this.#pause(now));
  }

  #onAttemptFailed(attempt: number, detail: string, now: Instant): void {
    if (attempt !== this.#attempts || this.#attempt === undefined) return;
    const again = this.#connectAgain;
    this.#cancelAttempt();
    this.#trouble(`connect to ${endpointText(this.#options.settings.remote)}: ${detail}`);
    // The peer has connected since this attempt began: now it must be there.
    if (again) this.#connect(now);
    else this.#pause(now);
  }

  // ---- accepting ----

  #onFirstPacket(link: Link, now: Instant): void {
    if (!this.#incoming.includes(link)) return;
    link.deadline = NEVER;
    if (link.isClosed) return;
    // While both streams are being checked a further one waits, as in the kernel's backlog.
    if (this.#checkAt === NEVER) this.#judge(link, now);
  }

  /** Takes an accepted stream whose first packet is known, or turns it away. */
  #judge(link: Link, now: Instant): void {
    const { first } = link;
    if (first === undefined || link.isClosed) return;
    this.#incoming = this.#incoming.filter((each) => each !== link);
    if ("violation" in first) {
      this.#refuse(link, first.violation);
      return;
    }
    const own = first.role === "data" ? this.#data : this.#meta;
    this.#place(first.role, link);
    if (own === undefined) {
      this.#settle(now, () => this.#connect(now));
      return;
    }
    this.#options.onNote(`initial packet ${letters[first.role]} crossed`);
    own.destroy();
    const goesOn = this.#options.random.fraction() < 0.5;
    this.#settle(now, () => (goesOn ? this.#connect(now) : this.#hesitate(now)));
  }

  #dropSilent(now: Instant): void {
    const { pingTimeout } = this.#options.settings;
    for (const link of [...this.#incoming]) {
      if (link.deadline === AT_ONCE) link.deadline = after(now, ms(FIRST_PACKET_TIMEOUTS * pingTimeout));
      if (now < link.deadline) continue;
      this.#incoming = this.#incoming.filter((each) => each !== link);
      this.#refuse(link, `no initial packet within ${FIRST_PACKET_TIMEOUTS * pingTimeout} ms`);
    }
  }

  #refuse(link: Link, why: string): void {
    this.#options.onNote(`Error receiving initial packet from ${link.stream.remote}: ${why}`);
    link.destroy();
  }

  // ---- one or two streams ----

  #place(role: StreamRole, link: Link): void {
    if (role === "data") this.#data = link;
    else this.#meta = link;
  }

  /** After a stream was placed: both there, then check them, else go on. */
  #settle(now: Instant, otherwise: () => void): void {
    if (this.#data === undefined || this.#meta === undefined) {
      otherwise();
      return;
    }
    const { socketCheckTimeout, pingTimeout } = this.#options.settings;
    this.#cancelAttempt();
    this.#waitUntil = NEVER;
    this.#checkAt = after(now, socketCheckTimeout > 0 ? socketCheckTimeout : pingTimeout);
  }

  #onClosed(link: Link, detail: string, now: Instant): void {
    if (this.#incoming.includes(link)) {
      this.#incoming = this.#incoming.filter((each) => each !== link);
      if (link.first === undefined) this.#refuse(link, `closed (${detail})`);
      // A peer that dropped its own stream for ours is there, and may be waiting for us.
      else if ("role" in link.first && this.#checkAt === NEVER) this.#hesitate(now);
      return;
    }
    if (link === this.#data) this.#data = undefined;
    else if (link === this.#meta) this.#meta = undefined;
    else return;
    this.#checkAt = NEVER;
    // What the peer has sent meanwhile is most likely the replacement.
    for (const held of [...this.#incoming]) if (this.#checkAt === NEVER) this.#judge(held, now);
    if (this.#checkAt === NEVER) this.#hesitate(now);
  }

  /** The pause of `connect-int` plus or minus 1/7 (drbd-84 §1.2). */
  #pause(now: Instant): void {
    if (this.#checkAt !== NEVER) return;
    const { connectInterval } = this.#options.settings;
    const jitter = connectInterval / 7;
    const sign = this.#options.random.fraction() < 0.5 ? -1 : 1;
    this.#waitUntil = after(now, ms(connectInterval + sign * jitter));
  }

  /**
   * A stream was lost: let the peer go first, but not for `connect-int`. The random part keeps two nodes, which both
   * see this at the same moment, from crossing again; it is never so short that a peer which closes every stream keeps
   * us busy.
   */
  #hesitate(now: Instant): void {
    if (this.#attempt !== undefined) return;
    const { pingTimeout } = this.#options.settings;
    const until = after(now, ms(pingTimeout * (0.1 + this.#options.random.fraction())));
    if (until < this.#waitUntil) this.#waitUntil = until;
  }

  #establish(): void {
    const { data: dataLink, meta: metaLink } = { data: this.#data, meta: this.#meta };
    if (dataLink === undefined || metaLink === undefined) return;
    this.#data = undefined;
    this.#meta = undefined;
    // Closes the listener, and what has come beside the two.
    this.stop();
    const owners = this.#options.onEstablished({
      data: dataLink.stream,
      meta: metaLink.stream,
      resolveConflicts: metaLink.accepted,
    });
    dataLink.handOver(owners.data);
    metaLink.handOver(owners.meta);
  }

  // ---- ends ----

  #cancelAttempt(): void {
    this.#attempt?.close();
    this.#attempt = undefined;
    this.#connectAgain = false;
    this.#attemptUntil = NEVER;
  }

  #closeListening(): void {
    this.#listener?.close();
    this.#listener = undefined;
  }

  /** The same trouble again is no news. */
  #trouble(text: string): void {
    if (text !== this.#lastTrouble) this.#options.onNote(text);
    this.#lastTrouble = text;
  }
}

const endpointText = ({ address, port }: Endpoint): string =>
  address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;

const closeText = (reason: CloseReason, detail: string): string => (detail === "" ? reason : detail);
