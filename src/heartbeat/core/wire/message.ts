/**
 * A heartbeat message: an ordered list of named, typed fields (heartbeat §3). Order is kept because the inner signature is
 * computed over it; nothing else depends on it, so fields are looked up by name and the first of a name counts.
 */
import { type ByteText, bytesOfText } from "./bytes.ts";

/** The digit in front of a field (heartbeat §3.1). */
export const fieldTypes = { string: 0, binary: 1, message: 2, list: 3, compressed: 4, uncompressed: 5 } as const;

export type Field =
  | { readonly type: 0; readonly name: ByteText; readonly value: ByteText }
  | { readonly type: 1 | 4; readonly name: ByteText; readonly value: Uint8Array }
  | { readonly type: 2 | 5; readonly name: ByteText; readonly value: Message }
  | { readonly type: 3; readonly name: ByteText; readonly value: readonly ByteText[] };

export type Message = readonly Field[];

/** What a decoder says of bytes that are no message: which field, what was expected, what stood there. */
export interface Violation {
  readonly violation: string;
}

export const isViolation = (value: object): value is Violation => "violation" in value;

/** 2 MiB: no message, compressed or not, is larger (heartbeat §2). */
export const MAX_MESSAGE_BYTES = 2 * 1024 * 1024;
/** Nested messages have control bytes for 16 depths (heartbeat §3.2). */
export const MAX_DEPTH = 16;

export const stringField = (name: ByteText, value: ByteText): Field => ({ type: 0, name, value });
export const binaryField = (name: ByteText, value: Uint8Array): Field => ({ type: 1, name, value });

/** The string field of that name. */
export function textOf(message: Message, name: ByteText): ByteText | undefined {
  for (const field of message) if (field.name === name) return field.type === 0 ? field.value : undefined;
  return undefined;
}

/** The binary field of that name. */
export function binaryOf(message: Message, name: ByteText): Uint8Array | undefined {
  for (const field of message) if (field.name === name) return field.type === 1 ? field.value : undefined;
  return undefined;
}

function numberOf(message: Message, name: ByteText, digits: RegExp, base: number): number | undefined {
  const text = textOf(message, name);
  if (text === undefined || !digits.test(text)) return undefined;
  const value = Number.parseInt(text, base);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** `seq`, `hg`, `ts`, `dt`, `ackseq` and the `firstseq` of NS_nak_rexmit (heartbeat §5). */
export const hexOf = (message: Message, name: ByteText): number | undefined =>
  numberOf(message, name, /^[0-9a-fA-F]+$/, 16);

/** `firstseq` and `lastseq` of NS_rexmit, `protocol`, `ttl`, `num_ping` (heartbeat §5). */
export const decimalOf = (message: Message, name: ByteText): number | undefined =>
  numberOf(message, name, /^[0-9]+$/, 10);

export const hexText = (value: number): ByteText => value.toString(16);

/** A message without the fields of that name. */
export const without = (message: Message, name: ByteText): Message => message.filter((field) => field.name !== name);

/** Fields in one line, for logs: binary values in hex. */
export function describeMessage(message: Message): string {
  return message
    .map((field) => {
      switch (field.type) {
        case 0:
          return `${field.name}=${field.value}`;
        case 1:
        case 4:
          return `(${field.type})${field.name}=${[...field.value].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
        case 2:
        case 5:
          return `(${field.type})${field.name}={${describeMessage(field.value)}}`;
        default:
          return `(3)${field.name}=[${field.value.join(",")}]`;
      }
    })
    .join(" ");
}

/** `<length>:<bytes>,`, the unit of the netstring form and of string lists in both forms. */
export const netstring = (bytes: Uint8Array): readonly Uint8Array[] => [bytesOfText(`${bytes.length}:`), bytes, comma];
const comma = bytesOfText(",");
