/**
 * The two streams of an established connection: framing and judging of headers, the same for both. What a packet means is its
 * owner's matter.
 *
 *   header ─▶ (judge) ─▶ head or whole packet ─▶ owner ─▶ (payload into memory ─▶ owner) ─▶ header …
 */
import type { CloseReason, Stream, StreamHandler } from "../ports.ts";
import { emptyHeader, headerBytes, parseHeader } from "../wire/header.ts";
import { checkPacket, packetName, type StreamKind } from "../wire/packets.ts";
import type { Dialect } from "./send-packet.ts";

/** The longest piece a stream hands out at once (`ports.ts`, `expectHeader`). */
const MAX_PIECE_BYTES = 8192;

export interface PacketOwner {
  /** Anything has come. */
  onHeard(): void;
  /** How many of the packet's bytes are wanted in one piece: its head for what carries data, all of it else. */
  wantedBytes(command: number, length: number): number;
  /** The wanted bytes stand at `at`. Must leave the stream with an expectation (`next`, `expectInto` …) or none on purpose. */
  onPacket(command: number, volume: number, at: number, length: number): void;
  onPayload(): void;
  onSent(token: number): void;
  onViolation(text: string): void;
  onClosed(reason: CloseReason, detail: string): void;
}

export class PacketStream implements StreamHandler {
  readonly stream: Stream;
  readonly #kind: StreamKind;
  readonly #owner: PacketOwner;
  readonly #header = emptyHeader();
  readonly #dialect: Dialect;
  readonly #headerBytes: number;
  #wantsHeader = true;
  /** After `close`: nothing but `onSent` and `onClosed` is passed on. */
  #closed = false;

  constructor(stream: Stream, kind: StreamKind, dialect: Dialect, owner: PacketOwner) {
    this.stream = stream;
    this.#kind = kind;
    this.#dialect = dialect;
    this.#headerBytes = headerBytes(dialect.apv);
    this.#owner = owner;
  }

  /** Asks for the next packet. */
  next(): void {
    this.#wantsHeader = true;
    this.stream.expectHeader(this.#headerBytes);
  }

  /** `silently`: somebody else sees to the stream's end. */
  close(silently = false): void {
    this.#closed = true;
    if (!silently) this.stream.destroy();
  }

  onHeader(at: number): void {
    if (this.#closed) return;
    const header = this.#header;
    if (!this.#wantsHeader) return this.#owner.onPacket(header.command, header.volume, at, header.length);
    this.#owner.onHeard();
    const { apv, features } = this.#dialect;
    const violation =
      parseHeader(this.stream.window, at, apv, header) ??
      checkPacket(header.command, header.length, this.#kind, apv, features);
    if (violation !== undefined) return this.#owner.onViolation(violation);
    const wanted = this.#owner.wantedBytes(header.command, header.length);
    if (wanted > MAX_PIECE_BYTES) {
      return this.#owner.onViolation(`${packetName(header.command)} of ${header.length} bytes is not supported`);
    }
    if (wanted === 0) return this.#owner.onPacket(header.command, header.volume, at, header.length);
    this.#wantsHeader = false;
    this.stream.expectHeader(wanted);
  }

  onPayload(): void {
    if (!this.#closed) this.#owner.onPayload();
  }

  onSent(token: number): void {
    this.#owner.onSent(token);
  }

  onClosed(reason: CloseReason, detail: string): void {
    this.#owner.onClosed(reason, detail);
  }
}
