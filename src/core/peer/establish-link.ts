/** One stream on its way to become the data or the meta stream, and then a thin pass to its new owner. */
import type { CloseReason, Stream, StreamHandler } from "../ports.ts";
import { type Instant, NEVER } from "../units.ts";
import { NOT_AGREED } from "../wire/agreement.ts";
import { emptyHeader, headerBytes, parseHeader, writeHeader } from "../wire/header.ts";
import { packetName, packets } from "../wire/packets.ts";

export type StreamRole = "data" | "meta";

const initialCodes: Readonly<Record<StreamRole, number>> = {
  data: packets.P_INITIAL_DATA.code,
  meta: packets.P_INITIAL_META.code,
};

export interface LinkObserver {
  onFirstPacket(link: Link): void;
  onClosed(link: Link, detail: string): void;
}

/** What the first packet of an accepted stream was: its role, or why it cannot stay. */
export type FirstPacket = { readonly role: StreamRole } | { readonly violation: string };

/**
 * Handler of a stream from its first moment on. At most one expectation is open here, for the first packet; at hand-
 * over none is, so nothing that has arrived is lost.
 */
export class Link implements StreamHandler {
  readonly stream: Stream;
  readonly accepted: boolean;
  /** An accepted stream must have sent its first packet by then. */
  deadline: Instant = NEVER;
  first: FirstPacket | undefined;
  /** `onClosed` has come: the stream must not be touched any more. */
  isClosed = false;
  readonly #observer: LinkObserver;
  #owner: StreamHandler | undefined;

  constructor(stream: Stream, accepted: boolean, observer: LinkObserver) {
    this.stream = stream;
    this.accepted = accepted;
    this.#observer = observer;
  }

  expectFirstPacket(): void {
    this.stream.expectHeader(headerBytes(NOT_AGREED));
  }

  /** First packets are a bare header of form 80 (drbd-84 §1.2). */
  sendFirstPacket(role: StreamRole): void {
    const at = this.stream.reserve(headerBytes(NOT_AGREED));
    writeHeader(this.stream.out, at, NOT_AGREED, initialCodes[role], 0, 0);
  }

  destroy(): void {
    if (!this.isClosed) this.stream.destroy();
  }

  /** From here on the new owner gets every call. */
  handOver(owner: StreamHandler): void {
    this.#owner = owner;
  }

  onHeader(at: number): void {
    if (this.#owner !== undefined) {
      this.#owner.onHeader(at);
      return;
    }
    this.first = readFirstPacket(this.stream.window, at);
    this.#observer.onFirstPacket(this);
  }

  onPayload(): void {
    this.#owner?.onPayload();
  }

  onSent(token: number): void {
    this.#owner?.onSent(token);
  }

  onClosed(reason: CloseReason, detail: string): void {
    this.isClosed = true;
    if (this.#owner !== undefined) this.#owner.onClosed(reason, detail);
    else this.#observer.onClosed(this, `${reason}${detail === "" ? "" : `: ${detail}`}`);
  }
}

function readFirstPacket(window: DataView, at: number): FirstPacket {
  const header = emptyHeader();
  const wrong = parseHeader(window, at, NOT_AGREED, header);
  if (wrong !== undefined) return { violation: wrong };
  const { command, length } = header;
  if (length !== 0) return { violation: `${packetName(command)}: length expected:0 received:${length}` };
  if (command === initialCodes.data) return { role: "data" };
  if (command === initialCodes.meta) return { role: "meta" };
  return { violation: `expected P_INITIAL_DATA or P_INITIAL_META, received ${packetName(command)}` };
}
