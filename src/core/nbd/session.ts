/**
 * One NBD connection, from greeting to close: negotiation first, transmission after it. Authority: proto.md of
 * NetworkBlockDevice/nbd.
 */
import type { CloseReason, Stream, StreamHandler } from "../ports.ts";
import type { ExportTable, Terms } from "./exports.ts";
import { Negotiation, type NegotiationOutcome } from "./negotiation.ts";
import { MAX_LINGER_BYTES } from "./protocol.ts";
import { Transmission, type TransmissionOutcome } from "./transmission.ts";

/** What the owner of the listener wants to know. Every member may be called from any of the session's own. */
export interface SessionObserver {
  /** One line per option and per request; undefined costs nothing. */
  readonly trace: ((line: string) => void) | undefined;
  /** The client broke the protocol: what was expected and what came. The connection is being closed. */
  onViolation(session: Session, text: string): void;
  /** The last call. Requests may still be with the device; they are released when it reports them. */
  onClosed(session: Session, reason: CloseReason, detail: string): void;
}

/** Greets the client; the returned session is the stream's handler. */
export class Session implements StreamHandler, NegotiationOutcome, TransmissionOutcome {
  readonly #stream: Stream;
  readonly #observer: SessionObserver;
  readonly #negotiation: Negotiation;
  #transmission: Transmission | undefined;
  #terms: Terms | undefined;
  #isLingering = false;

  constructor(stream: Stream, exports: ExportTable, observer: SessionObserver) {
    this.#stream = stream;
    this.#observer = observer;
    this.#negotiation = new Negotiation(stream, exports, this);
  }

  /** Who is at the other end. */
  get remote(): string {
    return this.#stream.remote;
  }

  /** The export in use, as the client named it; undefined during negotiation. */
  get exportName(): string | undefined {
    return this.#terms?.exportName;
  }

  get traces(): boolean {
    return this.#observer.trace !== undefined;
  }

  /**
   * The server is going away: options get NBD_REP_ERR_SHUTDOWN, requests in flight finish, later ones get NBD_ESHUTDOWN, then
   * the connection ends. A client that neither finishes a payload nor closes keeps it open: its owner destroys the stream.
   */
  shutdown(): void {
    if (this.#transmission === undefined) this.#negotiation.shutdown();
    else this.#transmission.onShutdown();
  }

  onHeader(at: number): void {
    (this.#transmission ?? this.#negotiation).onHeader(at);
  }

  onPayload(): void {
    if (this.#isLingering) this.#stream.destroy();
    else (this.#transmission ?? this.#negotiation).onPayload();
  }

  onSent(token: number): void {
    this.#transmission?.onSent(token);
  }

  onClosed(reason: CloseReason, detail: string): void {
    (this.#transmission ?? this.#negotiation).onClosed(reason, detail);
    this.#observer.onClosed(this, reason, detail);
  }

  onTerms(terms: Terms): void {
    this.#terms = terms;
    this.#transmission = new Transmission(this.#stream, terms, this);
    this.#transmission.start();
  }

  onAbort(): void {
    this.#stream.end();
    this.#isLingering = true;
    this.#stream.expectSkip(MAX_LINGER_BYTES);
  }

  onViolation(text: string): void {
    this.#stream.destroy();
    this.#observer.onViolation(this, text);
  }

  trace(line: string): void {
    this.#observer.trace?.(line);
  }
}
