/** Control-path packets: a row, its fields, an optional tail. The data path writes its packets itself (`wire/hot-packets.ts`). */
import type { Stream } from "../ports.ts";
import { headerBytes, writeHeader } from "../wire/header.ts";
import { formOf, type PacketRow } from "../wire/packets.ts";

/** Which forms are spoken on a connection. */
export interface Dialect {
  /** Agreed protocol version, NOT_AGREED before. */
  readonly apv: number;
  readonly features: number;
}

const NO_TAIL = new Uint8Array(0);

export function sendPacket(
  stream: Stream,
  dialect: Dialect,
  row: PacketRow,
  volume: number,
  values: Readonly<Record<string, unknown>> = {},
  tail: Uint8Array = NO_TAIL,
): void {
  const { head } = formOf(row, dialect.apv, dialect.features);
  const length = head.bytes + tail.length;
  const at = stream.reserve(headerBytes(dialect.apv) + length);
  const header = writeHeader(stream.out, at, dialect.apv, row.code, volume, length);
  head.encode(stream.out, at + header, values);
  for (let n = 0; n < tail.length; n++) stream.out.setUint8(at + header + head.bytes + n, tail[n] ?? 0);
}

/** NUL-terminated ASCII: algorithm names in packets. */
export function cString(text: string): Uint8Array {
  return Uint8Array.from([...text, "\0"], (character) => character.charCodeAt(0));
}

/** Up to the first NUL. */
export function fromCString(view: DataView, at: number, length: number): string {
  let text = "";
  for (let n = 0; n < length; n++) {
    const code = view.getUint8(at + n);
    if (code === 0) break;
    text += String.fromCharCode(code);
  }
  return text;
}
