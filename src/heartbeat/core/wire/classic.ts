/**
 * The classic form (heartbeat §3.2), which 2.1.x sends and 3.0.6 still accepts:
 *
 *     >>>\n  name=value\n  (T)name=value\n …  <<<\n
 *
 * Its signature is the field `auth`, computed over `signedClassicText`.
 */
import { type ByteText, base64OfBytes, bytesOfBase64, bytesOfText, textOfBytes } from "./bytes.ts";
import { type Field, isViolation, MAX_DEPTH, type Message, type Violation } from "./message.ts";
import { decodeList, encodeList, startsWith } from "./netstring.ts";

const head = ">>>\n";
const foot = "<<<\n";
const headBytes = bytesOfText(head);
/** Stands for a newline inside a string. */
const NEWLINE_IN_STRING = "\x13";
/** Stand for the newlines of a whole nested message, by depth: 20 … 31, then 15 … 18. */
const newlineAtDepth: readonly ByteText[] = Array.from({ length: MAX_DEPTH }, (_, depth) =>
  String.fromCharCode(depth < 12 ? 20 + depth : 3 + depth),
);

function valueText(field: Field, depth: number): ByteText {
  switch (field.type) {
    case 0:
      return field.value.replaceAll("\n", NEWLINE_IN_STRING);
    case 1:
    case 4:
      return base64OfBytes(field.value);
    case 2:
    case 5:
      return classicText(field.value, depth + 1).replaceAll("\n", newlineAtDepth[depth] ?? "");
    case 3:
      return textOfBytes(encodeList(field.value)).replaceAll("\n", NEWLINE_IN_STRING);
    default:
      return field satisfies never;
  }
}

const fieldText = (field: Field, depth: number): ByteText =>
  `${field.type === 0 ? "" : `(${field.type})`}${field.name}=${valueText(field, depth)}\n`;

const classicText = (message: Message, depth: number): ByteText =>
  `${head}${message.map((field) => fieldText(field, depth)).join("")}${foot}`;

/** `endsWithNul`: 2.1.x counts its string terminator into the datagram. */
export const encodeClassic = (message: Message, endsWithNul: boolean): Uint8Array =>
  bytesOfText(`${classicText(message, 0)}${endsWithNul ? "\0" : ""}`);

/** What the field `auth` signs: all other fields in order, without the markers (heartbeat §4.2). */
export const signedClassicText = (message: Message): Uint8Array =>
  bytesOfText(
    message
      .filter((field) => field.name !== "auth")
      .map((field) => fieldText(field, 0))
      .join(""),
  );

export const isClassicForm = (bytes: Uint8Array): boolean => startsWith(bytes, headBytes);

function decodeValue(type: number, name: ByteText, text: ByteText, depth: number): Field | Violation {
  switch (type) {
    case 0:
      return { type, name, value: text.replaceAll(NEWLINE_IN_STRING, "\n") };
    case 1:
    case 4: {
      const value = bytesOfBase64(text);
      return value === undefined ? { violation: `${name}: not base64` } : { type, name, value };
    }
    case 2:
    case 5: {
      const nested = decodeText(text.replaceAll(newlineAtDepth[depth] ?? "\n", "\n"), depth + 1);
      return isViolation(nested) ? { violation: `${name}: ${nested.violation}` } : { type, name, value: nested };
    }
    case 3: {
      const value = decodeList(bytesOfText(text.replaceAll(NEWLINE_IN_STRING, "\n")));
      return isViolation(value) ? { violation: `${name}: ${value.violation}` } : { type, name, value };
    }
    default:
      return { violation: `${name}: expected type 0 to 5, found ${type}` };
  }
}

function decodeText(text: ByteText, depth: number): Message | Violation {
  if (depth >= MAX_DEPTH) return { violation: `messages nested more than ${MAX_DEPTH - 1} deep` };
  if (!text.startsWith(head)) return { violation: "expected >>>" };
  if (!text.endsWith(`\n${foot}`)) return { violation: "expected <<< at the end" };
  const body = text.slice(head.length, -foot.length);
  const message: Field[] = [];
  for (const line of body === "" ? [] : body.slice(0, -1).split("\n")) {
    const equals = line.indexOf("=");
    if (equals < 1) return { violation: `expected name=value, found ${JSON.stringify(line.slice(0, 40))}` };
    const label = line.slice(0, equals);
    const typed = /^\(([0-9])\)(.+)$/.exec(label);
    const [type, name] = typed?.[2] === undefined ? [0, label] : [Number(typed[1]), typed[2]];
    const field = decodeValue(type, name, line.slice(equals + 1), depth);
    if (isViolation(field)) return field;
    message.push(field);
  }
  return message;
}

export function decodeClassic(
  bytes: Uint8Array,
): { readonly message: Message; readonly endsWithNul: boolean } | Violation {
  const endsWithNul = bytes[bytes.length - 1] === 0;
  const message = decodeText(textOfBytes(bytes, 0, bytes.length - (endsWithNul ? 1 : 0)), 0);
  return isViolation(message) ? message : { message, endsWithNul };
}
