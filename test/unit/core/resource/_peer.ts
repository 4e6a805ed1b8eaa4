/** The peer's end of a connection, spoken by the test: packets are built from the layouts of `wire/`, whose tests hold them to captures. */
import { headerBytes, parseHeader, writeHeader } from "../../../../src/core/wire/header.ts";
import { findPacket, formOf, type PacketName, packets } from "../../../../src/core/wire/packets.ts";
import type { TestStream } from "./_ports.ts";

export interface Received {
  readonly name: string;
  readonly volume: number;
  readonly values: Readonly<Record<string, unknown>>;
  readonly tail: Uint8Array;
}

export interface Speech {
  readonly apv: number;
  readonly features: number;
}

/** A packet as bytes. */
export function packet(
  { apv, features }: Speech,
  name: PacketName,
  volume: number,
  values: Readonly<Record<string, unknown>> = {},
  tail: Uint8Array = new Uint8Array(0),
): Uint8Array {
  const row = packets[name];
  const { head } = formOf(row, apv, features);
  const whole = new Uint8Array(headerBytes(apv) + head.bytes + tail.length);
  const view = new DataView(whole.buffer);
  const at = writeHeader(view, 0, apv, row.code, volume, head.bytes + tail.length);
  head.encode(view, at, values);
  whole.set(tail, at + head.bytes);
  return whole;
}

/** Reads what one stream carries. */
export class Listener {
  readonly stream: TestStream;
  speech: Speech;
  #rest = new Uint8Array(0);
  #initial = true;

  constructor(stream: TestStream, speech: Speech) {
    this.stream = stream;
    this.speech = speech;
  }

  /** Packets that have come since the last call. The first packet of a stream is not one of them. */
  take(): Received[] {
    const fresh = this.stream.sent();
    const all = new Uint8Array(this.#rest.length + fresh.length);
    all.set(this.#rest);
    all.set(fresh, this.#rest.length);
    const view = new DataView(all.buffer);
    const found: Received[] = [];
    let at = 0;
    if (this.#initial && all.length >= 8) {
      this.#initial = false;
      at = 8;
    }
    const header = { command: 0, volume: 0, length: 0 };
    for (;;) {
      const { apv, features } = this.speech;
      const size = headerBytes(apv);
      if (all.length < at + size) break;
      const wrong = parseHeader(view, at, apv, header);
      if (wrong !== undefined) throw new Error(wrong);
      if (all.length < at + size + header.length) break;
      const row = findPacket(header.command);
      if (row === undefined) throw new Error(`packet ${header.command}`);
      const { head } = formOf(row, apv, features);
      const start = at + size;
      const tail = all.slice(start + head.bytes, start + header.length);
      found.push({ name: row.name, volume: header.volume, values: head.decode(view, start), tail });
      at = start + header.length;
    }
    this.#rest = all.slice(at);
    return found;
  }
}
