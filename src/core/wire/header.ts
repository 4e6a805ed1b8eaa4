/**
 * The three packet headers (drbd-84 §2.1). Which one is written follows from the agreed version and the length; which ones are
 * accepted follows from the version alone.
 *
 *   80   83740267 cccc llll              apv < 95; 95 … 99 for lengths up to 32768; everything before the agreement
 *   95   835a cccc llllllll              apv 95 … 99 for longer ones
 *   100  8620ec20 vvvv cccc llllllll 0   apv >= 100
 */
import { since } from "./agreement.ts";
import { layout, pad32, u16, u32 } from "./layout.ts";
import { headerBytes, packetName } from "./packets.ts";

export { headerBytes } from "./packets.ts";

const MAGIC_80 = 0x83740267;
const MAGIC_95 = 0x835a;
const MAGIC_100 = 0x8620ec20;
/** Longer payloads take form 95 at apv 95 … 99 (drbd-84 §2.1). */
const MAX_LENGTH_80 = 32768;
const MAX_U16 = 0xffff;

const header80 = layout({ magic: u32, command: u16, length: u16 });
const header95 = layout({ magic: u16, command: u16, length: u32 });
const header100 = layout({ magic: u32, volume: u16, command: u16, length: u32, pad: pad32 });

/** A received header, filled again and again by {@link parseHeader}. `length`: bytes of payload, not yet judged. */
export interface Header {
  command: number;
  volume: number;
  length: number;
}

export const emptyHeader = (): Header => ({ command: 0, volume: 0, length: 0 });

/** The form that a packet of `length` payload bytes is sent in. */
export function headerForm(apv: number, length: number): 80 | 95 | 100 {
  if (apv >= since.header100) return 100;
  return apv >= since.header95 && length > MAX_LENGTH_80 ? 95 : 80;
}

/**
 * Writes a header at `at` and returns its size. `apv` is `NOT_AGREED` for the first packets and P_CONNECTION_FEATURES. Below
 * apv 100 there is no volume field. Throws RangeError for a length that the form cannot carry: 8.4 would let it wrap
 * (drbd-84 §2.1), and the stream would be lost.
 */
export function writeHeader(
  view: DataView,
  at: number,
  apv: number,
  command: number,
  volume: number,
  length: number,
): number {
  switch (headerForm(apv, length)) {
    case 100:
      view.setUint32(at + header100.offset.magic, MAGIC_100);
      view.setUint16(at + header100.offset.volume, volume);
      view.setUint16(at + header100.offset.command, command);
      view.setUint32(at + header100.offset.length, length);
      view.setUint32(at + header100.offset.pad, 0);
      return header100.bytes;
    case 95:
      view.setUint16(at + header95.offset.magic, MAGIC_95);
      view.setUint16(at + header95.offset.command, command);
      view.setUint32(at + header95.offset.length, length);
      return header95.bytes;
    case 80:
      if (length > MAX_U16) throw new RangeError(`${packetName(command)}: length ${length} at protocol version ${apv}`);
      view.setUint32(at + header80.offset.magic, MAGIC_80);
      view.setUint16(at + header80.offset.command, command);
      view.setUint16(at + header80.offset.length, length);
      return header80.bytes;
  }
}

/**
 * Reads the `headerBytes(apv)` bytes at `at` into `into`. Returns undefined, or the violation; `into` is then unspecified. At apv
 * 95 … 99 both 8-byte forms are accepted whatever the length. The length must still be judged with `checkPacket`.
 */
export function parseHeader(view: DataView, at: number, apv: number, into: Header): string | undefined {
  if (apv >= since.header100) return parse100(view, at, into);
  into.volume = 0;
  const magic = view.getUint32(at);
  if (magic === MAGIC_80) {
    into.command = view.getUint16(at + header80.offset.command);
    into.length = view.getUint16(at + header80.offset.length);
    return undefined;
  }
  if (apv >= since.header95 && view.getUint16(at) === MAGIC_95) {
    into.command = view.getUint16(at + header95.offset.command);
    into.length = view.getUint32(at + header95.offset.length);
    return undefined;
  }
  return wrongMagic(magic, apv, apv >= since.header95 ? "83740267 or 835a" : "83740267");
}

function parse100(view: DataView, at: number, into: Header): string | undefined {
  const magic = view.getUint32(at + header100.offset.magic);
  if (magic !== MAGIC_100) return wrongMagic(magic, 100, "8620ec20");
  into.volume = view.getUint16(at + header100.offset.volume);
  into.command = view.getUint16(at + header100.offset.command);
  into.length = view.getUint32(at + header100.offset.length);
  const pad = view.getUint32(at + header100.offset.pad);
  if (pad === 0) return undefined;
  return `${packetName(into.command)}: header pad expected:0 received:0x${pad.toString(16)}`;
}

function wrongMagic(magic: number, apv: number, expected: string): string {
  const received = magic.toString(16).padStart(8, "0");
  return `header: wrong magic value, expected:${expected} received:${received} in protocol version ${apv}`;
}

/** Bytes that must be at hand before {@link parseHeader}. */
export const MAX_HEADER_BYTES = headerBytes(since.header100);
