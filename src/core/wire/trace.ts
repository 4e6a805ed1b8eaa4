/**
 * One readable line per packet, for logs and the simulator. Names and order of the fields come from the layouts, in DRBD's own
 * spelling:
 *
 *   h100 v0 P_DATA len=4120 sector=24 block_id=e06e51dd52fe3eff seq_num=6 dp_flags=RW_SYNC|FUA|SEND_WRITE_ACK data=4096
 */
import { readEncoding } from "./bitmap-code.ts";
import { type Header, headerForm } from "./header.ts";
import { stateRequest } from "./heads.ts";
import { type AnyLayout, hexOf, readText, showText } from "./layout.ts";
import { findPacket, formOf, packetName, type Tail } from "./packets.ts";
import { showChange } from "./state-word.ts";

/** What the line depends on. `digestBytes`: size of the data-integrity digest, 0 for none. */
export interface TraceContext {
  readonly apv: number;
  readonly features: number;
  readonly digestBytes: number;
}

const snakeNames = new Map<string, string>();
/** DRBD's spelling of a field: `seq_num`, `after_sb_0p`. */
function snake(name: string): string {
  const known = snakeNames.get(name);
  if (known !== undefined) return known;
  const made = name.replace(/[A-Z]|\d+/g, (part) => `_${part.toLowerCase()}`);
  snakeNames.set(name, made);
  return made;
}

/**
 * The line of a packet whose payload starts at `at`; `available` bytes of it are at hand, at least the head for its fields to be
 * shown, as far as wanted of the rest. Never throws and never reads beyond `available`.
 */
export function tracePacket(
  header: Header,
  view: DataView,
  at: number,
  available: number,
  context: TraceContext,
): string {
  const { command, volume, length } = header;
  const line = `h${headerForm(context.apv, length)} v${volume} ${packetName(command)} len=${length}`;
  const row = findPacket(command);
  if (row === undefined) return line;
  const { head, tail } = formOf(row, context.apv, context.features);
  const atHand = Math.min(available, length);
  if (atHand < head.bytes) return head.bytes === 0 ? line : `${line} (cut off)`;
  const parts = [line, ...headParts(head, view, at)];
  const tailBytes = new Uint8Array(view.buffer, view.byteOffset + at + head.bytes, atHand - head.bytes);
  parts.push(...tailParts(tail, tailBytes, length - head.bytes, context.digestBytes));
  return parts.join(" ");
}

function headParts(head: AnyLayout, view: DataView, at: number): string[] {
  const parts: string[] = [];
  for (const [name, type] of Object.entries(head.fields)) {
    const value = type.read(view, at + (head.offset[name] ?? 0));
    if (type.reserved === true && value === 0) continue;
    parts.push(`${snake(name)}=${type.show === undefined ? String(value) : type.show(value)}`);
  }
  if ((head.fields as unknown) === stateRequest.fields) {
    const { mask, val } = stateRequest.decode(view, at);
    parts.push(`{${showChange(mask, val)}}`);
  }
  return parts;
}

/** `length`: what the packet says; `bytes`: what of it is at hand. */
function tailParts(tail: Tail, bytes: Uint8Array, length: number, digestBytes: number): string[] {
  const whole = bytes.length === length;
  switch (tail.what) {
    case "nothing":
      return [];
    case "data": {
      const size = `data=${length - digestBytes}`;
      if (digestBytes === 0 || bytes.length < digestBytes) return [size];
      return [`digest=${hexOf(bytes.subarray(0, digestBytes))}`, size];
    }
    case "text":
      return whole ? [`alg=${showText(readText(viewOf(bytes), 0, length))}`] : [];
    case "digest":
      return whole ? [`digest=${hexOf(bytes)}`] : [];
    case "challenge":
    case "response":
      return whole ? [hexOf(bytes)] : [];
    case "bitmap":
      return [`bytes=${length}`];
    case "code":
      return bytes.length === 0 ? [] : [encodingPart(bytes[0] ?? 0)];
  }
}

function encodingPart(byte: number): string {
  const { code, padBits, firstSet } = readEncoding(byte);
  return `enc=0x${byte.toString(16)} (code=${code} pad=${padBits} start=${firstSet ? "set" : "clr"})`;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
