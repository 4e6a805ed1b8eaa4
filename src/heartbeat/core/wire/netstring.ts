/**
 * The netstring form (heartbeat §3.1), which is what 3.0.6 sends:
 *
 *     ###\n  <len>:(<T>)<name>=<value>, …  %%%\n
 *
 * without the trailer that authenticates it: that is `packet.ts`.
 */
import { type ByteText, bytesOfText, concatBytes, textOfBytes } from "./bytes.ts";
import { type Field, isViolation, MAX_DEPTH, type Message, netstring, type Violation } from "./message.ts";

const head = bytesOfText("###\n");
const foot = bytesOfText("%%%\n");
const COLON = 0x3a;
const COMMA = 0x2c;
const EQUALS = 0x3d;
/** `2097152:` and no more digits: a longer length exceeds every limit. */
const LENGTH_DIGITS = 7;

function valueBytes(field: Field): Uint8Array {
  switch (field.type) {
    case 0:
      return bytesOfText(field.value);
    case 1:
    case 4:
      return field.value;
    case 2:
    case 5:
      return encodeNetstring(field.value);
    case 3:
      return encodeList(field.value);
    default:
      return field satisfies never;
  }
}

export const encodeList = (items: readonly ByteText[]): Uint8Array =>
  concatBytes(items.flatMap((item) => netstring(bytesOfText(item))));

/** From `###\n` to `%%%\n` inclusive: exactly the bytes a trailer signs. */
export function encodeNetstring(message: Message): Uint8Array {
  const parts: Uint8Array[] = [head];
  for (const field of message) {
    parts.push(...netstring(concatBytes([bytesOfText(`(${field.type})${field.name}=`), valueBytes(field)])));
  }
  parts.push(foot);
  return concatBytes(parts);
}

export const startsWith = (bytes: Uint8Array, prefix: Uint8Array, at = 0): boolean =>
  prefix.every((byte, n) => bytes[at + n] === byte);

export const isNetstringForm = (bytes: Uint8Array): boolean => startsWith(bytes, head);

interface Piece {
  readonly start: number;
  readonly end: number;
  /** First byte after the comma. */
  readonly next: number;
}

/** One `<len>:…,` at `at`; every length is checked against what is there before anything is read. */
export function readNetstring(bytes: Uint8Array, at: number): Piece | Violation {
  let digits = "";
  let cursor = at;
  for (; bytes[cursor] !== COLON; cursor++) {
    const char = String.fromCharCode(bytes[cursor] ?? 0);
    if (!/[0-9]/.test(char) || digits.length === LENGTH_DIGITS) {
      return { violation: `offset ${at}: expected a length and ':', found ${JSON.stringify(digits + char)}` };
    }
    digits += char;
  }
  if (!/^(0|[1-9][0-9]*)$/.test(digits)) return { violation: `offset ${at}: expected a length, found "${digits}:"` };
  const start = cursor + 1;
  const end = start + Number(digits);
  if (end >= bytes.length)
    return { violation: `offset ${at}: length ${digits}, but ${bytes.length - start} bytes follow` };
  if (bytes[end] !== COMMA) return { violation: `offset ${end}: expected ',' after ${digits} bytes` };
  return { start, end, next: end + 1 };
}

export function decodeList(bytes: Uint8Array): readonly ByteText[] | Violation {
  const items: ByteText[] = [];
  for (let at = 0; at < bytes.length; ) {
    const piece = readNetstring(bytes, at);
    if (isViolation(piece)) return piece;
    items.push(textOfBytes(bytes, piece.start, piece.end));
    at = piece.next;
  }
  return items;
}

/** The value of a field by its type digit; nested messages must fill their value exactly. */
function decodeValue(type: number, name: ByteText, bytes: Uint8Array, depth: number): Field | Violation {
  switch (type) {
    case 0:
      return { type, name, value: textOfBytes(bytes) };
    case 1:
    case 4:
      return { type, name, value: bytes.slice() };
    case 2:
    case 5: {
      const nested = decodeNetstring(bytes, depth + 1);
      if (isViolation(nested)) return { violation: `${name}: ${nested.violation}` };
      if (nested.end !== bytes.length) return { violation: `${name}: ${bytes.length - nested.end} bytes after %%%` };
      return { type, name, value: nested.message };
    }
    case 3: {
      const value = decodeList(bytes);
      return isViolation(value) ? { violation: `${name}: ${value.violation}` } : { type, name, value };
    }
    default:
      return { violation: `${name}: expected type 0 to 5, found ${type}` };
  }
}

/** `(T)name=value`. A name is not empty. */
function decodeField(bytes: Uint8Array, depth: number): Field | Violation {
  const equals = bytes.indexOf(EQUALS);
  const label = textOfBytes(bytes, 0, equals < 0 ? Math.min(bytes.length, 40) : equals);
  const match = /^\(([0-9])\)([^\n]+)$/.exec(label);
  if (equals < 0 || match?.[2] === undefined) {
    return { violation: `expected (T)name=value, found ${JSON.stringify(label.slice(0, 40))}` };
  }
  return decodeValue(Number(match[1]), match[2], bytes.subarray(equals + 1), depth);
}

/** `end` is the offset after `%%%\n`. */
export function decodeNetstring(
  bytes: Uint8Array,
  depth = 0,
): { readonly message: Message; readonly end: number } | Violation {
  if (depth > MAX_DEPTH) return { violation: `messages nested more than ${MAX_DEPTH} deep` };
  if (!startsWith(bytes, head)) return { violation: "expected ###" };
  const message: Field[] = [];
  for (let at = head.length; ; ) {
    if (startsWith(bytes, foot, at)) return { message, end: at + foot.length };
    const piece = readNetstring(bytes, at);
    if (isViolation(piece)) return piece;
    const field = decodeField(bytes.subarray(piece.start, piece.end), depth);
    if (isViolation(field)) return field;
    message.push(field);
    at = piece.next;
  }
}
